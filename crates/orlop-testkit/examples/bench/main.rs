//! The figures of the README, each beside its aim and, where there is one, beside a peer measured in the
//! same run: what `cargo xtask bench` runs. What is measured lives in the modules; how it is shown, in `report`.
//!
//! Arguments: `--json FILE`, and the names of sections, where not all are wanted.
#![forbid(unsafe_code)]

mod csi;
mod data_path;
mod docker;
mod latency;
mod life;
mod report;
mod samples;
mod scale;
mod subject;

use std::{path::PathBuf, process::ExitCode};

use report::Report;

type Section = fn(&mut Report);

const SECTIONS: [(&str, Section); 6] = [
    ("latency", latency::measure),
    ("docker", docker::measure),
    ("data", data_path::measure),
    ("scale", scale::measure),
    ("life", life::measure),
    ("csi", csi::measure),
];

fn main() -> ExitCode {
    let mut json = None;
    let mut wanted = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = arguments.next().map(PathBuf::from),
            name if SECTIONS.iter().any(|(known, _)| *known == name) => wanted.push(name.to_owned()),
            other => {
                let names = SECTIONS.map(|(name, _)| name).join(", ");
                eprintln!("unknown section {other:?}: expected --json FILE or one of: {names}");
                return ExitCode::from(2);
            }
        }
    }
    let mut report = Report::default();
    for (name, measure) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            eprintln!("measuring: {name} …");
            measure(&mut report);
        }
    }
    print!("{}", report.table());
    if let Some(file) = json
        && let Err(error) = std::fs::write(&file, report.json())
    {
        eprintln!("cannot write {}: {error}", file.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
