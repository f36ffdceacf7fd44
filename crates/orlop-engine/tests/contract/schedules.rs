//! What makes and ends snapshots by itself: schedules and times.

use std::{fs, process::Command, time::Duration};

use orlop_model::resource::{Outcome, VolumeState};
use orlop_testkit::{Part, ScratchFs, command::eventually, require, run};

use super::snapshots::{GIB, SMALL};
use crate::harness::*;

fn sql(world: &World, statement: &str) {
    let store = world.config.state_dir.join("orlop.db");
    run(Command::new("sqlite3").arg(store).arg(statement)).ok();
}

/// Makes every schedule due since an hour, as if the daemon had not run.
fn due(world: &mut World) {
    world.crash();
    sql(world, "UPDATE snapshot_schedules SET due_at = '2020-01-01T00:00:00.000000000Z'");
    world.start();
}

#[test]
fn a_schedule_makes_up_once_for_what_was_missed_and_keeps_what_it_says() {
    require!(Part::Loop, Part::Sqlite3);
    let host = ScratchFs::xfs(3 * GIB);
    let mut world = World::over(host.path(), |_| ());
    let yearly = format!("{SMALL}, snapshots: 0 0 1 1 *|2");
    world.apply("data", &yearly).unwrap();
    world.snapshot("by-hand", "data").unwrap();
    let scheduled = |world: &World| {
        let mut found: Vec<_> = world.snapshots().into_iter().filter(|s| s.status.scheduled).collect();
        found.sort_by_key(|snapshot| snapshot.status.created_at);
        found.into_iter().map(|snapshot| snapshot.manifest.name.to_string()).collect::<Vec<_>>()
    };
    let recorded = |world: &World| {
        let store = world.config.state_dir.join("orlop.db");
        let sql = "SELECT count(*) FROM snapshot_schedules WHERE due_at > '2026'";
        run(Command::new("sqlite3").arg("-readonly").arg(store).arg(sql)).ok()
    };
    assert!(eventually(PATIENCE, || recorded(&world) == "1"));
    assert!(scheduled(&world).is_empty(), "a new schedule begins with its next time");
    for round in 1..=3 {
        let before = scheduled(&world);
        due(&mut world);
        assert!(eventually(PATIENCE, || scheduled(&world).last() != before.last()), "round {round}");
        assert!(eventually(PATIENCE, || scheduled(&world).len() == round.min(2)), "{:?}", scheduled(&world));
        // Five years were missed, and one is made up for.
        assert!(eventually(PATIENCE, || recorded(&world) == "1"));
        assert_eq!(scheduled(&world).len(), round.min(2));
        std::thread::sleep(Duration::from_millis(1100));
    }
    assert!(world.snapshot_names().contains(&"by-hand".to_owned()));
    assert!(scheduled(&world).iter().all(|name| name.starts_with("data-2")));

    // Taken out of the manifest, nothing more is made.
    let Outcome::Configured = world.apply("data", SMALL).unwrap().outcome else { panic!() };
    due(&mut world);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(scheduled(&world).len(), 2);
}

#[test]
fn a_scheduled_snapshot_without_room_is_skipped_and_told_of() {
    require!(Part::Loop, Part::Sqlite3);
    let host = ScratchFs::xfs(GIB);
    let mut world = World::over(host.path(), |_| ());
    world.apply("data", &format!("{SMALL}, snapshots: @yearly|2")).unwrap();
    world.inside("data", |path| fs::write(path.join("file"), vec![7; 8 << 20]).unwrap());
    let left = world.engine().pool(&ROOT, &"default".parse().unwrap()).unwrap().available.bytes() - 4 * MIB;
    world.apply("rest", &format!("size: {left}, accessMode: ReadWriteMany, type: temp")).unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    due(&mut world);
    assert!(eventually(PATIENCE, || world.told("SnapshotSkipped")), "{:?}", world.events());
    assert!(world.snapshots().is_empty());
}

#[test]
fn what_is_kept_for_a_time_goes_after_it() {
    require!(Part::Loop, Part::Sqlite3);
    let host = ScratchFs::xfs(GIB);
    let mut world = World::over(host.path(), |_| ());
    world.apply("data", SMALL).unwrap();
    world.snapshot_as(&ROOT, "short", "data", "1h", false).unwrap();
    world.snapshot("long", "data").unwrap();
    world.crash();
    sql(
        &world,
        "UPDATE snapshots SET expires_at = '2020-01-01T00:00:00.000000000Z' WHERE expires_at IS NOT NULL",
    );
    world.start();
    assert!(eventually(PATIENCE, || world.snapshot_names() == ["long"]), "{:?}", world.snapshot_names());
}

/// A machine may start years ahead, and be told the time some minutes later.
#[test]
fn a_clock_that_leaps_ahead_destroys_nothing_at_once() {
    require!(Part::Loop, Part::Sqlite3);
    let host = ScratchFs::xfs(GIB);
    let mut world = World::over(host.path(), |_| ());
    world.apply("data", SMALL).unwrap();
    let kept = world.apply("kept", &SMALL.replace("temp", "persistent")).unwrap().resource;
    world.delete("kept").unwrap();
    for name in ["week", "moment"] {
        world.snapshot_as(&ROOT, name, "data", "7d", false).unwrap();
    }
    world.crash();
    // As seen by who comes from years ago: a week over, a moment over, and data that was deleted long ago.
    sql(
        &world,
        "UPDATE snapshots SET created_at = '2019-12-25T00:00:00.000000000Z', expires_at = '2020-01-01T00:00:00.000000000Z';
         UPDATE snapshots SET created_at = '2019-12-31T23:59:59.000000000Z' WHERE name = 'moment';
         UPDATE volumes SET released_at = '2020-01-01T00:00:00.000000000Z' WHERE released_at IS NOT NULL",
    );
    world.config.released_retention = orlop_model::Period::After(7 * 24 * 3600);
    world.start();
    assert!(eventually(PATIENCE, || world.snapshot_names() == ["week"]), "{:?}", world.snapshot_names());
    // Purges are looked for every ten seconds.
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(world.snapshot_names(), ["week"]);
    assert_eq!(world.by_id(&kept).unwrap().status.state, VolumeState::Released);
}

/// A clock that was ahead for a while has left times that are not yet.
#[test]
fn a_clock_that_was_ahead_stops_no_schedule_and_costs_no_snapshot() {
    require!(Part::Loop, Part::Sqlite3);
    let host = ScratchFs::xfs(3 * GIB);
    let mut world = World::over(host.path(), |_| ());
    world.apply("data", &format!("{SMALL}, snapshots: 0 0 1 1 *|2")).unwrap();
    let recorded = |world: &World, term: &str| {
        let store = world.config.state_dir.join("orlop.db");
        let sql = format!("SELECT count(*) FROM snapshot_schedules WHERE {term}");
        run(Command::new("sqlite3").arg("-readonly").arg(store).arg(sql)).ok() == "1"
    };
    let scheduled = |world: &World| world.snapshots().into_iter().filter(|s| s.status.scheduled).count();
    assert!(eventually(PATIENCE, || recorded(&world, "TRUE")));
    for round in 1..=2 {
        due(&mut world);
        assert!(eventually(PATIENCE, || scheduled(&world) == round), "{:?}", world.events());
        std::thread::sleep(Duration::from_millis(1100));
    }
    let before = world.snapshot_names();

    world.crash();
    sql(&world, "UPDATE snapshots SET created_at = '2090-01-01T00:00:00.000000000Z'");
    world.start();
    due(&mut world);
    assert!(eventually(PATIENCE, || recorded(&world, "due_at > '2026'")));
    std::thread::sleep(Duration::from_secs(1));
    let now = world.snapshot_names();
    assert!(now.iter().any(|name| !before.contains(name)), "the new one is there: {now:?}");

    world.crash();
    sql(&world, "UPDATE snapshot_schedules SET due_at = '2090-01-01T00:00:00.000000000Z'");
    world.start();
    assert!(eventually(PATIENCE, || recorded(&world, "due_at < '2089'")), "it is due in its turn");
}

/// What was brought here with a pool stays for a while after its time, and a word about it changes nothing.
#[test]
fn what_stays_beyond_its_time_is_not_deleted_for_another_change() {
    require!(Part::Loop, Part::Sqlite3);
    let mut world = World::new("schedule-beyond");
    world.apply("data", SMALL).unwrap();
    world.snapshot_as(&ROOT, "short", "data", "1h", false).unwrap();
    world.crash();
    sql(
        &world,
        "UPDATE snapshots SET created_at = '2020-01-01T00:00:00.000000000Z', expires_at = '2090-01-01T00:00:00.000000000Z'",
    );
    world.start();
    let workspace = "public".parse().unwrap();
    let mut manifest = world.snapshots()[0].manifest.clone();
    manifest.tags = vec!["seen".to_owned()];
    let request = orlop_engine::SnapshotRequest { workspace, manifest, pause_writers: false };
    world.engine().apply_snapshot(&ROOT, &request).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(world.snapshot_names(), ["short"], "{:?}", world.events());
}
