//! Against real mounts, the hostile user among them.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::mount::{MountAttributes, open_directory};
use crate::testing::{PATIENCE, Scratch, Volume, may_mount};
use rustix::fs::{RenameFlags, renameat_with};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const DATA: &str = "data";

fn reason(error: SysError) -> TargetRefusal {
    match error {
        SysError::TargetRefused { reason, .. } => reason,
        other => panic!("not a refusal: {other}"),
    }
}

fn refusal(path: &Path, owner: Option<u32>) -> TargetRefusal {
    reason(open_target(path, owner).unwrap_err())
}

#[test]
fn paths_are_split_and_odd_ones_refused() {
    for (path, expected) in [
        ("/a", Some(("/", "a"))),
        ("/a/b/", Some(("/a", "b"))),
        ("//a/./b//c/.", Some(("/a/b", "c"))),
        ("/", None),
        ("", None),
        ("a/b", None),
        ("./a", None),
        ("/a/../b", None),
        ("/a/..", None),
    ] {
        let split = split_absolute(Path::new(path));
        let expected = expected.map(|(directory, name)| (PathBuf::from(directory), OsString::from(name)));
        assert_eq!(split, expected, "{path}");
    }
}

#[test]
fn what_can_not_be_mounted_on_is_refused_with_the_reason() {
    let scratch = Scratch::new();
    let empty = scratch.directory("empty");
    let file = scratch.path("file");
    std::fs::write(&file, b"").unwrap();
    let link = scratch.path("link");
    std::os::unix::fs::symlink(&empty, &link).unwrap();
    let inner = scratch.directory("full").join("inner");
    std::fs::create_dir(&inner).unwrap();

    assert_eq!(refusal(&file, None), TargetRefusal::NotADirectory);
    assert_eq!(refusal(&link, None), TargetRefusal::SymbolicLink);
    let parent_link = scratch.path("parent");
    std::os::unix::fs::symlink(scratch.path("full"), &parent_link).unwrap();
    let through = parent_link.join("inner");
    assert_eq!(refusal(&through, None), TargetRefusal::SymbolicLink);
    assert_eq!(refusal(&scratch.path("full"), None), TargetRefusal::NotEmpty);
    assert_eq!(refusal(Path::new("relative"), None), TargetRefusal::NotAbsolute);
    let missing = open_target(&scratch.path("missing"), None).unwrap_err();
    assert!(missing.is_not_found(), "{missing}");

    let me = rustix::process::geteuid().as_raw();
    let other = TargetRefusal::NotOwner { owner: me, caller: me + 1 };
    assert_eq!(refusal(&empty, Some(me + 1)), other);
    let target = open_target(&empty, Some(me)).unwrap();
    assert_eq!(target.path(), empty);
    assert_eq!(target.identity(), FileIdentity::of_path(&empty).unwrap());
    // Magic links lead anywhere, whatever the name looks like.
    let magic =
        PathBuf::from(format!("/proc/self/fd/{}/x", std::os::fd::AsRawFd::as_raw_fd(&target.as_fd())));
    assert_eq!(refusal(&magic, None), TargetRefusal::SymbolicLink);
}

#[test]
fn a_target_is_mounted_on_and_unmounted_by_its_place() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let base = scratch.directory("base");
    let mounted = Volume::small(&scratch, "image").mount(&base);
    let root = open_directory(&base).unwrap();
    let path = scratch.directory("target");

    let target = open_target(&path, None).unwrap();
    let bound = target.bind(&root, Path::new(DATA), MountAttributes::default(), None).unwrap();
    assert_eq!(bound.device, mounted.device);
    let again = TargetRefusal::AlreadyMounted { device: mounted.device };
    assert_eq!(refusal(&path, None), again);
    let place = target.into_place();
    assert_eq!(place.mounted().unwrap(), Some(bound));
    place.unmount(mounted.device).unwrap();
    assert_eq!(place.mounted().unwrap(), None);

    let target = open_target(&path, None).unwrap();
    target.bind(&root, Path::new(DATA), MountAttributes::default(), None).unwrap();
    drop(target);
    let place = open_place(&path).unwrap();
    assert_eq!(place.mounted().unwrap().unwrap().device, mounted.device);
    place.unmount(mounted.device).unwrap();
    let error = place.unmount(mounted.device).unwrap_err();
    assert!(matches!(error, SysError::NotMounted { .. }), "{error}");
}

#[test]
fn a_directory_moved_or_removed_before_the_mount_gets_none() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let base = scratch.directory("base");
    Volume::small(&scratch, "image").mount(&base);
    let root = open_directory(&base).unwrap();
    let before = scratch.mounts().len();
    let bind = |target: &Target| target.bind(&root, Path::new(DATA), MountAttributes::default(), None);

    let path = scratch.directory("target");
    let target = open_target(&path, None).unwrap();
    std::fs::rename(&path, scratch.path("moved")).unwrap();
    let error = bind(&target).unwrap_err();
    assert_eq!(reason(error), TargetRefusal::Moved);
    assert_eq!(scratch.mounts().len(), before);

    let path = scratch.directory("gone");
    let target = open_target(&path, None).unwrap();
    std::fs::remove_dir(&path).unwrap();
    let error = bind(&target).unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert_eq!(scratch.mounts().len(), before);
}

/// Sets a flag when dropped, so also when the test fails: the swapper must not swap for ever.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Exchanges two names as fast as it can until told to stop.
fn swap_until(stop: &AtomicBool, one: &Path, two: &Path) -> u64 {
    let mut swaps = 0;
    while !stop.load(Ordering::Relaxed) {
        // Refused while something is mounted there: that is right, and tried again.
        if renameat_with(CWD, one, CWD, two, RenameFlags::EXCHANGE).is_ok() {
            swaps += 1;
        }
        // At every pace: too even a one would always meet the same moment of the mount.
        std::thread::sleep(Duration::from_micros(swaps % 11 * 20));
    }
    swaps
}

/// The attack of a user: DIR is exchanged for a symbolic link to somebody else's directory, in a
/// loop, until it was mounted on 300 times.
#[test]
fn a_swapper_never_gets_a_mount_onto_what_a_link_points_to() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let base = scratch.directory("base");
    let mounted = Volume::small(&scratch, "image").mount(&base);
    let root = open_directory(&base).unwrap();
    let victim = scratch.directory("victim");
    let user = scratch.directory("user");
    let (dir, link) = (user.join("dir"), user.join("link"));
    std::fs::create_dir(&dir).unwrap();
    std::os::unix::fs::symlink(&victim, &link).unwrap();

    let stop = AtomicBool::new(false);
    let victim_mounts = AtomicU64::new(0);
    let (mut done, mut refused, mut moved) = (0, 0, 0);
    let look = || {
        if mount::mounted_at(&victim).unwrap().is_some() {
            victim_mounts.fetch_add(1, Ordering::Relaxed);
        }
    };
    let swaps = std::thread::scope(|scope| {
        let swapper = scope.spawn(|| swap_until(&stop, &dir, &link));
        let stopping = Stop(&stop);
        let begin = Instant::now();
        while done + moved < 300 {
            assert!(begin.elapsed() < PATIENCE, "{done} mounted, {moved} undone");
            let attempt = open_target(&dir, None)
                .and_then(|target| target.bind(&root, Path::new(DATA), MountAttributes::default(), None));
            look();
            match attempt.map_err(reason) {
                Ok(bound) => {
                    done += 1;
                    // It was found at the path, so it can't be moved any more.
                    let place = open_place(&dir).unwrap();
                    assert_eq!(place.mounted().unwrap(), Some(bound));
                    place.unmount(mounted.device).unwrap();
                }
                Err(TargetRefusal::Moved) => moved += 1,
                Err(TargetRefusal::SymbolicLink | TargetRefusal::NotADirectory) => refused += 1,
                Err(other) => panic!("refused for another reason: {other}"),
            }
            look();
        }
        drop(stopping);
        swapper.join().unwrap()
    });
    eprintln!("{swaps} swaps: {done} mounted, {refused} refused, {moved} undone");
    assert_eq!(victim_mounts.load(Ordering::Relaxed), 0);
    assert!(swaps > 0 && done > 0 && refused > 0, "the swapper and the mounts did not meet");
    assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0);
    drop(root);
    let left: Vec<_> = scratch.mounts();
    assert_eq!(left.len(), 1, "only the base is mounted: {left:?}");
}

#[test]
fn below_a_root_nothing_leads_out_of_it() {
    let scratch = Scratch::new();
    let root_path = scratch.directory("kubelet");
    let outside = scratch.directory("outside");
    let alias = scratch.path("alias");
    std::os::unix::fs::symlink(&root_path, &alias).unwrap();
    std::os::unix::fs::symlink(&outside, root_path.join("link")).unwrap();
    let root = TargetRoot::open(&alias).unwrap();
    assert_eq!(root.path(), root_path);

    for given in [alias.join("pods"), root_path.join("./pods")] {
        let place = root.place(&given).unwrap();
        assert_eq!(place.path(), root_path.join("pods"));
    }
    let pods = root.place(&alias.join("pods")).unwrap();
    assert!(pods.make_directory(0o750).unwrap());
    assert!(!pods.make_directory(0o750).unwrap(), "it is there");
    let inner = root.place(&alias.join("pods/a")).unwrap();
    assert_eq!(inner.path(), root_path.join("pods/a"));
    assert!(root.place(&alias.join("pods/a/b")).unwrap_err().is_not_found());

    let refusal = |path: &Path| reason(root.place(path).unwrap_err());
    let elsewhere = TargetRefusal::Outside { root: root_path.clone() };
    assert_eq!(refusal(&outside.join("x")), elsewhere);
    assert_eq!(refusal(&scratch.path("kubelet-other/x")), elsewhere);
    assert_eq!(refusal(&alias), elsewhere, "the root itself");
    assert_eq!(refusal(&alias.join("pods/../../outside/x")), TargetRefusal::NotAbsolute);
    assert_eq!(refusal(&alias.join("link/x")), TargetRefusal::SymbolicLink);
    assert_eq!(refusal(Path::new("pods/a")), TargetRefusal::NotAbsolute);
    let link = root.place(&alias.join("link")).unwrap();
    assert_eq!(reason(link.remove_directory().unwrap_err()), TargetRefusal::NotADirectory);
    assert_eq!(reason(link.open(None).unwrap_err()), TargetRefusal::SymbolicLink);

    // The root is what was opened, whatever is put in the place of its link.
    std::fs::remove_file(&alias).unwrap();
    std::os::unix::fs::symlink(&outside, &alias).unwrap();
    assert!(root.place(&alias.join("pods/b")).unwrap().make_directory(0o750).unwrap());
    assert!(root_path.join("pods/b").is_dir() && !outside.join("pods").exists());
    assert_eq!(reason(pods.remove_directory().unwrap_err()), TargetRefusal::NotEmpty);
    for (below, was_there) in [("pods/b", true), ("pods/b", false), ("pods", true)] {
        assert_eq!(root.place(&root_path.join(below)).unwrap().remove_directory().unwrap(), was_there);
    }
}

#[test]
fn a_node_is_mounted_on_a_file_and_opened_there() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let root = TargetRoot::open(&scratch.directory("root")).unwrap();
    let device = Volume::small(&scratch, "image").attach();
    // As in `/run`: no device can be opened where the node is.
    let held = scratch.directory("held");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "nodev,size=64k", "tmpfs"])
        .arg(&held)
        .status();
    assert!(mounted.unwrap().success());
    let node = held.join("node");
    for _ in 0..2 {
        make_node(&node, device.device()).unwrap();
    }
    assert_eq!(std::fs::metadata(&node).unwrap().mode() & 0o7777, 0o600);
    assert!(std::fs::File::open(&node).is_err(), "nodev");

    let place = root.place(&root.path().join("target")).unwrap();
    assert_eq!(place.mounted_node().unwrap(), None);
    assert!(place.open_file().unwrap_err().is_not_found());
    assert!(place.make_file(0o600).unwrap());
    assert!(!place.make_file(0o600).unwrap());
    let target = place.open_file().unwrap();
    let other = DeviceNumber { major: 7, minor: 999_999 };
    assert!(matches!(target.bind_node(&node, other), Err(SysError::WrongDevice { .. })));
    target.bind_node(&node, device.device()).unwrap();
    let found = place.mounted_node().unwrap().unwrap();
    assert_eq!(found.device, device.device());
    assert_eq!(DeviceNumber::of_node(place.path()).unwrap(), Some(device.device()));
    let user = std::fs::File::options().read(true).write(true).open(place.path()).unwrap();
    user.write_all_at(b"cargo", 4096).unwrap();

    assert!(matches!(reason(place.open_file().unwrap_err()), TargetRefusal::AlreadyMounted { .. }));
    assert!(matches!(place.remove_file(), Err(SysError::Busy { .. })));
    let wrong = MountedNode { device: other, ..found };
    assert!(matches!(place.unmount_node(wrong), Err(SysError::WrongDevice { .. })));
    // Who opened it by this very mount keeps that busy; who came by another node does not.
    assert!(matches!(place.unmount_node(found), Err(SysError::Busy { .. })));
    drop(user);
    let user = std::fs::File::open(device.node()).unwrap();
    place.unmount_node(found).unwrap();
    assert!(matches!(place.unmount_node(found), Err(SysError::NotMounted { .. })));
    let mut read = [0; 5];
    user.read_exact_at(&mut read, 4096).unwrap();
    assert_eq!(&read, b"cargo");
    assert!(place.remove_file().unwrap());
    assert!(!place.remove_file().unwrap());
}

#[test]
fn only_an_empty_file_is_mounted_on_and_removed() {
    let scratch = Scratch::new();
    let root = TargetRoot::open(&scratch.directory("root")).unwrap();
    let at = |name: &str| root.place(&root.path().join(name)).unwrap();
    std::fs::create_dir(root.path().join("directory")).unwrap();
    std::fs::write(root.path().join("full"), "theirs").unwrap();
    std::fs::write(root.path().join("empty"), "").unwrap();
    std::os::unix::fs::symlink("empty", root.path().join("link")).unwrap();
    for (name, expected) in [
        ("directory", TargetRefusal::NotAFile),
        ("full", TargetRefusal::NotEmpty),
        ("link", TargetRefusal::SymbolicLink),
    ] {
        assert_eq!(reason(at(name).open_file().unwrap_err()), expected, "{name}");
    }
    for (name, expected) in [
        ("directory", TargetRefusal::NotAFile),
        ("full", TargetRefusal::NotEmpty),
        ("link", TargetRefusal::NotAFile),
    ] {
        assert_eq!(reason(at(name).remove_file().unwrap_err()), expected, "{name}");
    }
    if may_mount() {
        make_node(&root.path().join("node"), DeviceNumber { major: 7, minor: 999_999 }).unwrap();
        assert_eq!(reason(at("node").open_file().unwrap_err()), TargetRefusal::NotAFile);
        assert_eq!(reason(at("node").remove_file().unwrap_err()), TargetRefusal::NotAFile);
        let node = std::fs::symlink_metadata(root.path().join("node")).unwrap();
        assert!(std::os::unix::fs::FileTypeExt::is_block_device(&node.file_type()));
    }
    assert!(at("empty").remove_file().unwrap());
    assert_eq!(std::fs::read_to_string(root.path().join("full")).unwrap(), "theirs");
}
