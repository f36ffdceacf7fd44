//! What an orchestrator has on its node: staged, published, and away again.

use std::path::PathBuf;

use orlop_engine::fault::Point::*;
use orlop_model::resource::Volume;
use orlop_testkit::mounts;

use crate::{harness::*, scenarios::*};

/// As an orchestrator ends it: whatever is left, in its order.
fn end(world: &World) {
    let volume = world.volume("data");
    world.unpublish(&volume, "one").unwrap();
    world.unpublish(&volume, "two").unwrap();
    world.unstage(&volume).unwrap();
    for pod in ["one", "two"] {
        assert!(!world.target(pod).exists());
    }
    assert_eq!(mounted_below(world), Vec::<PathBuf>::new());
    put_away(world, "data");
}

/// What is mounted in the orchestrator's directory.
fn mounted_below(world: &World) -> Vec<PathBuf> {
    let root = world.join(KUBELET);
    mounts::mounts().into_iter().map(|mount| mount.target).filter(|path| path.starts_with(&root)).collect()
}

/// That nothing is mounted there but what is recorded.
fn only_recorded(world: &World) {
    let rows = world.volume("data").status.attachments;
    let recorded: Vec<_> = rows.into_iter().filter_map(|row| row.target).map(PathBuf::from).collect();
    let mounted = mounted_below(world);
    assert!(mounted.iter().all(|path| recorded.contains(path)), "{mounted:?} {recorded:?}");
}

fn for_group(request: &mut orlop_engine::PublishRequest) {
    request.form = orlop_engine::Form::Filesystem { group: Some(2000), options: Vec::new() };
}

const NODE: Scenario = Scenario {
    configure: serve,
    prepare: |world| {
        keep(world);
        world.apply("data", PLAIN).unwrap();
    },
    end: |world| {
        end(world);
        put_away(world, "keep");
    },
    ..BASIC
};

const DEVICE_NODE: Scenario = Scenario {
    prepare: |world| {
        keep(world);
        world.apply("data", DEVICE).unwrap();
    },
    ..NODE
};

fn data(world: &World) -> Volume {
    world.volume("data")
}

/// That one loop device has the image, or none.
fn devices(world: &World, count: usize) {
    only_recorded(world);
    assert_eq!(mounts::loops_below(world.scratch()).len(), count);
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "stage_a_device",
        points: &[AttachRecorded, AttachLoop, AttachKept, AttachBound, AttachDone],
        operate: |world| world.stage(&data(world)),
        check: |world| {
            kept(world);
            devices(world, 1);
            assert_eq!(data(world).status.attachments.len(), 1);
        },
        ..DEVICE_NODE
    },
    Scenario {
        name: "publish_a_device",
        points: &[AttachRecorded, AttachLoop, AttachKept, AttachBound, AttachDone, PublishMade],
        prepare: |world| {
            (DEVICE_NODE.prepare)(world);
            world.stage(&data(world)).unwrap();
            write_at(&world.publish(&data(world), "two").unwrap(), 4096, b"cargo").unwrap();
        },
        operate: |world| world.publish(&data(world), "one").map(drop),
        check: |world| {
            kept(world);
            devices(world, 1);
            assert_eq!(read_at(&world.target("one"), 4096, 5), b"cargo");
            assert_eq!(data(world).status.attachments.len(), 3);
        },
        ..DEVICE_NODE
    },
    Scenario {
        name: "publish_a_device_to_be_read",
        // What was not staged is staged by the way, and then exchanged for one that refuses writes.
        points: &[AttachRecorded, AttachLoop, AttachKept, AttachBound, AttachDone, PublishMade],
        operate: |world| world.publish_as(&data(world), "one", |request| request.read_only = true).map(drop),
        check: |world| {
            devices(world, 1);
            assert!(write_at(&world.target("one"), 0, b"x").is_err());
            assert_eq!(data(world).status.attachments.len(), 2);
        },
        ..DEVICE_NODE
    },
    Scenario {
        name: "unpublish_a_device",
        points: &[DetachRecorded, DetachUnbound, DetachDone, UnpublishRemoved],
        prepare: |world| {
            (DEVICE_NODE.prepare)(world);
            for pod in ["one", "two"] {
                world.publish(&data(world), pod).unwrap();
            }
            write_at(&world.target("two"), 4096, b"cargo").unwrap();
        },
        operate: |world| world.unpublish(&data(world), "one"),
        check: |world| {
            kept(world);
            devices(world, 1);
            assert!(!world.target("one").exists());
            assert_eq!(read_at(&world.target("two"), 4096, 5), b"cargo");
        },
        ..DEVICE_NODE
    },
    Scenario {
        name: "unstage_a_device",
        points: &[DetachRecorded, DetachUnbound, DetachLetGo, DetachUnmounted, DetachDone],
        prepare: |world| {
            (DEVICE_NODE.prepare)(world);
            write_at(&world.publish(&data(world), "one").unwrap(), 4096, b"cargo").unwrap();
            world.unpublish(&data(world), "one").unwrap();
        },
        operate: |world| world.unstage(&data(world)),
        check: |world| {
            kept(world);
            devices(world, 0);
            world.assert_nothing_mounted();
            assert_eq!(read_at(&world.publish(&data(world), "one").unwrap(), 4096, 5), b"cargo");
        },
        ..DEVICE_NODE
    },
    Scenario {
        name: "grow_a_device",
        points: &[GrowRecorded, GrowExtended, GrowGrown, GrowDescribed, GrowDone],
        prepare: |world| {
            (DEVICE_NODE.prepare)(world);
            write_at(&world.publish(&data(world), "one").unwrap(), 4096, b"cargo").unwrap();
        },
        operate: |world| world.apply("data", &DEVICE.replace("64Mi", "96Mi")).map(drop),
        check: |world| {
            devices(world, 1);
            assert_eq!(read_at(&world.target("one"), 4096, 5), b"cargo");
            write_at(&world.target("one"), 80 << 20, b"behind").unwrap();
            assert_eq!(std::fs::metadata(world.image(&data(world))).unwrap().len(), 96 << 20);
        },
        ..DEVICE_NODE
    },
    Scenario {
        name: "snapshot_a_device",
        sharing: true,
        points: &[
            SnapshotRecorded,
            SnapshotBegun,
            SnapshotCopied,
            SnapshotThawed,
            SnapshotFlushed,
            SnapshotDescribed,
            SnapshotDone,
        ],
        prepare: |world| {
            (DEVICE_NODE.prepare)(world);
            write_at(&world.publish(&data(world), "one").unwrap(), 4096, b"cargo").unwrap();
        },
        operate: |world| world.snapshot("s1", "data").map(drop),
        check: |world| {
            kept(world);
            devices(world, 1);
            let id = world.snapshots()[0].status.id;
            let image = world.pool_path().join("snapshots").join(id.to_string()).join("data.img");
            assert_eq!(read_at(&image, 4096, 5), b"cargo");
            write_at(&world.target("one"), 4096, b"other").unwrap();
            assert_eq!(read_at(&image, 4096, 5), b"cargo");
        },
        end: |world| {
            world.delete_snapshot("s1").unwrap();
            (NODE.end)(world);
        },
        ..DEVICE_NODE
    },
    Scenario {
        name: "clone_a_device",
        sharing: true,
        points: &[
            CreateRecorded,
            CreateDirectory,
            CreateFormatted,
            CreateAllocated,
            CreateFrozen,
            CreateCopied,
            CreateEnlarged,
            CreateFlushed,
            CreateDescribed,
            CreateDone,
        ],
        prepare: |world| {
            (DEVICE_NODE.prepare)(world);
            write_at(&world.publish(&data(world), "one").unwrap(), 4096, b"cargo").unwrap();
        },
        operate: |world| {
            let spec = DEVICE.replace("64Mi", "96Mi");
            world.apply("clone", &format!("{spec}, source: volume data")).map(drop)
        },
        check: |world| {
            kept(world);
            devices(world, 1);
            let clone = world.volume("clone");
            assert_eq!(clone.status.filesystem, None);
            let path = world.publish_as(&clone, "clone", |request| request.staging = None).unwrap();
            assert_eq!(read_at(&path, 4096, 5), b"cargo");
            write_at(&path, 80 << 20, b"behind").unwrap();
            world.unpublish(&clone, "clone").unwrap();
        },
        end: |world| {
            put_away(world, "clone");
            (NODE.end)(world);
        },
        ..DEVICE_NODE
    },
    Scenario {
        name: "stage",
        points: &[
            AttachRecorded,
            AttachLoop,
            AttachMounted,
            AttachOwned,
            AttachMarked,
            AttachBound,
            AttachDone,
        ],
        operate: |world| world.stage(&world.volume("data")),
        check: |world| {
            kept(world);
            only_recorded(world);
            assert_eq!(world.volume("data").status.attachments.len(), 1);
            assert_eq!(mounts::loops_below(world.scratch()).len(), 1);
        },
        ..NODE
    },
    Scenario {
        name: "publish",
        points: &[PublishMade, AttachRecorded, AttachBound, AttachDone],
        prepare: |world| {
            (NODE.prepare)(world);
            world.stage(&world.volume("data")).unwrap();
            let other = world.publish(&world.volume("data"), "two").unwrap();
            std::fs::write(other.join("file"), "cargo").unwrap();
        },
        operate: |world| world.publish(&world.volume("data"), "one").map(drop),
        check: |world| {
            kept(world);
            only_recorded(world);
            assert_eq!(std::fs::read_to_string(world.target("one").join("file")).unwrap(), "cargo");
            assert_eq!(world.volume("data").status.attachments.len(), 3);
        },
        ..NODE
    },
    Scenario {
        name: "publish_read_only",
        // What was not staged is staged by the way.
        points: &[
            AttachRecorded,
            AttachLoop,
            AttachMounted,
            AttachOwned,
            AttachMarked,
            AttachBound,
            AttachDone,
            PublishMade,
        ],
        operate: |world| {
            world.publish_as(&world.volume("data"), "one", |request| request.read_only = true).map(drop)
        },
        check: |world| {
            only_recorded(world);
            assert!(std::fs::write(world.target("one").join("file"), "x").is_err());
            assert_eq!(world.volume("data").status.attachments.len(), 2);
        },
        ..NODE
    },
    Scenario {
        name: "publish_for_a_group",
        points: &[
            AttachRecorded,
            AttachLoop,
            AttachMounted,
            AttachOwned,
            AttachMarked,
            AttachBound,
            AttachDone,
            PublishMade,
            PublishShared,
        ],
        operate: |world| world.publish_as(&world.volume("data"), "one", for_group).map(drop),
        check: |world| {
            use std::os::unix::fs::MetadataExt;
            only_recorded(world);
            let found = std::fs::metadata(world.target("one")).unwrap();
            assert_eq!((found.gid(), found.mode() & 0o7777), (2000, 0o2775));
        },
        ..NODE
    },
    Scenario {
        name: "unpublish",
        points: &[DetachRecorded, DetachUnbound, DetachDone, UnpublishRemoved],
        prepare: |world| {
            (NODE.prepare)(world);
            let volume = world.volume("data");
            for pod in ["one", "two"] {
                world.publish(&volume, pod).unwrap();
            }
            std::fs::write(world.target("two").join("file"), "cargo").unwrap();
        },
        operate: |world| world.unpublish(&world.volume("data"), "one"),
        check: |world| {
            kept(world);
            only_recorded(world);
            assert!(!world.target("one").exists());
            assert_eq!(std::fs::read_to_string(world.target("two").join("file")).unwrap(), "cargo");
            assert_eq!(world.volume("data").status.attachments.len(), 2);
        },
        ..NODE
    },
    Scenario {
        name: "unstage",
        points: &[DetachRecorded, DetachUnbound, DetachUnmounted, DetachDone],
        prepare: |world| {
            (NODE.prepare)(world);
            let volume = world.volume("data");
            world.publish(&volume, "one").unwrap();
            world.unpublish(&volume, "one").unwrap();
        },
        operate: |world| world.unstage(&world.volume("data")),
        check: |world| {
            kept(world);
            world.assert_nothing_mounted();
            assert_eq!(world.volume("data").status.attachments, []);
            world.publish(&world.volume("data"), "one").unwrap();
        },
        ..NODE
    },
];
