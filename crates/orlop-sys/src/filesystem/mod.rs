//! The filesystems inside images: which parameters they are made with, making, checking,
//! resizing, and looking at them without mounting.
//!
//! Which of the two a volume gets is the engine's to decide; how each is made is decided here, by
//! [`format_parameters`], and recorded with the volume.

mod check;
mod mkfs;
mod parameters;
mod repair;
mod resize;
mod superblock;
mod template;
#[cfg(test)]
mod tests;
mod unseen;
mod uuid;

pub use check::{CheckMode, CheckOutcome, check, check_while};
pub use mkfs::{mkfs, mkfs_bare};
pub use parameters::{FormatParameters, XFS_MINIMUM, format_parameters};
pub use repair::{RepairOutcome, repair};
pub use resize::{grow_mounted, least_ext4, mounted_size, resize_ext4};
pub use superblock::{Superblock, superblock};
pub use unseen::{grow_unmounted, replay_log};
pub use uuid::{log_is_clean, set_uuid};

use crate::process::Program;

/// The directory in a volume's filesystem that users see. Mode 0755, root:root when made.
pub const DATA_DIRECTORY: &str = "data";
/// The directory beside it that is ours. Mode 0700.
pub const OWN_DIRECTORY: &str = ".orlop";

/// A filesystem that images are made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FsKind {
    /// For small images.
    Ext4,
    /// From [`XFS_MINIMUM`] on.
    Xfs,
}

impl FsKind {
    /// The kernel's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// The program that makes it.
    pub fn mkfs_program(self) -> Program {
        match self {
            Self::Ext4 => Program { name: "mke2fs", package: "e2fsprogs" },
            Self::Xfs => Program { name: "mkfs.xfs", package: "xfsprogs" },
        }
    }

    /// The program that checks it.
    pub fn check_program(self) -> Program {
        match self {
            Self::Ext4 => Program { name: "e2fsck", package: "e2fsprogs" },
            Self::Xfs => Program { name: "xfs_repair", package: "xfsprogs" },
        }
    }
}

impl std::fmt::Display for FsKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}
