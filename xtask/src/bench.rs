//! `cargo xtask bench`: builds Orlop as it is released and prints its figures beside aims and peers. What is
//! measured is an example of the testkit, whose harnesses it needs.

use crate::install;
use crate::step::{cargo, root, show};

/// Installs what is missing, builds optimised, and runs the benchmark; all sections where none is named.
pub(crate) fn task(sections: &[String]) -> Result<(), String> {
    install::for_bench()?;
    eprintln!("Building Orlop, optimised (some minutes the first time) …");
    show(cargo().args([
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "orlop",
        "--bin",
        "orlop",
    ]))?;
    let json = root().join("target/bench.json");
    let mut bench = cargo();
    bench.args([
        "run",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "orlop-testkit",
        "--example",
        "bench",
    ]);
    bench.arg("--").arg("--json").arg(&json).args(sections);
    show(&mut bench)?;
    eprintln!("written to {}", json.display());
    Ok(())
}
