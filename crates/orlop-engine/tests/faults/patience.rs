//! Work that takes long goes on once, and those who come meanwhile are told to come again.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use orlop_engine::*;
use orlop_model::{
    ErrorKind, PoolName,
    resource::{Snapshot, SnapshotState, VolumeState},
};
use orlop_testkit::{Part, command::eventually, require, run};

use crate::harness::*;

#[test]
fn a_slow_mount_goes_on_once() {
    require!(Part::Loop);
    let world = World::new("patience");
    world.make("data", "ReadWriteMany", "temp");
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let _fault = fault::inject("attach.loop=sleep:1500");
            let path = world.attach("data", "one").unwrap().path;
            (path, fault::passed(fault::Point::AttachLoop))
        });
        std::thread::sleep(Duration::from_millis(300));
        let request = AttachRequest {
            volume: key("data"),
            scope: Scope { id: "two".into(), shared: false, may_go_stale: true },
            consumer: "docker mount two".into(),
            read_only: false,
            known_as: None,
        };
        let begin = Instant::now();
        let error = fails(
            world.engine().attach(&DOCKER, &request, Duration::from_millis(100)),
            ErrorKind::Recovering,
        );
        assert!(error.message.contains("still recovering") && error.hint.unwrap().contains("retry"));
        assert!(begin.elapsed() < Duration::from_secs(1));
        // Looking does not wait.
        assert_eq!(world.volume("data").status.attachments.len(), 0);
        let path = world.engine().attach(&DOCKER, &request, PATIENCE).unwrap().path;
        assert_eq!(slow.join().unwrap(), (path, 1));
    });
    assert_eq!(world.volume("data").status.attachments.len(), 2);
    world.detach("data", "one").unwrap();
    world.detach("data", "two").unwrap();
}

#[test]
fn a_pool_stays_while_a_volume_is_on_its_way() {
    require!(Part::Loop);
    let world = World::new("moving");
    let other: PoolName = "other".parse().unwrap();
    let place = PoolPlace::Directory(world.join("other"));
    let request = PoolRequest { name: other.clone(), place, capacity: None, overcommit: None };
    world.engine().create_pool(&ROOT, &request).unwrap();
    world.make("data", "ReadWriteMany", "temp");
    let migrate = |world: &World, pool: &PoolName| {
        let request = MigrateRequest { pool: Some(pool.clone()), size: None };
        world.engine().migrate(&ROOT, &key("data"), &request)
    };
    let refused = |world: &World, pool: &PoolName, what: &str| {
        let removed = fails(world.engine().remove_pool(&ROOT, pool), ErrorKind::InUse);
        let exported = fails(world.engine().export_pool(&ROOT, pool), ErrorKind::InUse);
        for error in [&removed, &exported] {
            let message = format!("volume public/data is being moved {what} pool {pool}");
            assert_eq!(
                (error.message.as_str(), error.object.as_deref().unwrap()),
                (message.as_str(), format!("pool {pool}").as_str())
            );
        }
        removed.hint.unwrap()
    };
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| {
            let _fault = fault::inject("migrate.copied=sleep:2000");
            migrate(&world, &other)
        });
        assert!(eventually(PATIENCE, || !world.engine().operations(&ROOT).is_empty()));
        let id = world.engine().operations(&ROOT)[0].id;
        let hint = refused(&world, &other, "into");
        assert!(hint.contains(&format!("orlop operation stop {id}")), "{hint}");
        moving.join().unwrap().unwrap();
    });

    // It has arrived, and what it left is still there; then that cannot be removed, and is later.
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| {
            let _slow = fault::inject("migrate.swapped=sleep:2000");
            let _fault = fault::inject("migrate.removed=eio");
            migrate(&world, &PoolName::default_pool())
        });
        let arrived = || world.volume("data").status.pool == PoolName::default_pool();
        assert!(eventually(PATIENCE, arrived));
        let hint = refused(&world, &other, "out of");
        assert!(hint.contains("orlop operation stop"), "{hint}");
        fails(moving.join().unwrap(), ErrorKind::Host);
    });
    assert!(eventually(PATIENCE, || world.engine().remove_pool(&ROOT, &other).is_ok()));
    assert!(!world.join("other/orlop.pool").exists());
}

/// Whoever reads a snapshot for long keeps nobody from giving its volume another name; what the
/// snapshot's description says of it follows with the next change.
#[test]
fn a_volume_is_renamed_while_a_snapshot_of_it_is_read() {
    require!(Part::Loop);
    let world = World::new("reading");
    world.make("old", "ReadWriteMany", "temp");
    world.snapshot("s", "old").unwrap();
    let id = world.snapshots()[0].status.id;
    let file = world.pool_path().join("snapshots").join(id.to_string()).join("snapshot.json");
    let says =
        |name: &str| std::fs::read_to_string(&file).unwrap().contains(&format!("\"volume\": \"{name}\""));
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let _fault = fault::inject("create.copied=sleep:1500");
            world.apply("copy", "size: 16Mi, accessMode: ReadWriteMany, type: temp, source: snapshot s")
        });
        let making = || world.engine().volumes(&ROOT, &VolumeQuery::default()).unwrap().items.len() == 2;
        assert!(eventually(PATIENCE, making));
        let VolumeRef::Key(volume) = key("old") else { unreachable!() };
        let request = RenameRequest { volume, name: "new".parse().unwrap(), forget: Vec::new() };
        let begin = Instant::now();
        world.engine().rename(&ROOT, &request).unwrap();
        assert!(begin.elapsed() < Duration::from_millis(1400), "{:?}", begin.elapsed());
        assert_eq!(world.snapshots()[0].manifest.snapshot.volume.as_str(), "new");
        assert!(says("old"));
        reading.join().unwrap().unwrap();
    });
    let changed = "size: 16Mi, accessMode: ReadWriteMany, type: temp, uid: 1000";
    world.apply("new", changed).unwrap();
    assert!(says("new"));
}

/// Also where it is not the volume itself that others work on, but what it is made from.
#[test]
fn who_waits_for_a_source_is_told_to_come_again() {
    require!(Part::Loop);
    let world = World::new("source");
    world.make("data", "ReadWriteMany", "temp");
    world.snapshot("s", "data").unwrap();
    let spec = "size: 16Mi, accessMode: ReadWriteMany, type: temp";
    let request = |source| ProvisionRequest {
        external: "pvc-1".to_owned(),
        workspace: "public".parse().unwrap(),
        manifest: manifest("clone", spec),
        size: SizeRange { least: None, most: None },
        source: Some(source),
        ephemeral: false,
    };
    for (named, source) in [
        ("snapshot s", SourceId::Snapshot(world.snapshots()[0].status.id)),
        ("volume data", SourceId::Volume(world.volume("data").status.id)),
    ] {
        std::thread::scope(|scope| {
            let copying = scope.spawn(|| {
                let _fault = fault::inject("create.copied=sleep:2000");
                world.apply("copy", &format!("{spec}, source: {named}")).map(drop)
            });
            let copies = || world.engine().volumes(&ROOT, &VolumeQuery::default()).unwrap().items.len() == 2;
            assert!(eventually(PATIENCE, copies));
            let begin = Instant::now();
            let answer = world.engine().provision(&CSI, &request(source), Duration::from_millis(100));
            fails(answer, ErrorKind::Recovering);
            assert!(begin.elapsed() < Duration::from_millis(1400), "{named}: {:?}", begin.elapsed());
            copying.join().unwrap().unwrap();
        });
        world.engine().provision(&CSI, &request(source), PATIENCE).unwrap();
        for name in ["copy", "clone"] {
            world.destroy(name);
        }
    }
}

#[test]
fn before_recovery_nothing_is_done() {
    require!(Part::Root);
    let mut world = World::new("early");
    world.crash();
    let engine = Engine::open(world.config.clone()).unwrap();
    fails(
        engine.attach(
            &DOCKER,
            &AttachRequest {
                volume: key("data"),
                scope: Scope { id: "one".into(), shared: false, may_go_stale: true },
                consumer: "docker mount one".into(),
                read_only: false,
                known_as: None,
            },
            PATIENCE,
        ),
        ErrorKind::Recovering,
    );
    assert!(!engine.readiness().is_ready());
    engine.recover().unwrap();
    assert!(engine.readiness().is_ready(), "{:?}", engine.readiness());
}

fn sql(world: &World, statement: &str) -> String {
    let store = world.config.state_dir.join("orlop.db");
    let done = run(Command::new("sqlite3").args(["-cmd", ".timeout 5000"]).arg(store).arg(statement)).ok();
    done.trim().to_owned()
}

/// Who is busy with one volume keeps no schedule of another from its time.
#[test]
fn a_scheduled_snapshot_does_not_wait_for_a_busy_volume() {
    require!(Part::Loop, Part::Sqlite3);
    let world = World::new("busy-schedule");
    let spec = "size: 16Mi, accessMode: ReadWriteMany, type: temp, snapshots: 0 0 1 1 *|3";
    for name in ["busy", "idle"] {
        world.apply(name, spec).unwrap();
    }
    let sql = |statement: &str| sql(&world, statement);
    let known = "SELECT count(*) FROM snapshot_schedules";
    assert!(eventually(PATIENCE, || sql(known) == "2"), "{}", sql(known));
    let scheduled = |volume: &str| {
        let of = |s: &Snapshot| s.manifest.snapshot.volume.as_str() == volume;
        world.snapshots().iter().filter(|s| s.status.scheduled && of(s)).count()
    };
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let _fault = fault::inject("snapshot.begun=sleep:9000");
            world.snapshot("by-hand", "busy").unwrap();
        });
        std::thread::sleep(Duration::from_millis(500));
        // In this year, and not so long ago that the next is due too.
        sql("UPDATE snapshot_schedules SET due_at = strftime('%Y-01-01T00:00:00.000000000Z', 'now')");
        assert!(eventually(Duration::from_secs(7), || scheduled("idle") == 1), "{:?}", world.events());
        assert!(!slow.is_finished(), "or this shows nothing");
        assert_eq!(scheduled("busy"), 0);
        slow.join().unwrap();
    });
    assert!(eventually(PATIENCE, || scheduled("busy") == 1), "{:?}", world.events());
    assert!(!world.told("SnapshotSkipped"), "{:?}", world.events());

    // Until the next is due, and no longer.
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let _fault = fault::inject("snapshot.begun=sleep:6000");
            world.snapshot("again", "busy").unwrap();
        });
        std::thread::sleep(Duration::from_millis(500));
        sql("UPDATE snapshot_schedules SET due_at = '2020-01-01T00:00:00.000000000Z'");
        assert!(eventually(Duration::from_secs(5), || world.told("SnapshotSkipped")), "{:?}", world.events());
        slow.join().unwrap();
    });
    assert_eq!((scheduled("busy"), scheduled("idle")), (1, 2));
}

const SLOW: &str = "ORLOP_SLOW";

/// Whether to go on, in a process that is slowed down as a whole: what waits and works in the background is
/// threads of the engine's own.
fn slowed(test: &str, fault: &str) -> bool {
    if std::env::var_os(SLOW).is_some() {
        return true;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("patience::{test}"), "--nocapture"])
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
