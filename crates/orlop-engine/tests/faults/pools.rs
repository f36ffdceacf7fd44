//! What is done to pools as a whole, and volumes out of directories: what is there before, what is
//! done, and what holds after.

use std::{path::PathBuf, process::Command};

use orlop_engine::{fault::Point::*, *};
use orlop_model::{ErrorKind, PoolName, Size, resource::Deletion};
use orlop_testkit::run;

use crate::{
    harness::*,
    scenarios::{BASIC, PLAIN, Scenario, keep, kept, put_away, usable},
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "pool_on_an_image",
        points: &[PoolFormatted, PoolMounted, PoolMarked],
        prepare: |world| {
            keep(world);
        },
        operate: |world| world.engine().create_pool(&ROOT, &on_image(world)).map(drop),
        check: |world| {
            kept(world);
            world.apply("data", OTHER).unwrap();
            usable(world);
        },
        end: |world| {
            put_away(world, "data");
            put_away(world, "keep");
            world.engine().remove_pool(&ROOT, &other()).unwrap();
            assert_no_image(world);
        },
        ..BASIC
    },
    Scenario {
        name: "pool_on_a_device",
        points: &[PoolFormatted, PoolMounted, PoolMarked],
        prepare: |world| {
            keep(world);
            disk(world);
        },
        operate: |world| {
            let place = PoolPlace::Device { device: disk(world), erase: None };
            world.engine().create_pool(&ROOT, &PoolRequest { place, ..on_image(world) }).map(drop)
        },
        check: |world| {
            kept(world);
            world.apply("data", OTHER).unwrap();
            usable(world);
        },
        end: |world| {
            put_away(world, "data");
            put_away(world, "keep");
            world.engine().remove_pool(&ROOT, &other()).unwrap();
            assert_eq!(world.engine().device(&ROOT, &disk(world)).unwrap().content, None);
            unplug(world);
        },
        ..BASIC
    },
    Scenario {
        name: "grow_pool",
        points: &[PoolGrowRecorded, PoolGrowImage, PoolGrowDevice, PoolGrowFilesystem],
        prepare: |world| {
            keep(world);
            world.engine().create_pool(&ROOT, &on_image(world)).unwrap();
            world.apply("data", OTHER).unwrap();
            usable(world);
        },
        operate: |world| {
            let request = GrowRequest { size: Some(Size::from_bytes(640 * MIB)), capacity: None };
            world.engine().grow_pool(&ROOT, &other(), &request).map(drop)
        },
        check: |world| {
            kept(world);
            usable(world);
            let pool = world.engine().pool(&ROOT, &other()).unwrap();
            assert!(pool.capacity.bytes() > 500 * MIB && pool.host_free.bytes() > 480 * MIB, "{pool:?}");
        },
        end: |world| {
            put_away(world, "data");
            put_away(world, "keep");
            world.engine().remove_pool(&ROOT, &other()).unwrap();
        },
        ..BASIC
    },
    Scenario {
        name: "remove_pool",
        points: &[PoolForgotten, PoolErased],
        prepare: |world| {
            keep(world);
            world.engine().create_pool(&ROOT, &on_image(world)).unwrap();
        },
        operate: remove,
        check: |world| {
            kept(world);
            assert_no_image(world);
        },
        end: |world| put_away(world, "keep"),
        ..BASIC
    },
    Scenario {
        name: "remove_pool_of_a_directory",
        points: &[PoolForgotten, PoolErased],
        prepare: |world| {
            keep(world);
            world.engine().create_pool(&ROOT, &in_directory(world)).unwrap();
        },
        operate: remove,
        check: |world| {
            kept(world);
            // What it was in is another's to use again.
            world.engine().create_pool(&ROOT, &in_directory(world)).unwrap();
            world.engine().remove_pool(&ROOT, &other()).unwrap();
        },
        end: |world| put_away(world, "keep"),
        ..BASIC
    },
    Scenario {
        name: "remove_pool_of_a_device",
        points: &[PoolForgotten, PoolErased],
        prepare: |world| {
            keep(world);
            let place = PoolPlace::Device { device: disk(world), erase: None };
            world.engine().create_pool(&ROOT, &PoolRequest { place, ..on_image(world) }).unwrap();
        },
        operate: remove,
        check: |world| {
            kept(world);
            assert_eq!(world.engine().device(&ROOT, &disk(world)).unwrap().content, None);
        },
        end: |world| {
            put_away(world, "keep");
            unplug(world);
        },
        ..BASIC
    },
    Scenario {
        name: "export_pool",
        points: &[PoolExportMarked, PoolExported],
        prepare: |world| {
            keep(world);
            world.engine().create_pool(&ROOT, &on_image(world)).unwrap();
            world.apply("data", OTHER).unwrap();
            usable(world);
            world.snapshot("s", "data").unwrap();
        },
        operate: |world| match world.engine().export_pool(&ROOT, &other()) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            done => done.map(drop),
        },
        check: |world| {
            kept(world);
            assert!(world.engine().volume(&ROOT, &key("data")).is_err());
            assert!(world.join("other.img").exists() && world.snapshots().is_empty());
        },
        end: |world| put_away(world, "keep"),
        ..BASIC
    },
    Scenario {
        name: "check_pool",
        points: &[PoolCheckMended],
        prepare: |world| {
            keep(world);
            world.apply("data", PLAIN).unwrap();
        },
        operate: |world| {
            // Here, for a start describes anew what is there.
            let spoilt = world.join("spoilt");
            if !spoilt.exists() {
                for name in ["data", "keep"] {
                    let directory = world.directory(&world.volume(name));
                    std::fs::write(directory.join("volume.json"), "{}").unwrap();
                    std::fs::write(directory.join(".volume.json.new"), "{").unwrap();
                }
                std::fs::write(spoilt, "").unwrap();
            }
            world.engine().check_pool(&ROOT, &PoolName::default_pool(), true).map(drop)
        },
        check: |world| {
            kept(world);
            usable(world);
            let report = world.engine().check_pool(&ROOT, &PoolName::default_pool(), false).unwrap();
            assert!(report.findings.is_empty(), "{:?}", report.findings);
        },
        ..BASIC
    },
    Scenario {
        name: "adopt",
        points: &[
            CreateRecorded,
            CreateDirectory,
            CreateFormatted,
            CreateAllocated,
            CreateFlushed,
            CreateDescribed,
            CreateDone,
            AdoptCopied,
            AdoptVerified,
            AttachLoop,
            AttachMounted,
            AttachOwned,
            AttachMarked,
        ],
        prepare: |world| {
            keep(world);
            std::fs::create_dir(world.join("tree")).unwrap();
            std::fs::write(world.join("tree/file"), "cargo").unwrap();
        },
        operate: |world| {
            let request = AdoptRequest {
                source: world.join("tree"),
                workspace: "public".parse().unwrap(),
                name: "data".parse().unwrap(),
                size: None,
                pool: None,
            };
            match world.engine().adopt(&ROOT, &request) {
                // It was made before the answer was lost.
                Err(error) if error.kind == ErrorKind::AlreadyExists => Ok(()),
                done => done.map(drop),
            }
        },
        check: |world| {
            kept(world);
            let path = world.attach("data", "one").unwrap().path;
            assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
            assert!(world.join("tree/file").exists());
        },
        end: |world| {
            world.detach("data", "one").unwrap();
            assert_eq!(world.delete("data").unwrap(), Deletion::Released);
            put_away(world, "keep");
        },
        ..BASIC
    },
    Scenario {
        name: "import_pool",
        points: &[PoolImportMounted, PoolImportRecorded, PoolImportDescribed],
        prepare: |world| {
            keep(world);
            world.engine().create_pool(&ROOT, &on_image(world)).unwrap();
            world.apply("data", OTHER).unwrap();
            usable(world);
            world.snapshot("s", "data").unwrap();
            world.engine().export_pool(&ROOT, &other()).unwrap();
        },
        operate: |world| {
            let place = ImportPlace::Image(world.join("other.img"));
            let known = world.engine().pool(&ROOT, &other()).is_ok();
            let name = (!known).then(other);
            let request = ImportRequest { name, place, capacity: None, overcommit: None };
            world.engine().import_pool(&ROOT, &request).map(drop)
        },
        check: |world| {
            kept(world);
            usable(world);
            let report = world.engine().check_pool(&ROOT, &other(), false).unwrap();
            assert!(report.findings.is_empty(), "{:?}", report.findings);
            assert_eq!((world.snapshot_names(), report.snapshots), (vec!["s".to_owned()], 1));
        },
        end: |world| {
            world.delete_snapshot("s").unwrap();
            put_away(world, "data");
            put_away(world, "keep");
            world.engine().remove_pool(&ROOT, &other()).unwrap();
        },
        ..BASIC
    },
    Scenario {
        name: "import_pool_of_a_directory",
        points: &[PoolImportMounted, PoolImportRecorded, PoolImportDescribed],
        prepare: |world| {
            keep(world);
            world.engine().create_pool(&ROOT, &in_directory(world)).unwrap();
            world.apply("data", OTHER).unwrap();
            usable(world);
            world.engine().export_pool(&ROOT, &other()).unwrap();
        },
        operate: |world| {
            let place = ImportPlace::Directory(world.join("other"));
            let known = world.engine().pool(&ROOT, &other()).is_ok();
            let request =
                ImportRequest { name: (!known).then(other), place, capacity: None, overcommit: None };
            world.engine().import_pool(&ROOT, &request).map(drop)
        },
        check: |world| {
            kept(world);
            usable(world);
            let report = world.engine().check_pool(&ROOT, &other(), false).unwrap();
            assert!(report.findings.is_empty(), "{:?}", report.findings);
        },
        ..BASIC
    },
    Scenario {
        name: "pool",
        points: &[PoolMarked],
        prepare: |world| {
            keep(world);
        },
        operate: |world| world.engine().create_pool(&ROOT, &in_directory(world)).map(drop),
        check: |world| {
            kept(world);
            world.apply("data", "size: 16Mi, accessMode: ReadWriteMany, type: temp, pool: other").unwrap();
            usable(world);
            put_away(world, "data");
            world.apply("data", PLAIN).unwrap();
        },
        ..BASIC
    },
];

const OTHER: &str = "size: 16Mi, accessMode: ReadWriteMany, type: temp, pool: other";

fn other() -> PoolName {
    "other".parse().unwrap()
}

/// It was removed before the answer was lost, where it is not there.
fn remove(world: &World) -> orlop_model::Result<()> {
    match world.engine().remove_pool(&ROOT, &other()) {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn on_image(world: &World) -> PoolRequest {
    let place =
        PoolPlace::Image { file: world.join("other.img"), size: Size::from_bytes(320 * MIB), sparse: true };
    PoolRequest { name: other(), place, capacity: None, overcommit: None }
}

fn in_directory(world: &World) -> PoolRequest {
    let place = PoolPlace::Directory(world.scratch().join("other"));
    PoolRequest { name: other(), place, capacity: None, overcommit: None }
}

/// Neither the image nor anything that was begun of it.
fn assert_no_image(world: &World) {
    let entries = std::fs::read_dir(world.scratch()).unwrap().flatten();
    let left: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.contains(".img") || name.contains(".orlop-")), "{left:?}");
}

/// A loop device in the role of a disk; the same for the whole case.
fn disk(world: &World) -> PathBuf {
    let file = world.join("disk");
    if !file.exists() {
        run(Command::new("truncate").args(["-s", "320M"]).arg(&file)).ok();
        run(Command::new("losetup").arg("--find").arg(&file)).ok();
    }
    let listed = run(Command::new("losetup").args(["-n", "-O", "NAME", "-j"]).arg(&file)).ok();
    PathBuf::from(listed.trim())
}

fn unplug(world: &World) {
    run(Command::new("losetup").arg("-d").arg(disk(world))).ok();
}
