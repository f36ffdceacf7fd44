//! What `deploy/nomad` has is of Nomad's language, and its parts fit each other.

use std::fs;

use serde_json::Value;

use super::objects::{list, path, text, texts};

#[track_caller]
fn read(file: &str) -> Value {
    let text = fs::read_to_string(path("deploy/nomad").join(file)).unwrap();
    hcl::from_str(&text).unwrap_or_else(|fault| panic!("{file}: {fault}"))
}

/// The daemon's task.
fn task() -> Value {
    read("orlop.nomad.hcl")["job"]["orlop"]["group"]["orlop"]["task"]["orlop"].clone()
}

/// What the daemon is started with.
pub(crate) fn words() -> Vec<String> {
    texts(&task()["config"]["args"]).into_iter().map(str::to_owned).collect()
}

#[test]
fn the_daemon_serves_where_nomad_looks_and_mounts_are_seen() {
    let (task, words) = (task(), words());
    let plugin = &task["csi_plugin"];
    let flag = |name: &str| {
        let found = words.iter().find_map(|word| word.strip_prefix(&format!("--{name}=")));
        found.unwrap_or_else(|| panic!("no --{name}")).to_owned()
    };
    assert_eq!(flag("csi-endpoint"), format!("unix://{}/csi.sock", text(&plugin["mount_dir"])));
    assert_eq!(flag("kubelet-root"), text(&plugin["stage_publish_base_dir"]));
    assert_eq!(plugin["type"], "monolith");
    assert_eq!((&task["config"]["privileged"], &task["config"]["pid_mode"]), (&true.into(), &"host".into()));
    for named in ["state-dir", "run-dir"] {
        let mounts = list(&task["config"]["mount"]);
        let mount = mounts.iter().find(|mount| mount["target"] == flag(named)).unwrap();
        assert_eq!(mount["source"], mount["target"], "the kernel names paths of the host");
        assert_eq!(mount["bind_options"]["propagation"], "rshared");
    }
}

#[test]
fn volumes_name_the_plugin_that_the_job_makes_and_jobs_name_the_volume() {
    let job = read("orlop.nomad.hcl");
    let id = text(&task()["csi_plugin"]["id"]).replace("${var.node}", "NAME");
    for file in ["volume.nomad.hcl", "existing.nomad.hcl"] {
        assert_eq!(read(file)["plugin_id"], id, "{file}");
    }
    let (made, writer) = (read("volume.nomad.hcl"), read("writer.nomad.hcl"));
    let used = &writer["job"]["writer"]["group"]["writer"]["volume"]["notes"];
    assert_eq!(used["source"], made["id"]);
    for field in ["access_mode", "attachment_mode"] {
        assert_eq!(used[field], made["capability"][field]);
    }
    let image = text(&job["variable"]["image"]["default"]);
    assert!(image.ends_with(concat!(":", env!("CARGO_PKG_VERSION"))), "{image}");
}
