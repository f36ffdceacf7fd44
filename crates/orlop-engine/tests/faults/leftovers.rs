//! What neither its own attempt nor the one after it could take back is settled while the engine runs.

use std::time::{Duration, Instant};

use orlop_engine::*;
use orlop_model::{
    ErrorKind, PoolName, Size,
    resource::{Medium, Outcome},
};
use orlop_testkit::{Part, command::eventually, mounts, require};

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

/// Between its mount and its failure anybody may open what is there: nothing is forced, and nothing but the
/// journal knows of the mount.
#[test]
fn a_failed_mount_that_somebody_uses_already_goes_when_they_do() {
    require!(Part::Loop, Part::Sqlite3);
    let world = World::new("used-already");
    world.apply("data", PLAIN).unwrap();
    let target = world.mkdir("target");
    let mounted = || mounts::mounts().iter().any(|mount| mount.target == target);
    let user = std::thread::scope(|scope| {
        let failing = scope.spawn(|| {
            let _slow = fault::inject("attach.bound=sleep:1500");
            let _fault = fault::inject("attach.bound=eio");
            fails(world.mount("data", &target, MountAccess::ByMode), ErrorKind::Host);
        });
        assert!(eventually(PATIENCE, mounted));
        let user = std::fs::File::open(&target).unwrap();
        failing.join().unwrap();
        user
    });
    let all = || rows(&world, "SELECT kind FROM operations");
    assert!(mounted(), "or this shows nothing");
    assert_eq!(all().trim(), "attach");
    drop(user);
    assert!(eventually(Duration::from_secs(30), || !mounted() && all().is_empty()), "{}", all());
    world.assert_nothing_mounted();
    world.mount("data", &target, MountAccess::ByMode).unwrap();
    world.engine().unmount(&ROOT, &target).unwrap();
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

/// What broke off and could not be taken back is settled by whatever is done next to the volume: it
/// neither goes on below that, nor is it left behind by it.
#[test]
fn whatever_is_done_next_begins_with_what_is_left() {
    require!(Part::Loop, Part::Sqlite3);
    type Next = (&'static str, fn(&World));
    let next: [Next; 8] = [
        ("delete", |world| world.destroy("data")),
        ("delete its snapshot", |world| world.delete_snapshot("s").unwrap()),
        ("attach", |world| drop(world.attach("data", "one").unwrap())),
        ("snapshot", |world| drop(world.snapshot("t", "data").unwrap())),
        ("clone", |world| {
            let spec = "size: 16Mi, accessMode: ReadWriteMany, type: temp, source: volume data";
            world.apply("clone", spec).unwrap();
        }),
        ("rename", |world| {
            let VolumeRef::Key(volume) = key("data") else { unreachable!() };
            let request = RenameRequest { volume, name: "new".parse().unwrap(), forget: Vec::new() };
            world.engine().rename(&ROOT, &request).unwrap();
        }),
        ("migrate", |world| {
            let request = MigrateRequest { pool: None, size: Some("32Mi".parse().unwrap()) };
            world.engine().migrate(&ROOT, &key("data"), &request).unwrap();
        }),
        ("restore", |world| drop(world.restore("s").unwrap())),
    ];
    for (name, next) in next {
        // Not by the background, which comes every five seconds.
        let world = World::with("left", |config| config.observe_every = Duration::from_secs(3600));
        world.apply("data", PLAIN).unwrap();
        world.inside("data", |path| std::fs::write(path.join("file"), "cargo").unwrap());
        world.snapshot("s", "data").unwrap();
        {
            let _fault = fault::inject("restore.copied=eio");
            let _undo = fault::inject("snapshot-delete.described=eio");
            fails(world.restore("s"), ErrorKind::Host);
        }
        let pending = "SELECT count(*) FROM snapshots WHERE state = 'pending'";
        assert_eq!(rows(&world, pending), "1", "{name}: or this shows nothing");
        next(&world);
        assert_eq!(rows(&world, "SELECT count(*) FROM operations"), "0", "{name}");
        assert_eq!(rows(&world, "SELECT count(*) FROM incoming"), "0", "{name}");
        assert_eq!(rows(&world, pending), "0", "{name}");
        let directories = std::fs::read_dir(world.pool_path().join("snapshots")).unwrap().count();
        assert_eq!(directories.to_string(), rows(&world, "SELECT count(*) FROM snapshots"), "{name}");
        for volume in world.engine().volumes(&ROOT, &VolumeQuery::default()).unwrap().items {
            let path = world.attach(volume.manifest.name.as_str(), "last").unwrap().path;
            assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo", "{name}");
            world.detach(volume.manifest.name.as_str(), "last").unwrap();
        }
    }
}

/// What was begun with pools as a whole is not kept until the next start either.
#[test]
fn what_is_left_of_pools_is_settled_without_a_restart() {
    require!(Part::Loop, Part::Sqlite3, Part::Xfs);
    let world = World::new("left-pools");
    let name: PoolName = "other".parse().unwrap();
    let size = |mib: u64| Size::from_bytes(mib * MIB);
    let place = PoolPlace::Image { file: world.join("other.img"), size: size(320), sparse: false };
    let request = PoolRequest { name: name.clone(), place, capacity: None, overcommit: None };
    let made = world.engine().create_pool(&ROOT, &request).unwrap().resource;
    let settled = || {
        let all = || rows(&world, "SELECT kind FROM operations");
        assert!(eventually(Duration::from_secs(30), || all().is_empty()), "{}", all());
    };
    let grow = |mib: u64| {
        let request = GrowRequest { size: Some(size(mib)), capacity: None };
        world.engine().grow_pool(&ROOT, &name, &request)
    };
    let pool = || world.engine().pool(&ROOT, &name).unwrap();
    {
        let _fault = fault::inject("pool.grow-device=eio");
        fails(grow(400), ErrorKind::Host);
    }
    assert_eq!(rows(&world, "SELECT kind FROM operations").trim(), "growPool", "or this shows nothing");
    settled();
    assert_eq!(pool().capacity.bytes(), made.capacity.bytes() + 80 * MIB);
    // What was overtaken by a larger one changes nothing any more.
    {
        let _fault = fault::inject("pool.grow-image=eio");
        fails(grow(440), ErrorKind::Host);
    }
    grow(480).unwrap();
    settled();
    assert_eq!(pool().capacity.bytes(), made.capacity.bytes() + 160 * MIB);
    assert_eq!(std::fs::metadata(world.join("other.img")).unwrap().len(), 480 * MIB);
    assert!(matches!(pool().medium, Medium::Image { size, .. } if size.bytes() == 480 * MIB));

    world.engine().export_pool(&ROOT, &name).unwrap();
    let import = || {
        let place = ImportPlace::Image(world.join("other.img"));
        let request = ImportRequest { name: Some(name.clone()), place, capacity: None, overcommit: None };
        world.engine().import_pool(&ROOT, &request)
    };
    {
        let _fault = fault::inject("pool.import-described=eio");
        fails(import(), ErrorKind::Host);
    }
    assert_eq!(rows(&world, "SELECT kind FROM operations").trim(), "importPool", "or this shows nothing");
    settled();
    world.apply("data", &format!("{PLAIN}, pool: other")).unwrap();
    world.inside("data", |path| std::fs::write(path.join("file"), "cargo").unwrap());
    world.destroy("data");
    {
        let _fault = fault::inject("pool.erased=eio");
        fails(world.engine().remove_pool(&ROOT, &name), ErrorKind::Host);
    }
    settled();
    assert!(!world.join("other.img").exists());
    world.assert_nothing_mounted();
}

/// The same of a group of snapshots that could not be taken back: who asks for it, for one of its snapshots
/// or for its name begins with that, and it is in nobody else's way.
#[test]
fn a_group_that_got_stuck_is_settled_by_whoever_comes_next() {
    require!(Part::Loop, Part::Sqlite3);
    type Next = (&'static str, fn(&World));
    let next: [Next; 6] = [
        ("the same group", |world| {
            let made = world.snapshot_group("g", &["a", "b"]).unwrap();
            assert_eq!(made.outcome, Outcome::Created);
            world.delete_snapshot_group("g").unwrap();
        }),
        ("delete the group", |world| world.delete_snapshot_group("g").unwrap()),
        ("delete one of it", |world| world.delete_snapshot("g-a").unwrap()),
        ("a snapshot of that name", |world| {
            assert_eq!(world.snapshot("g-a", "a").unwrap().outcome, Outcome::Created);
        }),
        ("delete a volume", |world| {
            world.destroy("b");
            world.apply("b", PLAIN).unwrap();
        }),
        ("a write", |world| {
            let path = world.attach("a", "two").unwrap().path;
            std::fs::write(path.join("file"), "x").unwrap();
        }),
    ];
    let disk = orlop_testkit::ScratchFs::xfs(1 << 30);
    for (index, (name, next)) in next.into_iter().enumerate() {
        // So that it is still stuck when it is looked at.
        let seldom = |config: &mut EngineConfig| config.observe_every = Duration::from_secs(3);
        let world = World::over(&disk.join(index.to_string()), seldom);
        for volume in ["a", "b"] {
            world.apply(volume, PLAIN).unwrap();
        }
        world.attach("a", "one").unwrap();
        {
            let _fault = fault::inject("snapshot-group.shared=eio");
            let _undo = fault::inject("snapshot-delete.described=eio");
            fails(world.snapshot_group("g", &["a", "b"]), ErrorKind::Host);
        }
        assert_eq!(rows(&world, "SELECT count(*) FROM operations"), "1", "{name}: or this shows nothing");
        next(&world);
        let settled = || rows(&world, "SELECT count(*) FROM operations") == "0";
        assert!(eventually(Duration::from_secs(30), settled), "{name}");
        assert_eq!(rows(&world, "SELECT count(*) FROM snapshot_groups"), "0", "{name}");
        let directories = std::fs::read_dir(world.pool_path().join("snapshots")).unwrap().count();
        assert_eq!(directories.to_string(), rows(&world, "SELECT count(*) FROM snapshots"), "{name}");
        for attached in world.volume("a").status.attachments {
            world.detach("a", &attached.scope).unwrap();
        }
    }
}

/// A volume that is elsewhere than its snapshot, and a restore that neither ended nor could be taken back: the
/// pool of the snapshot stays, for what is in the volume now is told by it.
#[test]
fn a_pool_stays_while_a_restore_from_it_is_unsettled() {
    require!(Part::Loop, Part::Sqlite3);
    let mut world = World::new("left-restore");
    another_pool(&world, "other", world.join("other"));
    world.apply("data", PLAIN).unwrap();
    world.inside("data", |path| std::fs::write(path.join("file"), "cargo").unwrap());
    world.snapshot("s", "data").unwrap();
    let request = MigrateRequest { pool: Some("other".parse().unwrap()), size: None };
    world.engine().migrate(&ROOT, &key("data"), &request).unwrap();
    world.inside("data", |path| std::fs::write(path.join("file"), "later").unwrap());
    let (marker, away) = (world.join("other/orlop.pool"), world.join("away"));
    std::thread::scope(|scope| {
        let failing = scope.spawn(|| {
            let _slow = fault::inject("restore.swapped=sleep:1500");
            let _fault = fault::inject("restore.swapped=eio");
            fails(world.restore("s"), ErrorKind::Host);
        });
        let kept = world.join("other/snapshots");
        let described = || std::fs::read_dir(&kept).into_iter().flatten().flatten().next().is_some();
        assert!(eventually(PATIENCE, described));
        // The disk of the volume goes meanwhile.
        std::fs::rename(&marker, &away).unwrap();
        failing.join().unwrap();
    });
    assert_eq!(rows(&world, "SELECT kind FROM operations").trim(), "restore", "or this shows nothing");
    let export = |world: &World| world.engine().export_pool(&ROOT, &PoolName::default_pool());
    let error = fails(export(&world), ErrorKind::Recovering);
    assert!(error.message.contains("put back to snapshot public/s"), "{error}");
    world.restart();
    std::fs::rename(&away, &marker).unwrap();
    let settled = || rows(&world, "SELECT count(*) FROM operations") == "0";
    assert!(eventually(Duration::from_secs(30), settled), "{}", rows(&world, "SELECT * FROM operations"));
    world.inside("data", |path| assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo"));
    export(&world).unwrap();
}

/// What a deletion that got stuck had marked goes with it, and what came since does not.
#[test]
fn what_joins_a_group_that_is_being_deleted_survives_it() {
    require!(Part::Loop, Part::Sqlite3);
    let disk = orlop_testkit::ScratchFs::xfs(1 << 30);
    let world = World::over(&disk.join("world"), |_| ());
    another_pool(&world, "other", disk.join("other"));
    world.apply("a", PLAIN).unwrap();
    world.apply("b", &format!("{PLAIN}, pool: other")).unwrap();
    world.snapshot_group("g", &["a", "b"]).unwrap();
    let other: PoolName = "other".parse().unwrap();
    world.engine().export_pool(&ROOT, &other).unwrap();
    let (marker, away) = (world.pool_path().join("orlop.pool"), disk.join("away"));
    std::thread::scope(|scope| {
        let failing = scope.spawn(|| {
            let _slow = fault::inject("snapshot-group-delete.recorded=sleep:1500");
            let _fault = fault::inject("snapshot-group-delete.recorded=eio");
            fails(world.delete_snapshot_group("g"), ErrorKind::Host);
        });
        let marked = || rows(&world, "SELECT state FROM snapshots") == "deleting";
        assert!(eventually(PATIENCE, marked));
        // So that the background finishes nothing yet.
        std::fs::rename(&marker, &away).unwrap();
        failing.join().unwrap();
    });
    let place = ImportPlace::Directory(disk.join("other"));
    let request = ImportRequest { place, name: Some(other), capacity: None, overcommit: None };
    world.engine().import_pool(&ROOT, &request).unwrap();
    let states = "SELECT name || ' ' || state FROM snapshots ORDER BY name";
    assert_eq!(rows(&world, states), "g-a deleting\ng-b active", "or this shows nothing");
    std::fs::rename(&away, &marker).unwrap();
    let settled = || rows(&world, "SELECT count(*) FROM operations") == "0";
    assert!(eventually(Duration::from_secs(30), settled));
    assert_eq!(rows(&world, states), "g-b active");
    let clone = "size: 16Mi, accessMode: ReadWriteMany, type: temp, pool: other, source: snapshot g-b";
    world.apply("clone", clone).unwrap();
    world.delete_snapshot_group("g").unwrap();
}

fn another_pool(world: &World, name: &str, directory: std::path::PathBuf) {
    let (name, place) = (name.parse().unwrap(), PoolPlace::Directory(directory));
    let request = PoolRequest { name, place, capacity: None, overcommit: None };
    world.engine().create_pool(&ROOT, &request).unwrap();
}
