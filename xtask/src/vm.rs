//! `cargo xtask vm-test`: what can't be tested on every machine, as it asks for more rights than a
//! container or a CI runner has, runs in a virtual machine with Debian's kernel. It is emulated, so
//! that it needs no rights either, and takes some seconds.

use std::process::Command;

use crate::install;
use crate::step::{cargo, output, root, tee};

/// Makes the initial file system of the machine, and runs it.
const SCRIPT: &str = include_str!("vm.sh");
/// What is run there, and the line by which it says that it did what it is run for.
const TEST: &str = "sizes::an_ext4_in_use_grows_where_the_kernel_lets_the_daemon_and_else_says_what_to_do";
const PROOF: &str = "grown in use and not";

/// Builds the test, and runs it in the machine.
pub(crate) fn task() -> Result<(), String> {
    if !cfg!(target_arch = "x86_64") {
        println!("skipped: the virtual machine is an x86-64 one");
        return Ok(());
    }
    install::for_vm()?;
    // As `cargo xtask test` builds it, so that it is built once.
    let options = ["test", "--workspace", "--locked", "--features", "orlop-engine/faults"];
    let built =
        output(cargo().args(options).args(["--test", "contract", "--no-run", "--message-format", "json"]))?;
    let test = executable(&built).ok_or("cargo does not say where the contract suite is")?;
    let mut machine = Command::new("sh");
    machine.args(["-eu", "-c", SCRIPT, "vm", test, TEST]).current_dir(root());
    let (success, said) = tee(&mut machine)?;
    if success && said.contains(PROOF) && said.contains("1 passed") {
        return Ok(());
    }
    Err("the test in the virtual machine failed".to_owned())
}

/// The path in cargo's messages.
fn executable(messages: &str) -> Option<&str> {
    let mut paths = messages.split("\"executable\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    paths.find(|path| path.contains("/contract-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"x","executable":null}
{"reason":"compiler-artifact","executable":"/t/debug/deps/other-1"}
{"reason":"compiler-artifact","executable":"/t/debug/deps/contract-2","fresh":true}
{"reason":"build-finished"}"#;
        assert_eq!(executable(messages), Some("/t/debug/deps/contract-2"));
        assert_eq!(executable(""), None);
    }
}
