//! Pools with a filesystem of their own: made on a device or in an image, found again, taken off.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use orlop_engine::*;
use orlop_model::{
    ErrorKind, PoolName, Size,
    resource::{Capacity, Medium, Outcome, Pool, PoolState, VolumeState},
};
use orlop_testkit::{Part, Scratch, command::eventually, mounts, require, run};

use crate::harness::*;

const SIZE: u64 = 512 * MIB;
const IN_POOL: &str = "size: 16Mi, accessMode: ReadWriteMany, type: temp, pool: own";

fn own() -> PoolName {
    "own".parse().unwrap()
}

fn on_image(file: &Path, sparse: bool) -> PoolRequest {
    let place = PoolPlace::Image { file: file.to_owned(), size: Size::from_bytes(SIZE), sparse };
    PoolRequest { name: own(), place, capacity: None, overcommit: None }
}

fn on_device(device: &Path, erase: Option<&str>) -> PoolRequest {
    let place = PoolPlace::Device { device: device.to_owned(), erase: erase.map(str::to_owned) };
    PoolRequest { name: own(), place, capacity: None, overcommit: None }
}

fn pool(world: &World) -> Pool {
    world.engine().pool(&ROOT, &own()).unwrap()
}

/// A loop device, as a disk of its own.
struct Disk {
    node: PathBuf,
    scratch: Scratch,
}

impl Disk {
    fn new() -> Self {
        let scratch = Scratch::new("disk");
        run(Command::new("truncate").args(["-s", "512M"]).arg(scratch.join("disk"))).ok();
        let mut disk = Self { node: PathBuf::new(), scratch };
        disk.plug();
        disk
    }

    /// Connects it, under whatever name.
    fn plug(&mut self) {
        let disk = self.scratch.join("disk");
        self.node = run(Command::new("losetup").args(["--find", "--show"]).arg(disk)).ok().into();
    }

    fn unplug(&self) {
        run(Command::new("losetup").arg("-d").arg(&self.node)).ok();
        assert!(eventually(PATIENCE, || mounts::loops_below(self.scratch.path()).is_empty()));
    }
}

fn cargo(world: &World, name: &str) {
    let path = world.attach(name, "writer").unwrap().path;
    std::fs::write(path.join("file"), "cargo").unwrap();
    world.detach(name, "writer").unwrap();
}

#[track_caller]
fn has_cargo(world: &World, name: &str) {
    let path = world.attach(name, "reader").unwrap().path;
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
    world.detach(name, "reader").unwrap();
}

/// Nothing is seen in a directory that can't be read, and somebody's data may be in it.
#[test]
fn a_pool_that_can_not_be_read_is_not_erased() {
    require!(Part::Loop, Part::Xfs);
    let world = World::new("pool-unread");
    let file = world.join("own.img");
    world.engine().create_pool(&ROOT, &on_image(&file, true)).unwrap();
    let volumes = Path::new(&pool(&world).path).join("volumes");
    std::fs::rename(&volumes, volumes.with_extension("aside")).unwrap();
    // A link that leads to itself stands for a disk that fails: it is there, and can't be opened.
    std::os::unix::fs::symlink(&volumes, &volumes).unwrap();
    for _ in 0..2 {
        let error = fails(world.engine().remove_pool(&ROOT, &own()), ErrorKind::Host);
        assert!(error.message.contains(&volumes.display().to_string()), "{error}");
    }
    assert!(file.exists() && pool(&world).state == PoolState::Ready);
    std::fs::remove_file(&volumes).unwrap();
    std::fs::rename(volumes.with_extension("aside"), &volumes).unwrap();
    world.engine().remove_pool(&ROOT, &own()).unwrap();
    assert!(!file.exists());
}

#[test]
fn an_image_holds_a_pool_with_reflink_whose_promises_are_hard() {
    require!(Part::Loop, Part::Xfs);
    let mut world = World::new("pool-image");
    let file = world.join("own.img");
    let request = on_image(&file, false);
    fails(world.engine().create_pool(&Caller { uid: 7, ..ROOT }, &request), ErrorKind::PermissionDenied);
    let made = world.engine().create_pool(&ROOT, &request).unwrap();
    assert_eq!(made.outcome, Outcome::Created);
    assert_eq!(world.engine().create_pool(&ROOT, &request).unwrap().outcome, Outcome::Unchanged);
    fails(world.engine().create_pool(&ROOT, &on_image(&world.join("b"), false)), ErrorKind::AlreadyExists);
    let shown = pool(&world);
    let can = shown.capabilities.unwrap();
    assert!(can.reflink && can.hard_capacity && can.discard, "{can:?}");
    assert_eq!((shown.state, &shown.capacity_status), (PoolState::Ready, &Capacity::Hard));
    assert_eq!(shown.host_filesystem, "xfs");
    assert!(orlop_sys::image::space(&file).unwrap().allocated >= SIZE, "its space is taken at once");

    world.apply("data", IN_POOL).unwrap();
    cargo(&world, "data");
    let error = fails(
        world.apply("large", "size: 600Mi, accessMode: ReadWriteMany, type: temp, pool: own"),
        ErrorKind::PoolFull,
    );
    assert!(error.message.contains("600Mi"), "{error}");

    // The mount outlives the engine, and is made again where it does not.
    world.restart();
    has_cargo(&world, "data");
    world.crash();
    run(Command::new("umount").arg(&shown.path)).ok();
    world.start();
    has_cargo(&world, "data");

    let error = fails(world.engine().remove_pool(&ROOT, &own()), ErrorKind::InUse);
    assert!(error.message.contains("holds 1 volume, "), "{error}");
    world.destroy("data");
    std::fs::write(Path::new(&shown.path).join("mine"), "x").unwrap();
    let error = fails(world.engine().remove_pool(&ROOT, &own()), ErrorKind::Conflict);
    assert!(error.message.contains("/mine"), "{error}");
    std::fs::remove_file(Path::new(&shown.path).join("mine")).unwrap();
    world.engine().remove_pool(&ROOT, &own()).unwrap();
    assert!(!file.exists() && !Path::new(&shown.path).exists());
    fails(world.engine().remove_pool(&ROOT, &own()), ErrorKind::NotFound);
    world.assert_nothing_mounted();
}

#[test]
fn a_sparse_image_promises_nothing_for_certain() {
    require!(Part::Loop, Part::Xfs);
    let world = World::new("pool-sparse");
    let file = world.join("own.img");
    world.engine().create_pool(&ROOT, &on_image(&file, true)).unwrap();
    assert!(orlop_sys::image::space(&file).unwrap().allocated < SIZE / 4);
    let shown = pool(&world);
    assert!(
        matches!(&shown.capacity_status, Capacity::Advisory { why } if why.contains("sparse")),
        "{shown:?}"
    );
    assert!(!shown.capabilities.unwrap().hard_capacity);
    let made = world.apply("data", IN_POOL).unwrap().resource;
    assert!(matches!(made.status.capacity, Capacity::Advisory { .. }));
    world.destroy("data");
    world.engine().remove_pool(&ROOT, &own()).unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn an_image_is_not_made_just_anywhere() {
    require!(Part::Loop);
    let world = World::new("pool-image-place");
    std::fs::write(world.join("taken"), "precious").unwrap();
    let small = PoolPlace::Image { file: world.join("a"), size: Size::from_bytes(64 * MIB), sparse: false };
    let huge = PoolPlace::Image { file: world.join("a"), size: Size::from_bytes(1 << 50), sparse: false };
    let odd = PoolPlace::Image { file: world.join("a"), size: Size::from_bytes(SIZE + 1), sparse: false };
    let image = |file: PathBuf| on_image(&file, true).place;
    for (place, kind) in [
        (image(world.join("taken")), ErrorKind::AlreadyExists),
        (image(world.join("none/a")), ErrorKind::InvalidArgument),
        (image(world.pool_path().join("a")), ErrorKind::InvalidArgument),
        (image(world.config.mount_dir.join("a")), ErrorKind::InvalidArgument),
        (small, ErrorKind::InvalidArgument),
        (odd, ErrorKind::InvalidArgument),
        (huge, ErrorKind::LowSpace),
    ] {
        let request = PoolRequest { place, ..on_image(Path::new("/"), false) };
        let error = fails(world.engine().create_pool(&ROOT, &request), kind);
        assert!(error.hint.is_some(), "{error}");
    }
    assert_eq!(std::fs::read_to_string(world.join("taken")).unwrap(), "precious");
    assert!(!world.join("a").exists());
}

#[test]
fn only_a_blank_device_is_formatted_or_one_whose_content_was_given_up() {
    require!(Part::Loop, Part::Xfs);
    let world = World::new("pool-device");
    let disk = Disk::new();
    run(Command::new("mkfs.ext4").args(["-q", "-L", "precious"]).arg(&disk.node)).ok();
    fails(world.engine().device(&Caller { uid: 7, ..ROOT }, &disk.node), ErrorKind::PermissionDenied);
    let found = world.engine().device(&ROOT, &disk.node).unwrap();
    assert_eq!(found.content.as_deref(), Some("ext4 labelled \"precious\""));
    for erase in [None, Some("something else")] {
        let error =
            fails(world.engine().create_pool(&ROOT, &on_device(&disk.node, erase)), ErrorKind::Conflict);
        assert!(error.message.contains("precious") && error.hint.unwrap().contains("--erase"));
    }
    let mounted = world.mkdir("mounted");
    run(Command::new("mount").args([&disk.node, &mounted])).ok();
    let given_up = on_device(&disk.node, found.content.as_deref());
    let error = fails(world.engine().create_pool(&ROOT, &given_up), ErrorKind::InUse);
    assert!(error.message.contains("mounted"), "{error}");
    run(Command::new("umount").arg(&mounted)).ok();
    fails(
        world.engine().create_pool(&ROOT, &on_device(Path::new("/dev/null"), None)),
        ErrorKind::InvalidArgument,
    );
    fails(
        world.engine().create_pool(&ROOT, &on_device(Path::new("/dev/none"), None)),
        ErrorKind::InvalidArgument,
    );

    world.engine().create_pool(&ROOT, &given_up).unwrap();
    let again = world.engine().create_pool(&ROOT, &on_device(&disk.node, None)).unwrap();
    assert_eq!(again.outcome, Outcome::Unchanged);
    let other = PoolRequest { name: "other".parse().unwrap(), ..given_up };
    fails(world.engine().create_pool(&ROOT, &other), ErrorKind::InUse);
    world.engine().remove_pool(&ROOT, &own()).unwrap();
    assert_eq!(world.engine().device(&ROOT, &disk.node).unwrap().content, None, "it is blank again");
}

#[test]
fn a_disk_is_known_by_what_is_on_it_and_its_volumes_wait_for_it() {
    require!(Part::Loop, Part::Xfs);
    let mut world = World::new("pool-replug");
    let mut disk = Disk::new();
    world.engine().create_pool(&ROOT, &on_device(&disk.node, None)).unwrap();
    let data = world.apply("data", IN_POOL).unwrap().resource;
    cargo(&world, "data");
    world.make("here", "ReadWriteMany", "temp");

    let path = pool(&world).path;
    world.crash();
    run(Command::new("umount").arg(path)).ok();
    disk.unplug();
    // Somebody else's disk has its name now.
    let other = Disk::new();
    world.start();
    assert!(world.engine().readiness().is_ready());
    let shown = pool(&world);
    assert_eq!((shown.state, shown.capabilities), (PoolState::Missing, None));
    let seen = world.by_id(&data).unwrap().status;
    assert_eq!(seen.state, VolumeState::Error);
    assert!(seen.reason.unwrap().contains("connect the disk"), "it says what to do");
    fails(world.attach("data", "one"), ErrorKind::Unavailable);
    cargo(&world, "here");

    disk.plug();
    assert_ne!(disk.node, other.node);
    let back = eventually(PATIENCE, || pool(&world).state == PoolState::Ready);
    assert!(back, "{:?}", pool(&world));
    has_cargo(&world, "data");
    assert!(world.told("PoolFound"));
    world.destroy("data");
    world.engine().remove_pool(&ROOT, &own()).unwrap();
}

#[test]
fn a_copy_of_a_disk_is_not_taken_for_it() {
    require!(Part::Loop, Part::Xfs);
    let mut world = World::new("pool-copy");
    let disk = Disk::new();
    world.engine().create_pool(&ROOT, &on_device(&disk.node, None)).unwrap();
    let path = pool(&world).path;
    world.crash();
    run(Command::new("umount").arg(path)).ok();
    let copy = Disk::new();
    run(Command::new("cp")
        .args(["--sparse=always"])
        .args([disk.scratch.join("disk"), copy.scratch.join("disk")]))
    .ok();
    world.start();
    let reason = pool(&world).reason.unwrap();
    assert!(reason.contains("twice") && reason.contains("xfs_admin"), "{reason}");
    copy.unplug();
    assert!(eventually(PATIENCE, || pool(&world).state == PoolState::Ready), "{:?}", pool(&world));
    world.engine().remove_pool(&ROOT, &own()).unwrap();
}

#[test]
fn an_export_leaves_everything_in_place_and_is_refused_while_used() {
    require!(Part::Loop, Part::Xfs);
    let world = World::new("pool-export");
    let file = world.join("own.img");
    world.engine().create_pool(&ROOT, &on_image(&file, true)).unwrap();
    world.apply("data", IN_POOL).unwrap();
    let path = world.attach("data", "one").unwrap().path;
    std::fs::write(path.join("file"), "cargo").unwrap();
    let error = fails(world.engine().export_pool(&ROOT, &own()), ErrorKind::InUse);
    assert!(error.message.contains("docker mount one"), "{error}");
    assert_eq!(world.state("data"), VolumeState::Active);
    world.detach("data", "one").unwrap();
    fails(world.engine().export_pool(&Caller { uid: 7, ..ROOT }, &own()), ErrorKind::PermissionDenied);
    let exported = world.engine().export_pool(&ROOT, &own()).unwrap();
    assert_eq!((exported.pool.volumes, &exported.held), (1, &None));
    assert!(matches!(&exported.pool.medium, Medium::Image { file: at, .. } if Path::new(at) == file));
    fails(world.engine().pool(&ROOT, &own()), ErrorKind::NotFound);
    fails(world.engine().volume(&ROOT, &key("data")), ErrorKind::NotFound);
    assert!(file.exists());
    world.assert_nothing_mounted();
}

#[test]
fn a_pool_grows_while_its_volumes_are_used() {
    require!(Part::Loop, Part::Xfs);
    let world = World::new("pool-grow");
    let file = world.join("own.img");
    world.engine().create_pool(&ROOT, &on_image(&file, false)).unwrap();
    world.apply("data", IN_POOL).unwrap();
    let path = world.attach("data", "one").unwrap().path;
    let grow = |size: Option<u64>, capacity: Option<u64>| {
        let bytes = |n: u64| Size::from_bytes(n);
        world.engine().grow_pool(
            &ROOT,
            &own(),
            &GrowRequest { size: size.map(bytes), capacity: capacity.map(bytes) },
        )
    };
    let before = pool(&world);
    let large = "size: 600Mi, accessMode: ReadWriteMany, type: temp, pool: own";
    fails(world.apply("large", large), ErrorKind::PoolFull);
    let grown = grow(Some(1024 * MIB), None).unwrap();
    assert_eq!((grown.outcome, grown.changes.as_slice()), (Outcome::Configured, &["size".to_owned()][..]));
    assert_eq!(grown.resource.capacity.bytes(), before.capacity.bytes() + SIZE);
    assert!(grown.resource.host_free.bytes() > before.host_free.bytes() + 400 * MIB);
    assert!(orlop_sys::image::space(&file).unwrap().allocated >= 1024 * MIB, "its space is taken at once");
    assert_eq!(grown.resource.capacity_status, Capacity::Hard);
    world.apply("large", large).unwrap();
    std::fs::write(path.join("file"), "still there").unwrap();
    assert_eq!(grow(Some(1024 * MIB), None).unwrap().outcome, Outcome::Unchanged);
    fails(grow(Some(SIZE), None), ErrorKind::Unsupported);
    fails(grow(Some(1 << 50), None), ErrorKind::LowSpace);
    fails(grow(None, Some(MIB)), ErrorKind::InvalidArgument);
    let more = grow(None, Some(1 << 30)).unwrap();
    assert_eq!(more.resource.capacity.bytes(), 1 << 30);
    let default = world.engine().grow_pool(
        &ROOT,
        &PoolName::default_pool(),
        &GrowRequest { size: Some(Size::from_bytes(SIZE)), capacity: None },
    );
    fails(default, ErrorKind::InvalidArgument);
    world.detach("data", "one").unwrap();
}

#[test]
fn a_pool_follows_a_device_that_became_larger() {
    require!(Part::Loop, Part::Xfs);
    let world = World::new("pool-grow-device");
    let disk = Disk::new();
    world.engine().create_pool(&ROOT, &on_device(&disk.node, None)).unwrap();
    let before = pool(&world);
    let grow = || world.engine().grow_pool(&ROOT, &own(), &GrowRequest::default()).unwrap();
    assert_eq!(grow().outcome, Outcome::Unchanged);
    run(Command::new("truncate").args(["-s", "1G"]).arg(disk.scratch.join("disk"))).ok();
    run(Command::new("losetup").arg("-c").arg(&disk.node)).ok();
    let grown = grow();
    assert_eq!(grown.outcome, Outcome::Configured);
    assert!(grown.resource.capacity.bytes() >= before.capacity.bytes() + SIZE);
    assert!(grown.resource.host_free.bytes() > before.host_free.bytes() + 400 * MIB);
    world.engine().remove_pool(&ROOT, &own()).unwrap();
}
