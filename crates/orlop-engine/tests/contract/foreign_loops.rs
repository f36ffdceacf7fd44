//! Loop devices that an administrator made on an image, as nobody of ours makes them: nothing is attached
//! beside one, nothing is deleted under it, and nobody else is kept from anything.

use std::{path::Path, process::Command};

use orlop_engine::{NodeAccess, PoolPlace, PoolRequest, PublishRequest};
use orlop_model::{
    ErrorKind, Size,
    resource::{PoolState, VolumeState},
};
use orlop_testkit::{Part, command::eventually, mounts, require, run};

use crate::harness::*;

const MANY: &str = "ReadWriteMany";

fn losetup(image: &Path, how: &[&str]) -> String {
    run(Command::new("losetup").args(["--find", "--show"]).args(how).arg(image)).ok().trim().to_owned()
}

fn take_away(node: &str) {
    run(Command::new("losetup").args(["-d", node])).ok();
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: orlop_model::Result<T>, node: &str) {
    let error = fails(result, ErrorKind::InUse);
    let said = format!("{error} {}", error.hint.as_deref().unwrap_or_default());
    assert!(said.contains(&format!("losetup -d {node}")), "{said}");
}

#[test]
fn one_of_a_part_of_the_image_is_named_until_it_is_taken_away() {
    require!(Part::Loop);
    let world = World::new("foreign-part");
    let volume = world.make("data", MANY, "temp");
    world.make("other", MANY, "temp");
    world.inside("data", |path| std::fs::write(path.join("file"), "cargo").unwrap());
    for how in ["--offset=4096", "--sizelimit=8388608"] {
        let node = losetup(&world.image(&volume), &[how]);
        refused(world.attach("data", "one"), &node);
        refused(world.snapshot("now", "data"), &node);
        refused(world.delete("data"), &node);
        assert_eq!(mounts::loops_below(world.scratch()).len(), 1, "no second one beside it");

        assert_eq!(world.state("data"), VolumeState::Active);
        world.inside("other", |path| std::fs::write(path.join("file"), how).unwrap());
        take_away(&node);
        world.inside("data", |path| {
            assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
        });
    }
    world.destroy("data");
    world.destroy("other");
    world.assert_nothing_mounted();
}

#[test]
fn one_made_under_a_volume_in_use_disturbs_neither_its_users_nor_a_restart() {
    require!(Part::Loop);
    let mut world = World::new("foreign-beside");
    let volume = world.make("data", MANY, "temp");
    world.attach("data", "one").unwrap();
    let node = losetup(&world.image(&volume), &["--offset=8192", "--read-only"]);
    world.attach("data", "two").unwrap();
    world.crash();
    assert_eq!(world.start().adopted, 1);
    world.attach("data", "three").unwrap();
    for scope in ["one", "two", "three"] {
        world.detach("data", scope).unwrap();
    }
    assert!(world.told("Lingering"), "{:?}", world.events());
    world.restart();
    assert_eq!(world.state("data"), VolumeState::Active);
    refused(world.delete("data"), &node);
    take_away(&node);
    assert!(eventually(PATIENCE, || world.attach("data", "one").is_ok()));
    world.detach("data", "one").unwrap();
    world.destroy("data");
    world.assert_nothing_mounted();
}

/// Whether somebody has a block device that is kept ready is told by letting it go.
#[test]
fn one_beside_a_block_device_that_is_kept_ready_costs_it_nothing() {
    require!(Part::Loop);
    let world = World::with("foreign-kept", serve);
    let volume = world.apply("data", DEVICE).unwrap().resource;
    world.stage(&volume).unwrap();
    let kept = mounts::loops_below(world.scratch());
    let alone = |request: &mut PublishRequest| request.access = NodeAccess::OneTarget;
    let node = losetup(&world.image(&volume), &["--offset=4096"]);
    refused(world.publish_as(&volume, "one", alone), &node);
    let there = mounts::loops_below(world.scratch());
    assert!(kept.iter().all(|device| there.contains(device)), "{kept:?} {there:?}");
    take_away(&node);
    world.publish_as(&volume, "one", alone).unwrap();
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn one_with_other_sectors_is_not_mounted() {
    require!(Part::Loop);
    let world = World::new("foreign-sectors");
    let volume = world.make("data", MANY, "temp");
    let node = losetup(&world.image(&volume), &["--sector-size=512"]);
    refused(world.attach("data", "one"), &node);
    assert!(world.leftovers().0.is_empty());
    take_away(&node);
    world.inside("data", |_| ());
    world.destroy("data");
}

#[test]
fn one_on_the_image_of_a_pool_is_told_with_the_pool() {
    require!(Part::Loop, Part::Xfs);
    let mut world = World::new("foreign-pool");
    let file = world.join("pool.img");
    let place = PoolPlace::Image { file: file.clone(), size: Size::from_bytes(512 * MIB), sparse: true };
    let name = || "own".parse().unwrap();
    let request = PoolRequest { name: name(), place, capacity: None, overcommit: None };
    world.engine().create_pool(&ROOT, &request).unwrap();
    let pool = |world: &World| world.engine().pool(&ROOT, &name()).unwrap();
    for (how, why) in [("--offset=4096", "begins at byte 4096"), ("--sector-size=512", "sectors of 512")] {
        let path = pool(&world).path;
        world.crash();
        run(Command::new("umount").arg(path)).ok();
        let node = losetup(&file, &[how]);
        world.start();
        let shown = pool(&world);
        let reason = shown.reason.unwrap();
        assert_eq!(shown.state, PoolState::Missing);
        assert!(reason.contains(why) && reason.contains(&format!("losetup -d {node}")), "{reason}");
        take_away(&node);
        assert!(eventually(PATIENCE, || pool(&world).state == PoolState::Ready), "{:?}", pool(&world));
    }
    world.engine().remove_pool(&ROOT, &name()).unwrap();
}
