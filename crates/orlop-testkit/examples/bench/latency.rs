//! How long a user waits: from apply to an active volume, and from apply to the first byte stored in it.

use std::{fs::File, io::Write, thread::sleep, time::Duration};

use orlop_testkit::OrlopDaemon;

use crate::{
    report::{Aim, Report},
    samples::Samples,
    subject::{apply, counter, delete, manifest, mount, unmount},
};

const ROUNDS: usize = 30;
/// Between two applies of a user; a blank is made while nobody waits.
const PAUSE: Duration = Duration::from_millis(700);
const SECTION: &str = "latency";

pub(crate) fn measure(report: &mut Report) {
    for (size, filesystem) in [("1Gi", "xfs"), ("1Gi", "ext4"), ("64Mi", "ext4")] {
        let what = format!("apply to active, {filesystem} {size}");
        let scratch = OrlopDaemon::builder().config("blanks: 0\n").start();
        let samples = run(&scratch, size, filesystem, Duration::ZERO);
        report.add(
            SECTION,
            format!("{what}, from scratch"),
            (samples.median(), "ms"),
            Aim::AtMost(60.0),
            samples.words(),
        );

        let prepared = OrlopDaemon::start();
        let before = blanks(&prepared);
        let samples = run(&prepared, size, filesystem, PAUSE);
        let used = blanks(&prepared) - before;
        let detail = format!("{}, blank used {used:.0} of {ROUNDS}", samples.words());
        report.add(
            SECTION,
            format!("{what}, prepared blank"),
            (samples.median(), "ms"),
            Aim::AtMost(10.0),
            detail,
        );
    }
    first_byte(report);
}

fn blanks(daemon: &OrlopDaemon) -> f64 {
    counter(daemon, "orlop_volumes_created_total{from=\"blank\"}")
}

fn run(daemon: &OrlopDaemon, size: &str, filesystem: &str, pause: Duration) -> Samples {
    // The first of a size is what tells the daemon to prepare more of it.
    apply(daemon, &manifest("first", size, filesystem, None));
    sleep(pause * 2);
    let mut samples = Samples::default();
    for round in 0..ROUNDS {
        let name = format!("v{round}");
        let volume = manifest(&name, size, filesystem, None);
        samples.time(|| apply(daemon, &volume));
        delete(daemon, &name);
        sleep(pause);
    }
    samples
}

/// Apply, mount as an engine would, write one byte and wait until it is on disk.
fn first_byte(report: &mut Report) {
    let daemon = OrlopDaemon::start();
    let mut samples = Samples::default();
    for round in 0..ROUNDS {
        let name = format!("b{round}");
        let volume = manifest(&name, "1Gi", "auto", None);
        samples.time(|| {
            apply(&daemon, &volume);
            let dir = mount(&daemon, &name, "bench");
            let stored = File::create(dir.join("byte")).and_then(|mut file| {
                file.write_all(b"x")?;
                file.sync_all()
            });
            stored.unwrap_or_else(|error| panic!("cannot store a byte in {}: {error}", dir.display()));
        });
        unmount(&daemon, &name, "bench");
        delete(&daemon, &name);
        sleep(PAUSE);
    }
    report.add(
        SECTION,
        "apply to first byte on disk, 1Gi",
        (samples.median(), "ms"),
        Aim::Told,
        samples.words(),
    );
}
