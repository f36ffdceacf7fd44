//! `cargo xtask test`: everything that CI runs, in one command.

use std::fs;

use crate::counts::{Counts, of_cargo_test, of_nextest};
use crate::step::{Steps, cargo, root, show, tee};
use crate::{check, deny, fuzz, install, vm};

/// Names the file that a test which skips itself writes its reason to; the testkit knows it too.
const SKIPS_FILE: &str = "ORLOP_SKIPS_FILE";

/// Runs all steps; fails if one has failed. The last line is the sum over all tests.
pub(crate) fn task() -> Result<(), String> {
    let mut steps = Steps::default();
    if steps.run("install what is missing", install::for_tests).is_none() {
        return Err("nothing was run".to_owned());
    }
    steps.run("formatting", || show(cargo().args(["fmt", "--all", "--check"])));
    steps.run("lints", || {
        let options = ["clippy", "--quiet", "--workspace", "--all-targets", "--locked", "--keep-going"];
        show(cargo().args(options).args(["--", "--deny", "warnings"]))
    });
    steps.run("repository", || check::task(false));
    steps.run("dependencies", deny::run);
    let mut counts = Counts::default();
    // The daemon's tests run the binary that lies beside them.
    let built =
        steps.run("build", || show(cargo().args(["build", "--quiet", "--workspace", "--bins", "--locked"])));
    if built.is_some() {
        steps.run("tests", || nextest(&mut counts));
        steps.run("virtual machine", vm::task);
        steps.run("tests in documentation", || doc_tests(&mut counts));
    }
    steps.run("fuzzing", fuzz::run);
    if !steps.failed().is_empty() {
        println!("failed: {}", steps.failed().join(", "));
    }
    println!("{counts}");
    match steps.failed() {
        [] => Ok(()),
        failed => Err(format!("{} of the steps failed", failed.len())),
    }
}

fn nextest(counts: &mut Counts) -> Result<(), String> {
    let skips_file = root().join("target/skipped-tests.txt");
    let _ = fs::create_dir_all(root().join("target"));
    fs::write(&skips_file, "").map_err(|e| format!("{}: {e}", skips_file.display()))?;
    let mut command = cargo();
    command
        .args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast"])
        .args(["--cargo-quiet", "--no-tests", "fail"])
        // The fault suite is only there with the points that it injects at.
        .args(["--features", "orlop-engine/faults"])
        .env("PATH", install::path())
        // A golden file that differs fails; nothing is written into the repository.
        .env("INSTA_UPDATE", "no")
        .env(SKIPS_FILE, &skips_file);
    let (success, text) = tee(&mut command)?;
    let skips = fs::read_to_string(&skips_file).unwrap_or_default();
    for skip in skips.lines() {
        println!("skipped: {skip}");
    }
    match of_nextest(&text) {
        Some(reported) => *counts += reported.with_self_skipped(skips.lines().count()),
        None => return Err("nextest ended without a summary".to_owned()),
    }
    verdict(success)
}

fn doc_tests(counts: &mut Counts) -> Result<(), String> {
    let options = ["test", "--doc", "--quiet", "--workspace", "--locked", "--no-fail-fast"];
    let output = cargo().args(options).output().map_err(|e| format!("cannot run `cargo test`: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    *counts += of_cargo_test(&text);
    // Mostly crates that say they have none: shown only where it matters.
    if !output.status.success() {
        println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    verdict(output.status.success())
}

fn verdict(success: bool) -> Result<(), String> {
    if success { Ok(()) } else { Err("tests failed".to_owned()) }
}
