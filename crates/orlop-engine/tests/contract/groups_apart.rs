//! Groups of snapshots whose pools are not always all there.

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
