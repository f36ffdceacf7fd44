//! Filesystems that are really damaged: told, checked, repaired, and used again.

use std::{path::Path, process::Command, time::Duration};

use orlop_engine::*;
use orlop_model::{
    ErrorKind, Result, Size,
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
    // Nothing backs its user, which may not be dropped before the error is seen.
    let world = World::with("fsck-stopped", |config| config.stale_after = Duration::from_secs(60));
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

/// The pool does not share blocks: the copy would take what is promised to others.
#[test]
fn a_repair_takes_no_room_that_others_were_promised() {
    require!(Part::Loop);
    let world = World::new("fsck-room");
    let place = PoolPlace::Directory(world.join("small"));
    let capacity = Some(Size::from_bytes(64 * MIB));
    let request = PoolRequest { name: "small".parse().unwrap(), place, capacity, overcommit: None };
    world.engine().create_pool(&ROOT, &request).unwrap();
    let reserved = || world.engine().pool(&ROOT, &"small".parse().unwrap()).unwrap().reserved.bytes();
    let spec = format!("{SMALL}, pool: small");
    let made = filled(&world, &spec);
    world.apply("other", &spec).unwrap();
    let image = world.image(&made);
    miscount(&image, "file");
    let before = std::fs::read(&image).unwrap();
    let error = fails(world.check("data", REPAIR), ErrorKind::PoolFull);
    assert!(error.message.contains("data is worked on in a copy"), "{error}");
    assert!(error.hint.unwrap().contains("nothing was changed"));
    assert!(std::fs::read(&image).unwrap() == before);
    assert_eq!(reserved(), 64 * MIB);
    world.destroy("other");
    assert_eq!(world.check("data", REPAIR).unwrap().verdict, Verdict::Repaired);
    assert_eq!(reserved(), 32 * MIB);
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

/// The checker is content with what it leaves, and puts all that it finds into `lost+found`.
#[test]
fn a_repair_that_leaves_no_volume_is_none() {
    require!(Part::Loop);
    let world = World::new("fsck-nothing-left");
    let made = filled(&world, SMALL);
    let image = world.image(&made);
    let debugfs = |request: &str| run(Command::new("debugfs").args(["-w", "-R", request]).arg(&image)).ok();
    // Its root has lost its directories.
    debugfs("unlink data");
    debugfs("unlink .orlop");
    let before = std::fs::read(&image).unwrap();
    let error = fails(world.check("data", REPAIR), ErrorKind::Damaged);
    assert!(error.message.contains("leaves no volume: "), "{error}");
    assert!(std::fs::read(&image).unwrap() == before, "it is as it was");
    let files: Vec<_> = std::fs::read_dir(world.directory(&made)).unwrap().flatten().collect();
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(world.state("data"), VolumeState::Error);
    world.assert_nothing_mounted();
    world.destroy("data");
}

/// Where in an XFS image its log is: from and to, in bytes.
fn log_of(image: &Path) -> (u64, u64) {
    let asked = ["logstart", "logblocks", "blocksize", "agblocks", "agblklog"];
    let number = |field: &str| {
        let said =
            run(Command::new("xfs_db").args(["-r", "-c", "sb 0", "-c", &format!("p {field}")]).arg(image))
                .ok();
        said.trim().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let [start, blocks, size, group, bits] = asked.map(number);
    let begin = ((start >> bits) * group + (start & ((1 << bits) - 1))) * size;
    (begin, begin + blocks * size)
}

/// The records of the log that are not in their place yet, oldest first: where each begins.
fn unwritten(image: &Path) -> Vec<u64> {
    const MAGIC: u32 = 0xfeed_babe;
    let bytes = std::fs::read(image).unwrap();
    let (begin, end) = log_of(image);
    let word = |at: u64| u32::from_be_bytes(bytes[at as usize..at as usize + 4].try_into().unwrap());
    let long = |at: u64| u64::from(word(at)) << 32 | u64::from(word(at + 4));
    let mut records: Vec<_> = (begin..end)
        .step_by(512)
        .filter(|at| word(*at) == MAGIC && u64::from(word(at + 20)) == (at - begin) / 512)
        .map(|at| (long(at + 16), long(at + 24), at))
        .collect();
    records.sort_unstable();
    let tail = records.last().unwrap().1;
    records.into_iter().filter(|(lsn, ..)| *lsn >= tail).map(|(_, _, at)| at).collect()
}

/// An XFS as power loss leaves it: copied while it was written to, with changes in its log alone.
#[test]
fn a_log_that_was_left_dirty_is_replayed_or_given_up_when_it_can_t_be() {
    require!(Part::Loop, Part::Xfs);
    let world = World::new("fsck-log");
    let made = filled(&world, "size: 320Mi, accessMode: ReadWriteMany, type: temp, filesystem: xfs");
    let (image, crashed) = (world.image(&made), world.join("crashed.img"));
    let path = world.attach("data", "one").unwrap().path;
    // Each is in the log when this returns, and its inode is nowhere else yet.
    for number in 0..60 {
        let file = std::fs::File::create(path.join(format!("late-{number}"))).unwrap();
        file.sync_all().unwrap();
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                std::fs::write(path.join("more").join(format!("busy-{number}")), [3; 3000]).unwrap();
                number += 1;
            }
        });
        run(Command::new("cp").arg("--sparse=always").args([&image, &crashed])).ok();
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    world.detach("data", "one").unwrap();
    world.assert_nothing_mounted();
    let crash = || run(Command::new("cp").arg("--sparse=always").args([&crashed, &image])).ok();
    let dirty = orlop_sys::filesystem::check(
        &crashed,
        orlop_sys::filesystem::FsKind::Xfs,
        orlop_sys::filesystem::CheckMode::ReadOnly,
        Duration::from_secs(60),
    );
    assert_eq!(dirty.unwrap(), orlop_sys::filesystem::CheckOutcome::LogDirty);
    let records = unwritten(&crashed);
    assert!(records.len() > 30, "{records:?}");

    // A log that can be replayed is, and loses nothing.
    crash();
    let checked = world.check("data", LOOK).unwrap();
    assert_eq!((checked.verdict, checked.state), (Verdict::Clean, VolumeState::Active), "{checked:?}");
    let path = world.attach("data", "late").unwrap().path;
    assert!((0..60).all(|number| path.join(format!("late-{number}")).exists()));
    world.detach("data", "late").unwrap();
    cargo(&world);
    world.assert_nothing_mounted();

    // One that is damaged in the middle can't be.
    crash();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&image).unwrap();
    for record in &records[records.len() / 4..records.len() / 2] {
        std::os::unix::fs::FileExt::write_all_at(&file, &[0x5a; 64], record + 512 + 64).unwrap();
    }
    file.sync_all().unwrap();
    drop(file);
    fails(world.attach("data", "one"), ErrorKind::Damaged);
    assert_eq!(world.state("data"), VolumeState::Error);
    let before = run(Command::new("sha256sum").arg(&image)).ok();
    let checked = world.check("data", LOOK).unwrap();
    assert_eq!((checked.verdict, checked.state), (Verdict::Damaged, VolumeState::Error), "{checked:?}");
    let error = fails(world.check("data", REPAIR), ErrorKind::Damaged);
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("--discard-log")), "{error}");
    assert_eq!(run(Command::new("sha256sum").arg(&image)).ok(), before, "it is as it was");
    let discard = CheckRequest { repair: true, discard_log: true };
    let repaired = world.check("data", discard).unwrap();
    assert_eq!((repaired.verdict, repaired.state), (Verdict::Repaired, VolumeState::Active), "{repaired:?}");
    assert_eq!(world.check("data", LOOK).unwrap().verdict, Verdict::Clean);
    // What was in its place before is there; what was in the log alone is not.
    cargo(&world);
    let path = world.attach("data", "late").unwrap().path;
    assert!((0..60).any(|number| !path.join(format!("late-{number}")).exists()));
    assert_eq!(std::fs::read(path.join("more/49")).unwrap(), [7; 5000]);
    world.detach("data", "late").unwrap();
    world.destroy("data");
}
