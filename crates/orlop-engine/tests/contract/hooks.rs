//! The commands of root's configuration around snapshots: when they are run, and for what not at all.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use orlop_engine::*;
use orlop_model::{ErrorKind, Retain};
use orlop_testkit::{Part, ScratchFs, require};

use super::snapshots::{GIB, SMALL};
use crate::harness::*;

fn script(path: &Path, text: &str) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    vec![path.display().to_string(), "argument".to_owned()]
}

/// A world whose hooks write down what they are run for, after `first`.
fn hooked(first: &str) -> (ScratchFs, World, PathBuf) {
    let host = ScratchFs::xfs(GIB);
    let log = host.join("log");
    let line = |hook: &str| {
        let text = format!("{first}\necho {hook} $ORLOP_SNAPSHOT >> {}", log.display());
        script(&host.join(hook), &text)
    };
    let (before, after) = (line("before"), line("after"));
    let hooks = SnapshotHooks { before, after, timeout: Duration::from_secs(10), go_on: false };
    let world = World::over(host.path(), |config| config.hooks = hooks);
    for name in ["a", "b"] {
        world.apply(name, SMALL).unwrap();
    }
    (host, world, log)
}

#[test]
fn hooks_are_run_around_a_snapshot() {
    require!(Part::Loop);
    let host = ScratchFs::xfs(GIB);
    let (before, after, log) = (host.join("before"), host.join("after"), host.join("log"));
    let hooks = SnapshotHooks {
        before: script(
            &before,
            &format!(
                "echo $ORLOP_HOOK $1 $ORLOP_WORKSPACE/$ORLOP_VOLUME $ORLOP_SNAPSHOT >> {}; test ! -e {}",
                log.display(),
                host.join("fail").display()
            ),
        ),
        after: script(&after, &format!("echo $ORLOP_HOOK $ORLOP_RESULT >> {}", log.display())),
        timeout: Duration::from_secs(10),
        go_on: false,
    };
    let mut world = World::over(host.path(), |config| config.hooks = hooks);
    world.apply("data", SMALL).unwrap();
    world.snapshot("s", "data").unwrap();
    let said = || fs::read_to_string(&log).unwrap();
    assert_eq!(said(), "before argument public/data s\nafter success\n");
    fs::write(host.join("fail"), "").unwrap();
    let error = fails(world.snapshot("t", "data"), ErrorKind::Host);
    assert!(error.message.contains("hook before"), "{error}");
    assert!(said().ends_with("after failure\n"), "{}", said());
    assert_eq!(world.snapshot_names(), ["s"]);
    world.config.hooks.go_on = true;
    world.restart();
    world.snapshot("t", "data").unwrap();
    world.config.hooks.before = script(&before, "sleep 60");
    world.config.hooks.timeout = Duration::from_millis(200);
    world.config.hooks.go_on = false;
    world.restart();
    let error = fails(world.snapshot("u", "data"), ErrorKind::Host);
    assert!(error.message.contains("did not end within"), "{error}");
}

/// A database is not stopped for a snapshot that is refused for its name alone.
#[test]
fn no_hook_is_run_for_a_name_that_is_taken() {
    require!(Part::Loop);
    let (_host, world, log) = hooked("");
    let said = || {
        let said = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        said
    };
    world.snapshot_group("g", &["a", "b"]).unwrap();
    assert_eq!(said(), "before g-a\nbefore g-b\nafter g-a\nafter g-b\n");
    world.snapshot("s", "a").unwrap();
    assert_eq!(said(), "before s\nafter s\n");
    let error = fails(world.snapshot("g", "a"), ErrorKind::AlreadyExists);
    assert_eq!(error.message, "there is already a group of snapshots public/g");
    let error = fails(world.snapshot_group("s", &["a", "b"]), ErrorKind::AlreadyExists);
    assert_eq!(error.message, "there is already a snapshot public/s");
    assert_eq!(said(), "");
    // Who takes any name is given another, and that is the one that they are run for.
    let id = world.volume("a").status.id;
    let (name, tags) = ("g".parse().unwrap(), Vec::new());
    let request = TakeRequest { external: "One".to_owned(), volume: id, name, tags };
    let taken = world.engine().take_snapshot(&CSI, &request, PATIENCE).unwrap().resource.manifest.name;
    assert_eq!(said(), format!("before {taken}\nafter {taken}\n"));
    let (name, tags) = ("s".parse().unwrap(), Vec::new());
    let request = TakeGroupRequest { external: "Two".to_owned(), volumes: vec![id], name, tags };
    let taken = world.engine().take_snapshot_group(&CSI, &request, PATIENCE).unwrap().resource.name;
    assert_eq!(said(), format!("before {taken}-a\nafter {taken}-a\n"));
}

/// What a hook takes is no part of the time for which they are kept.
#[test]
fn snapshots_count_from_when_they_are_made() {
    require!(Part::Loop);
    let (_host, world, _log) = hooked("sleep 1");
    let begin = Timestamp::now();
    let group = world.snapshot_group_for("g", &["a", "b"], Some("1h")).unwrap().resource;
    let waited = group.created_at.duration_since(begin);
    assert!(waited >= SignedDuration::from_secs(2), "{waited}");
    let retain: Retain = "1h".parse().unwrap();
    for snapshot in &group.snapshots {
        assert_eq!(snapshot.status.created_at, group.created_at);
        assert_eq!(snapshot.status.expires_at, retain.until(group.created_at));
    }
    let again = world.engine().snapshot_group(&ROOT, &snapshot_key("g")).unwrap();
    assert_eq!(again.created_at, group.created_at);
}
