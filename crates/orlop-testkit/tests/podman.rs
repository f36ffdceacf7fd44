//! The Podman harness itself: real containers under a real private Podman.
#![forbid(unsafe_code)]

use std::path::Path;

use orlop_testkit::engines::IMAGE;
use orlop_testkit::process::{alive, kill9};
use orlop_testkit::{Part, Podman, require};

#[test]
fn runs_a_container() {
    require!(Part::Podman);
    let podman = Podman::start();
    podman.import_busybox();
    assert_eq!(podman.container(&["--rm"], &["echo", "cargo"]).ok(), "cargo");
    assert_eq!(podman.container(&["--rm", "--user", "app"], &["id", "-u"]).ok(), "1000");
    podman.container(&["--rm"], &["sh", "-c", "exit 7"]).exits(7);
}

#[test]
fn two_know_nothing_of_each_other_and_the_host_nothing_of_either() {
    require!(Part::Podman);
    let (one, other) = (Podman::start(), Podman::start());
    one.run(["volume", "create", "only-here"]).ok();
    assert_eq!(one.volume_ls().len(), 1);
    assert_eq!(other.volume_ls(), []);
    let locks = one.namespace().host_path("/dev/shm/libpod_lock");
    assert!(locks.exists(), "its locks are in the private /dev/shm");
}

#[test]
fn containers_of_a_pod_share_a_volume() {
    require!(Part::Podman);
    let podman = Podman::start();
    podman.import_busybox();
    podman.run(["pod", "create", "--network", "none", "--name", "pair"]).ok();
    let write = "echo cargo > /hold/file; sleep 600";
    let in_pod = ["--pod", "pair", "-v", "hold:/hold"];
    podman.container(&[&in_pod[..], &["-d", "--name", "writer"]].concat(), &["sh", "-c", write]).ok();
    let read = "while ! cat /hold/file 2>/dev/null; do sleep 0.1; done";
    let reader = podman.container(&[&in_pod[..], &["--rm"]].concat(), &["sh", "-c", read]);
    assert_eq!(reader.ok(), "cargo");
    assert_eq!(podman.run(["pod", "inspect", "--format", "{{.State}}", "pair"]).ok(), "Running");
}

#[test]
fn a_container_outlives_its_monitor_and_both_can_be_killed() {
    require!(Part::Podman);
    let podman = Podman::start();
    podman.import_busybox();
    podman.container(&["-d", "--name", "sleeper"], &["sleep", "600"]).ok();
    let pid = podman.container_pid("sleeper");
    podman.kill_conmon("sleeper");
    assert!(alive(pid));
    kill9(pid);
    podman.run(["rm", "-f", "sleeper"]).ok();
    assert_eq!(podman.run(["ps", "-aq"]).ok(), "");
}

#[test]
fn a_configured_plugin_is_called() {
    require!(Part::Podman);
    let podman = Podman::start();
    let unknown = podman.run(["volume", "create", "--driver", "nobody", "v"]).fails();
    podman.set_plugins(&[("nobody", Path::new("/nowhere/nobody.sock"))]);
    let known = podman.run(["volume", "create", "--driver", "nobody", "v"]).fails();
    assert!(!unknown.contains("/nowhere/nobody.sock"), "{unknown}");
    assert!(known.contains("/nowhere/nobody.sock"), "{known}");
}

#[test]
fn nothing_remains() {
    require!(Part::Podman);
    let podman = Podman::start();
    podman.import_busybox();
    podman.container(&["-d", "--name", "sleeper"], &["sleep", "600"]).ok();
    let pid = podman.container_pid("sleeper");
    let base = podman.namespace().scratch().path().to_owned();
    let cgroup = base.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    assert!(podman.run(["images"]).ok().contains(IMAGE));
    drop(podman);
    assert!(!alive(pid));
    assert!(!base.exists());
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        assert!(!hierarchy.path().join(&cgroup).exists(), "{:?}", hierarchy.path());
    }
}
