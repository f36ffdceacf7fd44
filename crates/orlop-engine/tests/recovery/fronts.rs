//! Paths that engines remember after their attachment was dropped, and paths after a restart.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use orlop_model::ErrorKind;
use orlop_testkit::{Part, command::eventually, require};

use crate::{harness::*, holders::sandbox};

fn bind(from: &Path, to: &Path) -> bool {
    orlop_testkit::run(Command::new("mount").arg("--bind").args([from, to])).success()
}

#[test]
fn a_path_that_an_engine_remembers_leads_nowhere_once_another_front_has_the_volume() {
    require!(Part::Loop);
    let mut world = World::new("remembered");
    world.make("data", "ReadWriteOnce", "temp");
    let podman = world.attach_as(&PODMAN, "data", "host", false).unwrap().path;
    std::fs::write(podman.join("file"), "cargo").unwrap();
    let place = world.mkdir("c");
    Container::start(&podman, &place, &world.config.mount_dir, false).end();
    world.let_ids_go_stale();

    let docker = world.attach("data", "one").unwrap().path;
    assert_eq!(std::fs::read_to_string(docker.join("file")).unwrap(), "cargo");
    let container = Container::start(&docker, &place, &world.config.mount_dir, false);
    let nowhere = |when: &str| {
        assert!(!bind(&podman, &world.mkdir("d")), "{when}");
        assert!(!podman.parent().unwrap().exists(), "no empty directory either: {when}");
    };
    nowhere("at once");
    let error = fails(world.attach_as(&PODMAN, "data", "host", false), ErrorKind::AccessRefused);
    assert!(error.message.contains("docker mount one"), "{error}");
    nowhere("after a refusal");
    world.restart();
    let nowhere = |when: &str| assert!(!podman.parent().unwrap().exists(), "{when}");
    nowhere("after a restart");
    container.end();
    world.detach("data", "one").unwrap();
    nowhere("before it is asked for");

    assert_eq!(world.attach_as(&PODMAN, "data", "host", false).unwrap().path, podman);
    assert_eq!(std::fs::read_to_string(podman.join("file")).unwrap(), "cargo");
    world.detach_as(&PODMAN, "data", "host").unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn who_came_before_the_path_went_keeps_the_volume() {
    require!(Part::Loop);
    let world = World::new("came-before");
    world.make("data", "ReadWriteOnce", "temp");
    let podman = world.attach_as(&PODMAN, "data", "host", false).unwrap().path;
    std::fs::write(podman.join("file"), "cargo").unwrap();
    // No mount of it shows as a consumer's, and yet the kernel knows that somebody has it.
    let mut unseen = sandbox(&podman);
    world.let_ids_go_stale();
    let error = fails(world.attach("data", "one"), ErrorKind::AccessRefused);
    let process = format!("held by process {} (sh)", unseen.id());
    for word in ["podman mount host", &process] {
        assert!(error.message.contains(word), "{word}: {error}");
    }
    let error = fails(world.delete("data"), ErrorKind::InUse);
    assert!(error.message.contains(&process), "{error}");
    assert_eq!(std::fs::read_to_string(podman.join("file")).unwrap(), "cargo", "all is as it was");
    drop(unseen.stdin.take());
    unseen.wait().unwrap();
    world.attach("data", "one").unwrap();
    assert!(!podman.exists());
    world.detach("data", "one").unwrap();
    world.assert_nothing_mounted();
}

/// A process that binds `source` in a mount namespace of its own if it can, says whether it did, and
/// keeps it until its input ends.
fn binder(source: &Path, place: &Path) -> Child {
    let script =
        "mount --make-rprivate / && mount --bind $0 $1 2>/dev/null && echo bound || echo refused; read line";
    Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .args([source, place])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_container_that_starts_while_the_path_goes_does_not_share() {
    require!(Part::Loop);
    let world = World::new("race");
    world.make("data", "ReadWriteOnce", "temp");
    let place = world.mkdir("c");
    let (mut took, mut kept) = (0, 0);
    for round in 0..12 {
        let podman = world.attach_as(&PODMAN, "data", "host", false).unwrap().path;
        world.let_ids_go_stale();
        let mut binder = binder(&podman, &place);
        std::thread::sleep(Duration::from_millis(round));
        let attached = world.attach("data", "one");
        let mut said = String::new();
        BufReader::new(binder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let bound = said == "bound\n";
        assert!(!(bound && attached.is_ok()), "both have it in round {round}");
        took += u32::from(attached.is_ok());
        kept += u32::from(bound);
        drop(binder.stdin.take());
        binder.wait().unwrap();
        world.detach("data", "one").unwrap();
        world.detach_as(&PODMAN, "data", "host").unwrap();
    }
    println!("taken {took} times, kept {kept} times");
    world.assert_nothing_mounted();
}

#[test]
fn a_stale_id_beside_live_ones_takes_its_path_along() {
    require!(Part::Loop);
    let world = World::new("beside");
    world.make("data", "ReadWriteMany", "temp");
    let podman = world.attach_as(&PODMAN, "data", "host", false).unwrap().path;
    let file = std::fs::File::create(podman.join("file")).unwrap();
    world.let_ids_go_stale();
    let left = |dropped: bool| {
        let docker = world.attach("data", "one").unwrap().path;
        world.attach("data", "two").unwrap();
        world.detach("data", "two").unwrap();
        assert_eq!(podman.exists(), !dropped);
        let scopes: Vec<_> = world.volume("data").status.attachments.into_iter().map(|a| a.scope).collect();
        assert_eq!(scopes.contains(&"host".to_owned()), !dropped, "{scopes:?}");
        assert!(docker.join("file").exists());
        world.detach("data", "one").unwrap();
    };
    left(false);
    drop(file);
    left(true);
    world.assert_nothing_mounted();
}

#[test]
fn paths_are_there_after_a_restart_whatever_build_began() {
    require!(Part::Loop);
    let mut world = World::new("earlier");
    world.make("data", "ReadWriteMany", "temp");
    let docker = world.attach("data", "one").unwrap().path;
    let reader = world.attach_as(&DOCKER, "data", "two", true).unwrap().path;
    std::fs::write(docker.join("file"), "cargo").unwrap();
    world.crash();
    // As an earlier build had it: one path for all, and one for those who read.
    let own = docker.parent().unwrap().parent().unwrap();
    for path in [&docker, &reader] {
        orlop_sys::mount::unmount(path.parent().unwrap()).unwrap();
        std::fs::remove_dir(path.parent().unwrap()).unwrap();
    }
    std::fs::create_dir(own.join("ro")).unwrap();
    assert!(bind(&own.join("base/data"), &own.join("ro")));
    let place = world.mkdir("c");
    let container = Container::start(&own.join("ro"), &place, &world.config.mount_dir, false);
    let recovery = world.start();
    assert_eq!((recovery.adopted, recovery.dropped), (1, 0), "{recovery:?}");
    for path in [&docker, &reader] {
        assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
    }
    assert!(std::fs::write(reader.join("x"), "x").is_err());
    assert!(!own.join("ro").exists());
    container.end();
    world.detach("data", "one").unwrap();
    world.detach("data", "two").unwrap();
    world.assert_nothing_mounted();
    assert!(eventually(PATIENCE, || !own.exists()));
}
