//! What an orchestrator does with filesystem volumes: staged, published at several targets, and away
//! again, in whatever order and however often.

use std::{os::unix::fs::symlink, path::Path, sync::Barrier};

use orlop_engine::*;
use orlop_model::{
    AccessMode, ErrorKind, MountOption,
    resource::{Attachment, Front},
};
use orlop_testkit::{Part, mounts, require};

use crate::harness::*;

#[test]
fn staged_and_published_for_many_and_away_again() {
    require!(Part::Loop);
    let world = World::with("published", serve);
    let volume = world.make("data", "ReadWriteOnce", "persistent");
    for _ in 0..2 {
        world.stage(&volume).unwrap();
    }
    let staging = world.staging("data");
    assert_eq!(std::fs::read_dir(&staging).unwrap().count(), 0, "it stands for the volume");
    let (one, two) = (world.publish(&volume, "one").unwrap(), world.publish(&volume, "two").unwrap());
    world.publish(&volume, "one").unwrap();
    let reader = world.publish_as(&volume, "reader", |request| request.read_only = true).unwrap();
    std::fs::write(one.join("file"), "cargo").unwrap();
    for path in [&two, &reader] {
        assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
    }
    std::fs::write(two.join("file"), "more").unwrap();
    assert!(std::fs::write(reader.join("file"), "x").is_err());

    let attachments = world.volume("data").status.attachments;
    let shown: Vec<_> = attachments.iter().map(|a| (a.target.as_deref(), a.staged, a.read_only)).collect();
    assert_eq!(
        shown,
        [
            (staging.to_str(), true, false),
            (one.to_str(), false, false),
            (two.to_str(), false, false),
            (reader.to_str(), false, true),
        ]
    );
    let ours = |a: &Attachment| a.front == Front::Csi && a.scope == "csi-node:test";
    assert!(attachments.iter().all(ours), "{attachments:?}");

    for path in [&staging, &one, &reader] {
        let seen = world.engine().volume_statistics(&CSI, volume.status.id, path).unwrap();
        let NodeUsage::Filesystem(usage) = seen.usage else { panic!("{seen:?}") };
        assert!(usage.capacity_bytes > 8 * MIB && usage.inodes > 0 && seen.abnormal.is_none());
    }
    let elsewhere = world.target("three");
    fails(world.engine().volume_statistics(&CSI, volume.status.id, &elsewhere), ErrorKind::NotFound);

    fails(world.delete("data"), ErrorKind::InUse);
    let error = fails(world.unstage(&volume), ErrorKind::InUse);
    assert!(error.message.contains("pod one") && !error.message.contains("csi node"), "{error}");
    for pod in ["one", "two", "two", "reader"] {
        world.unpublish(&volume, pod).unwrap();
        assert!(!world.target(pod).exists());
    }
    let error = fails(world.delete("data"), ErrorKind::InUse);
    assert!(error.message.contains("csi node test"), "{error}");
    assert!(mounts::loops_below(world.scratch()).len() == 1, "ready for the next one");
    for _ in 0..2 {
        world.unstage(&volume).unwrap();
    }
    world.assert_nothing_mounted();
    world.unpublish(&volume, "one").unwrap();
    world.delete("data").unwrap();
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
}

#[test]
fn another_use_of_the_same_directory_is_refused_and_changes_nothing() {
    require!(Part::Loop);
    let world = World::with("published-otherwise", serve);
    let volume = world.make("data", "ReadWriteMany", "temp");
    let other = world.make("other", "ReadWriteMany", "temp");
    world.stage(&volume).unwrap();
    let target = world.publish(&volume, "one").unwrap();
    std::fs::write(target.join("file"), "cargo").unwrap();
    let noexec = Form::Filesystem { group: None, options: vec![MountOption::Noexec] };
    let otherwise: [&dyn Fn(&mut PublishRequest); 4] = [
        &|request| request.read_only = true,
        &|request| request.form = noexec.clone(),
        &|request| request.access = NodeAccess::OneTarget,
        &|request| request.target = world.staging("data"),
    ];
    for change in otherwise {
        fails(world.publish_as(&volume, "one", change), ErrorKind::AlreadyExists);
    }
    let error = fails(world.publish(&other, "one"), ErrorKind::AlreadyExists);
    assert!(error.message.contains(target.to_str().unwrap()), "{error}");
    let there = stage(&other, world.staging("data"));
    fails(world.engine().stage(&CSI, &there, PATIENCE), ErrorKind::AlreadyExists);
    let there = stage(&volume, target.clone());
    fails(world.engine().stage(&CSI, &there, PATIENCE), ErrorKind::AlreadyExists);
    // Of what is not there, and is not asked about.
    world.unpublish(&other, "one").unwrap();
    world.engine().unstage(&CSI, other.status.id, &world.staging("data"), PATIENCE).unwrap();
    world.engine().unpublish(&CSI, volume.status.id, &world.staging("data"), PATIENCE).unwrap();
    world.engine().unstage(&CSI, volume.status.id, &target, PATIENCE).unwrap();
    assert_eq!(std::fs::read_to_string(target.join("file")).unwrap(), "cargo");
    world.publish(&volume, "one").unwrap();
    fails(world.engine().unmount(&ROOT, &target), ErrorKind::InUse);
    let below = world.target("host");
    std::fs::create_dir(&below).unwrap();
    fails(world.mount("data", &below, MountAccess::ByMode), ErrorKind::InvalidArgument);
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
    world.unstage(&other).unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn access_modes_hold_between_consumers_of_the_node_and_others() {
    require!(Part::Loop);
    let world = World::with("published-modes", serve);
    let once = world.make("once", "ReadWriteOnce", "temp");
    world.attach("once", "container").unwrap();
    let error = fails(world.stage(&once), ErrorKind::AccessRefused);
    assert!(error.message.contains("docker mount container"), "{error}");
    fails(world.publish(&once, "a"), ErrorKind::AccessRefused);
    assert!(!world.target("a").exists());
    world.detach("once", "container").unwrap();
    world.stage(&once).unwrap();
    let error = fails(world.attach("once", "container"), ErrorKind::AccessRefused);
    assert!(error.message.contains("csi node test"), "{error}");
    world.publish(&once, "a").unwrap();
    world.publish(&once, "b").unwrap();
    fails(world.attach("once", "container"), ErrorKind::AccessRefused);

    let pod = world.make("pod", "ReadWriteOncePod", "temp");
    let shared = world.make("shared", "ReadWriteMany", "temp");
    let one_target = |request: &mut PublishRequest| request.access = NodeAccess::OneTarget;
    for volume in [&pod, &shared] {
        world.stage(volume).unwrap();
        let first = world.publish_as(volume, "first", one_target).unwrap();
        world.publish_as(volume, "first", one_target).unwrap();
        for access in [NodeAccess::OneTarget, NodeAccess::ManyTargets] {
            let second = world.publish_as(volume, "second", |request| request.access = access);
            let error = fails(second, ErrorKind::AccessRefused);
            assert!(error.message.contains("pod first"), "{error}");
        }
        // Unmounted by hand it is in nobody's way.
        orlop_sys::mount::unmount(&first).unwrap();
        world.publish_as(volume, "second", one_target).unwrap();
        world.unpublish(volume, "first").unwrap();
        world.unpublish(volume, "second").unwrap();
        world.publish_as(volume, "first", one_target).unwrap();
        world.unpublish(volume, "first").unwrap();
    }
    // Who shares it with all may also share it with containers.
    world.attach("shared", "container").unwrap();
    world.publish(&shared, "first").unwrap();
    world.publish(&shared, "second").unwrap();
    fails(world.publish_as(&shared, "third", one_target), ErrorKind::AccessRefused);
    fails(world.attach("pod", "container"), ErrorKind::AccessRefused);
    world.detach("shared", "container").unwrap();

    let many = world.make("many", "ReadOnlyMany", "temp");
    world.stage(&many).unwrap();
    let path = world.publish(&many, "reads").unwrap();
    assert!(std::fs::write(path.join("x"), "x").is_err());
    world.publish(&many, "reads").unwrap();
    world.publish_as(&many, "reads", |request| request.read_only = true).unwrap();
    assert_eq!(world.volume("many").manifest.volume.access_mode, AccessMode::ReadOnlyMany);
    for (volume, pods) in [(&once, &["a", "b"][..]), (&shared, &["first", "second"]), (&many, &["reads"])] {
        pods.iter().for_each(|pod| world.unpublish(volume, pod).unwrap());
        world.unstage(volume).unwrap();
    }
    world.unstage(&pod).unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn only_directories_below_the_root_and_no_links() {
    require!(Part::Loop);
    let world = World::with("published-paths", serve);
    let volume = world.make("data", "ReadWriteMany", "temp");
    let at = |path: &Path| world.publish_as(&volume, "x", |request| request.target = path.to_owned());
    let (outside, pods) = (world.mkdir("outside"), world.mkdir("kubelet/pods"));
    symlink(&outside, pods.join("link")).unwrap();
    std::fs::write(pods.join("file"), "").unwrap();
    let full = world.target("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("file"), "theirs").unwrap();
    for path in [
        &outside.join("mount"),
        &pods.join("link/mount"),
        &pods.join("link"),
        &pods.join("../../outside/mount"),
        &pods.join("nobody/mount"),
        &pods.join("file"),
        &full,
        &world.join("kubelet"),
        Path::new("pods/x"),
    ] {
        fails(at(path), ErrorKind::InvalidArgument);
    }
    let staged = |path: &Path| world.engine().stage(&CSI, &stage(&volume, path.to_owned()), PATIENCE);
    for path in [&outside, &pods.join("link"), &pods.join("nowhere"), &pods.join("file")] {
        fails(staged(path), ErrorKind::InvalidArgument);
    }
    let gone = |path: &Path| world.engine().unpublish(&CSI, volume.status.id, path, PATIENCE);
    for path in [&outside.join("mount"), &pods.join("link/mount"), &pods.join("file")] {
        fails(gone(path), ErrorKind::InvalidArgument);
    }
    fails(gone(&full), ErrorKind::Host);
    gone(&pods.join("nobody/mount")).unwrap();
    assert_eq!(std::fs::read_to_string(full.join("file")).unwrap(), "theirs");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    world.unstage(&volume).unwrap();
    world.assert_nothing_mounted();

    let plain = World::new("published-nowhere");
    let volume = plain.make("data", "ReadWriteMany", "temp");
    fails(plain.stage(&volume), ErrorKind::Unsupported);
}

#[test]
fn options_of_a_consumer_hold_for_it_alone() {
    require!(Part::Loop);
    let world = World::with("published-options", serve);
    let spec = "size: 16Mi, accessMode: ReadWriteMany, type: temp, mountOptions: noatime";
    let volume = world.apply("data", spec).unwrap().resource;
    let with = |options: &[MountOption]| Form::Filesystem { group: None, options: options.to_vec() };
    world.stage(&volume).unwrap();
    let plain = world.publish(&volume, "plain").unwrap();
    let strict = with(&[MountOption::Noexec, MountOption::Nodiratime, MountOption::Noexec]);
    let strict = world.publish_as(&volume, "strict", |request| request.form = strict.clone()).unwrap();
    let again = with(&[MountOption::Nodiratime, MountOption::Noexec]);
    world.publish_as(&volume, "strict", |request| request.form = again.clone()).unwrap();
    let options = |path: &Path| {
        let mounts = mounts::mounts();
        mounts.iter().find(|mount| mount.target == path).unwrap().options.clone()
    };
    for (path, has) in [(&plain, false), (&strict, true)] {
        let options = options(path);
        let words: Vec<_> = options.split(',').collect();
        assert!(["nosuid", "nodev", "noatime"].iter().all(|word| words.contains(word)), "{options}");
        assert_eq!((words.contains(&"noexec"), words.contains(&"nodiratime")), (has, has), "{options}");
    }
    assert_eq!(world.volume("data").status.notes, [""; 0]);
    let sync = world.publish_as(&volume, "sync", |request| request.form = with(&[MountOption::Sync]));
    fails(sync, ErrorKind::InvalidArgument);
    world.unpublish(&volume, "plain").unwrap();
    world.unpublish(&volume, "strict").unwrap();
    world.unstage(&volume).unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn what_somebody_unmounted_by_hand_is_published_anew_or_put_away() {
    require!(Part::Loop);
    let world = World::with("published-by-hand", serve);
    let volume = world.make("data", "ReadWriteOnce", "persistent");
    world.stage(&volume).unwrap();
    let target = world.publish(&volume, "one").unwrap();
    std::fs::write(target.join("file"), "cargo").unwrap();
    orlop_sys::mount::unmount(&target).unwrap();
    let seen = world.engine().volume_statistics(&CSI, volume.status.id, &target).unwrap();
    assert!(seen.abnormal.unwrap().contains("is not mounted on"));
    world.publish(&volume, "one").unwrap();
    assert_eq!(std::fs::read_to_string(target.join("file")).unwrap(), "cargo");
    assert_eq!(world.volume("data").status.attachments.len(), 2);

    orlop_sys::mount::unmount(&target).unwrap();
    std::fs::write(target.join("beside"), "written beside the volume").unwrap();
    for _ in 0..2 {
        let error = fails(world.unpublish(&volume, "one"), ErrorKind::Host);
        assert!(error.message.contains("not empty"), "{error}");
        assert_eq!(std::fs::read_to_string(target.join("beside")).unwrap(), "written beside the volume");
    }
    std::fs::remove_file(target.join("beside")).unwrap();
    world.unpublish(&volume, "one").unwrap();

    // Also the base, and calls that are skipped.
    let target = world.publish(&volume, "two").unwrap();
    orlop_sys::mount::unmount(&target).unwrap();
    std::fs::remove_dir(&target).unwrap();
    orlop_sys::mount::unmount(&world.config.mount_dir.join(volume.status.id.to_string()).join("base"))
        .unwrap();
    world.stage(&volume).unwrap();
    let target = world.publish(&volume, "three").unwrap();
    assert_eq!(std::fs::read_to_string(target.join("file")).unwrap(), "cargo");
    orlop_sys::mount::unmount(&target).unwrap();
    world.unstage(&volume).unwrap();
    world.assert_nothing_mounted();
    assert_eq!(world.volume("data").status.attachments, []);
    world.unpublish(&volume, "three").unwrap();
    assert!(!target.exists());

    // Never staged, or no longer known as such.
    world.publish(&volume, "four").unwrap();
    assert_eq!(world.volume("data").status.attachments.len(), 2, "staged again by the way");
    world.unpublish(&volume, "four").unwrap();
    world.unstage(&volume).unwrap();
    world.publish_as(&volume, "five", |request| request.staging = None).unwrap();
    assert_eq!(world.volume("data").status.attachments.len(), 1);
    world.unpublish(&volume, "five").unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn calls_that_come_many_times_at_once_end_as_one() {
    require!(Part::Loop);
    const CALLERS: usize = 8;
    let world = World::with("published-at-once", serve);
    let volume = world.make("data", "ReadWriteOnce", "temp");
    let at_once = |work: &(dyn Fn() + Sync)| {
        let barrier = Barrier::new(CALLERS);
        std::thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| {
                    barrier.wait();
                    work();
                });
            }
        });
    };
    for _ in 0..3 {
        at_once(&|| world.stage(&volume).unwrap());
        at_once(&|| drop(world.publish(&volume, "one").unwrap()));
        let target = world.target("one");
        assert_eq!(mounts::mounts().iter().filter(|mount| mount.target == target).count(), 1);
        assert_eq!(world.volume("data").status.attachments.len(), 2);
        at_once(&|| world.unpublish(&volume, "one").unwrap());
        at_once(&|| world.unstage(&volume).unwrap());
        world.assert_nothing_mounted();
    }
    // Another volume at the same place: one of the two has it.
    let other = world.make("other", "ReadWriteOnce", "temp");
    for _ in 0..5 {
        let publish =
            |volume| world.publish_as(volume, "one", |request| request.staging = None).map_err(|e| e.kind);
        let (a, b) = std::thread::scope(|scope| {
            let a = scope.spawn(|| publish(&volume));
            (publish(&other), a.join().unwrap())
        });
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
        assert_eq!(a.err().or(b.err()), Some(ErrorKind::AlreadyExists));
        for volume in [&volume, &other] {
            world.unpublish(volume, "one").unwrap();
        }
        world.assert_nothing_mounted();
    }
}
