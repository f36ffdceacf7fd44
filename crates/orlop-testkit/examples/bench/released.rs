//! How long it takes to bring back a deleted volume.

use orlop_testkit::OrlopDaemon;

use crate::{
    report::{Aim, Report},
    samples::Samples,
    subject::{apply, ask, delete, manifest, mount, unmount},
};

const ROUNDS: usize = 30;

pub(crate) fn measure(report: &mut Report) {
    let daemon = OrlopDaemon::start();
    let mut volume = manifest("kept", "1Gi", "xfs", None);
    if let Some(kind) = volume.pointer_mut("/volume/type") {
        *kind = "persistent".into();
    }
    apply(&daemon, &volume);
    mount(&daemon, "kept", "bench");
    unmount(&daemon, "kept", "bench");
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        delete(&daemon, "kept");
        let path = "/v1/workspaces/public/volumes/kept/undelete";
        samples.time(|| ask(&daemon.socket(), "POST", path, "{}"));
    }
    let detail = samples.words();
    report.add("released", "undelete, 1Gi", (samples.median(), "ms"), Aim::AtMost(10.0), detail);
}
