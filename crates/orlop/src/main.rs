//! The program `orlop`. It hands the command line over; everything else is in the modules.
#![forbid(unsafe_code)]
#![allow(dead_code)]

mod exit;
mod grammar;

fn main() -> std::process::ExitCode {
    let _ = grammar::Cli::definition().get_matches();
    exit::Exit::Success.into()
}
