//! The operations of the suite: what is there before, what is done, and what holds after.

use std::path::PathBuf;

use orlop_engine::{
    fault::Point::{self, *},
    *,
};
use orlop_model::{
    Error, ErrorKind,
    resource::{Deletion, Front, VolumeState},
};
use orlop_testkit::command::eventually;

use crate::harness::*;

pub struct Scenario {
    pub name: &'static str,
    /// The points it passes.
    pub points: &'static [Point],
    pub configure: fn(&mut EngineConfig),
    pub prepare: fn(&World),
    /// Succeeds however often it is repeated.
    pub operate: fn(&World) -> Result<(), Error>,
    pub check: fn(&World),
    /// Puts everything away.
    pub end: fn(&World),
    /// The engine does it by itself: nobody sees it fail.
    pub in_background: bool,
    /// Whether the pool's filesystem shares blocks.
    pub sharing: bool,
}

pub const PLAIN: &str = "size: 16Mi, accessMode: ReadWriteMany, type: temp";
const OWNED: &str = "size: 16Mi, accessMode: ReadWriteMany, type: temp, uid: 1000, mode: 0770";
const PREALLOCATED: &str = "size: 16Mi, accessMode: ReadWriteMany, type: temp, preallocate: true";

pub const BASIC: Scenario = Scenario {
    name: "",
    points: &[],
    configure: |_| (),
    prepare: |world| {
        keep(world);
    },
    operate: |_| Ok(()),
    check: kept,
    end: |world| {
        put_away(world, "data");
        put_away(world, "keep");
    },
    in_background: false,
    sharing: false,
};

const CREATED: &[Point] = &[
    CreateRecorded,
    CreateDirectory,
    CreateFormatted,
    CreateAllocated,
    CreateFlushed,
    CreateDescribed,
    CreateDone,
];

pub const SCENARIOS: &[Scenario] = &[
    crate::repair::REPAIR,
    Scenario {
        name: "create",
        points: CREATED,
        operate: |world| world.apply("data", PLAIN).map(drop),
        check: |world| {
            kept(world);
            usable(world);
        },
        ..BASIC
    },
    Scenario {
        name: "create_preallocated",
        points: CREATED,
        operate: |world| world.apply("data", PREALLOCATED).map(drop),
        check: |world| {
            usable(world);
            assert!(world.volume("data").status.allocated_bytes.unwrap() >= 16 * MIB);
        },
        ..BASIC
    },
    Scenario {
        name: "create_from_blank",
        points: CREATED,
        configure: |config| config.blanks = 1,
        prepare: |world| {
            keep(world);
            assert!(eventually(PATIENCE, || blanks(world).len() == 1), "{:?}", blanks(world));
        },
        operate: |world| world.apply("data", PLAIN).map(drop),
        check: |world| {
            kept(world);
            usable(world);
        },
        ..BASIC
    },
    Scenario {
        name: "change_attached",
        points: &[ChangeRecorded, ChangeDescribed, AttachOwned, AttachMarked],
        prepare: |world| {
            world.apply("data", PLAIN).unwrap();
            world.attach("data", "one").unwrap();
        },
        operate: |world| world.apply("data", OWNED).map(drop),
        check: |world| {
            use std::os::unix::fs::MetadataExt;
            let path = world.attach("data", "one").unwrap().path;
            let found = std::fs::metadata(path).unwrap();
            assert_eq!((found.uid(), found.mode() & 0o7777), (1000, 0o770));
            let json =
                std::fs::read_to_string(world.directory(&world.volume("data")).join("volume.json")).unwrap();
            assert!(json.contains("\"uid\": 1000"), "{json}");
        },
        end: |world| put_away(world, "data"),
        ..BASIC
    },
    Scenario {
        name: "attach",
        points: &[
            AttachRecorded,
            AttachLoop,
            AttachMounted,
            AttachOwned,
            AttachMarked,
            AttachBound,
            AttachDone,
        ],
        prepare: |world| {
            keep(world);
            world.apply("data", OWNED).unwrap();
        },
        operate: |world| world.attach("data", "one").map(drop),
        check: attached,
        ..BASIC
    },
    Scenario {
        name: "attach_read_only",
        points: &[AttachRecorded, AttachBound, AttachDone],
        prepare: |world| {
            world.apply("data", PLAIN).unwrap();
            world.attach("data", "writer").unwrap();
        },
        operate: |world| world.attach_as(&DOCKER, "data", "reader", true).map(drop),
        check: |world| {
            let path = world.attach_as(&DOCKER, "data", "reader", true).unwrap().path;
            assert!(std::fs::write(path.join("x"), "x").is_err());
            assert_eq!(world.volume("data").status.attachments.len(), 2);
        },
        end: |world| put_away(world, "data"),
        ..BASIC
    },
    Scenario {
        name: "mount_on_the_host",
        points: &[
            AttachRecorded,
            AttachLoop,
            AttachMounted,
            AttachOwned,
            AttachMarked,
            AttachBound,
            AttachDone,
        ],
        prepare: |world| {
            keep(world);
            world.apply("data", PLAIN).unwrap();
            std::fs::create_dir(target(world)).unwrap();
        },
        operate: |world| world.mount("data", &target(world), MountAccess::ByMode).map(drop),
        check: |world| {
            std::fs::write(target(world).join("file"), "x").unwrap();
            assert_eq!(world.volume("data").status.attachments.len(), 1);
        },
        ..BASIC
    },
    Scenario {
        name: "detach",
        points: &[DetachRecorded, DetachUnbound, UnpublishUnmounted, DetachUnmounted, DetachDone],
        prepare: |world| {
            keep(world);
            world.apply("data", PLAIN).unwrap();
            let path = world.attach("data", "one").unwrap().path;
            std::fs::write(path.join("file"), "cargo").unwrap();
        },
        operate: |world| world.detach("data", "one"),
        check: |world| {
            kept(world);
            world.assert_nothing_mounted();
            let path = world.attach("data", "two").unwrap().path;
            assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
        },
        ..BASIC
    },
    Scenario {
        name: "detach_the_last_of_a_front",
        points: &[DetachRecorded, DetachUnbound, UnpublishUnmounted, DetachDone],
        configure: |config| config.stale_after = std::time::Duration::from_secs(3600),
        prepare: |world| {
            world.apply("data", PLAIN).unwrap();
            let path = world.attach_as(&PODMAN, "data", "host", false).unwrap().path;
            std::fs::write(path.join("file"), "cargo").unwrap();
            world.attach("data", "one").unwrap();
        },
        operate: |world| world.detach("data", "one"),
        check: |world| {
            let path = |front| world.engine().attached_path(&front, &key("data")).unwrap();
            assert_eq!(path(DOCKER), None);
            let podman = path(PODMAN).unwrap().path;
            assert_eq!(std::fs::read_to_string(podman.join("file")).unwrap(), "cargo");
        },
        end: |world| {
            world.detach_as(&PODMAN, "data", "host").unwrap();
            put_away(world, "data");
        },
        ..BASIC
    },
    Scenario {
        name: "take_over_from_a_stale_id",
        points: &[
            AttachRecorded,
            AttachLoop,
            AttachMounted,
            AttachBound,
            AttachDone,
            UnpublishUnmounted,
            DropClosed,
        ],
        prepare: |world| {
            keep(world);
            world.make("data", "ReadWriteOnce", "temp");
            let path = world.attach_as(&PODMAN, "data", "host", false).unwrap().path;
            std::fs::write(path.join("file"), "cargo").unwrap();
            world.let_ids_go_stale();
        },
        operate: |world| world.attach("data", "one").map(drop),
        check: |world| {
            kept(world);
            let docker = world.attach("data", "one").unwrap().path;
            assert_eq!(std::fs::read_to_string(docker.join("file")).unwrap(), "cargo");
            let own = docker.parent().unwrap().parent().unwrap();
            assert!(!own.join("podman").exists(), "Podman would share it");
            assert_eq!(world.volume("data").status.attachments.len(), 1);
        },
        ..BASIC
    },
    Scenario {
        name: "unmount_from_the_host",
        points: &[DetachRecorded, DetachUnbound, DetachUnmounted, DetachDone],
        prepare: |world| {
            world.apply("data", PLAIN).unwrap();
            std::fs::create_dir(target(world)).unwrap();
            world.mount("data", &target(world), MountAccess::ByMode).unwrap();
            std::fs::write(target(world).join("file"), "cargo").unwrap();
        },
        operate: |world| match world.engine().unmount(&ROOT, &target(world)) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            other => other,
        },
        check: |world| {
            world.assert_nothing_mounted();
            assert_eq!(std::fs::read_dir(target(world)).unwrap().count(), 0);
            let path = world.attach("data", "two").unwrap().path;
            assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
        },
        end: |world| put_away(world, "data"),
        ..BASIC
    },
    Scenario {
        name: "delete_temp",
        points: &[DeleteRecorded, DeleteDetached, DeleteDescribed, DeleteUnlinked, DeleteRemoved, DeleteDone],
        prepare: |world| {
            keep(world);
            world.apply("data", PLAIN).unwrap();
        },
        operate: delete,
        check: |world| {
            kept(world);
            assert!(world.engine().volume(&ROOT, &key("data")).is_err());
        },
        end: |world| put_away(world, "keep"),
        ..BASIC
    },
    Scenario {
        name: "delete_persistent",
        points: &[DeleteRecorded, DeleteDetached, DeleteDescribed, DeleteDone],
        prepare: |world| {
            world.make("data", "ReadWriteMany", "persistent");
            let path = world.attach("data", "one").unwrap().path;
            std::fs::write(path.join("file"), "cargo").unwrap();
            world.detach("data", "one").unwrap();
        },
        operate: delete,
        check: |world| {
            let query = VolumeQuery { released: true, ..VolumeQuery::default() };
            let released = world.engine().volumes(&ROOT, &query).unwrap().items;
            assert_eq!(released.len(), 1);
            assert_eq!(released[0].status.state, VolumeState::Released);
            assert!(world.image(&released[0]).exists());
            let json = std::fs::read_to_string(world.directory(&released[0]).join("volume.json")).unwrap();
            assert!(json.contains("\"released\""), "{json}");
        },
        end: |_| (),
        ..BASIC
    },
    Scenario {
        name: "blank",
        points: &[BlankFormatted],
        configure: |config| config.blanks = 1,
        prepare: |_| (),
        operate: |world| {
            world.apply("data", PLAIN)?;
            // Made in the background, half a second later and again after a failure.
            std::thread::sleep(std::time::Duration::from_secs(2));
            Ok(())
        },
        check: |world| {
            usable(world);
            assert!(blanks(world).iter().all(|name| name.ends_with(".img")), "{:?}", blanks(world));
        },
        end: |world| put_away(world, "data"),
        in_background: true,
        sharing: false,
    },
    Scenario {
        name: "grow_attached",
        points: &[GrowRecorded, GrowExtended, GrowGrown, GrowDescribed, GrowDone],
        prepare: |world| {
            world.apply("data", SMALL_XFS).unwrap();
            let path = world.attach("data", "one").unwrap().path;
            std::fs::write(path.join("file"), "cargo").unwrap();
        },
        operate: |world| world.apply("data", LARGE_XFS).map(drop),
        check: |world| {
            let path = world.attach("data", "one").unwrap().path;
            assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
            sized(world, 600 * MIB);
            assert!(orlop_sys::space::usage(&path).unwrap().capacity > 500 * MIB);
        },
        end: |world| put_away(world, "data"),
        ..BASIC
    },
    Scenario {
        name: "grow_detached",
        points: &[AttachLoop, AttachMounted, GrowRecorded, GrowExtended, GrowGrown, GrowDescribed, GrowDone],
        prepare: |world| {
            world.apply("data", SMALL_XFS).unwrap();
            cargo(world);
        },
        operate: |world| world.apply("data", LARGE_XFS).map(drop),
        check: |world| {
            world.assert_nothing_mounted();
            has_cargo(world);
            sized(world, 600 * MIB);
        },
        end: |world| put_away(world, "data"),
        ..BASIC
    },
    Scenario {
        name: "shrink",
        points: &[ReplaceRecorded, ReplaceMade, ReplaceSwapped, ReplaceDescribed, ReplaceDone],
        prepare: |world| {
            world.apply("data", "size: 64Mi, accessMode: ReadWriteMany, type: temp").unwrap();
            cargo(world);
        },
        operate: |world| world.apply("data", "size: 32Mi, accessMode: ReadWriteMany, type: temp").map(drop),
        check: |world| {
            has_cargo(world);
            sized(world, 32 * MIB);
        },
        end: |world| put_away(world, "data"),
        ..BASIC
    },
    Scenario {
        name: "migrate",
        points: &[
            MigrateRecorded,
            MigrateCopied,
            MigrateVerified,
            MigrateDescribed,
            MigrateSwapped,
            MigrateRemoved,
            MigrateDone,
        ],
        prepare: |world| {
            other_pool(world);
            world.apply("data", PLAIN).unwrap();
            cargo(world);
        },
        operate: |world| migrate(world, Some("other"), None),
        check: |world| {
            has_cargo(world);
            assert_eq!(world.volume("data").status.pool.as_str(), "other");
            assert_eq!(std::fs::read_dir(world.pool_path().join("volumes")).unwrap().count(), 0);
        },
        end: |world| put_away(world, "data"),
        ..BASIC
    },
    Scenario {
        name: "migrate_files",
        points: &[
            AttachLoop,
            AttachMounted,
            AttachOwned,
            AttachMarked,
            MigrateRecorded,
            MigrateCopied,
            MigrateVerified,
            MigrateDescribed,
            MigrateSwapped,
            MigrateRemoved,
            MigrateDone,
        ],
        prepare: |world| {
            other_pool(world);
            world.apply("data", PLAIN).unwrap();
            cargo(world);
        },
        operate: |world| migrate(world, Some("other"), Some("32Mi")),
        check: |world| {
            has_cargo(world);
            sized(world, 32 * MIB);
        },
        end: |world| put_away(world, "data"),
        ..BASIC
    },
    Scenario {
        name: "remake",
        points: &[
            AttachLoop,
            AttachMounted,
            AttachOwned,
            AttachMarked,
            ReplaceRecorded,
            ReplaceMade,
            ReplaceSwapped,
            ReplaceDescribed,
            ReplaceDone,
        ],
        prepare: |world| {
            world.apply("data", PLAIN).unwrap();
            cargo(world);
        },
        operate: |world| migrate(world, None, Some("32Mi")),
        check: |world| {
            has_cargo(world);
            sized(world, 32 * MIB);
        },
        end: |world| put_away(world, "data"),
        ..BASIC
    },
];

const SMALL_XFS: &str = "size: 300Mi, accessMode: ReadWriteMany, type: temp, filesystem: xfs";
const LARGE_XFS: &str = "size: 600Mi, accessMode: ReadWriteMany, type: temp, filesystem: xfs";

fn cargo(world: &World) {
    let path = world.attach("data", "one").unwrap().path;
    std::fs::write(path.join("file"), "cargo").unwrap();
    world.detach("data", "one").unwrap();
}

fn has_cargo(world: &World) {
    let path = world.attach("data", "two").unwrap().path;
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
    world.detach("data", "two").unwrap();
}

/// Record, description and image say the same, and nothing lies beside the image.
fn sized(world: &World, size: u64) {
    let volume = world.volume("data");
    assert_eq!(volume.manifest.volume.size.bytes(), size);
    assert_eq!(std::fs::metadata(world.image(&volume)).unwrap().len(), size);
    let directory = world.directory(&volume);
    let json = std::fs::read_to_string(directory.join("volume.json")).unwrap();
    assert!(
        json.contains(&format!("\"sizeBytes\": {size}")) || json.contains(&format!("\"sizeBytes\":{size}"))
    );
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 2);
}

fn other_pool(world: &World) {
    let place = PoolPlace::Directory(world.scratch().join("other"));
    let request = PoolRequest { name: "other".parse().unwrap(), place, capacity: None, overcommit: None };
    world.engine().create_pool(&ROOT, &request).unwrap();
}

fn migrate(world: &World, pool: Option<&str>, size: Option<&str>) -> Result<(), Error> {
    let request = MigrateRequest {
        pool: pool.map(|pool| pool.parse().unwrap()),
        size: size.map(|size| size.parse().unwrap()),
    };
    world.engine().migrate(&ROOT, &key("data"), &request).map(drop)
}

fn target(world: &World) -> PathBuf {
    world.scratch().join("target")
}

fn blanks(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.pool_path().join("blanks")).unwrap().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A volume that no fault may touch, with a file in it.
pub fn keep(world: &World) {
    world.apply("keep", PLAIN).unwrap();
    let path = world.attach("keep", "one").unwrap().path;
    std::fs::write(path.join("file"), "cargo").unwrap();
    world.detach("keep", "one").unwrap();
}

pub fn kept(world: &World) {
    let path = world.attach("keep", "again").unwrap().path;
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
    world.detach("keep", "again").unwrap();
}

pub fn usable(world: &World) {
    let path = world.attach("data", "probe").unwrap().path;
    std::fs::write(path.join("file"), "x").unwrap();
    world.detach("data", "probe").unwrap();
}

fn attached(world: &World) {
    kept(world);
    let path = world.attach("data", "one").unwrap().path;
    std::fs::write(path.join("file"), "x").unwrap();
    assert_eq!(world.volume("data").status.attachments.len(), 1);
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(path).unwrap().uid(), 1000);
}

fn delete(world: &World) -> Result<(), Error> {
    match world.delete("data") {
        Ok(Deletion::Destroyed | Deletion::Released | Deletion::Deleting) => Ok(()),
        // It was deleted before the answer was lost.
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

pub fn put_away(world: &World, name: &str) {
    for attachment in world.volume(name).status.attachments {
        match attachment.target {
            Some(_) if attachment.front == Front::Csi => {}
            Some(target) => world.engine().unmount(&ROOT, target.as_ref()).unwrap(),
            None => world.detach(name, &attachment.scope).unwrap(),
        }
    }
    world.destroy(name);
}
