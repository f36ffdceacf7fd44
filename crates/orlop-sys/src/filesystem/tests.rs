//! Parameters by tables; making, checking and filling real filesystems.

#![allow(clippy::unwrap_used)]

use super::mkfs::{format_uuid, parse_version};
use super::*;
use crate::testing::{MIB, PATIENCE, Scratch, Volume, may_mount, plain_mount};
use crate::{image, loopdev, mount, space};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

const GIB: u64 = 1 << 30;
const UUID: [u8; 16] =
    [0x01, 0x93, 0x4a, 0x5b, 0x6c, 0x7d, 0x7e, 0x8f, 0x90, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6, 0x07];

fn argument<'a>(parameters: &'a FormatParameters, option: &str) -> &'a str {
    let at = parameters.arguments.iter().position(|argument| argument == option).unwrap();
    &parameters.arguments[at + 1]
}

#[test]
fn ext4_parameters_follow_the_size() {
    for (size, block, journal, ratio) in [
        (16 * MIB, 1024, "size=1", "8192"),
        (63 * MIB, 1024, "size=1", "8192"),
        (64 * MIB, 4096, "size=4", "8192"),
        (511 * MIB, 4096, "size=15", "8192"),
        (512 * MIB, 4096, "size=16", "16384"),
        (GIB, 4096, "size=32", "16384"),
        (10 * GIB, 4096, "size=128", "16384"),
        (10 << 40, 4096, "size=128", "16384"),
    ] {
        let made = format_parameters(FsKind::Ext4, size).unwrap();
        assert_eq!((made.block_size, made.loop_block_size), (block, block));
        assert_eq!(argument(&made, "-J"), journal, "{size}");
        assert_eq!(argument(&made, "-i"), ratio, "{size}");
        assert_eq!(argument(&made, "-m"), "0");
        assert!(argument(&made, "-O").starts_with("none,"));
    }
    assert!(format_parameters(FsKind::Ext4, 16 * MIB - 1).is_err());
}

/// What is in a new filesystem is pinned by the same rule as its parameters.
#[test]
fn the_template_changes_with_the_rule_only() {
    if !may_mount() {
        return;
    }
    const RAISE: &str = "raise RULE in orlop-engine's backend/image/format.rs with this: blanks of the old \
         template are still taken";
    let template = super::template::Template::get().unwrap();
    let read = |path| std::fs::read_to_string(path).unwrap();
    assert_eq!(read(template.mke2fs_config()), "[fs_types]\n\text4 = {\n\t}\n", "{RAISE}");
    let prototype = "/\n0 0\nd--755 0 0\ndata d--755 0 0\n$\n.orlop d--700 0 0\n$\n$\n";
    assert_eq!(read(template.xfs_prototype()), prototype, "{RAISE}");
    let mut root: Vec<_> = std::fs::read_dir(template.root())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), entry.metadata().unwrap().mode()))
        .collect();
    root.sort();
    assert_eq!(root, [(".orlop".into(), 0o040_700), ("data".into(), 0o040_755)], "{RAISE}");
    assert_eq!(std::fs::metadata(template.root()).unwrap().mode(), 0o040_755, "{RAISE}");
}

#[test]
fn xfs_parameters_follow_the_size() {
    for (size, groups, log) in [(XFS_MINIMUM, 4, 64), (GIB, 4, 64), (225 * GIB, 4, 112), (10 << 40, 11, 1024)]
    {
        let made = format_parameters(FsKind::Xfs, size).unwrap();
        assert_eq!((made.block_size, made.loop_block_size), (4096, 4096));
        assert_eq!(argument(&made, "-d"), format!("agcount={groups}"));
        let wanted = format!("size={log}m,");
        assert!(argument(&made, "-l").starts_with(&wanted), "{made:?}");
    }
    assert!(format_parameters(FsKind::Xfs, XFS_MINIMUM - 1).is_err());
}

#[test]
fn uuids_and_versions_are_written_and_read() {
    assert_eq!(format_uuid(UUID), "01934a5b-6c7d-7e8f-90a1-b2c3d4e5f607");
    assert_eq!(parse_version("mkfs.xfs version 6.10.1\n"), Some((6, 10)));
    assert_eq!(parse_version("mkfs.xfs version 7\n"), None);
    assert_eq!(parse_version(""), None);
}

/// Sizes at which something about the layout changes, and some that are no round number.
const SIZES: [(FsKind, u64); 9] = [
    (FsKind::Ext4, 16 * MIB),
    (FsKind::Ext4, 16 * MIB + 12_345),
    (FsKind::Ext4, 50_000_000),
    (FsKind::Ext4, 64 * MIB),
    (FsKind::Ext4, GIB),
    (FsKind::Ext4, 225 * GIB),
    (FsKind::Xfs, XFS_MINIMUM),
    (FsKind::Xfs, 1_000_000_000),
    (FsKind::Xfs, 225 * GIB),
];

#[test]
fn a_new_filesystem_is_sparse_sound_and_says_who_it_is() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path("image");
    for (kind, size) in SIZES {
        let file = image::create(&path, size).unwrap();
        let parameters = format_parameters(kind, size).unwrap();
        mkfs(&path, &parameters, Some(UUID), PATIENCE).unwrap();
        let found = superblock(&path).unwrap().unwrap();
        assert_eq!((found.kind, found.uuid), (kind, UUID));
        // ext4 leaves out a last block group that has no room for its own metadata.
        assert!(found.size <= size && found.size > size - 5 * MIB, "{found:?}");
        assert_ne!(found.needs_recovery, Some(true));
        let space = image::space_of(&file).unwrap();
        assert_eq!(space.length, size, "mkfs never changes the length");
        assert!(space.allocated < 8 * MIB, "{kind} of {size}: {space:?}");
        let outcome = check(&path, kind, CheckMode::ReadOnly, PATIENCE).unwrap();
        assert_eq!(outcome, CheckOutcome::Clean, "{kind} of {size}");
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn the_root_holds_the_two_directories_with_their_modes() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let target = scratch.directory("mount");
    for (kind, size) in SIZES {
        let volume = Volume::new(&scratch, "image", kind, size);
        volume.mount(&target);
        for (name, mode) in [(".", 0o755), (DATA_DIRECTORY, 0o755), (OWN_DIRECTORY, 0o700)] {
            let found = std::fs::metadata(target.join(name)).unwrap();
            assert!(found.is_dir());
            assert_eq!(found.mode() & 0o7777, mode, "{kind} of {size}: {name}");
            assert_eq!((found.uid(), found.gid()), (0, 0));
        }
        let data = target.join(DATA_DIRECTORY);
        assert_eq!(std::fs::read_dir(data).unwrap().count(), 0);
        let capacity = space::usage(&target).unwrap().capacity;
        assert!(capacity <= size && capacity > size / 4 * 3, "{capacity}");
        mount::unmount(&target).unwrap();
        let identity = crate::FileIdentity::of_path(&volume.image).unwrap();
        assert!(loopdev::wait_gone(identity, PATIENCE).unwrap());
        std::fs::remove_file(&volume.image).unwrap();
    }
}

/// How much a user who is not root can write into one file until there is no room.
fn fill(directory: &Path) -> u64 {
    std::os::unix::fs::chown(directory, Some(65_534), Some(65_534)).unwrap();
    let file = directory.join("filled");
    let done = Command::new("dd")
        .args(["if=/dev/zero", "bs=1M", "conv=fsync"])
        .arg(format!("of={}", file.display()))
        .env("LC_ALL", "C")
        .uid(65_534)
        .gid(65_534)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(text.contains("No space left on device"), "{text}");
    std::fs::metadata(&file).unwrap().len()
}

#[test]
fn a_user_can_write_what_is_promised_and_never_more_than_the_size() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let target = scratch.directory("mount");
    for (kind, size, percent) in
        [(FsKind::Ext4, 16 * MIB, 75), (FsKind::Ext4, GIB, 93), (FsKind::Xfs, GIB, 89)]
    {
        let volume = Volume::new(&scratch, "image", kind, size);
        volume.mount(&target);
        // The directory above must let others through to it.
        let written = fill(&target.join(DATA_DIRECTORY));
        eprintln!("{kind} of {size}: {:.2} %", written as f64 * 100.0 / size as f64);
        assert!(written <= size);
        assert!(written * 100 >= size * percent, "{kind}: {written} of {size}");
        let allocated = image::space(&volume.image).unwrap().allocated;
        // The host's own metadata of a long file is counted with it.
        assert!(allocated <= size + size / 256 + 64 * 1024, "{allocated}");
        mount::unmount(&target).unwrap();
        let identity = crate::FileIdentity::of_path(&volume.image).unwrap();
        assert!(loopdev::wait_gone(identity, PATIENCE).unwrap());
        std::fs::remove_file(&volume.image).unwrap();
    }
}

#[test]
fn ext4_grows_while_mounted_within_the_room_that_is_kept() {
    let ext4 = format_parameters(FsKind::Ext4, GIB).unwrap();
    let grown = 16 * GIB / 4096;
    assert!(argument(&ext4, "-E").ends_with(&format!(",resize={grown}")));
    // Beyond what 32 bits can count there is nothing to keep.
    let large = format_parameters(FsKind::Ext4, 64 << 40).unwrap();
    assert!(!argument(&large, "-E").contains("resize="));
}

#[test]
fn damage_is_told_from_a_log_to_replay() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let target = scratch.directory("mount");
    for (kind, size) in [(FsKind::Ext4, 64 * MIB), (FsKind::Xfs, XFS_MINIMUM)] {
        let volume = Volume::new(&scratch, "image", kind, size);
        let crashed = scratch.path("crashed");
        volume.mount(&target);
        for name in 0..50 {
            std::fs::write(target.join(format!("data/{name}")), b"content").unwrap();
        }
        rustix::fs::syncfs(std::fs::File::open(&target).unwrap()).unwrap();
        // What the disk holds when the machine loses power now.
        std::fs::copy(&volume.image, &crashed).unwrap();
        mount::unmount(&target).unwrap();
        let identity = crate::FileIdentity::of_path(&volume.image).unwrap();
        assert!(loopdev::wait_gone(identity, PATIENCE).unwrap());

        let look = |path: &Path, mode| check(path, kind, mode, PATIENCE).unwrap();
        assert_eq!(look(&volume.image, CheckMode::ReadOnly), CheckOutcome::Clean);
        assert_eq!(look(&crashed, CheckMode::ReadOnly), CheckOutcome::LogDirty);
        let safe = look(&crashed, CheckMode::Safe);
        match kind {
            FsKind::Ext4 => assert_eq!(safe, CheckOutcome::Clean),
            FsKind::Xfs => assert_eq!(safe, CheckOutcome::LogDirty),
        }
        let again = Volume { image: crashed.clone(), parameters: volume.parameters.clone() };
        again.mount(&target);
        assert_eq!(std::fs::read(target.join("data/49")).unwrap(), b"content");
        mount::unmount(&target).unwrap();
        let identity = crate::FileIdentity::of_path(&crashed).unwrap();
        assert!(loopdev::wait_gone(identity, PATIENCE).unwrap());
        assert_eq!(look(&crashed, CheckMode::ReadOnly), CheckOutcome::Clean);

        // Metadata overwritten with rubbish, the superblock first left and then hit too.
        let file = image::open_existing(&volume.image).unwrap();
        file.write_all_at(&[0xa5; 256 * 1024], 4096).unwrap();
        let outcome = look(&volume.image, CheckMode::ReadOnly);
        assert!(matches!(outcome, CheckOutcome::Damaged { .. }), "{outcome:?}");
        file.write_all_at(&[0xa5; 4096], 0).unwrap();
        let outcome = look(&volume.image, CheckMode::Safe);
        assert!(matches!(outcome, CheckOutcome::Damaged { .. }), "{outcome:?}");
        std::fs::remove_file(&volume.image).unwrap();
    }
}

#[test]
fn small_damage_to_ext4_is_repaired_without_loss() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let target = scratch.directory("mount");
    let volume = Volume::new(&scratch, "image", FsKind::Ext4, 64 * MIB);
    volume.mount(&target);
    std::fs::write(target.join("data/file"), b"content").unwrap();
    mount::unmount(&target).unwrap();
    let identity = crate::FileIdentity::of_path(&volume.image).unwrap();
    assert!(loopdev::wait_gone(identity, PATIENCE).unwrap());
    // The filesystem says that it met an error, and its count of free blocks is wrong.
    let done = Command::new("debugfs")
        .args(["-w", "-R", "ssv free_blocks_count 7"])
        .arg(&volume.image)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let done = Command::new("debugfs").args(["-w", "-R", "ssv state 2"]).arg(&volume.image).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let outcome = check(&volume.image, FsKind::Ext4, CheckMode::Safe, PATIENCE).unwrap();
    assert!(matches!(outcome, CheckOutcome::Repaired { .. }), "{outcome:?}");
    let outcome = check(&volume.image, FsKind::Ext4, CheckMode::ReadOnly, PATIENCE).unwrap();
    assert_eq!(outcome, CheckOutcome::Clean);
    volume.mount(&target);
    assert_eq!(std::fs::read(target.join("data/file")).unwrap(), b"content");
}

#[test]
fn a_truncated_image_shows_in_its_superblock() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    for (kind, size) in [(FsKind::Ext4, 64 * MIB), (FsKind::Xfs, XFS_MINIMUM)] {
        let volume = Volume::new(&scratch, kind.name(), kind, size);
        let file = image::open_existing(&volume.image).unwrap();
        file.set_len(size / 2).unwrap();
        let found = superblock(&volume.image).unwrap().unwrap();
        assert!(found.size > image::space(&volume.image).unwrap().length);
        for mode in [CheckMode::ReadOnly, CheckMode::Safe] {
            let outcome = check(&volume.image, kind, mode, PATIENCE).unwrap();
            assert!(matches!(outcome, CheckOutcome::Damaged { .. }), "{outcome:?}");
        }
        let device = volume.attach();
        let node = device.node();
        let target = scratch.directory(&format!("mount-{kind}"));
        assert!(mount::mount_filesystem(plain_mount(&node, kind), &target).is_err());
        file.set_len(32).unwrap();
        assert_eq!(superblock(&volume.image).unwrap(), None);
    }
}

#[test]
fn what_is_no_filesystem_has_no_superblock() {
    assert_eq!(superblock::parse(&[]), None);
    assert_eq!(superblock::parse(&[0; 2048]), None);
    assert_eq!(superblock::parse(b"XFSB"), None);
    // A block size shift that no integer holds, and a size that overflows.
    let mut ext4 = [0xff; 2048];
    ext4[1024 + 0x38] = 0x53;
    ext4[1024 + 0x39] = 0xef;
    assert_eq!(superblock::parse(&ext4), None);
    let mut xfs = [0xff; 2048];
    xfs[..4].copy_from_slice(b"XFSB");
    assert_eq!(superblock::parse(&xfs), None);
}

#[test]
fn a_failing_mkfs_is_an_error_with_its_last_words() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path("image");
    drop(image::create(&path, MIB).unwrap());
    let xfs = format_parameters(FsKind::Xfs, GIB).unwrap();
    let error = mkfs(&path, &xfs, None, PATIENCE).unwrap_err();
    assert!(error.to_string().starts_with("mkfs.xfs failed with exit status 1: "), "{error}");
    let ext4 = format_parameters(FsKind::Ext4, GIB).unwrap();
    let missing = mkfs(&scratch.path("missing"), &ext4, None, PATIENCE).unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
}

fn is_mounted_beside(scratch: &Scratch, image: &Path, parameters: &FormatParameters) -> Vec<u8> {
    let target = scratch.directory("beside");
    let device = loopdev::attach(
        image,
        loopdev::LoopOptions { block_size: parameters.loop_block_size, direct_io: true, read_only: false },
    )
    .unwrap();
    let node = device.node();
    mount::mount_filesystem(plain_mount(&node, parameters.kind), &target).unwrap();
    let found = std::fs::read(target.join("file")).unwrap();
    std::fs::write(target.join("other"), vec![5; 100_000]).unwrap();
    let identity = device.identity();
    drop(device);
    mount::unmount(&target).unwrap();
    assert!(loopdev::wait_gone(identity, PATIENCE).unwrap());
    std::fs::remove_dir(&target).unwrap();
    found
}

#[test]
fn a_copy_of_a_frozen_filesystem_gets_a_uuid_of_its_own_and_is_mounted_beside_it() {
    if !may_mount() {
        return;
    }
    for (kind, size) in [(FsKind::Ext4, 16 * MIB), (FsKind::Ext4, 200 * MIB), (FsKind::Xfs, 400 * MIB)] {
        let scratch = Scratch::new();
        let volume = Volume::new(&scratch, "image", kind, size);
        let target = scratch.directory("mount");
        volume.mount(&target);
        let mut source = superblock(&volume.image).unwrap().unwrap().uuid;
        for round in 0..4_u8 {
            let content = vec![round; 1_000_000];
            std::fs::write(target.join("file"), &content).unwrap();
            let copy = scratch.path(&format!("copy{round}"));
            let frozen = crate::freeze::freeze(&target, PATIENCE).unwrap();
            std::fs::copy(&volume.image, &copy).unwrap();
            frozen.thaw().unwrap();
            if !log_is_clean(&copy, kind).unwrap() {
                replay_log(&copy, kind, volume.parameters.loop_block_size).unwrap();
                assert!(log_is_clean(&copy, kind).unwrap(), "{kind} after {round}");
            }
            let mut uuid = UUID;
            uuid[0] = round;
            let before = image::space(&copy).unwrap();
            set_uuid(&copy, kind, uuid).unwrap();
            let after = superblock(&copy).unwrap().unwrap();
            assert_eq!(after.uuid, uuid);
            assert_ne!(uuid, source);
            // The program would have written the whole log.
            assert!(image::space(&copy).unwrap().allocated < before.allocated + MIB);
            assert_eq!(check(&copy, kind, CheckMode::ReadOnly, PATIENCE).unwrap(), CheckOutcome::Clean);
            assert_eq!(is_mounted_beside(&scratch, &copy, &volume.parameters), content);
            assert!(log_is_clean(&copy, kind).unwrap());
            assert_eq!(check(&copy, kind, CheckMode::ReadOnly, PATIENCE).unwrap(), CheckOutcome::Clean);
            assert_eq!(superblock(&copy).unwrap().unwrap().uuid, uuid);
            // And a copy of a copy.
            set_uuid(&copy, kind, UUID).unwrap();
            assert_eq!(is_mounted_beside(&scratch, &copy, &volume.parameters), content);
            source = superblock(&volume.image).unwrap().unwrap().uuid;
        }
        mount::unmount(&target).unwrap();
    }
}

#[test]
fn a_log_with_something_in_it_is_not_clean() {
    if !may_mount() {
        return;
    }
    for kind in [FsKind::Ext4, FsKind::Xfs] {
        let scratch = Scratch::new();
        let volume = Volume::new(&scratch, "image", kind, 320 * MIB);
        assert!(log_is_clean(&volume.image, kind).unwrap(), "{kind} as it is made");
        let target = scratch.directory("mount");
        volume.mount(&target);
        std::fs::write(target.join("file"), b"x").unwrap();
        rustix::fs::syncfs(std::fs::File::open(&target).unwrap()).unwrap();
        let copy = scratch.path("copy");
        std::fs::copy(&volume.image, &copy).unwrap();
        assert!(!log_is_clean(&copy, kind).unwrap(), "{kind} in use");
        mount::unmount(&target).unwrap();
        // The device is freed, and what it wrote is there, a moment later.
        crate::testing::wait_until("it is clean", || log_is_clean(&volume.image, kind).unwrap());
    }
}
