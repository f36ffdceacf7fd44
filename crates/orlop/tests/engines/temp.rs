//! The data of a temp volume after the containers of real engines.

use std::time::Duration;

use orlop_testkit::{Part, require};

use crate::world::{soon, volume, with_docker, with_podman};

const SOON: &str = "tempGracePeriod: 4s\n";

#[test]
fn docker_start_within_the_grace_finds_the_data_and_after_it_does_not() {
    require!(Part::Docker, Part::Loop);
    let world = with_docker(SOON);
    let docker = &world.docker;
    docker.run(["volume", "create", "-d", "orlop", "-o", "size=64Mi", "-o", "type=temp", "scratch"]).ok();
    let keep = "[ -e /data/note ] && cat /data/note || echo none; echo kept > /data/note";
    docker.container(&["--name", "one", "-v", "scratch:/data"], &["sh", "-c", keep]).ok();
    let wipe = || volume(&world.daemon, "scratch")["status"]["wipe"].clone();
    assert_eq!(wipe()["afterSeconds"], 4);
    assert!(wipe()["leftSeconds"].is_u64());
    assert_eq!(docker.run(["start", "-a", "one"]).ok(), "kept", "it came back in time");
    soon("the wipe", || wipe()["leftSeconds"].is_null());
    assert_eq!(docker.run(["start", "-a", "one"]).ok(), "none", "nobody used it for longer than that");
    docker.run(["rm", "one"]).ok();
    let forever = ["-o", "size=64Mi", "-o", "type=temp", "-o", "tempGracePeriod=never", "forever"];
    docker.run([&["volume", "create", "-d", "orlop"][..], &forever].concat()).ok();
    assert!(volume(&world.daemon, "forever")["status"]["wipe"].is_null());
}

#[test]
fn podman_leaves_when_its_last_container_ends() {
    require!(Part::Podman, Part::Loop);
    let world = with_podman(SOON);
    let podman = &world.podman;
    podman
        .run(["volume", "create", "--driver", "orlop", "-o", "size=64Mi", "-o", "type=temp", "scratch"])
        .ok();
    podman.container(&["-d", "--name", "stays", "-v", "scratch:/data"], &["sleep", "600"]).ok();
    podman.container(&["--rm", "-v", "scratch:/data"], &["sh", "-c", "echo kept > /data/note"]).ok();
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(podman.run(["exec", "stays", "cat", "/data/note"]).ok(), "kept", "another still uses it");
    podman.run(["rm", "-f", "-t", "0", "stays"]).ok();
    let left = || volume(&world.daemon, "scratch")["status"]["wipe"]["leftSeconds"].clone();
    soon("the countdown", || left().is_u64());
    soon("the wipe", || left().is_null());
    let read = podman.container(&["--rm", "-v", "scratch:/data"], &["ls", "/data"]).ok();
    assert_eq!(read, "");
}
