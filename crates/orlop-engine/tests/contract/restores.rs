//! Putting a volume back to a snapshot, of another size or another filesystem too.

use std::{fs, time::Duration};

use orlop_engine::*;
use orlop_model::{ErrorKind, resource::Outcome};
use orlop_testkit::{Part, ScratchFs, require};

use super::snapshots::{GIB, SMALL, sharing, sound};
use crate::harness::*;

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
