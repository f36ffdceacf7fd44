//! What each front's consumers get: a path of the front's own, there while the front has the volume.

use std::time::Duration;

use orlop_testkit::{Part, command::eventually, mounts, require};

use crate::harness::*;

/// Nobody's id goes stale here.
fn patient(name: &str) -> World {
    World::with(name, |config| config.stale_after = Duration::from_secs(3600))
}

#[test]
fn a_path_for_each_front_while_it_has_the_volume() {
    require!(Part::Loop);
    let world = patient("fronts");
    world.make("data", "ReadWriteMany", "temp");
    let docker = world.attach("data", "one").unwrap().path;
    let podman = world.attach_as(&PODMAN, "data", "host", false).unwrap().path;
    assert!(docker.ends_with("docker/data") && podman.ends_with("podman/data"), "{docker:?} {podman:?}");
    std::fs::write(docker.join("file"), "cargo").unwrap();
    assert_eq!(std::fs::read_to_string(podman.join("file")).unwrap(), "cargo");

    let before = mounts::mounts_below_anywhere(&world.config.mount_dir);
    assert_eq!(world.attach("data", "two").unwrap().path, docker);
    let after = mounts::mounts_below_anywhere(&world.config.mount_dir);
    assert_eq!(before, after, "nothing new of the kernel for the next of the same front");

    let path = |front| world.engine().attached_path(&front, &key("data")).unwrap().map(|it| it.path);
    world.detach("data", "one").unwrap();
    assert_eq!(path(DOCKER), Some(docker.clone()));
    world.detach("data", "two").unwrap();
    assert_eq!((path(DOCKER), path(PODMAN)), (None, Some(podman.clone())));
    assert!(!docker.parent().unwrap().exists(), "the mount point goes too");
    assert_eq!(std::fs::read_to_string(podman.join("file")).unwrap(), "cargo");
    world.detach_as(&PODMAN, "data", "host").unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn who_may_only_read_has_a_path_of_his_own() {
    require!(Part::Loop);
    let world = patient("fronts-ro");
    world.make("data", "ReadWriteMany", "temp");
    let writer = world.attach("data", "writer").unwrap().path;
    let reader = world.attach_as(&DOCKER, "data", "reader", true).unwrap().path;
    let other = world.attach_as(&PODMAN, "data", "host", true).unwrap().path;
    world.detach("data", "writer").unwrap();
    assert!(!writer.exists(), "nobody of that front may write any more");
    for path in [&reader, &other] {
        assert!(path.exists() && std::fs::write(path.join("x"), "x").is_err(), "{path:?}");
    }
    world.detach("data", "reader").unwrap();
    assert!(!reader.exists() && other.exists());
    world.detach_as(&PODMAN, "data", "host").unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn a_path_that_somebody_sits_in_goes_when_he_leaves() {
    require!(Part::Loop);
    let world = patient("fronts-busy");
    world.make("data", "ReadWriteMany", "temp");
    let docker = world.attach("data", "one").unwrap().path;
    let podman = world.attach_as(&PODMAN, "data", "host", false).unwrap().path;
    let file = std::fs::File::create(docker.join("file")).unwrap();
    world.detach("data", "one").unwrap();
    assert!(world.told("Lingering"));
    assert_eq!(world.volume("data").status.attachments.len(), 1);
    drop(file);
    assert!(eventually(Duration::from_secs(20), || !docker.exists()), "the background tries again");
    assert!(podman.join("file").exists(), "the other front goes on");
    world.detach_as(&PODMAN, "data", "host").unwrap();
    world.assert_nothing_mounted();
}
