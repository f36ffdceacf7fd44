//! What the image costs a reader and a writer: fio in a volume against fio in a plain directory on the same disk.

use std::{path::Path, process::Command};

use orlop_testkit::{OrlopDaemon, run};
use serde_json::Value;

use crate::{
    report::{Aim, Report},
    samples::median,
    subject::{apply, manifest, mount, unmount},
};

const ROUNDS: usize = 3;
const SECTION: &str = "data path";

/// A kind of work: its name, fio's words for it, the figure to take, and the aim.
struct Work {
    name: &'static str,
    arguments: &'static [&'static str],
    figure: &'static str,
    unit: &'static str,
    aim: f64,
}

const WORK: [Work; 5] = [
    Work {
        name: "sequential write",
        arguments: &["--rw=write", "--bs=1M", "--direct=1", "--ioengine=libaio", "--iodepth=8"],
        figure: "/write/bw",
        unit: "KiB/s",
        aim: 0.9,
    },
    Work {
        name: "sequential read",
        arguments: &["--rw=read", "--bs=1M", "--direct=1", "--ioengine=libaio", "--iodepth=8"],
        figure: "/read/bw",
        unit: "KiB/s",
        aim: 0.9,
    },
    Work {
        name: "4k random read, direct",
        arguments: &["--rw=randread", "--bs=4k", "--direct=1", "--ioengine=libaio", "--iodepth=16"],
        figure: "/read/iops",
        unit: "IOPS",
        aim: 0.8,
    },
    Work {
        name: "4k random write, direct",
        arguments: &["--rw=randwrite", "--bs=4k", "--direct=1", "--ioengine=libaio", "--iodepth=16"],
        figure: "/write/iops",
        unit: "IOPS",
        aim: 0.8,
    },
    Work {
        name: "4k write, fdatasync each",
        arguments: &["--rw=write", "--bs=4k", "--ioengine=psync", "--fdatasync=1"],
        figure: "/write/iops",
        unit: "IOPS",
        aim: 0.6,
    },
];

pub(crate) fn measure(report: &mut Report) {
    let daemon = OrlopDaemon::start();
    let plain = daemon.scratch().mkdir("plain");
    for filesystem in ["xfs", "ext4"] {
        apply(&daemon, &manifest(filesystem, "2Gi", filesystem, None));
        let volume = mount(&daemon, filesystem, "bench");
        for dir in [&volume, &plain] {
            // Steady state: the file exists, all its blocks are written and on disk.
            fio(dir, &["--rw=write", "--bs=1M", "--direct=1", "--end_fsync=1"], false);
        }
        for work in &WORK {
            let rounds: Vec<(f64, f64)> = (0..ROUNDS)
                .map(|_| {
                    let ours = figure(&fio(&volume, work.arguments, true), work.figure);
                    (ours, figure(&fio(&plain, work.arguments, true), work.figure))
                })
                .collect();
            let ours = median(rounds.iter().map(|(ours, _)| *ours).collect());
            let theirs = median(rounds.iter().map(|(_, theirs)| *theirs).collect());
            let ratio = median(rounds.iter().map(|(ours, theirs)| ours / theirs).collect());
            let detail = format!("{ours:.0} against {theirs:.0} {}, n={ROUNDS}", work.unit);
            let what = format!("{}, {filesystem}, × plain directory", work.name);
            report.add(SECTION, what, (ratio, "×"), Aim::AtLeast(work.aim), detail);
        }
        unmount(&daemon, filesystem, "bench");
    }
}

fn fio(dir: &Path, arguments: &[&str], timed: bool) -> Value {
    let mut command = Command::new("fio");
    command.args(["--name=bench", "--size=1G", "--output-format=json"]);
    // By its whole path: a name and a directory are put together or not by the order of the options.
    let file = dir.join("bench.dat");
    command.arg(format!("--filename={}", file.display())).args(arguments);
    if timed {
        command.args(["--time_based", "--runtime=6", "--ramp_time=1", "--overwrite=1"]);
    }
    let answer = run(&mut command).ok();
    assert!(file.is_file(), "fio did not work on {}", file.display());
    serde_json::from_str(&answer)
        .unwrap_or_else(|error| panic!("fio did not answer in JSON ({error}):\n{answer}"))
}

fn figure(answer: &Value, name: &str) -> f64 {
    let value = answer.pointer(&format!("/jobs/0{name}")).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("fio's answer has no {name}"))
}
