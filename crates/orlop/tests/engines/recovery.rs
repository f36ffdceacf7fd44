//! The daemon dies under containers, comes back, and takes its time.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use orlop_testkit::{OrlopDaemon, Part, require, skip::program};
use serde_json::json;

use crate::world::{WithDocker, attachments, call, manifest, says, soon, volume, with_docker};

/// How late an engine may be answered.
const ANSWERED: Duration = Duration::from_secs(4);

#[test]
fn docker_container_goes_on_writing_while_the_daemon_is_dead() {
    require!(Part::Docker, Part::Loop);
    let mut world = with_docker("");
    world.daemon.apply(&manifest("data", "ReadWriteOnce", "persistent")).ok();
    world.docker.run(["volume", "create", "-d", "orlop", "data"]).ok();
    let write = "while date +%s%N >> /data/log; do sleep 0.05; done";
    let writer = ["-d", "--init", "--name", "writer", "-v", "data:/data"];
    world.docker.container(&writer, &["sh", "-c", write]).ok();
    let log = format!("/proc/{}/root/data/log", world.docker.container_pid("writer"));
    let lines = || fs::read_to_string(&log).map(|text| text.lines().count()).unwrap_or_default();
    let goes_on = |when: &str| {
        let before = lines();
        soon(when, || lines() > before + 3);
    };
    goes_on("it writes before");
    world.daemon.kill9();
    goes_on("it writes while the daemon is dead");
    world.daemon.restart();
    goes_on("it writes after");
    let holders = attachments(&world.daemon, "data");
    assert_eq!(holders.len(), 1, "adopted: {holders:?}");
    assert_eq!(volume(&world.daemon, "data")["status"]["state"], "active");

    world.docker.run(["stop", "-t", "1", "writer"]).ok();
    soon("the stop detaches it", || attachments(&world.daemon, "data").is_empty());
    world.daemon.assert_nothing_left();
    let kept = world.docker.container(&["--rm", "-v", "data:/data"], &["wc", "-l", "/data/log"]).ok();
    assert!(kept.split_whitespace().next().unwrap().parse::<u32>().unwrap() > 9, "{kept}");
}

#[test]
fn docker_container_ends_while_the_daemon_is_dead() {
    require!(Part::Docker, Part::Loop);
    let mut world = with_docker("");
    world.daemon.apply(&manifest("data", "ReadWriteOnce", "persistent")).ok();
    world.docker.run(["volume", "create", "-d", "orlop", "data"]).ok();
    world.docker.container(&["-d", "--init", "--name", "user", "-v", "data:/data"], &["sleep", "600"]).ok();
    world.daemon.kill9();
    // Docker tries for 15 s to say that the volume is no longer mounted, and gives up.
    let _ = world.docker.run(["rm", "-f", "user"]);
    world.daemon.restart();
    soon("the volume is free", || world.docker.container(&["--rm", "-v", "data:/data"], &["true"]).success());
}

/// A program of that name in front of PATH, which waits while the file `blocked` exists and counts
/// its calls in `calls`.
fn slow_program(dir: &Path, name: &str) {
    let real = program(name).unwrap();
    let text = format!(
        "#!/bin/sh\necho {name} >> {0}/calls\nwhile [ -e {0}/blocked ]; do sleep 0.05; done\nexec {1} \"$@\"\n",
        dir.display(),
        real.display()
    );
    let file = dir.join(name);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn docker_mount_of_a_volume_that_is_checked_is_answered_in_time() {
    require!(Part::Docker, Part::Loop);
    let tools = orlop_testkit::Scratch::new("tools");
    slow_program(tools.path(), "e2fsck");
    let path = format!("{}:{}", tools.path().display(), std::env::var("PATH").unwrap());
    let daemon = OrlopDaemon::builder().env("PATH", path).start();
    daemon.apply(&manifest("data", "ReadWriteOnce", "persistent")).ok();
    let socket = || daemon.docker_socket();
    let mount = |id: &str| call(socket(), "/VolumeDriver.Mount", &json!({ "Name": "data", "ID": id }));
    let unmount = |id: &str| call(socket(), "/VolumeDriver.Unmount", &json!({ "Name": "data", "ID": id }));

    // The image as it is while it is mounted has a log that wants replaying. With a wrong bit in
    // its superblock the kernel refuses it, and a check is begun.
    let (status, answer) = mount("first");
    assert_eq!(status, 200, "{answer}");
    let directory = answer["Mountpoint"].as_str().unwrap().to_owned();
    let mut note = fs::File::create(Path::new(&directory).join("note")).unwrap();
    note.write_all(b"kept").unwrap();
    note.sync_all().unwrap();
    drop(note);
    let id = volume(&daemon, "data")["status"]["id"].as_str().unwrap().to_owned();
    let image = daemon.state_dir().join("pool/volumes").join(id).join("data.img");
    let dirty = fs::read(&image).unwrap();
    let label = 1024 + 0x78;
    assert_eq!(unmount("first").0, 200);
    daemon.assert_nothing_left();
    let mut spoilt = dirty.clone();
    spoilt[label] ^= 1;
    fs::write(&image, spoilt).unwrap();

    let calls = || fs::read_to_string(tools.join("calls")).unwrap_or_default().lines().count();
    fs::write(tools.join("blocked"), "").unwrap();
    for id in ["second", "third"] {
        let start = Instant::now();
        let (status, answer) = mount(id);
        assert!(start.elapsed() < ANSWERED, "answered after {:?}: {answer}", start.elapsed());
        assert_eq!(status, 500, "{answer}");
        says(answer["Err"].as_str().unwrap(), &["data", "still recovering, retry"]);
    }
    assert_eq!(calls(), 1, "the work goes on once");
    // Reads are not kept waiting by it.
    let (status, answer) = call(socket(), "/VolumeDriver.Get", &json!({ "Name": "data" }));
    assert_eq!((status, &answer["Volume"]["Name"]), (200, &json!("data")));
    fs::write(&image, dirty).unwrap();
    fs::remove_file(tools.join("blocked")).unwrap();
    let mut mountpoint = String::new();
    soon("a retry succeeds", || {
        let (status, answer) = mount("fourth");
        mountpoint = answer["Mountpoint"].as_str().unwrap_or_default().to_owned();
        status == 200
    });
    assert_eq!(fs::read_to_string(Path::new(&mountpoint).join("note")).unwrap(), "kept");
    assert_eq!(calls(), 1, "it was begun once for all of them");
    let holders = attachments(&daemon, "data");
    assert_eq!(holders.len(), 1, "those who were told to retry hold nothing: {holders:?}");
    assert_eq!(unmount("fourth").0, 200);
    daemon.assert_nothing_left();
}

#[test]
fn docker_is_answered_in_order_by_a_daemon_that_starts_after_it() {
    require!(Part::Docker, Part::Loop);
    let WithDocker { mut daemon, docker } = with_docker("");
    daemon.apply(&manifest("data", "ReadWriteMany", "persistent")).ok();
    docker.run(["volume", "create", "-d", "orlop", "data"]).ok();
    daemon.stop();
    let mut waiting = docker.client(["run", "--rm", "--network", "none", "-v", "data:/data"]);
    waiting.args([orlop_testkit::engines::IMAGE, "touch", "/data/late"]);
    let mut waiting = waiting.spawn().unwrap();
    daemon.restart();
    assert!(waiting.wait().unwrap().success(), "Docker tries again until the daemon is there");
    drop(docker);
    daemon.assert_nothing_left();
}

/// The store is lost, and Compose's name for a volume is none of Orlop's: Docker finds it again all the same.
#[test]
fn docker_finds_a_volume_of_a_lost_store_under_its_name() {
    require!(Part::Docker, Part::Loop);
    let mut world = with_docker("");
    let docker = &world.docker;
    docker.run(["volume", "create", "-d", "orlop", "-o", "size=64Mi", "Web_data"]).ok();
    docker.container(&["--rm", "-v", "Web_data:/data"], &["sh", "-c", "echo kept > /data/note"]).ok();
    soon("nobody uses it", || orlop_testkit::mounts::loops_below(world.daemon.scratch().path()).is_empty());
    world.daemon.kill9();
    for file in ["orlop.db", "orlop.db-wal", "orlop.db-shm"] {
        let _ = fs::remove_file(world.daemon.state_dir().join(file));
    }
    world.daemon.restart();
    let pool = world.daemon.state_dir().join("pool");
    let done = world.daemon.cli(["pool", "import", "--path", pool.to_str().unwrap()]).ok();
    says(&done, &["imported, of", "known to docker as Web_data"]);
    let read = world.docker.container(&["--rm", "-v", "Web_data:/data"], &["cat", "/data/note"]).ok();
    assert_eq!(read, "kept");
    let listed = world.docker.volume_ls();
    assert_eq!(listed.iter().map(|volume| volume.name.as_str()).collect::<Vec<_>>(), ["Web_data"]);
}
