//! A pool on a device that became longer, and what a growth that broke off leaves of its capacity.

use std::path::PathBuf;
use std::process::Command;

use orlop_engine::*;
use orlop_model::{ErrorKind, PoolName, resource::Outcome};
use orlop_testkit::{Part, command::eventually, require, run};

use crate::{harness::*, rows};

fn own() -> PoolName {
    "own".parse().unwrap()
}

fn capacity(world: &World) -> u64 {
    world.engine().pool(&ROOT, &own()).unwrap().capacity.bytes()
}

fn grow(world: &World) -> orlop_model::Result<Outcome> {
    world.engine().grow_pool(&ROOT, &own(), &GrowRequest::default()).map(|grown| grown.outcome)
}

/// A pool on a device of 512 MiB, which is made longer by [`Disk::lengthen`].
struct Disk {
    file: PathBuf,
    node: PathBuf,
}

impl Disk {
    fn with_pool(world: &World) -> Self {
        let file = world.join("disk");
        run(Command::new("truncate").args(["-s", "512M"]).arg(&file)).ok();
        let node: PathBuf =
            run(Command::new("losetup").args(["--find", "--show"]).arg(&file)).ok().trim().into();
        let place = PoolPlace::Device { device: node.clone(), erase: None };
        let request = PoolRequest { name: own(), place, capacity: None, overcommit: None };
        world.engine().create_pool(&ROOT, &request).unwrap();
        Self { file, node }
    }

    fn lengthen(&self, to: u64) {
        run(Command::new("truncate").args(["-s", &format!("{to}M")]).arg(&self.file)).ok();
        run(Command::new("losetup").arg("-c").arg(&self.node)).ok();
    }

    fn end(self, world: &World) {
        world.engine().remove_pool(&ROOT, &own()).unwrap();
        run(Command::new("losetup").arg("-d").arg(&self.node)).ok();
    }
}

/// So that what is left stays until it is asked for.
fn patient(config: &mut EngineConfig) {
    config.observe_every = std::time::Duration::from_secs(60);
}

fn breaks_off(world: &World, at: &str) {
    let _fault = fault::inject(&format!("{at}=eio"));
    fails(grow(world), ErrorKind::Host);
    assert_eq!(rows(world, "SELECT count(*) FROM operations").trim(), "1");
}

#[test]
fn what_is_gained_is_what_the_filesystem_has_and_counts_once() {
    require!(Part::Loop, Part::Xfs, Part::Sqlite3);
    let mut world = World::with("growing", patient);
    let disk = Disk::with_pool(&world);
    let before = capacity(&world);
    // It grew further before the daemon came back.
    disk.lengthen(1024);
    breaks_off(&world, "pool.grow-recorded");
    world.crash();
    disk.lengthen(1536);
    world.start();
    assert_eq!(capacity(&world), before + 1024 * MIB);
    assert_eq!(grow(&world).unwrap(), Outcome::Unchanged);

    // The filesystem had grown already.
    disk.lengthen(2048);
    breaks_off(&world, "pool.grow-filesystem");
    world.restart();
    assert_eq!(capacity(&world), before + 1536 * MIB);
    assert_eq!(grow(&world).unwrap(), Outcome::Unchanged);

    // Asked again, while what broke off is still in the journal.
    disk.lengthen(2560);
    breaks_off(&world, "pool.grow-filesystem");
    disk.lengthen(3072);
    assert_eq!(grow(&world).unwrap(), Outcome::Configured);
    assert_eq!(capacity(&world), before + 2560 * MIB);
    let settled = || rows(&world, "SELECT count(*) FROM operations").trim() == "0";
    assert!(eventually(PATIENCE, settled));
    world.restart();
    assert_eq!(capacity(&world), before + 2560 * MIB);
    disk.end(&world);
}

#[test]
fn what_an_older_build_left_of_a_growth_is_finished() {
    require!(Part::Loop, Part::Xfs, Part::Sqlite3);
    let mut world = World::with("growing-older", patient);
    let disk = Disk::with_pool(&world);
    let before = capacity(&world);
    disk.lengthen(1024);
    breaks_off(&world, "pool.grow-recorded");
    world.crash();
    let sql = "UPDATE operations SET intent = json_remove(intent, '$.from')";
    run(Command::new("sqlite3").arg(world.config.state_dir.join("orlop.db")).arg(sql)).ok();
    world.start();
    assert_eq!(capacity(&world), before + 512 * MIB);
    disk.end(&world);
}
