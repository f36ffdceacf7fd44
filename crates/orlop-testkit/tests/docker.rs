//! The Docker harness itself: real containers on a real private daemon.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use orlop_testkit::command::eventually;
use orlop_testkit::engines::IMAGE;
use orlop_testkit::mounts::{loops_below, mounts_below_anywhere};
use orlop_testkit::process::alive;
use orlop_testkit::{Docker, Part, Scratch, ScratchFs, require};

#[test]
fn runs_a_container() {
    require!(Part::Docker);
    let docker = Docker::start();
    docker.import_busybox();
    assert_eq!(docker.container(&["--rm"], &["echo", "cargo"]).ok(), "cargo");
    assert_eq!(docker.container(&["--rm", "--user", "app"], &["id", "-u"]).ok(), "1000");
    docker.container(&["--rm"], &["sh", "-c", "exit 7"]).exits(7);
}

#[test]
fn two_run_side_by_side_and_know_nothing_of_each_other() {
    require!(Part::Docker);
    let (one, other) = (Docker::start(), Docker::start());
    one.import_busybox();
    one.run(["volume", "create", "only-here"]).ok();
    assert_eq!(one.volume_ls().len(), 1);
    assert_eq!(other.volume_ls(), []);
    assert!(!other.run(["images", "--format", "{{.Repository}}"]).ok().contains(IMAGE));
}

#[test]
fn a_crash_leaves_the_container_running_until_the_daemon_is_back() {
    require!(Part::Docker);
    let mut docker = Docker::start();
    docker.import_busybox();
    // With an init, so that SIGTERM ends it and the restart doesn't wait for the stop timeout.
    docker.container(&["-d", "--init", "--name", "sleeper"], &["sleep", "600"]).ok();
    let pid = docker.container_pid("sleeper");
    docker.crash();
    assert!(alive(pid), "the container survives the crash");
    docker.restart();
    assert!(!alive(pid), "without live-restore the daemon stops what it finds");
    let state = docker.run(["inspect", "--format", "{{.State.Status}}", "sleeper"]).ok();
    assert_eq!(state, "exited");
}

#[test]
fn live_restore_keeps_the_container() {
    require!(Part::Docker);
    let mut docker = Docker::builder().live_restore().start();
    docker.import_busybox();
    docker.container(&["-d", "--name", "sleeper"], &["sleep", "600"]).ok();
    let pid = docker.container_pid("sleeper");
    docker.crash();
    docker.restart();
    assert!(alive(pid));
    docker.run(["exec", "sleeper", "true"]).ok();
    docker.stop();
    assert!(alive(pid), "an orderly stop keeps it as well");
}

#[test]
fn a_plugin_is_found_by_its_spec_file() {
    require!(Part::Docker);
    let docker = Docker::start();
    let socket = docker.namespace().scratch().join("refuser.sock");
    let listener = UnixListener::bind(&socket).unwrap_or_else(|e| panic!("{e}"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.0 500 No\r\n\r\nthe refuser was asked");
        }
    });
    docker.add_plugin("refuser", &socket);
    let answer = docker.run(["volume", "create", "-d", "refuser", "v"]).fails();
    assert!(answer.contains("the refuser was asked"), "{answer}");
}

#[test]
fn nothing_remains() {
    require!(Part::Docker);
    let docker = Docker::start();
    docker.import_busybox();
    docker.container(&["-d", "--name", "sleeper"], &["sleep", "600"]).ok();
    let pid = docker.container_pid("sleeper");
    let base = docker.namespace().scratch().path().to_owned();
    let cgroup = base.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    drop(docker);
    assert!(!alive(pid));
    assert!(!base.exists());
    assert_eq!(mounts_below_anywhere(&base), []);
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        assert!(!hierarchy.path().join(&cgroup).exists(), "{:?}", hierarchy.path());
    }
}

/// A test that is killed (by a runner's time limit, say) can't clean up: its janitor and the end of
/// its namespaces do.
#[test]
fn a_killed_test_leaves_nothing() {
    require!(Part::Docker, Part::Loop);
    const REPORT: &str = "ORLOP_TESTKIT_REPORT";
    if let Some(report) = std::env::var_os(REPORT) {
        let filesystem = ScratchFs::ext4(32 << 20);
        let docker = Docker::start();
        docker.import_busybox();
        docker.container(&["-d", "--name", "sleeper"], &["sleep", "600"]).ok();
        let pid = docker.container_pid("sleeper");
        let dirs = [filesystem.path(), docker.namespace().scratch().path()];
        let text = format!("{pid}\n{}\n{}\n", dirs[0].display(), dirs[1].display());
        std::fs::write(report, text).unwrap_or_else(|e| panic!("{e}"));
        std::thread::sleep(Duration::from_secs(600));
    }
    let scratch = Scratch::new("killed");
    let report = scratch.join("report");
    let mut victim = Command::new(std::env::current_exe().unwrap_or_default())
        .args(["--exact", "a_killed_test_leaves_nothing"])
        .env(REPORT, &report)
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run this test again: {e}"));
    let mut lines = Vec::new();
    let reported = eventually(Duration::from_secs(60), || {
        let text = std::fs::read_to_string(&report).unwrap_or_default();
        lines = text.lines().map(str::to_owned).collect();
        lines.len() == 3
    });
    let _ = (victim.kill(), victim.wait());
    assert!(reported, "the other test says nothing");
    let pid: i32 = lines[0].parse().unwrap_or_else(|e| panic!("{e}"));
    let dirs = [Path::new(&lines[1]), Path::new(&lines[2])];
    let clean = eventually(Duration::from_secs(30), || {
        !alive(pid)
            && dirs.iter().all(|dir| {
                !dir.exists() && loops_below(dir).is_empty() && mounts_below_anywhere(dir).is_empty()
            })
    });
    assert!(clean, "something of {lines:?} is left");
}
