//! Against real loop devices; each test only looks at those of its own images.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::filesystem::FsKind;
use crate::mount;
use crate::testing::{KilledAtEnd, MIB, PATIENCE, Scratch, Volume, child_test, may_mount, wait_until};
use std::collections::HashSet;
use std::process::{Command, Stdio};

const PLAIN: LoopOptions = LoopOptions { block_size: 4096, direct_io: true, read_only: false };
/// For child processes: the image, and a file they make when they are ready.
const IMAGE: &str = "ORLOP_TEST_IMAGE";
const READY: &str = "ORLOP_TEST_READY";

fn blank(scratch: &Scratch, name: &str) -> PathBuf {
    let path = scratch.path(name);
    drop(crate::image::create(&path, 16 * MIB).unwrap());
    path
}

fn info_of(identity: FileIdentity) -> Option<LoopInfo> {
    list().unwrap().into_iter().find(|info| info.identity == identity)
}

#[test]
fn an_attached_image_is_listed_as_it_was_asked_for_and_freed_with_its_last_user() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let image = blank(&scratch, "image");
    let identity = FileIdentity::of_path(&image).unwrap();
    for (block_size, read_only) in [(512, false), (1024, true), (4096, false)] {
        let options = LoopOptions { block_size, direct_io: false, read_only };
        let device = attach(&image, options).unwrap();
        let info = info_of(identity).unwrap();
        assert_eq!(info.number, device.number());
        assert_eq!(info.backing_file, image);
        assert!(info.autoclear && !info.deleted && !info.direct_io);
        assert_eq!(info.read_only, read_only);
        let shown =
            std::fs::read_to_string(format!("/sys/block/loop{}/queue/logical_block_size", device.number()))
                .unwrap();
        assert_eq!(shown.trim(), block_size.to_string());
        drop(device);
        assert!(wait_gone(identity, PATIENCE).unwrap());
    }
}

#[test]
fn direct_io_is_reported_as_the_kernel_has_it() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let image = blank(&scratch, "image");
    let device = attach(&image, PLAIN).unwrap();
    let info = info_of(device.identity()).unwrap();
    assert_eq!(device.direct_io(), info.direct_io);
    let shown = std::fs::read_to_string(format!("/sys/block/loop{}/loop/dio", device.number()));
    assert_eq!(shown.unwrap().trim() == "1", device.direct_io());
}

#[test]
fn an_image_is_found_after_it_was_renamed_and_after_it_was_unlinked() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let (image, renamed) = (blank(&scratch, "image"), scratch.path("renamed"));
    let other = blank(&scratch, "other");
    let device = attach(&image, PLAIN).unwrap();
    let identity = device.identity();
    std::fs::rename(&image, &renamed).unwrap();
    let found = find_by_backing(identity).unwrap().unwrap();
    assert_eq!(found.number(), device.number());
    let other = FileIdentity::of_path(&other).unwrap();
    assert!(find_by_backing(other).unwrap().is_none());

    std::fs::remove_file(&renamed).unwrap();
    assert!(info_of(identity).unwrap().deleted);
    assert!(find_by_backing(identity).unwrap().is_some());
    drop((device, found));
    assert!(wait_gone(identity, PATIENCE).unwrap());
}

#[test]
fn what_is_no_image_is_refused() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let image = blank(&scratch, "image");
    let link = scratch.path("link");
    std::os::unix::fs::symlink(&image, &link).unwrap();
    let missing = attach(&scratch.path("missing"), PLAIN).unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
    assert!(attach(&link, PLAIN).is_err());
    assert!(attach(&scratch.directory("directory"), PLAIN).is_err());
    let odd = LoopOptions { block_size: 1000, ..PLAIN };
    assert_eq!(attach(&image, odd).unwrap_err().errno(), Some(Errno::INVAL));
    let identity = FileIdentity::of_path(&image).unwrap();
    assert!(find_by_backing(identity).unwrap().is_none());
}

#[test]
fn many_attach_at_once_and_each_gets_a_device_of_its_own() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let images: Vec<PathBuf> = (0..24).map(|number| blank(&scratch, &format!("image{number}"))).collect();
    let devices: Vec<LoopDevice> = std::thread::scope(|scope| {
        let running: Vec<_> =
            images.iter().map(|image| scope.spawn(|| attach(image, PLAIN).unwrap())).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let numbers: HashSet<u32> = devices.iter().map(LoopDevice::number).collect();
    assert_eq!(numbers.len(), images.len());
    for (image, device) in images.iter().zip(&devices) {
        let identity = FileIdentity::of_path(image).unwrap();
        assert_eq!(device.identity(), identity);
        device.confirm().unwrap();
        let ours = list().unwrap();
        assert_eq!(ours.iter().filter(|info| info.identity == identity).count(), 1);
    }
    let identities: Vec<FileIdentity> = devices.iter().map(LoopDevice::identity).collect();
    drop(devices);
    for identity in identities {
        assert!(wait_gone(identity, PATIENCE).unwrap());
    }
}

#[test]
fn unmounting_frees_the_device_of_a_mounted_image() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let target = scratch.directory("mount");
    for (kind, size) in [(FsKind::Ext4, 16 * MIB), (FsKind::Xfs, 512 * MIB)] {
        let volume = Volume::new(&scratch, kind.name(), kind, size);
        let identity = FileIdentity::of_path(&volume.image).unwrap();
        let mounted = volume.mount(&target);
        let device = find_by_backing(identity).unwrap().unwrap();
        assert_eq!(device.device(), mounted.device);
        assert_eq!(device.probe_exclusive().unwrap(), Exclusivity::Claimed);
        drop(device);
        mount::unmount(&target).unwrap();
        assert!(wait_gone(identity, PATIENCE).unwrap());
    }
}

#[test]
fn a_mount_in_another_namespace_keeps_the_device_and_is_told() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let target = scratch.directory("mount");
    let volume = Volume::small(&scratch, "image");
    let identity = FileIdentity::of_path(&volume.image).unwrap();
    let mounted = volume.mount(&target);
    let other = KilledAtEnd(
        Command::new("unshare").args(["-m", "--propagation", "private", "sleep", "600"]).spawn().unwrap(),
    );
    wait_until("the child has a namespace of its own", || {
        crate::host::process_name(other.0.id()).as_deref() == Some("sleep")
    });
    mount::unmount(&target).unwrap();

    assert!(!wait_gone(identity, Duration::from_millis(100)).unwrap());
    let device = find_by_backing(identity).unwrap().unwrap();
    assert_eq!(device.probe_exclusive().unwrap(), Exclusivity::Claimed);
    // Whoever asks for another image on that device learns nothing about this one.
    let somebody = FileIdentity { inode: identity.inode + 1, ..identity };
    let asked = probe_exclusive(device.number(), somebody).unwrap();
    assert_eq!(asked, Exclusivity::Gone);
    let seen = crate::mountinfo::mounts_of_device(mounted.device).unwrap();
    assert!(seen.iter().all(|mount| !mount.own));
    let child = seen.iter().find(|mount| mount.pid == other.0.id()).unwrap();
    assert_eq!((child.comm.as_str(), &child.mount_point), ("sleep", &target));

    drop(device);
    drop(other);
    assert!(wait_gone(identity, PATIENCE).unwrap());
}

#[test]
fn a_probe_says_free_without_a_mount_and_gone_without_the_image() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let device = attach(&blank(&scratch, "image"), PLAIN).unwrap();
    let (number, identity) = (device.number(), device.identity());
    assert_eq!(device.probe_exclusive().unwrap(), Exclusivity::Free);
    device.detach().unwrap();
    assert!(wait_gone(identity, PATIENCE).unwrap());
    let after = probe_exclusive(number, identity).unwrap();
    assert_eq!(after, Exclusivity::Gone);
    let never = probe_exclusive(1_000_000, identity).unwrap();
    assert_eq!(never, Exclusivity::Gone);
}

#[test]
fn killing_the_process_that_attached_leaks_no_device() {
    if let Some(image) = std::env::var_os(IMAGE).map(PathBuf::from) {
        // The child.
        let _device = attach(&image, PLAIN).unwrap();
        std::fs::write(std::env::var_os(READY).unwrap(), b"").unwrap();
        std::thread::sleep(PATIENCE);
        return;
    }
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let image = blank(&scratch, "image");
    let identity = FileIdentity::of_path(&image).unwrap();
    let ready = scratch.path("ready");
    let mut child = KilledAtEnd(
        child_test(&[], "loopdev::tests::killing_the_process_that_attached_leaks_no_device")
            .env(IMAGE, &image)
            .env(READY, &ready)
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    wait_until("the child attached", || ready.exists());
    assert!(find_by_backing(identity).unwrap().is_some());
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    assert!(wait_gone(identity, PATIENCE).unwrap());
}

#[test]
fn a_missing_device_node_is_made() {
    if let Some(image) = std::env::var_os(IMAGE).map(PathBuf::from) {
        // The child.
        let device = attach(&image, PLAIN).unwrap();
        assert!(device.node().exists());
        std::fs::remove_file(device.node()).unwrap();
        let found = find_by_backing(device.identity()).unwrap().unwrap();
        assert_eq!(found.number(), device.number());
        found.detach().unwrap();
        return;
    }
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let image = blank(&scratch, "image");
    let identity = FileIdentity::of_path(&image).unwrap();
    // What /dev looks like in a container that was given the control device alone.
    let script = "mount -t tmpfs none /dev && mknod /dev/loop-control c 10 237 && \
                  mknod /dev/null c 1 3 && exec \"$@\"";
    let wrapper = ["unshare", "-m", "sh", "-c", script, "sh"];
    let done = child_test(&wrapper, "loopdev::tests::a_missing_device_node_is_made")
        .env(IMAGE, &image)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"));
    assert!(wait_gone(identity, PATIENCE).unwrap());
}

#[test]
fn a_node_that_is_something_else_is_not_used() {
    if let Some(image) = std::env::var_os(IMAGE).map(PathBuf::from) {
        // The child.
        assert!(attach(&image, PLAIN).is_err());
        return;
    }
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let image = blank(&scratch, "image");
    let script = "mount -t tmpfs none /dev && mknod /dev/loop-control c 10 237 && \
                  mknod /dev/null c 1 3 && for n in $(seq 0 300); do : > /dev/loop$n; done && \
                  exec \"$@\"";
    let wrapper = ["unshare", "-m", "sh", "-c", script, "sh"];
    let done = child_test(&wrapper, "loopdev::tests::a_node_that_is_something_else_is_not_used")
        .env(IMAGE, &image)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"));
}

#[test]
fn the_device_grows_with_its_image() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let image = blank(&scratch, "image");
    let device = attach(&image, PLAIN).unwrap();
    let shown = format!("/sys/block/loop{}/size", device.number());
    let sectors = || -> u64 { std::fs::read_to_string(&shown).unwrap().trim().parse().unwrap() };
    assert_eq!(sectors() * 512, 16 * MIB);
    File::options().write(true).open(&image).unwrap().set_len(32 * MIB).unwrap();
    device.set_capacity().unwrap();
    assert_eq!(sectors() * 512, 32 * MIB);
}

#[test]
fn blocks_freed_inside_go_back_to_the_host() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let target = scratch.directory("mount");
    for (kind, size) in [(FsKind::Ext4, 64 * MIB), (FsKind::Xfs, 512 * MIB)] {
        let volume = Volume::new(&scratch, kind.name(), kind, size);
        volume.mount(&target);
        let allocated = || crate::image::space(&volume.image).unwrap().allocated;
        let file = target.join("data/file");
        std::fs::write(&file, vec![7; 32 << 20]).unwrap();
        File::open(&file).unwrap().sync_all().unwrap();
        let full = allocated();
        assert!(full > 32 * MIB, "{kind}: {full}");
        std::fs::remove_file(&file).unwrap();
        wait_until("the blocks are back", || {
            let root = File::open(&target).unwrap();
            rustix::fs::syncfs(&root).unwrap();
            allocated() < full - 30 * MIB
        });
        mount::unmount(&target).unwrap();
    }
}

#[test]
fn a_device_that_is_kept_stays_until_it_is_let_go() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let image = blank(&scratch, "image");
    let device = attach(&image, PLAIN).unwrap();
    let (identity, number) = (device.identity(), device.number());
    for _ in 0..2 {
        device.keep().unwrap();
    }
    drop(device);
    assert!(!wait_gone(identity, Duration::from_millis(100)).unwrap());
    let info = info_of(identity).unwrap();
    assert!(!info.autoclear && info.number == number);
    // Somebody has it open when it is let go: it goes with him.
    let other = File::open(format!("/dev/loop{number}")).unwrap();
    let found = find_by_backing(identity).unwrap().unwrap();
    for _ in 0..2 {
        found.let_go().unwrap();
    }
    drop(found);
    assert!(!wait_gone(identity, Duration::from_millis(100)).unwrap());
    // Kept again meanwhile, it stays after all.
    find_by_backing(identity).unwrap().unwrap().keep().unwrap();
    drop(other);
    assert!(!wait_gone(identity, Duration::from_millis(100)).unwrap());
    find_by_backing(identity).unwrap().unwrap().let_go().unwrap();
    assert!(wait_gone(identity, PATIENCE).unwrap());
}

#[test]
fn a_device_grows_and_flushes_under_those_who_have_it() {
    use std::os::unix::fs::FileExt;
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let image = blank(&scratch, "image");
    let device = attach(&image, PLAIN).unwrap();
    let node = format!("/dev/loop{}", device.number());
    let user = File::options().read(true).write(true).open(&node).unwrap();
    user.write_all_at(b"cargo", 8192).unwrap();
    // What is in the cache of the device is in the image after a flush.
    device.flush().unwrap();
    let mut read = [0; 5];
    File::open(&image).unwrap().read_exact_at(&mut read, 8192).unwrap();
    assert_eq!(&read, b"cargo");

    File::options().write(true).open(&image).unwrap().set_len(32 * MIB).unwrap();
    assert!(user.write_all_at(b"x", 24 * MIB).is_err());
    device.set_capacity().unwrap();
    user.write_all_at(b"behind", 24 * MIB).unwrap();
    user.sync_all().unwrap();
    assert!(!device.read_only() && !find_by_backing(device.identity()).unwrap().unwrap().read_only());
}

#[test]
fn a_read_only_device_refuses_writes_and_the_next_one_takes_them() {
    use std::os::unix::fs::FileExt;
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let image = blank(&scratch, "image");
    for read_only in [true, false] {
        let device = attach(&image, LoopOptions { read_only, ..PLAIN }).unwrap();
        assert_eq!(device.read_only(), read_only);
        assert_eq!(find_by_backing(device.identity()).unwrap().unwrap().read_only(), read_only);
        // As it is kept, so that the flags that change are not the only ones.
        device.keep().unwrap();
        let node = File::options().write(true).open(device.node());
        let written = node.and_then(|file| file.write_all_at(b"x", 0));
        assert_eq!(written.is_err(), read_only);
        device.let_go().unwrap();
        let identity = device.identity();
        drop(device);
        assert!(wait_gone(identity, PATIENCE).unwrap());
    }
}

/// Only those of the whole image are its; any other is told of, for a second one would be a second writer.
#[test]
fn a_device_of_a_part_of_the_image_is_an_error_that_names_it() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let image = blank(&scratch, "image");
    let identity = FileIdentity::of_path(&image).unwrap();
    for part in ["--offset=4096", "--sizelimit=8388608"] {
        let made =
            Command::new("losetup").args(["--find", "--show", part]).arg(&image).output().unwrap().stdout;
        let node = String::from_utf8(made).unwrap().trim().to_owned();
        for error in [
            find_by_backing(identity).unwrap_err(),
            wait_gone(identity, Duration::from_millis(100)).unwrap_err(),
        ] {
            let bytes = part.split_once('=').unwrap().1;
            assert!(error.is_busy(), "{error}");
            assert!(error.to_string().contains(&node) && error.to_string().contains(bytes), "{error}");
        }
        // Beside it the image's own is found, whichever number that has and had.
        let device = attach(&image, PLAIN).unwrap();
        for _ in 0..2 {
            assert_eq!(find_by_backing(identity).unwrap().unwrap().number(), device.number());
            last::note(identity, None);
        }
        assert!(device.confirm_block_size(4096).is_ok());
        let other = device.confirm_block_size(1024).unwrap_err().to_string();
        assert!(other.contains("4096 bytes instead of 1024"), "{other}");
        drop(device);
        assert!(Command::new("losetup").arg("-d").arg(&node).status().unwrap().success());
        assert!(wait_gone(identity, PATIENCE).unwrap());
    }
}
