//! `orlop volume …`: one volume in detail, and what is done with it beside its manifest.

use clap::{Args, Subcommand};
use orlop_model::{PoolName, Size, VolumeName, WorkspaceName};

use super::resource::Format;

const MIGRATE: &str = "\
Examples:
  orlop volume migrate -n data --pool fast          to another pool
  orlop volume migrate -n data --size 512Mi         into a smaller filesystem, also of XFS
  orlop volume migrate -n data --pool fast --size 1Ti

With --pool alone the image is copied as it is, and its checksum is read back. With --size the files
are copied into a new filesystem, with owners, permissions, attributes, times, hard links and holes,
and compared. The volume must not be in use. The source is kept until the copy is verified; Ctrl-C,
`orlop operation stop` or a crash before that leave everything as it was. Asked again, nothing happens
where the volume is there already.";

const FSCK: &str = "\
Examples:
  orlop volume fsck -n data                 look, and change nothing but its log
  orlop volume fsck -n data --repair        repair what is wrong, as root

A repair works on a copy of the image, which takes its place only when a check finds nothing wrong any
more: until then, and after Ctrl-C or a crash, the volume is as it was. A volume in error whose
filesystem is whole is active again. It ends with 1 where something is wrong.";

/// `orlop volume …`.
#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// Show everything about a volume, and its use over the last day
    #[command(after_help = "\
Examples:
  orlop volume show -n data
  orlop volume show -n data -w team -o json

The use is drawn from a sample every five minutes while the volume is used, against its capacity.
With -o json and -o yaml the volume is printed as `orlop get` prints it.")]
    Show {
        #[command(flatten)]
        volume: VolumeArg,
        #[command(flatten)]
        format: Format,
    },
    /// Check the filesystem of a volume that nobody uses, and repair it
    #[command(after_help = FSCK)]
    Fsck(FsckArgs),
    /// Move a volume to another pool, or its files into a filesystem of another size
    #[command(after_help = MIGRATE)]
    Migrate(MigrateArgs),
}

/// `orlop volume migrate`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("goal").args(["pool", "size"]).multiple(true).required(true))]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) volume: VolumeArg,
    /// The pool to move it to [default: where it is]
    #[arg(long, value_name = "POOL")]
    pub(crate) pool: Option<PoolName>,
    /// Its size there, such as 512Mi [default: as it is, and the image is copied as a whole]
    #[arg(long, value_name = "SIZE")]
    pub(crate) size: Option<Size>,
}

/// `orlop volume fsck`.
#[derive(Debug, Args)]
pub(crate) struct FsckArgs {
    #[command(flatten)]
    pub(crate) volume: VolumeArg,
    /// Repair what is wrong (root only)
    #[arg(long)]
    pub(crate) repair: bool,
    /// Where the log of an XFS can't be replayed: give up what it holds
    #[arg(long, requires = "repair")]
    pub(crate) discard_log: bool,
}

/// Which volume.
#[derive(Debug, Args)]
pub(crate) struct VolumeArg {
    /// The name of the volume
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: VolumeName,
    /// The workspace of the volume
    #[arg(short, long, value_name = "WORKSPACE", default_value = "public")]
    pub(crate) workspace: WorkspaceName,
}
