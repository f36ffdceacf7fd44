//! `orlop pool …`: where volumes live on this host.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use orlop_model::{PoolName, Size};

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

fn overcommit(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor >= 1.0 => Ok(factor),
        Ok(_) => Err("it is a factor of at least 1.0".to_owned()),
        Err(_) => Err("it is a number such as 1.5".to_owned()),
    }
}
