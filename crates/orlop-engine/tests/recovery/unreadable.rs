//! A pool that is there, and whose directories can't be read: that is told, and is not taken for absence.

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use orlop_model::ErrorKind;
use orlop_testkit::{Part, Scratch, command::eventually, mounts, require, run};

use crate::harness::*;

const CHILD: &str = "ORLOP_UNREADABLE_SUITE_DIRECTORY";

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

#[test]
fn blanks_that_can_not_be_read_are_told_and_are_in_the_way_of_nothing() {
    require!(Part::Loop);
    let mut world = World::with("unreadable-blanks", |config| config.blanks = 1);
    world.crash();
    let blanks = world.config.state_dir.join("pool/blanks");
    let aside = blanks.with_extension("aside");
    std::fs::rename(&blanks, &aside).unwrap();
    std::fs::write(&blanks, "not a directory").unwrap();
    world.start();
    let told = world.events().into_iter().find(|event| event.reason == "PoolUnreadable");
    let told = told.unwrap_or_else(|| panic!("{:?}", world.events())).message;
    assert!(told.contains(blanks.to_str().unwrap()), "{told}");
    world.make("data", "ReadWriteMany", "temp");
    world.destroy("data");

    // What a crash left half-made goes when they are read, which they are as soon as that can be done.
    let left = "ext4-16777216-r1-01a206d3-7012-7319-9fa1-d6f58d21e521.img.new";
    std::fs::write(aside.join(left), "").unwrap();
    std::fs::remove_file(&blanks).unwrap();
    std::fs::rename(&aside, &blanks).unwrap();
    world.make("more", "ReadWriteMany", "temp");
    assert!(eventually(PATIENCE, || !blanks.join(left).exists()));
    world.destroy("more");
}

/// As a process that the kernel asks for permissions of directories, started by the test below; nothing
/// elsewhere.
#[test]
fn the_part_that_may_not_read() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let world = World::over(Path::new(&directory), |_| ());
    world.make("data", "ReadWriteMany", "temp");
    let made = world.snapshot("now", "data").unwrap().resource;
    let directory = world.pool_path().join("snapshots").join(made.status.id.to_string());
    let allow = |mode| std::fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
    allow(0o300);
    let error = fails(world.delete_snapshot("now"), ErrorKind::Host);
    assert!(error.message.contains("can't be read"), "{error}");
    assert!(directory.join("snapshot.json").exists() && directory.join("data.img").exists());
    allow(0o700);
    world.delete_snapshot("now").unwrap();
    assert!(!directory.exists());
    world.destroy("data");
}

#[test]
fn a_snapshot_whose_directory_can_not_be_read_is_not_deleted_halfway() {
    require!(Part::Loop);
    let scratch = Scratch::new("unreadable-snapshot");
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-dac_override,-dac_read_search").arg(std::env::current_exe().unwrap());
    command.args(["--exact", "unreadable::the_part_that_may_not_read", "--nocapture"]);
    let said = run(command.env(CHILD, scratch.path())).ok();
    assert!(said.contains("1 passed"), "{said}");
}
