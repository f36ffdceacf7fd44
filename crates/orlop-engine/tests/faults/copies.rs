//! Copies that are not what they were made of: a move and an adoption compare them, with what the disk has,
//! before anything depends on them.

use std::{path::Path, process::Command};

use orlop_engine::{fault::Point, *};
use orlop_model::{ErrorKind, Size};
use orlop_testkit::{Part, require};

use crate::{harness::*, patience::sql};

/// Makes one byte another; nothing else shows that.
fn spoil(file: &Path, at: u64) {
    let modified = std::fs::metadata(file).unwrap().modified().unwrap();
    write_at(file, at, b"!").unwrap();
    std::fs::File::options().write(true).open(file).unwrap().set_modified(modified).unwrap();
}

/// What is copied is compared before its source goes: one byte is enough.
#[test]
fn a_copy_that_is_not_what_it_should_be_moves_nothing() {
    require!(Part::Loop, Part::Sqlite3);
    let mut world = World::new("copy-spoilt");
    let place = PoolPlace::Directory(world.join("other"));
    let other = PoolRequest { name: "other".parse().unwrap(), place, capacity: None, overcommit: None };
    world.engine().create_pool(&ROOT, &other).unwrap();
    let made =
        world.apply("data", "size: 32Mi, accessMode: ReadWriteMany, type: persistent").unwrap().resource;
    let cargo = "cargo that is here and nowhere else";
    world.inside("data", |path| std::fs::write(path.join("file"), cargo).unwrap());
    let (id, image) = (made.status.id.to_string(), world.image(&made));
    let before = std::fs::read(&image).unwrap();
    let at = before.windows(cargo.len()).position(|bytes| bytes == cargo.as_bytes()).unwrap();
    let elsewhere = world.join("other/volumes").join(&id);
    let (copied, incoming) = (elsewhere.join("data.img"), world.config.mount_dir.join(&id).join("incoming"));
    for (size, pool, words) in [
        (None, Some("other"), "its copy has the checksum"),
        (Some(48), Some("other"), "the copy of its files is not what they are"),
        (Some(16), None, "the copy of its files is not what they are"),
    ] {
        let size = size.map(|mib| Size::from_bytes(mib * MIB));
        if size.is_none() {
            let copied = copied.clone();
            fault::meanwhile(Point::MigrateCopied, move || spoil(&copied, at as u64));
        } else {
            // The old and the new, and the new once more to be read back.
            let file = incoming.join("data/file");
            nth(Point::AttachMounted, 3, move || spoil(&file, 3));
        }
        let request = MigrateRequest { pool: pool.map(|pool| pool.parse().unwrap()), size };
        let error = fails(world.engine().migrate(&ROOT, &key("data"), &request), ErrorKind::Host);
        assert!(error.message.contains(words), "{error}");
        assert!(error.hint.unwrap().starts_with("nothing was changed"));
        // To copy files it is mounted, which writes to it.
        assert!(size.is_some() || std::fs::read(&image).unwrap() == before, "the source is only read");
        let now = world.volume("data");
        assert_eq!(
            (now.status.pool.as_str(), now.manifest.volume.size),
            ("default", made.manifest.volume.size)
        );
        assert_eq!(now.status.generation, made.status.generation);
        assert!(!elsewhere.exists(), "the copy is gone");
        assert_eq!(
            std::fs::read_dir(world.directory(&made)).unwrap().count(),
            2,
            "the image, and what it is"
        );
        assert_eq!(
            sql(&world, "SELECT (SELECT count(*) FROM operations) + (SELECT count(*) FROM incoming)"),
            "0"
        );
        let other = world.engine().pool(&ROOT, &"other".parse().unwrap()).unwrap();
        assert_eq!((other.reserved.bytes(), other.volumes), (0, 0));
        world.assert_nothing_mounted();
        let held = world.inside("data", |path| std::fs::read_to_string(path.join("file")).unwrap());
        assert_eq!(held, cargo);
    }
    world.restart();
    let request = MigrateRequest { pool: Some("other".parse().unwrap()), size: None };
    let moved = world.engine().migrate(&ROOT, &key("data"), &request).unwrap().resource;
    assert_eq!(moved.status.pool.as_str(), "other");
    assert_eq!(world.inside("data", |path| std::fs::read_to_string(path.join("file")).unwrap()), cargo);
}

/// Does something at a later passage of a point.
fn nth(point: Point, passage: u32, deed: impl FnOnce() + 'static) {
    fault::meanwhile(point, move || match passage {
        1 => deed(),
        _ => nth(point, passage - 1, deed),
    });
}

/// Whether it is the tree or its copy that is another in the end.
#[test]
fn an_adoption_whose_copy_is_not_what_is_there_makes_nothing() {
    require!(Part::Loop, Part::Sqlite3);
    let world = World::new("adopt-spoilt");
    let source = world.mkdir("tree/below").parent().unwrap().to_owned();
    std::fs::write(source.join("below/file"), "cargo").unwrap();
    let request = AdoptRequest {
        source: source.clone(),
        workspace: "public".parse().unwrap(),
        name: "data".parse().unwrap(),
        size: None,
        pool: None,
    };
    for of_copy in [true, false] {
        let (mount_dir, tree) = (world.config.mount_dir.clone(), source.clone());
        fault::meanwhile(Point::AdoptCopied, move || {
            let volume = std::fs::read_dir(mount_dir).unwrap().next().unwrap().unwrap().path();
            let tree = if of_copy { volume.join("base/data") } else { tree };
            spoil(&tree.join("below/file"), 3);
        });
        let error = fails(world.engine().adopt(&ROOT, &request), ErrorKind::Conflict);
        assert!(error.message.contains("the copy is not what is there now"), "{error}");
        assert!(error.hint.unwrap().contains("what was begun is taken back"));
        fails(world.engine().volume(&ROOT, &key("data")), ErrorKind::NotFound);
        assert_eq!(std::fs::read_dir(world.pool_path().join("volumes")).unwrap().count(), 0);
        assert_eq!(
            sql(&world, "SELECT (SELECT count(*) FROM operations) + (SELECT count(*) FROM volumes)"),
            "0"
        );
        let pool = world.engine().pool(&ROOT, &"default".parse().unwrap()).unwrap();
        assert_eq!((pool.reserved.bytes(), pool.volumes), (0, 0));
        world.assert_nothing_mounted();
        let there = std::fs::read_to_string(source.join("below/file")).unwrap();
        assert_eq!(there, if of_copy { "cargo" } else { "car!o" }, "the source is only read");
    }
    world.engine().adopt(&ROOT, &request).unwrap();
    assert_eq!(
        world.inside("data", |path| std::fs::read_to_string(path.join("below/file")).unwrap()),
        "car!o"
    );
}

/// What is compared is what the disk has, and not what was cached when it was written.
#[test]
fn a_disk_that_keeps_another_byte_is_noticed_by_an_adoption() {
    require!(Part::Loop);
    let world = World::new("adopt-disk");
    let source = world.mkdir("tree");
    let cargo = "cargo that is here and nowhere else".repeat(1000);
    std::fs::write(source.join("file"), &cargo).unwrap();
    let (mount_dir, volumes) = (world.config.mount_dir.clone(), world.pool_path().join("volumes"));
    fault::meanwhile(Point::AdoptCopied, move || {
        let only = |directory: &Path| std::fs::read_dir(directory).unwrap().next().unwrap().unwrap().path();
        let base = only(&mount_dir).join("base");
        assert!(Command::new("sync").arg("-f").arg(base).status().unwrap().success());
        let image = only(&volumes).join("data.img");
        let has = std::fs::read(&image).unwrap();
        let at = has.windows(cargo.len()).position(|bytes| bytes == cargo.as_bytes()).unwrap();
        spoil(&image, at as u64 + 5000);
    });
    let (workspace, name) = ("public".parse().unwrap(), "data".parse().unwrap());
    let request = AdoptRequest { source, workspace, name, size: None, pool: None };
    fails(world.engine().adopt(&ROOT, &request), ErrorKind::Conflict);
    assert_eq!(std::fs::read_dir(world.pool_path().join("volumes")).unwrap().count(), 0);
    world.assert_nothing_mounted();
    world.engine().adopt(&ROOT, &request).unwrap();
}
