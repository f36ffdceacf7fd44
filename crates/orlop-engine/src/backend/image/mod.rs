//! The `image` backend: one sparse file a volume, exactly as long as its size, with a filesystem in
//! it, attached by a loop device while it is used.

pub(crate) mod attach;
pub(crate) mod format;
pub(crate) mod grow;
pub(crate) mod health;
pub(crate) mod marker;
pub(crate) mod remove;
pub(crate) mod replacement;

use std::path::{Path, PathBuf};

use orlop_model::{FilesystemKind, VolumeId};
use orlop_sys::{filesystem::FsKind, image, reflink};

use crate::format::ImagePlacement;

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

    pub(crate) fn kind(&self) -> FsKind {
        kernel_kind(self.placement.filesystem)
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
