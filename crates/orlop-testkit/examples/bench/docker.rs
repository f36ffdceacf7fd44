//! What a volume costs a container's start: `docker run` with an Orlop volume against Docker's own local one.

use orlop_testkit::{Docker, OrlopDaemon};

use crate::{
    report::{Aim, Report},
    samples::Samples,
    subject::{apply, manifest},
};

const ROUNDS: usize = 20;

pub(crate) fn measure(report: &mut Report) {
    let daemon = OrlopDaemon::start();
    let docker = Docker::builder().plugin("orlop", daemon.docker_socket()).start();
    docker.import_busybox();
    apply(&daemon, &manifest("bench", "1Gi", "auto", None));
    docker.run(["volume", "create", "-d", "orlop", "bench"]).ok();
    docker.run(["volume", "create", "plain"]).ok();
    let (mut ours, mut local) = (Samples::default(), Samples::default());
    let run = |volume: &str| docker.container(&["--rm", "-v", volume], &["true"]).ok();
    run("bench:/x");
    run("plain:/x");
    // Interleaved, so that what else the machine does hits both.
    for _ in 0..ROUNDS {
        ours.time(|| run("bench:/x"));
        local.time(|| run("plain:/x"));
    }
    let detail = format!("p50 {:.0} ms against {:.0} ms, n={}", ours.median(), local.median(), ours.count());
    report.add(
        "docker",
        "docker run, × local volume",
        (ours.median() / local.median(), "×"),
        Aim::AtMost(1.15),
        detail,
    );
}
