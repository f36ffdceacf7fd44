//! Where and how the data of a volume is kept: the part that is specific to a backend. The store
//! keeps the same struct with the volume's row, so that one definition says it for both.

use orlop_model::{FilesystemKind, resource::Backend};
use serde::{Deserialize, Serialize};

/// How a backend keeps a volume's data. A change of what is in here is a new format of
/// `volume.json` and a migration of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "backend", rename_all = "lowercase")]
pub enum Placement {
    /// An image file, attached by a loop device.
    Image(ImagePlacement),
}

impl Placement {
    /// The backend that understands it.
    pub fn backend(&self) -> Backend {
        match self {
            Self::Image(_) => Backend::Image,
        }
    }

    /// The image, where it is one.
    pub fn image(&self) -> Option<&ImagePlacement> {
        match self {
            Self::Image(image) => Some(image),
        }
    }
}

/// An image file with a filesystem in it. What is here was decided when the volume was made, and is
/// never derived again: a later build may decide otherwise for new volumes only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImagePlacement {
    /// The filesystem inside.
    pub filesystem: FilesystemKind,
    /// Its block size in bytes.
    pub filesystem_block_size: u32,
    /// The block size of the loop device in bytes. A filesystem made with another one may not mount.
    pub loop_block_size: u32,
    /// How the filesystem was made.
    pub format: ImageFormat,
    /// Whether the disk space was taken when it was made, and is never given back.
    pub preallocated: bool,
}

/// The pinned parameters that a filesystem was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageFormat {
    /// The number of the rule that chose the parameters.
    pub rule: u32,
    /// The program and its version, such as `mke2fs 1.47.0`; empty where it is not known yet.
    pub program: String,
    /// Its arguments, without the path of the image.
    pub arguments: Vec<String>,
}
