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

/// An image file. What is here was decided when the volume was made, and is never derived again: a
/// later build may decide otherwise for new volumes only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct ImagePlacement {
    /// What is in it.
    pub content: Content,
    /// The block size of the loop device in bytes. A filesystem made with another one may not mount.
    pub loop_block_size: u32,
    /// Whether the disk space was taken when it was made, and is never given back.
    pub preallocated: bool,
}

/// What is in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A filesystem of ours.
    Filesystem(FilesystemContent),
    /// What the users of a block device made of it. It may be a filesystem that was made to attack
    /// whoever mounts it: it is never mounted, checked or grown here, and neither is anything made
    /// from it.
    Device,
}

/// A filesystem that was made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesystemContent {
    /// Which.
    pub kind: FilesystemKind,
    /// Its block size in bytes.
    pub block_size: u32,
    /// How it was made.
    pub format: ImageFormat,
}

impl ImagePlacement {
    /// The filesystem in it, where it is one of ours.
    pub fn filesystem(&self) -> Option<&FilesystemContent> {
        match &self.content {
            Content::Filesystem(filesystem) => Some(filesystem),
            Content::Device => None,
        }
    }

    /// Whether its users have it as a block device.
    pub fn is_device(&self) -> bool {
        match self.content {
            Content::Filesystem(_) => false,
            Content::Device => true,
        }
    }
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

/// The fields as they are written. What was written before there were block devices says nothing of
/// its content, and is a filesystem.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filesystem: Option<FilesystemKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filesystem_block_size: Option<u32>,
    loop_block_size: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<ImageFormat>,
    preallocated: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Device,
}

impl TryFrom<Written> for ImagePlacement {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { content, filesystem, filesystem_block_size, loop_block_size, format, preallocated } =
            written;
        let content = match (content, filesystem, filesystem_block_size, format) {
            (Some(Word::Device), None, None, None) => Content::Device,
            (None, Some(kind), Some(block_size), Some(format)) => {
                Content::Filesystem(FilesystemContent { kind, block_size, format })
            }
            (Some(Word::Device), ..) => return Err("a block device has no filesystem of ours"),
            (None, ..) => return Err("`filesystem`, `filesystemBlockSize` or `format` is missing"),
        };
        // What has a block device gives back what it discards, whatever was taken beforehand.
        let preallocated = preallocated && content != Content::Device;
        Ok(Self { content, loop_block_size, preallocated })
    }
}

impl From<ImagePlacement> for Written {
    fn from(placement: ImagePlacement) -> Self {
        let ImagePlacement { content, loop_block_size, preallocated } = placement;
        let (content, filesystem) = match content {
            Content::Filesystem(filesystem) => (None, Some(filesystem)),
            Content::Device => (Some(Word::Device), None),
        };
        let (filesystem, filesystem_block_size, format) = match filesystem {
            Some(FilesystemContent { kind, block_size, format }) => {
                (Some(kind), Some(block_size), Some(format))
            }
            None => (None, None, None),
        };
        Self { content, filesystem, filesystem_block_size, loop_block_size, format, preallocated }
    }
}
