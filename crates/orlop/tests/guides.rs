//! The pages of `docs` that show how something is done: every command in them is run, in order, in a
//! directory of its own and against a daemon of its own.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, process::Command};

use orlop_testkit::{OrlopDaemon, Part, require};

/// The blocks of shell commands, one after another.
fn commands(page: &str) -> String {
    let mut inside = false;
    let mut found = String::new();
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => found.push_str(&format!("{line}\n")),
            _ => {}
        }
    }
    found
}

fn follow(page: &str) {
    require!(Part::Loop);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let commands = commands(&fs::read_to_string(path).unwrap());
    assert!(commands.lines().count() > 3, "{page} shows no commands");
    let daemon = OrlopDaemon::start();
    let binary = orlop_testkit::daemon::binary();
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", binary.parent().unwrap().display());
    let done = Command::new("sh")
        .args(["-exc", &commands])
        .env_clear()
        .env("PATH", path)
        .env("ORLOP_SOCKET", daemon.socket())
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .env("CONTAINER_HOST", "unix:///nonexistent/podman.sock")
        .current_dir(daemon.scratch().path())
        .output()
        .unwrap();
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{page}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn grow() {
    follow("grow.md");
}

#[test]
fn snapshots() {
    require!(Part::Xfs);
    follow("snapshots.md");
}

#[test]
fn restore() {
    require!(Part::Xfs);
    follow("restore.md");
}

#[test]
fn migrate() {
    follow("migrate.md");
}

#[test]
fn undelete() {
    follow("undelete.md");
}

#[test]
fn temp() {
    follow("temp.md");
}

#[test]
fn pools() {
    require!(Part::Xfs);
    follow("pools.md");
}

#[test]
fn move_to_another_machine() {
    require!(Part::Xfs);
    follow("move-to-another-machine.md");
}

#[test]
fn adopt() {
    follow("adopt.md");
}

#[test]
fn recovery() {
    follow("recovery.md");
}
