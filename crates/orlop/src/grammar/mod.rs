//! The command line: every command and flag, defined once. Help, completions, man pages and the
//! reference in `docs/cli` come from this definition. What a command does lives in `command`.

pub(crate) mod administration;
pub(crate) mod identifier;
pub(crate) mod lifecycle;
pub(crate) mod observation;
pub(crate) mod pool;
pub(crate) mod resource;
pub(crate) mod snapshot;
pub(crate) mod stray;
#[cfg(test)]
mod tests;
mod verb;
pub(crate) mod volume;

use std::{ffi::OsString, path::PathBuf};

use clap::{
    Args, CommandFactory, Parser, Subcommand,
    builder::{OsStringValueParser, TypedValueParser},
};
use orlop_api::Client;

use crate::exit::Exit;
use administration::*;
use lifecycle::{PurgeArgs, RenameArgs, UndeleteArgs};
use observation::EventsArgs;
use pool::PoolCommand;
use resource::ResourceCommand;
use snapshot::SnapshotCommand;
use volume::VolumeCommand;

const EXAMPLES: &str = "\
Examples:
  orlop apply -f volume.yaml                make a volume
  docker run --rm -v data:/data alpine df -h /data
  orlop get -t volume                       see it
  orlop log -t volume -n data               see what happened to it
  orlop delete -t volume -n data            delete it";

/// Volumes for containers, of a size that is real
///
/// A volume is a directory that containers can reach. It outlives them, and several can share it.
/// A manifest says its size, its access mode and its type; the kernel enforces the size.
#[derive(Debug, Parser)]
#[command(name = "orlop", version, propagate_version = false, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// The definition, with the help that is made from the table of exit codes.
    pub(crate) fn definition() -> clap::Command {
        flowing(Self::command()).after_help(format!("{EXAMPLES}\n\n{}", Exit::help()))
    }
}

/// Joins the lines of the paragraphs after the examples: how wide they can be is the terminal's to say.
fn flowing(command: clap::Command) -> clap::Command {
    let after = command.get_after_help().map(ToString::to_string);
    let command = match after {
        Some(text) => command.after_help(text.split("\n\n").map(joined).collect::<Vec<_>>().join("\n\n")),
        None => command,
    };
    command.mut_subcommands(flowing)
}

fn joined(block: &str) -> String {
    let mut text = String::new();
    for line in block.lines() {
        let apart = if line.starts_with("  ") { "\n" } else { " " };
        text.push_str(if text.is_empty() { "" } else { apart });
        text.push_str(line);
    }
    text
}

/// Flags of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The daemon's socket
    #[arg(
        long,
        global = true,
        env = "ORLOP_SOCKET",
        value_name = "PATH",
        default_value = Client::DEFAULT_SOCKET,
        value_parser = OsStringValueParser::new().map(socket),
        hide_env_values = true,
        help_heading = "Global options",
        value_hint = clap::ValueHint::FilePath
    )]
    pub(crate) socket: PathBuf,
}

/// The path; an empty one, as of a variable without a value, is none.
fn socket(path: OsString) -> PathBuf {
    if path.is_empty() { Client::DEFAULT_SOCKET.into() } else { path.into() }
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Verb(ResourceCommand),
    /// Apply, get, delete and log, as in `orlop resource get`
    #[command(subcommand)]
    Resource(ResourceCommand),
    /// One volume in detail, and what is done with it beside its manifest
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// What a volume held at a moment, to be put back or made into a new volume
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Bring back a deleted volume
    Undelete(UndeleteArgs),
    /// Destroy the data of deleted volumes, for good
    Purge(PurgeArgs),
    /// Give a volume another name
    Rename(RenameArgs),
    /// Namespaces of volumes
    #[command(subcommand)]
    Workspace(WorkspaceCommand),
    /// Where volumes live on this host
    #[command(subcommand)]
    Pool(PoolCommand),
    /// Show what happened, to everything or to some of it
    Events(EventsArgs),
    /// Long work that is under way
    #[command(subcommand)]
    Operation(OperationCommand),
    /// Use a volume from the host
    Mount(MountArgs),
    /// End a mount of the host
    Unmount(UnmountArgs),
    /// Say whether the daemon is there and ready
    #[command(after_help = "\
Examples:
  orlop status
  orlop status && orlop apply -f volume.yaml

It ends with 8 when no daemon answers and with 9 when the daemon is not ready, with the reasons.")]
    Status,
    /// Run the daemon
    Serve(ServeArgs),
    /// Make Docker, Podman and systemd know Orlop
    Install(InstallArgs),
    /// Print the JSON Schema of a manifest
    Schema(SchemaArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Print the man pages
    Man(ManArgs),
    /// Print the version
    #[command(after_help = "Examples:\n  orlop version")]
    Version,
    /// Print the reference of the command line as Markdown
    #[command(hide = true)]
    Reference,
}
