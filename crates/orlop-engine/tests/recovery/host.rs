//! A host that lacks something: loop devices, a writable state directory, time.

use std::{path::Path, process::Command, time::Duration};

use orlop_engine::*;
use orlop_model::ErrorKind;
use orlop_testkit::{Part, Scratch, require};

use crate::harness::*;

const CHILD: &str = "ORLOP_HOST_SUITE_DIRECTORY";

/// In a mount namespace without loop devices, started by the test below; nothing elsewhere.
#[test]
fn the_part_without_loop_devices() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let world = World::over(Path::new(&directory), |_| ());
    world.make("data", "ReadWriteMany", "temp");
    let error = fails(world.attach("data", "one"), ErrorKind::HostLimit);
    assert!(error.message.contains("loop device") && error.hint.is_some(), "{error}");
    assert!(world.told("HostLimit"));
    assert_eq!(
        world.state("data"),
        orlop_model::resource::VolumeState::Active,
        "nothing is wrong with the volume"
    );
    world.destroy("data");
}

#[test]
fn without_loop_devices_attaching_says_so() {
    require!(Part::Loop);
    let scratch = Scratch::new("no-loop");
    let script = "mount --bind /dev/null /dev/loop-control && exec \"$0\" --exact host::the_part_without_loop_devices --nocapture";
    let exe = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", script]).arg(exe).env(CHILD, scratch.path());
    let said = orlop_testkit::run(&mut command).ok();
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn a_read_only_state_directory_is_told() {
    require!(Part::Root);
    let mut world = World::new("read-only");
    world.crash();
    let state = world.config.state_dir.clone();
    let mount =
        |arguments: &[&str]| orlop_testkit::run(Command::new("mount").args(arguments).arg(&state)).ok();
    mount(&["--bind", state.to_str().unwrap()]);
    mount(&["-o", "remount,bind,ro"]);
    let Err(error) = Engine::open(world.config.clone()) else { panic!("it can't work there") };
    assert!(matches!(error.kind, ErrorKind::Host | ErrorKind::Store), "{error}");
    assert!(error.to_string().contains("read-only"), "{error}");
    orlop_sys::mount::unmount(&state).unwrap();
    world.start();
}

#[test]
fn a_start_with_many_idle_volumes_is_quick() {
    require!(Part::Loop, Part::Sqlite3);
    const MANY: usize = 10_000;
    let mut world = World::new("many");
    let made = world.make("data", "ReadWriteMany", "temp");
    world.crash();
    // Records alone: an idle volume's image is not opened at start.
    let store = world.config.state_dir.join("orlop.db");
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})
         INSERT INTO volumes (id, node, workspace, manifest, state, generation, owner_uid, created_by, created_at, updated_at)
         SELECT printf('019a0000-0000-7000-8000-%012x', n.i), v.node, v.workspace,
             json_set(v.manifest, '$.name', 'idle-' || n.i), v.state, 1, 0, v.created_by, v.created_at, v.updated_at
         FROM n, volumes v WHERE v.id = '{id}';
         INSERT INTO placements (volume_id, pool_id, node, size_bytes, allocated_bytes, initialised, detail)
         SELECT w.id, p.pool_id, p.node, p.size_bytes, 0, 1, p.detail
         FROM volumes w, placements p WHERE w.id <> '{id}' AND p.volume_id = '{id}';",
        id = made.status.id
    );
    orlop_testkit::run(Command::new("sqlite3").arg(&store).arg(sql)).ok();
    let volumes = world.config.state_dir.join("pool/volumes");
    for index in 1..=MANY {
        let directory = volumes.join(format!("019a0000-0000-7000-8000-{index:012x}"));
        std::fs::create_dir(&directory).unwrap();
        std::fs::File::create(directory.join("data.img")).unwrap().set_len(16 * MIB).unwrap();
    }
    let begin = std::time::Instant::now();
    let recovery = world.start();
    let took = begin.elapsed();
    println!("{MANY} idle volumes: {took:?}");
    assert!(recovery.unaccounted.is_empty());
    // The bound is 1 s for what users run; this is not optimised and shares the machine.
    assert!(took < Duration::from_secs(10), "{took:?}");
    world.attach("data", "one").unwrap();
    world.detach("data", "one").unwrap();
}
