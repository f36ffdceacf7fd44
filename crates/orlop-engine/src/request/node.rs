//! What an orchestrator asks for on its node (CSI: stage, publish): it names the directories itself,
//! below a root of its own.

use std::path::PathBuf;

use orlop_model::{MountOption, VolumeId, VolumeUsage};
use serde::{Deserialize, Serialize};

/// As what a consumer gets a volume. Part of a record: see [`crate::store::AttachmentRow`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Form {
    /// A directory.
    Filesystem {
        /// The gid that the consumer's processes have: it and the volume's own gid are exchanged in
        /// what the consumer sees, and the volume's directory is that group's to write.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<u32>,
        /// Mount options beyond the volume's own.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        options: Vec<MountOption>,
    },
    /// A block device.
    Block,
}

impl Default for Form {
    fn default() -> Self {
        Self::Filesystem { group: None, options: Vec::new() }
    }
}

/// Who else may have a volume through this node, beyond what its access mode says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeAccess {
    /// All consumers of the node count as one (`SINGLE_NODE_WRITER`, `SINGLE_NODE_MULTI_WRITER`, and
    /// whatever spans nodes).
    ManyTargets,
    /// Each target counts by itself, and only one may have it (`SINGLE_NODE_SINGLE_WRITER`). A volume
    /// of mode ReadWriteOncePod is always had so.
    OneTarget,
}

/// A volume is to be made ready for the consumers of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageRequest {
    /// Which.
    pub volume: VolumeId,
    /// The directory that stands for it: there, below the root, and left as it is. Its consumers
    /// get the volume where they publish it.
    pub staging: PathBuf,
    /// As what. A group is of no account here.
    pub form: Form,
    /// Who else may have it.
    pub access: NodeAccess,
}

/// A volume is to be had by one consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishRequest {
    /// Which.
    pub volume: VolumeId,
    /// Where it was staged. Where that was forgotten, by a reboot say, it is staged again.
    pub staging: Option<PathBuf>,
    /// Where the consumer gets it: below the root, in a directory that is there. It is made if it is
    /// missing, and removed by [`crate::Engine::unpublish`].
    pub target: PathBuf,
    /// As what.
    pub form: Form,
    /// Who else may have it.
    pub access: NodeAccess,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Who, in words for a user, such as `pod shop/web-0`.
    pub consumer: String,
}

/// How a staged or published volume stands.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeStatistics {
    /// How full it is.
    pub usage: NodeUsage,
    /// What is wrong with it and what to do; `None` where nothing is.
    pub abnormal: Option<String>,
}

/// How full a volume is, as its consumers see it.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeUsage {
    /// Bytes and inodes of a filesystem.
    Filesystem(VolumeUsage),
    /// Of a block device: how long it is, and what its image takes of the pool, in bytes.
    Block {
        /// Its length.
        capacity_bytes: u64,
        /// Taken by what was written to it.
        allocated_bytes: u64,
    },
}
