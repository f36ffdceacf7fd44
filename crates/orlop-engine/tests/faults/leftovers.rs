//! What neither its own attempt nor the one after it could take back is settled while the engine runs.

use std::time::{Duration, Instant};

use orlop_engine::*;
use orlop_model::{ErrorKind, resource::Outcome};
use orlop_testkit::{Part, command::eventually, require};

use crate::{harness::*, rows, scenarios::PLAIN};

#[test]
fn what_could_not_be_taken_back_is_settled_without_a_restart() {
    require!(Part::Loop, Part::Sqlite3);
    let world = World::new("leftover");
    world.apply("data", PLAIN).unwrap();
    {
        let _bound = fault::inject("attach.bound=eio");
        let _undo = fault::inject("unpublish.unmounted=eio");
        fails(world.attach("data", "one"), ErrorKind::Host);
    }
    {
        let _fault = fault::inject("detach.unbound=eio");
        world.attach("data", "two").unwrap();
        fails(world.detach("data", "two"), ErrorKind::Host);
    }
    assert_ne!(rows(&world, "SELECT count(*) FROM operations"), "0", "or this shows nothing");
    let settled = || rows(&world, "SELECT count(*) FROM operations") == "0";
    assert!(eventually(Duration::from_secs(30), settled), "{}", rows(&world, "SELECT * FROM operations"));
    assert!(world.volume("data").status.attachments.is_empty());
    world.assert_nothing_mounted();
    world.destroy("data");
}

/// A creation that could not be taken back leaves the name and the room to the next one, which says
/// what it did.
#[test]
fn what_is_applied_after_a_creation_that_got_stuck_is_created() {
    require!(Part::Loop, Part::Sqlite3);
    let world = World::new("stuck");
    let volumes = world.pool_path().join("volumes");
    let there = || std::fs::read_dir(&volumes).unwrap().flatten().next().map(|entry| entry.path());
    let stuck = std::thread::scope(|scope| {
        let failing = scope.spawn(|| {
            let _slow = fault::inject("create.flushed=sleep:1500");
            let _fault = fault::inject("create.flushed=eio");
            fails(world.apply("data", PLAIN), ErrorKind::Host);
        });
        let begin = Instant::now();
        let directory = loop {
            if let Some(directory) = there() {
                break directory;
            }
            assert!(begin.elapsed() < PATIENCE);
        };
        let foreign = directory.join("foreign");
        std::fs::write(&foreign, "").unwrap();
        failing.join().unwrap();
        foreign
    });
    assert_eq!(rows(&world, "SELECT state FROM volumes"), "pending", "or this shows nothing");
    std::fs::remove_file(stuck).unwrap();
    assert_eq!(world.apply("data", PLAIN).unwrap().outcome, Outcome::Created);
    world.destroy("data");
}
