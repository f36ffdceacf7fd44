//! The lock file of the fuzz targets, a workspace of its own: a dependency that is new in a crate of ours
//! is missing there until it is asked for, and the build that would say so is the last step of all.

use crate::step::{cargo, root};

use super::Violation;

const MANIFEST: &str = "fuzz/Cargo.toml";

pub(super) fn check() -> Result<Vec<Violation>, String> {
    let options = ["metadata", "--locked", "--format-version", "1", "--manifest-path", MANIFEST];
    let output =
        cargo().current_dir(root()).args(options).output().map_err(|e| format!("cannot run cargo: {e}"))?;
    if output.status.success() {
        return Ok(Vec::new());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let fault = text.lines().find(|line| line.starts_with("error")).unwrap_or("cargo can't read it");
    let remedy = format!("run `cargo metadata --manifest-path {MANIFEST}`, and commit fuzz/Cargo.lock");
    Ok(vec![Violation::new("fuzz/Cargo.lock", fault, remedy)])
}
