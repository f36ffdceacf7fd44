//! The chart makes the same objects as the base, where Helm itself is there to say so. Where it is not,
//! `cargo xtask check` proves it for the few expressions that the chart has.

use std::process::Command;

use orlop_testkit::{Part, require, run, skip, skip::program};
use serde_json::Value;

use super::objects::{base, parse, path, text};

fn sorted(mut objects: Vec<Value>) -> Vec<Value> {
    objects.sort_by_key(|object| format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"])));
    objects
}

#[test]
fn with_its_defaults_it_is_the_base() {
    require!(Part::Kubectl);
    if program("helm").is_none() {
        skip!("no helm: Debian has no package of it");
    }
    let chart = path("deploy/kubernetes/chart");
    run(Command::new("helm").args(["lint", "--strict"]).arg(&chart)).ok();
    let words = ["template", "orlop", "--namespace", "orlop-system"];
    let rendered = run(Command::new("helm").args(words).arg(&chart)).ok();
    let mut expected = base();
    expected.retain(|object| object["kind"] != "Namespace");
    assert_eq!(sorted(parse(&rendered)), sorted(expected));
}
