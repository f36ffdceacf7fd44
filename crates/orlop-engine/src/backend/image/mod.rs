//! The `image` backend: one sparse file a volume, exactly as long as its size, attached by a loop device
//! while it is used. In it is a filesystem, or what the users of a block device made of it.

pub(crate) mod attach;
pub(crate) mod device;
pub(crate) mod format;
pub(crate) mod grow;
pub(crate) mod health;
pub(crate) mod marker;
pub(crate) mod remove;
pub(crate) mod replacement;

use std::path::{Path, PathBuf};

use orlop_model::{Error, ErrorKind, FilesystemKind, Result, VolumeId};
use orlop_sys::{filesystem::FsKind, image, reflink};

use crate::format::{FilesystemContent, ImagePlacement};

/// One image: where it is, and what the records say of it.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) id: VolumeId,
    /// The directory that holds it and nothing else but its description.
    pub(crate) directory: PathBuf,
    pub(crate) path: PathBuf,
    /// Its length in bytes.
    pub(crate) size: u64,
    pub(crate) placement: ImagePlacement,
    /// Whether it was made from another image, and may share blocks with it.
    pub(crate) derived: bool,
    /// Whose mark it may have until it is first mounted, beside its own.
    pub(crate) marks: Vec<VolumeId>,
    /// What messages call it, such as `volume public/data`.
    pub(crate) object: String,
}

impl Image {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What a user types to have its filesystem checked.
    pub(crate) fn check_command(&self) -> String {
        match self.object.strip_prefix("volume ").and_then(|title| title.split_once('/')) {
            Some((workspace, name)) => format!("orlop volume fsck -n {name} -w {workspace}"),
            None => "orlop volume fsck".to_owned(),
        }
    }

    /// The filesystem in it.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where its users have it as a block device: whoever could write to that
    /// could have put anything there. Everything that would read it as a filesystem asks here first.
    pub(crate) fn filesystem(&self) -> Result<&FilesystemContent> {
        self.placement.filesystem().ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("{} is a block device: what is in it is its users' alone", self.object),
            )
            .object(&self.object)
            .hint("do it with the programs of those who use it, on their device")
        })
    }

    /// As [`Self::filesystem`], in the words of the kernel.
    pub(crate) fn kind(&self) -> Result<FsKind> {
        self.filesystem().map(|filesystem| kernel_kind(filesystem.kind))
    }

    /// The program that checks the filesystem in it, for messages.
    pub(crate) fn checker(&self) -> &'static str {
        self.kind().map_or("nobody", |kind| kind.check_program().name)
    }

    /// Whether its users have it as a block device.
    pub(crate) fn is_device(&self) -> bool {
        self.placement.is_device()
    }

    /// What it takes of the host's filesystem: of one that may share blocks, what it shares with none.
    pub(crate) fn taken(&self) -> Option<u64> {
        if self.derived {
            exclusive(self.path())
        } else {
            image::space(self.path()).ok().map(|s| s.allocated)
        }
    }
}

/// What an image takes that it shares with nothing else, in bytes.
pub(crate) fn exclusive(path: &Path) -> Option<u64> {
    reflink::exclusive(image::open_existing(path).ok()?).ok()
}

pub(crate) fn kernel_kind(kind: FilesystemKind) -> FsKind {
    match kind {
        FilesystemKind::Ext4 => FsKind::Ext4,
        FilesystemKind::Xfs => FsKind::Xfs,
    }
}
