//! An Orlop daemon with a real engine beside it, and what the tests ask of both.

use std::{path::PathBuf, time::Duration};

use orlop_testkit::{
    Docker, OrlopDaemon, Podman, Ran,
    command::{eventually, run},
    http,
};
use serde_json::Value;

/// Ids go stale after a second here, so that what waits for it doesn't wait long.
pub(crate) const STALE_SOON: &str = "staleAfter: 1s\n";

/// How long a promise without a bound of its own may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A daemon and a Docker engine. The engine ends first: it uses the daemon's mounts.
pub(crate) struct WithDocker {
    pub(crate) docker: Docker,
    pub(crate) daemon: OrlopDaemon,
}

/// A daemon and a Podman.
pub(crate) struct WithPodman {
    pub(crate) podman: Podman,
    pub(crate) daemon: OrlopDaemon,
}

pub(crate) fn with_docker(config: &str) -> WithDocker {
    let daemon = OrlopDaemon::builder().config(config).below_shared_mount().start();
    let docker = docker_for(&daemon);
    WithDocker { docker, daemon }
}

pub(crate) fn with_podman(config: &str) -> WithPodman {
    let daemon = OrlopDaemon::builder().config(config).below_shared_mount().start();
    let podman = podman_for(&daemon);
    WithPodman { podman, daemon }
}

pub(crate) fn docker_for(daemon: &OrlopDaemon) -> Docker {
    let docker = Docker::builder().plugin("orlop", daemon.docker_socket()).start();
    docker.import_busybox();
    docker
}

pub(crate) fn podman_for(daemon: &OrlopDaemon) -> Podman {
    let podman = Podman::builder().plugin("orlop", daemon.podman_socket()).start();
    podman.import_busybox();
    podman
}

/// A manifest of a small volume.
pub(crate) fn manifest(name: &str, mode: &str, kind: &str) -> String {
    format!(
        "name: {name}\nversion: v1beta\ntype: volume\nvolume:\n  size: 64Mi\n  accessMode: {mode}\n  type: {kind}\n"
    )
}

/// Calls the plugin as an engine does: status and answer.
pub(crate) fn call(socket: PathBuf, call: &str, body: &Value) -> (u16, Value) {
    let (status, answer) = http::request(&socket, "POST", call, &body.to_string()).unwrap();
    (status, serde_json::from_str(&answer).unwrap_or(Value::String(answer)))
}

/// The volume as `orlop get` shows it; null where there is none.
pub(crate) fn volume(daemon: &OrlopDaemon, name: &str) -> Value {
    let ran = daemon.cli(["get", "-t", "volume", "-n", name, "-o", "json", "--all"]);
    if ran.stderr.contains("there is no volume") {
        return Value::Null;
    }
    serde_json::from_str(&ran.ok()).unwrap()
}

/// The attachments that the daemon records of a volume.
pub(crate) fn attachments(daemon: &OrlopDaemon, name: &str) -> Vec<Value> {
    volume(daemon, name)["status"]["attachments"].as_array().cloned().unwrap_or_default()
}

/// Runs the CLI with a Docker engine in its environment.
pub(crate) fn cli_beside_docker(world: &WithDocker, args: &[&str]) -> Ran {
    let mut command = world.daemon.client(args);
    command.env("DOCKER_HOST", format!("unix://{}", world.docker.socket().display()));
    run(&mut command)
}

/// Text with every line on one line, as an engine may wrap it.
pub(crate) fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Asserts that `text` has each of the parts.
#[track_caller]
pub(crate) fn says(text: &str, parts: &[&str]) {
    let text = flat(text);
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

/// Waits until the condition holds.
#[track_caller]
pub(crate) fn soon(what: &str, done: impl FnMut() -> bool) {
    assert!(eventually(SOON, done), "{what}: not within {SOON:?}");
}
