//! A pool on btrfs shares blocks as one on XFS does: the whole life of snapshots there.

use std::{fs, process::Command};

use orlop_engine::*;
use orlop_model::{
    PoolName,
    pool_report::ImportFate,
    resource::{Consistency, SnapshotState},
};
use orlop_testkit::{Part, ScratchFs, command::eventually, require, run};

use crate::harness::*;

const GIB: u64 = 1 << 30;
const SMALL: &str = "size: 64Mi, accessMode: ReadWriteMany, type: persistent";
const LARGE: &str = "size: 320Mi, accessMode: ReadWriteMany, type: persistent, filesystem: xfs";

fn world() -> (ScratchFs, World) {
    let host = ScratchFs::btrfs(3 * GIB);
    let world = World::over(host.path(), |_| ());
    (host, world)
}

#[track_caller]
fn holds(world: &World, name: &str, content: &str) {
    world.inside(name, |path| assert_eq!(fs::read_to_string(path.join("file")).unwrap(), content));
}

fn uuid(world: &World, name: &str) -> String {
    let image = world.image(&world.volume(name));
    run(Command::new("blkid").args(["-p", "-o", "value", "-s", "UUID"]).arg(image)).ok()
}

#[test]
fn snapshots_live_on_btrfs_as_they_do_on_xfs() {
    require!(Part::Loop, Part::Xfs, Part::Btrfs);
    let (host, world) = world();
    let pool = || world.engine().pool(&ROOT, &PoolName::default_pool()).unwrap();
    assert_eq!(pool().host_filesystem, "btrfs");
    assert!(pool().capabilities.unwrap().reflink);
    for (name, spec, checker) in
        [("small", SMALL, vec!["e2fsck", "-fn"]), ("large", LARGE, vec!["xfs_repair", "-n", "-f"])]
    {
        world.apply(name, spec).unwrap();
        let path = world.attach(name, "one").unwrap().path;
        fs::write(path.join("file"), "first").unwrap();
        fs::write(path.join("bulk"), vec![7; 20 << 20]).unwrap();
        let used = || orlop_sys::space::usage(host.path()).unwrap().used;
        for written in [path.as_path(), host.path()] {
            run(Command::new("sync").arg("-f").arg(written)).ok();
        }
        let before = used();
        let snapshot = format!("{name}-s");
        // In use: frozen, shared, thawed.
        let made = world.snapshot(&snapshot, name).unwrap().resource.status;
        assert_eq!((made.state, made.consistency), (SnapshotState::Active, Consistency::Filesystem));
        assert!(made.reserved.bytes() > 20 * MIB, "{made:?}");
        run(Command::new("sync").arg("-f").arg(host.path())).ok();
        assert!(used() < before + 10 * MIB, "its blocks are shared: {before} before, {} after", used());
        fs::write(path.join("file"), "second").unwrap();

        let (a, b) = (format!("{name}-a"), format!("{name}-b"));
        world.apply(&a, &format!("{spec}, source: snapshot {snapshot}")).unwrap();
        world.apply(&b, &format!("{spec}, source: volume {name}")).unwrap();
        holds(&world, &a, "first");
        holds(&world, &b, "second");
        let uuids = [uuid(&world, name), uuid(&world, &a), uuid(&world, &b)];
        assert!(uuids[0] != uuids[1] && uuids[1] != uuids[2] && uuids[0] != uuids[2], "{uuids:?}");

        world.detach(name, "one").unwrap();
        let kept = world.restore(&snapshot).unwrap().before;
        holds(&world, name, "first");
        world.restore(kept.as_str()).unwrap();
        holds(&world, name, "second");
        for volume in [name, &a, &b] {
            let (program, arguments) = checker.split_first().unwrap();
            run(Command::new(program).args(arguments).arg(world.image(&world.volume(volume)))).ok();
        }
        // What is the snapshot's own is found out here too.
        world.inside(name, |path| fs::write(path.join("bulk"), vec![8; 20 << 20]).unwrap());
        world.delete_snapshot(kept.as_str()).unwrap();
        let exclusive =
            || world.engine().snapshot(&ROOT, &snapshot_key(&snapshot)).unwrap().status.exclusive.bytes();
        assert!(exclusive() <= made.reserved.bytes());
        world.delete_snapshot(&snapshot).unwrap();
        holds(&world, &a, "first");
    }
    for name in world.snapshot_names() {
        world.delete_snapshot(&name).unwrap();
    }
    assert_eq!(
        (pool().snapshots, fs::read_dir(world.pool_path().join("snapshots")).unwrap().count()),
        (0, 0)
    );
    let report = world.engine().check_pool(&ROOT, &PoolName::default_pool(), false).unwrap();
    assert_eq!(report.findings, []);
}

#[test]
fn a_store_that_was_lost_on_btrfs_comes_back_with_snapshots() {
    require!(Part::Loop, Part::Btrfs);
    let (_host, mut world) = world();
    world.apply("data", SMALL).unwrap();
    world.inside("data", |path| fs::write(path.join("file"), "first").unwrap());
    world.snapshot("s", "data").unwrap();
    world.inside("data", |path| fs::write(path.join("file"), "second").unwrap());
    let (path, before) = (world.pool_path(), world.snapshots());
    world.crash();
    for file in ["orlop.db", "orlop.db-wal", "orlop.db-shm"] {
        let _ = fs::remove_file(world.config.state_dir.join(file));
    }
    world.start();
    let place = ImportPlace::Directory(path);
    let request = ImportRequest { name: None, place, capacity: None, overcommit: None };
    let done = world.engine().import_pool(&ROOT, &request).unwrap();
    assert_eq!(done.snapshots[0].fate, ImportFate::Imported, "{done:#?}");
    assert!(eventually(PATIENCE, || world.snapshots()[0].status.reserved == before[0].status.reserved));
    world.restore("s").unwrap();
    holds(&world, "data", "first");
}
