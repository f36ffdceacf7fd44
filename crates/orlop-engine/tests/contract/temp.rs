//! Temp volumes: their data is wiped some time after their last user left with a word, and never
//! for any other reason.

use std::{path::Path, time::Duration};

use orlop_model::{
    Period,
    resource::{Volume, VolumeState},
};
use orlop_testkit::{Part, command::eventually, require};

use crate::harness::*;

const SOON: Duration = Duration::from_secs(20);
/// Longer than any grace here, with the time a busy machine takes.
const LONGER: Duration = Duration::from_secs(5);

fn world(name: &str) -> World {
    World::with(name, |config| config.temp_grace = Period::After(2))
}

/// A temp volume with a file in it, in use.
fn used(world: &World, spec: &str) -> Volume {
    let spec = format!("size: 16Mi, accessMode: ReadWriteMany, type: temp{spec}");
    let volume = world.apply("data", &spec).unwrap().resource;
    let path = world.attach("data", "one").unwrap().path;
    std::fs::write(path.join("file"), "cargo").unwrap();
    volume
}

/// As if the host had been rebooted, or somebody had cleaned up: no mount of this world is left.
fn unmount_all(world: &World) {
    let mounted = orlop_testkit::mounts::mounts_below_anywhere(&world.config.mount_dir);
    for mount in mounted.iter().rev() {
        // Seen from other namespaces too, where it goes along.
        let _ = std::process::Command::new("umount").arg(&mount.target).output();
    }
    world.assert_nothing_mounted();
}

fn wiped(world: &World) -> bool {
    world.told("Wiped")
}

/// Nothing was wiped for longer than that takes.
#[track_caller]
fn stays(world: &World) {
    std::thread::sleep(LONGER);
    assert!(!wiped(world), "{:?}", world.events());
    assert_eq!(world.volume("data").status.wipe.and_then(|wipe| wipe.left_seconds), None, "nothing counts");
    let path = world.attach("data", "reader").unwrap().path;
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
}

#[test]
fn the_data_goes_after_the_last_user_and_the_volume_stays() {
    require!(Part::Loop);
    let world = world("wipe");
    let volume = used(&world, "");
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
    let before = inode(&world.image(&volume));
    world.attach("data", "two").unwrap();
    world.detach("data", "one").unwrap();
    assert!(!world.told("WipeScheduled"), "another still uses it");
    assert_eq!(world.volume("data").status.wipe.unwrap().left_seconds, None);
    world.detach("data", "two").unwrap();
    assert!(world.told("WipeScheduled"));
    let counting = world.volume("data").status.wipe.unwrap();
    assert_eq!(counting.after_seconds, 2);
    assert!(counting.left_seconds.is_some() && counting.at.is_some(), "{counting:?}");
    assert!(eventually(SOON, || wiped(&world)), "{:?}", world.events());
    assert!(world.told("WipeSoon"));
    assert_ne!(inode(&world.image(&volume)), before);
    let now = world.volume("data").status;
    assert_eq!((now.id, now.used_bytes), (volume.status.id, None));
    assert_eq!(now.wipe.unwrap().left_seconds, None, "an empty volume is not counted");
    let files: Vec<_> = std::fs::read_dir(world.directory(&volume)).unwrap().flatten().collect();
    assert_eq!(files.len(), 2, "{files:?}");
    let path = world.attach("data", "three").unwrap().path;
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0, "empty");
    std::fs::write(path.join("file"), "new").unwrap();
    assert_eq!(world.events().iter().filter(|event| event.reason == "Wiped").count(), 1);
}

#[test]
fn whoever_comes_back_in_time_finds_the_data() {
    require!(Part::Loop);
    let world = world("wipe-back");
    used(&world, "");
    world.detach("data", "one").unwrap();
    let path = world.attach("data", "two").unwrap().path;
    stays(&world);
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
    // And the countdown begins in full with the next that leaves.
    world.detach("data", "reader").unwrap();
    world.detach("data", "two").unwrap();
    assert!(eventually(SOON, || wiped(&world)));
}

#[test]
fn a_crash_of_users_a_restart_and_a_stale_id_begin_nothing() {
    require!(Part::Loop);
    let mut world = world("wipe-restart");
    used(&world, "");
    // Nothing of it is mounted when the daemon comes back, and its id goes without a word.
    world.crash();
    unmount_all(&world);
    world.start();
    assert!(world.volume("data").status.attachments.is_empty(), "{:?}", world.volume("data").status);
    assert!(world.told("AttachmentDropped"));
    stays(&world);
}

/// The container ended and its engine never said so; the daemon runs all the time.
#[test]
fn an_id_that_goes_stale_while_the_daemon_runs_begins_nothing() {
    require!(Part::Loop);
    let world = world("wipe-stale");
    used(&world, ", accessMode: ReadWriteOnce");
    let dropped = || world.events().iter().filter(|event| event.reason == "AttachmentDropped").count();
    unmount_all(&world);
    world.let_ids_go_stale();
    // Whoever wants it alone has it dropped, and leaves without a word too.
    world.attach("data", "two").unwrap();
    assert_eq!(dropped(), 1, "{:?}", world.events());
    unmount_all(&world);
    world.let_ids_go_stale();
    // Another size has to know who uses it; after that nobody does.
    world.apply("data", "size: 32Mi, accessMode: ReadWriteOnce, type: temp").unwrap();
    assert_eq!(dropped(), 2, "{:?}", world.events());
    assert!(world.volume("data").status.attachments.is_empty());
    assert!(!world.told("WipeScheduled"), "{:?}", world.events());
    stays(&world);
}

#[test]
fn a_reboot_begins_nothing() {
    require!(Part::Loop);
    let mut world = world("wipe-reboot");
    used(&world, "");
    world.crash();
    unmount_all(&world);
    let store = world.config.state_dir.join("orlop.db");
    let sql = "UPDATE attachments SET boot_id = 'before'";
    let done = std::process::Command::new("sqlite3").arg(store).arg(sql).status().unwrap();
    assert!(done.success());
    world.start();
    assert!(world.volume("data").status.attachments.is_empty());
    stays(&world);
}

#[test]
fn a_volume_never_attached_is_never_wiped() {
    require!(Part::Loop);
    let world = world("wipe-never-attached");
    world.apply("data", "size: 16Mi, accessMode: ReadWriteMany, type: temp").unwrap();
    std::thread::sleep(LONGER);
    assert!(!wiped(&world) && !world.told("WipeScheduled"));
}

#[test]
fn an_attach_that_is_taken_back_begins_nothing() {
    require!(Part::Loop);
    let world = world("wipe-withdraw");
    used(&world, "");
    world.engine().withdraw(&DOCKER, &key("data"), "one", PATIENCE).unwrap();
    stays(&world);
}

#[test]
fn only_time_in_which_the_daemon_runs_counts_and_it_counts_in_full_after_a_start() {
    require!(Part::Loop);
    let mut world = World::with("wipe-stopped", |config| config.temp_grace = Period::After(4));
    used(&world, "");
    world.detach("data", "one").unwrap();
    world.crash();
    std::thread::sleep(Duration::from_secs(5));
    world.start();
    assert!(!wiped(&world), "it did not count while it was stopped");
    let left = world.volume("data").status.wipe.unwrap().left_seconds.unwrap();
    assert!(left >= 2, "it begins anew: {left}");
    assert!(eventually(SOON, || wiped(&world)), "and goes on");
}

#[test]
fn never_a_type_that_keeps_and_protection_hold_the_data() {
    require!(Part::Loop);
    for (name, spec, then) in [
        ("wipe-never", ", tempGracePeriod: never", None),
        ("wipe-protected", ", protection: true", None),
        ("wipe-kept", "", Some("type: persistent")),
        ("wipe-changed", "", Some("type: temp, tempGracePeriod: never")),
    ] {
        let world = world(name);
        used(&world, spec);
        world.detach("data", "one").unwrap();
        if let Some(then) = then {
            world.apply("data", &format!("size: 16Mi, accessMode: ReadWriteMany, {then}")).unwrap();
        }
        stays(&world);
    }
}

#[test]
fn a_persistent_volume_that_becomes_temp_is_counted_from_its_next_user_on() {
    require!(Part::Loop);
    let world = world("wipe-becomes");
    world.make("data", "ReadWriteMany", "persistent");
    world.attach("data", "one").unwrap();
    world.detach("data", "one").unwrap();
    let changed = world.apply("data", "size: 16Mi, accessMode: ReadWriteMany, type: temp").unwrap().resource;
    assert_eq!(changed.status.wipe.map(|wipe| (wipe.after_seconds, wipe.left_seconds)), Some((2, None)));
    world.attach("data", "one").unwrap();
    world.detach("data", "one").unwrap();
    assert!(eventually(SOON, || wiped(&world)));
}

/// Nobody could have come back to it meanwhile.
#[test]
fn what_could_not_be_used_for_a_while_is_counted_anew() {
    require!(Part::Loop);
    let world = World::with("wipe-error", |config| config.temp_grace = Period::After(8));
    let volume = used(&world, "");
    world.detach("data", "one").unwrap();
    let (image, away) = (world.image(&volume), world.join("away.img"));
    // It is counted before.
    std::thread::sleep(Duration::from_secs(6));
    std::fs::rename(&image, &away).unwrap();
    world.volume("data");
    assert!(eventually(SOON, || world.state("data") == VolumeState::Error));
    std::thread::sleep(Duration::from_secs(4));
    std::fs::rename(&away, &image).unwrap();
    world.volume("data");
    assert!(eventually(Duration::from_secs(60), || world.state("data") == VolumeState::Active));
    std::thread::sleep(Duration::from_secs(6));
    assert!(!wiped(&world));
    assert!(eventually(SOON, || wiped(&world)), "and goes on");
}

/// A namespace that still has the volume mounted keeps its data, whatever the records say.
#[test]
fn a_holder_in_another_namespace_keeps_the_data() {
    require!(Part::Loop);
    let world = world("wipe-held");
    let volume = used(&world, "");
    let source = world.attach("data", "one").unwrap().path;
    let place = world.mkdir("place");
    let container = Container::start(&source, &place, &world.config.mount_dir, false);
    world.detach("data", "one").unwrap();
    std::thread::sleep(LONGER);
    assert!(!wiped(&world), "{:?}", world.events());
    container.end();
    std::thread::sleep(LONGER);
    assert!(!wiped(&world), "it left without a word: {:?}", world.events());
    assert!(world.image(&volume).exists());
}

/// One who comes in without a word while it counts is seen before anything is wiped.
#[test]
fn a_holder_without_a_record_cancels_the_wipe() {
    require!(Part::Loop);
    let world = World::with("wipe-intruder", |config| config.temp_grace = Period::After(6));
    let volume = used(&world, "");
    world.detach("data", "one").unwrap();
    let place = world.mkdir("intruder");
    let mounted = std::process::Command::new("mount")
        .args(["-o", "loop,direct_io=on"])
        .arg(world.image(&volume))
        .arg(&place)
        .output()
        .unwrap();
    if !mounted.status.success() {
        let plain = std::process::Command::new("mount")
            .args(["-o", "loop"])
            .arg(world.image(&volume))
            .arg(&place)
            .output()
            .unwrap();
        assert!(plain.status.success(), "{plain:?}");
    }
    let cancelled = eventually(SOON, || world.told("WipeCancelled"));
    let file = std::fs::read_to_string(place.join("data/file"));
    let unmounted = std::process::Command::new("umount").arg(&place).status().unwrap();
    assert!(unmounted.success());
    assert!(cancelled && !wiped(&world), "{:?}", world.events());
    assert_eq!(file.unwrap(), "cargo");
    stays(&world);
}

#[test]
fn a_preallocated_volume_has_its_room_again() {
    require!(Part::Loop);
    let world = world("wipe-preallocated");
    used(&world, ", preallocate: true");
    world.detach("data", "one").unwrap();
    assert!(eventually(SOON, || wiped(&world)), "{:?}", world.events());
    assert!(world.volume("data").status.allocated_bytes.unwrap() >= 16 * MIB);
}

#[test]
fn what_is_wiped_comes_from_nowhere_and_has_the_size_that_it_is_made_with() {
    require!(Part::Loop);
    let mut world = world("wipe-source");
    let spec = |size: &str, more: &str| format!("size: {size}, accessMode: ReadWriteMany, type: temp{more}");
    world.apply("origin", &spec("16Mi", "")).unwrap();
    let grown = spec("16Mi", ", source: volume origin").replace("16Mi", "300Mi");
    let volume = world.apply("data", &grown).unwrap().resource;
    let notes = |world: &World| world.volume("data").status.notes;
    assert!(notes(&world).iter().any(|note| note.contains("taken over from volume public/origin")));
    assert_eq!(volume.status.block_size, 1024, "as an ext4 of 16Mi is made");
    let described =
        |world: &World| std::fs::read_to_string(world.directory(&volume).join("volume.json")).unwrap();
    assert!(described(&world).contains("\"createdSizeBytes\": 16777216"), "{}", described(&world));
    world.attach("data", "one").unwrap();
    world.detach("data", "one").unwrap();
    assert!(eventually(SOON, || wiped(&world)), "{:?}", world.events());
    assert_eq!(notes(&world), Vec::<String>::new());
    let now = described(&world);
    assert!(now.contains("\"source\": null") && !now.contains("createdSizeBytes"), "{now}");
    assert_eq!(world.volume("data").status.block_size, 4096);
    let report = world.engine().check_pool(&ROOT, &orlop_model::PoolName::default_pool(), false).unwrap();
    assert_eq!(report.findings, []);
    world.restart();
    // From 16Mi this would be more than 16 times.
    let more = world.apply("data", &grown.replace("300Mi", "400Mi")).unwrap().resource;
    assert!(!more.status.notes.iter().any(|note| note.contains("16 times")), "{:?}", more.status.notes);
    assert!(notes(&world).is_empty());
    world.snapshot("s", "data").unwrap();
    world.apply("copy", &grown.replace("300Mi", "400Mi").replace("volume origin", "snapshot s")).unwrap();
    world.inside("copy", |path| assert_eq!(std::fs::read_dir(path).unwrap().count(), 0));
}

/// How its filesystem was made is not believed of what is imported: it is made as for a new one.
#[test]
fn what_was_imported_is_wiped_too() {
    require!(Part::Loop);
    let mut world = world("wipe-imported");
    let volume = used(&world, "");
    world.detach("data", "one").unwrap();
    let path = world.pool_path();
    world.crash();
    for file in ["orlop.db", "orlop.db-wal", "orlop.db-shm"] {
        let _ = std::fs::remove_file(world.config.state_dir.join(file));
    }
    world.start();
    let request = orlop_engine::ImportRequest {
        name: None,
        place: orlop_engine::ImportPlace::Directory(path),
        capacity: None,
        overcommit: None,
    };
    world.engine().import_pool(&ROOT, &request).unwrap();
    assert_eq!(world.volume("data").status.id, volume.status.id);
    world.attach("data", "one").unwrap();
    world.detach("data", "one").unwrap();
    assert!(eventually(SOON, || wiped(&world)), "{:?}", world.events());
    let path = world.attach("data", "two").unwrap().path;
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
    std::fs::write(path.join("file"), "new").unwrap();
    let described = std::fs::read_to_string(world.directory(&volume).join("volume.json")).unwrap();
    assert!(!described.contains("\"arguments\": []"), "{described}");
}

/// Nothing tells any more of what size the filesystem in a snapshot was made with.
#[test]
fn what_is_made_of_a_grown_volume_that_is_gone_is_wiped_too() {
    require!(Part::Loop);
    let world = world("wipe-gone");
    let kind = "accessMode: ReadWriteMany, type: temp";
    world.apply("origin", &format!("size: 16Mi, {kind}")).unwrap();
    world.apply("origin", &format!("size: 300Mi, {kind}")).unwrap();
    world.snapshot("s", "origin").unwrap();
    world.destroy("origin");
    world.apply("data", &format!("size: 300Mi, {kind}, source: snapshot s")).unwrap();
    world.attach("data", "one").unwrap();
    world.detach("data", "one").unwrap();
    assert!(eventually(SOON, || wiped(&world) || world.told("WipeFailed")), "{:?}", world.events());
    assert!(wiped(&world), "{:?}", world.events());
    world.inside("data", |path| assert_eq!(std::fs::read_dir(path).unwrap().count(), 0));
}
