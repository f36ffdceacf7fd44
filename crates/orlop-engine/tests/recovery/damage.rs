//! Images that were deleted, truncated, exchanged or overwritten under us.

use std::{
    fs::OpenOptions,
    io::{Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};

use orlop_engine::VolumeRef;
use orlop_model::{ErrorKind, PoolName, resource::VolumeState};
use orlop_testkit::{Part, command::eventually, require};

use crate::harness::*;

/// Damages `bad` in a way of the caller, and sees that it is told and that `good` goes on.
fn told_and_alone(name: &str, words: &[&str], damage: impl FnOnce(&World, &Path)) -> World {
    let world = World::new(name);
    let bad = world.make("bad", "ReadWriteMany", "persistent");
    world.make("good", "ReadWriteMany", "temp");
    let path = world.attach("bad", "one").unwrap().path;
    std::fs::write(path.join("file"), "cargo").unwrap();
    world.detach("bad", "one").unwrap();
    world.assert_nothing_mounted();
    damage(&world, &world.image(&bad));
    let error = fails(world.attach("bad", "two"), ErrorKind::Damaged);
    for word in words {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    assert!(error.hint.is_some(), "{error}");
    let now = world.volume("bad");
    assert_eq!(now.status.state, VolumeState::Error);
    assert_eq!(now.status.reason.as_deref(), Some(error.to_string().as_str()));
    assert!(world.told("Error"));
    world.attach("good", "one").unwrap();
    world.detach("good", "one").unwrap();
    world.assert_nothing_mounted();
    world
}

#[test]
fn a_deleted_image_is_told_and_comes_back_with_the_file() {
    require!(Part::Loop);
    let world = told_and_alone("deleted", &["is missing"], |_, image| {
        std::fs::rename(image, image.with_extension("away")).unwrap();
    });
    let image = world.image(&world.volume("bad"));
    std::fs::rename(image.with_extension("away"), &image).unwrap();
    let path = world.attach("bad", "three").unwrap().path;
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
    assert_eq!(world.state("bad"), VolumeState::Active);
    assert!(world.told("Restored"));
    world.detach("bad", "three").unwrap();
}

#[test]
fn a_truncated_image_is_told() {
    require!(Part::Loop);
    told_and_alone("truncated", &["was truncated", "8Mi"], |_, image| {
        OpenOptions::new().write(true).open(image).unwrap().set_len(8 * MIB).unwrap();
    });
}

#[test]
fn a_link_in_place_of_an_image_is_told() {
    require!(Part::Loop);
    told_and_alone("link", &["was replaced by"], |_, image| {
        std::fs::remove_file(image).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", image).unwrap();
    });
}

#[test]
fn garbage_is_told_and_never_repaired() {
    require!(Part::Loop);
    let world = told_and_alone("garbage", &["can't be mounted", "e2fsck"], |_, image| {
        let mut file = OpenOptions::new().write(true).open(image).unwrap();
        file.write_all(&vec![0x5a; 1 << 20]).unwrap();
    });
    let image = world.image(&world.volume("bad"));
    let bytes = std::fs::read(&image).unwrap();
    assert!(bytes[..1 << 20].iter().all(|byte| *byte == 0x5a), "it is as it was");
}

#[test]
fn damaged_metadata_is_told_by_the_check() {
    require!(Part::Loop);
    told_and_alone("metadata", &["can't be mounted"], |_, image| {
        // The root inode's table: the superblock still looks whole.
        let mut file = OpenOptions::new().write(true).open(image).unwrap();
        file.seek(SeekFrom::Start(2048)).unwrap();
        file.write_all(&vec![0xff; 256 << 10]).unwrap();
    });
}

#[test]
fn the_image_of_another_volume_is_not_taken_for_this_one() {
    require!(Part::Loop);
    let world = told_and_alone("exchanged", &["the data of another volume"], |world, image| {
        let path = world.attach("good", "one").unwrap().path;
        std::fs::write(path.join("other"), "x").unwrap();
        world.detach("good", "one").unwrap();
        world.assert_nothing_mounted();
        std::fs::copy(world.image(&world.volume("good")), image).unwrap();
    });
    world.assert_nothing_mounted();
}

#[test]
fn xfs_garbage_is_told() {
    require!(Part::Loop, Part::Xfs);
    let world = World::new("xfs-garbage");
    let made = world
        .apply("bad", "size: 320Mi, accessMode: ReadWriteMany, type: temp, filesystem: xfs")
        .unwrap()
        .resource;
    let mut file = OpenOptions::new().write(true).open(world.image(&made)).unwrap();
    file.write_all(&vec![0x5a; 8192]).unwrap();
    drop(file);
    let error = fails(world.attach("bad", "one"), ErrorKind::Damaged);
    assert!(error.message.contains("xfs"), "{error}");
    world.assert_nothing_mounted();
    assert_eq!(world.delete("bad").unwrap(), orlop_model::resource::Deletion::Destroyed);
}

#[test]
fn an_image_that_vanishes_under_a_consumer_is_seen_and_its_return_too() {
    require!(Part::Loop);
    let mut world = World::new("vanish");
    let made = world.make("data", "ReadWriteMany", "temp");
    let image = world.image(&made);
    let away = image.with_extension("away");
    std::fs::rename(&image, &away).unwrap();
    world.restart();
    assert!(
        eventually(Duration::from_secs(20), || world.state("data") == VolumeState::Error),
        "seen at start"
    );
    std::fs::rename(&away, &image).unwrap();
    world.restart();
    assert!(eventually(Duration::from_secs(20), || world.state("data") == VolumeState::Active));
}

#[test]
fn a_dirty_log_is_replayed() {
    require!(Part::Loop);
    let world = World::new("dirty");
    let made = world.make("data", "ReadWriteMany", "temp");
    let path = world.attach("data", "one").unwrap().path;
    std::fs::write(path.join("file"), "cargo").unwrap();
    std::fs::File::open(path.join("file")).unwrap().sync_all().unwrap();
    // What a power cut leaves: the image as it is now, with its log not written back.
    let copy = world.join("copy.img");
    std::fs::copy(world.image(&made), &copy).unwrap();
    world.detach("data", "one").unwrap();
    world.assert_nothing_mounted();
    std::fs::copy(&copy, world.image(&made)).unwrap();
    let path = world.attach("data", "two").unwrap().path;
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
    world.detach("data", "two").unwrap();
}

#[test]
fn a_base_that_somebody_unmounted_is_mounted_again_and_never_a_plain_directory() {
    require!(Part::Loop);
    let world = World::new("unmounted");
    world.make("data", "ReadWriteMany", "temp");
    let path = world.attach("data", "one").unwrap().path;
    std::fs::write(path.join("file"), "cargo").unwrap();
    orlop_sys::mount::unmount(path.parent().unwrap()).unwrap();
    assert_eq!(
        world.engine().attached_path(&DOCKER, &key("data")).unwrap(),
        None,
        "no path of what is not there"
    );
    let again = world.attach("data", "two").unwrap().path;
    assert_eq!(std::fs::read_to_string(again.join("file")).unwrap(), "cargo");
    world.detach("data", "two").unwrap();
    world.detach("data", "one").unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn a_list_sees_a_missing_image_and_its_return() {
    require!(Part::Loop);
    let world = World::new("seen");
    let made = world.make("data", "ReadWriteMany", "temp");
    let image = world.image(&made);
    std::fs::rename(&image, image.with_extension("away")).unwrap();
    assert_eq!(world.state("data"), VolumeState::Error, "at once, where one volume is asked for");
    std::fs::rename(image.with_extension("away"), &image).unwrap();
    assert!(eventually(Duration::from_secs(60), || world.state("data") == VolumeState::Active));
    world.assert_nothing_mounted();
}

#[test]
fn an_xfs_that_shut_down_is_told_and_can_be_left_deleted_and_used_again() {
    require!(Part::Loop, Part::Xfs);
    let world = World::new("xfs-shutdown");
    world.apply("data", "size: 320Mi, accessMode: ReadWriteMany, type: temp, filesystem: xfs").unwrap();
    let path = world.attach("data", "one").unwrap().path;
    std::fs::write(path.join("file"), "cargo").unwrap();
    std::fs::File::open(path.join("file")).unwrap().sync_all().unwrap();
    // What a failed write of its log does, where the pool's disk is full or broken.
    let done =
        std::process::Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&path).status().unwrap();
    assert!(done.success());
    fails(world.attach("data", "two"), ErrorKind::Damaged);
    assert_eq!(world.state("data"), VolumeState::Error);
    world.detach("data", "one").unwrap();
    world.assert_nothing_mounted();
    let path = world.attach("data", "three").unwrap().path;
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo", "its log is replayed");
    assert_eq!(world.state("data"), VolumeState::Active);
    world.detach("data", "three").unwrap();
    world.destroy("data");
}

#[test]
fn an_image_that_was_exchanged_or_hidden_does_not_hide_who_uses_the_volume() {
    require!(Part::Loop);
    let world = World::new("hidden");
    let made = world.make("data", "ReadWriteOnce", "temp");
    let path = world.attach("data", "one").unwrap().path;
    let container = Container::start(&path, &world.mkdir("place"), &world.config.mount_dir, false);
    std::thread::sleep(Duration::from_millis(400));
    let image = world.image(&made);
    let away = image.with_extension("away");
    std::fs::rename(&image, &away).unwrap();
    let error = fails(world.attach("data", "two"), ErrorKind::AccessRefused);
    assert!(error.message.contains("docker mount one"), "{error}");
    fails(world.delete("data"), ErrorKind::InUse);
    std::fs::copy(&away, &image).unwrap();
    let error = fails(world.attach("data", "two"), ErrorKind::AccessRefused);
    assert!(error.message.contains("docker mount one"), "{error}");
    fails(world.delete("data"), ErrorKind::InUse);
    assert_eq!(world.volume("data").status.attachments.len(), 1);
    std::fs::rename(&away, &image).unwrap();
    container.end();
    world.detach("data", "one").unwrap();
    world.destroy("data");
}

#[test]
fn an_ext4_that_met_an_error_is_told_and_checked_before_it_is_used_again() {
    require!(Part::Loop);
    let world = World::new("ext4-error");
    let made = world.make("data", "ReadWriteMany", "temp");
    let path = world.attach("data", "one").unwrap().path;
    std::fs::write(path.join("file"), "cargo").unwrap();
    std::fs::File::open(path.join("file")).unwrap().sync_all().unwrap();
    let device = orlop_sys::mount::mounted_at(path.parent().unwrap()).unwrap().unwrap().device;
    let trigger = format!("/sys/fs/ext4/loop{}/trigger_fs_error", device.minor);
    std::fs::write(trigger, "damaged metadata").unwrap();
    let stopped = || std::fs::write(path.join("more"), "x").is_err();
    assert!(eventually(Duration::from_secs(10), stopped));
    let error = fails(world.attach("data", "two"), ErrorKind::Damaged);
    assert!(error.message.contains("takes no more writes"), "{error}");
    assert_eq!(world.state("data"), VolumeState::Error);
    world.detach("data", "one").unwrap();
    world.assert_nothing_mounted();
    let met_error = || orlop_sys::filesystem::superblock(&world.image(&made)).unwrap().unwrap().met_error;
    assert_eq!(met_error(), Some(true));
    let path = world.attach("data", "three").unwrap().path;
    assert_eq!(met_error(), Some(false), "it was checked");
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
    std::fs::write(path.join("more"), "x").unwrap();
    assert_eq!(world.state("data"), VolumeState::Active);
    world.detach("data", "three").unwrap();
    world.destroy("data");
}

#[test]
fn a_file_of_somebody_else_beside_an_image_delays_its_deletion_and_is_told() {
    require!(Part::Loop);
    let mut world = World::new("foreign");
    let made = world.make("data", "ReadWriteMany", "temp");
    let foreign = world.directory(&made).join("notes.txt");
    std::fs::write(&foreign, "mine").unwrap();
    let error = fails(world.delete("data"), ErrorKind::Conflict);
    let words = [foreign.parent().unwrap().to_str().unwrap(), "notes.txt", "move that elsewhere"];
    assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
    assert!(!world.image(&made).exists());

    let waits = |world: &World| {
        let status = world.by_id(&made).unwrap().status;
        assert_eq!(
            (status.state, status.reason),
            (VolumeState::Deleting, Some(error.to_string())),
            "the status says so too"
        );
    };
    waits(&world);
    fails(world.delete("data"), ErrorKind::Conflict);
    world.restart();
    waits(&world);
    let told = world.events().into_iter().filter(|event| event.reason == "DeletionDelayed").count();
    assert_eq!(told, 1, "once, however often it is tried");

    std::fs::remove_file(&foreign).unwrap();
    assert!(eventually(Duration::from_secs(20), || world.by_id(&made).is_err()));
    assert!(!world.directory(&made).exists());
    assert!(world.told("Destroyed"));
}

#[test]
fn what_a_deletion_waits_for_is_told_as_it_changes() {
    require!(Part::Loop);
    let world = World::new("waits");
    let made = world.make("data", "ReadWriteMany", "temp");
    world.attach("data", "one").unwrap();
    let path = world.attach("data", "two").unwrap().path;
    world.engine().delete(&ROOT, &key("data"), true).unwrap();
    let file = std::fs::File::create(path.join("open")).unwrap();
    for scope in ["one", "two"] {
        world.engine().detach(&DOCKER, &VolumeRef::Id(made.status.id), scope, PATIENCE).unwrap();
    }
    let me = format!("process {}", std::process::id());
    let reason = || world.by_id(&made).unwrap().status.reason.unwrap();
    assert!(eventually(Duration::from_secs(20), || reason().contains(&me)), "{}", reason());
    drop(file);
    assert!(eventually(Duration::from_secs(20), || world.by_id(&made).is_err()));
}

#[test]
fn a_check_of_the_pool_names_it_though_nothing_differs() {
    require!(Part::Loop);
    let world = told_and_alone("attention", &["can't be mounted"], |_, image| {
        let mut file = OpenOptions::new().write(true).open(image).unwrap();
        file.write_all(&vec![0x5a; 1 << 20]).unwrap();
    });
    let check = || world.engine().check_pool(&ROOT, &PoolName::default_pool(), true).unwrap();
    let report = check();
    assert_eq!((report.findings.as_slice(), report.volumes), (&[][..], 2));
    let [named] = report.attention.as_slice() else { panic!("{report:?}") };
    assert_eq!(named.name, "public/bad");
    assert!(named.condition.contains("can't be mounted"), "{named:?}");
    assert!(named.hint.contains("orlop volume fsck -n bad -w public"), "{named:?}");

    // What its image is like is a difference too, and says more of what to do.
    let image = world.image(&world.volume("bad"));
    std::fs::remove_file(&image).unwrap();
    let report = check();
    assert_eq!((report.findings.len(), report.attention.len()), (1, 1), "{report:?}");
    assert!(report.attention[0].condition.contains("is missing"), "{report:?}");
    assert!(report.attention[0].hint.contains("from a copy"), "{report:?}");
}
