//! The tasks of this repository: `cargo xtask TASK`. Each lives in a module of its own.
#![forbid(unsafe_code)]

mod check;
mod counts;
mod deny;
mod install;
mod step;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The tasks of the Orlop repository.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check what the compiler doesn't: layers, tidiness, dependencies, generated files
    Check {
        /// Write the generated files anew instead of comparing them
        #[arg(long)]
        write: bool,
    },
    /// Run everything that CI runs: formatting, lints, checks, licences, and all tests
    Test,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Check { write } => check::task(write),
        Task::Test => test::task(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
