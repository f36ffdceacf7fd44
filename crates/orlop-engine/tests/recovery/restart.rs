//! What a start finds, adopts, drops and leaves alone.

use std::{path::Path, time::Duration};

use orlop_engine::*;
use orlop_model::{ErrorKind, resource::VolumeState};
use orlop_testkit::{Part, command::eventually, mounts, require};

use crate::harness::*;

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[test]
fn a_container_writes_on_while_the_engine_is_away_and_after() {
    require!(Part::Loop);
    let mut world = World::new("adopt");
    world.make("data", "ReadWriteOnce", "temp");
    let path = world.attach("data", "one").unwrap().path;
    let container = Container::start(&path, &world.mkdir("c"), &world.config.mount_dir, true);
    let ticks = path.join("ticks");
    assert!(eventually(Duration::from_secs(5), || lines(&ticks) > 2));
    world.crash();
    let before = lines(&ticks);
    assert!(eventually(Duration::from_secs(5), || lines(&ticks) > before + 2), "it writes while we are away");
    let recovery = world.start();
    assert_eq!((recovery.adopted, recovery.dropped), (1, 0), "{recovery:?}");
    assert!(world.told("Adopted"));
    assert_eq!(mounts::loops_below(world.scratch()).len(), 1);
    let before = lines(&ticks);
    assert!(eventually(Duration::from_secs(5), || lines(&ticks) > before + 2), "and after adoption");
    assert_eq!(world.volume("data").status.attachments[0].scope, "one");
    fails(world.attach("data", "two"), ErrorKind::AccessRefused);
    container.end();
    world.detach("data", "one").unwrap();
    world.assert_nothing_mounted();
    let path = world.attach("data", "two").unwrap().path;
    assert!(lines(&path.join("ticks")) > before, "what was written is there");
    world.detach("data", "two").unwrap();
}

/// Unmounts all volumes behind the engine's back, and says how many mounts there were.
fn unmount_all(world: &World) -> usize {
    let ours = |mount: &mounts::Mount| {
        mount.target != world.config.mount_dir && mount.target.starts_with(&world.config.mount_dir)
    };
    let all: Vec<_> = mounts::mounts().into_iter().filter(ours).collect();
    for mount in &all {
        orlop_sys::mount::unmount(&mount.target).unwrap();
    }
    all.len()
}

#[test]
fn attachments_without_a_mount_are_dropped() {
    require!(Part::Loop);
    let mut world = World::new("dropped");
    world.make("data", "ReadWriteOnce", "temp");
    let target = world.mkdir("target");
    world.make("host", "ReadWriteOnce", "temp");
    world.attach("data", "one").unwrap();
    world.mount("host", &target, MountAccess::ByMode).unwrap();
    world.crash();
    // As after a reboot, but for the boot id.
    unmount_all(&world);
    orlop_sys::mount::unmount(&target).unwrap();
    let recovery = world.start();
    assert_eq!((recovery.adopted, recovery.dropped), (0, 2), "{recovery:?}");
    world.assert_nothing_mounted();
    world.attach("data", "two").unwrap();
    world.detach("data", "two").unwrap();
}

#[test]
fn attachments_whose_mount_can_not_be_looked_at_are_kept() {
    require!(Part::Loop);
    let mut world = World::new("unseen");
    world.make("data", "ReadWriteOnce", "temp");
    let path = world.attach("data", "one").unwrap().path;
    let place = world.config.mount_dir.join(world.volume("data").status.id.to_string());
    world.crash();
    // A link that leads to itself stands for whatever may fail: what is behind it can't be asked.
    let aside = world.config.mount_dir.join("aside");
    std::fs::rename(&place, &aside).unwrap();
    std::os::unix::fs::symlink(&place, &place).unwrap();
    let recovery = world.start();
    assert_eq!((recovery.adopted, recovery.dropped), (0, 0), "{recovery:?}");
    assert!(world.told("RecoveryFailed"));
    world.crash();
    std::fs::remove_file(&place).unwrap();
    std::fs::rename(&aside, &place).unwrap();
    let recovery = world.start();
    assert_eq!((recovery.adopted, recovery.dropped), (1, 0), "{recovery:?}");
    std::fs::write(path.join("file"), "cargo").unwrap();
    world.detach("data", "one").unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn after_a_reboot_all_are_dropped_and_their_logs_replayed() {
    require!(Part::Loop, Part::Sqlite3);
    let mut world = World::new("reboot");
    for index in 0..6 {
        let name = format!("data-{index}");
        world.make(&name, "ReadWriteOnce", "temp");
        let path = world.attach(&name, "one").unwrap().path;
        std::fs::write(path.join("file"), name.as_bytes()).unwrap();
    }
    world.crash();
    assert_eq!(unmount_all(&world), 2 * 6, "the base and the front's");
    let store = world.config.state_dir.join("orlop.db");
    let sql = "UPDATE meta SET value = 'another boot' WHERE key = 'boot_id'; UPDATE attachments SET boot_id = 'another boot';";
    orlop_testkit::run(std::process::Command::new("sqlite3").arg(&store).arg(sql)).ok();
    let recovery = world.start();
    assert_eq!((recovery.adopted, recovery.dropped), (0, 6), "{recovery:?}");
    world.assert_nothing_mounted();
    for index in 0..6 {
        let name = format!("data-{index}");
        let path = world.attach(&name, "two").unwrap().path;
        assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), name);
        world.detach(&name, "two").unwrap();
    }
}

#[test]
fn what_no_record_explains_is_left_alone() {
    require!(Part::Loop);
    let mut world = World::new("unaccounted");
    world.make("data", "ReadWriteMany", "temp");
    let volumes = world.pool_path().join("volumes");
    let stray = volumes.join("019a0000-0000-7000-8000-000000000001");
    std::fs::create_dir(&stray).unwrap();
    std::fs::write(stray.join("data.img"), "somebody's data").unwrap();
    std::fs::write(volumes.join("notes"), "x").unwrap();
    let mut recovery = world.restart();
    recovery.unaccounted.sort();
    assert_eq!(recovery.unaccounted, [stray.clone(), volumes.join("notes")]);
    assert!(world.told("Unaccounted"));
    assert_eq!(std::fs::read_to_string(stray.join("data.img")).unwrap(), "somebody's data");
}

#[test]
fn a_second_engine_on_one_state_directory_is_refused() {
    require!(Part::Root);
    let world = World::new("locked");
    let Err(error) = Engine::open(world.config.clone()) else { panic!("it should have been refused") };
    assert_eq!(error.kind, ErrorKind::Locked);
    assert!(error.message.contains(&std::process::id().to_string()), "{error}");
}

#[test]
fn mounts_that_nobody_needs_are_taken_down() {
    require!(Part::Loop, Part::Sqlite3);
    let mut world = World::new("unneeded");
    world.make("data", "ReadWriteMany", "temp");
    world.attach("data", "one").unwrap();
    world.attach_as(&DOCKER, "data", "two", true).unwrap();
    world.crash();
    let store = world.config.state_dir.join("orlop.db");
    orlop_testkit::run(std::process::Command::new("sqlite3").arg(&store).arg("DELETE FROM attachments;"))
        .ok();
    world.start();
    world.assert_nothing_mounted();
    assert_eq!(world.state("data"), VolumeState::Active);
}

#[test]
fn a_clean_stop_leaves_mounts_and_an_idle_one_leaves_nothing() {
    require!(Part::Loop);
    let mut world = World::new("stop");
    world.make("data", "ReadWriteMany", "temp");
    let path = world.attach("data", "one").unwrap().path;
    world.engine().shutdown();
    std::fs::write(path.join("file"), "still here").unwrap();
    world.crash();
    assert_eq!(world.start().adopted, 1);
    world.detach("data", "one").unwrap();
    world.engine().shutdown();
    world.assert_nothing_mounted();
    let own: Vec<_> =
        mounts::mounts().into_iter().filter(|mount| mount.target == world.config.mount_dir).collect();
    assert!(own.is_empty(), "{own:?}");
    world.crash();
    world.start();
}

#[test]
fn a_first_start_that_was_killed_at_the_pool_is_repeated() {
    require!(Part::Loop, Part::Sqlite3);
    let mut world = World::new("first-start");
    world.crash();
    let pool = world.config.state_dir.join("pool");
    let begun = format!(
        "DELETE FROM pools; INSERT INTO operations (id, node, intent, boot_id, started_at) VALUES
         ('018f0000-0000-7000-8000-000000000001', 'test', '{{\"kind\":\"createPool\",\"pool\":\"018f0000-0000-7000-8000-000000000002\",\"path\":\"{}\"}}', 'x', '2026-01-01T00:00:00Z')",
        pool.display()
    );
    let store = world.config.state_dir.join("orlop.db");
    orlop_testkit::run(std::process::Command::new("sqlite3").arg(store).arg(begun)).ok();
    std::fs::remove_dir_all(&pool).unwrap();
    std::fs::create_dir(&pool).unwrap();
    // What a kill leaves while the marker is written.
    std::fs::write(pool.join(".orlop.pool.new"), "half").unwrap();
    let recovery = world.start();
    assert_eq!(recovery.undone, 1);
    world.apply("data", "size: 16Mi, accessMode: ReadWriteMany, type: temp").unwrap();
}

#[test]
fn what_a_failed_attach_left_in_the_journal_does_not_unmount_a_later_one() {
    require!(Part::Loop, Part::Sqlite3);
    let mut world = World::new("left-attach");
    let made = world.make("data", "ReadWriteMany", "temp");
    let target = world.mkdir("target");
    world.mount("data", &target, MountAccess::ByMode).unwrap();
    std::fs::write(target.join("file"), "cargo").unwrap();
    world.crash();
    let left = format!(
        "INSERT INTO operations (id, node, volume_id, intent, boot_id, started_at) VALUES
         ('018f0000-0000-7000-8000-000000000001', 'test', '{}', '{{\"kind\":\"attach\",\"attachment\":\"018f0000-0000-7000-8000-000000000002\",\"target\":\"{}\"}}', 'x', '2026-01-01T00:00:00Z')",
        made.status.id,
        target.display()
    );
    let store = world.config.state_dir.join("orlop.db");
    orlop_testkit::run(std::process::Command::new("sqlite3").arg(store).arg(left)).ok();
    world.start();
    assert_eq!(std::fs::read_to_string(target.join("file")).unwrap(), "cargo");
    assert_eq!(world.volume("data").status.attachments.len(), 1);
    world.engine().unmount(&ROOT, &target).unwrap();
    world.destroy("data");
}

#[test]
fn a_detach_that_failed_is_not_finished_after_the_same_scope_came_back() {
    require!(Part::Loop, Part::Sqlite3);
    let mut world = World::new("left-detach");
    let made = world.make("data", "ReadWriteMany", "temp");
    world.attach("data", "one").unwrap();
    let attachment = world.volume("data").status.attachments[0].id;
    let left = format!(
        "INSERT INTO operations (id, node, volume_id, intent, boot_id, started_at) VALUES
         ('018f0000-0000-7000-8000-000000000001', 'test', '{}', '{{\"kind\":\"detach\",\"attachment\":\"{attachment}\",\"target\":null}}', 'x', '2026-01-01T00:00:00Z')",
        made.status.id,
    );
    let store = world.config.state_dir.join("orlop.db");
    orlop_testkit::run(std::process::Command::new("sqlite3").arg(store).arg(left)).ok();
    let path = world.attach("data", "one").unwrap().path;
    world.restart();
    assert_eq!(world.volume("data").status.attachments.len(), 1);
    std::fs::write(path.join("file"), "cargo").unwrap();
    world.detach("data", "one").unwrap();
    world.destroy("data");
}

/// The journal alone knows that it is frozen: whatever becomes of the rest, the entry stays until it is not.
#[test]
fn what_can_not_be_thawed_at_start_is_thawed_before_it_is_settled() {
    require!(Part::Loop, Part::Sqlite3);
    let disk = orlop_testkit::ScratchFs::xfs(1 << 30);
    let mut world = World::over(&disk.join("all"), |_| ());
    world.make("data", "ReadWriteMany", "temp");
    let path = world.attach("data", "one").unwrap().path;
    world.snapshot("s", "data").unwrap();
    let base = world.config.mount_dir.join(world.volume("data").status.id.to_string()).join("base");
    world.crash();
    let store = world.config.state_dir.join("orlop.db");
    let store =
        |sql: &str| orlop_testkit::run(std::process::Command::new("sqlite3").arg(&store).arg(sql)).ok();
    store(
        "UPDATE snapshots SET state = 'pending';
        INSERT INTO operations (id, node, volume_id, intent, boot_id, started_at) SELECT id, node, volume_id,
            json_object('kind', 'snapshot', 'snapshot', id), 'boot', created_at FROM snapshots",
    );
    orlop_testkit::run(std::process::Command::new("fsfreeze").arg("--freeze").arg(&base)).ok();
    let recovery = orlop_testkit::process::unprivileged(|| world.start());
    assert_eq!((recovery.thawed, recovery.finished, recovery.undone), (0, 0, 0), "{recovery:?}");
    // The background tries to settle it, with as few rights.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(store("SELECT count(*) FROM operations").trim(), "1");
    // Whoever comes next may thaw it.
    world.snapshot("another", "data").unwrap();
    assert_eq!(store("SELECT count(*) FROM operations").trim(), "0");
    assert_eq!(world.snapshot_names(), ["another", "s"]);
    std::fs::write(path.join("file"), "x").unwrap();
    world.detach("data", "one").unwrap();
}

/// What was being made is whole if its description says so. One that can't be read now says nothing.
#[test]
fn what_can_not_be_read_at_start_is_not_taken_back() {
    require!(Part::Loop, Part::Sqlite3);
    let disk = orlop_testkit::ScratchFs::xfs(1 << 30);
    let mut world = World::over(&disk.join("all"), |_| ());
    world.make("data", "ReadWriteMany", "temp");
    let snapshot = world.snapshot("s", "data").unwrap().resource.status.id.to_string();
    let volume = world.volume("data");
    let descriptions = [
        world.pool_path().join("snapshots").join(snapshot).join("snapshot.json"),
        world.directory(&volume).join("volume.json"),
    ];
    world.crash();
    let store = world.config.state_dir.join("orlop.db");
    orlop_testkit::run(std::process::Command::new("sqlite3").arg(store).arg(
        "UPDATE snapshots SET state = 'pending';
        INSERT INTO operations (id, node, volume_id, intent, boot_id, started_at) SELECT id, node, volume_id,
            json_object('kind', 'snapshot', 'snapshot', id), 'boot', created_at FROM snapshots;
        UPDATE volumes SET state = 'pending';
        INSERT INTO operations (id, node, volume_id, intent, boot_id, started_at) SELECT id, node, id,
            json_object('kind', 'create'), 'boot', created_at FROM volumes",
    ))
    .ok();
    // A link that leads to itself stands for a disk that fails: it is there, and can't be opened.
    let aside = |file: &Path| file.with_extension("aside");
    for file in &descriptions {
        std::fs::rename(file, aside(file)).unwrap();
        std::os::unix::fs::symlink(file, file).unwrap();
    }
    let recovery = world.start();
    assert_eq!((recovery.finished, recovery.undone), (0, 0), "{recovery:?}");
    world.crash();
    for file in &descriptions {
        std::fs::rename(aside(file), file).unwrap();
    }
    let recovery = world.start();
    assert_eq!((recovery.finished, recovery.undone), (2, 0), "{recovery:?}");
    assert_eq!(world.snapshot_names(), ["s"]);
    assert_eq!(world.volume("data").status.state, VolumeState::Active);
}

/// The machine goes on and the daemon and its watchdog were both killed: what is left frozen is thawed first
/// of all, each volume of a group.
#[test]
fn what_a_group_left_frozen_is_thawed_before_anything_else() {
    require!(Part::Loop, Part::Sqlite3);
    let disk = orlop_testkit::ScratchFs::xfs(1 << 30);
    for whole in [true, false] {
        let mut world = World::over(&disk.join(if whole { "whole" } else { "half" }), |_| ());
        let names = ["a", "b"];
        let paths = names.map(|name| {
            world.make(name, "ReadWriteMany", "temp");
            world.attach(name, "one").unwrap().path
        });
        let group = world.snapshot_group("g", &names).unwrap().resource;
        let pool = world.pool_path();
        let bases = names
            .map(|name| world.config.mount_dir.join(world.volume(name).status.id.to_string()).join("base"));
        world.crash();
        // As in the moment before the records said that it was there.
        let sql = format!(
            "UPDATE snapshots SET state = 'pending';
            INSERT INTO operations (id, node, intent, boot_id, started_at) SELECT '{0}', node,
                json_object('kind', 'snapshotGroup', 'group', '{0}'), 'boot', created_at FROM snapshots LIMIT 1",
            group.id
        );
        let store = world.config.state_dir.join("orlop.db");
        orlop_testkit::run(std::process::Command::new("sqlite3").arg(store).arg(sql)).ok();
        if !whole {
            let of = |at: usize| group.snapshots[at].status.id.to_string();
            let file = pool.join("snapshots").join(of(1)).join("snapshot.json");
            std::fs::remove_file(file).unwrap();
        }
        for base in &bases {
            orlop_testkit::run(std::process::Command::new("fsfreeze").arg("--freeze").arg(base)).ok();
        }
        let recovery = world.start();
        let ended = (recovery.finished, recovery.undone);
        assert_eq!((recovery.thawed, ended), (2, if whole { (1, 0) } else { (0, 1) }), "{recovery:?}");
        assert!(recovery.unaccounted.is_empty(), "{recovery:?}");
        for path in paths {
            // It would wait for ever.
            std::fs::write(path.join("file"), "x").unwrap();
        }
        let left: &[&str] = if whole { &["g-a", "g-b"] } else { &[] };
        assert_eq!(world.snapshot_names(), left);
        assert_eq!(world.engine().snapshot_group(&ROOT, &snapshot_key("g")).is_ok(), whole);
        for name in names {
            world.detach(name, "one").unwrap();
        }
    }
}
