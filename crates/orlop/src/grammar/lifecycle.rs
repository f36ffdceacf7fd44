//! `undelete`, `purge` and `rename`: what becomes of a volume beside making, using and deleting it.

use clap::{Args, ValueEnum};
use orlop_model::{Period, VolumeId, VolumeName, WorkspaceName, resource::Front};

use super::resource::Registration;

/// `orlop undelete`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").args(["name", "id"]).required(true), after_help = "\
Examples:
  orlop get -t volume --released            what was deleted, when and by whom
  orlop undelete -n data                    bring it back, with the data it had
  orlop undelete -n data --as data-old      under another name, where this one is taken
  orlop undelete --id 019a0000-0000-7000-8000-000000000000

An id, as `orlop get --released` shows it, says which one where several had the name.
Only the data of persistent volumes is kept when they are deleted. Docker and Podman are told of the
name again, as apply does it.")]
pub(crate) struct UndeleteArgs {
    /// The name that it had
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: Option<VolumeName>,
    /// The workspace that it was in
    #[arg(short, long, value_name = "WORKSPACE", default_value = "public", conflicts_with = "id")]
    pub(crate) workspace: WorkspaceName,
    /// Its id, as `orlop get --released` shows it
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<VolumeId>,
    /// The name that it gets
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) new_name: Option<VolumeName>,
    #[command(flatten)]
    pub(crate) registration: Registration,
}

/// `orlop purge`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").args(["name", "id", "all"]).required(true), after_help = "\
Examples:
  orlop purge -n data                       destroy the data of all deleted volumes of that name
  orlop purge --id 019a0000-0000-7000-8000-000000000000   of one of them
  orlop purge --all -w team --older-than 30d
  orlop purge --all --older-than 7d --yes   in a script

What would be destroyed is shown first, and asked about. Data that was purged can't be brought back.
A user other than root purges his own with --all.")]
pub(crate) struct PurgeArgs {
    /// The name that it had
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: Option<VolumeName>,
    /// The workspace that it was in
    #[arg(short, long, value_name = "WORKSPACE", default_value = "public", conflicts_with = "id")]
    pub(crate) workspace: WorkspaceName,
    /// Its id, as `orlop get --released` shows it
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<VolumeId>,
    /// Everything that was deleted in the workspace
    #[arg(long)]
    pub(crate) all: bool,
    /// Only what was deleted longer ago, such as 7d
    #[arg(long, value_name = "TIME", conflicts_with = "id")]
    pub(crate) older_than: Option<Period>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `orlop rename`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop rename -n data --to archive
  orlop rename -n data --to archive -w team

Its id, its data and its size stay; its snapshots follow it. It is refused while the volume is in use, and while a container of
Docker or Podman, also a stopped one, knows it by its old name; the engines then forget the old name and
learn the new one. Change the name in its manifest too: the old manifest would make a new volume.")]
pub(crate) struct RenameArgs {
    /// The name of the volume
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: VolumeName,
    /// Its new name
    #[arg(long, value_name = "NAME")]
    pub(crate) to: VolumeName,
    /// The workspace of the volume
    #[arg(short, long, value_name = "WORKSPACE", default_value = "public")]
    pub(crate) workspace: WorkspaceName,
    /// An engine that is gone from this host for good, whose name for the volume is dropped unasked
    #[arg(long, value_name = "ENGINE")]
    pub(crate) forget: Vec<EngineName>,
    #[command(flatten)]
    pub(crate) registration: Registration,
}

/// A container engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// Docker
    Docker,
    /// Podman
    Podman,
}

impl EngineName {
    /// The door that it comes through.
    pub(crate) fn front(self) -> Front {
        match self {
            Self::Docker => Front::Docker,
            Self::Podman => Front::Podman,
        }
    }
}
