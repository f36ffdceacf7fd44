//! Snapshots in pools that were carried here or whose store was lost; those that may have been made to do
//! harm are in `untrusted`, names of engines in `known`, and pools that are compared with their records in `compared`.

mod compared;
mod known;
mod untrusted;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use orlop_engine::*;
use orlop_model::{
    Error, ErrorKind, PoolName, Size, SnapshotId,
    pool_report::{Difference, ImportFate, ImportedSnapshot, PoolCheck, PoolImport},
    resource::{Pool, Snapshot, VolumeState},
};
use orlop_testkit::{Part, ScratchFs, command::eventually, mounts, require, run};

use crate::harness::*;

const KEPT: &str = "size: 16Mi, accessMode: ReadWriteMany, type: persistent";

fn sharing() -> (ScratchFs, World) {
    let host = ScratchFs::xfs(512 << 20);
    let world = World::over(host.path(), |_| ());
    (host, world)
}

fn default() -> PoolName {
    PoolName::default_pool()
}

fn pool(world: &World, name: &str) -> Pool {
    world.engine().pool(&ROOT, &name.parse().unwrap()).unwrap()
}

fn of(place: ImportPlace, name: Option<&str>) -> ImportRequest {
    let name = name.map(|name| name.parse().unwrap());
    ImportRequest { name, place, capacity: None, overcommit: None }
}

fn put(world: &World, volume: &str, content: &str) {
    world.inside(volume, |path| fs::write(path.join("file"), content).unwrap());
}

#[track_caller]
fn holds(world: &World, volume: &str, content: &str) {
    world.inside(volume, |path| assert_eq!(fs::read_to_string(path.join("file")).unwrap(), content));
}

fn lose_the_store(world: &mut World) {
    world.crash();
    for file in ["orlop.db", "orlop.db-wal", "orlop.db-shm"] {
        let _ = fs::remove_file(world.config.state_dir.join(file));
    }
}

fn snapshot(world: &World, name: &str) -> Snapshot {
    world.engine().snapshot(&ROOT, &snapshot_key(name)).unwrap()
}

fn directory(world: &World, id: SnapshotId) -> PathBuf {
    directory_of(&world.pool_path(), id)
}

fn directory_of(pool: &Path, id: SnapshotId) -> PathBuf {
    pool.join("snapshots").join(id.to_string())
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(file, text.replace(from, to)).unwrap();
}

fn differences(report: &PoolCheck) -> Vec<Difference> {
    let mut found: Vec<_> = report.findings.iter().map(|finding| finding.difference).collect();
    found.sort_by_key(|difference| difference.as_str());
    found
}

fn shown<'a>(done: &'a PoolImport, id: &str) -> &'a ImportedSnapshot {
    done.snapshots.iter().find(|snapshot| snapshot.directory == id).unwrap()
}

#[test]
fn a_lost_store_gives_snapshots_back_with_all_that_is_known_of_them() {
    require!(Part::Loop);
    let (_host, mut world) = sharing();
    world.apply("data", &format!("{KEPT}, snapshots: 0 * * * *|3")).unwrap();
    put(&world, "data", "first");
    let alice = Caller { uid: 1000, ..ROOT };
    world.apply_as(&alice, "hers", KEPT).unwrap();
    world.snapshot("forever", "data").unwrap();
    world.snapshot_as(&ROOT, "week", "data", "7d", false).unwrap();
    world.snapshot("nightly", "data").unwrap();
    world.snapshot_as(&alice, "of-hers", "hers", "forever", false).unwrap();
    put(&world, "data", "second");
    let before = world.restore("forever").unwrap().before;
    world.apply("clone", &format!("{KEPT}, source: snapshot week")).unwrap();
    world.apply("gone", KEPT).unwrap();
    put(&world, "gone", "old cargo");
    world.snapshot("of-gone", "gone").unwrap();
    world.delete("gone").unwrap();
    let schedule = snapshot(&world, "nightly").status.id;
    edit(&directory(&world, schedule).join("snapshot.json"), "\"scheduled\": false", "\"scheduled\": true");
    let (snapshots, promised) = (world.snapshots(), pool(&world, "default"));
    assert_eq!((snapshots.len(), promised.snapshots), (6, 6));
    let path = world.pool_path();
    lose_the_store(&mut world);

    world.start();
    assert!(world.snapshots().is_empty());
    let done = world.engine().import_pool(&ROOT, &of(ImportPlace::Directory(path.clone()), None)).unwrap();
    assert_eq!(done.snapshots.len(), 6);
    assert!(done.snapshots.iter().all(|snapshot| snapshot.fate == ImportFate::Imported), "{done:#?}");
    assert!(!done.left_any());
    for was in &snapshots {
        let is = snapshot(&world, was.manifest.name.as_str());
        let mut wanted = was.clone();
        wanted.status.scheduled = was.status.id == schedule;
        // What is its own is found out by and by.
        wanted.status.exclusive = is.status.exclusive;
        assert_eq!(is, wanted);
        let shown = shown(&done, &was.status.id.to_string());
        assert_eq!(shown.title.as_deref(), Some(was.title().as_str()));
        assert_eq!(shown.volume.as_ref(), Some(&was.manifest.snapshot.volume));
        assert_eq!(shown.owner_uid, Some(was.status.owner_uid));
    }
    assert_eq!(snapshot(&world, "of-hers").status.owner_uid, 1000);
    let now = pool(&world, "default");
    assert_eq!((now.reserved, now.snapshots, now.volumes), (promised.reserved, 6, 4));
    assert!(now.available.bytes() > 0 && now.capacity >= now.reserved, "{now:?}");
    assert!(world.told("Imported"));
    // What is being measured just then is not looked at.
    let mut report = world.engine().check_pool(&ROOT, &default(), false).unwrap();
    eventually(PATIENCE, || {
        report = world.engine().check_pool(&ROOT, &default(), false).unwrap();
        report.busy == 0
    });
    assert_eq!((differences(&report), report.volumes, report.snapshots), (vec![], 4, 6));

    // They are what they were, and do what they did.
    holds(&world, "data", "first");
    holds(&world, "clone", "first");
    world.restore(before.as_str()).unwrap();
    holds(&world, "data", "second");
    world.apply("from-gone", &format!("{KEPT}, source: snapshot of-gone")).unwrap();
    holds(&world, "from-gone", "old cargo");
    fails(world.restore("of-gone"), ErrorKind::NotFound);
    let query = VolumeQuery { released: true, ..VolumeQuery::default() };
    let released = world.engine().volumes(&ROOT, &query).unwrap().items;
    assert_eq!(released.iter().filter(|volume| volume.status.state == VolumeState::Released).count(), 1);
    world.delete_snapshot("week").unwrap();
    let again = world.engine().import_pool(&ROOT, &of(ImportPlace::Directory(path), None)).unwrap();
    assert!(again.snapshots.iter().all(|snapshot| snapshot.fate == ImportFate::Known), "{again:#?}");
    world.restart();
    assert_eq!(differences(&world.engine().check_pool(&ROOT, &default(), false).unwrap()), []);
}

/// What each takes for itself is found out again.
#[test]
fn what_imported_snapshots_share_is_found_out() {
    require!(Part::Loop);
    let (_host, mut world) = sharing();
    world.apply("data", "size: 64Mi, accessMode: ReadWriteMany, type: persistent").unwrap();
    world.inside("data", |path| fs::write(path.join("file"), vec![7; 10 << 20]).unwrap());
    world.snapshot("s", "data").unwrap();
    world.inside("data", |path| fs::write(path.join("file"), vec![8; 10 << 20]).unwrap());
    let path = world.pool_path();
    lose_the_store(&mut world);
    world.start();
    world.engine().import_pool(&ROOT, &of(ImportPlace::Directory(path), None)).unwrap();
    let own = || snapshot(&world, "s").status.exclusive.bytes();
    assert!(eventually(PATIENCE, || own() >= 8 * MIB), "{}", own());
}

fn own(world: &World, place: PoolPlace) {
    let request = PoolRequest { name: "own".parse().unwrap(), place, capacity: None, overcommit: None };
    world.engine().create_pool(&ROOT, &request).unwrap();
    world.apply("data", &format!("{KEPT}, pool: own")).unwrap();
    put(world, "data", "carried");
    world.snapshot("s", "data").unwrap();
    world.snapshot("only-there", "data").unwrap();
    put(world, "data", "later");
}

/// The pool `disk` was imported where `data` and `s` are other things.
#[track_caller]
fn arrived(world: &World, done: &PoolImport) {
    let fates: Vec<_> = done.snapshots.iter().map(|snapshot| snapshot.fate).collect();
    assert_eq!(fates, [ImportFate::Renamed, ImportFate::Imported], "{done:#?}");
    let name = |title: &Option<String>| title.as_ref().unwrap().strip_prefix("public/").unwrap().to_owned();
    let (volume, renamed) = (name(&done.volumes[0].title), name(&done.snapshots[0].title));
    assert!(renamed.starts_with("s-") && renamed.len() == "s-".len() + 8, "{renamed}");
    // They follow their volume, which has another name too.
    for snapshot in &done.snapshots {
        assert_eq!(snapshot.volume.as_ref().map(|volume| volume.as_str()), Some(volume.as_str()));
    }
    assert_eq!(differences(&world.engine().check_pool(&ROOT, &"disk".parse().unwrap(), false).unwrap()), []);
    holds(world, &volume, "later");
    world.restore(&renamed).unwrap();
    holds(world, &volume, "carried");
    holds(world, "data", "mine");
    world.restore("s").unwrap();
    holds(world, "data", "mine");
    let disk = pool(world, "disk");
    // One more keeps what was in the volume before it was put back.
    assert_eq!((disk.snapshots, disk.volumes), (3, 1));
    let carried = world.engine().snapshots(&ROOT, &SnapshotQuery::default()).unwrap().items;
    let sum: u64 = carried
        .iter()
        .filter(|snapshot| snapshot.status.pool.as_str() == "disk")
        .map(|snapshot| snapshot.status.reserved.bytes())
        .sum();
    assert_eq!(disk.reserved.bytes(), 16 * MIB + sum);
}

#[test]
fn snapshots_are_carried_in_an_image_and_their_names_are_told_apart() {
    require!(Part::Loop, Part::Xfs);
    let here = World::new("carried-here");
    let there = World::new("carried-there");
    let file = here.join("own.img");
    own(&here, PoolPlace::Image { file: file.clone(), size: Size::from_bytes(512 * MIB), sparse: true });
    let error = fails(here.engine().remove_pool(&ROOT, &"own".parse().unwrap()), ErrorKind::InUse);
    assert!(error.message.contains("holds 1 volume, "), "{error}");
    let exported = here.engine().export_pool(&ROOT, &"own".parse().unwrap()).unwrap();
    assert_eq!((exported.pool.volumes, exported.pool.snapshots, exported.held), (1, 2, None));
    assert!(here.snapshots().is_empty(), "they went with their pool");
    assert!(eventually(PATIENCE, || mounts::loops_below(here.scratch()).is_empty()));
    let carried = there.join("carried.img");
    run(Command::new("cp").arg("--sparse=always").args([&file, &carried])).ok();
    there.apply("data", KEPT).unwrap();
    put(&there, "data", "mine");
    there.snapshot("s", "data").unwrap();
    let done = there.engine().import_pool(&ROOT, &of(ImportPlace::Image(carried), Some("disk"))).unwrap();
    assert!(done.exported);
    arrived(&there, &done);
    there.engine().export_pool(&ROOT, &"disk".parse().unwrap()).unwrap();
    there.assert_nothing_mounted();
}

#[test]
fn snapshots_are_carried_on_a_device() {
    require!(Part::Loop, Part::Xfs);
    let here = World::new("carried-device");
    let there = World::new("carried-to");
    let disk = here.join("disk");
    run(Command::new("truncate").args(["-s", "512M"]).arg(&disk)).ok();
    let node: PathBuf = run(Command::new("losetup").args(["--find", "--show"]).arg(&disk)).ok().trim().into();
    own(&here, PoolPlace::Device { device: node.clone(), erase: None });
    here.engine().export_pool(&ROOT, &"own".parse().unwrap()).unwrap();
    there.apply("data", KEPT).unwrap();
    put(&there, "data", "mine");
    there.snapshot("s", "data").unwrap();
    let done = there.engine().import_pool(&ROOT, &of(ImportPlace::Device(node), Some("disk"))).unwrap();
    arrived(&there, &done);
    // What is only in the store is found missing, and what is only on the disk too.
    let name: PoolName = "disk".parse().unwrap();
    let lost = there.engine().snapshot(&ROOT, &snapshot_key("only-there")).unwrap().status.id;
    let path = PathBuf::from(pool(&there, "disk").path).join("snapshots").join(lost.to_string());
    fs::remove_file(path.join("data.img")).unwrap();
    let report = there.engine().check_pool(&ROOT, &name, true).unwrap();
    assert_eq!((differences(&report), report.snapshots), (vec![Difference::BadImage], 3));
    assert_eq!((report.findings[0].snapshot, report.findings[0].mended), (Some(lost), false));
    there.engine().export_pool(&ROOT, &name).unwrap();
    there.assert_nothing_mounted();
}

#[test]
fn a_pool_with_snapshots_alone_is_not_removed() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    let place = PoolPlace::Directory(world.join("other"));
    let request = PoolRequest { name: "other".parse().unwrap(), place, capacity: None, overcommit: None };
    world.engine().create_pool(&ROOT, &request).unwrap();
    world.apply("data", "size: 16Mi, accessMode: ReadWriteMany, type: temp, pool: other").unwrap();
    world.snapshot("s", "data").unwrap();
    world.destroy("data");
    let error = fails(world.engine().remove_pool(&ROOT, &request.name), ErrorKind::InUse);
    assert_eq!(error.message, "pool other holds 1 snapshot");
    assert!(error.hint.unwrap().contains("orlop snapshot list"));
    assert_eq!(world.snapshot_names(), ["s"]);
    world
        .apply("back", "size: 16Mi, accessMode: ReadWriteMany, type: temp, pool: other, source: snapshot s")
        .unwrap();
    world.destroy("back");
    world.delete_snapshot("s").unwrap();
    world.engine().remove_pool(&ROOT, &request.name).unwrap();
    let left: Vec<_> = fs::read_dir(world.join("other")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}
