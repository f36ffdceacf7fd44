//! Groups of snapshots whose pools are not always all there.

use std::fs;

use orlop_engine::*;
use orlop_model::{ErrorKind, PoolName, pool_report::ImportFate};
use orlop_testkit::{Part, ScratchFs, require};

use super::snapshot_groups::{SMALL, another_pool, sharing};
use crate::harness::*;

#[test]
fn volumes_of_several_pools_are_one_group_and_those_that_must_be_copied_are_not() {
    require!(Part::Loop);
    let (second, third) = (ScratchFs::xfs(1 << 30), ScratchFs::ext4(256 << 20));
    let (_host, world) = sharing();
    for (name, disk) in [("second", &second), ("third", &third)] {
        another_pool(&world, name, disk.join("pool"), None);
    }
    for (name, pool) in [("a", "default"), ("b", "second"), ("c", "third")] {
        world.apply(name, &format!("{SMALL}, pool: {pool}")).unwrap();
        world.attach(name, "one").unwrap();
    }
    let error = fails(world.snapshot_group("g", &["a", "b", "c"]), ErrorKind::Unsupported);
    assert!(error.message.contains("volume public/c") && error.message.contains("pool third"), "{error}");
    assert!(world.snapshots().is_empty());
    let made = world.snapshot_group("g", &["a", "b"]).unwrap().resource;
    let pools: Vec<_> = made.snapshots.iter().map(|one| one.status.pool.as_str()).collect();
    assert_eq!(pools, ["default", "second"]);

    // Carried away with one pool and brought back, it is one again.
    for name in ["a", "b", "c"] {
        world.detach(name, "one").unwrap();
    }
    let exported: PoolName = "second".parse().unwrap();
    world.engine().export_pool(&ROOT, &exported).unwrap();
    let half = world.engine().snapshot_group(&ROOT, &snapshot_key("g")).unwrap();
    assert_eq!(half.snapshots.len(), 1);
    let request = ImportRequest {
        place: ImportPlace::Directory(second.join("pool")),
        name: Some(exported.clone()),
        capacity: None,
        overcommit: None,
    };
    let back = world.engine().import_pool(&ROOT, &request).unwrap();
    assert!(back.snapshots.iter().all(|one| one.fate == ImportFate::Imported), "{back:?}");
    let whole = world.engine().snapshot_group(&ROOT, &snapshot_key("g")).unwrap();
    assert_eq!((whole.id, whole.snapshots.len()), (made.id, 2));
    fails(world.delete_snapshot("g-b"), ErrorKind::Protected);

    // All of it away, and its name taken meanwhile.
    world.engine().export_pool(&ROOT, &exported).unwrap();
    world.delete_snapshot_group("g").unwrap();
    world.snapshot("g", "a").unwrap();
    world.engine().import_pool(&ROOT, &request).unwrap();
    let group = world.snapshots().into_iter().find_map(|one| one.status.group).unwrap();
    assert!(group.id == made.id && group.name.as_str().starts_with("g-"), "{group:?}");
    let key = SnapshotKey { workspace: "public".parse().unwrap(), name: group.name };
    world.engine().delete_snapshot_group(&ROOT, &key).unwrap();
    assert_eq!(world.snapshot_names(), ["g"]);
}

/// One whose disk is gone keeps the others only until somebody says that they go.
#[test]
fn where_a_pool_is_missing_the_others_of_a_group_are_deleted_one_by_one() {
    require!(Part::Loop);
    let (host, world) = sharing();
    another_pool(&world, "second", host.join("second"), None);
    for (name, pool) in [("a", "default"), ("b", "second"), ("c", "default")] {
        world.apply(name, &format!("{SMALL}, pool: {pool}")).unwrap();
    }
    world.snapshot_group("g", &["a", "b", "c"]).unwrap();
    fails(world.delete_snapshot("g-a"), ErrorKind::Protected);
    let (there, away) = (host.join("second"), host.join("away"));
    fs::rename(&there, &away).unwrap();
    let error = fails(world.delete_snapshot_group("g"), ErrorKind::Unavailable);
    let hint = error.hint.unwrap_or_default();
    assert!(hint.contains("mount the disk") && hint.contains("one by one"), "{hint}");
    // It is there when its disk is, and nobody can say that now.
    fails(world.delete_snapshot("g-b"), ErrorKind::Unavailable);
    world.delete_snapshot("g-a").unwrap();
    assert_eq!(world.snapshot_names(), ["g-b", "g-c"]);
    fs::rename(&away, &there).unwrap();
    fails(world.delete_snapshot("g-c"), ErrorKind::Protected);
    world.delete_snapshot_group("g").unwrap();
    assert!(world.snapshots().is_empty());
}
