//! A pool that is there, and whose directories can't be read: that is told, and is not taken for absence.

use std::{process::Command, time::Duration};

use orlop_testkit::{Part, command::eventually, mounts, require, run};

use crate::harness::*;

fn sql(world: &World, statement: &str) -> String {
    let store = world.config.state_dir.join("orlop.db");
    run(Command::new("sqlite3").arg(store).arg(statement)).ok()
}

#[test]
fn a_start_tells_it_as_what_it_is_and_settles_nothing_for_it() {
    require!(Part::Loop, Part::Sqlite3);
    let mut world = World::new("unreadable");
    let described = "SELECT value FROM meta WHERE key = 'described'";
    // What it looks at must not be worked on meanwhile.
    assert!(eventually(PATIENCE, || !sql(&world, described).is_empty()));
    world.make("data", "ReadWriteMany", "temp");
    let path = world.attach("data", "one").unwrap().path;
    let container = Container::start(&path, &world.mkdir("c"), &world.config.mount_dir, false);
    world.crash();
    for mount in mounts::mounts().into_iter().rev() {
        if mount.target.starts_with(&world.config.mount_dir) && mount.target != world.config.mount_dir {
            orlop_sys::mount::unmount(&mount.target).unwrap();
        }
    }
    sql(&world, "DELETE FROM meta WHERE key = 'described'");
    let volumes = world.config.state_dir.join("pool/volumes");
    let aside = volumes.with_extension("aside");
    std::fs::rename(&volumes, &aside).unwrap();
    std::fs::write(&volumes, "not a directory").unwrap();

    let recovery = world.start();
    assert!(world.told("PoolUnreadable") && !world.told("PoolMissing"), "{:?}", world.events());
    // Who has it can't be told, nor what is said of it there.
    assert_eq!(recovery.dropped, 0, "{:?}", world.events());
    assert_eq!(world.volume("data").status.attachments.len(), 1);
    assert!(!eventually(Duration::from_secs(2), || !sql(&world, described).is_empty()));

    world.crash();
    std::fs::remove_file(&volumes).unwrap();
    std::fs::rename(&aside, &volumes).unwrap();
    let recovery = world.start();
    assert_eq!((recovery.adopted, recovery.dropped), (1, 0), "{:?}", world.events());
    container.end();
    world.detach("data", "one").unwrap();
    world.destroy("data");
    world.assert_nothing_mounted();
}
