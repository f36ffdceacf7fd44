//! What a start makes of that which an orchestrator has on its node.

use orlop_model::{ErrorKind, resource::Volume};
use orlop_testkit::{Part, mounts, require};

use crate::harness::*;

fn world(name: &str) -> (World, Volume) {
    let world = World::with(name, serve);
    let volume = world.make("data", "ReadWriteOnce", "persistent");
    (world, volume)
}

fn rows(world: &World) -> usize {
    world.volume("data").status.attachments.len()
}

#[test]
fn what_is_staged_and_published_goes_on_and_ends_after_a_restart() {
    require!(Part::Loop);
    let (mut world, volume) = world("node-adopt");
    world.stage(&volume).unwrap();
    let target = world.publish(&volume, "one").unwrap();
    let container = Container::start(&target, &world.mkdir("c"), &world.join("kubelet"), true);
    let recovery = world.restart();
    assert_eq!((recovery.adopted, recovery.dropped), (1, 0), "{recovery:?}");
    assert_eq!(rows(&world), 2);
    world.stage(&volume).unwrap();
    world.publish(&volume, "one").unwrap();
    world.publish(&volume, "two").unwrap();
    // Served no more, what is there stays as it is.
    let root = world.config.kubelet_root.take();
    let recovery = world.restart();
    assert_eq!((recovery.adopted, recovery.dropped), (1, 0), "{recovery:?}");
    assert_eq!(rows(&world), 3);
    fails(world.unpublish(&volume, "two"), ErrorKind::Unsupported);
    world.config.kubelet_root = root;
    world.restart();
    container.end();
    world.unpublish(&volume, "one").unwrap();
    world.unpublish(&volume, "two").unwrap();
    world.unstage(&volume).unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn after_a_restart_without_consumers_the_next_one_finds_it_ready() {
    require!(Part::Loop);
    let (mut world, volume) = world("node-ready");
    world.stage(&volume).unwrap();
    world.crash();
    let base = world.config.mount_dir.join(volume.status.id.to_string()).join("base");
    orlop_sys::mount::unmount(&base).unwrap();
    let recovery = world.start();
    assert_eq!((recovery.adopted, recovery.dropped), (1, 0), "{recovery:?}");
    assert_eq!(mounts::loops_below(world.scratch()).len(), 1);
    world.unstage(&volume).unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn a_stage_whose_directory_is_gone_is_nobodys() {
    require!(Part::Loop);
    let (mut world, volume) = world("node-gone");
    for restart in [false, true] {
        world.stage(&volume).unwrap();
        fails(world.attach("data", "container"), ErrorKind::AccessRefused);
        std::fs::remove_dir(world.staging("data")).unwrap();
        if restart {
            assert_eq!(world.restart().dropped, 1);
            world.assert_nothing_mounted();
        }
        world.attach("data", "container").unwrap();
        world.detach("data", "container").unwrap();
    }
    world.stage(&volume).unwrap();
    std::fs::remove_dir(world.staging("data")).unwrap();
    world.delete("data").unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn targets_that_were_unmounted_while_the_engine_was_away_are_dropped() {
    require!(Part::Loop);
    let (mut world, volume) = world("node-away");
    let one = world.publish(&volume, "one").unwrap();
    let two = world.publish(&volume, "two").unwrap();
    std::fs::write(one.join("file"), "cargo").unwrap();
    world.crash();
    orlop_sys::mount::unmount(&one).unwrap();
    let recovery = world.start();
    assert_eq!((recovery.adopted, recovery.dropped), (1, 1), "{recovery:?}");
    assert_eq!(std::fs::read_to_string(two.join("file")).unwrap(), "cargo");
    world.unpublish(&volume, "one").unwrap();
    assert!(!one.exists());
    world.unpublish(&volume, "two").unwrap();
    world.unstage(&volume).unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn after_a_reboot_all_is_published_anew() {
    require!(Part::Loop, Part::Sqlite3);
    let (mut world, volume) = world("node-reboot");
    world.stage(&volume).unwrap();
    for pod in ["one", "two"] {
        world.publish(&volume, pod).unwrap();
    }
    std::fs::write(world.target("one").join("file"), "cargo").unwrap();
    world.crash();
    let (dir, root) = (world.config.mount_dir.clone(), world.join("kubelet"));
    let mut all: Vec<_> = mounts::mounts().into_iter().map(|mount| mount.target).collect();
    all.retain(|target| (target.starts_with(&dir) && *target != dir) || target.starts_with(&root));
    assert_eq!(all.len(), 3);
    all.iter().rev().for_each(|target| orlop_sys::mount::unmount(target).unwrap());
    let store = world.config.state_dir.join("orlop.db");
    let sql = "UPDATE meta SET value = 'another boot' WHERE key = 'boot_id'; UPDATE attachments SET boot_id = 'another boot';";
    orlop_testkit::run(std::process::Command::new("sqlite3").arg(&store).arg(sql)).ok();
    let recovery = world.start();
    assert_eq!((recovery.adopted, recovery.dropped), (0, 3), "{recovery:?}");
    world.assert_nothing_mounted();
    // One orchestrator stages again, one only publishes, and one only cleans up.
    let target = world.publish(&volume, "one").unwrap();
    assert_eq!(std::fs::read_to_string(target.join("file")).unwrap(), "cargo");
    assert_eq!(rows(&world), 2);
    world.stage(&volume).unwrap();
    world.unpublish(&volume, "two").unwrap();
    assert!(!world.target("two").exists());
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn a_damaged_volume_is_refused_with_the_reason_when_it_is_published_again() {
    require!(Part::Loop);
    let (world, volume) = world("node-damaged");
    world.stage(&volume).unwrap();
    world.unstage(&volume).unwrap();
    let image = world.image(&volume);
    let whole = std::fs::read(&image).unwrap();
    std::fs::write(&image, vec![0; whole.len()]).unwrap();
    for _ in 0..2 {
        fails(world.publish(&volume, "one"), ErrorKind::Damaged);
        assert!(!world.target("one").exists());
    }
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
    std::fs::write(&image, whole).unwrap();
    world.publish(&volume, "one").unwrap();
    world.unpublish(&volume, "one").unwrap();
    world.unstage(&volume).unwrap();
    world.assert_nothing_mounted();
}
