//! What changes a volume that is there: snapshots, clones, restores, growing, undeleting, moving.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use orlop_testkit::{OrlopDaemon, run};
use serde_json::{Value, json};

use crate::{
    report::{Aim, Report},
    samples::{Samples, median},
    subject::{apply, ask, delete, manifest, mount, unmount},
};

const ROUNDS: usize = 20;
const SECTION: &str = "life";
/// What is written in a volume.
const FILE: &str = "file";
/// As many of each as the start is measured with.
const MANY: usize = 10_000;

pub(crate) fn measure(report: &mut Report) {
    let daemon = OrlopDaemon::start();
    let file = daemon.scratch().join("sharing.img").display().to_string();
    // What is promised is never written: overcommit, so that a disk with 20 GiB free will do.
    let create =
        ["pool", "create", "sharing", "--image", &file, "--size", "60Gi", "--sparse", "--overcommit", "4"];
    daemon.cli(create).ok();
    for gib in [1, 10] {
        copies(report, &daemon, gib);
    }
    // The first is what memory takes in a moment; the second more than a disk writes in one.
    for mib in [256, 2048] {
        pause(report, &daemon, mib);
    }
    group(report, &daemon);
    grow(report, &daemon);
    undelete(report, &daemon);
    drop(daemon);
    migrate(report);
    many(report);
}

/// Snapshot, clone and restore of a volume that holds so much.
fn copies(report: &mut Report, daemon: &OrlopDaemon, gib: u64) {
    let name = format!("holds{gib}");
    apply(daemon, &manifest(&name, &format!("{}Gi", gib + 2), "xfs", Some("sharing")));
    fill(&mount(daemon, &name, "bench"), gib << 30);
    unmount(daemon, &name, "bench");
    let (mut snapshots, mut clones, mut restores) =
        (Samples::default(), Samples::default(), Samples::default());
    for round in 0..ROUNDS {
        let snapshot = format!("{name}-s{round}");
        snapshots.time(|| snap(daemon, &snapshot, &name));
        let clone = format!("{name}-c{round}");
        let mut wanted = manifest(&clone, &format!("{}Gi", gib + 2), "xfs", Some("sharing"));
        if let Some(volume) = wanted.get_mut("volume").and_then(Value::as_object_mut) {
            volume.insert("source".into(), json!({ "snapshot": snapshot }));
        }
        clones.time(|| apply(daemon, &wanted));
        let path = format!("/v1/workspaces/public/snapshots/{snapshot}");
        let restored = restores.time(|| ask(&daemon.socket(), "POST", &format!("{path}/restore"), ""));
        delete(daemon, &clone);
        ask(&daemon.socket(), "DELETE", &path, "");
        drop_kept(daemon, &restored);
    }
    for (what, samples) in [("snapshot", snapshots), ("clone", clones), ("restore", restores)] {
        report.add(
            SECTION,
            format!("{what}, {gib} GiB written"),
            (samples.median(), "ms"),
            Aim::AtMost(20.0),
            samples.words(),
        );
    }
    delete(daemon, &name);
}

fn snap(daemon: &OrlopDaemon, name: &str, volume: &str) {
    let body =
        json!({ "name": name, "version": "v1beta", "type": "snapshot", "snapshot": { "volume": volume } });
    ask(&daemon.socket(), "PUT", &format!("/v1/workspaces/public/snapshots/{name}"), &body.to_string());
}

/// What a restore kept of the state before it.
fn drop_kept(daemon: &OrlopDaemon, restored: &str) {
    let restored: Value = serde_json::from_str(restored).unwrap_or_default();
    let kept = restored.get("before").and_then(Value::as_str);
    let kept = kept.unwrap_or_else(|| panic!("a restore that names nothing kept: {restored}"));
    ask(&daemon.socket(), "DELETE", &format!("/v1/workspaces/public/snapshots/{kept}"), "");
}

/// The longest that one write of a writer took, which writes a working set of so much over and over,
/// while a snapshot was made.
fn pause(report: &mut Report, daemon: &OrlopDaemon, mib: u64) {
    let busy = format!("busy{mib}");
    apply(daemon, &manifest(&busy, "4Gi", "xfs", Some("sharing")));
    let dir = mount(daemon, &busy, "bench");
    // Memory for what is written the first time is slow to get: that would hold the writer.
    fill(&dir, mib << 20);
    let end = AtomicBool::new(false);
    let worst = Mutex::new(Duration::ZERO);
    let mut pauses = Samples::default();
    let (mut alone, mut snapshots) = (Samples::default(), Samples::default());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&dir, mib, Duration::ZERO, &end, &worst));
        let taken = || std::mem::take(&mut *worst.lock().expect("nobody panicked"));
        for round in 0..ROUNDS {
            sleep(Duration::from_millis(200));
            alone.push(taken());
            let snapshot = format!("{busy}-{round}");
            snapshots.time(|| snap(daemon, &snapshot, &busy));
            pauses.push(taken());
            // All of its blocks are written anew: twenty of them take the disk.
            ask(&daemon.socket(), "DELETE", &format!("/v1/workspaces/public/snapshots/{snapshot}"), "");
        }
        end.store(true, Ordering::Relaxed);
        writer.join().expect("the writer ended");
    });
    let detail = format!(
        "longest write: p50 {:.1} ms; without a snapshot p50 {:.1} ms, longest {:.1} ms; n={ROUNDS}",
        pauses.median(),
        alone.median(),
        alone.percentile(1.0)
    );
    report.add(
        SECTION,
        format!("pause of a writer of {mib} MiB over and over, longest"),
        (pauses.percentile(1.0), "ms"),
        Aim::AtMost(100.0),
        detail,
    );
    report.add(
        SECTION,
        format!("snapshot of a volume with a writer of {mib} MiB"),
        (snapshots.median(), "ms"),
        Aim::Told,
        format!("all of it is written anew meanwhile; {}", snapshots.words()),
    );
    unmount(daemon, &busy, "bench");
}

/// Snapshots of several volumes at one moment: how long, and the longest write of any of their writers.
fn group(report: &mut Report, daemon: &OrlopDaemon) {
    const MEMBERS: usize = 8;
    let names: Vec<String> = (0..MEMBERS).map(|number| format!("member{number}")).collect();
    let dirs: Vec<_> = names
        .iter()
        .map(|name| {
            apply(daemon, &manifest(name, "1Gi", "xfs", Some("sharing")));
            mount(daemon, name, "bench")
        })
        .collect();
    let end = AtomicBool::new(false);
    let worst = Mutex::new(Duration::ZERO);
    let (mut pauses, mut groups) = (Samples::default(), Samples::default());
    std::thread::scope(|scope| {
        for dir in &dirs {
            scope.spawn(|| write(dir, 16, Duration::from_millis(1), &end, &worst));
        }
        for round in 0..ROUNDS {
            sleep(Duration::from_millis(200));
            std::mem::take(&mut *worst.lock().expect("nobody panicked"));
            let path = format!("/v1/workspaces/public/snapshot-groups/together-{round}");
            let body = json!({ "volumes": names }).to_string();
            groups.time(|| ask(&daemon.socket(), "PUT", &path, &body));
            pauses.push(std::mem::take(&mut *worst.lock().expect("nobody panicked")));
        }
        end.store(true, Ordering::Relaxed);
    });
    report.add(
        SECTION,
        format!("pause of the writers of {MEMBERS} volumes of a group, longest"),
        (pauses.percentile(1.0), "ms"),
        Aim::AtMost(100.0),
        format!(
            "longest write: p50 {:.1} ms, n={ROUNDS}; the whole snapshot: {}",
            pauses.median(),
            groups.words()
        ),
    );
    for name in &names {
        unmount(daemon, name, "bench");
    }
}

/// Writes a working set of so much over and over, with a rest after each 64 KiB, and remembers the
/// longest write.
fn write(dir: &Path, mib: u64, rest: Duration, end: &AtomicBool, worst: &Mutex<Duration>) {
    const BLOCK: usize = 64 << 10;
    let file = File::options().create(true).write(true).truncate(false).open(dir.join(FILE));
    let file = file.expect("the volume takes a file");
    let block = vec![7_u8; BLOCK];
    for number in 0_u64.. {
        if end.load(Ordering::Relaxed) {
            break;
        }
        let start = Instant::now();
        file.write_all_at(&block, (number % (mib * 16)) * BLOCK as u64).expect("no writer sees an error");
        let took = start.elapsed();
        let mut worst = worst.lock().expect("nobody panicked");
        *worst = took.max(*worst);
        drop(worst);
        sleep(rest);
    }
}

/// In use, by one Gi more each time.
fn grow(report: &mut Report, daemon: &OrlopDaemon) {
    apply(daemon, &manifest("grows", "1Gi", "xfs", Some("sharing")));
    mount(daemon, "grows", "bench");
    let mut samples = Samples::default();
    for gib in 2..2 + ROUNDS / 2 {
        samples.time(|| apply(daemon, &manifest("grows", &format!("{gib}Gi"), "xfs", Some("sharing"))));
    }
    unmount(daemon, "grows", "bench");
    report.add(SECTION, "grow in use, by 1Gi", (samples.median(), "ms"), Aim::AtMost(100.0), samples.words());
}

fn undelete(report: &mut Report, daemon: &OrlopDaemon) {
    let mut kept = manifest("kept", "1Gi", "xfs", None);
    if let Some(volume) = kept.get_mut("volume").and_then(Value::as_object_mut) {
        volume.insert("type".into(), "persistent".into());
    }
    apply(daemon, &kept);
    mount(daemon, "kept", "bench");
    unmount(daemon, "kept", "bench");
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        delete(daemon, "kept");
        let path = "/v1/workspaces/public/volumes/kept/undelete";
        samples.time(|| ask(&daemon.socket(), "POST", path, "{}"));
    }
    report.add(SECTION, "undelete", (samples.median(), "ms"), Aim::AtMost(10.0), samples.words());
}

/// Between two directories of one disk, there and back, against a copy of the same file, and against a
/// copy that is verified too: compared with what the disk has of it.
fn migrate(report: &mut Report) {
    const MIGRATIONS: usize = 5;
    let daemon = OrlopDaemon::start();
    let other = daemon.scratch().join("other").display().to_string();
    daemon.cli(["pool", "create", "other", "--path", &other]).ok();
    apply(&daemon, &manifest("moves", "2Gi", "xfs", None));
    fill(&mount(&daemon, "moves", "bench"), 1 << 30);
    unmount(&daemon, "moves", "bench");
    let (mut copying, mut verifying) = (Vec::new(), Vec::new());
    let (mut ours, mut copies, mut verified) = (Samples::default(), Samples::default(), Samples::default());
    for round in 0..MIGRATIONS {
        let target = if round % 2 == 0 { "other" } else { "default" };
        let image = image(daemon.scratch().path());
        let copy = daemon.scratch().join("copy.img");
        let start = Instant::now();
        run(Command::new("cp").arg("--sparse=always").arg(&image).arg(&copy)).ok();
        run(Command::new("sync").arg(&copy)).ok();
        let copied = start.elapsed();
        let of = format!("if={}", copy.display());
        run(Command::new("dd").args([of.as_str(), "iflag=nocache", "count=0"])).ok();
        run(Command::new("cmp").arg(&image).arg(&copy)).ok();
        let compared = start.elapsed();
        run(Command::new("rm").arg(&copy)).ok();
        let start = Instant::now();
        let body = json!({ "pool": target }).to_string();
        ask(&daemon.socket(), "POST", "/v1/workspaces/public/volumes/moves/migrate", &body);
        let moved = start.elapsed();
        copying.push(copied.as_secs_f64() / moved.as_secs_f64());
        verifying.push(compared.as_secs_f64() / moved.as_secs_f64());
        ours.push(moved);
        copies.push(copied);
        verified.push(compared);
    }
    let peers = [
        ("cp --sparse=always and sync", copying, copies, Aim::AtLeast(0.8)),
        ("cp, sync and cmp", verifying, verified, Aim::Told),
    ];
    for (peer, ratios, theirs, aim) in peers {
        let (ours, theirs) = (ours.median(), theirs.median());
        let detail = format!("1 GiB: {ours:.0} ms against {theirs:.0} ms, n={MIGRATIONS}");
        report.add(SECTION, format!("migrate, speed × {peer}"), (median(ratios), "×"), aim, detail);
    }
}

/// The only image of more than a gibibyte below that directory.
fn image(below: &Path) -> std::path::PathBuf {
    let found = run(Command::new("find").arg(below).args(["-name", "data.img", "-size", "+1024M"])).ok();
    std::path::PathBuf::from(found.lines().next().unwrap_or_default())
}

/// A start with many volumes, each with a snapshot.
fn many(report: &mut Report) {
    let mut daemon = OrlopDaemon::builder().config("blanks: 0\n").start();
    let file = daemon.scratch().join("many.img").display().to_string();
    let create =
        ["pool", "create", "many", "--image", &file, "--size", "40Gi", "--sparse", "--overcommit", "20"];
    daemon.cli(create).ok();
    for number in 0..MANY {
        let name = format!("v{number:05}");
        apply(&daemon, &manifest(&name, "16Mi", "ext4", Some("many")));
        snap(&daemon, &format!("s{number:05}"), &name);
    }
    daemon.kill9();
    let mut restart = Samples::default();
    restart.time(|| daemon.restart());
    report.add(
        SECTION,
        "start with 10,000 volumes and 10,000 snapshots",
        (restart.median() / 1e3, "s"),
        Aim::AtMost(1.5),
        "after kill -9",
    );
}

/// Writes that many bytes, which no filesystem can leave out, to the disk.
fn fill(dir: &Path, bytes: u64) {
    let file = File::create(dir.join(FILE)).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let block: Vec<u8> = (0_u32..1 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for offset in (0..bytes).step_by(block.len()) {
        file.write_all_at(&block, offset).expect("the volume has the room");
    }
    file.sync_all().expect("the volume keeps it");
}
