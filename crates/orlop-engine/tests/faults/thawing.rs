//! A filesystem that was frozen for a copy, and that neither who froze it nor its watchdog can thaw.

use std::process::Command;

use orlop_engine::{fault::Point, *};
use orlop_model::ErrorKind;
use orlop_testkit::{
    Part, ScratchFs,
    command::eventually,
    process::{Process, kill9, processes, without_administration},
    require, run,
};

use crate::{harness::*, rows};

const IN_USE: &str = "size: 16Mi, accessMode: ReadWriteMany, type: temp";

type Attempt = fn(&World) -> orlop_model::Result<()>;

/// The kernel refuses who may not administrate the machine, and the watchdog is gone.
fn refused_from(point: Point) {
    fault::meanwhile(point, || {
        let own = i32::try_from(std::process::id()).unwrap();
        // The other child sweeps up after the test.
        let is_watchdog = |process: &Process| process.parent == own && process.name != "sh";
        let watchdogs: Vec<_> = processes().into_iter().filter(is_watchdog).collect();
        assert_eq!(watchdogs.len(), 1, "{watchdogs:?}");
        kill9(watchdogs[0].pid);
        without_administration();
    });
}

#[test]
fn what_an_attempt_left_frozen_is_thawed_before_the_attempt_is_taken_back() {
    require!(Part::Loop, Part::Sqlite3);
    let disk = ScratchFs::xfs(1 << 30);
    let world = World::over(&disk.join("all"), |_| ());
    let paths = ["data", "other"].map(|name| {
        world.apply(name, IN_USE).unwrap();
        world.attach(name, "one").unwrap().path
    });
    let attempts: [(Point, &str, Attempt); 3] = [
        (Point::SnapshotCopied, "snapshot", |world| world.snapshot("s", "data").map(drop)),
        (Point::SnapshotGroupShared, "snapshotGroup", |world| {
            world.snapshot_group("g", &["data", "other"]).map(drop)
        }),
        (Point::CreateFrozen, "create", |world| {
            world.apply("copy", &format!("{IN_USE}, source: volume data")).map(drop)
        }),
    ];
    for (point, kind, attempt) in attempts {
        std::thread::scope(|scope| {
            let failing = scope.spawn(|| {
                refused_from(point);
                fails(attempt(&world), ErrorKind::Host)
            });
            let error = failing.join().unwrap();
            assert!(error.message.contains("still frozen") && error.hint.is_some(), "{error}");
        });
        let told = eventually(PATIENCE, || rows(&world, "SELECT count(*) FROM operations").trim() == "0");
        let thawed = world.events().iter().filter(|event| event.reason == "Thawed").count();
        for path in &paths {
            // Nobody else may hang of it, whatever this says.
            let base = path.parent().unwrap();
            run(Command::new("fsfreeze").arg("--unfreeze").arg(base));
        }
        assert!(told && thawed > 0, "{kind}: {:?}", world.events());
        assert!(world.snapshot_names().is_empty());
    }
    assert_eq!(world.events().iter().filter(|event| event.reason == "Thawed").count(), 3);
    fails(world.engine().volume(&ROOT, &key("copy")), ErrorKind::NotFound);
    for name in ["data", "other"] {
        world.detach(name, "one").unwrap();
        world.destroy(name);
    }
}
