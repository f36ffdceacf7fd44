//! `snapshot.json`, the file beside a snapshot's image from which its record can be rebuilt.

use std::path::Path;

use jiff::Timestamp;
use orlop_model::{
    PoolId, Result, SnapshotGroupId, SnapshotId, SnapshotManifest, SnapshotName, VolumeId, WorkspaceName,
    resource::{Consistency, Front, SnapshotState},
};
use serde::{Deserialize, Serialize};

use super::{FileAlias, Origin, Placement, decode, encode};
use crate::store::SnapshotRow;

/// What `snapshot.json` says. Names and how long it is kept are in `manifest`; sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotFile {
    /// The format of this file.
    pub format: u32,
    /// The snapshot, for ever. A reader compares it with the directory's name.
    pub id: SnapshotId,
    /// The node that wrote it.
    pub node: String,
    /// The namespace of its name.
    pub workspace: WorkspaceName,
    /// The uid that owns it.
    pub owner_uid: u32,
    /// Through which front it was made.
    pub created_by: Front,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it is deleted by itself.
    pub expires_at: Option<Timestamp>,
    /// What was asked for. The volume's name in it may be one that it had before: `volume` says which it
    /// is.
    pub manifest: SnapshotManifest,
    /// The volume that it is of.
    pub volume: VolumeId,
    /// What that volume was made from.
    pub source: Option<Origin>,
    /// Where it is in its life.
    pub state: SnapshotState,
    /// Grows with every change of the record.
    pub generation: u64,
    /// Whether a schedule made it.
    pub scheduled: bool,
    /// What it was made with, at one moment. Its workspace, front and time are the snapshot's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<FileGroup>,
    /// Of which moment its data is.
    pub consistency: Consistency,
    /// The pool that it was written in.
    pub pool: PoolId,
    /// The length of its image in bytes.
    pub size_bytes: u64,
    /// What it can take of the host's filesystem at most, in bytes.
    pub reserved_bytes: u64,
    /// How its data is kept.
    pub placement: Placement,
    /// The names by which orchestrators asked for it. In order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<FileAlias>,
}

/// The group that a snapshot is one of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileGroup {
    /// The group, for ever.
    pub id: SnapshotGroupId,
    /// Its name.
    pub name: SnapshotName,
    /// What the front that made it calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_as: Option<String>,
}

impl SnapshotFile {
    /// What the file of that record says.
    pub fn of(row: &SnapshotRow, aliases: Vec<FileAlias>) -> Self {
        Self {
            format: if row.group.is_some() { super::OF_GROUPS } else { super::format_of(&row.detail) },
            id: row.id,
            node: row.node.clone(),
            workspace: row.workspace.clone(),
            owner_uid: row.owner_uid,
            created_by: row.created_by,
            created_at: row.created_at,
            expires_at: row.expires_at,
            manifest: row.manifest.clone(),
            volume: row.volume,
            source: row.source.clone(),
            state: row.state,
            generation: row.generation,
            scheduled: row.scheduled,
            group: row.group.as_ref().map(|group| FileGroup {
                id: group.id,
                name: group.name.clone(),
                known_as: group.known_as.clone(),
            }),
            consistency: row.consistency,
            pool: row.pool,
            size_bytes: row.size.bytes(),
            reserved_bytes: row.reserved.bytes(),
            placement: row.detail.clone(),
            aliases,
        }
    }

    /// Reads it, as [`super::VolumeFile::decode`].
    pub fn decode(bytes: &[u8], file: &Path) -> Result<Self> {
        decode(bytes, file)
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Result<Vec<u8>> {
        encode(self, "snapshot.json")
    }
}
