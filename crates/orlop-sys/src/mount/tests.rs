//! Against real filesystems on loop devices.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::loopdev::{LoopOptions, attach as attach_loop};
use crate::mountinfo;
use crate::testing::{MIB, PATIENCE, Scratch, Volume, may_mount, plain_mount};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

fn options_at(path: &Path) -> Vec<String> {
    let entry = mountinfo::mounted_at(path).unwrap().unwrap();
    entry.options.split(',').map(str::to_owned).collect()
}

fn has(options: &[String], wanted: &str) -> bool {
    options.iter().any(|option| option == wanted)
}

/// A filesystem mounted at `base`, and its root directory opened.
fn mounted_volume(scratch: &Scratch) -> (PathBuf, OwnedFd, Mounted) {
    let base = scratch.directory("base");
    let mounted = Volume::small(scratch, "image").mount(&base);
    let root = open_directory(&base).unwrap();
    (base, root, mounted)
}

#[test]
fn a_filesystem_is_always_mounted_without_set_user_id_and_devices() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let target = scratch.directory("target");
    let device = Volume::small(&scratch, "image").attach();
    let node = device.node();
    let wanted = FilesystemMount {
        synchronous: true,
        attributes: MountAttributes { no_exec: true, no_atime: true, no_dir_atime: true, read_only: false },
        ..plain_mount(&node, FsKind::Ext4)
    };
    let mounted = mount_filesystem(wanted, &target).unwrap();
    assert_eq!(mounted.device, device.device());
    let options = options_at(&target);
    for option in ["nosuid", "nodev", "noexec", "noatime", "nodiratime", "rw"] {
        assert!(has(&options, option), "{option} is not in {options:?}");
    }
    let entry = mountinfo::mounted_at(&target).unwrap().unwrap();
    assert!(entry.filesystem_options.contains("sync"), "{entry:?}");
    assert!(entry.filesystem_options.contains("discard"), "{entry:?}");
    assert_eq!(entry.source, node);
}

#[test]
fn a_filesystem_can_be_mounted_from_an_image_that_is_never_written() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let target = scratch.directory("target");
    for (kind, size) in [(FsKind::Ext4, 16 * MIB), (FsKind::Xfs, 512 * MIB)] {
        let volume = Volume::new(&scratch, kind.name(), kind, size);
        let before = File::open(&volume.image).unwrap().metadata().unwrap();
        let options =
            LoopOptions { block_size: volume.parameters.loop_block_size, direct_io: true, read_only: true };
        let device = attach_loop(&volume.image, options).unwrap();
        let node = device.node();
        let wanted = FilesystemMount { read_only: true, discard: false, ..plain_mount(&node, kind) };
        mount_filesystem(wanted, &target).unwrap();
        assert!(condition(&target).unwrap().unwrap().stopped);
        let error = std::fs::write(target.join("data/x"), b"x").unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::ROFS));
        unmount(&target).unwrap();
        let after = File::open(&volume.image).unwrap().metadata().unwrap();
        assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    }
}

#[test]
fn what_does_not_mount_is_an_error_and_leaves_nothing() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let target = scratch.directory("target");
    let image = scratch.path("zeros");
    drop(crate::image::create(&image, 16 * MIB).unwrap());
    let options = LoopOptions { block_size: 4096, direct_io: false, read_only: false };
    let device = attach_loop(&image, options).unwrap();
    let node = device.node();
    for kind in [FsKind::Ext4, FsKind::Xfs] {
        let error = mount_filesystem(plain_mount(&node, kind), &target).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(node.to_str().unwrap()), "{text}");
        assert!(error.errno().is_some() && !error.is_busy(), "{text}");
    }
    let missing = scratch.path("no-device");
    let error = mount_filesystem(plain_mount(&missing, FsKind::Ext4), &target).unwrap_err();
    assert!(error.to_string().contains("no-device"), "{error}");
    let link = scratch.path("link");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert!(mount_filesystem(plain_mount(&node, FsKind::Ext4), &link).is_err());
    assert!(scratch.mounts().is_empty());
}

#[test]
fn a_device_that_another_filesystem_has_is_busy() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let (one, two) = (scratch.directory("one"), scratch.directory("two"));
    let device = Volume::small(&scratch, "image").attach();
    let node = device.node();
    mount_filesystem(plain_mount(&node, FsKind::Ext4), &one).unwrap();
    let error = mount_filesystem(plain_mount(&node, FsKind::Xfs), &two).unwrap_err();
    assert!(error.is_busy(), "{error}");
}

#[test]
fn a_directory_is_bound_with_attributes_of_its_own() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let (base, root, base_mount) = mounted_volume(&scratch);
    let target = scratch.directory("target");
    let attributes = MountAttributes { read_only: true, no_exec: true, no_atime: true, no_dir_atime: false };
    let target_fd = open_directory(&target).unwrap();
    let bound = bind(&root, Path::new("data"), attributes, &target_fd).unwrap();
    assert_eq!(bound.device, base_mount.device);
    assert_eq!(mounted_at(&target).unwrap(), Some(bound));
    let entry = mountinfo::mounted_at(&target).unwrap().unwrap();
    assert_eq!(entry.root, Path::new("/data"));
    assert!(entry.read_only && !entry.filesystem_read_only);
    let options = options_at(&target);
    for option in ["nosuid", "nodev", "noexec", "noatime", "ro"] {
        assert!(has(&options, option), "{option} is not in {options:?}");
    }
    // Read-only here, while the base is written, and what is written is seen.
    std::fs::write(base.join("data/file"), b"content").unwrap();
    assert_eq!(std::fs::read(target.join("file")).unwrap(), b"content");
    let error = std::fs::write(target.join("file"), b"x").unwrap_err();
    assert_eq!(Errno::from_io_error(&error), Some(Errno::ROFS));
    assert!(!target.join("../.orlop").exists());

    let plain = scratch.directory("plain");
    let plain_fd = open_directory(&plain).unwrap();
    bind(&root, Path::new("data"), MountAttributes::default(), &plain_fd).unwrap();
    let options = options_at(&plain);
    assert!(has(&options, "relatime") && has(&options, "rw"), "{options:?}");
    std::fs::write(plain.join("file"), b"new").unwrap();
    assert_eq!(std::fs::read(target.join("file")).unwrap(), b"new");
}

#[test]
fn nothing_outside_the_volume_is_bound() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let (base, root, _) = mounted_volume(&scratch);
    let target = scratch.directory("target");
    let target_fd = open_directory(&target).unwrap();
    std::os::unix::fs::symlink("/etc", base.join("data/link")).unwrap();
    std::fs::write(base.join("data/file"), b"").unwrap();
    for path in ["data/link", "data/../../x", "..", "/etc", "data/file", "data/none"] {
        let refused = bind(&root, Path::new(path), MountAttributes::default(), &target_fd);
        assert!(refused.is_err(), "{path}");
    }
    assert!(mounted_at(&target).unwrap().is_none());
}

#[test]
fn what_is_mounted_inside_a_bind_does_not_keep_its_source_busy() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let shared = scratch.directory("shared");
    make_shared_mount(&shared).unwrap();
    let (base, target) = (shared.join("base"), shared.join("target"));
    std::fs::create_dir(&base).unwrap();
    std::fs::create_dir(&target).unwrap();
    let volume = Volume::small(&scratch, "image");
    volume.mount(&base);
    std::fs::create_dir(base.join("data/inside")).unwrap();
    let root = open_directory(&base).unwrap();
    let target_fd = open_directory(&target).unwrap();
    bind(&root, Path::new("data"), MountAttributes::default(), &target_fd).unwrap();
    // Somebody mounts on a directory of the volume, through the bind.
    let other = Volume::small(&scratch, "other");
    other.mount(&target.join("inside"));
    assert!(mounted_at(&base.join("data/inside")).unwrap().is_none());
    drop(root);
    unmount(&base).unwrap();
}

#[test]
fn unmounting_tells_busy_from_not_mounted() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let target = scratch.directory("target");
    let error = unmount(&target).unwrap_err();
    assert!(matches!(error, SysError::NotMounted { .. }), "{error}");
    assert!(unmount(&scratch.path("missing")).unwrap_err().is_not_found());

    let volume = Volume::small(&scratch, "image");
    volume.mount(&target);
    let open = File::create(target.join("data/open")).unwrap();
    assert!(unmount(&target).unwrap_err().is_busy());
    drop(open);
    let link = scratch.path("link");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert!(unmount(&link).is_err(), "a link is not followed");
    unmount(&target).unwrap();
    let identity = crate::FileIdentity::of_path(&volume.image).unwrap();
    assert!(crate::loopdev::wait_gone(identity, PATIENCE).unwrap());
}

#[test]
fn only_the_expected_device_is_unmounted_below_a_directory() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let parent = scratch.directory("parent");
    let name = OsStr::new("target with space");
    std::fs::create_dir(parent.join(name)).unwrap();
    let parent_fd = open_directory(&parent).unwrap();
    let wrong = DeviceNumber { major: 7, minor: 999_999 };
    let error = unmount_below(&parent_fd, name, wrong).unwrap_err();
    assert!(matches!(error, SysError::NotMounted { .. }), "{error}");

    let mounted = Volume::small(&scratch, "image").mount(&parent.join(name));
    assert_eq!(mounted_below(&parent_fd, name).unwrap(), Some(mounted));
    let error = unmount_below(&parent_fd, name, wrong).unwrap_err();
    assert!(matches!(error, SysError::WrongDevice { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(parent.join(name).to_str().unwrap()), "{text}");
    assert_eq!(mounted_below(&parent_fd, name).unwrap(), Some(mounted));
    unmount_below(&parent_fd, name, mounted.device).unwrap();
    assert_eq!(mounted_below(&parent_fd, name).unwrap(), None);
    let missing = unmount_below(&parent_fd, OsStr::new("missing"), wrong).unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
}

#[test]
fn a_shared_mount_is_made_once() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let directory = scratch.directory("mounts");
    for _ in 0..3 {
        make_shared_mount(&directory).unwrap();
        let mounts = scratch.mounts();
        assert!(mounts.len() <= 1, "{mounts:?}");
    }
    let below = directory.join("below");
    std::fs::create_dir(&below).unwrap();
    // Already on a shared mount.
    assert!(!make_shared_mount(&below).unwrap());
    Volume::small(&scratch, "image").mount(&below);
    let entry = mountinfo::mounted_at(&below).unwrap().unwrap();
    assert!(entry.shared.is_some(), "{entry:?}");
    unmount(&below).unwrap();

    if let Some(entry) = mountinfo::mounted_at(&directory).unwrap() {
        assert!(entry.shared.is_some());
        // A crash between the bind and the change of its propagation.
        set_propagation(&directory, PropagationType::Private).unwrap();
        assert!(make_shared_mount(&directory).unwrap());
        let entry = mountinfo::mounted_at(&directory).unwrap().unwrap();
        assert!(entry.shared.is_some());
        assert_eq!(scratch.mounts().len(), 1);
    }
    let error = set_propagation(&below, PropagationType::Shared).unwrap_err();
    assert!(matches!(error, SysError::NotMounted { .. }), "{error}");
}

#[test]
fn the_condition_of_a_filesystem_is_told() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let ext4 = scratch.directory("ext4");
    assert_eq!(condition(&ext4).unwrap(), None, "nothing is mounted there");
    let mounted = Volume::small(&scratch, "small").mount(&ext4);
    let well = condition(&ext4).unwrap().unwrap();
    assert_eq!((well.stopped, well.errors, well.warnings), (false, Some(0), Some(0)));
    assert_eq!(well.space, crate::space::usage(&ext4).unwrap());
    let trigger = format!("/sys/fs/ext4/loop{}/trigger_fs_error", mounted.device.minor);
    std::fs::write(trigger, "damaged").unwrap();
    crate::testing::wait_until("it stops", || condition(&ext4).unwrap().unwrap().stopped);
    assert_eq!(condition(&ext4).unwrap().unwrap().errors, Some(1));

    let xfs = scratch.directory("xfs");
    Volume::new(&scratch, "large", FsKind::Xfs, crate::filesystem::XFS_MINIMUM).mount(&xfs);
    let well = condition(&xfs).unwrap().unwrap();
    assert_eq!((well.stopped, well.errors, well.warnings), (false, None, None));
    let done =
        std::process::Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&xfs).status().unwrap();
    assert!(done.success());
    let shut = condition(&xfs).unwrap().unwrap();
    assert!(shut.stopped, "{shut:?}");
}

#[test]
fn looking_at_a_mount_keeps_it_busy_for_that_moment() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let (_, root, _) = mounted_volume(&scratch);
    let place = scratch.directory("place");
    let target = open_directory(&place).unwrap();
    let (stop, busy) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = mounted_at(&place);
            }
        });
        crate::testing::wait_until("a look was in the way", || {
            bind(&root, Path::new("."), MountAttributes::default(), &target).unwrap();
            while umount2(&place, UnmountFlags::NOFOLLOW) == Err(Errno::BUSY) {
                busy.store(true, Ordering::Relaxed);
            }
            busy.load(Ordering::Relaxed)
        });
        stop.store(true, Ordering::Relaxed);
    });
    bind(&root, Path::new("."), MountAttributes::default(), &target).unwrap();
    unmount(&place).unwrap();
}

#[test]
fn a_child_keeps_a_mount_busy_from_fork_to_exec() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let (base, root, _) = mounted_volume(&scratch);
    let (forked, tell) = std::io::pipe().unwrap();
    let (wait, go) = std::io::pipe().unwrap();
    let mut command = Command::new("true");
    // SAFETY: both calls are async-signal-safe, allocate nothing and touch only the stack.
    unsafe {
        command.pre_exec(move || {
            rustix::io::write(&tell, &[1])?;
            rustix::io::read(&wait, &mut [0_u8])?;
            Ok(())
        });
    }
    std::thread::scope(|scope| {
        // Returns when the child has become the program.
        let spawned = scope.spawn(|| command.spawn().unwrap().wait().unwrap());
        rustix::io::read(&forked, &mut [0_u8]).unwrap();
        drop(root);
        assert_eq!(umount2(&base, UnmountFlags::NOFOLLOW), Err(Errno::BUSY), "the child's copy");
        rustix::io::write(&go, &[1]).unwrap();
        assert!(spawned.join().unwrap().success());
    });
    unmount(&base).unwrap();
}
