//! Every flag is one that its program has: the daemon's by asking it, those of Kubernetes' own programs by
//! what they have in the version that is deployed.

use std::{collections::BTreeMap, process::Command};

use orlop_testkit::{Part, daemon::binary, require, run};
use serde_json::Value;

use super::{
    nomad,
    objects::{base, list, of_kind, text, texts},
};

/// What a version of a program takes, of its flags those that are used here. A new version is tried out
/// and its flags looked up before it stands here.
const KNOWN: [(&str, &[&str]); 6] = [
    ("csi-node-driver-registrar:v2.17.0", &["csi-address", "kubelet-registration-path", "http-endpoint"]),
    ("livenessprobe:v2.19.0", &["csi-address", "http-endpoint", "probe-timeout"]),
    (
        "csi-provisioner:v6.3.0",
        &[
            "csi-address",
            "node-deployment",
            "strict-topology",
            "immediate-topology",
            "extra-create-metadata",
            "enable-capacity",
            "capacity-ownerref-level",
            "timeout",
            "worker-threads",
        ],
    ),
    (
        "csi-snapshotter:v8.6.0",
        &["csi-address", "node-deployment", "extra-create-metadata", "timeout", "feature-gates"],
    ),
    ("csi-external-health-monitor-controller:v0.18.0", &["csi-address", "list-volumes-interval"]),
    (
        "csi-resizer:v2.2.1",
        &[
            "csi-address",
            "leader-election",
            "leader-election-namespace",
            "handle-volume-inuse-error",
            "feature-gates",
        ],
    ),
];

/// Program and version of an image → the words it is started with, and the variables it is given.
fn commands() -> BTreeMap<String, (Vec<String>, Vec<String>)> {
    let base = base();
    let workloads = [of_kind(&base, "DaemonSet"), of_kind(&base, "Deployment")].concat();
    let containers = workloads.iter().flat_map(|w| list(&w["spec"]["template"]["spec"]["containers"]));
    let of = |container: &Value| {
        let image = text(&container["image"]).rsplit('/').next().unwrap().to_owned();
        let words = texts(&container["args"]).into_iter().map(str::to_owned).collect();
        let variables = list(&container["env"]).iter().map(|v| text(&v["name"]).to_owned()).collect();
        (image, (words, variables))
    };
    containers.map(of).collect()
}

#[test]
fn the_programs_of_kubernetes_know_their_flags() {
    require!(Part::Kubectl);
    let commands = commands();
    for (image, flags) in KNOWN {
        let (words, _) = commands.get(image).unwrap_or_else(|| panic!("no {image} is deployed"));
        for word in words {
            let name = word.strip_prefix("--").unwrap().split('=').next().unwrap();
            assert!(flags.contains(&name), "{image} and --{name}");
        }
    }
    assert_eq!(commands.len(), KNOWN.len() + 1, "{:?}", commands.keys());
}

#[test]
fn variables_that_are_named_are_given() {
    require!(Part::Kubectl);
    for (image, (words, variables)) in commands() {
        for word in words {
            if let Some((_, rest)) = word.split_once("$(") {
                let name = rest.split(')').next().unwrap();
                assert!(variables.iter().any(|v| v == name), "{image} is not given {name}");
            }
        }
    }
}

#[test]
fn the_daemon_knows_its_flags() {
    require!(Part::Kubectl);
    let (words, _) = &commands()[concat!("orlop:", env!("CARGO_PKG_VERSION"))];
    // With --help at the end it says what it would do with the words before, or what it doesn't know.
    for words in [words, &nomad::words()] {
        run(Command::new(binary()).args(words).arg("--help")).ok();
    }
    let wrong = ["serve", "--csi-endpoints=unix:///csi.sock", "--help"];
    run(Command::new(binary()).args(wrong)).exits(2);
}
