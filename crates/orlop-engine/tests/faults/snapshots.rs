//! The operations on snapshots: what is there before, what is done, and what holds after.

use orlop_engine::{fault::Point::*, *};
use orlop_model::{ErrorKind, resource::Outcome};

use crate::{
    harness::*,
    scenarios::{BASIC, PLAIN, Scenario, put_away},
};

const CLONE: &str = "size: 16Mi, accessMode: ReadWriteMany, type: temp, source: snapshot s";
const CLONE_LARGER: &str = "size: 24Mi, accessMode: ReadWriteMany, type: temp, source: volume data";
const CLONE_IN_USE: &str = "size: 16Mi, accessMode: ReadWriteMany, type: temp, source: volume data";

/// A volume in use with a file in it, on a pool that shares blocks.
const IN_USE: Scenario = Scenario {
    sharing: true,
    prepare: |world| {
        world.apply("data", PLAIN).unwrap();
        let path = world.attach("data", "one").unwrap().path;
        std::fs::write(path.join("file"), "cargo").unwrap();
    },
    end: |world| {
        put_snapshots_away(world);
        for volume in world.engine().volumes(&ROOT, &VolumeQuery::default()).unwrap().items {
            put_away(world, volume.manifest.name.as_str());
        }
    },
    ..BASIC
};

/// What a clone passes that nobody is paused for.
const CLONED: &[fault::Point] = &[
    CreateRecorded,
    CreateDirectory,
    CreateFormatted,
    CreateAllocated,
    CreateCopied,
    CreateFlushed,
    CreateDescribed,
    CreateDone,
];

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "snapshot_in_use",
        points: &[
            SnapshotRecorded,
            SnapshotBegun,
            SnapshotFrozen,
            SnapshotCopied,
            SnapshotThawed,
            SnapshotFlushed,
            SnapshotDescribed,
            SnapshotDone,
        ],
        operate: |world| world.snapshot("s", "data").map(drop),
        check: |world| {
            // It would wait for ever if it were still frozen.
            let path = world.attach("data", "one").unwrap().path;
            std::fs::write(path.join("file"), "later").unwrap();
            assert_eq!(world.snapshot_names(), ["s"]);
            world.apply("clone", CLONE).unwrap();
            holds(world, "clone", "cargo");
        },
        ..IN_USE
    },
    Scenario {
        name: "snapshot_copied",
        points: &[
            SnapshotRecorded,
            SnapshotBegun,
            SnapshotCopied,
            SnapshotThawed,
            SnapshotFlushed,
            SnapshotDescribed,
            SnapshotDone,
        ],
        sharing: false,
        prepare: |world| {
            (IN_USE.prepare)(world);
            world.detach("data", "one").unwrap();
        },
        operate: |world| world.snapshot("s", "data").map(drop),
        check: |world| {
            world.inside("data", |path| std::fs::write(path.join("file"), "later").unwrap());
            world.restore("s").unwrap();
            holds(world, "data", "cargo");
        },
        ..IN_USE
    },
    Scenario {
        name: "snapshot_configure",
        points: &[SnapshotConfigured],
        prepare: |world| {
            (IN_USE.prepare)(world);
            world.snapshot("s", "data").unwrap();
        },
        operate: |world| world.snapshot_as(&ROOT, "s", "data", "30d", false).map(drop),
        check: |world| described(world, "30d"),
        ..IN_USE
    },
    Scenario {
        name: "snapshot_group_configure",
        points: &[SnapshotConfigured],
        prepare: |world| {
            three(world);
            world.snapshot_group("g", &["data", "other", "idle"]).unwrap();
        },
        operate: |world| world.snapshot_group_for("g", &["data", "other", "idle"], Some("30d")).map(drop),
        check: |world| described(world, "30d"),
        ..IN_USE
    },
    Scenario {
        name: "snapshot_delete",
        points: &[
            SnapshotDeleteRecorded,
            SnapshotDeleteDescribed,
            SnapshotDeleteUnlinked,
            SnapshotDeleteRemoved,
            SnapshotDeleteDone,
        ],
        prepare: |world| {
            (IN_USE.prepare)(world);
            world.snapshot("s", "data").unwrap();
            world.snapshot("t", "data").unwrap();
        },
        operate: |world| match world.delete_snapshot("s") {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            other => other,
        },
        check: |world| {
            assert_eq!(world.snapshot_names(), ["t"]);
            holds(world, "data", "cargo");
        },
        ..IN_USE
    },
    Scenario {
        name: "snapshot_group",
        points: &[
            SnapshotGroupRecorded,
            SnapshotGroupBegun,
            SnapshotGroupFrozen,
            SnapshotGroupSharing,
            SnapshotGroupShared,
            SnapshotGroupThawed,
            SnapshotGroupFlushed,
            SnapshotGroupDescribing,
            SnapshotGroupDescribed,
            SnapshotGroupDone,
        ],
        prepare: three,
        operate: |world| world.snapshot_group("g", &["data", "other", "idle"]).map(drop),
        check: |world| {
            for volume in ["data", "other"] {
                // It would wait for ever if it were still frozen.
                let path = world.attach(volume, "one").unwrap().path;
                std::fs::write(path.join("file"), "later").unwrap();
            }
            assert_eq!(world.snapshot_names(), ["g-data", "g-idle", "g-other"]);
            world.apply("clone", &CLONE.replace("snapshot s", "snapshot g-other")).unwrap();
            holds(world, "clone", "cargo");
        },
        ..IN_USE
    },
    Scenario {
        name: "snapshot_group_delete",
        points: &[
            SnapshotDeleteDescribed,
            SnapshotDeleteUnlinked,
            SnapshotGroupDeleteRecorded,
            SnapshotGroupDeleteRemoving,
            SnapshotGroupDeleteRemoved,
            SnapshotGroupDeleteDone,
        ],
        prepare: |world| {
            three(world);
            world.snapshot_group("g", &["data", "other", "idle"]).unwrap();
            world.snapshot_group("h", &["data", "other"]).unwrap();
        },
        operate: |world| match world.delete_snapshot_group("g") {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            other => other,
        },
        check: |world| {
            assert_eq!(world.snapshot_names(), ["h-data", "h-other"]);
            holds(world, "data", "cargo");
        },
        ..IN_USE
    },
    Scenario {
        name: "restore",
        points: &[RestoreRecorded, RestoreCopied, RestoreKept, RestoreDescribed, RestoreSwapped, RestoreDone],
        prepare: |world| {
            (IN_USE.prepare)(world);
            world.snapshot("s", "data").unwrap();
            let path = world.attach("data", "one").unwrap().path;
            std::fs::write(path.join("file"), "later").unwrap();
            world.detach("data", "one").unwrap();
        },
        operate: |world| world.restore("s").map(drop),
        check: |world| {
            holds(world, "data", "cargo");
            // The first of those that were kept has what was in it before all.
            let names = world.snapshot_names();
            let before = names.iter().find(|name| name.starts_with("data-before-")).unwrap();
            world.restore(before).unwrap();
            holds(world, "data", "later");
        },
        ..IN_USE
    },
    Scenario {
        name: "restore_copied",
        sharing: false,
        points: &[RestoreRecorded, RestoreCopied, RestoreKept, RestoreDescribed, RestoreSwapped, RestoreDone],
        prepare: |world| of_two_sizes(world, "48Mi", "48Mi"),
        operate: |world| world.restore("s").map(drop),
        check: |world| put_back(world, "48Mi"),
        ..IN_USE
    },
    Scenario {
        name: "restore_into_larger",
        points: &[
            RestoreRecorded,
            RestoreCopied,
            RestoreGrown,
            RestoreKept,
            RestoreDescribed,
            RestoreSwapped,
            RestoreDone,
        ],
        prepare: |world| of_two_sizes(world, "300Mi", "340Mi"),
        operate: |world| world.restore("s").map(drop),
        check: |world| put_back(world, "340Mi"),
        ..IN_USE
    },
    Scenario {
        name: "restore_into_smaller",
        points: &[RestoreRecorded, RestoreCopied, RestoreKept, RestoreDescribed, RestoreSwapped, RestoreDone],
        prepare: |world| of_two_sizes(world, "48Mi", "24Mi"),
        operate: |world| world.restore("s").map(drop),
        check: |world| put_back(world, "48Mi"),
        ..IN_USE
    },
    Scenario {
        name: "clone",
        points: &[
            CreateRecorded,
            CreateDirectory,
            CreateFormatted,
            CreateAllocated,
            CreateFrozen,
            CreateCopied,
            CreateFlushed,
            CreateDescribed,
            CreateDone,
        ],
        operate: |world| world.apply("clone", CLONE_IN_USE).map(drop),
        check: |world| {
            let path = world.attach("data", "one").unwrap().path;
            std::fs::write(path.join("file"), "later").unwrap();
            holds(world, "clone", "cargo");
        },
        ..IN_USE
    },
    Scenario {
        name: "clone_copied",
        sharing: false,
        points: CLONED,
        prepare: |world| {
            (IN_USE.prepare)(world);
            world.detach("data", "one").unwrap();
        },
        operate: |world| world.apply("clone", CLONE_IN_USE).map(drop),
        check: |world| holds(world, "clone", "cargo"),
        ..IN_USE
    },
    Scenario {
        name: "clone_of_a_snapshot",
        points: CLONED,
        prepare: |world| {
            (IN_USE.prepare)(world);
            world.snapshot("s", "data").unwrap();
            let path = world.attach("data", "one").unwrap().path;
            std::fs::write(path.join("file"), "later").unwrap();
        },
        operate: |world| world.apply("clone", &CLONE_IN_USE.replace("volume data", "snapshot s")).map(drop),
        check: |world| holds(world, "clone", "cargo"),
        ..IN_USE
    },
    Scenario {
        name: "clone_larger",
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
        operate: |world| world.apply("clone", CLONE_LARGER).map(drop),
        check: |world| {
            holds(world, "clone", "cargo");
            let size = |volume| world.volume(volume).manifest.volume.size.bytes();
            world.inside("clone", |path| {
                assert!(orlop_sys::space::usage(path).unwrap().capacity > size("data"));
            });
            assert_eq!(world.apply("clone", CLONE_LARGER).unwrap().outcome, Outcome::Unchanged);
        },
        ..IN_USE
    },
];

/// A volume that had one size when its snapshot was made, and has another.
fn of_two_sizes(world: &World, then: &str, now: &str) {
    let spec = |size: &str| {
        format!(
            "size: {size}, accessMode: ReadWriteMany, type: temp, filesystem: {}",
            if then == "300Mi" { "xfs" } else { "ext4" }
        )
    };
    world.apply("data", &spec(then)).unwrap();
    world.inside("data", |path| std::fs::write(path.join("file"), "cargo").unwrap());
    world.snapshot("s", "data").unwrap();
    world.apply("data", &spec(now)).unwrap();
    world.inside("data", |path| std::fs::write(path.join("file"), "later").unwrap());
}

fn put_back(world: &World, size: &str) {
    assert_eq!(world.volume("data").manifest.volume.size.to_string(), size);
    holds(world, "data", "cargo");
    let json = std::fs::read_to_string(world.directory(&world.volume("data")).join("volume.json")).unwrap();
    assert!(json.contains(&format!("\"size\": \"{size}\"")), "{json}");
    // The first of those that were kept has what was in it before all.
    let names = world.snapshot_names();
    let before = names.iter().find(|name| name.starts_with("data-before-")).unwrap();
    world.restore(before).unwrap();
    assert_eq!(world.volume("data").manifest.volume.size.to_string(), size);
    holds(world, "data", "later");
}

#[track_caller]
fn holds(world: &World, volume: &str, content: &str) {
    world.inside(volume, |path| assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), content));
}

/// What lies beside the images, which is all that an import knows, says how long they are kept.
#[track_caller]
fn described(world: &World, retain: &str) {
    let snapshots = world.snapshots();
    assert!(!snapshots.is_empty());
    for snapshot in snapshots {
        let directory = world.pool_path().join("snapshots").join(snapshot.status.id.to_string());
        let text = std::fs::read_to_string(directory.join("snapshot.json")).unwrap();
        let file: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(file["manifest"]["snapshot"]["retain"], retain, "{text}");
        assert!(file["expiresAt"].is_string(), "{text}");
    }
}

fn put_snapshots_away(world: &World) {
    for snapshot in world.snapshots() {
        match snapshot.status.group {
            // Gone with the first one of it.
            Some(group) => match world.delete_snapshot_group(group.name.as_str()) {
                Err(error) if error.kind == ErrorKind::NotFound => {}
                other => other.unwrap(),
            },
            None => world.delete_snapshot(snapshot.manifest.name.as_str()).unwrap(),
        }
    }
}

/// Two volumes in use and one that is not, with a file in each.
fn three(world: &World) {
    (IN_USE.prepare)(world);
    for volume in ["other", "idle"] {
        world.apply(volume, PLAIN).unwrap();
        let path = world.attach(volume, "one").unwrap().path;
        std::fs::write(path.join("file"), "cargo").unwrap();
    }
    world.detach("idle", "one").unwrap();
}
