//! Differences between a pool's records and its loop devices and mounts, each made by hand and named.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use orlop_engine::*;
use orlop_model::{
    PoolName,
    pool_report::{Difference, Finding},
};
use orlop_testkit::{Part, command::eventually, require, run};

use crate::harness::*;

const SPEC: &str = "size: 16Mi, accessMode: ReadWriteMany, type: persistent";

fn check(world: &World, pool: &str, repair: bool) -> Vec<Finding> {
    world.engine().check_pool(&ROOT, &pool.parse::<PoolName>().unwrap(), repair).unwrap().findings
}

/// The one difference that there is.
#[track_caller]
fn only(world: &World, difference: Difference) -> Finding {
    let mut found = check(world, "default", false);
    assert_eq!(found.iter().map(|it| it.difference).collect::<Vec<_>>(), [difference], "{found:#?}");
    let found = found.remove(0);
    assert!(!found.remedy.is_empty() && !found.mended, "{found:?}");
    found
}

#[track_caller]
fn none(world: &World) {
    assert_eq!(check(world, "default", false), []);
}

fn umount(place: &Path) {
    run(Command::new("umount").arg(place)).ok();
}

fn bind(source: &Path, place: &Path) {
    run(Command::new("mount").arg("--bind").args([source, place])).ok();
}

fn sql(world: &World, statement: &str) {
    run(Command::new("sqlite3").arg(world.config.state_dir.join("orlop.db")).arg(statement)).ok();
}

fn below(world: &World, name: &str, place: &str) -> PathBuf {
    world.config.mount_dir.join(world.volume(name).status.id.to_string()).join(place)
}

#[test]
fn what_somebody_unmounted_is_missed_and_what_somebody_mounted_is_foreign() {
    require!(Part::Loop);
    let world = World::new("check-mounts");
    world.apply("data", SPEC).unwrap();
    world.attach("data", "one").unwrap();
    let target = world.mkdir("target");
    world.mount("data", &target, MountAccess::ByMode).unwrap();
    none(&world);

    // A front's path, and the directory of somebody on the host.
    let docker = below(&world, "data", "docker");
    let elsewhere = world.mkdir("elsewhere");
    for place in [&docker, &target] {
        umount(place);
        let found = only(&world, Difference::MissingMount);
        assert!(found.detail.contains(&place.display().to_string()), "{found:?}");
        assert_eq!(found.volume, Some(world.volume("data").status.id));
        bind(&elsewhere, place);
        let found = only(&world, Difference::ForeignMount);
        assert!(found.detail.contains(&place.display().to_string()), "{found:?}");
        umount(place);
        bind(&below(&world, "data", if *place == docker { "base" } else { "base/data" }), place);
        none(&world);
    }

    // The base itself.
    let base = below(&world, "data", "base");
    let aside = world.mkdir("aside");
    run(Command::new("mount").arg("--make-private").arg(world.config.mount_dir.as_path())).ok();
    bind(&base, &aside);
    umount(&base);
    let found = only(&world, Difference::MissingMount);
    assert!(found.detail.contains("docker mount one"), "{found:?}");
    bind(&elsewhere, &base);
    let found = only(&world, Difference::ForeignMount);
    assert!(found.detail.contains("is mounted on"), "{found:?}");
    umount(&base);
    bind(&aside, &base);
    umount(&aside);
    none(&world);
    world.engine().unmount(&ROOT, &target).unwrap();
    world.detach("data", "one").unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn mounts_that_no_record_explains_are_named_and_stay() {
    require!(Part::Loop);
    let world = World::new("check-strangers");
    world.apply("data", SPEC).unwrap();
    world.attach("data", "one").unwrap();
    let elsewhere = world.mkdir("elsewhere");
    for place in [world.config.mount_dir.join("mine"), below(&world, "data", "base/data")] {
        fs::create_dir_all(&place).unwrap();
        bind(&elsewhere, &place);
        let found = only(&world, Difference::ForeignMount);
        assert_eq!(found.subject, place.display().to_string());
        assert!(!check(&world, "default", true)[0].mended);
        umount(&place);
        none(&world);
    }
    // Of another pool's volume that pool's check tells.
    let request = PoolRequest {
        name: "other".parse().unwrap(),
        place: PoolPlace::Directory(world.join("other")),
        capacity: None,
        overcommit: None,
    };
    world.engine().create_pool(&ROOT, &request).unwrap();
    let place = below(&world, "data", "base/data");
    bind(&elsewhere, &place);
    assert_eq!(check(&world, "other", false), []);
    only(&world, Difference::ForeignMount);
    umount(&place);
    world.detach("data", "one").unwrap();
}

#[test]
fn mounts_that_nobody_has_any_more_are_taken_down() {
    require!(Part::Loop, Part::Sqlite3);
    let world = World::new("check-lingering");
    world.apply("data", SPEC).unwrap();
    world.attach("data", "one").unwrap();
    world.attach_as(&PODMAN, "data", "host", false).unwrap();
    let forget = |front: &str| sql(&world, &format!("DELETE FROM attachments WHERE front = '{front}'"));
    forget("podman");
    let found = only(&world, Difference::LingeringMount);
    assert!(found.detail.contains("/podman, which nobody is recorded for"), "{found:?}");
    assert!(check(&world, "default", true)[0].mended);
    none(&world);
    assert!(below(&world, "data", "docker/data").is_dir(), "others go on");

    forget("docker");
    let found = only(&world, Difference::LingeringMount);
    assert!(found.detail.contains("it is mounted on"), "{found:?}");
    assert!(check(&world, "default", true)[0].mended);
    none(&world);
    world.assert_nothing_mounted();
}

#[test]
fn loop_devices_that_nobody_should_have_made_are_named() {
    require!(Part::Loop);
    let world = World::new("check-loops");
    let image = world.image(&world.apply("data", SPEC).unwrap().resource);
    let losetup =
        || run(Command::new("losetup").args(["--find", "--show"]).arg(&image)).ok().trim().to_owned();
    let one = losetup();
    assert!(only(&world, Difference::HeldImage).detail.contains(&one));
    let two = losetup();
    let found = only(&world, Difference::TwoLoopDevices);
    assert!(found.detail.contains(&one) && found.detail.contains(&two), "{found:?}");
    for node in [one, two] {
        run(Command::new("losetup").args(["-d", &node])).ok();
    }
    assert!(eventually(PATIENCE, || check(&world, "default", false).is_empty()));
}

#[test]
fn a_pool_that_is_away_and_what_no_record_knows_are_named() {
    require!(Part::Loop, Part::Sqlite3);
    let world = World::new("check-away");
    let volume = world.apply("data", SPEC).unwrap().resource;
    let (pool, aside) = (world.pool_path(), world.join("aside"));
    fs::rename(&pool, &aside).unwrap();
    let found = only(&world, Difference::PoolMissing);
    assert_eq!(found.subject, pool.display().to_string());
    fs::rename(&aside, &pool).unwrap();
    none(&world);

    let id = volume.status.id;
    sql(
        &world,
        &format!(
            "PRAGMA foreign_keys = OFF; DELETE FROM placements WHERE volume_id = '{id}'; DELETE FROM volumes WHERE id = '{id}'; UPDATE pools SET reserved_bytes = 0"
        ),
    );
    let found = only(&world, Difference::UnrecordedVolume);
    assert!(found.detail.contains("the volume public/data, of uid 0"), "{found:?}");
    assert!(!check(&world, "default", true)[0].mended);
    assert!(world.image(&volume).exists());
    // What it says to do about it works.
    let request =
        ImportRequest { name: None, place: ImportPlace::Directory(pool), capacity: None, overcommit: None };
    world.engine().import_pool(&ROOT, &request).unwrap();
    none(&world);
    world.inside("data", |path| assert!(path.is_dir()));
}

#[test]
fn an_old_copy_of_a_volume_of_another_pool_is_named_and_stays() {
    require!(Part::Loop);
    let world = World::new("check-copy");
    let volume = world.apply("data", SPEC).unwrap().resource;
    let request = PoolRequest {
        name: "other".parse().unwrap(),
        place: PoolPlace::Directory(world.join("other")),
        capacity: None,
        overcommit: None,
    };
    world.engine().create_pool(&ROOT, &request).unwrap();
    let copy = world.join("other/volumes").join(volume.status.id.to_string());
    run(Command::new("cp").args(["-r", "--sparse=always"]).args([&world.directory(&volume), &copy])).ok();
    for repair in [false, true] {
        let found = check(&world, "other", repair);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!((found[0].difference, found[0].mended), (Difference::Unaccounted, false));
        assert!(found[0].detail.contains("is in pool default, and this is an old copy of it"), "{found:?}");
    }
    assert!(copy.join("data.img").exists());
    none(&world);
}
