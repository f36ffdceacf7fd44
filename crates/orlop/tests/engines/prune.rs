//! Another tool's prune and rm destroy nothing that a manifest declared.

use orlop_testkit::{Part, require};

use crate::world::{manifest, says, volume, with_docker, with_podman};

#[test]
fn podman_reload_and_prune_lose_nothing() {
    require!(Part::Podman, Part::Loop);
    let world = with_podman("");
    let podman = &world.podman;
    world.daemon.apply(&manifest("data", "ReadWriteMany", "temp")).ok();
    podman.run(["volume", "reload"]).ok();
    podman.container(&["--rm", "-v", "data:/data"], &["sh", "-c", "echo kept > /data/note"]).ok();
    // Each refusal is an error of Podman's; what counts is what is left.
    let _ = podman.run(["volume", "prune", "-f"]);
    says(&podman.run(["volume", "rm", "data"]).fails(), &["declared by a manifest", "use orlop delete"]);
    let _ = podman.run(["volume", "rm", "-f", "data"]);
    podman.run(["volume", "reload"]).ok();
    let read = podman.container(&["--rm", "-v", "data:/data"], &["cat", "/data/note"]).ok();
    assert_eq!(read, "kept");
    assert_eq!(volume(&world.daemon, "data")["status"]["state"], "active");
}

#[test]
fn docker_prune_loses_nothing() {
    require!(Part::Docker, Part::Loop);
    let world = with_docker("");
    let docker = &world.docker;
    world.daemon.apply(&manifest("data", "ReadWriteMany", "temp")).ok();
    docker.run(["volume", "create", "-d", "orlop", "data"]).ok();
    docker.container(&["--rm", "-v", "data:/data"], &["sh", "-c", "echo kept > /data/note"]).ok();
    // Newer ones need the flag to prune volumes that have a name, older ones don't know it.
    for prune in [
        &["volume", "prune", "-f"][..],
        &["volume", "prune", "-f", "--all"],
        &["system", "prune", "-f", "--volumes"],
    ] {
        let _ = docker.run(prune);
    }
    // That took the image too.
    docker.import_busybox();
    says(&docker.run(["volume", "rm", "data"]).fails(), &["declared by a manifest", "use orlop delete"]);
    let read = docker.container(&["--rm", "-v", "data:/data"], &["cat", "/data/note"]).ok();
    assert_eq!(read, "kept");
    assert_eq!(volume(&world.daemon, "data")["status"]["state"], "active");
}
