//! What is measured: a daemon, and the requests made of it straight over its sockets.

use std::path::{Path, PathBuf};

use orlop_testkit::{OrlopDaemon, http};
use serde_json::{Value, json};

/// A volume's manifest of that size.
pub(crate) fn manifest(name: &str, size: &str, filesystem: &str, pool: Option<&str>) -> Value {
    let mut manifest = json!({
        "name": name, "version": "v1beta", "type": "volume",
        "volume": { "size": size, "accessMode": "ReadWriteMany", "type": "temp", "filesystem": filesystem },
    });
    if let (Some(pool), Some(volume)) = (pool, manifest.get_mut("volume").and_then(Value::as_object_mut)) {
        volume.insert("pool".into(), pool.into());
    }
    manifest
}

/// Applies it; returns when the volume is active.
#[track_caller]
pub(crate) fn apply(daemon: &OrlopDaemon, manifest: &Value) {
    let name = manifest.get("name").and_then(Value::as_str).unwrap_or_default();
    ask(&daemon.socket(), "PUT", &format!("/v1/workspaces/public/volumes/{name}"), &manifest.to_string());
}

#[track_caller]
pub(crate) fn delete(daemon: &OrlopDaemon, name: &str) {
    ask(&daemon.socket(), "DELETE", &format!("/v1/workspaces/public/volumes/{name}"), "");
}

/// Mounts as Docker would; the directory a container would get.
#[track_caller]
pub(crate) fn mount(daemon: &OrlopDaemon, name: &str, id: &str) -> PathBuf {
    let socket = daemon.docker_socket();
    ask(&socket, "POST", "/VolumeDriver.Create", &json!({ "Name": name }).to_string());
    let answer = ask(&socket, "POST", "/VolumeDriver.Mount", &json!({ "Name": name, "ID": id }).to_string());
    let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
    PathBuf::from(answer.get("Mountpoint").and_then(Value::as_str).unwrap_or_default())
}

#[track_caller]
pub(crate) fn unmount(daemon: &OrlopDaemon, name: &str, id: &str) {
    let body = json!({ "Name": name, "ID": id }).to_string();
    ask(&daemon.docker_socket(), "POST", "/VolumeDriver.Unmount", &body);
}

#[track_caller]
pub(crate) fn ask(socket: &Path, method: &str, path: &str, body: &str) -> String {
    match http::request(socket, method, path, body) {
        Ok((200..300, answer)) => answer,
        Ok((status, answer)) => panic!("{method} {path}: {status} {answer}"),
        Err(error) => panic!("{method} {path}: {error}"),
    }
}

/// The daemon's resident memory in MiB.
pub(crate) fn resident(daemon: &OrlopDaemon) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

/// A counter of `/metrics`, all its labels added up.
pub(crate) fn counter(daemon: &OrlopDaemon, name: &str) -> f64 {
    let (_, text) = daemon.get("/metrics");
    let of = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
    text.lines().filter(|line| line.starts_with(name)).filter_map(of).sum()
}
