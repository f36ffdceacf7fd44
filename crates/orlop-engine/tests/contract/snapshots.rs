//! Snapshots and clones, on pools that share blocks and on one that doesn't.

use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use orlop_engine::*;
use orlop_model::{
    ErrorKind, Size,
    resource::{Consistency, Intention, Outcome, SnapshotState},
};
use orlop_testkit::{Part, ScratchFs, command::eventually, require, run};

use crate::harness::*;

pub(crate) const SMALL: &str = "size: 16Mi, accessMode: ReadWriteMany, type: temp";
const LARGE: &str = "size: 300Mi, accessMode: ReadWriteMany, type: temp, filesystem: xfs";
pub(crate) const GIB: u64 = 1 << 30;

/// A pool whose filesystem shares blocks.
pub(crate) fn sharing() -> (ScratchFs, World) {
    let host = ScratchFs::xfs(3 * GIB);
    let world = World::over(host.path(), |_| ());
    (host, world)
}

fn uuid(world: &World, name: &str) -> String {
    let image = world.image(&world.volume(name));
    run(Command::new("blkid").args(["-p", "-o", "value", "-s", "UUID"]).arg(image)).ok()
}

pub(crate) fn sound(world: &World, name: &str, kind: &str) {
    let image = world.image(&world.volume(name));
    let check = match kind {
        "xfs" => run(Command::new("xfs_repair").args(["-n", "-f"]).arg(image)),
        _ => run(Command::new("e2fsck").args(["-fn"]).arg(image)),
    };
    check.ok();
}

#[test]
fn a_volume_in_use_is_snapshot_and_put_back() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    for (name, spec) in [("small", SMALL), ("large", LARGE)] {
        world.apply(name, spec).unwrap();
        let path = world.attach(name, "one").unwrap().path;
        fs::write(path.join("file"), "first").unwrap();
        let snapshot = format!("{name}-1");
        let made = world.snapshot(&snapshot, name).unwrap();
        assert_eq!(made.outcome, Outcome::Created);
        let status = &made.resource.status;
        assert_eq!((status.state, status.consistency), (SnapshotState::Active, Consistency::Filesystem));
        assert!(status.reserved.bytes() > 0 && status.reserved < status.size, "{status:?}");
        // It is in use as before.
        fs::write(path.join("file"), "second").unwrap();
        fs::write(path.join("more"), "x").unwrap();

        let error = fails(world.restore(&snapshot), ErrorKind::InUse);
        assert!(error.message.contains("docker mount one"), "{error}");
        world.detach(name, "one").unwrap();
        let restored = world.restore(&snapshot).unwrap();
        assert_eq!(restored.volume.status.id, world.volume(name).status.id);
        world.inside(name, |path| {
            assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "first");
            assert!(!path.join("more").exists());
            fs::write(path.join("file"), "third").unwrap();
        });
        // And back again: nothing was lost by it.
        let before = restored.before.to_string();
        assert!(before.starts_with(&format!("{name}-before-")), "{before}");
        world.restore(&before).unwrap();
        world.inside(name, |path| {
            assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "second");
            assert!(path.join("more").exists());
        });
        let kind = if name == "large" { "xfs" } else { "ext4" };
        sound(&world, name, kind);
        assert_eq!(world.snapshot_names().iter().filter(|n| n.starts_with(name)).count(), 3);
    }
    assert!(world.told("SnapshotCreated") && world.told("Restored"));
}

#[test]
fn a_clone_is_a_volume_of_its_own() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    for (name, spec, kind) in [("small", SMALL, "ext4"), ("large", LARGE, "xfs")] {
        world.apply(name, spec).unwrap();
        let path = world.attach(name, "one").unwrap().path;
        fs::write(path.join("file"), "cargo").unwrap();
        world.snapshot(&format!("{name}-1"), name).unwrap();
        fs::write(path.join("file"), "later").unwrap();
        let (a, b, c) = (format!("{name}-a"), format!("{name}-b"), format!("{name}-c"));
        let from_snapshot = format!("{spec}, source: snapshot {name}-1");
        let from_volume = format!("{spec}, source: volume {name}");
        world.apply(&a, &from_snapshot).unwrap();
        world.apply(&b, &from_snapshot).unwrap();
        // Of a volume that is in use at that moment.
        world.apply(&c, &from_volume).unwrap();
        assert_eq!(world.apply(&a, &from_snapshot).unwrap().outcome, Outcome::Unchanged);
        let uuids: Vec<_> = [name, &a, &b, &c].iter().map(|name| uuid(&world, name)).collect();
        for (index, uuid) in uuids.iter().enumerate() {
            assert!(!uuids[..index].contains(uuid), "{uuids:?}");
        }
        // All at once: the kernel would not mount two of one UUID.
        for (clone, content) in [(&a, "cargo"), (&b, "cargo"), (&c, "later")] {
            let path = world.attach(clone, "two").unwrap().path;
            assert_eq!(fs::read_to_string(path.join("file")).unwrap(), content, "{clone}");
            fs::write(path.join("file"), clone).unwrap();
        }
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "later");
        for clone in [&a, &b, &c] {
            world.detach(clone, "two").unwrap();
            sound(&world, clone, kind);
        }
        world.detach(name, "one").unwrap();
        world.destroy(name);
        // What it was made from may go; a snapshot outlives its volume.
        world.apply(&format!("{name}-d"), &from_snapshot).unwrap();
        fails(world.restore(&format!("{name}-1")), ErrorKind::NotFound);
        world.delete_snapshot(&format!("{name}-1")).unwrap();
        world.inside(&a, |path| assert_eq!(fs::read_to_string(path.join("file")).unwrap(), a));
        // Applied again, its source is not looked for.
        assert_eq!(world.apply(&a, &from_snapshot).unwrap().outcome, Outcome::Unchanged);
        fails(world.apply("other", &from_snapshot), ErrorKind::NotFound);
        // A clone of a clone that was never mounted since.
        let d = format!("{name}-d");
        world.snapshot(&format!("{name}-2"), &d).unwrap();
        world.apply(&format!("{name}-e"), &format!("{spec}, source: snapshot {name}-2")).unwrap();
        world.inside(&format!("{name}-e"), |path| {
            assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "cargo");
        });
    }
}

#[test]
fn what_a_clone_can_not_be() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    world.apply("data", "size: 32Mi, accessMode: ReadWriteMany, type: temp").unwrap();
    world.snapshot("s", "data").unwrap();
    for (spec, field) in [
        ("size: 16Mi, accessMode: ReadWriteMany, type: temp, source: snapshot s", "volume.size"),
        (
            "size: 512Mi, accessMode: ReadWriteMany, type: temp, filesystem: xfs, source: snapshot s",
            "volume.filesystem",
        ),
        (
            "size: 32Mi, accessMode: ReadWriteMany, type: temp, preallocate: true, source: snapshot s",
            "volume.preallocate",
        ),
    ] {
        let error = world.apply("clone", spec).unwrap_err();
        assert_eq!(error.object.as_deref(), Some(field), "{error}");
    }
    let error = fails(
        world.apply("data", "size: 32Mi, accessMode: ReadWriteMany, type: temp, source: snapshot s"),
        ErrorKind::Immutable,
    );
    assert_eq!(error.object.as_deref(), Some("volume.source"));
}

#[test]
fn a_clone_that_is_to_be_larger_grows() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    for (name, spec, large) in [("small", SMALL, "48Mi"), ("large", LARGE, "600Mi")] {
        world.apply(name, spec).unwrap();
        world.inside(name, |path| fs::write(path.join("file"), "cargo").unwrap());
        world.snapshot(&format!("{name}-s"), name).unwrap();
        let clone = format!("{name}-clone");
        let first = spec.split_once(", ").unwrap().1;
        let wanted = format!("size: {large}, {first}, source: snapshot {name}-s");
        let made = world.apply(&clone, &wanted).unwrap();
        assert_eq!(
            (made.outcome, made.resource.manifest.volume.size.to_string().as_str()),
            (Outcome::Created, large)
        );
        assert_eq!(world.apply(&clone, &wanted).unwrap().outcome, Outcome::Unchanged);
        let smaller = world.volume(name).manifest.volume.size.bytes();
        world.inside(&clone, |path| {
            assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "cargo");
            assert!(orlop_sys::space::usage(path).unwrap().capacity > smaller);
        });
    }
}

#[test]
fn asked_again_a_snapshot_is_what_it_was() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    world.apply("data", SMALL).unwrap();
    world.apply("other", SMALL).unwrap();
    let first = world.snapshot("s", "data").unwrap().resource;
    let again = world.snapshot("s", "data").unwrap();
    assert_eq!((again.outcome, again.resource.status.id), (Outcome::Unchanged, first.status.id));
    let kept = world.snapshot_as(&ROOT, "s", "data", "7d", false).unwrap();
    assert_eq!((kept.outcome, kept.changes), (Outcome::Configured, vec!["snapshot.retain".to_owned()]));
    let week = first.status.created_at + jiff::SignedDuration::from_hours(7 * 24);
    assert_eq!(kept.resource.status.expires_at, Some(week));
    let json = world.pool_path().join("snapshots").join(first.status.id.to_string()).join("snapshot.json");
    assert!(fs::read_to_string(json).unwrap().contains("\"retain\": \"7d\""));
    let error = fails(world.snapshot("s", "other"), ErrorKind::Immutable);
    assert_eq!(error.object.as_deref(), Some("snapshot.volume"));
    fails(world.snapshot("t", "none"), ErrorKind::NotFound);
    world.delete_snapshot("s").unwrap();
    fails(world.delete_snapshot("s"), ErrorKind::NotFound);
    assert!(fs::read_dir(world.pool_path().join("snapshots")).unwrap().next().is_none());
}

#[test]
fn who_owns_a_volume_owns_its_snapshots() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    let alice = Caller { uid: 1000, ..ROOT };
    let bob = Caller { uid: 1001, ..ROOT };
    world.apply_as(&alice, "data", SMALL).unwrap();
    fails(world.snapshot_as(&bob, "s", "data", "forever", false), ErrorKind::PermissionDenied);
    world.snapshot_as(&alice, "s", "data", "forever", false).unwrap();
    assert_eq!(world.snapshots()[0].status.owner_uid, 1000);
    let clone = format!("{SMALL}, source: snapshot s");
    fails(world.apply_as(&bob, "clone", &clone), ErrorKind::PermissionDenied);
    fails(world.engine().restore(&bob, &snapshot_key("s")), ErrorKind::PermissionDenied);
    fails(world.engine().delete_snapshot(&bob, &snapshot_key("s")), ErrorKind::PermissionDenied);
    world.apply_as(&alice, "clone", &clone).unwrap();
    world.engine().delete_snapshot(&alice, &snapshot_key("s")).unwrap();
}

/// A pool that can't share blocks copies them, and says so before writers have to wait.
#[test]
fn without_shared_blocks_the_data_is_copied() {
    require!(Part::Loop);
    let host = ScratchFs::ext4(GIB);
    let world = World::over(host.path(), |_| ());
    world.apply("data", SMALL).unwrap();
    let path = world.attach("data", "one").unwrap().path;
    fs::write(path.join("file"), "first").unwrap();
    let error = fails(world.snapshot("s", "data"), ErrorKind::Unsupported);
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("--pause-writers")), "{error}");
    world.snapshot_as(&ROOT, "s", "data", "forever", true).unwrap();
    fs::write(path.join("file"), "second").unwrap();
    let clone = format!("{SMALL}, source: volume data");
    let request = ApplyRequest {
        workspace: "public".parse().unwrap(),
        manifest: manifest("clone", &clone),
        create_workspace: false,
        set: None,
    };
    let plan = world.engine().plan(&ROOT, &request).unwrap();
    assert_eq!(plan.intention, Intention::Refuse, "{plan:?}");
    fails(world.apply("clone", &clone), ErrorKind::Unsupported);
    assert!(!world.told("CreateUndone"), "nothing was begun");
    world.detach("data", "one").unwrap();
    world.snapshot("t", "data").unwrap();
    world.apply("clone", &clone).unwrap();
    world.restore("s").unwrap();
    world.inside("data", |path| assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "first"));
    world.inside("clone", |path| assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "second"));
    assert_ne!(uuid(&world, "data"), uuid(&world, "clone"));
    let space = |name: &str| {
        use std::os::unix::fs::MetadataExt;
        let id = world.engine().snapshot(&ROOT, &snapshot_key(name)).unwrap().status.id;
        fs::metadata(world.pool_path().join("snapshots").join(id.to_string()).join("data.img"))
            .unwrap()
            .blocks()
            * 512
    };
    assert!(space("t") < 16 * MIB / 2, "{}", space("t"));
}

/// Writers wait for the freeze and no longer, and none of them sees an error.
#[test]
fn a_busy_writer_goes_on() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    world.apply("data", LARGE).unwrap();
    let path = world.attach("data", "one").unwrap().path;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            use std::io::Write;
            let mut file = fs::File::create(path.join("log")).unwrap();
            let mut longest = Duration::ZERO;
            let mut lines = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                let begin = Instant::now();
                writeln!(file, "{lines}").unwrap();
                longest = longest.max(begin.elapsed());
                lines += 1;
            }
            (lines, longest)
        });
        for index in 0..5 {
            let made = world.snapshot(&format!("s{index}"), "data").unwrap().resource;
            let paused = made.status.paused_millis.expect("its writer was paused");
            let told = format!("were paused for {paused} ms");
            assert!(world.events().iter().any(|event| event.message.ends_with(&told)), "{told}");
        }
        assert!(world.snapshots().iter().all(|one| one.status.paused_millis.is_none()));
        stop.store(true, Ordering::SeqCst);
        let (lines, longest) = writer.join().unwrap();
        println!("{lines} lines, the longest pause {longest:?}");
        assert!(lines > 0);
    });
    // What a snapshot holds is a beginning of what was written.
    let whole = fs::read_to_string(path.join("log")).unwrap();
    for index in [0, 4] {
        let clone = format!("clone{index}");
        world.apply(&clone, &format!("{LARGE}, source: snapshot s{index}")).unwrap();
        world.inside(&clone, |path| {
            let part = fs::read_to_string(path.join("log")).unwrap_or_default();
            assert!(whole.starts_with(&part), "{} of {}", part.len(), whole.len());
        });
    }
}

/// A backup program's freeze is its own: a snapshot that comes meanwhile is refused, and ends nothing.
#[test]
fn what_another_program_froze_stays_frozen() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    world.apply("data", SMALL).unwrap();
    world.attach("data", "one").unwrap();
    let base = world.config.mount_dir.join(world.volume("data").status.id.to_string()).join("base");
    let fsfreeze = |how: &str| Command::new("fsfreeze").arg(how).arg(&base).status().unwrap().success();
    assert!(fsfreeze("--freeze"));
    let refused = world.snapshot("s", "data");
    assert!(fsfreeze("--unfreeze"), "it was thawed: {refused:?}");
    let error = fails(refused, ErrorKind::InUse);
    assert!(error.message.contains("frozen already"), "{error}");
    assert!(world.snapshots().is_empty());
    world.snapshot("s", "data").unwrap();
}

#[test]
fn what_is_shared_is_reserved_once_more_and_what_is_not_is_found_out() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    let pool = || world.engine().pool(&ROOT, &"default".parse().unwrap()).unwrap();
    world.apply("data", "size: 64Mi, accessMode: ReadWriteMany, type: temp").unwrap();
    world.inside("data", |path| fs::write(path.join("file"), vec![7; 20 << 20]).unwrap());
    let before = pool();
    let made = world.snapshot("s", "data").unwrap().resource.status;
    assert!(made.reserved.bytes() > 20 * MIB, "{made:?}");
    let after = pool();
    assert_eq!(after.reserved.bytes(), before.reserved.bytes() + made.reserved.bytes());
    assert_eq!((before.snapshots, after.snapshots), (0, 1));
    world.inside("data", |path| fs::write(path.join("file"), vec![8; 20 << 20]).unwrap());
    // The next thing that happens to the volume's snapshots has them looked at.
    world.snapshot("t", "data").unwrap();
    let exclusive = || world.engine().snapshot(&ROOT, &snapshot_key("s")).unwrap().status.exclusive.bytes();
    assert!(eventually(PATIENCE, || exclusive() > 10 * MIB), "{}", exclusive());
    world.delete_snapshot("s").unwrap();
    world.delete_snapshot("t").unwrap();
    assert_eq!(pool().reserved, before.reserved);
    fails(world.apply("large", "size: 100Gi, accessMode: ReadWriteMany, type: temp"), ErrorKind::PoolFull);
}

/// What a volume no longer holds is its snapshot's alone, however its image went.
#[test]
fn what_a_volume_gave_up_is_its_snapshots_own() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    let place = PoolPlace::Directory(world.join("other"));
    let request = PoolRequest { name: "other".parse().unwrap(), place, capacity: None, overcommit: None };
    world.engine().create_pool(&ROOT, &request).unwrap();
    type Way = (&'static str, fn(&World, &str));
    let ways: [Way; 4] = [
        ("destroyed", |world, name| world.destroy(name)),
        ("moved", |world, name| {
            let request = MigrateRequest { pool: Some("other".parse().unwrap()), size: None };
            world.engine().migrate(&ROOT, &key(name), &request).unwrap();
        }),
        ("remade", |world, name| {
            let request = MigrateRequest { pool: None, size: Some("80Mi".parse().unwrap()) };
            world.engine().migrate(&ROOT, &key(name), &request).unwrap();
        }),
        ("wiped", |world, name| {
            let wiped = || world.events().iter().any(|e| e.reason == "Wiped" && e.message.contains(name));
            assert!(eventually(PATIENCE, wiped));
        }),
    ];
    for (name, give_up) in ways {
        let grace = if name == "wiped" { "2s" } else { "never" };
        let spec = format!("size: 64Mi, accessMode: ReadWriteMany, type: temp, tempGracePeriod: {grace}");
        world.apply(name, &spec).unwrap();
        let path = world.attach(name, "one").unwrap().path;
        fs::write(path.join("file"), vec![7; 20 << 20]).unwrap();
        let snapshot = format!("{name}-s");
        world.snapshot(&snapshot, name).unwrap();
        world.detach(name, "one").unwrap();
        let exclusive =
            || world.engine().snapshot(&ROOT, &snapshot_key(&snapshot)).unwrap().status.exclusive.bytes();
        assert!(exclusive() < MIB, "{name}: {}", exclusive());
        give_up(&world, name);
        assert!(eventually(PATIENCE, || exclusive() > 20 * MIB), "{name}: {}", exclusive());
    }
}

/// The kernel brings what was written to the image when it freezes the volume: after its room was asked for.
#[test]
fn what_was_written_and_not_yet_in_the_image_is_asked_for_too() {
    require!(Part::Loop);
    let (host, world) = sharing();
    for name in ["first", "second"] {
        let request = PoolRequest {
            name: name.parse().unwrap(),
            place: PoolPlace::Directory(host.join(name)),
            capacity: (name == "first").then(|| Size::from_bytes(72 * MIB)),
            overcommit: None,
        };
        world.engine().create_pool(&ROOT, &request).unwrap();
    }
    let reserved = |pool: &str| world.engine().pool(&ROOT, &pool.parse().unwrap()).unwrap().reserved.bytes();
    let limit = |size: Option<u64>| {
        let size_limit = Some(size.map(Size::from_bytes));
        let request = WorkspaceRequest { size_limit, ..WorkspaceRequest::default() };
        world.engine().put_workspace(&ROOT, &"public".parse().unwrap(), &request).unwrap();
    };
    let busy = |name: &str, pool: &str| {
        let spec = format!("size: 64Mi, accessMode: ReadWriteMany, type: temp, pool: {pool}");
        world.apply(name, &spec).unwrap();
        let path = world.attach(name, "one").unwrap().path;
        fs::write(path.join("file"), vec![7; 16 << 20]).unwrap();
        let taken = world.volume(name).status.allocated_bytes.unwrap();
        assert!(taken < MIB, "it is in the image already: {taken}");
    };
    type Make = fn(&World, &str) -> orlop_model::Result<()>;
    let makes: [(&str, Make); 2] = [
        ("single", |world, volume| world.snapshot("s", volume).map(drop)),
        ("group", |world, volume| world.snapshot_group("s", &[volume]).map(drop)),
    ];
    for (how, make) in makes {
        for (pool, kind) in [("first", ErrorKind::PoolFull), ("second", ErrorKind::WorkspaceFull)] {
            let volume = format!("{how}-{pool}");
            busy(&volume, pool);
            limit((pool == "second").then_some(72 * MIB));
            let error = fails(make(&world, &volume), kind);
            println!("{how}: {error}");
            assert!(world.told("SnapshotUndone"), "it was refused before anything was made");
            assert_eq!(world.snapshot_names(), [""; 0]);
            assert_eq!(reserved(pool), 64 * MIB, "{how}");
            let left = fs::read_dir(host.join(pool).join("snapshots")).map_or(0, Iterator::count);
            assert_eq!(left, 0, "{how}");
            // It is as usable as before, and where there is room it has its snapshot.
            let path = world.attach(&volume, "one").unwrap().path;
            fs::write(path.join("more"), "x").unwrap();
            limit(None);
            if pool == "second" {
                make(&world, &volume).unwrap();
                assert!(reserved(pool) > 80 * MIB, "{}", reserved(pool));
                let gone = world.delete_snapshot("s").or_else(|_| world.delete_snapshot_group("s"));
                gone.unwrap();
            }
            world.detach(&volume, "one").unwrap();
            world.destroy(&volume);
        }
    }
}
