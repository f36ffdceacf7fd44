//! Two daemons on one host, each with a store of its own, and one pool.
#![allow(clippy::unwrap_used)]

use orlop_testkit::{OrlopDaemon, Part, require};

const DATA: &str = "name: data\nversion: v1beta\ntype: volume\nvolume: {size: 16Mi, accessMode: ReadWriteMany, type: persistent, pool: shared}\n";

#[test]
fn daemon_pools_go_to_another_daemon_when_theirs_was_killed_and_not_before() {
    require!(Part::Loop);
    let (mut first, second) = (OrlopDaemon::start(), OrlopDaemon::start());
    let path = first.scratch().join("shared");
    let path = path.to_str().unwrap();
    first.cli(["pool", "create", "shared", "--path", path]).ok();
    first.apply(DATA).ok();
    let import = ["pool", "import", "--path", path, "--name", "shared"];
    let refused = second.cli(import).fails();
    for words in [
        "pool shared at",
        "is used by another daemon",
        &format!("process {} of node", first.pid()),
        &first.state_dir().display().to_string(),
        "orlop pool export",
    ] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
    let listed = second.cli(["pool", "list"]).ok();
    assert!(!listed.contains("shared"), "{listed}");

    first.kill9();
    let done = second.cli(import).ok();
    assert!(done.contains("public/data: imported"), "{done}");
    // The one that was killed starts without it.
    first.restart();
    let shown = first.cli(["get", "-t", "volume", "-n", "data", "-d"]).ok();
    assert!(shown.contains("used by another daemon"), "{shown}");
    second.cli(["get", "-t", "volume", "-n", "data"]).ok();
}
