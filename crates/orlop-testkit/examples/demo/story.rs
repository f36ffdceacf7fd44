//! What happens in the demo, in order. How it is printed is in `narration`.

use std::{path::Path, time::Duration};

use orlop_testkit::{OrlopDaemon, Podman, command::eventually, run};

use crate::narration::Narration;

const VOLUME: &str = "volumetest";
const GIB: u64 = 1 << 30;

pub(crate) fn tell() {
    let mut say = Narration::begin();
    println!("Orlop: volumes for containers whose size is real.");
    println!("Everything below happens in a private directory, with a private daemon and a private Podman.");

    say.chapter("A manifest becomes a volume");
    // The sample asks for 1Gi; a pool says what may be promised, so this holds on a small disk too.
    let mut daemon = OrlopDaemon::start();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/manifests/volumetest.yaml");
    let manifest = manifest.canonicalize().unwrap_or(manifest);
    let podman = Podman::builder().plugin("orlop", daemon.podman_socket()).start();
    podman.import_busybox();
    // Where Podman is, so that apply finds it and registers the volume with it.
    let mut apply =
        daemon.client_within(podman.namespace(), ["apply", "-f", &manifest.display().to_string()]);
    let applied = run(&mut apply).ok();
    say.shows("orlop apply -f examples/manifests/volumetest.yaml", &applied);
    let listed = daemon.cli(["get", "-t", "volume", "-o", "wide"]).ok();
    say.shows("orlop get -t volume -o wide", &listed);
    say.proves(applied.contains("created") && listed.contains("active"), "The volume is active.", &listed);
    let again = daemon.cli(["apply", "-f", &manifest.display().to_string()]).ok();
    say.proves(again.contains("unchanged"), "Applying the same manifest again changes nothing.", &again);

    let known = podman.run(["volume", "ls"]).ok();
    say.shows("podman volume ls", &known);
    let registered = known.lines().any(|line| line.contains("orlop") && line.contains(VOLUME));
    say.proves(
        registered,
        "Podman knows it by Orlop's driver, so its name can't become another volume.",
        &known,
    );

    say.chapter("Two containers of a pod share it");
    podman.run(["pod", "create", "--infra=false", "--name", "demo"]).ok();
    start_pair(&podman);
    podman.run(["exec", "writer", "sh", "-c", "echo 'written by one' > /data/note"]).ok();
    let read = podman.run(["exec", "reader", "cat", "/data/note"]).ok();
    say.shows("podman exec reader cat /data/note", &read);
    say.proves(read == "written by one", "What one container wrote, the other reads.", &read);
    let df = podman.run(["exec", "reader", "df", "-h", "/data"]).ok();
    say.shows("podman exec reader df -h /data", &df);
    let blocks = df_bytes(&podman, "reader");
    say.proves(
        blocks <= GIB && blocks > GIB * 85 / 100,
        "Inside the container, df shows the size of the volume, not of the disk.",
        &format!("{blocks} bytes"),
    );

    say.chapter("The containers die, the data stays");
    podman.run(["kill", "writer", "reader"]).ok();
    podman.run(["rm", "-f", "writer", "reader"]).ok();
    start_pair(&podman);
    let read = podman.run(["exec", "reader", "cat", "/data/note"]).ok();
    say.proves(read == "written by one", "New containers find what the killed ones wrote.", &read);

    say.chapter("The daemon is killed under them (kill -9)");
    podman
        .run(["exec", "-d", "writer", "sh", "-c", "while :; do date +%s >> /data/ticks; sleep 0.1; done"])
        .ok();
    let ticks = || lines(&podman, "/data/ticks");
    let moving = |from: u64| eventually(Duration::from_secs(10), || ticks() > from);
    say.proves(moving(0), "A container writes ten times a second.", "no line came");
    daemon.kill9();
    let dead = ticks();
    say.proves(moving(dead), "With the daemon dead, the container goes on writing.", "no further line");
    daemon.restart();
    let back = ticks();
    say.proves(
        moving(back),
        "The new daemon takes the mount over, and the container still writes.",
        "no further line",
    );
    let listed = daemon.cli(["get", "-t", "volume", "-n", VOLUME, "-o", "wide"]).ok();
    say.shows("orlop get -t volume -n volumetest -o wide", &listed);
    let refused = daemon.cli(["delete", "-t", "volume", "-n", VOLUME]).fails();
    say.shows("orlop delete -t volume -n volumetest", &refused);
    say.proves(
        refused.contains("podman"),
        "A delete of a volume in use is refused, and names the user.",
        &refused,
    );

    say.chapter("Another tool's prune destroys nothing");
    podman.run(["rm", "-f", "writer", "reader"]).ok();
    podman.run(["volume", "reload"]).ok();
    let pruned = podman.run(["volume", "prune", "-f"]);
    say.shows(
        "podman volume reload && podman volume prune -f",
        &format!("{}{}", pruned.stdout, pruned.stderr),
    );
    podman.run(["volume", "reload"]).ok();
    start_pair(&podman);
    let read = podman.run(["exec", "reader", "cat", "/data/note"]).ok();
    say.proves(read == "written by one", "Nobody used the volume then, and the data is still there.", &read);

    say.chapter("The volume is filled to its size");
    let full = podman.run([
        "exec",
        "writer",
        "sh",
        "-c",
        "dd if=/dev/zero of=/data/big bs=1M count=2048; sync; ls -l /data/big",
    ]);
    let seen = format!("{}{}", full.stdout, full.stderr);
    say.shows("podman exec writer dd if=/dev/zero of=/data/big bs=1M count=2048", seen.trim());
    say.proves(seen.contains("No space left on device"), "The kernel stops the writer with ENOSPC.", &seen);
    let big =
        podman.run(["exec", "reader", "stat", "-c", "%s", "/data/big"]).ok().parse::<u64>().unwrap_or(0);
    say.proves(
        big <= GIB && big > GIB * 85 / 100,
        &format!("It wrote {} MiB into a volume of 1024 MiB: never more than the size.", big >> 20),
        &format!("{big} bytes"),
    );
    podman.run(["exec", "writer", "rm", "/data/big"]).ok();

    say.chapter("The last consumer leaves, and the volume is deleted");
    podman.run(["rm", "-f", "writer", "reader"]).ok();
    podman.run(["pod", "rm", "-f", "demo"]).ok();
    let deleted = daemon.cli(["delete", "-t", "volume", "-n", VOLUME]).ok();
    say.shows("orlop delete -t volume -n volumetest", &deleted);
    let listed = daemon.cli(["get", "-t", "volume", "-a"]).ok();
    say.proves(!listed.contains(VOLUME), "The volume is gone, for its type is temp.", &listed);
    let log = daemon.cli(["log", "-t", "volume", "-n", VOLUME]).ok();
    say.shows("orlop log -t volume -n volumetest", &log);
    drop(podman);
    daemon.stop();
    daemon.assert_nothing_left();
    say.proves(true, "No mount and no loop device is left.", "");
    say.end();
}

/// The two containers of the pod.
fn start_pair(podman: &Podman) {
    for name in ["writer", "reader"] {
        podman
            .container(&["-d", "--pod", "demo", "--name", name, "-v", "volumetest:/data"], &["sleep", "600"])
            .ok();
    }
}

/// What `df` in the container calls the size of `/data`, in bytes.
fn df_bytes(podman: &Podman, container: &str) -> u64 {
    let df = podman.run(["exec", container, "df", "-P", "-k", "/data"]).ok();
    let kib = df.lines().nth(1).and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// How many lines a file in the volume has.
fn lines(podman: &Podman, file: &str) -> u64 {
    let count = podman.run(["exec", "reader", "sh", "-c", &format!("wc -l < {file}")]);
    count.stdout.trim().parse().unwrap_or(0)
}
