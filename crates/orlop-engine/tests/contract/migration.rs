//! Volumes that move to another pool, or into a new filesystem.

use std::{
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    time::Duration,
};

use orlop_engine::*;
use orlop_model::{
    ErrorKind, FilesystemKind, Result, Size,
    resource::{Outcome, Volume},
};
use orlop_testkit::{Part, command::eventually, require};

use crate::harness::*;

const PLAIN: &str = "size: 64Mi, accessMode: ReadWriteMany, type: temp, filesystem: ext4";

fn pool(world: &World, name: &str) {
    let request = PoolRequest {
        name: name.parse().unwrap(),
        place: PoolPlace::Directory(world.join(name)),
        capacity: Some(Size::from_bytes(1 << 30)),
        overcommit: None,
    };
    world.engine().create_pool(&ROOT, &request).unwrap();
}

fn migrate(world: &World, name: &str, pool: Option<&str>, size: Option<&str>) -> Result<Applied<Volume>> {
    let request = MigrateRequest {
        pool: pool.map(|pool| pool.parse().unwrap()),
        size: size.map(|size| size.parse().unwrap()),
    };
    world.engine().migrate(&ROOT, &key(name), &request)
}

fn reserved(world: &World, pool: &str) -> (u64, u64) {
    let pool = world.engine().pool(&ROOT, &pool.parse().unwrap()).unwrap();
    (pool.reserved.bytes(), pool.volumes)
}

fn fill(path: &Path) {
    let cargo: Vec<u8> = (0..8 * MIB).map(|n| (n % 251) as u8).collect();
    std::fs::create_dir(path.join("below")).unwrap();
    std::fs::write(path.join("below/file"), &cargo).unwrap();
    std::fs::hard_link(path.join("below/file"), path.join("same")).unwrap();
    symlink("below/file", path.join("link")).unwrap();
    std::fs::set_permissions(path.join("below"), std::fs::Permissions::from_mode(0o1771)).unwrap();
    std::os::unix::fs::chown(path.join("same"), Some(33), Some(44)).unwrap();
}

fn filled(path: &Path) {
    let file = std::fs::read(path.join("same")).unwrap();
    assert!(
        file.len() as u64 == 8 * MIB && file.iter().zip(0_u64..).all(|(byte, n)| u64::from(*byte) == n % 251)
    );
    let same = std::fs::metadata(path.join("below/file")).unwrap();
    assert_eq!((same.uid(), same.gid(), same.nlink()), (33, 44, 2));
    assert_eq!(std::fs::metadata(path.join("below")).unwrap().mode() & 0o7777, 0o1771);
    assert_eq!(std::fs::read_link(path.join("link")).unwrap(), Path::new("below/file"));
}

#[test]
fn a_volume_moves_with_all_that_is_in_it() {
    require!(Part::Loop);
    let mut world = World::new("migrate");
    pool(&world, "other");
    let made = world.apply("data", PLAIN).unwrap().resource;
    let path = world.attach("data", "one").unwrap().path;
    fill(&path);
    let container = Container::start(&path, &world.mkdir("c"), &world.config.mount_dir, false);
    let error = fails(migrate(&world, "data", Some("other"), None), ErrorKind::InUse);
    assert!(error.message.contains("docker mount one"), "{error}");
    container.end();
    world.detach("data", "one").unwrap();
    world.assert_nothing_mounted();
    fails(migrate(&world, "data", Some("none"), None), ErrorKind::NotFound);
    let stranger = Caller { uid: 4242, ..ROOT };
    let request = MigrateRequest { pool: Some("other".parse().unwrap()), size: None };
    fails(world.engine().migrate(&stranger, &key("data"), &request), ErrorKind::PermissionDenied);

    let (source, before) = (world.image(&made), world.directory(&made));
    let bytes = std::fs::read(&source).unwrap();
    let moved = migrate(&world, "data", Some("other"), None).unwrap();
    assert_eq!((moved.outcome, moved.changes), (Outcome::Configured, vec!["volume.pool".to_owned()]));
    assert!(!before.exists(), "the source is removed");
    let now = moved.resource;
    assert_eq!((now.status.id, now.status.pool.as_str()), (made.status.id, "other"));
    assert_eq!(std::fs::read(world.image(&now)).unwrap(), bytes);
    assert_eq!((reserved(&world, "default"), reserved(&world, "other")), ((0, 0), (64 * MIB, 1)));
    assert!(world.told("Migrated"));
    let path = world.attach("data", "two").unwrap().path;
    filled(&path);
    world.detach("data", "two").unwrap();

    assert_eq!(migrate(&world, "data", Some("other"), None).unwrap().outcome, Outcome::Unchanged);
    assert_eq!(world.apply("data", PLAIN).unwrap().outcome, Outcome::Unchanged, "no pool was said");
    let error = fails(world.apply("data", &format!("{PLAIN}, pool: default")), ErrorKind::Immutable);
    assert!(error.hint.unwrap().contains("orlop volume migrate -w public -n data --pool default"));
    world.restart();
    let path = world.attach("data", "three").unwrap().path;
    filled(&path);
    world.detach("data", "three").unwrap();
    world.destroy("data");
    assert_eq!(reserved(&world, "other"), (0, 0));
}

#[test]
fn what_lies_in_the_other_pool_unexplained_is_left_alone() {
    require!(Part::Loop);
    let world = World::new("migrate-stranger");
    pool(&world, "other");
    let made = world.apply("data", PLAIN).unwrap().resource;
    let stranger = world.join("other/volumes").join(made.status.id.to_string());
    std::fs::create_dir(&stranger).unwrap();
    std::fs::write(stranger.join("data.img"), "somebody's data").unwrap();
    let error = fails(migrate(&world, "data", Some("other"), None), ErrorKind::Conflict);
    assert!(error.message.contains(stranger.to_str().unwrap()), "{error}");
    assert_eq!(std::fs::read_to_string(stranger.join("data.img")).unwrap(), "somebody's data");
    assert_eq!((reserved(&world, "default"), reserved(&world, "other")), ((64 * MIB, 1), (0, 0)));
    std::fs::remove_dir_all(&stranger).unwrap();
    migrate(&world, "data", Some("other"), None).unwrap();
}

#[test]
fn files_move_into_a_filesystem_of_another_size() {
    require!(Part::Loop);
    let world = World::new("migrate-size");
    pool(&world, "other");
    let spec = "size: 700Mi, accessMode: ReadWriteMany, type: temp";
    world.apply("data", spec).unwrap();
    let path = world.attach("data", "one").unwrap().path;
    fill(&path);
    world.detach("data", "one").unwrap();
    for (to, size, filesystem) in [
        (None, "320Mi", FilesystemKind::Ext4),
        (Some("other"), "600Mi", FilesystemKind::Xfs),
        (None, "64Mi", FilesystemKind::Ext4),
        (Some("default"), "64Mi", FilesystemKind::Ext4),
    ] {
        let moved = migrate(&world, "data", to, Some(size)).unwrap().resource;
        let wanted: Size = size.parse().unwrap();
        assert_eq!((moved.manifest.volume.size, moved.status.filesystem), (wanted, Some(filesystem)));
        assert_eq!(std::fs::metadata(world.image(&moved)).unwrap().len(), wanted.bytes());
        world.assert_nothing_mounted();
        assert_eq!(reserved(&world, moved.status.pool.as_str()), (wanted.bytes(), 1));
        let path = world.attach("data", "two").unwrap().path;
        filled(&path);
        world.detach("data", "two").unwrap();
    }
    let path = world.attach("data", "two").unwrap().path;
    std::fs::write(path.join("more"), vec![1; 9 * MIB as usize]).unwrap();
    world.detach("data", "two").unwrap();
    let error = fails(migrate(&world, "data", None, Some("16Mi")), ErrorKind::LowSpace);
    assert!(error.message.contains("room for"), "{error}");
    world.assert_nothing_mounted();
    let path = world.attach("data", "two").unwrap().path;
    filled(&path);
    world.detach("data", "two").unwrap();
    assert_eq!(reserved(&world, "default"), (64 * MIB, 1));
    assert_eq!(std::fs::read_dir(world.directory(&world.volume("data"))).unwrap().count(), 2);
}

/// What a repair could not put back in its place lies beside the directory that users see, and is theirs.
#[test]
fn what_a_repair_rescued_moves_too() {
    require!(Part::Loop, Part::Xfs);
    let world = World::new("migrate-rescued");
    for (name, filesystem, to) in [("small", "ext4", "320Mi"), ("large", "xfs", "400Mi")] {
        let spec = format!("size: 310Mi, accessMode: ReadWriteMany, type: temp, filesystem: {filesystem}");
        let id = world.apply(name, &spec).unwrap().resource.status.id;
        let rescued = world.config.mount_dir.join(id.to_string()).join("base/lost+found/#12");
        fill(&world.attach(name, "one").unwrap().path);
        std::fs::create_dir_all(&rescued).unwrap();
        std::fs::write(rescued.join("cargo"), "rescued").unwrap();
        std::os::unix::fs::chown(rescued.join("cargo"), Some(33), Some(44)).unwrap();
        world.detach(name, "one").unwrap();
        for to in [to, "305Mi"] {
            migrate(&world, name, None, Some(to)).unwrap();
            filled(&world.attach(name, "two").unwrap().path);
            let found = std::fs::read_to_string(rescued.join("cargo"));
            assert_eq!(found.ok().as_deref(), Some("rescued"), "{name} {to}");
            assert_eq!(std::fs::metadata(rescued.join("cargo")).unwrap().uid(), 33);
            world.detach(name, "two").unwrap();
            world.assert_nothing_mounted();
        }
        world.destroy(name);
    }
}

#[test]
fn a_move_is_seen_refuses_users_and_can_be_stopped() {
    require!(Part::Loop);
    let world = World::new("migrate-stop");
    pool(&world, "other");
    let made = world.apply("data", "size: 600Mi, accessMode: ReadWriteMany, type: temp").unwrap().resource;
    let path = world.attach("data", "one").unwrap().path;
    fill(&path);
    std::fs::write(path.join("more"), vec![3; 300 * MIB as usize]).unwrap();
    world.detach("data", "one").unwrap();
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| migrate(&world, "data", Some("other"), None));
        let mut seen = None;
        assert!(eventually(PATIENCE, || {
            seen = world.engine().operations(&ROOT).pop();
            seen.as_ref().is_some_and(|seen| seen.done_bytes > 0) || moving.is_finished()
        }));
        let seen = seen.unwrap();
        assert_eq!((seen.kind.as_str(), seen.object.as_str()), ("migrate", "volume public/data"));
        assert!(seen.total_bytes.is_some());
        let request = AttachRequest {
            volume: key("data"),
            scope: Scope { id: "x".into(), shared: false, may_go_stale: true },
            consumer: "docker mount x".into(),
            read_only: false,
            known_as: None,
        };
        let refused = world.engine().attach(&DOCKER, &request, Duration::ZERO);
        let error = fails(refused, ErrorKind::Recovering);
        assert!(error.message.contains("migrate is under way"), "{error}");
        assert!(error.hint.unwrap().contains(&format!("orlop operation stop {}", seen.id)));
        world.engine().stop_operation(&ROOT, seen.id).unwrap();
        fails(moving.join().unwrap(), ErrorKind::Interrupted);
    });
    assert!(world.told("MigrateUndone"));
    let now = world.volume("data");
    assert_eq!((now.status.pool.as_str(), now.status.generation), ("default", made.status.generation));
    assert!(!world.join("other/volumes").join(made.status.id.to_string()).exists());
    assert_eq!((reserved(&world, "default"), reserved(&world, "other")), ((600 * MIB, 1), (0, 0)));
    filled(&world.attach("data", "two").unwrap().path);
    world.detach("data", "two").unwrap();
}
