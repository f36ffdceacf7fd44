//! Volumes that are had as block devices: through an orchestrator alone, never mounted by us.

use std::{
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use orlop_engine::*;
use orlop_model::{
    ErrorKind,
    resource::{Consistency, Outcome, Volume, VolumeState},
};
use orlop_testkit::{Part, ScratchFs, command::eventually, mounts, require};

use crate::harness::*;

/// A world whose pool shares blocks, on a filesystem of its own.
fn sharing() -> (ScratchFs, World) {
    let disk = ScratchFs::xfs(1 << 30);
    let world = World::over(disk.path(), serve);
    (disk, world)
}

fn make(world: &World, name: &str) -> Volume {
    world.apply(name, DEVICE).unwrap().resource
}

fn length(path: &Path) -> u64 {
    use std::io::Seek;
    std::fs::File::open(path).unwrap().seek(std::io::SeekFrom::End(0)).unwrap()
}

/// Whether anything of the volume is mounted as a filesystem, by anybody.
fn is_mounted(world: &World) -> bool {
    let dir = &world.config.mount_dir;
    mounts::mounts_below_anywhere(dir).iter().any(|mount| mount.target != *dir)
}

#[test]
fn a_device_is_had_at_its_targets_and_stays_between_them() {
    require!(Part::Loop);
    let mut world = World::with("device", serve);
    let volume = make(&world, "data");
    assert_eq!((volume.status.filesystem, volume.status.block_size), (None, 4096));
    for _ in 0..2 {
        world.stage(&volume).unwrap();
    }
    let (one, two) = (world.publish(&volume, "one").unwrap(), world.publish(&volume, "two").unwrap());
    world.publish(&volume, "one").unwrap();
    let found = std::fs::metadata(&one).unwrap();
    assert!(found.file_type().is_block_device() && found.mode() & 0o777 == 0o600);
    assert_eq!(length(&one), 64 * MIB);
    write_at(&one, 0, b"cargo").unwrap();
    write_at(&two, 64 * MIB - 4096, b"aft").unwrap();
    assert_eq!(read_at(&two, 0, 5), b"cargo");
    assert_eq!(read_at(&world.image(&volume), 0, 5), b"cargo");
    assert_eq!(read_at(&world.image(&volume), 64 * MIB - 4096, 3), b"aft");
    assert!(!is_mounted(&world));
    let [(_, image)] = &mounts::loops_below(world.scratch())[..] else { panic!("one device") };
    assert_eq!(*image, world.image(&volume));

    for path in [&world.staging("data"), &one] {
        let seen = world.engine().volume_statistics(&CSI, volume.status.id, path).unwrap();
        let NodeUsage::Block { capacity_bytes, allocated_bytes } = seen.usage else { panic!("{seen:?}") };
        assert_eq!((capacity_bytes, seen.abnormal), (64 * MIB, None));
        assert!((8192..MIB).contains(&allocated_bytes), "{allocated_bytes}");
    }
    fails(world.delete("data"), ErrorKind::InUse);

    // It outlives the engine, and is there for who has nothing mounted or open.
    world.unpublish(&volume, "one").unwrap();
    world.unpublish(&volume, "two").unwrap();
    assert!(!one.exists() && !two.exists());
    world.crash();
    assert_eq!(mounts::loops_below(world.scratch()).len(), 1);
    let recovery = world.start();
    assert_eq!((recovery.adopted, recovery.dropped), (1, 0), "{recovery:?}");
    let one = world.publish(&volume, "one").unwrap();
    assert_eq!(read_at(&one, 0, 5), b"cargo");
    let recovery = world.restart();
    assert_eq!((recovery.adopted, recovery.dropped), (1, 0), "{recovery:?}");
    assert_eq!(read_at(&one, 0, 5), b"cargo");
    assert_eq!(world.volume("data").status.attachments.len(), 2);
    fails(world.unstage(&volume), ErrorKind::InUse);
    for _ in 0..2 {
        world.unpublish(&volume, "one").unwrap();
    }
    for _ in 0..2 {
        world.unstage(&volume).unwrap();
    }
    world.assert_nothing_mounted();
    // Never staged, and what was not staged goes with its last target.
    let one = world.publish_as(&volume, "one", |request| request.staging = None).unwrap();
    assert_eq!(read_at(&one, 0, 5), b"cargo");
    world.unpublish(&volume, "one").unwrap();
    world.assert_nothing_mounted();
    world.destroy("data");
}

#[test]
fn nobody_else_can_have_it_and_no_one_as_a_filesystem() {
    require!(Part::Loop);
    let world = World::with("device-others", serve);
    let volume = make(&world, "data");
    let plain = world.make("plain", "ReadWriteMany", "temp");
    let error = fails(world.attach("data", "container"), ErrorKind::Unsupported);
    assert!(error.hint.unwrap().contains("volumeDevices"), "{}", error.message);
    fails(world.attach_as(&PODMAN, "data", "host", false), ErrorKind::Unsupported);
    fails(world.mount("data", &world.mkdir("target"), MountAccess::ByMode), ErrorKind::Unsupported);
    let as_directory = |request: &mut PublishRequest| request.form = Form::default();
    fails(world.publish_as(&volume, "one", as_directory), ErrorKind::InvalidArgument);
    let as_device = |request: &mut PublishRequest| request.form = Form::Block;
    fails(world.publish_as(&plain, "one", as_device), ErrorKind::InvalidArgument);
    let as_device = StageRequest { form: Form::Block, ..stage(&plain, world.staging("plain")) };
    fails(world.engine().stage(&CSI, &as_device, PATIENCE), ErrorKind::InvalidArgument);
    fails(world.engine().check(&ROOT, &key("data"), CheckRequest::default()), ErrorKind::Unsupported);
    assert_eq!(world.volume("data").status.attachments, []);
    assert!(!world.target("one").exists());
    assert!(mounts::loops_below(world.scratch()).is_empty());

    // Whatever a user of it writes there, it is never mounted.
    let one = world.publish(&volume, "one").unwrap();
    orlop_testkit::run(std::process::Command::new("mke2fs").arg("-q").arg(&one)).ok();
    fails(world.attach("data", "container"), ErrorKind::Unsupported);
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
    fails(world.attach("data", "container"), ErrorKind::Unsupported);
    fails(world.apply("data", "size: 64Mi, accessMode: ReadWriteMany, type: temp"), ErrorKind::Immutable);
    assert!(!is_mounted(&world));

    let unserved = World::new("device-unserved");
    let error = fails(unserved.apply("data", DEVICE), ErrorKind::Unsupported);
    assert!(error.hint.unwrap().contains("--csi-endpoint"));
    let odd = DEVICE.replace("64Mi", "67108865");
    fails(world.apply("odd", &odd), ErrorKind::InvalidArgument);
    fails(world.apply("odd", &format!("{DEVICE}, filesystem: xfs")), ErrorKind::InvalidArgument);
}

#[test]
fn it_grows_under_those_who_have_it() {
    require!(Part::Loop);
    let world = World::with("device-grows", serve);
    let volume = make(&world, "data");
    let one = world.publish(&volume, "one").unwrap();
    let user = std::fs::File::options().read(true).write(true).open(&one).unwrap();
    write_at(&one, 0, b"cargo").unwrap();
    let grown = world.apply("data", &DEVICE.replace("64Mi", "96Mi")).unwrap();
    assert_eq!(
        (grown.outcome, grown.changes.as_slice()),
        (Outcome::Configured, &["volume.size".to_owned()][..])
    );
    assert_eq!(length(&one), 96 * MIB);
    use std::os::unix::fs::FileExt;
    user.write_all_at(b"behind", 80 * MIB).unwrap();
    user.sync_all().unwrap();
    assert_eq!(read_at(&world.image(&volume), 80 * MIB, 6), b"behind");
    drop(user);
    let seen = world.engine().volume_statistics(&CSI, volume.status.id, &one).unwrap();
    assert!(matches!(seen.usage, NodeUsage::Block { capacity_bytes, .. } if capacity_bytes == 96 * MIB));
    fails(world.apply("data", DEVICE), ErrorKind::Immutable);
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
    // Also while nobody has it; nothing is attached for that.
    world.apply("data", &DEVICE.replace("64Mi", "128Mi")).unwrap();
    world.assert_nothing_mounted();
    assert_eq!(std::fs::metadata(world.image(&volume)).unwrap().len(), 128 * MIB);
    let json = std::fs::read_to_string(world.directory(&volume).join("volume.json")).unwrap();
    assert!(json.contains("\"format\": 2") && json.contains("\"content\": \"device\""), "{json}");
    let one = world.publish(&volume, "one").unwrap();
    assert_eq!((length(&one), read_at(&one, 0, 5)), (128 * MIB, b"cargo".to_vec()));
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
}

#[test]
fn all_write_or_all_read() {
    require!(Part::Loop);
    let world = World::with("device-reads", serve);
    let volume = make(&world, "data");
    let read = |request: &mut PublishRequest| request.read_only = true;
    world.stage(&volume).unwrap();
    let one = world.publish_as(&volume, "one", read).unwrap();
    let two = world.publish_as(&volume, "two", read).unwrap();
    let error = fails(world.publish(&volume, "three"), ErrorKind::AccessRefused);
    assert!(error.message.contains("pod one only reads"), "{error}");
    for path in [&one, &two] {
        assert!(write_at(path, 0, b"x").is_err());
    }
    world.unpublish(&volume, "one").unwrap();
    world.unpublish(&volume, "two").unwrap();
    let three = world.publish(&volume, "three").unwrap();
    write_at(&three, 0, b"cargo").unwrap();
    fails(world.publish_as(&volume, "one", read), ErrorKind::AccessRefused);
    fails(world.publish_as(&volume, "three", read), ErrorKind::AlreadyExists);
    world.unpublish(&volume, "three").unwrap();
    let one = world.publish_as(&volume, "one", read).unwrap();
    assert_eq!(read_at(&one, 0, 5), b"cargo");
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();

    let many = DEVICE.replace("ReadWriteMany", "ReadOnlyMany");
    let many = world.apply("many", &many).unwrap().resource;
    let path = world.publish(&many, "one").unwrap();
    assert!(write_at(&path, 0, b"x").is_err());
    world.publish_as(&many, "two", read).unwrap();
    for pod in ["one", "two"] {
        world.unpublish(&many, pod).unwrap();
    }
    world.unstage(&many).unwrap();
    world.assert_nothing_mounted();
}

/// By a node of its own.
fn open_as_a_container(world: &World, target: &Path) -> std::fs::File {
    let device = std::fs::metadata(target).unwrap().rdev();
    let node = world.join(&format!("node-{device}"));
    let _ = std::fs::remove_file(&node);
    let (major, minor) = ((device >> 8).to_string(), (device & 0xff).to_string());
    orlop_testkit::run(std::process::Command::new("mknod").arg(&node).args(["b", &major, &minor])).ok();
    std::fs::File::options().read(true).write(true).open(&node).unwrap()
}

#[test]
fn whoever_has_it_open_keeps_it_and_is_named() {
    require!(Part::Loop);
    let world = World::with("device-open", serve);
    let spec = DEVICE.replace("ReadWriteMany", "ReadWriteOnce");
    let volume = world.apply("data", &spec).unwrap().resource;
    let one = world.publish(&volume, "one").unwrap();
    let process = format!("process {}", std::process::id());
    let by_target = std::fs::File::open(&one).unwrap();
    let error = fails(world.unpublish(&volume, "one"), ErrorKind::InUse);
    assert!(error.message.contains(&process), "{error}");
    drop(by_target);
    let container = open_as_a_container(&world, &one);
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
    assert!(world.told("Lingering"));
    assert_eq!(mounts::loops_below(world.scratch()).len(), 1);
    let error = fails(world.delete("data"), ErrorKind::InUse);
    assert!(error.message.contains(&process), "{error}");
    let error = fails(world.publish(&volume, "two"), ErrorKind::AccessRefused);
    assert!(error.message.contains(&process), "{error}");
    drop(container);
    assert!(eventually(PATIENCE, || mounts::loops_below(world.scratch()).is_empty()));
    world.publish(&volume, "two").unwrap();
    world.unpublish(&volume, "two").unwrap();
    world.unstage(&volume).unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn one_pod_alone_gets_it_when_nobody_has_it_open_also_while_it_is_staged() {
    require!(Part::Loop);
    let world = World::with("device-alone", serve);
    let process = format!("process {}", std::process::id());
    let alone = |request: &mut PublishRequest| request.access = NodeAccess::OneTarget;
    for mode in ["ReadWriteOncePod", "ReadWriteOnce", "ReadWriteMany"] {
        let spec = DEVICE.replace("ReadWriteMany", mode);
        let volume = world.apply("data", &spec).unwrap().resource;
        world.stage(&volume).unwrap();
        let one = world.publish_as(&volume, "one", alone).unwrap();
        let container = open_as_a_container(&world, &one);
        world.unpublish(&volume, "one").unwrap();
        let error = fails(world.publish_as(&volume, "two", alone), ErrorKind::AccessRefused);
        assert!(error.message.contains(&process), "{mode}: {error}");
        assert!(!world.target("two").exists());
        // It stays for whoever has it, and ready for the next.
        std::os::unix::fs::FileExt::write_all_at(&container, b"cargo", 0).unwrap();
        drop(container);
        assert_eq!(mounts::loops_below(world.scratch()).len(), 1);
        assert_eq!(world.volume("data").status.attachments.len(), 1);
        let two = world.publish_as(&volume, "two", alone).unwrap();
        assert_eq!(read_at(&two, 0, 5), b"cargo");
        fails(world.publish_as(&volume, "three", alone), ErrorKind::AccessRefused);
        assert_eq!(world.volume("data").status.attachments.len(), 2);
        world.unpublish(&volume, "two").unwrap();
        assert_eq!(mounts::loops_below(world.scratch()).len(), 1);
        world.unstage(&volume).unwrap();
        world.assert_nothing_mounted();
        world.destroy("data");
    }
}

/// As the kubelet makes one for each block volume of a pod, and may leave it.
#[test]
fn a_loop_device_on_it_keeps_it_and_is_named() {
    require!(Part::Loop);
    let world = World::with("device-loop", serve);
    let volume = make(&world, "data");
    let losetup = |arguments: &[&str]| {
        orlop_testkit::run(std::process::Command::new("losetup").args(arguments)).ok().trim().to_owned()
    };
    let one = world.publish(&volume, "one").unwrap();
    let on_target = losetup(&["--find", "--show", one.to_str().unwrap()]);
    let error = fails(world.unpublish(&volume, "one"), ErrorKind::InUse);
    println!("{error}");
    assert!(error.message.contains(&format!("losetup -d {on_target} ")), "{error}");
    losetup(&["-d", &on_target]);

    // By another node of it, which unmounting ours does not ask for.
    let node = world.join("node");
    let device = orlop_sys::DeviceNumber::of_node(&one).unwrap().unwrap();
    let (major, minor) = (device.major.to_string(), device.minor.to_string());
    orlop_testkit::run(std::process::Command::new("mknod").arg(&node).args(["b", &major, &minor])).ok();
    let on_node = losetup(&["--find", "--show", node.to_str().unwrap()]);
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
    let error = fails(world.delete("data"), ErrorKind::InUse);
    println!("{error}");
    assert!(error.message.contains(&format!("losetup -d {on_node} ")), "{error}");
    losetup(&["-d", &on_node]);
    world.destroy("data");
    world.assert_nothing_mounted();
}

#[test]
fn what_somebody_detached_or_unmounted_by_hand_is_made_anew() {
    require!(Part::Loop);
    let world = World::with("device-by-hand", serve);
    let volume = make(&world, "data");
    world.stage(&volume).unwrap();
    let one = world.publish(&volume, "one").unwrap();
    write_at(&one, 0, b"cargo").unwrap();
    orlop_sys::mount::unmount(&one).unwrap();
    let seen = world.engine().volume_statistics(&CSI, volume.status.id, &one).unwrap();
    assert!(seen.abnormal.unwrap().contains("is not mounted on"));
    world.publish(&volume, "one").unwrap();
    assert_eq!(read_at(&one, 0, 5), b"cargo");
    assert_eq!(world.volume("data").status.attachments.len(), 2);

    // Its number may be another's by now.
    let detach = || {
        for (node, _) in mounts::loops_below(world.scratch()) {
            orlop_testkit::run(std::process::Command::new("losetup").arg("-d").arg(node)).ok();
        }
    };
    detach();
    let told = || world.told("DeviceLost");
    assert!(eventually(std::time::Duration::from_secs(10), told), "{:?}", world.events());
    let lost = "somebody detached the loop device";
    for path in [&one, &world.staging("data")] {
        let seen = world.engine().volume_statistics(&CSI, volume.status.id, path).unwrap();
        let abnormal = seen.abnormal.unwrap();
        assert!(abnormal.contains(lost) && abnormal.contains("pod one"), "{abnormal}");
    }
    // So it is said where the kubelet mounted it once more.
    let again = world.target("again");
    std::fs::write(&again, "").unwrap();
    orlop_testkit::run(std::process::Command::new("mount").arg("--bind").arg(&one).arg(&again)).ok();
    let seen = world.engine().volume_statistics(&CSI, volume.status.id, &again).unwrap();
    assert!(seen.abnormal.unwrap().contains(lost));
    orlop_sys::mount::unmount(&again).unwrap();
    std::fs::remove_file(&again).unwrap();
    let status = world.volume("data").status;
    assert_eq!(status.state, VolumeState::Error);
    assert!(status.reason.unwrap().contains(lost));
    let other = make(&world, "other");
    let theirs = world.publish(&other, "theirs").unwrap();
    write_at(&theirs, 0, b"other").unwrap();
    let rdev = |path| std::fs::metadata(path).unwrap().rdev();
    println!("its number is another's: {}", rdev(&one) == rdev(&theirs));
    world.publish(&volume, "one").unwrap();
    assert_eq!(read_at(&one, 0, 5), b"cargo");
    assert_eq!(read_at(&theirs, 0, 5), b"other");
    assert_eq!(world.volume("data").status.state, VolumeState::Active);
    detach();
    world.unpublish(&volume, "one").unwrap();
    world.unpublish(&other, "theirs").unwrap();
    assert!(!one.exists() && !theirs.exists());
    // A file that something was written to while nothing was mounted.
    std::fs::write(&one, "beside").unwrap();
    fails(world.publish(&volume, "one"), ErrorKind::InvalidArgument);
    fails(world.unpublish(&volume, "one"), ErrorKind::Host);
    assert_eq!(std::fs::read_to_string(&one).unwrap(), "beside");
    std::fs::remove_file(&one).unwrap();
    std::fs::create_dir(&one).unwrap();
    fails(world.publish(&volume, "one"), ErrorKind::InvalidArgument);
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
    world.unstage(&other).unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn snapshots_and_clones_are_devices_too() {
    require!(Part::Loop, Part::Xfs);
    let (_disk, world) = sharing();
    let volume = make(&world, "data");
    let one = world.publish(&volume, "one").unwrap();
    write_at(&one, 0, b"before").unwrap();
    // Not flushed by whoever wrote it: what they told the kernel is in it.
    let user = std::fs::File::options().write(true).open(&one).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&user, b"cached", 8192).unwrap();
    let snapshot = world.snapshot("s1", "data").unwrap().resource;
    assert_eq!((snapshot.status.consistency, snapshot.status.filesystem), (Consistency::Crash, None));
    write_at(&one, 0, b"after!").unwrap();
    drop(user);
    let clone = world.apply("clone", &format!("{DEVICE}, source: volume data")).unwrap().resource;
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
    let rested = world.snapshot("s2", "data").unwrap().resource;
    assert_eq!(rested.status.consistency, Consistency::Detached);

    // Larger ones are larger at once.
    let larger = DEVICE.replace("64Mi", "96Mi");
    let from = |name: &str, spec: &str, source: &str| world.apply(name, &format!("{spec}, source: {source}"));
    let restored = from("restored", &larger, "snapshot s1").unwrap().resource;
    let rested = from("rested", DEVICE, "snapshot s2").unwrap().resource;
    for (volume, bytes, size) in
        [(&clone, b"after!", 64 * MIB), (&restored, b"before", 96 * MIB), (&rested, b"after!", 64 * MIB)]
    {
        assert_eq!(volume.status.filesystem, None);
        let path = world.publish(volume, "pod").unwrap();
        assert_eq!((read_at(&path, 0, 6).as_slice(), length(&path)), (bytes.as_slice(), size));
        assert_eq!(read_at(&path, 8192, 6), b"cached");
        world.unpublish(volume, "pod").unwrap();
        world.unstage(volume).unwrap();
        fails(world.attach(volume.manifest.name.as_str(), "container"), ErrorKind::Unsupported);
    }
    // Nothing made of them is ever mounted, and nothing else becomes a device.
    let plain = "size: 96Mi, accessMode: ReadWriteMany, type: temp";
    for source in ["snapshot s1", "volume data", "volume clone"] {
        let error = fails(from("plain", plain, source), ErrorKind::InvalidArgument);
        assert_eq!(error.object.as_deref(), Some("volume.volumeMode"));
    }
    world.make("files", "ReadWriteMany", "temp");
    fails(from("block", DEVICE, "volume files"), ErrorKind::InvalidArgument);

    // Put back in place, with what was there kept as a device.
    world.restore("s1").unwrap();
    let path = world.publish(&volume, "one").unwrap();
    assert_eq!(read_at(&path, 0, 6), b"before");
    fails(world.restore("s2"), ErrorKind::InUse);
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
    assert!(world.snapshots().iter().all(|snapshot| snapshot.status.filesystem.is_none()));
    assert!(!is_mounted(&world));
    world.destroy("data");
    world.assert_nothing_mounted();
}

#[test]
fn without_shared_blocks_only_a_resting_device_is_copied() {
    require!(Part::Loop);
    let disk = ScratchFs::ext4(512 << 20);
    let world = World::over(disk.path(), serve);
    let volume = make(&world, "data");
    let one = world.publish(&volume, "one").unwrap();
    write_at(&one, 0, b"cargo").unwrap();
    for pause in [false, true] {
        let error = fails(world.snapshot_as(&ROOT, "s1", "data", "forever", pause), ErrorKind::Unsupported);
        assert!(error.message.contains("no one moment"), "{error}");
    }
    fails(world.apply("clone", &format!("{DEVICE}, source: volume data")), ErrorKind::Unsupported);
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
    world.snapshot("s1", "data").unwrap();
    let clone = world.apply("clone", &format!("{DEVICE}, source: snapshot s1")).unwrap().resource;
    let path = world.publish(&clone, "one").unwrap();
    assert_eq!(read_at(&path, 0, 5), b"cargo");
    world.unpublish(&clone, "one").unwrap();
    world.unstage(&clone).unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn it_moves_as_it_is_and_comes_back_with_its_pool() {
    require!(Part::Loop);
    let (first, second) = (ScratchFs::ext4(400 << 20), ScratchFs::ext4(400 << 20));
    let world = World::with("device-moves", serve);
    let pool = |disk: &ScratchFs, name: &str| {
        let path = disk.path().join("pool");
        let place = PoolPlace::Directory(path.clone());
        let request = PoolRequest { name: name.parse().unwrap(), place, capacity: None, overcommit: None };
        world.engine().create_pool(&ROOT, &request).unwrap();
        path
    };
    let (_, path) = (pool(&first, "first"), pool(&second, "second"));
    let volume = world.apply("data", &format!("{DEVICE}, pool: first")).unwrap().resource;
    let one = world.publish(&volume, "one").unwrap();
    write_at(&one, 4096, b"cargo").unwrap();
    let to = |pool: Option<&str>, size: Option<u64>| {
        let request = MigrateRequest {
            pool: pool.map(|name| name.parse().unwrap()),
            size: size.map(orlop_model::Size::from_bytes),
        };
        world.engine().migrate(&ROOT, &key("data"), &request)
    };
    fails(to(Some("second"), None), ErrorKind::InUse);
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
    fails(to(Some("second"), Some(128 * MIB)), ErrorKind::Unsupported);
    fails(to(None, Some(32 * MIB)), ErrorKind::Unsupported);
    to(Some("second"), None).unwrap();
    world.snapshot("s1", "data").unwrap();

    world.engine().export_pool(&ROOT, &"second".parse().unwrap()).unwrap();
    let import = || {
        let request = ImportRequest {
            name: Some("second".parse().unwrap()),
            place: ImportPlace::Directory(path.clone()),
            capacity: None,
            overcommit: None,
        };
        world.engine().import_pool(&ROOT, &request).unwrap()
    };
    // A description that says it were a filesystem is not believed.
    let json = path.join("volumes").join(volume.status.id.to_string()).join("volume.json");
    let said = std::fs::read_to_string(&json).unwrap();
    std::fs::write(&json, said.replace("      \"volumeMode\": \"Block\",\n", "")).unwrap();
    assert_ne!(std::fs::read_to_string(&json).unwrap(), said);
    let report = import();
    assert!(report.volumes[0].detail.as_ref().unwrap().contains("volumeMode"), "{report:?}");
    std::fs::write(&json, said).unwrap();
    import();
    assert_eq!(world.state("data"), VolumeState::Active);
    let volume = world.volume("data");
    assert_eq!((volume.status.filesystem, world.snapshots()[0].status.filesystem), (None, None));
    let one = world.publish(&volume, "one").unwrap();
    assert_eq!(read_at(&one, 4096, 5), b"cargo");
    let check = world.engine().check_pool(&ROOT, &"second".parse().unwrap(), false).unwrap();
    assert!(check.findings.is_empty(), "{check:?}");
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
    world.assert_nothing_mounted();
}

/// What gives back what it discards keeps no room, also where a record says that it does.
#[test]
fn its_room_is_not_taken_beforehand() {
    require!(Part::Loop, Part::Sqlite3);
    let mut world = World::with("device-taken", serve);
    let error =
        fails(world.apply("data", &format!("{DEVICE}, preallocate: true")), ErrorKind::InvalidArgument);
    assert_eq!(error.object.as_deref(), Some("volume.preallocate"));
    let volume = make(&world, "data");
    world.crash();
    let sql = "UPDATE volumes SET manifest = json_set(manifest, '$.volume.preallocate', json('true'));
        UPDATE placements SET detail = json_set(detail, '$.preallocated', json('true'));";
    let store = world.config.state_dir.join("orlop.db");
    orlop_testkit::run(std::process::Command::new("sqlite3").arg(store).arg(sql)).ok();
    world.start();
    let one = world.publish(&volume, "one").unwrap();
    write_at(&one, 0, b"cargo").unwrap();
    let seen = world.volume("data");
    assert!(!seen.manifest.volume.preallocate && seen.status.notes.is_empty(), "{seen:?}");
    assert_eq!(world.apply("data", DEVICE).unwrap().outcome, Outcome::Unchanged);
    let size = SizeRange { least: Some(orlop_model::Size::from_bytes(96 * MIB)), most: None };
    let amendment = Amendment { size: Some(size), ..Amendment::default() };
    world.engine().amend(&CSI, volume.status.id, &amendment, PATIENCE).unwrap();
    assert_eq!((length(&one), read_at(&one, 0, 5)), (96 * MIB, b"cargo".to_vec()));
    assert!(std::fs::metadata(world.image(&volume)).unwrap().blocks() * 512 < 8 * MIB);
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
    world.assert_nothing_mounted();
}
