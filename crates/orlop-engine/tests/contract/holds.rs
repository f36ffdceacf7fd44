//! One daemon a pool: another one with a store of its own is told whose it is.

use std::{fs, path::Path, process::Command};

use orlop_engine::*;
use orlop_model::{
    ErrorKind, PoolName, Size,
    pool_report::{ImportFate, PoolImport},
    resource::{PoolState, VolumeState},
};
use orlop_testkit::{Part, command::eventually, mounts, require, run};

use crate::harness::*;

const IN_POOL: &str = "size: 16Mi, accessMode: ReadWriteMany, type: persistent, pool: shared";

fn shared() -> PoolName {
    "shared".parse().unwrap()
}

fn make(world: &World, place: PoolPlace) {
    let request = PoolRequest { name: shared(), place, capacity: None, overcommit: None };
    world.engine().create_pool(&ROOT, &request).unwrap();
    world.apply("data", IN_POOL).unwrap();
    world.inside("data", |path| fs::write(path.join("file"), "cargo").unwrap());
}

fn import(world: &World, place: ImportPlace) -> orlop_model::Result<PoolImport> {
    let known = world.engine().pool(&ROOT, &shared()).is_ok();
    let name = (!known).then(shared);
    world.engine().import_pool(&ROOT, &ImportRequest { name, place, capacity: None, overcommit: None })
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: orlop_model::Result<T>, holder: &World) {
    let error = fails(result, ErrorKind::Locked);
    let state = holder.config.state_dir.display().to_string();
    for word in ["used by another daemon", "node test", &state, &std::process::id().to_string()] {
        assert!(error.message.contains(word), "{word}: {error}");
    }
    assert!(error.hint.unwrap().contains("orlop pool export"));
}

#[track_caller]
fn holds(world: &World) {
    world.inside("data", |path| assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "cargo"));
}

#[test]
fn a_pool_that_is_in_use_is_not_taken_over_until_its_daemon_ends() {
    require!(Part::Loop);
    let mut here = World::new("hold-here");
    let mut there = World::new("hold-there");
    let path = here.join("shared");
    make(&here, PoolPlace::Directory(path.clone()));
    let place = || ImportPlace::Directory(path.clone());
    refused(import(&there, place()), &here);
    // By another name of the same directory.
    let bound = there.mkdir("bound");
    run(Command::new("mount").arg("--bind").args([&path, &bound])).ok();
    refused(import(&there, ImportPlace::Directory(bound.clone())), &here);
    run(Command::new("umount").arg(&bound)).ok();
    assert!(there.engine().pool(&ROOT, &shared()).is_err(), "nothing of it is recorded");
    holds(&here);

    here.crash();
    let done = import(&there, place()).unwrap();
    assert_eq!(done.volumes[0].fate, ImportFate::Imported);
    holds(&there);
    // The one that had it comes back, and is kept from it, and from nothing else.
    here.start();
    assert!(here.engine().readiness().is_ready());
    let shown = here.engine().pool(&ROOT, &shared()).unwrap();
    assert_eq!(shown.state, PoolState::Missing);
    assert!(shown.reason.unwrap().contains("used by another daemon"));
    let seen = here.volume("data").status;
    assert_eq!(seen.state, VolumeState::Error);
    assert!(seen.reason.unwrap().contains("used by another daemon"));
    for error in [
        fails(here.attach("data", "one"), ErrorKind::Locked),
        fails(here.delete("data"), ErrorKind::Locked),
        fails(here.snapshot("s", "data"), ErrorKind::Locked),
        fails(here.apply("new", IN_POOL), ErrorKind::Locked),
        fails(here.engine().export_pool(&ROOT, &shared()), ErrorKind::Locked),
    ] {
        assert!(error.message.contains(&there.config.state_dir.display().to_string()), "{error}");
    }
    here.make("other", "ReadWriteMany", "temp");
    holds(&there);
    // It is free again when that one ends, without a restart.
    there.crash();
    holds(&here);
    assert_eq!(here.engine().pool(&ROOT, &shared()).unwrap().state, PoolState::Ready);
    there.start();
    fails(there.attach("data", "one"), ErrorKind::Locked);
}

#[test]
fn an_exported_pool_is_anybodys() {
    require!(Part::Loop);
    let here = World::new("hold-export");
    let there = World::new("hold-import");
    let path = here.join("shared");
    make(&here, PoolPlace::Directory(path.clone()));
    here.engine().export_pool(&ROOT, &shared()).unwrap();
    import(&there, ImportPlace::Directory(path.clone())).unwrap();
    refused(import(&here, ImportPlace::Directory(path.clone())), &there);
    there.engine().export_pool(&ROOT, &shared()).unwrap();
    import(&here, ImportPlace::Directory(path.clone())).unwrap();
    holds(&here);
    // A removal leaves nothing of the lock.
    here.delete("data").unwrap();
    let query = VolumeQuery { released: true, ..VolumeQuery::default() };
    let id = here.engine().volumes(&ROOT, &query).unwrap().items[0].status.id;
    here.engine().purge(&ROOT, id).unwrap();
    here.engine().remove_pool(&ROOT, &shared()).unwrap();
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
}

/// The mount of a pool in an image outlives its daemon, and another one finds it mounted.
#[test]
fn a_pool_in_an_image_is_not_taken_over_until_its_daemon_ends() {
    require!(Part::Loop, Part::Xfs);
    let mut here = World::new("hold-image");
    let mut there = World::new("hold-image-there");
    let file = here.join("own.img");
    make(&here, PoolPlace::Image { file: file.clone(), size: Size::from_bytes(512 * MIB), sparse: true });
    let place = || ImportPlace::Image(file.clone());
    let below = |world: &World| {
        let pools = world.config.state_dir.join("pools");
        mounts::mounts().into_iter().filter(|mount| mount.target.starts_with(&pools)).count()
    };
    for _ in 0..2 {
        refused(import(&there, place()), &here);
        assert_eq!((below(&here), below(&there)), (1, 0), "what was mounted to look is unmounted");
    }
    holds(&here);
    here.crash();
    assert_eq!(below(&here), 1);
    let done = import(&there, place()).unwrap();
    assert_eq!(done.volumes[0].fate, ImportFate::Imported);
    holds(&there);

    // Its own comes back; what it had mounted is in nobody's way for long.
    run(Command::new("umount").arg(mount_of(&here))).ok();
    here.start();
    assert_eq!(below(&here), 0);
    fails(here.attach("data", "one"), ErrorKind::Locked);
    holds(&there);
    let exported = there.engine().export_pool(&ROOT, &shared()).unwrap();
    assert_eq!(exported.held, None);
    there.crash();
    let back = eventually(PATIENCE * 2, || {
        here.engine().pool(&ROOT, &shared()).is_ok_and(|pool| pool.state == PoolState::Ready)
    });
    assert!(back, "{:?}", here.engine().pool(&ROOT, &shared()));
    holds(&here);
}

fn mount_of(world: &World) -> std::path::PathBuf {
    let pools = world.config.state_dir.join("pools");
    mounts::mounts().into_iter().find(|mount| mount.target.starts_with(&pools)).unwrap().target
}

/// What is in the way of the lock is told once, and keeps nobody from the pool: it may be full, or on a
/// filesystem without locks.
#[test]
fn a_pool_that_can_not_be_locked_is_used_all_the_same() {
    require!(Part::Loop);
    let mut world = World::new("hold-none");
    world.make("data", "ReadWriteMany", "temp");
    let lock = world.pool_path().join("orlop.lock");
    assert!(lock.is_file());
    world.crash();
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    world.start();
    world.attach("data", "one").unwrap();
    world.detach("data", "one").unwrap();
    let told = world.events().iter().filter(|event| event.reason == "PoolUnlocked").count();
    assert_eq!(told, 1);
    fs::remove_dir(&lock).unwrap();
    // A pool of a build that had no locks has none, until it is used.
    world.restart();
    assert!(lock.is_file());
}

/// A lock file that was removed, or a directory that was put back, is found out.
#[test]
fn the_lock_is_of_what_is_there_now() {
    require!(Part::Loop);
    let here = World::new("hold-now");
    let there = World::new("hold-now-there");
    let path = here.join("shared");
    make(&here, PoolPlace::Directory(path.clone()));
    fs::remove_file(path.join("orlop.lock")).unwrap();
    holds(&here);
    refused(import(&there, ImportPlace::Directory(path.clone())), &here);
    let away = here.join("away");
    fs::rename(&path, &away).unwrap();
    copy(&away, &path);
    fails(import(&there, ImportPlace::Directory(away.clone())), ErrorKind::Locked);
    // What it uses now is the copy: the other is free, though nobody should want two of one id.
    holds(&here);
    refused(import(&there, ImportPlace::Directory(path.clone())), &here);
    import(&there, ImportPlace::Directory(away)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").args(["-a", "--sparse=always"]).args([from, to])).ok();
}
