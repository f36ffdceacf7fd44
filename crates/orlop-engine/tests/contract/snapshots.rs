//! Snapshots, clones and restores, on pools that share blocks and on one that doesn't.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use orlop_engine::*;
use orlop_model::{
    ErrorKind,
    resource::{Consistency, Outcome, SnapshotState},
};
use orlop_testkit::{Part, ScratchFs, command::eventually, require, run};

use crate::harness::*;

const SMALL: &str = "size: 16Mi, accessMode: ReadWriteMany, type: temp";
const LARGE: &str = "size: 300Mi, accessMode: ReadWriteMany, type: temp, filesystem: xfs";
const GIB: u64 = 1 << 30;

/// A pool whose filesystem shares blocks.
fn sharing() -> (ScratchFs, World) {
    let host = ScratchFs::xfs(3 * GIB);
    let world = World::over(host.path(), |_| ());
    (host, world)
}

fn uuid(world: &World, name: &str) -> String {
    let image = world.image(&world.volume(name));
    run(Command::new("blkid").args(["-p", "-o", "value", "-s", "UUID"]).arg(image)).ok()
}

fn sound(world: &World, name: &str, kind: &str) {
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

fn reserved(world: &World) -> u64 {
    world.engine().pool(&ROOT, &"default".parse().unwrap()).unwrap().reserved.bytes()
}

fn plan(world: &World, name: &str, spec: &str) -> orlop_model::resource::VolumePlan {
    let workspace = "public".parse().unwrap();
    let request =
        ApplyRequest { workspace, manifest: manifest(name, spec), create_workspace: false, set: None };
    world.engine().plan(&ROOT, &request).unwrap()
}

/// What `df` says inside, and what is in the file.
#[track_caller]
fn holds(world: &World, name: &str, content: &str) -> u64 {
    world.inside(name, |path| {
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), content);
        orlop_sys::space::usage(path).unwrap().capacity
    })
}

#[test]
fn a_volume_that_has_grown_since_keeps_its_size() {
    require!(Part::Loop);
    for shares in [true, false] {
        let host = if shares { ScratchFs::xfs(3 * GIB) } else { ScratchFs::ext4(3 * GIB) };
        let world = World::over(host.path(), |_| ());
        for (name, kind, before, after) in
            [("small", "ext4", "16Mi", "80Mi"), ("large", "xfs", "300Mi", "900Mi")]
        {
            let spec = |size: &str| {
                format!("size: {size}, accessMode: ReadWriteMany, type: temp, filesystem: {kind}")
            };
            world.apply(name, &spec(before)).unwrap();
            world.inside(name, |path| fs::write(path.join("file"), "first").unwrap());
            let snapshot = format!("{name}-1");
            world.snapshot(&snapshot, name).unwrap();
            world.apply(name, &spec(after)).unwrap();
            world.inside(name, |path| fs::write(path.join("file"), "second").unwrap());
            let (size, promised) = (world.volume(name).manifest.volume.size, reserved(&world));

            let restored = world.restore(&snapshot).unwrap();
            let [note] = restored.notes.as_slice() else { panic!("{:?}", restored.notes) };
            assert!(note.contains(before) && note.contains(after), "{note}");
            assert_eq!(restored.volume.manifest.volume.size, size);
            assert!(holds(&world, name, "first") > size.bytes() / 2);
            sound(&world, name, kind);
            let kept = world.engine().snapshot(&ROOT, &snapshot_key(restored.before.as_str())).unwrap();
            assert_eq!(reserved(&world), promised + kept.status.reserved.bytes());
            assert_eq!(world.apply(name, &spec(after)).unwrap().outcome, Outcome::Unchanged);

            // And back: of the size that it has.
            let back = world.restore(restored.before.as_str()).unwrap();
            assert_eq!(back.notes, Vec::<String>::new());
            holds(&world, name, "second");
            sound(&world, name, kind);
        }
        // At the next start everything is as it was.
        drop(world);
        let world = World::over(host.path(), |_| ());
        assert_eq!(world.volume("small").manifest.volume.size.to_string(), "80Mi");
        holds(&world, "large", "second");
    }
}

#[test]
fn a_volume_that_has_shrunk_since_gets_the_size_it_had() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    for (name, kind, before, after) in [("small", "ext4", "80Mi", "32Mi"), ("large", "xfs", "900Mi", "300Mi")]
    {
        let spec =
            |size: &str| format!("size: {size}, accessMode: ReadWriteMany, type: temp, filesystem: {kind}");
        world.apply(name, &spec(before)).unwrap();
        world.inside(name, |path| fs::write(path.join("file"), "first").unwrap());
        let snapshot = format!("{name}-1");
        world.snapshot(&snapshot, name).unwrap();
        let request = MigrateRequest { pool: None, size: Some(after.parse().unwrap()) };
        world.engine().migrate(&ROOT, &key(name), &request).unwrap();
        world.inside(name, |path| fs::write(path.join("file"), "second").unwrap());
        let promised = reserved(&world);

        let restored = world.restore(&snapshot).unwrap();
        let [note] = restored.notes.as_slice() else { panic!("{:?}", restored.notes) };
        assert!(note.contains(&format!("has {before}")) && note.contains(&format!("not {after}")), "{note}");
        assert_eq!(restored.volume.manifest.volume.size.to_string(), before);
        let told = world.events().into_iter().rfind(|event| event.reason == "Restored").unwrap();
        assert!(told.message.contains(&format!("has {before} instead of {after}")), "{}", told.message);
        let whole: orlop_model::Size = before.parse().unwrap();
        assert!(holds(&world, name, "first") > whole.bytes() / 2);
        sound(&world, name, kind);
        let kept = world.engine().snapshot(&ROOT, &snapshot_key(restored.before.as_str())).unwrap();
        let less: orlop_model::Size = after.parse().unwrap();
        assert_eq!(reserved(&world), promised + kept.status.reserved.bytes() + whole.bytes() - less.bytes());

        // The manifest that was applied last says what it would do, and does that.
        let planned = plan(&world, name, &spec(after));
        if kind == "ext4" {
            let [change] = planned.changes.as_slice() else { panic!("{planned:?}") };
            assert_eq!((change.from.as_deref(), change.to.as_deref()), (Some(before), Some(after)));
            assert_eq!(change.how, orlop_model::resource::How::WithCopy);
            world.apply(name, &spec(after)).unwrap();
            holds(&world, name, "first");
        } else {
            let refusal = planned.refusal.unwrap();
            assert!(refusal.hint.unwrap().contains("orlop volume migrate"));
        }
        assert_eq!(world.restore(restored.before.as_str()).unwrap().volume.manifest.name.as_str(), name);
        holds(&world, name, "second");
        sound(&world, name, kind);
    }
}

#[test]
fn a_volume_whose_filesystem_became_another_is_put_back_with_the_one_it_had() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    world.apply("data", "size: 320Mi, accessMode: ReadWriteMany, type: temp").unwrap();
    world.inside("data", |path| fs::write(path.join("file"), "first").unwrap());
    world.snapshot("s", "data").unwrap();
    let request = MigrateRequest { pool: None, size: Some("600Mi".parse().unwrap()) };
    let moved = world.engine().migrate(&ROOT, &key("data"), &request).unwrap().resource;
    assert_eq!(moved.status.filesystem, Some(orlop_model::FilesystemKind::Xfs));
    let restored = world.restore("s").unwrap().volume;
    assert_eq!(restored.status.filesystem, Some(orlop_model::FilesystemKind::Ext4));
    assert_eq!(restored.manifest.volume.size.to_string(), "600Mi");
    assert!(holds(&world, "data", "first") > 400 << 20);
    sound(&world, "data", "ext4");
}

#[test]
fn what_a_restore_adds_to_a_volume_is_admitted_first() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    world.apply("data", "size: 80Mi, accessMode: ReadWriteMany, type: temp").unwrap();
    world.inside("data", |path| fs::write(path.join("file"), "first").unwrap());
    world.snapshot("s", "data").unwrap();
    world.apply("data", SMALL).unwrap();
    let limit = |size: Option<&str>| {
        let size_limit = Some(size.map(|size| size.parse().unwrap()));
        let request = WorkspaceRequest { size_limit, ..WorkspaceRequest::default() };
        world.engine().put_workspace(&ROOT, &"public".parse().unwrap(), &request).unwrap();
    };
    limit(Some("64Mi"));
    let (promised, names) = (reserved(&world), world.snapshot_names());
    let error = fails(world.restore("s"), ErrorKind::WorkspaceFull);
    assert!(error.message.contains("64Mi"), "{error}");
    assert_eq!((reserved(&world), world.snapshot_names()), (promised, names));
    assert_eq!(world.volume("data").manifest.volume.size.to_string(), "16Mi");
    limit(None);
    world.restore("s").unwrap();
    holds(&world, "data", "first");
}

/// Whoever put data there wants it: that its volume was left before does not count for it.
#[test]
fn what_was_put_back_is_not_wiped_for_what_was_left_before() {
    require!(Part::Loop);
    let (_host, world) = sharing();
    world.apply("data", &format!("{SMALL}, tempGracePeriod: 2s")).unwrap();
    world.inside("data", |path| fs::write(path.join("file"), "first").unwrap());
    world.snapshot("s", "data").unwrap();
    assert!(world.volume("data").status.wipe.unwrap().left_seconds.is_some());
    let restored = world.restore("s").unwrap().volume.status;
    assert_eq!(restored.wipe.unwrap().left_seconds, None);
    assert_eq!(restored.usage, None, "what was seen of other data");
    std::thread::sleep(Duration::from_secs(3));
    let path = world.attach("data", "one").unwrap().path;
    assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "first");
    assert!(!world.told("Wiped"));
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
    fails(world.apply("clone", &clone), ErrorKind::Unsupported);
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
            world.snapshot(&format!("s{index}"), "data").unwrap();
        }
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

fn sql(world: &World, statement: &str) {
    let store = world.config.state_dir.join("orlop.db");
    run(Command::new("sqlite3").arg(store).arg(statement)).ok();
}

/// Makes every schedule due since an hour, as if the daemon had not run.
fn due(world: &mut World) {
    world.crash();
    sql(world, "UPDATE snapshot_schedules SET due_at = '2020-01-01T00:00:00.000000000Z'");
    world.start();
}

#[test]
fn a_schedule_makes_up_once_for_what_was_missed_and_keeps_what_it_says() {
    require!(Part::Loop, Part::Sqlite3);
    let host = ScratchFs::xfs(3 * GIB);
    let mut world = World::over(host.path(), |_| ());
    let yearly = format!("{SMALL}, snapshots: 0 0 1 1 *|2");
    world.apply("data", &yearly).unwrap();
    world.snapshot("by-hand", "data").unwrap();
    let scheduled = |world: &World| {
        let mut found: Vec<_> = world.snapshots().into_iter().filter(|s| s.status.scheduled).collect();
        found.sort_by_key(|snapshot| snapshot.status.created_at);
        found.into_iter().map(|snapshot| snapshot.manifest.name.to_string()).collect::<Vec<_>>()
    };
    let recorded = |world: &World| {
        let store = world.config.state_dir.join("orlop.db");
        let sql = "SELECT count(*) FROM snapshot_schedules WHERE due_at > '2026'";
        run(Command::new("sqlite3").arg("-readonly").arg(store).arg(sql)).ok()
    };
    assert!(eventually(PATIENCE, || recorded(&world) == "1"));
    assert!(scheduled(&world).is_empty(), "a new schedule begins with its next time");
    for round in 1..=3 {
        let before = scheduled(&world);
        due(&mut world);
        assert!(eventually(PATIENCE, || scheduled(&world).last() != before.last()), "round {round}");
        assert!(eventually(PATIENCE, || scheduled(&world).len() == round.min(2)), "{:?}", scheduled(&world));
        // Five years were missed, and one is made up for.
        assert!(eventually(PATIENCE, || recorded(&world) == "1"));
        assert_eq!(scheduled(&world).len(), round.min(2));
        std::thread::sleep(Duration::from_millis(1100));
    }
    assert!(world.snapshot_names().contains(&"by-hand".to_owned()));
    assert!(scheduled(&world).iter().all(|name| name.starts_with("data-2")));

    // Taken out of the manifest, nothing more is made.
    let Outcome::Configured = world.apply("data", SMALL).unwrap().outcome else { panic!() };
    due(&mut world);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(scheduled(&world).len(), 2);
}

#[test]
fn a_scheduled_snapshot_without_room_is_skipped_and_told_of() {
    require!(Part::Loop, Part::Sqlite3);
    let host = ScratchFs::xfs(GIB);
    let mut world = World::over(host.path(), |_| ());
    world.apply("data", &format!("{SMALL}, snapshots: @yearly|2")).unwrap();
    world.inside("data", |path| fs::write(path.join("file"), vec![7; 8 << 20]).unwrap());
    let left = world.engine().pool(&ROOT, &"default".parse().unwrap()).unwrap().available.bytes() - 4 * MIB;
    world.apply("rest", &format!("size: {left}, accessMode: ReadWriteMany, type: temp")).unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    due(&mut world);
    assert!(eventually(PATIENCE, || world.told("SnapshotSkipped")), "{:?}", world.events());
    assert!(world.snapshots().is_empty());
}

#[test]
fn what_is_kept_for_a_time_goes_after_it() {
    require!(Part::Loop, Part::Sqlite3);
    let host = ScratchFs::xfs(GIB);
    let mut world = World::over(host.path(), |_| ());
    world.apply("data", SMALL).unwrap();
    world.snapshot_as(&ROOT, "short", "data", "1h", false).unwrap();
    world.snapshot("long", "data").unwrap();
    world.crash();
    sql(
        &world,
        "UPDATE snapshots SET expires_at = '2020-01-01T00:00:00.000000000Z' WHERE expires_at IS NOT NULL",
    );
    world.start();
    assert!(eventually(PATIENCE, || world.snapshot_names() == ["long"]), "{:?}", world.snapshot_names());
}

fn script(path: &Path, text: &str) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    vec![path.display().to_string(), "argument".to_owned()]
}

#[test]
fn hooks_are_run_around_a_snapshot() {
    require!(Part::Loop);
    let host = ScratchFs::xfs(GIB);
    let (before, after, log) = (host.join("before"), host.join("after"), host.join("log"));
    let hooks = SnapshotHooks {
        before: script(
            &before,
            &format!(
                "echo $ORLOP_HOOK $1 $ORLOP_WORKSPACE/$ORLOP_VOLUME $ORLOP_SNAPSHOT >> {}; test ! -e {}",
                log.display(),
                host.join("fail").display()
            ),
        ),
        after: script(&after, &format!("echo $ORLOP_HOOK $ORLOP_RESULT >> {}", log.display())),
        timeout: Duration::from_secs(10),
        go_on: false,
    };
    let mut world = World::over(host.path(), |config| config.hooks = hooks);
    world.apply("data", SMALL).unwrap();
    world.snapshot("s", "data").unwrap();
    let said = || fs::read_to_string(&log).unwrap();
    assert_eq!(said(), "before argument public/data s\nafter success\n");
    fs::write(host.join("fail"), "").unwrap();
    let error = fails(world.snapshot("t", "data"), ErrorKind::Host);
    assert!(error.message.contains("hook before"), "{error}");
    assert!(said().ends_with("after failure\n"), "{}", said());
    assert_eq!(world.snapshot_names(), ["s"]);
    world.config.hooks.go_on = true;
    world.restart();
    world.snapshot("t", "data").unwrap();
    world.config.hooks.before = script(&before, "sleep 60");
    world.config.hooks.timeout = Duration::from_millis(200);
    world.config.hooks.go_on = false;
    world.restart();
    let error = fails(world.snapshot("u", "data"), ErrorKind::Host);
    assert!(error.message.contains("did not end within"), "{error}");
}
