//! Volumes that become larger and smaller, and what a preview says of it.

use std::{
    fs::File,
    io::{ErrorKind as Io, Write},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use orlop_engine::*;
use orlop_model::{
    ErrorKind, Size,
    resource::{Capacity, How, Intention, Outcome, VolumePlan, VolumeState},
};
use orlop_testkit::{Part, ScratchFs, command::eventually, require};

use crate::harness::*;

const XFS: &str = "accessMode: ReadWriteMany, type: temp, filesystem: xfs";
const EXT4: &str = "accessMode: ReadWriteMany, type: temp, filesystem: ext4";

fn plan(world: &World, name: &str, spec: &str) -> VolumePlan {
    let request = ApplyRequest {
        workspace: "public".parse().unwrap(),
        manifest: manifest(name, spec),
        create_workspace: false,
        set: None,
    };
    world.engine().plan(&ROOT, &request).unwrap()
}

fn total(place: &Path) -> u64 {
    orlop_sys::space::usage(place).unwrap().capacity
}

fn reserved(world: &World, pool: &str) -> u64 {
    world.engine().pool(&ROOT, &pool.parse().unwrap()).unwrap().reserved.bytes()
}

fn may_grow_mounted_ext4() -> bool {
    use orlop_sys::host::{Capability, has_capability};
    has_capability(Capability::SysResource).unwrap()
}

/// What that volume's filesystem says of itself while nobody uses it.
fn sound(world: &World, name: &str) {
    use orlop_sys::filesystem::{CheckMode, CheckOutcome, FsKind, check};
    let volume = world.volume(name);
    let kind = match volume.status.filesystem.unwrap() {
        orlop_model::FilesystemKind::Ext4 => FsKind::Ext4,
        orlop_model::FilesystemKind::Xfs => FsKind::Xfs,
    };
    world.assert_nothing_mounted();
    let found = check(&world.image(&volume), kind, CheckMode::ReadOnly, PATIENCE).unwrap();
    assert_eq!(found, CheckOutcome::Clean);
}

#[test]
fn an_xfs_grows_under_a_container_that_runs_into_its_end() {
    require!(Part::Loop);
    let world = World::new("grow-xfs");
    world.apply("data", &format!("size: 300Mi, {XFS}")).unwrap();
    let path = world.attach("data", "one").unwrap().path;
    let container = Container::start(&path, &world.mkdir("c"), &world.config.mount_dir, true);
    let (full, done, refused) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    let inside = std::path::PathBuf::from(format!("/proc/{}/root", container.pid()))
        .join(world.join("c").strip_prefix("/").unwrap());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut file = File::create(inside.join("big")).unwrap();
            let mut written = 0;
            while written < 400 * MIB {
                match file.write(&vec![7; MIB as usize]) {
                    Ok(bytes) => written += bytes as u64,
                    Err(error) if error.kind() == Io::StorageFull && !done.load(Ordering::SeqCst) => {
                        full.store(true, Ordering::SeqCst);
                        refused.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    Err(error) => panic!("a writer saw {error}"),
                }
            }
            file.sync_all().unwrap();
        });
        assert!(eventually(PATIENCE, || full.load(Ordering::SeqCst) || writer.is_finished()));
        let before = total(&inside);
        let planned = plan(&world, "data", &format!("size: 1Gi, {XFS}"));
        assert_eq!(planned.intention, Intention::Change);
        let [change] = planned.changes.as_slice() else { panic!("{planned:?}") };
        assert_eq!((change.field.as_str(), change.how), ("volume.size", How::InPlace));
        assert_eq!((change.from.as_deref(), change.to.as_deref()), (Some("300Mi"), Some("1Gi")));

        let applied = world.apply("data", &format!("size: 1Gi, {XFS}")).unwrap();
        done.store(true, Ordering::SeqCst);
        assert_eq!((applied.outcome, applied.changes), (Outcome::Configured, vec!["volume.size".to_owned()]));
        assert!(total(&inside) > before + 700 * MIB, "df in the container: {}", total(&inside));
        writer.join().unwrap();
    });
    assert!(refused.load(Ordering::SeqCst) > 0, "it never met the end");
    let volume = world.volume("data");
    assert_eq!(volume.status.state, VolumeState::Active);
    assert_eq!(std::fs::metadata(world.image(&volume)).unwrap().len(), 1 << 30);
    assert_eq!(reserved(&world, "default"), 1 << 30);
    assert!(world.told("Grown"));
    assert_eq!(world.apply("data", &format!("size: 1Gi, {XFS}")).unwrap().outcome, Outcome::Unchanged);
    let json = std::fs::read_to_string(world.directory(&volume).join("volume.json")).unwrap();
    assert!(json.contains("\"1Gi\""), "{json}");
    container.end();
    world.detach("data", "one").unwrap();
    sound(&world, "data");
    world.destroy("data");
}

#[test]
fn a_volume_that_nobody_uses_grows_at_once() {
    require!(Part::Loop);
    let world = World::new("grow-detached");
    for (name, spec, before, after) in [
        ("xfs", XFS, "300Mi", "700Mi"),
        ("ext4", EXT4, "16Mi", "300Mi"),
        ("odd", EXT4, "50000001", "90000003"),
    ] {
        world.apply(name, &format!("size: {before}, {spec}")).unwrap();
        let path = world.attach(name, "one").unwrap().path;
        std::fs::write(path.join("file"), "cargo").unwrap();
        world.detach(name, "one").unwrap();
        world.apply(name, &format!("size: {after}, {spec}, uid: 1000")).unwrap();
        world.assert_nothing_mounted();
        sound(&world, name);
        let path = world.attach(name, "two").unwrap().path;
        assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
        let size: Size = after.parse().unwrap();
        assert!(total(&path) > size.bytes() / 100 * 70, "{name}: {}", total(&path));
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&path).unwrap()), 1000);
        world.detach(name, "two").unwrap();
    }
}

#[test]
fn an_ext4_in_use_grows_where_the_kernel_lets_the_daemon_and_else_says_what_to_do() {
    require!(Part::Loop);
    let world = World::new("grow-ext4");
    world.apply("data", &format!("size: 64Mi, {EXT4}")).unwrap();
    let path = world.attach("data", "one").unwrap().path;
    let container = Container::start(&path, &world.mkdir("c"), &world.config.mount_dir, true);
    let larger = format!("size: 300Mi, {EXT4}");
    if may_grow_mounted_ext4() {
        let ticks = || std::fs::metadata(path.join("ticks")).map_or(0, |found| found.len());
        assert_eq!(
            plan(&world, "data", &larger).changes.first().map(|change| change.how),
            Some(How::InPlace)
        );
        world.apply("data", &larger).unwrap();
        let (before, grown) = (ticks(), total(&path));
        assert!(grown > 200 * MIB, "{grown}");
        assert!(eventually(PATIENCE, || ticks() > before), "the container no longer writes");
        container.end();
        world.detach("data", "one").unwrap();
        sound(&world, "data");
        world.apply("data", &format!("size: 400Mi, {EXT4}")).unwrap();
        sound(&world, "data");
        println!("grown in use and not");
        return;
    }
    let error = fails(world.apply("data", &larger), ErrorKind::InUse);
    for word in ["docker mount one", "CAP_SYS_RESOURCE"] {
        assert!(error.message.contains(word), "{error}");
    }
    assert!(error.hint.unwrap().contains("stop what uses it"));
    assert_eq!(plan(&world, "data", &larger).refusal.map(|error| error.kind), Some(ErrorKind::InUse));
    std::fs::write(path.join("file"), "x").unwrap();
    container.end();
    world.detach("data", "one").unwrap();
    world.assert_nothing_mounted();
    let planned = plan(&world, "data", &larger);
    assert_eq!(planned.changes.first().map(|change| change.how), Some(How::WithCopy));
    world.apply("data", &larger).unwrap();
}

#[test]
fn growth_is_admitted_like_a_new_volume() {
    require!(Part::Loop);
    let world = World::new("grow-room");
    let pool = PoolRequest {
        name: "small".parse().unwrap(),
        place: PoolPlace::Directory(world.join("small")),
        capacity: Some(Size::from_bytes(512 * MIB)),
        overcommit: None,
    };
    world.engine().create_pool(&ROOT, &pool).unwrap();
    let of = |size: &str| format!("size: {size}, {XFS}, pool: small");
    let made = world.apply("data", &of("300Mi")).unwrap().resource;
    let error = fails(world.apply("data", &of("600Mi")), ErrorKind::PoolFull);
    assert!(
        error.message.contains("growing from 300Mi to 600Mi takes 300Mi more, which does not fit"),
        "{error}"
    );
    let planned = plan(&world, "data", &of("600Mi"));
    assert_eq!(planned.intention, Intention::Refuse);
    assert_eq!(planned.refusal.map(|error| error.kind), Some(ErrorKind::PoolFull));
    let now = world.volume("data");
    assert_eq!(now.status.generation, made.status.generation);
    assert_eq!(reserved(&world, "small"), 300 * MIB);
    world.apply("data", &of("512Mi")).unwrap();
    assert_eq!(reserved(&world, "small"), 512 * MIB);
}

/// Where blocks can't be shared, the copy would take what is promised to others.
#[test]
fn a_copy_takes_no_room_that_others_were_promised() {
    require!(Part::Loop);
    let world = World::new("shrink-room");
    let place = PoolPlace::Directory(world.join("small"));
    let capacity = Some(Size::from_bytes(512 * MIB));
    let pool = PoolRequest { name: "small".parse().unwrap(), place, capacity, overcommit: None };
    world.engine().create_pool(&ROOT, &pool).unwrap();
    let of = |size: u64| format!("size: {size}Mi, {EXT4}, pool: small");
    world.apply("data", &of(128)).unwrap();
    world.inside("data", |path| std::fs::write(path.join("file"), vec![7; 40 << 20]).unwrap());
    world.apply("other", &of(384)).unwrap();
    let before = world.volume("data");

    let planned = plan(&world, "data", &of(64));
    assert_eq!(planned.refusal.map(|error| error.kind), Some(ErrorKind::PoolFull));
    let error = fails(world.apply("data", &of(64)), ErrorKind::PoolFull);
    assert!(error.message.contains("data is worked on in a copy"), "{error}");
    assert!(error.hint.unwrap().contains("orlop pool grow"));
    assert_eq!(world.volume("data").status.generation, before.status.generation);
    assert_eq!(std::fs::read_dir(world.directory(&before)).unwrap().count(), 2);
    assert_eq!(reserved(&world, "small"), 512 * MIB);

    world.destroy("other");
    world.apply("other", &of(300)).unwrap();
    world.apply("data", &of(64)).unwrap();
    assert_eq!(reserved(&world, "small"), (64 + 300) * MIB);
    sound(&world, "data");
}

#[test]
fn preallocated_volumes_stay_so() {
    require!(Part::Loop);
    let world = World::new("grow-preallocated");
    for (name, before, after) in [("a", "16Mi", "48Mi"), ("b", "300Mi", "400Mi")] {
        let kind = if name == "a" { EXT4 } else { XFS };
        world.apply(name, &format!("size: {before}, {kind}, preallocate: true")).unwrap();
        world.apply(name, &format!("size: {after}, {kind}, preallocate: true")).unwrap();
        let volume = world.volume(name);
        let size: Size = after.parse().unwrap();
        assert!(volume.status.allocated_bytes.unwrap() >= size.bytes(), "{volume:?}");
        assert_eq!(volume.status.capacity, Capacity::Hard);
    }
}

#[test]
fn an_ext4_shrinks_while_nobody_uses_it_and_never_below_what_is_in_it() {
    require!(Part::Loop, Part::Xfs);
    // Without reflink, and with it.
    let fs = ScratchFs::xfs(1 << 30);
    let world = World::new("shrink");
    let pool = PoolRequest {
        name: "reflink".parse().unwrap(),
        place: PoolPlace::Directory(fs.path().join("pool")),
        capacity: None,
        overcommit: None,
    };
    world.engine().create_pool(&ROOT, &pool).unwrap();
    for pool in ["default", "reflink"] {
        let of = |size: &str| format!("size: {size}, {EXT4}, pool: {pool}");
        world.apply("data", &of("128Mi")).unwrap();
        let path = world.attach("data", "one").unwrap().path;
        let cargo: Vec<u8> = (0..40 * MIB).map(|n| (n % 251) as u8).collect();
        std::fs::write(path.join("file"), &cargo).unwrap();
        let container = Container::start(&path, &world.mkdir("c"), &world.config.mount_dir, false);
        let error = fails(world.apply("data", &of("64Mi")), ErrorKind::InUse);
        assert!(error.message.contains("docker mount one"), "{error}");
        container.end();
        world.detach("data", "one").unwrap();
        world.assert_nothing_mounted();

        let error = fails(world.apply("data", &of("32Mi")), ErrorKind::Immutable);
        assert!(error.message.contains("needs") && error.hint.is_some(), "{error}");
        assert_eq!(plan(&world, "data", &of("32Mi")).intention, Intention::Refuse);

        let planned = plan(&world, "data", &of("64Mi"));
        assert_eq!(planned.changes.first().map(|change| change.how), Some(How::WithCopy));
        let applied = world.apply("data", &of("64Mi")).unwrap();
        assert_eq!(applied.outcome, Outcome::Configured);
        assert_eq!(applied.resource.status.usage, None, "what was seen was of another size");
        assert_eq!(std::fs::metadata(world.image(&applied.resource)).unwrap().len(), 64 * MIB);
        assert_eq!(reserved(&world, pool), 64 * MIB);
        assert!(world.told("Shrunk"));
        sound(&world, "data");
        let path = world.attach("data", "two").unwrap().path;
        assert_eq!(std::fs::read(path.join("file")).unwrap(), cargo);
        assert!(total(&path) < 64 * MIB);
        world.detach("data", "two").unwrap();
        assert_eq!(std::fs::read_dir(world.directory(&applied.resource)).unwrap().count(), 2);
        world.destroy("data");
    }
    drop(world);
}

#[test]
fn an_xfs_does_not_shrink_and_the_way_is_named() {
    require!(Part::Loop);
    let world = World::new("shrink-xfs");
    world.apply("data", &format!("size: 700Mi, {XFS}")).unwrap();
    let error = fails(world.apply("data", &format!("size: 400Mi, {XFS}")), ErrorKind::Immutable);
    assert!(error.hint.unwrap().contains("orlop volume migrate -w public -n data --size 400Mi"));
}

#[test]
fn a_preview_changes_nothing_and_tells_all_outcomes() {
    require!(Part::Loop);
    let world = World::new("preview");
    let made = world.apply("data", &format!("size: 300Mi, {XFS}")).unwrap().resource;
    let events = world.events().len();
    assert_eq!(
        plan(&world, "new", "size: 16Mi, accessMode: ReadWriteMany, type: temp").intention,
        Intention::Create
    );
    assert_eq!(plan(&world, "data", &format!("size: 300Mi, {XFS}")).intention, Intention::Unchanged);
    let planned = plan(&world, "data", &format!("size: 8Gi, {XFS}, uid: 7"));
    let fields: Vec<_> = planned.changes.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(fields, ["volume.size", "volume.uid"]);
    assert_eq!(planned.changes[1].from, None);
    assert_eq!(planned.changes[1].to.as_deref(), Some("7"));
    let [warning] = planned.warnings.as_slice() else { panic!("{planned:?}") };
    assert!(warning.contains("16 times"), "{warning}");
    for (spec, kind) in [
        (format!("size: 300Mi, {XFS}, pool: other"), ErrorKind::Immutable),
        (format!("size: 8Mi, {EXT4}"), ErrorKind::InvalidArgument),
        ("size: 16Mi, accessMode: ReadWriteOnce, type: CloudTemp".to_owned(), ErrorKind::Unsupported),
    ] {
        assert_eq!(plan(&world, "data", &spec).refusal.map(|error| error.kind), Some(kind), "{spec}");
    }
    assert_eq!(plan(&world, "new", &format!("size: 300Mi, {XFS}, pool: none")).intention, Intention::Refuse);
    let now = world.volume("data");
    assert_eq!((now.status.generation, now.manifest), (made.status.generation, made.manifest));
    assert_eq!(world.events().len(), events, "{:?}", world.events());
}

#[test]
fn the_size_in_df_is_seen_by_programs_in_the_container() {
    require!(Part::Loop);
    let world = World::new("grow-df");
    world.apply("data", &format!("size: 300Mi, {XFS}")).unwrap();
    let path = world.attach("data", "one").unwrap().path;
    let place = world.mkdir("c");
    let container = Container::start(&path, &place, &world.config.mount_dir, false);
    world.apply("data", &format!("size: 2Gi, {XFS}")).unwrap();
    let shown = Command::new("nsenter")
        .args(["-t", &container.pid().to_string(), "-m", "df", "-B1", "--output=size"])
        .arg(&place)
        .output()
        .unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    let size: u64 = text.lines().last().unwrap().trim().parse().unwrap();
    assert!(size > 1900 * MIB, "{text}");
}
