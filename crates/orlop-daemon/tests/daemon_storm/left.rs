//! What is there when all that was asked for was taken back: in the kernel, where kubelets had it, in the
//! store and in the pool.

use std::{fs, path::Path, process::Command, time::Duration};

use orlop_testkit::{OrlopDaemon, command::eventually, mounts, run};

use crate::volumes::Storm;

/// What is finished in the background is so within this time.
const WITHIN: Duration = Duration::from_secs(20);

/// Rows of what there is none of.
const TABLES: [&str; 10] = [
    "volumes",
    "placements",
    "incoming",
    "attachments",
    "operations",
    "snapshots",
    "aliases",
    "released_aliases",
    "snapshot_aliases",
    "snapshot_schedules",
];

#[track_caller]
pub(crate) fn assert_nothing(daemon: &OrlopDaemon, storm: &Storm) {
    let mut found = Vec::new();
    let clean = eventually(WITHIN, || {
        found = left(daemon, storm);
        found.is_empty()
    });
    assert!(clean, "left behind: {found:#?}");
    daemon.assert_nothing_left();
    let checked = daemon.cli(["pool", "check", "default"]).ok();
    assert!(checked.contains("0 volumes and 0 snapshots looked at, 0 differences"), "{checked}");
}

fn left(daemon: &OrlopDaemon, storm: &Storm) -> Vec<String> {
    let mut found = Vec::new();
    let state = daemon.state_dir();
    let store = state.join("orlop.db");
    for table in TABLES {
        let sql = format!("SELECT * FROM {table}");
        let rows = run(Command::new("sqlite3").arg("-readonly").arg(&store).arg(sql)).ok();
        found.extend(rows.lines().map(|row| format!("{table}: {row}")));
    }
    found.extend(mounts::mounts_below_anywhere(&storm.kubelet).iter().map(|mount| format!("{mount:?}")));
    found.extend(mounts::loops_below(state).iter().map(|held| format!("{held:?}")));
    found.extend(storm.targets().iter().map(|target| format!("the target {}", target.display())));
    for directory in ["pool/volumes", "pool/snapshots"] {
        found.extend(entries(&state.join(directory)));
    }
    found.extend(entries(&daemon.mount_dir()));
    found
}

fn entries(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.unwrap().path().display().to_string()).collect()
}
