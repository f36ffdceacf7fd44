//! The page on recovery, where the store is lost: its commands are for a service under systemd, and are
//! done here to a daemon of a test.
#![allow(clippy::unwrap_used)]

use std::{fs, process::Command};

use orlop_testkit::{OrlopDaemon, Part, require, run};

use crate::page::Page;

const DATA: &str = "\
name: data
version: v1beta
type: volume
volume: {size: 64Mi, accessMode: ReadWriteMany, type: persistent}
";

#[test]
fn what_a_lost_store_knew_is_back_by_the_commands_of_the_page() {
    require!(Part::Loop);
    let page = Page::read("recovery.md");
    let blocks = page.blocks("console");
    let commands = blocks.iter().find(|block| block.contains("orlop.db")).unwrap();
    let mut daemon = OrlopDaemon::start();
    let state = daemon.state_dir().display().to_string();
    daemon.apply(DATA).ok();
    daemon.apply(&DATA.replace("data", "old")).ok();
    let here = daemon.scratch().join("here");
    fs::create_dir(&here).unwrap();
    let mount = ["mount", "-n", "data", here.to_str().unwrap()];
    daemon.cli(mount).ok();
    fs::write(here.join("file"), "cargo").unwrap();
    daemon.cli(["unmount", here.to_str().unwrap()]).ok();
    daemon.cli(["snapshot", "create", "-n", "s", "--volume", "data"]).ok();
    daemon.cli(["delete", "-n", "old"]).ok();

    for line in commands.lines() {
        match line {
            "systemctl stop orlop" => daemon.stop(),
            "systemctl start orlop" => daemon.restart(),
            line => {
                let line = line.replace("/var/lib/orlop", &state);
                let binary = orlop_testkit::daemon::binary();
                let path = format!("{}:/usr/bin:/bin", binary.parent().unwrap().display());
                run(Command::new("sh")
                    .args(["-ec", &line])
                    .env_clear()
                    .env("PATH", path)
                    .env("ORLOP_SOCKET", daemon.socket()))
                .ok();
            }
        }
    }
    daemon.cli(mount).ok();
    assert_eq!(fs::read_to_string(here.join("file")).unwrap(), "cargo");
    daemon.cli(["unmount", here.to_str().unwrap()]).ok();
    assert!(daemon.cli(["get", "-t", "volume", "--released"]).ok().contains("old"));
    let snapshots = daemon.cli(["snapshot", "list", "--volume", "data", "-o", "json"]).ok();
    let snapshots: serde_json::Value = serde_json::from_str(&snapshots).unwrap();
    assert_eq!(snapshots[0]["name"], "s", "{snapshots}");
    daemon.cli(["snapshot", "restore", "-n", "s"]).ok();
    daemon.cli(["pool", "check"]).ok();
}
