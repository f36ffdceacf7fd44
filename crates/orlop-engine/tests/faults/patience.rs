//! Work that takes long goes on once, and those who come meanwhile are told to come again.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use orlop_engine::*;
use orlop_model::{ErrorKind, PoolName, resource::Snapshot};
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

pub fn sql(world: &World, statement: &str) -> String {
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
