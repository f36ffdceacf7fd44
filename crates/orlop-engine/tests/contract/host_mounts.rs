//! `orlop mount`: a volume on a directory of the host, whatever its user does to that directory.

use std::{
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use orlop_engine::*;
use orlop_model::{ErrorKind, resource::Front};
use orlop_testkit::{Part, mounts, require, run};

use crate::harness::*;

const ANNA: Caller = Caller { uid: 1000, front: Front::Manifest };

#[test]
fn mounted_where_it_was_asked_for_and_unmounted() {
    require!(Part::Loop);
    let world = World::new("host");
    world.make("data", "ReadWriteMany", "temp");
    let target = world.mkdir("target");
    let mounted = world.mount("data", &target, MountAccess::ByMode).unwrap();
    assert_eq!((mounted.path.as_path(), mounted.read_only), (target.as_path(), false));
    assert_eq!(world.mount("data", &target, MountAccess::ByMode).unwrap(), mounted, "asked again, the same");
    fails(world.mount("data", &target, MountAccess::ReadOnly), ErrorKind::InUse);
    std::fs::write(target.join("file"), "cargo").unwrap();
    let other = world.attach("data", "container").unwrap();
    assert_eq!(std::fs::read_to_string(other.path.join("file")).unwrap(), "cargo");
    let attachment = world.volume("data").status.attachments.remove(0);
    assert_eq!((attachment.front, attachment.target.as_deref()), (Front::Host, target.to_str()));

    let busy = std::fs::File::open(target.join("file")).unwrap();
    let error = fails(world.engine().unmount(&ROOT, &target), ErrorKind::InUse);
    assert!(error.message.contains(&format!("process {}", std::process::id())), "{error}");
    assert_eq!(world.volume("data").status.attachments.len(), 2, "the record stays true");
    drop(busy);
    world.engine().unmount(&ROOT, &target).unwrap();
    fails(world.engine().unmount(&ROOT, &target), ErrorKind::NotFound);
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0);
    world.detach("data", "container").unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn who_applied_it_can_write_to_it() {
    require!(Part::Loop);
    let world = World::new("host-owner");
    let plain = "size: 16Mi, accessMode: ReadWriteMany, type: temp";
    world.apply_as(&ANNA, "hers", plain).unwrap();
    world.apply_as(&ANNA, "given", &format!("{plain}, uid: 1001")).unwrap();
    world.apply("roots", plain).unwrap();
    for (name, uid) in [("hers", 1000), ("given", 1001), ("roots", 0)] {
        let target = world.mkdir(name);
        world.mount(name, &target, MountAccess::ByMode).unwrap();
        assert_eq!(std::fs::metadata(&target).unwrap().uid(), uid, "{name}");
        world.engine().unmount(&ROOT, &target).unwrap();
    }
    world.assert_nothing_mounted();
}

#[test]
fn directories_that_are_not_the_callers_to_use_are_refused() {
    require!(Part::Loop);
    let world = World::new("host-refused");
    world.apply_as(&ANNA, "data", "size: 16Mi, accessMode: ReadWriteMany, type: temp").unwrap();
    let full = world.mkdir("full");
    std::fs::write(full.join("file"), "").unwrap();
    let link = world.join("link");
    symlink(world.mkdir("real"), &link).unwrap();
    let state = world.config.state_dir.join("inside");
    std::fs::create_dir(&state).unwrap();
    for target in [
        &full,
        &link,
        &link.join("below"),
        &state,
        Path::new("relative"),
        Path::new("/"),
        &world.join("x/../real"),
    ] {
        let error = world.mount("data", target, MountAccess::ByMode).unwrap_err();
        assert!(
            matches!(error.kind, ErrorKind::InvalidArgument | ErrorKind::Host),
            "{}: {error}",
            target.display()
        );
    }
    let missing =
        fails(world.mount("data", &world.join("nowhere"), MountAccess::ByMode), ErrorKind::InvalidArgument);
    assert!(missing.message.contains("there is no directory"), "{missing}");
    let missing = fails(world.engine().unmount(&ROOT, &world.join("nowhere/below")), ErrorKind::NotFound);
    assert!(missing.message.contains("no volume is mounted on"), "{missing}");
    let request =
        MountRequest { volume: key("data"), target: world.join("real"), access: MountAccess::ByMode };
    fails(world.engine().mount(&ANNA, &request), ErrorKind::PermissionDenied);
    std::os::unix::fs::chown(&request.target, Some(1000), None).unwrap();
    fails(world.engine().mount(&Caller { uid: 1001, ..ANNA }, &request), ErrorKind::PermissionDenied);
    world.engine().mount(&ANNA, &request).unwrap();
    world.engine().unmount(&ANNA, &request.target).unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn a_mount_that_somebody_unmounted_by_hand_is_no_holder() {
    require!(Part::Loop);
    let world = World::new("host-by-hand");
    world.make("data", "ReadWriteOnce", "temp");
    let target = world.mkdir("target");
    world.mount("data", &target, MountAccess::ByMode).unwrap();
    fails(world.attach("data", "one"), ErrorKind::AccessRefused);
    orlop_sys::mount::unmount(&target).unwrap();
    world.attach("data", "one").unwrap();
    assert!(world.told("AttachmentDropped"));
    world.detach("data", "one").unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn a_mount_that_somebody_moved_is_found_where_it_is() {
    require!(Part::Loop);
    let world = World::new("host-moved");
    world.make("data", "ReadWriteOnce", "temp");
    // Below a shared mount nothing can be moved.
    let area = world.mkdir("area");
    let mount = |words: &[&str], paths: &[&Path]| run(Command::new("mount").args(words).args(paths)).ok();
    mount(&["--bind"], &[&area, &area]);
    mount(&["--make-private"], &[&area]);
    let (from, to) = (area.join("from"), area.join("to"));
    for dir in [&from, &to] {
        std::fs::create_dir(dir).unwrap();
    }
    world.mount("data", &from, MountAccess::ByMode).unwrap();
    mount(&["--move"], &[&from, &to]);
    let error = fails(world.engine().unmount(&ROOT, &to), ErrorKind::NotFound);
    assert!(error.hint.unwrap().contains(&format!("umount {}", to.display())), "{}", error.message);
    let error = fails(world.engine().unmount(&ROOT, &from), ErrorKind::InUse);
    assert!(error.message.contains(&format!("mounted on {}", to.display())), "{error}");
    fails(world.attach("data", "one"), ErrorKind::AccessRefused);
    orlop_sys::mount::unmount(&to).unwrap();
    world.attach("data", "one").unwrap();
    world.detach("data", "one").unwrap();
    orlop_sys::mount::unmount(&area).unwrap();
    world.assert_nothing_mounted();
}

/// Ends a thread that looks at the flag, however its maker ends.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_swapped_directory_never_leads_elsewhere() {
    require!(Part::Loop);
    let world = World::new("swapper");
    world.make("data", "ReadWriteMany", "temp");
    let (area, secret) = (world.mkdir("area"), world.mkdir("secret"));
    let (target, parked) = (area.join("target"), area.join("parked"));
    std::fs::create_dir(&target).unwrap();
    let (stop, mut mounted, mut refused) = (AtomicBool::new(false), 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = std::fs::rename(&target, &parked);
                let _ = symlink(&secret, &target);
                let _ = std::fs::remove_file(&target);
                let _ = std::fs::rename(&parked, &target);
                // Long enough that some attempts meet a directory that stays.
                std::thread::sleep(std::time::Duration::from_micros(300));
            }
        });
        // Also when something fails below: the scope waits for the swapper.
        let _stops = Stops(&stop);
        while (mounted == 0 || refused == 0 || mounted + refused < 150) && mounted + refused < 5000 {
            match world.mount("data", &target, MountAccess::ByMode) {
                Ok(_) => {
                    mounted += 1;
                    // It can't be renamed while it is mounted on, so the place is found again. But a
                    // rename that the kernel had allowed before may end after, and takes the mount along.
                    if let Err(error) = world.engine().unmount(&ROOT, &target) {
                        assert!(error.message.contains(parked.to_str().unwrap()), "{error}");
                        orlop_sys::mount::unmount(&parked).unwrap();
                    }
                }
                Err(_) => refused += 1,
            }
            let elsewhere: Vec<_> = mounts::mounts()
                .into_iter()
                .filter(|mount| mount.target.starts_with(&secret) || mount.target.starts_with(&area))
                .collect();
            assert!(elsewhere.is_empty(), "{elsewhere:?}");
        }
    });
    println!("mounted {mounted} times, refused {refused} times");
    assert!(mounted > 0 && refused > 0, "mounted {mounted} times, refused {refused} times");
    assert_eq!(std::fs::read_dir(&secret).unwrap().count(), 0);
    world.assert_nothing_mounted();
}
