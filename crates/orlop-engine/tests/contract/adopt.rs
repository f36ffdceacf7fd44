//! Volumes made out of directory trees that were there before.

use std::{
    fs,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use orlop_engine::*;
use orlop_model::{ErrorKind, Size, VolumeType};
use orlop_testkit::{Part, command::eventually, require};

use crate::harness::*;

fn of(source: &Path, name: &str) -> AdoptRequest {
    AdoptRequest {
        source: source.to_owned(),
        workspace: "public".parse().unwrap(),
        name: name.parse().unwrap(),
        size: None,
        pool: None,
    }
}

#[test]
fn a_tree_becomes_a_volume_with_all_that_it_is() {
    require!(Part::Loop);
    let world = World::new("adopt");
    let tree = world.mkdir("tree/below");
    let source = world.join("tree");
    fs::write(tree.join("file"), "cargo").unwrap();
    std::os::unix::fs::chown(tree.join("file"), Some(7), Some(8)).unwrap();
    fs::set_permissions(tree.join("file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(tree.join("file"), source.join("again")).unwrap();
    symlink("below/file", source.join("link")).unwrap();
    let sparse = fs::File::create(source.join("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    sparse.write_all_at(b"end", (1 << 30) - 3).unwrap();
    std::os::unix::fs::chown(&source, Some(9), None).unwrap();

    fails(
        world.engine().adopt(&Caller { uid: 7, ..ROOT }, &of(&source, "data")),
        ErrorKind::PermissionDenied,
    );
    let made = world.engine().adopt(&ROOT, &of(&source, "data")).unwrap().resource;
    assert_eq!(made.manifest.volume.volume_type, VolumeType::Persistent);
    assert!(made.manifest.volume.size.bytes() < 256 * MIB, "holes take nothing");
    fails(world.engine().adopt(&ROOT, &of(&source, "data")), ErrorKind::AlreadyExists);
    world.assert_nothing_mounted();

    let path = world.attach("data", "one").unwrap().path;
    assert_eq!(fs::read_to_string(path.join("link")).unwrap(), "cargo");
    let (file, again) =
        (fs::metadata(path.join("below/file")).unwrap(), fs::metadata(path.join("again")).unwrap());
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (7, 8, 0o4751));
    assert_eq!((file.ino(), file.nlink()), (again.ino(), 2));
    let sparse = fs::metadata(path.join("sparse")).unwrap();
    assert!(sparse.len() == 1 << 30 && sparse.blocks() * 512 < MIB);
    assert_eq!(fs::metadata(&path).unwrap().uid(), 9);
    world.detach("data", "one").unwrap();
    assert_eq!(fs::read_to_string(tree.join("file")).unwrap(), "cargo", "the source stays");
}

#[test]
fn what_can_not_be_adopted_leaves_nothing_behind() {
    require!(Part::Loop);
    let world = World::new("adopt-refused");
    let source = world.mkdir("tree");
    fs::write(source.join("file"), vec![1; 20 << 20]).unwrap();
    let small = AdoptRequest { size: Some(Size::from_bytes(16 * MIB)), ..of(&source, "data") };
    let error = fails(world.engine().adopt(&ROOT, &small), ErrorKind::InvalidArgument);
    assert!(error.message.contains("20Mi") && error.hint.is_some(), "{error}");
    // Its filesystem's own structures leave no room for all of it.
    let tight = AdoptRequest { size: Some(Size::from_bytes(20 * MIB)), ..of(&source, "data") };
    fails(world.engine().adopt(&ROOT, &tight), ErrorKind::LowSpace);
    fails(world.engine().adopt(&ROOT, &of(&world.pool_path(), "data")), ErrorKind::InvalidArgument);
    fails(world.engine().adopt(&ROOT, &of(&world.join("none"), "data")), ErrorKind::InvalidArgument);
    let elsewhere = AdoptRequest { pool: Some("none".parse().unwrap()), ..of(&source, "data") };
    fails(world.engine().adopt(&ROOT, &elsewhere), ErrorKind::NotFound);
    assert!(world.engine().volume(&ROOT, &key("data")).is_err());
    assert_eq!(fs::read_dir(world.pool_path().join("volumes")).unwrap().count(), 0);
    world.assert_nothing_mounted();
}

/// In the middle of one large file too, while it is copied and while it is compared.
#[test]
fn an_adoption_is_stopped_within_a_file_and_leaves_nothing_behind() {
    require!(Part::Loop);
    let world = World::new("adopt-stop");
    let source = world.mkdir("tree");
    fs::write(source.join("file"), vec![5; 400 << 20]).unwrap();
    for phase in ["copying", "verifying"] {
        std::thread::scope(|scope| {
            let adopting = scope.spawn(|| world.engine().adopt(&ROOT, &of(&source, "data")));
            let mut seen = None;
            assert!(eventually(PATIENCE, || {
                let shown = world.engine().operations(&ROOT).pop();
                seen = shown.filter(|shown| shown.phase == phase && shown.done_bytes > 0);
                seen.is_some() || adopting.is_finished()
            }));
            let seen = seen.unwrap();
            assert!(seen.done_bytes < seen.total_bytes.unwrap(), "{seen:?}");
            world.engine().stop_operation(&ROOT, seen.id).unwrap();
            fails(adopting.join().unwrap(), ErrorKind::Interrupted);
        });
        assert!(world.engine().volume(&ROOT, &key("data")).is_err());
        assert_eq!(fs::read_dir(world.pool_path().join("volumes")).unwrap().count(), 0);
        let pool = world.engine().pool(&ROOT, &"default".parse().unwrap()).unwrap();
        assert_eq!((pool.reserved.bytes(), pool.volumes), (0, 0));
        assert!(world.engine().operations(&ROOT).is_empty());
        world.assert_nothing_mounted();
    }
    assert_eq!(fs::metadata(source.join("file")).unwrap().len(), 400 << 20);
    world.engine().adopt(&ROOT, &of(&source, "data")).unwrap();
}
