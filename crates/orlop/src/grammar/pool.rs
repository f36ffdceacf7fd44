//! `orlop pool …`: where volumes live on this host.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use orlop_model::{PoolName, Size, WorkspaceName, resource::Pool};

use super::resource::Format;

/// What is done to pools.
#[derive(Debug, Subcommand)]
pub(crate) enum PoolCommand {
    /// Make a pool (root only)
    #[command(after_help = "\
Examples:
  orlop pool create fast --path /srv/nvme/orlop
  orlop pool create bulk --path /srv/hdd/orlop --capacity 500Gi
  orlop pool create thin --path /srv/thin --capacity 100Gi --overcommit 3
  orlop pool create disk --device /dev/disk/by-id/nvme-EXAMPLE
  orlop pool create snap --image /srv/orlop.img --size 100Gi

A device or an image gets an XFS with reflink, on which snapshots and clones are instant. A device
must be blank; with --erase it is shown what is on it, and it is given up when you confirm. An image
takes its whole space at once, so that the promises of the pool hold; with --sparse it takes it as it
is written, and they are advisory.

The sum of the sizes of a pool's volumes, released ones included, stays within capacity times
overcommit. A manifest chooses a pool with `volume.pool`; the pool `default` serves the others.")]
    Create(CreateArgs),
    /// List the pools
    #[command(after_help = "Examples:\n  orlop pool list\n  orlop pool list -o wide")]
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Show one pool: what it can do, what it holds, what is left, what its promises are worth
    #[command(after_help = "Examples:\n  orlop pool show default\n  orlop pool show default -o json")]
    Show {
        /// The name of the pool
        name: PoolName,
        #[command(flatten)]
        format: Format,
    },
    /// Let a pool grow, while it is used (root only)
    #[command(after_help = "\
Examples:
  orlop pool grow snap --size 200Gi        its image, and all that is above it
  orlop pool grow disk                     after its device was made larger
  orlop pool grow fast --capacity 800Gi    what it may promise, in a directory

Volumes in the pool are used meanwhile. A pool in a directory has the room of the filesystem that is
on: only what it may promise can be raised.")]
    Grow {
        /// The name of the pool
        name: PoolName,
        /// How long its image becomes
        #[arg(long, value_name = "SIZE")]
        size: Option<Size>,
        /// How much it may hold then [default: by as much more]
        #[arg(long, value_name = "SIZE")]
        capacity: Option<Size>,
    },
    /// Compare a pool with its records (root only)
    #[command(after_help = "\
Examples:
  orlop pool check                      all pools
  orlop pool check default --repair     mend what is safe

Compared are the store, the disk, the loop devices and the mounts. Every difference is named, with
what to do. --repair mends what needs no decision: descriptions that are out of date, sums, what a
crash left half-written, mounts that nobody uses. Data that no record explains is never touched.
It ends with 12 when differences are left. Volumes in state error are named too, with what to do:
they are no differences, --repair does not mend them, and the exit code says nothing of them.")]
    Check {
        /// The name of the pool [default: all]
        name: Option<PoolName>,
        /// Mend what can be mended without deciding anything about data
        #[arg(long)]
        repair: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Bring a pool here, with all that is in it (root only)
    #[command(after_help = "\
Examples:
  orlop pool import --path /srv/nvme/orlop --name fast
  orlop pool import --device /dev/disk/by-id/nvme-EXAMPLE --name disk
  orlop pool import --image /srv/orlop.img --name snap
  orlop pool import --path /var/lib/orlop/pool       after the store was lost
  orlop pool import --adopt /srv/data --name data    a volume out of a directory
  orlop pool import --adopt docker:data --name data  a volume out of a Docker volume

A pool that was carried from another machine, or whose store was lost. Volumes come back with names,
owners and released data; a name that is taken here gets a suffix. Every filesystem is checked first,
read-only, and what is damaged is left alone. The same again brings back what is still missing.

Import only pools you trust: to use a volume its filesystem is mounted, and a filesystem that was made
to do harm can harm the kernel in ways that no check sees.

--adopt makes a persistent volume out of a directory tree, or out of a volume of Docker's own driver.
It is copied with owners, permissions, extended attributes, holes and hard links, and compared; the
source is only read, and stays. Stop what writes to it first.")]
    Import(ImportArgs),
    /// Take a pool off this node, with its data (root only)
    #[command(after_help = "\
Examples:
  orlop pool export disk                then carry the disk, and there: orlop pool import --device DEV

The node forgets the pool and its volumes; their data stays where it is, whole and flushed, with all
that is needed to know it again. Refused while a volume of the pool is in use.")]
    Export {
        /// The name of the pool
        name: PoolName,
    },
    /// Remove an empty pool (root only)
    #[command(after_help = "\
Examples:
  orlop pool remove thin

A pool that holds volumes is refused, released ones included, and so is one that holds anything that
no record explains. The image of a pool is removed with it, and its device is blank again; a directory
is left empty. `orlop pool export` takes a pool off with its data.")]
    Remove {
        /// The name of the pool
        name: PoolName,
    },
}

/// `orlop pool create`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("place").args(["path", "device", "image"]).required(true))]
pub(crate) struct CreateArgs {
    /// The name of the pool
    pub(crate) name: PoolName,
    /// A directory to keep the volumes in; made if missing, else empty
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) path: Option<PathBuf>,
    /// A block device of its own, which must be blank
    #[arg(long, value_name = "DEV", value_hint = clap::ValueHint::FilePath)]
    pub(crate) device: Option<PathBuf>,
    /// Give up what is on the device, after it was shown
    #[arg(long, requires = "device")]
    pub(crate) erase: bool,
    /// Do not ask before something is given up
    #[arg(long, requires = "erase")]
    pub(crate) yes: bool,
    /// A file of its own, which is not there yet
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, requires = "size")]
    pub(crate) image: Option<PathBuf>,
    /// How large the image is, such as 100Gi
    #[arg(long, value_name = "SIZE", requires = "image")]
    pub(crate) size: Option<Size>,
    /// The image takes its space as it is written, and the promises of the pool are advisory
    #[arg(long, requires = "image")]
    pub(crate) sparse: bool,
    /// How much it may hold, such as 500Gi [default: what is free there now]
    #[arg(long, value_name = "SIZE")]
    pub(crate) capacity: Option<Size>,
    /// By what factor promises may exceed the capacity [default: 1.0]
    #[arg(long, value_name = "FACTOR", value_parser = overcommit)]
    pub(crate) overcommit: Option<f64>,
}

/// `orlop pool import`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("origin").args(["path", "device", "image", "adopt"]).required(true))]
pub(crate) struct ImportArgs {
    /// The name here: of the pool [default: default, where that is free], or of the volume with --adopt
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// A directory with a pool in it
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) path: Option<PathBuf>,
    /// A block device with a pool on it
    #[arg(long, value_name = "DEV", value_hint = clap::ValueHint::FilePath)]
    pub(crate) device: Option<PathBuf>,
    /// An image with a pool in it
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) image: Option<PathBuf>,
    /// A directory to make a volume of, or docker:NAME
    #[arg(long, value_name = "DIR|docker:NAME", requires = "name", value_hint = clap::ValueHint::DirPath)]
    pub(crate) adopt: Option<String>,
    /// With --adopt: the workspace of the volume
    #[arg(short, long, value_name = "WORKSPACE", default_value = "public", requires = "adopt")]
    pub(crate) workspace: WorkspaceName,
    /// With --adopt: how large the volume is [default: the tree and a quarter more]
    #[arg(long, value_name = "SIZE", requires = "adopt")]
    pub(crate) size: Option<Size>,
    /// With --adopt: the pool of the volume
    #[arg(long, value_name = "POOL", requires = "adopt")]
    pub(crate) pool: Option<PoolName>,
    /// How much it may hold [default: what it holds, and what is free there now]
    #[arg(long, value_name = "SIZE")]
    pub(crate) capacity: Option<Size>,
    /// By what factor promises may exceed the capacity [default: 1.0]
    #[arg(long, value_name = "FACTOR", value_parser = overcommit)]
    pub(crate) overcommit: Option<f64>,
    #[command(flatten)]
    pub(crate) format: Format,
}

fn overcommit(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if Pool::OVERCOMMIT.contains(&factor) => Ok(factor),
        Ok(_) => Err(format!("it is {}", Pool::OVERCOMMIT_IS)),
        Err(_) => Err("it is a number such as 1.5".to_owned()),
    }
}
