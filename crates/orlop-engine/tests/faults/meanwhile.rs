//! What was decided on is asked for again when its turn comes: others work meanwhile, and what is wiped,
//! deleted or purged may be something else by then.

use std::{process::Command, time::Duration};

use orlop_engine::*;
use orlop_model::{
    ErrorKind, Size,
    resource::{Snapshot, SnapshotState, Volume, VolumeState},
};
use orlop_testkit::{Part, command::eventually, require};

use crate::{harness::*, patience::sql};

const SLOW: &str = "ORLOP_SLOW";

/// Whether to go on, in a process that is slowed down as a whole: what waits and works in the background is
/// threads of the engine's own.
fn slowed(test: &str, fault: &str) -> bool {
    if std::env::var_os(SLOW).is_some() {
        return true;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("meanwhile::{test}"), "--nocapture"])
        .envs([(SLOW, "1"), ("ORLOP_FAULT", fault)])
        .status()
        .unwrap();
    assert!(child.success(), "{child}");
    false
}

/// What is seen of it is from before the wipes of others, which may take long.
#[test]
fn who_came_back_while_others_were_wiped_is_counted_anew() {
    require!(Part::Loop);
    if !slowed("who_came_back_while_others_were_wiped_is_counted_anew", "wipe.formatted=sleep:6000@1") {
        return;
    }
    let world = World::with("slow-wipe", |config| config.temp_grace = orlop_model::Period::After(4));
    let names = ["first", "back", "longer", "kept"];
    for name in names {
        world.make(name, "ReadWriteMany", "temp");
        let path = world.attach(name, "one").unwrap().path;
        std::fs::write(path.join("file"), "old").unwrap();
    }
    for name in names {
        world.detach(name, "one").unwrap();
    }
    let told = || world.events().into_iter().map(|event| event.message).collect::<Vec<_>>().join("\n");
    let wiping = || std::fs::read_dir(world.directory(&world.volume("first"))).unwrap().count() == 3;
    assert!(eventually(PATIENCE, wiping), "{}", told());
    let path = world.attach("back", "two").unwrap().path;
    std::fs::write(path.join("file"), "new").unwrap();
    world.detach("back", "two").unwrap();
    let spec = "size: 16Mi, accessMode: ReadWriteMany, type: temp";
    world.apply("longer", &format!("{spec}, tempGracePeriod: 1h")).unwrap();
    world.apply("kept", &format!("{spec}, tempGracePeriod: never")).unwrap();
    assert!(wiping(), "or this shows nothing");
    let wiped = || world.events().into_iter().filter(|event| event.reason == "Wiped").count();
    assert!(eventually(PATIENCE, || wiped() == 1), "{}", told());
    std::thread::sleep(Duration::from_secs(1));
    for (name, holds) in [("back", "new"), ("longer", "old"), ("kept", "old")] {
        let path = world.attach(name, "three").unwrap().path;
        let held = std::fs::read_to_string(path.join("file")).ok();
        assert_eq!(held.as_deref(), Some(holds), "{name}: {}", told());
    }
    // And is wiped in its time.
    for name in names.into_iter().skip(1) {
        world.detach(name, "three").unwrap();
    }
    assert!(eventually(PATIENCE, || wiped() == 2), "{}", told());
}

/// The same of what is deleted as its time is over, where others are deleted before it.
#[test]
fn what_is_kept_longer_while_others_are_deleted_stays() {
    require!(Part::Loop, Part::Sqlite3);
    let test = "what_is_kept_longer_while_others_are_deleted_stays";
    if !slowed(test, "snapshot-delete.unlinked=sleep:5000@1") {
        return;
    }
    let mut world = World::new("slow-expiry");
    world.make("data", "ReadWriteMany", "temp");
    for name in ["one", "two"] {
        world.snapshot_as(&ROOT, name, "data", "1h", false).unwrap();
    }
    world.crash();
    sql(&world, "UPDATE snapshots SET expires_at = '2020-01-01T00:00:00.000000000Z'");
    world.start();
    let deleting = |world: &World, yes: bool| {
        let is = |s: &Snapshot| (s.status.state == SnapshotState::Deleting) == yes;
        world.snapshots().into_iter().find(is).map(|s| s.manifest.name.to_string())
    };
    assert!(eventually(PATIENCE, || deleting(&world, true).is_some()));
    let kept = deleting(&world, false).unwrap();
    world.snapshot_as(&ROOT, &kept, "data", "forever", false).unwrap();
    assert!(deleting(&world, true).is_some(), "or this shows nothing");
    assert!(eventually(PATIENCE, || deleting(&world, true).is_none()));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(world.snapshot_names(), [kept]);
}

#[test]
fn what_a_schedule_is_told_to_keep_while_it_deletes_stays() {
    require!(Part::Loop, Part::Sqlite3);
    let test = "what_a_schedule_is_told_to_keep_while_it_deletes_stays";
    if !slowed(test, "snapshot-delete.unlinked=sleep:5000@1") {
        return;
    }
    let world = World::new("slow-schedule");
    let keep = |last: u32| {
        let spec = "size: 16Mi, accessMode: ReadWriteMany, type: temp, snapshots: 0 0 1 1 *";
        world.apply("data", &format!("{spec}|{last}")).unwrap();
    };
    let due =
        |to| sql(&world, &format!("UPDATE snapshot_schedules SET due_at = '{to}-01-01T00:00:00.000000000Z'"));
    keep(9);
    let known = || sql(&world, "SELECT count(*) FROM snapshot_schedules") == "1";
    for made in 1..=3 {
        assert!(eventually(PATIENCE, known));
        due(2020);
        assert!(eventually(PATIENCE, || world.snapshots().len() == made), "{made}");
        std::thread::sleep(Duration::from_millis(1100));
    }
    keep(1);
    let deleting = || world.snapshots().iter().any(|s| s.status.state == SnapshotState::Deleting);
    due(2020);
    assert!(eventually(PATIENCE, deleting));
    keep(9);
    assert!(deleting(), "or this shows nothing");
    assert!(eventually(PATIENCE, || !deleting()));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(world.snapshots().len(), 3, "{:?}", world.snapshot_names());
}

#[test]
fn what_was_brought_back_while_others_were_purged_is_kept_anew() {
    require!(Part::Loop);
    let test = "what_was_brought_back_while_others_were_purged_is_kept_anew";
    if !slowed(test, "delete.unlinked=sleep:6000@1") {
        return;
    }
    let world = World::with("slow-purge", |config| {
        config.released_retention = orlop_model::Period::After(3);
    });
    let made = ["one", "two"].map(|name| world.make(name, "ReadWriteMany", "persistent"));
    for name in ["one", "two"] {
        world.delete(name).unwrap();
    }
    let states = || made.clone().map(|volume| world.by_id(&volume).ok().map(|now| now.status.state));
    let purged = |at: usize| matches!(states()[at], None | Some(VolumeState::Deleting));
    assert!(eventually(PATIENCE, || purged(0) || purged(1)));
    let kept = usize::from(purged(0));
    let volume = VolumeRef::Id(made[kept].status.id);
    world.engine().undelete(&ROOT, &UndeleteRequest { volume: volume.clone(), name: None }).unwrap();
    world.engine().delete(&ROOT, &volume, false).unwrap();
    assert_eq!(states()[1 - kept], Some(VolumeState::Deleting), "or this shows nothing");
    assert!(eventually(PATIENCE, || states()[1 - kept].is_none()));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(states()[kept], Some(VolumeState::Released));
    assert!(world.image(&made[kept]).exists());
}

/// Whoever deletes a volume by its name means the one that has it when it is deleted.
#[test]
fn a_volume_that_was_renamed_meanwhile_is_not_deleted_by_its_old_name() {
    require!(Part::Loop);
    let world = World::new("renamed-meanwhile");
    renamed_while_deleted(&world, &|| world.make("old", "ReadWriteMany", "temp"), &|| {
        world.delete("old").is_ok()
    });
    let request = AliasedRequest {
        external: "old".to_owned(),
        workspace: "public".parse().unwrap(),
        manifest: AliasedManifest { size: Some(Size::from_bytes(16 * MIB)), ..AliasedManifest::default() },
    };
    let make = || world.engine().create_aliased(&DOCKER, &request, PATIENCE).unwrap().resource;
    // Docker is told that it is gone, as it is by that name.
    renamed_while_deleted(&world, &make, &|| {
        world.engine().remove_aliased(&DOCKER, "old", PATIENCE).unwrap();
        let live = world.engine().volumes(&ROOT, &VolumeQuery::default()).unwrap();
        live.items.is_empty()
    });
}

/// Renames a volume while it is to be deleted, until the first of the two is the rename: then it is there
/// under its new name. `delete` says whether it was deleted.
fn renamed_while_deleted(world: &World, make: &dyn Fn() -> Volume, delete: &(dyn Fn() -> bool + Sync)) {
    for _ in 0..12 {
        let made = make();
        let renamed = std::thread::scope(|scope| {
            scope.spawn(|| {
                let _fault = fault::inject("snapshot.begun=sleep:600");
                world.snapshot("s", "old").unwrap();
            });
            std::thread::sleep(Duration::from_millis(200));
            let renaming = scope.spawn(|| {
                let VolumeRef::Key(volume) = key("old") else { unreachable!() };
                let forget = vec![orlop_model::resource::Front::Docker];
                let request = RenameRequest { volume, name: "new".parse().unwrap(), forget };
                world.engine().rename(&ROOT, &request).is_ok()
            });
            std::thread::sleep(Duration::from_millis(100));
            let deleted = delete();
            let renamed = renaming.join().unwrap();
            assert!(deleted != renamed, "one of the two");
            renamed
        });
        world.delete_snapshot("s").unwrap();
        if renamed {
            assert_eq!(world.by_id(&made).unwrap().status.state, VolumeState::Active);
            world.engine().delete(&ROOT, &key("new"), false).unwrap();
            return;
        }
    }
    panic!("the rename was never the first: this shows nothing");
}

/// What is copied has its new size only in the end, and counts from the beginning.
#[test]
fn a_workspace_holds_what_its_volumes_are_about_to_have() {
    require!(Part::Loop);
    let world = World::new("limits-coming");
    let public = "public".parse().unwrap();
    let size_limit = Some(Some(Size::from_bytes(80 * MIB)));
    let limit = WorkspaceRequest { size_limit, ..WorkspaceRequest::default() };
    world.engine().put_workspace(&ROOT, &public, &limit).unwrap();
    let place = PoolPlace::Directory(world.join("other"));
    let other = PoolRequest { name: "other".parse().unwrap(), place, capacity: None, overcommit: None };
    world.engine().create_pool(&ROOT, &other).unwrap();
    for name in ["one", "two"] {
        world.make(name, "ReadWriteMany", "temp");
    }
    let migrate = |name: &str, pool: Option<&str>| {
        let (pool, size) = (pool.map(|pool| pool.parse().unwrap()), Some(Size::from_bytes(48 * MIB)));
        world.engine().migrate(&ROOT, &key(name), &MigrateRequest { pool, size })
    };
    for (pool, fault) in [(None, "replace.made=sleep:1500"), (Some("other"), "migrate.copied=sleep:1500")] {
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| {
                let _fault = fault::inject(fault);
                migrate("one", pool).map(drop)
            });
            assert!(eventually(PATIENCE, || !world.engine().operations(&ROOT).is_empty()));
            fails(migrate("two", None), ErrorKind::WorkspaceFull);
            let more = "size: 49Mi, accessMode: ReadWriteMany, type: temp";
            fails(world.apply("more", more), ErrorKind::WorkspaceFull);
            assert!(!slow.is_finished(), "or this shows nothing");
            slow.join().unwrap().unwrap();
        });
        let held = world.engine().workspace(&ROOT, &public).unwrap();
        assert_eq!(held.size.bytes(), 64 * MIB);
        world.destroy("one");
        world.make("one", "ReadWriteMany", "temp");
    }
    // What was there before is smaller than the snapshot that it is put back to.
    world.destroy("two");
    world.apply("one", "size: 40Mi, accessMode: ReadWriteMany, type: temp").unwrap();
    world.snapshot("large", "one").unwrap();
    world.apply("one", "size: 16Mi, accessMode: ReadWriteMany, type: temp").unwrap();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let _fault = fault::inject("restore.copied=sleep:1500");
            world.restore("large").map(drop)
        });
        assert!(eventually(PATIENCE, || !world.engine().operations(&ROOT).is_empty()));
        let more = "size: 40Mi, accessMode: ReadWriteMany, type: temp";
        fails(world.apply("more", more), ErrorKind::WorkspaceFull);
        assert!(!slow.is_finished(), "or this shows nothing");
        slow.join().unwrap().unwrap();
    });
    assert_eq!(world.volume("one").manifest.volume.size.bytes(), 40 * MIB);
}
