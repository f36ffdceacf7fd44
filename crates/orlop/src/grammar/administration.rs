//! The commands beside the resource verbs: workspaces, pools, host mounts, the service, the
//! installation, and what is generated from this definition.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use orlop_daemon::{Config, LogFormat};
use orlop_model::{OperationId, Size, VolumeName, WorkspaceName};

use super::resource::Format;

/// `orlop workspace …`.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkspaceCommand {
    /// Make a workspace, or set who is granted it and what it may hold
    #[command(after_help = "\
Examples:
  orlop workspace create team
  orlop workspace create team --grant 1000 --grant 1001
  orlop workspace create team --size-limit 100Gi --volume-limit 20
  orlop workspace create team --size-limit none

The users granted a workspace may change, mount and delete everything in it. With --grant on a
workspace that exists, its grants become exactly those named; `--grant none` takes all away. Only root sets limits; live volumes,
released ones and snapshots count. What is there already stays, however low a limit is set.")]
    Create {
        #[command(flatten)]
        name: WorkspaceArg,
        /// A user id that may change, mount and delete all that is in it, or none; may be repeated
        #[arg(long, value_name = "UID", value_parser = user)]
        grant: Vec<OrNone<u32>>,
        /// The most that all volumes and snapshots may be together, such as 100Gi, or none (root only)
        #[arg(long, value_name = "SIZE", value_parser = or_none::<Size>)]
        size_limit: Option<OrNone<Size>>,
        /// The most volumes, deleted ones that are retained counted, or none (root only)
        #[arg(long, value_name = "N", value_parser = count)]
        volume_limit: Option<OrNone<u32>>,
    },
    /// Show one workspace, or all
    #[command(after_help = "Examples:\n  orlop workspace get\n  orlop workspace get team -o json")]
    Get {
        #[command(flatten)]
        name: WorkspaceArg,
        #[command(flatten)]
        format: Format,
    },
    /// Delete an empty workspace
    #[command(after_help = "\
Examples:
  orlop workspace delete team

A workspace with volumes is refused, and so is one with released volumes, whose data is retained.")]
    Delete {
        #[command(flatten)]
        name: WorkspaceArg,
    },
}

/// What is to be set, or `none` for what is to be taken away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrNone<T>(pub(crate) Option<T>);

fn or_none<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<OrNone<T>, String> {
    match text {
        "none" => Ok(OrNone(None)),
        text => text.parse().map(|value| OrNone(Some(value))).map_err(|fault| format!("{fault}; or none")),
    }
}

fn user(text: &str) -> Result<OrNone<u32>, String> {
    or_none(text).map_err(|_| "expected a number, as `id -u NAME` prints it, or none".to_owned())
}

fn count(text: &str) -> Result<OrNone<u32>, String> {
    or_none(text).map_err(|_| "expected a whole number, or none".to_owned())
}

/// The name of a workspace, with or without `-n`.
#[derive(Debug, Args)]
pub(crate) struct WorkspaceArg {
    /// The name of the workspace
    #[arg(value_name = "NAME", conflicts_with = "workspace_flag")]
    workspace_name: Option<WorkspaceName>,
    /// The name of the workspace, as a flag
    #[arg(id = "workspace_flag", short = 'n', long = "name", value_name = "NAME")]
    workspace_flag: Option<WorkspaceName>,
}

impl WorkspaceArg {
    /// The name, whichever way it was written.
    pub(crate) fn name(&self) -> Option<&WorkspaceName> {
        self.workspace_name.as_ref().or(self.workspace_flag.as_ref())
    }
}

/// `orlop operation …`.
#[derive(Debug, Subcommand)]
pub(crate) enum OperationCommand {
    /// List the long work that is under way, and how far it is
    #[command(after_help = "\
Examples:
  orlop operation list
  orlop operation list --refresh            live, until Ctrl-C

Only what takes its time is shown: copies between pools, checks, imports. Anybody may watch.")]
    List {
        #[command(flatten)]
        format: Format,
        /// Show it live, until Ctrl-C
        #[arg(short, long)]
        refresh: bool,
    },
    /// Stop long work; what it had begun is taken back
    #[command(after_help = "\
Examples:
  orlop operation stop 019a9d2e-5f1a-7c07-9c0e-3d0a4f2f9f11

Only the user who began it may, and root. Ctrl-C in the command that began it does the same.")]
    Stop {
        /// The operation, as `orlop operation list` shows it
        id: OperationId,
    },
}

/// `orlop mount`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop mount -n data /mnt/data
  orlop mount -n data -w team /mnt/data --read-only
  orlop mount -n models /mnt/fill --read-write      fill a ReadOnlyMany volume

DIR is an empty directory of yours; no part of its path may be a symbolic link. The access mode holds
here as it does for containers. End it with `orlop unmount DIR`.")]
pub(crate) struct MountArgs {
    /// The name of the volume
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: VolumeName,
    /// The workspace of the volume
    #[arg(short, long, value_name = "WORKSPACE", default_value = "public")]
    pub(crate) workspace: WorkspaceName,
    /// An empty directory that you own
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Mount it read-only
    #[arg(long, conflicts_with = "read_write")]
    pub(crate) read_only: bool,
    /// Mount it read-write, also a ReadOnlyMany volume: its owner only, while nobody else uses it
    #[arg(long)]
    pub(crate) read_write: bool,
}

/// `orlop unmount`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  orlop unmount /mnt/data")]
pub(crate) struct UnmountArgs {
    /// The directory the volume is mounted on
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
}

/// `orlop serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop serve
  orlop serve --state-dir /srv/a --run-dir /run/a       a second one beside the first
  orlop serve --csi-endpoint unix:///run/orlop/csi.sock --node-id node-1

The REST socket is RUN_DIR/orlop.sock, the plugin sockets are RUN_DIR/docker.sock and
RUN_DIR/podman.sock. Stopping the daemon unmounts nothing that containers use. A flag wins over the
configuration file.")]
pub(crate) struct ServeArgs {
    /// Where the store and the pool `default` live [default: /var/lib/orlop]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) state_dir: Option<PathBuf>,
    /// Where the sockets are [default: /run/orlop]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) run_dir: Option<PathBuf>,
    /// Where volumes are mounted for containers [default: RUN_DIR/mounts]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) mount_dir: Option<PathBuf>,
    /// The configuration file [default: /etc/orlop/orlop.yaml, where it exists]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Serve an orchestrator through the Container Storage Interface: unix:///path/of/a/socket
    #[arg(long, value_name = "ENDPOINT", env = "CSI_ENDPOINT", hide_env_values = true)]
    pub(crate) csi_endpoint: Option<String>,
    /// Leave growing a volume to the call on its node, for a cluster with one resizer for all
    #[arg(long)]
    pub(crate) csi_expand_on_node: bool,
    /// The name of this node, as the orchestrator calls it [default: the host's name]
    #[arg(long, value_name = "ID")]
    pub(crate) node_id: Option<String>,
    /// The kubelet's directory: an orchestrator may have volumes below it [default: /var/lib/kubelet]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) kubelet_root: Option<PathBuf>,
    /// How log lines are written on standard error: auto, text or json [default: auto, text on a terminal]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// What is logged: a level, or levels by target such as info,orlop_engine=debug [default: info]
    #[arg(long, value_name = "FILTER", env = "ORLOP_LOG", hide_env_values = true)]
    pub(crate) log: Option<String>,
}

/// `orlop install`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop install --dry-run        print what would be written
  orlop install                  then: systemctl enable --now orlop.service
  orlop install --uninstall      take it away again; volumes and their data stay

It writes Docker's plugin spec, Podman's configuration, the systemd units, man pages and completions.
Files that it did not write are left alone, unless --force says otherwise.")]
pub(crate) struct InstallArgs {
    /// Take away what install wrote; volumes and their data stay
    #[arg(long)]
    pub(crate) uninstall: bool,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write below this directory instead of /
    #[arg(long, value_name = "DIR", default_value = "/", value_hint = clap::ValueHint::DirPath)]
    pub(crate) root: PathBuf,
    /// Where the daemon's sockets are
    #[arg(long, value_name = "DIR", default_value = Config::RUN_DIR, value_hint = clap::ValueHint::DirPath)]
    pub(crate) run_dir: PathBuf,
    /// Overwrite, or take away, files that were not written by install or were changed since
    #[arg(long)]
    pub(crate) force: bool,
}

/// `orlop schema`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop schema volume > volume.schema.json
  orlop schema snapshot > snapshot.schema.json

An editor with the YAML language server checks and completes a manifest that begins with
  # yaml-language-server: $schema=volume.schema.json")]
pub(crate) struct SchemaArgs {
    /// The type of the resource
    pub(crate) kind: SchemaType,
}

/// The types that have a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SchemaType {
    /// The manifest of a volume
    Volume,
    /// The manifest of a snapshot
    Snapshot,
}

/// `orlop completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop completions bash > /usr/local/share/bash-completion/completions/orlop
  source <(orlop completions zsh)

`orlop install` puts them in their places.")]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// `orlop man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop man | man -l -
  orlop man --dir /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Write one page a command into this directory, instead of the page of orlop to standard output
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}
