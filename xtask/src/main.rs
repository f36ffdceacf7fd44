//! The tasks of this repository: `cargo xtask TASK`. Each lives in a module of its own.
#![forbid(unsafe_code)]

mod bench;
mod check;
mod counts;
mod demo;
mod deny;
mod fuzz;
mod install;
mod step;
mod test;
mod vm;

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
    /// Show the main job, step by step, with a private daemon and a private Podman
    Demo,
    /// Measure: latency, data path, ten thousand volumes; beside aims and peers
    Bench {
        /// Only these: latency, docker, data, scale, life
        sections: Vec<String>,
    },
    /// Check what the compiler doesn't: layers, tidiness, dependencies, generated files
    Check {
        /// Write the generated files anew instead of comparing them
        #[arg(long)]
        write: bool,
    },
    /// Run everything that CI runs: formatting, lints, checks, licences, and all tests
    Test,
    /// Run in a virtual machine what needs a kernel of its own: an ext4 that grows in use
    VmTest,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Demo => demo::task(),
        Task::Bench { sections } => bench::task(&sections),
        Task::Check { write } => check::task(write),
        Task::Test => test::task(),
        Task::VmTest => vm::task(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
