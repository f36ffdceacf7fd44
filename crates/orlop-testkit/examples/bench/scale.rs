//! Ten thousand volumes: what the last costs against the first, what a list, a start and the memory cost.

use std::{process::Command, time::Instant};

use orlop_testkit::{OrlopDaemon, run};
use serde_json::Value;

use crate::{
    report::{Aim, Report},
    samples::Samples,
    subject::{apply, ask, manifest, mount, resident, unmount},
};

const VOLUMES: usize = 10_000;
/// Volumes at either end whose latency is compared.
const EDGE: usize = 200;
const SECTION: &str = "10,000 volumes";

pub(crate) fn measure(report: &mut Report) {
    // Without blanks, so that the same work is compared at both ends.
    let mut daemon = OrlopDaemon::builder().config("blanks: 0\n").start();
    report.add(SECTION, "memory, idle", (resident(&daemon), "MiB"), Aim::AtMost(25.0), "just started");
    // The promises of 10,000 volumes of 16Mi are more than most disks have.
    let path = daemon.scratch().join("pool");
    let path = path.display().to_string();
    daemon.cli(["pool", "create", "many", "--path", &path, "--capacity", "20Gi", "--overcommit", "10"]).ok();

    let (mut first, mut last) = (Samples::default(), Samples::default());
    let (mut first_mount, mut last_mount) = (Samples::default(), Samples::default());
    let started = Instant::now();
    for number in 0..VOLUMES {
        let volume = manifest(&format!("v{number:05}"), "16Mi", "ext4", Some("many"));
        let edge = match number {
            0..EDGE => Some(&mut first),
            _ if number >= VOLUMES - EDGE => Some(&mut last),
            _ => None,
        };
        match edge {
            Some(samples) => samples.time(|| apply(&daemon, &volume)),
            None => apply(&daemon, &volume),
        }
        if number + 1 == EDGE {
            cycle(&daemon, 0, &mut first_mount);
        }
    }
    let rate = VOLUMES as f64 / started.elapsed().as_secs_f64();
    report.add(SECTION, "creation rate, one at a time", (rate, "/s"), Aim::Told, "16Mi ext4, from scratch");
    cycle(&daemon, VOLUMES - EDGE, &mut last_mount);
    let detail = format!("p50 {:.1} ms against {:.1} ms", last.median(), first.median());
    report.add(
        SECTION,
        "apply, last against first",
        (last.median() / first.median(), "×"),
        Aim::AtMost(1.3),
        detail,
    );
    let detail = format!("p50 {:.1} ms against {:.1} ms", last_mount.median(), first_mount.median());
    let ratio = last_mount.median() / first_mount.median();
    report.add(SECTION, "mount and unmount, last against first", (ratio, "×"), Aim::AtMost(1.3), detail);

    let mut listing = Samples::default();
    let found = listing.time(|| list_all(&daemon));
    let detail = format!("{found} volumes in pages of 1000");
    report.add(SECTION, "list all", (listing.median(), "ms"), Aim::Told, detail);
    let mut scrapes = Samples::default();
    let scraped = (0..5).map(|_| scrapes.time(|| ask(&daemon.socket(), "GET", "/metrics", "")).len()).max();
    let detail = format!("{} KiB, {}", scraped.unwrap_or(0) >> 10, scrapes.words());
    report.add(SECTION, "scrape of /metrics", (scrapes.median(), "ms"), Aim::Told, detail);
    report.add(SECTION, "memory, after all that", (resident(&daemon), "MiB"), Aim::AtMost(60.0), "resident");

    daemon.stop();
    let mut restart = Samples::default();
    restart.time(|| daemon.restart());
    report.add(
        SECTION,
        "start until ready",
        (restart.median() / 1e3, "s"),
        Aim::AtMost(1.0),
        "after a clean stop",
    );
    daemon.kill9();
    let mut restart = Samples::default();
    restart.time(|| daemon.restart());
    report.add(
        SECTION,
        "start until ready, after kill -9",
        (restart.median() / 1e3, "s"),
        Aim::AtMost(1.0),
        "",
    );
    report.add(SECTION, "memory, after the start", (resident(&daemon), "MiB"), Aim::AtMost(60.0), "resident");
}

/// Mounts and unmounts a stretch of volumes, with nothing left to write of what was made before.
fn cycle(daemon: &OrlopDaemon, from: usize, samples: &mut Samples) {
    run(&mut Command::new("sync")).ok();
    for number in from..from + 50 {
        let name = format!("v{number:05}");
        samples.time(|| {
            mount(daemon, &name, "bench");
            unmount(daemon, &name, "bench");
        });
    }
}

/// Walks the pages; how many volumes there were.
fn list_all(daemon: &OrlopDaemon) -> usize {
    let (mut found, mut after) = (0, None::<String>);
    loop {
        let token = after.map(|token| format!("&after={token}")).unwrap_or_default();
        let page = ask(&daemon.socket(), "GET", &format!("/v1/volumes?limit=1000{token}"), "");
        let page: Value = serde_json::from_str(&page).unwrap_or_default();
        found += page.get("items").and_then(Value::as_array).map_or(0, Vec::len);
        match page.get("next").and_then(Value::as_str) {
            Some(next) => after = Some(next.to_owned()),
            None => return found,
        }
    }
}
