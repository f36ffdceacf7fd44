//! Access modes, as attached volumes keep them.

use orlop_engine::*;
use orlop_model::ErrorKind;
use orlop_testkit::{Part, require};

use crate::harness::*;

#[test]
fn one_scope_at_a_time_for_read_write_once() {
    require!(Part::Loop);
    let world = World::new("rwo");
    world.make("data", "ReadWriteOnce", "temp");
    let path = world.attach("data", "one").unwrap().path;
    assert_eq!(world.attach("data", "one").unwrap().path, path, "the same scope is the same attachment");
    // Held by a process, so that the id does not go stale.
    let container = Container::start(&path, &world.mkdir("c"), &world.config.mount_dir, false);
    let error = fails(world.attach("data", "two"), ErrorKind::AccessRefused);
    for word in ["public/data", "ReadWriteOnce", "docker mount one", "since", "two targets"] {
        assert!(error.message.contains(word), "{word}: {error}");
    }
    assert!(world.told("AccessRefused"));
    container.end();
    world.detach("data", "one").unwrap();
    world.attach("data", "two").unwrap();
    world.detach("data", "two").unwrap();
}

#[test]
fn read_only_many_is_filled_by_its_owner_alone() {
    require!(Part::Loop);
    let world = World::new("rox");
    world.make("data", "ReadOnlyMany", "temp");
    let target = world.mkdir("fill");
    let filling = world.mount("data", &target, MountAccess::ReadWrite).unwrap();
    assert!(!filling.read_only);
    std::fs::write(target.join("file"), "cargo").unwrap();
    let error = fails(world.attach("data", "reader"), ErrorKind::AccessRefused);
    assert!(error.message.contains("being filled by host mount"), "{error}");
    world.engine().unmount(&ROOT, &target).unwrap();

    let one = world.attach("data", "one").unwrap();
    let two = world.attach("data", "two").unwrap();
    assert!(one.read_only && two.read_only);
    assert_eq!(std::fs::read_to_string(one.path.join("file")).unwrap(), "cargo");
    let error = std::fs::write(one.path.join("file"), "x").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix_rofs()), "{error}");
    let container = Container::start(&one.path, &world.mkdir("c"), &world.config.mount_dir, false);
    fails(world.mount("data", &target, MountAccess::ReadWrite), ErrorKind::AccessRefused);
    container.end();
    let looking = world.mount("data", &target, MountAccess::ByMode).unwrap();
    assert!(looking.read_only);
    assert!(std::fs::write(target.join("x"), "x").is_err());
    world.engine().unmount(&ROOT, &target).unwrap();
    world.detach("data", "one").unwrap();
    world.detach("data", "two").unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn a_read_only_volume_has_no_readers_while_a_moved_mount_still_fills_it() {
    require!(Part::Loop);
    let world = World::new("rox-moved");
    world.make("data", "ReadOnlyMany", "temp");
    let target = world.mkdir("area/fill");
    world.mount("data", &target, MountAccess::ReadWrite).unwrap();
    // A mount point stays where it is; the directory above it moves, and the mount with it.
    std::fs::rename(world.join("area"), world.join("moved")).unwrap();
    for _ in 0..2 {
        fails(world.attach("data", "reader"), ErrorKind::AccessRefused);
    }
    std::fs::write(world.join("moved/fill/file"), "cargo").unwrap();
    orlop_sys::mount::unmount(&world.join("moved/fill")).unwrap();
    world.attach("data", "reader").unwrap();
    world.detach("data", "reader").unwrap();
    world.assert_nothing_mounted();
}

fn rustix_rofs() -> i32 {
    orlop_sys::Errno::ROFS.raw_os_error()
}

#[test]
fn one_pod_is_refused_where_it_can_not_be_told() {
    require!(Part::Loop);
    let world = World::new("rwop");
    world.make("data", "ReadWriteOncePod", "temp");
    let error = fails(world.attach_as(&PODMAN, "data", "host", false), ErrorKind::AccessRefused);
    assert!(error.message.contains("once for all its containers"), "{error}");
    world.attach("data", "one").unwrap();
    world.detach("data", "one").unwrap();
}

#[test]
fn podman_has_read_write_once_per_host_and_the_status_says_so() {
    require!(Part::Loop);
    let world = World::new("podman-rwo");
    world.make("data", "ReadWriteOnce", "temp");
    let path = world.attach_as(&PODMAN, "data", "host", false).unwrap().path;
    assert_eq!(world.attach_as(&PODMAN, "data", "host", false).unwrap().path, path);
    let container = Container::start(&path, &world.mkdir("c"), &world.config.mount_dir, false);
    let status = world.volume("data").status;
    assert_eq!(status.attachments.len(), 1);
    assert!(status.notes.iter().any(|note| note.contains("per host")), "{:?}", status.notes);
    fails(world.attach("data", "docker"), ErrorKind::AccessRefused);
    container.end();
    world.detach_as(&PODMAN, "data", "host").unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn one_consumer_reads_while_another_writes() {
    require!(Part::Loop);
    let world = World::new("mixed");
    world.make("data", "ReadWriteMany", "temp");
    let writer = world.attach("data", "writer").unwrap();
    let reader = world.attach_as(&DOCKER, "data", "reader", true).unwrap();
    assert!(reader.read_only && !writer.read_only);
    std::fs::write(writer.path.join("file"), "cargo").unwrap();
    assert_eq!(std::fs::read_to_string(reader.path.join("file")).unwrap(), "cargo");
    assert!(std::fs::write(reader.path.join("file"), "x").is_err());
    assert!(
        !reader.path.join(".orlop").exists() && !writer.path.join(".orlop").exists(),
        "users see data alone"
    );
    world.detach("data", "writer").unwrap();
    world.detach("data", "reader").unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn volumes_are_mounted_without_set_user_id_and_devices() {
    require!(Part::Loop);
    let world = World::new("options");
    world
        .apply("data", "size: 16Mi, accessMode: ReadWriteMany, type: temp, mountOptions: noexec+noatime")
        .unwrap();
    world.attach("data", "one").unwrap();
    world.attach_as(&DOCKER, "data", "two", true).unwrap();
    let mounts = orlop_testkit::mounts::mounts();
    let ours: Vec<_> = mounts
        .iter()
        .filter(|mount| {
            mount.target != world.config.mount_dir && mount.target.starts_with(&world.config.mount_dir)
        })
        .collect();
    assert_eq!(ours.len(), 3, "the base and both ways: {ours:?}");
    for mount in ours {
        for option in ["nosuid", "nodev", "noexec", "noatime"] {
            assert!(mount.options.split(',').any(|word| word == option), "{option}: {mount:?}");
        }
    }
    world.detach("data", "one").unwrap();
    world.detach("data", "two").unwrap();
}
