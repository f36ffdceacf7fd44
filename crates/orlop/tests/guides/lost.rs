//! The page on recovery, where its commands need something that is lost or damaged first, or a service
//! under systemd: they are done here to a daemon of a test.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use orlop_testkit::{
    OrlopDaemon, Part,
    command::{Ran, eventually},
    require, run,
};

use crate::page::Page;

const DATA: &str = "\
name: data
version: v1beta
type: volume
volume: {size: 64Mi, accessMode: ReadWriteMany, type: persistent}
";

/// A command of the page.
fn done(daemon: &OrlopDaemon, line: &str) -> Ran {
    let binary = orlop_testkit::daemon::binary();
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", binary.parent().unwrap().display());
    run(Command::new("sh")
        .args(["-ec", line])
        .env_clear()
        .env("PATH", path)
        .env("ORLOP_SOCKET", daemon.socket()))
}

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
            line => drop(done(&daemon, &line.replace("/var/lib/orlop", &state)).ok()),
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

/// Where a volume's image is.
fn image(daemon: &OrlopDaemon, pool: &str, volume: &str) -> PathBuf {
    let json =
        |words: &[&str]| -> serde_json::Value { serde_json::from_str(&daemon.cli(words).ok()).unwrap() };
    let pool = json(&["pool", "show", pool, "-o", "json"]);
    let volume = json(&["volume", "show", "-n", volume, "-o", "json"]);
    let id = volume["status"]["id"].as_str().unwrap();
    Path::new(pool["path"].as_str().unwrap()).join("volumes").join(id).join("data.img")
}

fn with_file(daemon: &OrlopDaemon, work: impl FnOnce(&Path)) {
    let here = daemon.scratch().join("here");
    fs::create_dir_all(&here).unwrap();
    daemon.cli(["mount", "-n", "data", here.to_str().unwrap()]).ok();
    work(&here.join("file"));
    daemon.cli(["unmount", here.to_str().unwrap()]).ok();
}

#[test]
fn a_damaged_volume_is_repaired_by_the_commands_of_the_page() {
    require!(Part::Loop);
    let page = Page::read("recovery.md");
    let blocks = page.blocks("console");
    let commands = blocks.iter().find(|block| block.contains("fsck")).unwrap();
    let daemon = OrlopDaemon::start();
    daemon.apply(DATA).ok();
    with_file(&daemon, |file| fs::write(file, "cargo").unwrap());
    let image = image(&daemon, "default", "data");
    run(Command::new("debugfs").args(["-w", "-R", "set_inode_field /data/file links_count 7"]).arg(image))
        .ok();
    let [look, repair] = commands.lines().collect::<Vec<_>>()[..] else { panic!("{commands}") };
    let found = done(&daemon, look);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    done(&daemon, repair).ok();
    done(&daemon, look).ok();
    with_file(&daemon, |file| assert_eq!(fs::read_to_string(file).unwrap(), "cargo"));
}

#[test]
fn a_damaged_pool_is_repaired_by_the_commands_of_the_page() {
    require!(Part::Loop, Part::Xfs);
    let page = Page::read("recovery.md");
    let blocks = page.blocks("console");
    let commands = blocks.iter().find(|block| block.contains("xfs_repair")).unwrap();
    let mut daemon = OrlopDaemon::start();
    let disk = daemon.scratch().join("disk");
    run(Command::new("truncate").args(["-s", "400M"]).arg(&disk)).ok();
    let node = run(Command::new("losetup").args(["--find", "--show"]).arg(&disk)).ok();
    let node = node.trim();
    daemon.cli(["pool", "create", "disk", "--device", node]).ok();
    daemon.apply(&DATA.replace("persistent", "persistent, pool: disk")).ok();
    with_file(&daemon, |file| fs::write(file, "cargo").unwrap());
    let mounted = image(&daemon, "disk", "data").ancestors().nth(3).unwrap().to_owned();
    daemon.stop();
    run(Command::new("umount").arg(&mounted)).ok();
    // Where the inodes of the first group are found, in the third sector.
    let device = fs::OpenOptions::new().write(true).open(node).unwrap();
    device.write_all_at(&[0; 4096], 2 * 4096).unwrap();
    device.sync_all().unwrap();
    drop(device);
    daemon.restart();
    let shown = daemon.cli(["pool", "show", "disk"]).ok();
    assert!(shown.contains("missing") && shown.contains("can't be mounted"), "{shown}");

    let copy = daemon.scratch().join("disk.img");
    for line in commands.lines() {
        let line =
            line.replace("/dev/nvme1n1", node).replace("/mnt/elsewhere/disk.img", copy.to_str().unwrap());
        done(&daemon, &line).ok();
    }
    assert_eq!(fs::metadata(&copy).unwrap().len(), 400 << 20);
    let mut checked = done(&daemon, "orlop pool check disk");
    let whole = eventually(Duration::from_secs(30), || {
        checked = done(&daemon, "orlop pool check disk");
        checked.status.success()
    });
    assert!(whole, "{checked:?}");
    with_file(&daemon, |file| assert_eq!(fs::read_to_string(file).unwrap(), "cargo"));
    daemon.cli(["pool", "export", "disk"]).ok();
    run(Command::new("losetup").args(["-d", node])).ok();
}
