//! The program `orlop`. It hands the command line over; everything else is in the modules.
#![forbid(unsafe_code)]

mod command;
mod engines;
mod exit;
mod generated;
mod grammar;
mod install;
mod output;
mod source;

fn main() -> std::process::ExitCode {
    command::run(std::env::args_os()).into()
}
