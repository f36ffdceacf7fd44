//! Snapshots as every front shows them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Front, Volume};
use crate::{
    filesystem::FilesystemKind,
    id::{SnapshotGroupId, SnapshotId, VolumeId},
    name::{PoolName, SnapshotName, WorkspaceName},
    size::Size,
    snapshot::SnapshotManifest,
};

/// A snapshot: the manifest's own shape plus `workspace` and `status`, so that it can be applied
/// again unchanged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// What was asked for. The name of the volume in it is the one that the volume has, or had last.
    #[serde(flatten)]
    pub manifest: SnapshotManifest,
    /// The namespace of its name.
    pub workspace: WorkspaceName,
    /// What is.
    pub status: SnapshotStatus,
}

impl Snapshot {
    /// `workspace/name`, as messages call it.
    pub fn title(&self) -> String {
        format!("{}/{}", self.workspace, self.manifest.name)
    }
}

/// Where a snapshot is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotState {
    /// Being made.
    Pending,
    /// Whole, and can be restored.
    Active,
    /// Being deleted.
    Deleting,
    /// Not usable; the reason says why and what to do.
    Error,
}

impl SnapshotState {
    /// The word of records and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Deleting => "deleting",
            Self::Error => "error",
        }
    }
}

/// Of which moment its data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// The volume was not in use.
    Detached,
    /// The volume was in use, and its filesystem frozen: all that was written until then, and no
    /// half of a write to the filesystem.
    Filesystem,
    /// The volume was in use as a block device: all that its users had written then, as after a
    /// crash of theirs. What they still kept in memory is not in it.
    Crash,
}

impl Consistency {
    /// The word of records and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detached => "detached",
            Self::Filesystem => "filesystem",
            Self::Crash => "crash",
        }
    }
}

/// The status of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatus {
    /// The snapshot, for ever.
    pub id: SnapshotId,
    /// Where it is in its life.
    pub state: SnapshotState,
    /// Why it is in that state and what to do, where that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The volume it is of, for ever; the volume may be gone.
    pub volume_id: VolumeId,
    /// The uid that owns it, from the kernel.
    pub owner_uid: u32,
    /// Through which front it was made.
    pub created_by: Front,
    /// Whether the schedule of its volume made it, which then also deletes it.
    pub scheduled: bool,
    /// The group that it is one of: it was made with the others at one moment, and is deleted with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<InGroup>,
    /// The pool it lives in.
    pub pool: PoolName,
    /// The filesystem inside; none of a volume that its users have as a block device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FilesystemKind>,
    /// Of which moment its data is.
    pub consistency: Consistency,
    /// The size of the volume when it was made.
    pub size: Size,
    /// What the pool keeps for it: what it can take of the disk at most.
    pub reserved: Size,
    /// What it takes of the disk that it shares with nothing else, as last seen.
    pub exclusive: Size,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it is deleted by itself, where its manifest says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// For how long the writers of the volume, or of its group, were paused, in milliseconds. Only the answer
    /// that it was made has it; later its event tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_millis: Option<u64>,
}

/// The group that a snapshot is one of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InGroup {
    /// The group, for ever.
    pub id: SnapshotGroupId,
    /// Its name, in the workspace of the snapshot.
    pub name: SnapshotName,
}

/// Snapshots of several volumes at one moment. They are made together or not at all, and deleted together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotGroup {
    /// The group, for ever.
    pub id: SnapshotGroupId,
    /// Its name, which no snapshot of its workspace has.
    pub name: SnapshotName,
    /// The namespace of its name, its snapshots and their volumes.
    pub workspace: WorkspaceName,
    /// Where its snapshots are in their life.
    pub state: SnapshotState,
    /// Through which front it was made.
    pub created_by: Front,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its snapshots, by id. Of a group that was in several pools, those whose pools are here.
    pub snapshots: Vec<Snapshot>,
}

impl SnapshotGroup {
    /// `workspace/name`, as messages call it.
    pub fn title(&self) -> String {
        format!("{}/{}", self.workspace, self.name)
    }
}

/// What became of a volume that was put back to a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// The volume as it is now.
    pub volume: Volume,
    /// The snapshot that keeps what was in it before.
    pub before: SnapshotName,
    /// What its user should know, in sentences: where the snapshot is of another size than the volume
    /// had, what became of the size.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
