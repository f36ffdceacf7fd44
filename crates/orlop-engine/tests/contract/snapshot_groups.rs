//! Snapshots of several volumes at one moment: all or none, of one moment indeed, and gone together.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use orlop_engine::*;
use orlop_model::{
    ErrorKind, PoolName, Size,
    resource::{Consistency, Outcome, SnapshotGroup, SnapshotState},
};
use orlop_testkit::{Part, ScratchFs, command::eventually, require};

use crate::harness::*;

pub const SMALL: &str = "size: 16Mi, accessMode: ReadWriteMany, type: temp";
const LARGE: &str = "size: 300Mi, accessMode: ReadWriteMany, type: temp, filesystem: xfs";

pub fn sharing() -> (ScratchFs, World) {
    let host = ScratchFs::xfs(3 << 30);
    let world = World::over(host.path(), serve);
    (host, world)
}

/// A second pool beside the first one.
pub fn another_pool(world: &World, name: &str, directory: PathBuf, capacity: Option<u64>) {
    let request = PoolRequest {
        name: name.parse().unwrap(),
        place: PoolPlace::Directory(directory),
        capacity: capacity.map(Size::from_bytes),
        overcommit: None,
    };
    world.engine().create_pool(&ROOT, &request).unwrap();
}

/// What a file of eight bytes says, as far as it is there.
fn number(file: &Path) -> u64 {
    match fs::read(file).unwrap_or_default().try_into() {
        Ok(bytes) => u64::from_le_bytes(bytes),
        Err(short) => panic!("{}: {} bytes", file.display(), Vec::<u8>::len(&short)),
    }
}

/// Writes ever larger numbers to the first file and then to the second one, until `stop`.
fn count(first: &Path, second: &Path, stop: &AtomicBool) {
    let open = |path: &Path| fs::OpenOptions::new().write(true).open(path).unwrap();
    let (first, second) = (open(first), open(second));
    let mut n = 0_u64;
    while !stop.load(Ordering::SeqCst) {
        n += 1;
        first.write_all_at(&n.to_le_bytes(), 0).unwrap();
        second.write_all_at(&n.to_le_bytes(), 0).unwrap();
    }
}

fn waits_for_zero(file: &Path) {
    fs::write(file, 0_u64.to_le_bytes()).unwrap();
}

/// The two files as a clone of the snapshot has them.
fn held(world: &World, snapshot: &str, spec: &str) -> [u64; 2] {
    let clone = format!("clone-{snapshot}");
    world.apply(&clone, &format!("{spec}, source: snapshot {snapshot}")).unwrap();
    let numbers = world.inside(&clone, |path| ["there", "back"].map(|name| number(&path.join(name))));
    world.destroy(&clone);
    numbers
}

/// What is written to the second volume after something was written to the first one is never in the group
/// without that; and the other way round.
#[test]
fn no_write_is_there_without_those_before_it() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    let volumes = [("a", SMALL), ("b", LARGE)];
    let [a, b] = volumes.map(|(name, spec)| {
        world.apply(name, spec).unwrap();
        let path = world.attach(name, "one").unwrap().path;
        waits_for_zero(&path.join("there"));
        waits_for_zero(&path.join("back"));
        path
    });
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| count(&a.join("there"), &b.join("there"), &stop));
        scope.spawn(|| count(&b.join("back"), &a.join("back"), &stop));
        let running = || number(&b.join("there")) > 100 && number(&a.join("back")) > 100;
        assert!(eventually(Duration::from_secs(20), running));
        for group in ["g0", "g1", "g2", "g3", "g4"] {
            let made = world.snapshot_group(group, &["b", "a"]).unwrap();
            assert_eq!((made.outcome, made.resource.state), (Outcome::Created, SnapshotState::Active));
            for snapshot in &made.resource.snapshots {
                assert_eq!(snapshot.status.consistency, Consistency::Filesystem);
            }
        }
        // One after the other they are of two moments: what is looked for can be seen.
        world.snapshot("single-a", "a").unwrap();
        std::thread::sleep(Duration::from_millis(20));
        world.snapshot("single-b", "b").unwrap();
        stop.store(true, Ordering::SeqCst);
    });
    let mut last = 0;
    for group in ["g0", "g1", "g2", "g3", "g4"] {
        let [a_there, a_back] = held(&world, &format!("{group}-a"), SMALL);
        let [b_there, b_back] = held(&world, &format!("{group}-b"), LARGE);
        println!("{group}: there {a_there} {b_there}, back {b_back} {a_back}");
        assert!(a_there == b_there || a_there == b_there + 1, "{group}: {a_there} and {b_there}");
        assert!(b_back == a_back || b_back == a_back + 1, "{group}: {b_back} and {a_back}");
        assert!(a_there > last, "{group}: nothing was written since the one before");
        last = a_there;
    }
    let ([a_there, _], [b_there, _]) = (held(&world, "single-a", SMALL), held(&world, "single-b", LARGE));
    assert!(b_there > a_there + 1, "{a_there} and {b_there}: or this shows nothing");
}

/// A block device is of the moment of the others: what was written to it before something was written to
/// them is there.
#[test]
fn a_block_device_joins_the_others_and_two_that_are_in_use_do_not() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    let device = world.apply("device", DEVICE).unwrap().resource;
    world.stage(&device).unwrap();
    let device = world.publish(&device, "pod").unwrap();
    world.apply("files", SMALL).unwrap();
    let files = world.attach("files", "one").unwrap().path;
    waits_for_zero(&files.join("there"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| count(&device, &files.join("there"), &stop));
        assert!(eventually(Duration::from_secs(20), || number(&files.join("there")) > 100));
        for group in ["g0", "g1", "g2"] {
            let made = world.snapshot_group(group, &["device", "files"]).unwrap().resource;
            let [of_device, _] = &made.snapshots[..] else { panic!("{made:?}") };
            assert_eq!(of_device.status.consistency, Consistency::Crash);
            let image =
                world.pool_path().join("snapshots").join(of_device.status.id.to_string()).join("data.img");
            let on_device = u64::from_le_bytes(read_at(&image, 0, 8).try_into().unwrap());
            let clone = format!("clone-{group}");
            world.apply(&clone, &format!("{SMALL}, source: snapshot {group}-files")).unwrap();
            let in_file = world.inside(&clone, |path| number(&path.join("there")));
            println!("{group}: {on_device} on the device, {in_file} in the file");
            assert!(on_device >= in_file && in_file > 0, "{on_device} and {in_file}");
        }
        stop.store(true, Ordering::SeqCst);
    });
    let other = world.apply("other", DEVICE).unwrap().resource;
    world.snapshot_group("rests", &["device", "other", "files"]).unwrap();
    world.stage(&other).unwrap();
    world.publish(&other, "pod-2").unwrap();
    let error = fails(world.snapshot_group("both", &["device", "other"]), ErrorKind::InUse);
    assert!(error.message.contains("public/device and public/other"), "{error}");
}

#[test]
fn a_group_is_made_once_and_found_again() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    for name in ["a", "b", "c"] {
        world.apply(name, SMALL).unwrap();
    }
    world.attach("a", "one").unwrap();
    let made = world.snapshot_group("g", &["a", "b"]).unwrap().resource;
    let kinds = made.snapshots.iter().map(|one| one.status.consistency).collect::<Vec<_>>();
    assert_eq!(kinds, [Consistency::Filesystem, Consistency::Detached]);
    assert_eq!(world.snapshot_names(), ["g-a", "g-b"]);
    let again = world.snapshot_group("g", &["b", "a"]).unwrap();
    assert_eq!((again.outcome, again.resource.id), (Outcome::Unchanged, made.id));
    let ids = |group: &SnapshotGroup| group.snapshots.iter().map(|one| one.status.id).collect::<Vec<_>>();
    assert_eq!(ids(&again.resource), ids(&made));
    let error = fails(world.snapshot_group("g", &["a", "c"]), ErrorKind::Immutable);
    assert!(error.message.contains("a, b"), "{error}");
    // One name is of one thing.
    fails(world.snapshot("g", "a"), ErrorKind::AlreadyExists);
    world.snapshot("alone", "a").unwrap();
    fails(world.snapshot_group("alone", &["a", "b"]), ErrorKind::AlreadyExists);
    // A name that is taken is another's, and the group gets one like it.
    world.snapshot("h-a", "b").unwrap();
    let other = world.snapshot_group("h", &["a", "b"]).unwrap().resource;
    let names: Vec<_> = other.snapshots.iter().map(|one| one.manifest.name.as_str()).collect();
    assert!(names[0].starts_with("h-a-") && names[1] == "h-b", "{names:?}");

    for (volumes, words) in [
        (&[][..], "at least one"),
        (&["a", "b", "a"], "named twice"),
        (&["a", "none"], "no volume public/none"),
    ] {
        let error = world.snapshot_group("bad", volumes).unwrap_err();
        assert!(error.message.contains(words), "{error}");
    }
    let many: Vec<String> = (0..33).map(|n| format!("v{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let error = fails(world.snapshot_group("many", &many), ErrorKind::InvalidArgument);
    assert!(error.message.contains("at most 32") && error.hint.is_some(), "{error}");
    assert_eq!(world.snapshots().len(), 6);
}

#[test]
fn a_group_goes_as_a_whole() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    for name in ["a", "b"] {
        world.apply(name, SMALL).unwrap();
        world.inside(name, |path| fs::write(path.join("file"), name).unwrap());
    }
    world.snapshot_group("g", &["a", "b"]).unwrap();
    let error = fails(world.delete_snapshot("g-a"), ErrorKind::Protected);
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("delete -n g -w public")), "{error}");
    // By its name it is no snapshot, and it is said which are.
    let error = fails(world.restore("g"), ErrorKind::NotFound);
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("g-a, g-b")), "{error}");
    let kept = world.snapshot_group_for("g", &["a", "b"], Some("7d")).unwrap();
    assert_eq!((kept.outcome, kept.changes), (Outcome::Configured, vec!["snapshot.retain".to_owned()]));
    assert!(kept.resource.snapshots.iter().all(|one| one.status.expires_at.is_some()));
    let error = fails(world.snapshot_as(&ROOT, "g-a", "a", "9d", false), ErrorKind::Immutable);
    assert_eq!(error.object.as_deref(), Some("snapshot.retain"));

    world.inside("a", |path| fs::write(path.join("file"), "later").unwrap());
    world.restore("g-a").unwrap();
    world.inside("a", |path| assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "a"));
    world.apply("clone", &format!("{SMALL}, source: snapshot g-b")).unwrap();
    world.inside("clone", |path| assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "b"));

    let reserved = || world.engine().pool(&ROOT, &PoolName::default_pool()).unwrap().reserved.bytes();
    let (with, of_group): (_, u64) =
        (reserved(), kept.resource.snapshots.iter().map(|one| one.status.reserved.bytes()).sum());
    world.delete_snapshot_group("g").unwrap();
    fails(world.delete_snapshot_group("g"), ErrorKind::NotFound);
    assert_eq!(reserved(), with - of_group);
    let left = world.snapshot_names();
    assert!(left.len() == 1 && left[0].starts_with("a-before-"), "{left:?}");
    assert_eq!(fs::read_dir(world.pool_path().join("snapshots")).unwrap().count(), 1);
    // Its time ends for all of it.
    world.snapshot_group_for("short", &["a", "b"], Some("1s")).unwrap();
    assert!(eventually(Duration::from_secs(30), || world.snapshot_names().len() == 1));
    // And its name is free.
    world.snapshot("short", "a").unwrap();
}

#[test]
fn who_owns_all_of_the_volumes_may() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    let alice = Caller { uid: 1000, ..ROOT };
    world.apply_as(&alice, "hers", SMALL).unwrap();
    world.apply("ours", SMALL).unwrap();
    let request = |volumes: &[&str]| SnapshotGroupRequest {
        workspace: "public".parse().unwrap(),
        name: "g".parse().unwrap(),
        volumes: volumes.iter().map(|name| name.parse().unwrap()).collect(),
        retain: None,
    };
    let engine = world.engine();
    fails(engine.apply_snapshot_group(&alice, &request(&["hers", "ours"])), ErrorKind::PermissionDenied);
    let made = engine.apply_snapshot_group(&ROOT, &request(&["hers", "ours"])).unwrap().resource;
    assert_eq!(made.snapshots.iter().map(|one| one.status.owner_uid).collect::<Vec<_>>(), [1000, 0]);
    fails(engine.delete_snapshot_group(&alice, &snapshot_key("g")), ErrorKind::PermissionDenied);
    fails(engine.apply_snapshot_group(&alice, &request(&["hers", "ours"])), ErrorKind::PermissionDenied);
    engine.delete_snapshot_group(&ROOT, &snapshot_key("g")).unwrap();
    engine.apply_snapshot_group(&alice, &request(&["hers"])).unwrap();
}

/// What another program froze is its own, and keeps none of the others frozen.
#[test]
fn where_one_can_not_be_frozen_none_is_made() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    for name in ["a", "b", "c"] {
        world.apply(name, SMALL).unwrap();
        world.attach(name, "one").unwrap();
    }
    let base =
        |name: &str| world.config.mount_dir.join(world.volume(name).status.id.to_string()).join("base");
    let fsfreeze = |how: &str| Command::new("fsfreeze").arg(how).arg(base("b")).status().unwrap().success();
    assert!(fsfreeze("--freeze"));
    let refused = world.snapshot_group("g", &["a", "b", "c"]);
    for name in ["a", "c"] {
        fs::write(base(name).join("data").join("file"), "x").unwrap();
    }
    assert!(fsfreeze("--unfreeze"), "it was thawed: {refused:?}");
    let error = fails(refused, ErrorKind::InUse);
    assert!(error.message.contains("frozen already"), "{error}");
    assert!(world.snapshots().is_empty());
    assert_eq!(world.snapshot_group("g", &["a", "b", "c"]).unwrap().outcome, Outcome::Created);
}

#[test]
fn a_group_that_has_no_room_as_a_whole_is_not_begun() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    for name in ["a", "b"] {
        world.apply(name, SMALL).unwrap();
        world.inside(name, |path| fs::write(path.join("file"), vec![1; 4 << 20]).unwrap());
    }
    let limit = |size: Option<u64>| {
        let size_limit = Some(size.map(Size::from_bytes));
        let request = WorkspaceRequest { size_limit, ..WorkspaceRequest::default() };
        world.engine().put_workspace(&ROOT, &"public".parse().unwrap(), &request).unwrap();
    };
    // One of them would fit.
    limit(Some((32 << 20) + (6 << 20)));
    fails(world.snapshot_group("g", &["a", "b"]), ErrorKind::WorkspaceFull);
    assert!(world.snapshots().is_empty());
    fails(world.engine().snapshot_group(&ROOT, &snapshot_key("g")), ErrorKind::NotFound);
    world.snapshot("alone", "a").unwrap();
    world.delete_snapshot("alone").unwrap();
    limit(None);
    world.snapshot_group("g", &["a", "b"]).unwrap();

    // The same of a pool.
    another_pool(&world, "narrow", world.join("narrow"), Some((32 << 20) + (6 << 20)));
    for name in ["c", "d"] {
        world.apply(name, &format!("{SMALL}, pool: narrow")).unwrap();
        world.inside(name, |path| fs::write(path.join("file"), vec![1; 4 << 20]).unwrap());
    }
    let reserved = || world.engine().pool(&ROOT, &"narrow".parse().unwrap()).unwrap().reserved.bytes();
    assert_eq!(reserved(), 32 << 20);
    let error = fails(world.snapshot_group("h", &["c", "d"]), ErrorKind::PoolFull);
    assert!(error.message.contains("narrow"), "{error}");
    assert_eq!((reserved(), world.snapshot_names()), (32 << 20, vec!["g-a".to_owned(), "g-b".to_owned()]));
    fails(world.engine().snapshot_group(&ROOT, &snapshot_key("h")), ErrorKind::NotFound);
    world.snapshot("alone", "c").unwrap();
}

#[test]
fn an_orchestrator_finds_its_group_by_its_own_name() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    let id = |name: &str| world.apply(name, SMALL).unwrap().resource.status.id;
    let (a, b, c) = (id("a"), id("b"), id("c"));
    let request = |external: &str, volumes: &[orlop_model::VolumeId]| TakeGroupRequest {
        external: external.to_owned(),
        volumes: volumes.to_vec(),
        name: "weekly".parse().unwrap(),
        tags: vec!["from:cluster".to_owned()],
    };
    let patience = Duration::from_secs(10);
    let take = |request: &TakeGroupRequest| world.engine().take_snapshot_group(&CSI, request, patience);
    let made = take(&request("Group One", &[b, a])).unwrap();
    assert_eq!((made.outcome, made.resource.name.as_str()), (Outcome::Created, "weekly"));
    assert_eq!(made.resource.snapshots[0].manifest.tags, ["from:cluster"]);
    let again = take(&request("Group One", &[a, b])).unwrap();
    assert_eq!((again.outcome, again.resource.id), (Outcome::Unchanged, made.resource.id));
    fails(take(&request("Group One", &[a, b, c])), ErrorKind::AlreadyExists);
    fails(take(&request("Group One", &[a])), ErrorKind::AlreadyExists);
    // Another one of the same wish has a name like it.
    let other = take(&request("Group Two", &[a, b])).unwrap().resource;
    assert!(other.name.as_str().starts_with("weekly-"), "{}", other.name);
    let engine = world.engine();
    assert_eq!(engine.snapshot_group_by_id(&CSI, other.id).unwrap(), other);
    for _ in 0..2 {
        engine.delete_snapshot_group_by_id(&CSI, other.id, patience).unwrap();
    }
    fails(engine.snapshot_group_by_id(&CSI, other.id), ErrorKind::NotFound);

    // The name goes with the pool.
    let pool = PoolName::default_pool();
    let path = world.pool_path();
    world.engine().export_pool(&ROOT, &pool).unwrap();
    fails(engine.snapshot_group_by_id(&CSI, made.resource.id), ErrorKind::NotFound);
    let request_import =
        ImportRequest { place: ImportPlace::Directory(path), name: None, capacity: None, overcommit: None };
    engine.import_pool(&ROOT, &request_import).unwrap();
    let found = take(&request("Group One", &[a, b])).unwrap();
    assert_eq!((found.outcome, found.resource.id), (Outcome::Unchanged, made.resource.id));
}
