//! Pools: made, promised, full.

use std::{fs::OpenOptions, io::Write};

use orlop_engine::*;
use orlop_model::{
    ErrorKind, Size,
    resource::{Capacity, Outcome},
};
use orlop_testkit::{Part, ScratchFs, require};

use crate::harness::*;

fn request(
    name: &str,
    path: &std::path::Path,
    capacity: Option<u64>,
    overcommit: Option<f64>,
) -> PoolRequest {
    PoolRequest {
        name: name.parse().unwrap(),
        place: PoolPlace::Directory(path.to_owned()),
        capacity: capacity.map(Size::from_bytes),
        overcommit,
    }
}

#[test]
fn made_once_changed_in_place_and_only_by_root() {
    require!(Part::Loop);
    let world = World::new("pool");
    let path = world.join("images");
    let small = request("small", &path, Some(64 * MIB), None);
    fails(world.engine().create_pool(&Caller { uid: 7, ..ROOT }, &small), ErrorKind::PermissionDenied);
    assert_eq!(world.engine().create_pool(&ROOT, &small).unwrap().outcome, Outcome::Created);
    assert_eq!(world.engine().create_pool(&ROOT, &small).unwrap().outcome, Outcome::Unchanged);
    let spec = "size: 48Mi, accessMode: ReadWriteMany, type: temp, pool: small";
    world.apply("one", spec).unwrap();
    let error = fails(world.apply("two", spec), ErrorKind::PoolFull);
    for word in ["48Mi", "64Mi", "16Mi"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    assert!(world.told("PoolFull"));
    let shrunk = request("small", &path, Some(32 * MIB), None);
    fails(world.engine().create_pool(&ROOT, &shrunk), ErrorKind::InvalidArgument);
    let grown = world.engine().create_pool(&ROOT, &request("small", &path, None, Some(2.0))).unwrap();
    assert_eq!(
        (grown.outcome, grown.changes.as_slice()),
        (Outcome::Configured, &["overcommit".to_owned()][..])
    );
    world.apply("two", spec).unwrap();
    assert_eq!(world.engine().pool(&ROOT, &"small".parse().unwrap()).unwrap().reserved.bytes(), 96 * MIB);
    fails(
        world.apply("three", "size: 16Mi, accessMode: ReadWriteMany, type: temp, pool: none"),
        ErrorKind::NotFound,
    );
}

#[test]
fn a_pool_is_not_made_just_anywhere() {
    require!(Part::Root);
    let world = World::new("pool-place");
    let full = world.mkdir("full");
    std::fs::write(full.join("file"), "").unwrap();
    for path in [
        full.as_path(),
        &full.join("file"),
        std::path::Path::new("relative"),
        std::path::Path::new("/"),
        &world.config.state_dir.join("inner"),
        &world.config.mount_dir.join("inner"),
        world.scratch(),
        &world.join("a/../b"),
    ] {
        fails(
            world.engine().create_pool(&ROOT, &request("new", path, None, None)),
            ErrorKind::InvalidArgument,
        );
    }
    assert_eq!(std::fs::read_dir(&full).unwrap().count(), 1, "what was there is untouched");
    fails(
        world.engine().create_pool(&ROOT, &request("new", &world.join("p"), None, Some(0.5))),
        ErrorKind::InvalidArgument,
    );
}

/// Takes room on a filesystem until only so much is left.
fn fill_up(fs: &ScratchFs, left: u64) {
    let mut file = OpenOptions::new().create(true).append(true).open(fs.join("filler")).unwrap();
    while orlop_sys::space::usage(fs.path()).unwrap().available > left {
        file.write_all(&[1; 1 << 20]).unwrap();
    }
    file.sync_all().unwrap();
}

#[test]
fn others_who_fill_the_disk_stop_new_promises_and_make_the_old_advisory() {
    require!(Part::Loop);
    let fs = ScratchFs::ext4(256 * MIB);
    let world = World::with("low-space", |config| config.low_water = Some(Size::from_bytes(16 * MIB)));
    world.engine().create_pool(&ROOT, &request("disk", &fs.join("pool"), None, None)).unwrap();
    let spec = "size: 64Mi, accessMode: ReadWriteMany, type: temp, pool: disk";
    world.apply("one", spec).unwrap();
    let pool = || world.engine().pool(&ROOT, &"disk".parse().unwrap()).unwrap();
    assert_eq!(pool().capacity_status, Capacity::Hard);
    assert_eq!(world.volume("one").status.capacity, Capacity::Hard);

    fill_up(&fs, 100 * MIB);
    let error = fails(world.apply("two", spec), ErrorKind::LowSpace);
    assert!(error.message.contains("64Mi") && error.message.contains("16Mi"), "{error}");
    fill_up(&fs, 40 * MIB);
    let advisory = orlop_testkit::command::eventually(std::time::Duration::from_secs(20), || {
        world.told("CapacityAdvisory") && matches!(pool().capacity_status, Capacity::Advisory { .. })
    });
    assert!(advisory, "{:?}", pool());
    let Capacity::Advisory { why } = world.volume("one").status.capacity else { panic!("it can fail") };
    assert!(why.contains("fills the pool's disk"), "{why}");

    std::fs::remove_file(fs.join("filler")).unwrap();
    let hard =
        orlop_testkit::command::eventually(std::time::Duration::from_secs(20), || world.told("CapacityHard"));
    assert!(hard, "{:?}", world.events());
    world.apply("two", spec).unwrap();
    drop(world);
}

#[test]
fn overcommit_admits_what_the_disk_can_not_hold_and_says_so() {
    require!(Part::Loop, Part::Xfs);
    let fs = ScratchFs::ext4(512 * MIB);
    let world = World::new("overcommit");
    world.engine().create_pool(&ROOT, &request("disk", &fs.join("pool"), None, Some(1000.0))).unwrap();
    let made =
        world.apply("large", "size: 225Gi, accessMode: ReadWriteMany, type: temp, pool: disk").unwrap();
    let Capacity::Advisory { why } = made.resource.status.capacity else { panic!("nobody has that room") };
    assert!(why.contains("overcommit"), "{why}");
    let error = fails(
        world.apply("other", "size: 225Gi, accessMode: ReadWriteMany, type: temp"),
        ErrorKind::PoolFull,
    );
    assert!(error.message.contains("225Gi") && error.hint.is_some(), "{error}");
    drop(world);
}

#[test]
fn a_pool_whose_disk_is_missing_loses_nothing() {
    require!(Part::Loop, Part::Xfs);
    let disk = ScratchFs::xfs(1 << 30);
    let world = World::new("missing");
    let path = disk.join("images");
    world.engine().create_pool(&ROOT, &request("disk", &path, None, None)).unwrap();
    let made = world
        .apply("data", "size: 16Mi, accessMode: ReadWriteMany, type: temp, pool: disk")
        .unwrap()
        .resource;
    world.snapshot("s", "data").unwrap();
    world.snapshot_group("g", &["data"]).unwrap();
    let away = disk.join("away");
    std::fs::rename(&path, &away).unwrap();
    std::fs::create_dir(&path).unwrap();
    let seen = world.by_id(&made).unwrap().status;
    assert_eq!(seen.state, orlop_model::resource::VolumeState::Error);
    assert!(seen.reason.is_some_and(|reason| reason.contains("pool disk is not at")));
    let pools = world.engine().pools(&ROOT).unwrap();
    assert_eq!(pools.len(), 2);
    let pool = pools.iter().find(|pool| pool.name.as_str() == "disk").unwrap();
    assert!(matches!(&pool.capacity_status, Capacity::Advisory { why } if why.contains("is not at")));
    assert_eq!(
        (pool.available.bytes(), pool.host_free.bytes()),
        (0, 0),
        "another disk's figures are not its"
    );
    fails(world.attach("data", "one"), ErrorKind::Unavailable);
    fails(world.delete("data"), ErrorKind::Unavailable);
    fails(
        world.apply("new", "size: 16Mi, accessMode: ReadWriteMany, type: temp, pool: disk"),
        ErrorKind::Unavailable,
    );
    // Nothing has to be done for what is as it was.
    let same = world.apply("data", "size: 16Mi, accessMode: ReadWriteMany, type: temp, pool: disk");
    assert_eq!(same.unwrap().outcome, Outcome::Unchanged);
    assert_eq!(world.snapshot("s", "data").unwrap().outcome, Outcome::Unchanged);
    assert_eq!(world.snapshot_group("g", &["data"]).unwrap().outcome, Outcome::Unchanged);
    fails(world.snapshot_as(&ROOT, "s", "data", "30d", false), ErrorKind::Unavailable);
    fails(world.snapshot_group_for("g", &["data"], Some("30d")), ErrorKind::Unavailable);
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&away, &path).unwrap();
    world.attach("data", "one").unwrap();
    world.detach("data", "one").unwrap();
    assert_eq!(world.by_id(&made).unwrap().status.state, orlop_model::resource::VolumeState::Active);
}

#[test]
fn blanks_make_volumes_and_count_against_nobody() {
    require!(Part::Loop);
    let mut world = World::with("blanks", |config| config.blanks = 2);
    let spec = "size: 32Mi, accessMode: ReadWriteMany, type: temp";
    world.apply("first", spec).unwrap();
    let blanks = world.pool_path().join("blanks");
    let ready = || {
        std::fs::read_dir(&blanks)
            .unwrap()
            .flatten()
            .filter(|e| e.path().extension().is_some_and(|x| x == "img"))
            .count()
    };
    assert!(orlop_testkit::command::eventually(std::time::Duration::from_secs(20), || ready() == 2));
    let pool = world.engine().pool(&ROOT, &"default".parse().unwrap()).unwrap();
    assert_eq!((pool.reserved.bytes(), pool.volumes), (32 * MIB, 1));
    world.apply("second", spec).unwrap();
    assert_eq!(world.engine().statistics().created_from_blank, 1);
    let path = world.attach("second", "one").unwrap().path;
    std::fs::write(path.join("file"), "cargo").unwrap();
    world.detach("second", "one").unwrap();
    world.restart();
    world.apply("third", spec).unwrap();
    assert_eq!(world.engine().statistics().created_from_blank, 1, "blanks are found again after a restart");
    assert!(!world.attach("third", "one").unwrap().path.join("file").exists());
    world.detach("third", "one").unwrap();
    assert!(orlop_testkit::command::eventually(PATIENCE, || ready() == 2));
    world.restart();
    // What is wanted is known from before the restart, also when something else is wanted now.
    world.apply("fourth", "size: 48Mi, accessMode: ReadWriteMany, type: temp").unwrap();
    let of_size = |bytes: u64| {
        let names =
            std::fs::read_dir(&blanks).unwrap().flatten().map(|e| e.file_name().into_string().unwrap());
        names.filter(|name| name.contains(&format!("-{bytes}-"))).count()
    };
    assert!(orlop_testkit::command::eventually(PATIENCE, || of_size(48 * MIB) == 2));
    assert!(of_size(32 * MIB) > 0);
    world.config.blanks = 0;
    world.restart();
    assert_eq!(ready(), 0, "none are kept where none are wanted");
}
