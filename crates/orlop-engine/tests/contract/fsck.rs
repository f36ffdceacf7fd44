//! Filesystems that are really damaged: told, checked, repaired, and used again.

use std::{path::Path, process::Command, time::Duration};

use orlop_engine::*;
use orlop_model::{
    ErrorKind, Result,
    resource::{Verdict, VolumeCheck, VolumeState},
};
use orlop_testkit::{Part, ScratchFs, command::eventually, require, run};

use crate::harness::*;

const SOON: Duration = Duration::from_secs(20);
const LOOK: CheckRequest = CheckRequest { repair: false, discard_log: false };
const REPAIR: CheckRequest = CheckRequest { repair: true, discard_log: false };

impl World {
    fn check(&self, name: &str, request: CheckRequest) -> Result<VolumeCheck> {
        self.engine().check(&ROOT, &key(name), request)
    }
}

/// A volume with something in it that nobody uses.
fn filled(world: &World, spec: &str) -> orlop_model::resource::Volume {
    let made = world.apply("data", spec).unwrap().resource;
    let path = world.attach("data", "one").unwrap().path;
    std::fs::write(path.join("file"), "cargo").unwrap();
    std::fs::create_dir(path.join("more")).unwrap();
    for number in 0..50 {
        std::fs::write(path.join("more").join(number.to_string()), [7; 5000]).unwrap();
    }
    world.detach("data", "one").unwrap();
    world.assert_nothing_mounted();
    made
}

fn cargo(world: &World) {
    let path = world.attach("data", "again").unwrap().path;
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
    std::fs::write(path.join("new"), "x").unwrap();
    assert!(!world.volume("data").status.usage.unwrap().is_abnormal());
    world.detach("data", "again").unwrap();
}

/// Makes the inode that a name in `data` has count links that are not there, as a lost write would.
fn miscount(image: &Path, name: &str) {
    let request = format!("set_inode_field /data/{name} links_count 9");
    run(Command::new("debugfs").args(["-w", "-R", &request]).arg(image)).ok();
}

const SMALL: &str = "size: 32Mi, accessMode: ReadWriteMany, type: temp";

#[test]
fn a_whole_filesystem_is_clean_and_one_in_use_is_not_checked() {
    require!(Part::Loop);
    let world = World::new("fsck-clean");
    filled(&world, SMALL);
    let checked = world.check("data", LOOK).unwrap();
    assert_eq!((checked.verdict, checked.state), (Verdict::Clean, VolumeState::Active));
    assert_eq!(world.check("data", REPAIR).unwrap().verdict, Verdict::Clean, "nothing is done to it");
    world.attach("data", "one").unwrap();
    let error = fails(world.check("data", LOOK), ErrorKind::InUse);
    assert!(error.message.contains("docker mount one"), "{error}");
    world.detach("data", "one").unwrap();
    let user = Caller { uid: 1000, ..ROOT };
    let refused = world.engine().check(&user, &key("data"), REPAIR);
    fails(refused, ErrorKind::PermissionDenied);
    world.destroy("data");
}

#[test]
fn a_damaged_ext4_is_told_and_repaired_on_a_copy() {
    require!(Part::Loop);
    let world = World::new("fsck-ext4");
    let made = filled(&world, SMALL);
    let image = world.image(&made);
    miscount(&image, "file");
    let before = std::fs::read(&image).unwrap();
    let checked = world.check("data", LOOK).unwrap();
    assert_eq!((checked.verdict, checked.state), (Verdict::Damaged, VolumeState::Error));
    assert!(!checked.said.is_empty());
    assert!(std::fs::read(&image).unwrap() == before, "a look changes nothing");
    let reason = world.volume("data").status.reason.unwrap();
    assert!(reason.contains("orlop volume fsck -n data -w public --repair"), "{reason}");
    assert!(world.told("Error"));
    let repaired = world.check("data", REPAIR).unwrap();
    assert_eq!((repaired.verdict, repaired.state), (Verdict::Repaired, VolumeState::Active));
    assert!(world.told("Repaired") && world.told("Restored"), "{:?}", world.events());
    assert_eq!(world.check("data", LOOK).unwrap().verdict, Verdict::Clean);
    let files: Vec<_> = std::fs::read_dir(world.directory(&made)).unwrap().flatten().collect();
    assert_eq!(files.len(), 2, "nothing is left beside it: {files:?}");
    cargo(&world);
    world.destroy("data");
}

#[test]
fn an_ext4_whose_superblock_is_gone_is_brought_back() {
    require!(Part::Loop);
    let world = World::new("fsck-superblock");
    let made = filled(&world, SMALL);
    let image = std::fs::OpenOptions::new().write(true).open(world.image(&made)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&image, &[0x5a; 1024], 1024).unwrap();
    fails(world.attach("data", "one"), ErrorKind::Damaged);
    assert_eq!(world.state("data"), VolumeState::Error);
    let repaired = world.check("data", REPAIR).unwrap();
    assert_eq!((repaired.verdict, repaired.state), (Verdict::Repaired, VolumeState::Active));
    cargo(&world);
    world.destroy("data");
}

#[test]
fn an_ext4_that_stopped_is_active_again_after_a_check() {
    require!(Part::Loop);
    let world = World::new("fsck-stopped");
    filled(&world, SMALL);
    let path = world.attach("data", "one").unwrap().path;
    let device = orlop_sys::mount::mounted_at(path.parent().unwrap()).unwrap().unwrap().device;
    std::fs::write(format!("/sys/fs/ext4/loop{}/trigger_fs_error", device.minor), "damaged").unwrap();
    assert!(eventually(SOON, || world.state("data") == VolumeState::Error));
    let error = fails(world.check("data", LOOK), ErrorKind::InUse);
    assert!(error.hint.unwrap().contains("can't be checked"));
    world.detach("data", "one").unwrap();
    let checked = world.check("data", REPAIR).unwrap();
    assert_ne!(checked.verdict, Verdict::Damaged, "{checked:?}");
    assert_eq!(checked.state, VolumeState::Active);
    cargo(&world);
    world.destroy("data");
}

/// The pool is on an XFS: the copy shares its blocks.
#[test]
fn a_damaged_xfs_is_repaired_where_blocks_are_shared() {
    require!(Part::Loop, Part::Xfs);
    let host = ScratchFs::xfs(1 << 30);
    let world = World::new("fsck-xfs");
    let request = PoolRequest {
        name: "fast".parse().unwrap(),
        place: PoolPlace::Directory(host.join("pool")),
        capacity: None,
        overcommit: None,
    };
    world.engine().create_pool(&ROOT, &request).unwrap();
    let spec = "size: 320Mi, accessMode: ReadWriteMany, type: temp, filesystem: xfs, pool: fast";
    let made = filled(&world, spec);
    let image = world.image(&made);
    // The root of the inode tree of the first group: what is in it can still be found.
    run(Command::new("xfs_db").args(["-x", "-c", "agf 1", "-c", "write -d freeblks 3"]).arg(&image)).ok();
    let checked = world.check("data", LOOK).unwrap();
    assert_eq!((checked.verdict, checked.state), (Verdict::Damaged, VolumeState::Error), "{checked:?}");
    let repaired = world.check("data", REPAIR).unwrap();
    assert_eq!((repaired.verdict, repaired.state), (Verdict::Repaired, VolumeState::Active));
    cargo(&world);
    world.destroy("data");
}

#[test]
fn what_can_t_be_repaired_is_as_it_was() {
    require!(Part::Loop);
    let world = World::new("fsck-lost");
    let made = filled(&world, SMALL);
    let image = world.image(&made);
    std::fs::write(&image, vec![0x5a; 32 << 20]).unwrap();
    let error = fails(world.check("data", REPAIR), ErrorKind::Damaged);
    assert!(error.message.contains("could not be repaired, and is as it was"), "{error}");
    assert!(std::fs::read(&image).unwrap().iter().all(|byte| *byte == 0x5a));
    let files: Vec<_> = std::fs::read_dir(world.directory(&made)).unwrap().flatten().collect();
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(world.state("data"), VolumeState::Error);
    world.destroy("data");
}
