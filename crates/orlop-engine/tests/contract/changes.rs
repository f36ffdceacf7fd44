//! What apply changes in place, and what it refuses.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use orlop_engine::*;
use orlop_model::{
    ErrorKind,
    resource::{Deletion, Outcome},
};
use orlop_testkit::{Part, require};

use crate::harness::*;

const PLAIN: &str = "size: 16Mi, accessMode: ReadWriteMany, type: temp";

fn ownership(path: &std::path::Path) -> (u32, u32, u32) {
    let found = std::fs::metadata(path).unwrap();
    (found.uid(), found.gid(), found.permissions().mode() & 0o7777)
}

#[test]
fn ownership_is_applied_at_once_or_at_the_next_attach_and_only_when_it_changes() {
    require!(Part::Loop);
    let world = World::new("ownership");
    world.apply("data", &format!("{PLAIN}, uid: 1000, gid: 1001, mode: 0770")).unwrap();
    let path = world.attach("data", "one").unwrap().path;
    assert_eq!(ownership(&path), (1000, 1001, 0o770));
    std::fs::write(path.join("file"), "").unwrap();

    let changed = world.apply("data", &format!("{PLAIN}, uid: 2000, gid: 1001, mode: 0770")).unwrap();
    assert_eq!(
        (changed.outcome, changed.changes.as_slice()),
        (Outcome::Configured, &["volume.uid".to_owned()][..])
    );
    assert_eq!(ownership(&path), (2000, 1001, 0o770), "at once, while attached");
    assert_eq!(ownership(&path.join("file")).0, 0, "never what is inside");
    world.detach("data", "one").unwrap();

    world.apply("data", &format!("{PLAIN}, uid: 2000, gid: 1001, mode: 0755")).unwrap();
    let path = world.attach("data", "two").unwrap().path;
    assert_eq!(ownership(&path), (2000, 1001, 0o755));
    // A program in a container gave it to its own user: that stays.
    std::os::unix::fs::chown(&path, Some(999), Some(999)).unwrap();
    world.detach("data", "two").unwrap();
    let path = world.attach("data", "three").unwrap().path;
    assert_eq!(ownership(&path), (999, 999, 0o755));
    world.detach("data", "three").unwrap();
}

#[test]
fn mount_options_that_are_not_in_force_yet_are_told() {
    require!(Part::Loop);
    let world = World::new("options");
    world.apply("data", &format!("{PLAIN}, mountOptions: noatime")).unwrap();
    world.attach("data", "one").unwrap();
    let target = world.mkdir("target");
    world.mount("data", &target, MountAccess::ByMode).unwrap();
    let notes = || world.volume("data").status.notes;
    assert!(notes().is_empty(), "{:?}", notes());

    let changed = world.apply("data", &format!("{PLAIN}, mountOptions: noexec+sync")).unwrap();
    let told = "its users have it mounted with noatime; when they have left, the next ones get noexec,sync";
    assert_eq!(changed.resource.status.notes, [told]);
    let listed = world.engine().volumes(&ROOT, &VolumeQuery::default()).unwrap().items;
    assert_eq!(listed[0].status.notes, [told]);
    world.detach("data", "one").unwrap();
    assert_eq!(notes(), [told], "the host still has it");
    world.engine().unmount(&ROOT, &target).unwrap();
    assert!(notes().is_empty(), "{:?}", notes());

    world.attach("data", "two").unwrap();
    assert!(notes().is_empty(), "{:?}", notes());
    world.apply("data", PLAIN).unwrap();
    let told =
        "its users have it mounted with noexec,sync; when they have left, the next ones get no mount option";
    assert_eq!(notes(), [told]);
    world.apply("data", &format!("{PLAIN}, mountOptions: sync+noexec")).unwrap();
    assert!(notes().is_empty(), "{:?}", notes());
    world.detach("data", "two").unwrap();
}

#[test]
fn what_can_not_change_is_refused_and_nothing_is_written() {
    require!(Part::Loop);
    let world = World::new("immutable");
    let made = world.apply("data", PLAIN).unwrap().resource;
    for spec in [
        "size: 16Mi, accessMode: ReadWriteMany, type: temp, preallocate: true",
        "size: 16Mi, accessMode: ReadWriteMany, type: temp, pool: other",
    ] {
        let error = fails(world.apply("data", spec), ErrorKind::Immutable);
        assert!(error.hint.is_some(), "{error}");
    }
    for (spec, word) in [
        (
            "size: 16Mi, accessMode: ReadWriteOnce, type: CloudTemp",
            "needs an object store, which this build does not have",
        ),
        ("size: 16Mi, accessMode: ReadWriteMany, type: temp, volumeMode: Block", "Block"),
    ] {
        let error = fails(world.apply("data", spec), ErrorKind::Unsupported);
        assert!(error.message.contains(word), "{error}");
        fails(world.apply("new", spec), ErrorKind::Unsupported);
    }
    let now = world.volume("data");
    assert_eq!((now.status.generation, &now.manifest), (made.status.generation, &made.manifest));
}

#[test]
fn the_mode_changes_only_where_those_attached_allow_it() {
    require!(Part::Loop);
    let world = World::new("mode-change");
    world.make("data", "ReadWriteMany", "temp");
    let path = world.attach("data", "one").unwrap().path;
    let _one = Container::start(&path, &world.mkdir("c"), &world.config.mount_dir, false);
    world.attach("data", "two").unwrap();
    let once = "size: 16Mi, accessMode: ReadWriteOnce, type: temp";
    let error = fails(world.apply("data", once), ErrorKind::InUse);
    assert!(
        error.message.contains("docker mount one") && error.message.contains("docker mount two"),
        "{error}"
    );
    world.detach("data", "two").unwrap();
    assert_eq!(world.apply("data", once).unwrap().outcome, Outcome::Configured);
    fails(world.attach("data", "two"), ErrorKind::AccessRefused);
}

#[test]
fn the_type_decides_at_delete() {
    require!(Part::Loop);
    let world = World::new("type-change");
    let made = world.apply("data", PLAIN).unwrap().resource;
    world.apply("data", "size: 16Mi, accessMode: ReadWriteMany, type: persistent").unwrap();
    let path = world.attach("data", "one").unwrap().path;
    std::fs::write(path.join("file"), "cargo").unwrap();
    world.detach("data", "one").unwrap();
    assert_eq!(world.delete("data").unwrap(), Deletion::Released);
    assert!(world.image(&made).exists(), "its data is retained");
    let released = VolumeQuery { released: true, ..VolumeQuery::default() };
    let listed = world.engine().volumes(&ROOT, &released).unwrap().items;
    assert_eq!(listed.iter().map(|volume| volume.status.id).collect::<Vec<_>>(), [made.status.id]);
    assert_eq!(listed[0].status.deleted_by, Some(0));
    let json = std::fs::read_to_string(world.directory(&made).join("volume.json")).unwrap();
    assert!(json.contains("\"released\""), "{json}");

    // The name is free, and the new volume is told of the old data.
    let again = world.apply("data", PLAIN).unwrap();
    assert_eq!(again.outcome, Outcome::Created);
    assert!(again.resource.status.notes.iter().any(|note| note.contains(&made.status.id.to_string())));
    assert!(!world.attach("data", "one").unwrap().path.join("file").exists());
    world.detach("data", "one").unwrap();
    let pool = world.engine().pool(&ROOT, &"default".parse().unwrap()).unwrap();
    assert_eq!((pool.reserved.bytes(), pool.volumes), (32 * MIB, 2), "released data counts");
    fails(world.engine().delete(&ROOT, &VolumeRef::Id(made.status.id), false), ErrorKind::Conflict);
}

#[test]
fn a_forced_delete_waits_for_the_last_holder() {
    require!(Part::Loop);
    let world = World::new("force");
    let made = world.make("data", "ReadWriteMany", "temp");
    let path = world.attach("data", "one").unwrap().path;
    let container = Container::start(&path, &world.mkdir("c"), &world.config.mount_dir, true);
    assert_eq!(world.engine().delete(&ROOT, &key("data"), true).unwrap(), Deletion::Deleting);
    fails(world.attach("data", "two"), ErrorKind::Conflict);
    let reason = || world.by_id(&made).unwrap().status.reason.unwrap();
    assert!(reason().contains("docker mount one"), "{}", reason());
    world.detach("data", "one").unwrap();
    // The record is gone, the kernel still has a writer.
    let named = || container.is_named_in(&reason());
    assert!(orlop_testkit::command::eventually(std::time::Duration::from_secs(20), named), "{}", reason());
    assert!(world.image(&made).exists());
    container.end();
    let gone = orlop_testkit::command::eventually(std::time::Duration::from_secs(20), || {
        world.by_id(&made).is_err()
    });
    assert!(gone, "{:?}", world.by_id(&made));
    assert!(!world.config.state_dir.join("pool/volumes").join(made.status.id.to_string()).exists());
    world.assert_nothing_mounted();
}

#[test]
fn an_apply_that_meets_a_deletion_makes_the_volume_anew() {
    require!(Part::Loop);
    let world = World::new("apply-delete");
    for kind in ["temp", "persistent"] {
        std::thread::scope(|scope| {
            let deleting = scope.spawn(|| {
                for _ in 0..40 {
                    if let Err(error) = world.delete("data") {
                        assert!(matches!(error.kind, ErrorKind::NotFound | ErrorKind::Conflict), "{error}");
                    }
                }
            });
            while !deleting.is_finished() {
                world.make("data", "ReadWriteMany", kind);
            }
        });
    }
}
