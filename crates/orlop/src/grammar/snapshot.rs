//! `orlop snapshot …`.

use clap::{Args, Subcommand};
use orlop_model::{Retain, SnapshotName, VolumeName, WorkspaceName};

use super::resource::Format;

/// What is done to snapshots.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Make a snapshot of a volume, in use or not, or of several at one moment
    #[command(after_help = "\
Examples:
  orlop snapshot create -n before-upgrade --volume data
  orlop snapshot create -n monday --volume data -w team --retain 14d
  orlop snapshot create -n now --volume data --pause-writers
  orlop snapshot create -n nightly --volume data --volume log

On a pool that shares blocks (XFS with reflink, btrfs) it takes a moment, whatever the size, and
writers wait for less than that. Elsewhere all data is copied: of a volume in use only with
--pause-writers, and its writers wait as long as the copy takes.

Several volumes make a group: a snapshot of each, called like the group and the volume, all of one moment
(a write to one is never there without those that were done before it to the others), all or none, and
deleted together. Their pools have to share blocks.")]
    Create {
        #[command(flatten)]
        which: WhichSnapshot,
        /// The volume; once for each, at most 32
        #[arg(long, value_name = "VOLUME", required = true)]
        volume: Vec<VolumeName>,
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

GROUP is what a snapshot was made with at one moment, and goes with. RESERVED is what a snapshot can take of the disk at most, OWN what it takes that it shares with nothing
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
    /// Show one snapshot, or those of a group
    #[command(after_help = "\
Examples:
  orlop snapshot show -n before-upgrade
  orlop snapshot show -n nightly                    the snapshots of a group
  orlop snapshot show -n before-upgrade -o yaml     as a manifest that can be applied")]
    Show {
        #[command(flatten)]
        which: WhichSnapshot,
        #[command(flatten)]
        format: Format,
    },
    /// Delete a snapshot, or a group with all its snapshots
    #[command(after_help = "\
Examples:
  orlop snapshot delete -n before-upgrade

Its volume stays as it is, and so does every volume that was made from it. A snapshot of a group goes with
the group.")]
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
    /// The name of the snapshot or group
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: SnapshotName,
    /// The workspace of the snapshot and its volume
    #[arg(short, long, value_name = "WORKSPACE", default_value = "public")]
    pub(crate) workspace: WorkspaceName,
}
