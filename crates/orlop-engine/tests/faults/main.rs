//! The fault suite: at every step of every operation the process is killed, or the step fails with
//! EIO or ENOSPC; then the operation is repeated and the engine restarted, and nothing is lost, nothing
//! is left behind, and the sums are right.
//!
//! Each case runs in a child process of its own, which is this binary again with the fault in its
//! environment. What it leaves in the kernel and on disk is what the parent recovers from.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../harness/mod.rs"]
mod harness;

mod copies;
mod growing;
mod killed;
mod leftovers;
mod lifecycle;
mod meanwhile;
mod nodes;
mod patience;
mod pools;
mod repair;
mod scenarios;
mod snapshots;
mod thawing;

use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use orlop_engine::fault::{self, Point};
use orlop_testkit::{Part, Scratch, ScratchFs, command::eventually, mounts, require};

use harness::World;
use scenarios::Scenario;

const DIRECTORY: &str = "ORLOP_FAULT_SUITE_DIRECTORY";
const SCENARIO: &str = "ORLOP_FAULT_SUITE_SCENARIO";
const EFFECT: &str = "ORLOP_FAULT_SUITE_EFFECT";
/// The fault, where it is for what is operated; else it is the whole process's.
const FAULT: &str = "ORLOP_FAULT_SUITE_FAULT";
const NONE: &str = "none";
const SIGABRT: i32 = 6;

/// All of them.
fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    let of_volumes = scenarios::SCENARIOS.iter().chain(lifecycle::SCENARIOS);
    of_volumes.chain(pools::SCENARIOS).chain(snapshots::SCENARIOS).chain(nodes::SCENARIOS)
}

/// What the child does; nothing where this is no child.
#[test]
fn the_part_of_the_child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let name = std::env::var(SCENARIO).unwrap();
    let scenario = scenarios().find(|scenario| scenario.name == name).unwrap();
    let world = World::over(Path::new(&directory), |config| {
        if !scenario.in_background {
            // So that who asks again finds what the failure left, and not what was settled meanwhile.
            config.observe_every = Duration::from_secs(3);
        }
        (scenario.configure)(config);
    });
    // What a first start goes through takes locks, and writes what an operation would.
    let described = || rows(&world, "SELECT value FROM meta WHERE key = 'described'");
    assert!(eventually(Duration::from_secs(30), || !described().is_empty()), "the first start ends");
    let before: Vec<u64> = Point::ALL.iter().map(|point| fault::passed(*point)).collect();
    // Of its own thread, from here on: what a start passes is another operation.
    let _fault = std::env::var(FAULT).ok().map(|fault| fault::inject(&fault));
    let first = (scenario.operate)(&world);
    match std::env::var(EFFECT).unwrap().as_str() {
        NONE => {
            first.expect("nothing is in its way");
            let passed =
                Point::ALL.iter().zip(before).filter(|(point, before)| fault::passed(**point) > *before);
            let passed: Vec<Point> = passed.map(|(point, _)| *point).collect();
            let mut named = scenario.points.to_vec();
            named.sort_by_key(|named| Point::ALL.iter().position(|point| point == named));
            assert_eq!(named, passed, "{name} names all points that it passes, and no others");
        }
        "abort" => panic!("it should have died: {first:?}"),
        _ if scenario.in_background => {}
        _ => {
            let error = first.expect_err("it should have failed");
            assert!(error.message.contains("(injected)"), "{error}");
        }
    }
    (scenario.operate)(&world).expect("asked again, it succeeds");
    if !scenario.in_background {
        let left = || rows(&world, "SELECT kind FROM operations");
        let settled = eventually(Duration::from_secs(30), || left().is_empty());
        assert!(settled, "in the journal, without a restart: {}", left());
    }
    world.forget();
}

#[test]
fn every_point_is_passed_by_a_scenario() {
    let passed: std::collections::HashSet<Point> =
        scenarios().flat_map(|scenario| scenario.points).copied().collect();
    let missing: Vec<_> = Point::ALL.iter().filter(|point| !passed.contains(point)).collect();
    assert!(missing.is_empty(), "no scenario passes {missing:?}");
}

macro_rules! scenario_tests {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                require!(Part::Loop, Part::Sqlite3);
                all_faults(stringify!($name));
            }
        )*

        #[test]
        fn every_scenario_is_run() {
            let run = [$(stringify!($name)),*];
            assert!(scenarios().all(|scenario| run.contains(&scenario.name)));
        }
    };
}

scenario_tests!(
    create,
    create_preallocated,
    create_from_blank,
    change_attached,
    attach,
    attach_read_only,
    mount_on_the_host,
    detach,
    detach_the_last_of_a_front,
    take_over_from_a_stale_id,
    unmount_from_the_host,
    delete_temp,
    delete_persistent,
    undelete,
    undelete_as,
    purge,
    wipe,
    rename,
    learn_an_alias,
    blank,
    pool,
    pool_on_an_image,
    pool_on_a_device,
    remove_pool,
    remove_pool_of_a_directory,
    remove_pool_of_a_device,
    export_pool,
    grow_pool,
    grow_attached,
    grow_detached,
    shrink,
    migrate,
    migrate_files,
    repair,
    remake,
    adopt,
    check_pool,
    import_pool,
    import_pool_of_a_directory,
    snapshot_in_use,
    snapshot_copied,
    snapshot_configure,
    snapshot_group_configure,
    snapshot_delete,
    snapshot_group,
    snapshot_group_delete,
    restore,
    restore_copied,
    restore_into_larger,
    restore_into_smaller,
    clone,
    clone_copied,
    clone_of_a_snapshot,
    clone_larger,
    stage,
    publish,
    publish_read_only,
    publish_for_a_group,
    unpublish,
    unstage,
    stage_a_device,
    publish_a_device,
    publish_a_device_to_be_read,
    unpublish_a_device,
    unstage_a_device,
    grow_a_device,
    snapshot_a_device,
    clone_a_device,
);

fn all_faults(name: &str) {
    let scenario = scenarios().find(|scenario| scenario.name == name).unwrap();
    // What the engine does by itself it does in threads of its own.
    if !scenario.in_background {
        without_fault(scenario);
    }
    for point in scenario.points {
        for effect in ["abort", "eio", "enospc"] {
            println!("{name}: {}={effect}", point.as_str());
            one_fault(scenario, *point, effect);
        }
    }
}

/// Where the scenario is played.
struct Stage {
    _scratch: Scratch,
    _sharing: Option<ScratchFs>,
    directory: PathBuf,
}

fn prepared(scenario: &Scenario) -> Stage {
    let scratch = Scratch::new("fault");
    let sharing = scenario.sharing.then(|| ScratchFs::xfs(512 << 20));
    let directory: PathBuf = sharing.as_ref().map_or(scratch.path(), ScratchFs::path).to_owned();
    let world = World::over(&directory, scenario.configure);
    (scenario.prepare)(&world);
    world.forget();
    Stage { _scratch: scratch, _sharing: sharing, directory }
}

fn child(scenario: &Scenario, directory: &Path, effect: &str, fault: Option<&str>) -> Output {
    let of_whom = if scenario.in_background { "ORLOP_FAULT" } else { FAULT };
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_part_of_the_child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(SCENARIO, scenario.name)
        .env(EFFECT, effect)
        .envs(fault.map(|fault| (of_whom, fault)))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(child: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr))
}

/// It passes the points that it names, and no others: so none is left out below.
fn without_fault(scenario: &Scenario) {
    let stage = prepared(scenario);
    let child = child(scenario, &stage.directory, NONE, None);
    let mut world = World::stopped(&stage.directory, scenario.configure);
    world.start();
    assert!(child.status.success(), "{}", said(&child));
    (scenario.operate)(&world).unwrap();
    (scenario.check)(&world);
    (scenario.end)(&world);
}

fn one_fault(scenario: &Scenario, point: Point, effect: &str) {
    let stage = prepared(scenario);
    let directory = &stage.directory;
    let fault = format!("{}={effect}@1", point.as_str());
    let child = child(scenario, directory, effect, Some(&fault));
    if effect == "abort" {
        assert_eq!(child.status.signal(), Some(SIGABRT), "the point was not passed: {}", said(&child));
    } else {
        assert!(child.status.success(), "{}", said(&child));
    }

    let mut world = World::stopped(directory, scenario.configure);
    let recovery = world.start();
    let case = format!("{} {}={effect}: {recovery:?}", scenario.name, point.as_str());
    assert!(recovery.unaccounted.is_empty(), "left behind: {case}");
    assert_whole(&world, &case);
    (scenario.operate)(&world).unwrap_or_else(|error| panic!("repeated: {error}: {case}"));
    (scenario.check)(&world);
    assert_whole(&world, &case);
    (scenario.end)(&world);
    world.assert_nothing_mounted();
    for table in ["volumes", "snapshots"] {
        let entries = std::fs::read_dir(world.pool_path().join(table)).into_iter().flatten();
        let left: Vec<_> = entries.flatten().collect();
        let records = rows(&world, &format!("SELECT count(*) FROM {table}"));
        assert_eq!(left.len().to_string(), records, "{left:?}: {case}");
    }
}

/// What holds between any two operations.
fn assert_whole(world: &World, case: &str) {
    assert_eq!(rows(world, "SELECT count(*) FROM operations"), "0", "the journal: {case}");
    assert_eq!(rows(world, "SELECT count(*) FROM incoming"), "0", "what is incoming: {case}");
    assert_eq!(
        rows(world, "SELECT count(*) FROM volumes WHERE state IN ('pending', 'error')"),
        "0",
        "{case}"
    );
    assert_eq!(rows(world, "SELECT count(*) FROM snapshots WHERE state != 'active'"), "0", "{case}");
    let parts = "SELECT count(*) FROM snapshot_groups g
        WHERE (SELECT count(*) FROM snapshots WHERE group_id = g.id) != iif(name = 'g', 3, 2)";
    assert_eq!(rows(world, parts), "0", "a group is whole or not there: {case}");
    let sums = "SELECT count(*) FROM pools p WHERE reserved_bytes
        != (SELECT coalesce(sum(size_bytes), 0) FROM placements WHERE pool_id = p.id)
        + (SELECT coalesce(sum(reserved_bytes), 0) FROM snapshots WHERE pool_id = p.id)
        + (SELECT coalesce(sum(size_bytes), 0) FROM incoming WHERE pool_id = p.id)";
    assert_eq!(rows(world, sums), "0", "the sums: {case}");
    let images = eventually(Duration::from_secs(2), || {
        let mut files: Vec<_> =
            mounts::loops_below(world.scratch()).into_iter().map(|(_, file)| file).collect();
        files.sort();
        files.windows(2).all(|pair| pair[0] != pair[1])
    });
    assert!(images, "two loop devices on one image: {:?}: {case}", mounts::loops_below(world.scratch()));
    let (published, recorded) = (published(world), recorded(world));
    // A front that may write may have both paths.
    let of_recorded =
        |path: &String| recorded.contains(path.trim_end_matches("-ro")) || recorded.contains(path);
    assert!(
        recorded.is_subset(&published) && published.iter().all(of_recorded),
        "paths of fronts {published:?}, attachments {recorded:?}: {case}"
    );
}

/// The paths of fronts that are there, as `<volume id>/<front>`.
fn published(world: &World) -> BTreeSet<String> {
    let mount_dir = &world.config.mount_dir;
    let below =
        |mount: &mounts::Mount| Some(mount.target.strip_prefix(mount_dir).ok()?.display().to_string());
    let mounted = mounts::mounts().iter().filter_map(below).collect::<BTreeSet<_>>();
    mounted.into_iter().filter(|place| place.contains('/') && !place.ends_with("/base")).collect()
}

/// Those that the attachments need.
fn recorded(world: &World) -> BTreeSet<String> {
    let sql =
        "SELECT volume_id || '/' || front || iif(read_only, '-ro', '') FROM attachments WHERE target IS NULL";
    rows(world, sql).lines().map(str::to_owned).collect()
}

fn rows(world: &World, sql: &str) -> String {
    let store = world.config.state_dir.join("orlop.db");
    orlop_testkit::run(Command::new("sqlite3").arg("-readonly").arg(store).arg(sql)).ok()
}
