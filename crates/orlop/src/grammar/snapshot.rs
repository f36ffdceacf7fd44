//! `orlop snapshot …`.

use clap::{Args, Subcommand};
use orlop_model::{Retain, SnapshotName, VolumeName, WorkspaceName};

use super::resource::Format;

/// What is done to snapshots.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Make a snapshot of a volume, in use or not
    #[command(after_help = "\
Examples:
  orlop snapshot create -n before-upgrade --volume data
  orlop snapshot create -n monday --volume data -w team --retain 14d
  orlop snapshot create -n now --volume data --pause-writers

On a pool that shares blocks (XFS with reflink, btrfs) it takes a moment, whatever the size, and
writers wait for less than that. Elsewhere all data is copied: of a volume in use only with
--pause-writers, and its writers wait as long as the copy takes.")]
    Create {
        #[command(flatten)]
        which: WhichSnapshot,
        /// The volume
        #[arg(long, value_name = "VOLUME")]
        volume: VolumeName,
        /// Delete it by itself after this time, such as 7d [default: forever]
        #[arg(long, value_name = "TIME")]
        retain: Option<Retain>,
        /// Let writers wait while all data is copied, where blocks can't be shared
        #[arg(long)]
        pause_writers: bool,
    },
    /// List snapshots
    #[command(after_help = "\
Examples:
  orlop snapshot list
  orlop snapshot list -w team --volume data
  orlop snapshot list -a -o wide

RESERVED is what a snapshot can take of the disk at most, OWN what it takes that it shares with nothing
else, as last seen.")]
    List {
        /// The workspace of the snapshots
        #[arg(short, long, value_name = "WORKSPACE", default_value = "public", conflicts_with = "all")]
        workspace: WorkspaceName,
        /// Of all workspaces
        #[arg(short, long)]
        all: bool,
        /// Only those of this volume
        #[arg(long, value_name = "VOLUME")]
        volume: Option<VolumeName>,
        #[command(flatten)]
        format: Format,
    },
    /// Show one snapshot
    #[command(after_help = "\
Examples:
  orlop snapshot show -n before-upgrade
  orlop snapshot show -n before-upgrade -o yaml     as a manifest that can be applied")]
    Show {
        #[command(flatten)]
        which: WhichSnapshot,
        #[command(flatten)]
        format: Format,
    },
    /// Delete a snapshot
    #[command(after_help = "\
Examples:
  orlop snapshot delete -n before-upgrade

Its volume stays as it is, and so does every volume that was made from it.")]
    Delete {
        #[command(flatten)]
        which: WhichSnapshot,
    },
    /// Put a volume back to a snapshot
    #[command(after_help = "\
Examples:
  orlop snapshot restore -n before-upgrade

The volume must not be in use. What is in it until then is kept as a snapshot of its own, whose name is
printed: restore that to take it back, or delete it. A volume that has grown since keeps its size; one
that has shrunk gets the size it had, where there is room for it, and that is said. To look into a snapshot
without touching its volume, make a new volume from it: `source: {snapshot: NAME}` in the manifest.")]
    Restore {
        #[command(flatten)]
        which: WhichSnapshot,
    },
}

/// One snapshot.
#[derive(Debug, Args)]
pub(crate) struct WhichSnapshot {
    /// The name of the snapshot
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: SnapshotName,
    /// The workspace of the snapshot and its volume
    #[arg(short, long, value_name = "WORKSPACE", default_value = "public")]
    pub(crate) workspace: WorkspaceName,
}
