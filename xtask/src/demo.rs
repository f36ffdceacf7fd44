//! `cargo xtask demo`: builds Orlop and tells the main job with a real Podman. The story itself is an example
//! of the testkit, whose harnesses it needs.

use crate::install;
use crate::step::{cargo, show};

/// Installs what is missing, builds, and runs the demo.
pub(crate) fn task() -> Result<(), String> {
    install::for_demo()?;
    eprintln!("Building Orlop (some minutes the first time) …");
    show(cargo().args(["build", "--quiet", "--locked", "--package", "orlop", "--bin", "orlop"]))?;
    show(cargo().args(["build", "--quiet", "--locked", "--package", "orlop-testkit", "--example", "demo"]))?;
    show(cargo().args(["run", "--quiet", "--locked", "--package", "orlop-testkit", "--example", "demo"]))
}
