//! `volume.json`, the file beside a volume's data from which its record can be rebuilt.

use std::path::Path;

use jiff::Timestamp;
use orlop_model::{
    PoolId, Result, SnapshotId, VolumeId, VolumeManifest, WorkspaceName,
    resource::{Front, VolumeState},
};
use serde::{Deserialize, Serialize};

use super::{Placement, decode, encode};
use crate::store::VolumeRow;

/// What `volume.json` says. Name, type, modes, size and all else that a user can write are in
/// `manifest`; sizes are bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeFile {
    /// The format of this file.
    pub format: u32,
    /// The volume, for ever. A reader compares it with the directory's name.
    pub id: VolumeId,
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
    /// What was asked for.
    pub manifest: VolumeManifest,
    /// Where it is in its life.
    pub state: VolumeFileState,
    /// Grows with every change of the record.
    pub generation: u64,
    /// What it was made from or put back to, where it was.
    pub source: Option<Origin>,
    /// The pool that it was written in.
    pub pool: PoolId,
    /// The length of its data in bytes.
    pub size_bytes: u64,
    /// The size that its filesystem was made with, where that was another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_size_bytes: Option<u64>,
    /// Whether its filesystem was made and flushed.
    pub initialised: bool,
    /// How its data is kept.
    pub placement: Placement,
    /// What fronts call it, where they do not find it by its own name; of one whose data is retained,
    /// all that they called it. In order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<FileAlias>,
    /// Whether it lives as long as the pod that it was made for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
}

/// A front's name for a volume, as `volume.json` has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileAlias {
    /// The word of the front. Not an enumeration: a front of a later build damages no file.
    pub front: String,
    /// The name, verbatim.
    pub name: String,
}

/// Where the data of a volume came from. The names are for people: they may be others' by now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The snapshot, where it was one.
    pub snapshot: Option<SnapshotId>,
    /// The volume whose data it is.
    pub volume: VolumeId,
    /// The source as users named it, such as `snapshot public/before`.
    pub named: String,
    /// When the data was taken over.
    pub at: Timestamp,
    /// The volumes whose mark the filesystem may have before its first mount.
    pub marks: Vec<VolumeId>,
}

/// Where a volume is in its life, as `volume.json` says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeFileState {
    /// The state.
    pub phase: VolumeState,
    /// Since when its data is retained without a live volume.
    pub released_at: Option<Timestamp>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
    /// The uid that deleted it.
    pub deleted_by: Option<u32>,
    /// Always `null` in this format: what protects it from being deleted is in `manifest`.
    pub protection: Option<serde_json::Value>,
    /// How long after its last user left its data is wiped; it never is where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temp_grace_seconds: Option<u64>,
}

impl VolumeFile {
    /// What the file of that record says.
    pub fn of(row: &VolumeRow, aliases: Vec<FileAlias>) -> Self {
        Self {
            format: super::format_of(&row.placement.detail),
            id: row.id,
            node: row.node.clone(),
            workspace: row.workspace.clone(),
            owner_uid: row.owner_uid,
            created_by: row.created_by,
            created_at: row.created_at,
            manifest: row.manifest.clone(),
            state: VolumeFileState {
                phase: row.state,
                released_at: row.released_at,
                deleted_at: row.deleted_at,
                deleted_by: row.deleted_by,
                protection: None,
                temp_grace_seconds: row.temp_grace.seconds(),
            },
            generation: row.generation,
            source: row.source.clone(),
            pool: row.placement.pool,
            size_bytes: row.placement.size.bytes(),
            created_size_bytes: (row.created_size != row.placement.size).then(|| row.created_size.bytes()),
            initialised: row.placement.initialised,
            placement: row.placement.detail.clone(),
            aliases,
            ephemeral: row.ephemeral,
        }
    }

    /// Reads it. `file` is only for messages. [`orlop_model::ErrorKind::NewerFormat`] where a newer
    /// build wrote it, [`orlop_model::ErrorKind::Damaged`] where it is none. Whether it is the file
    /// of that directory and pool is for the caller to compare.
    pub fn decode(bytes: &[u8], file: &Path) -> Result<Self> {
        let mut read: Self = decode(bytes, file)?;
        read.manifest.volume = read.manifest.volume.recorded();
        Ok(read)
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Result<Vec<u8>> {
        encode(self, "volume.json")
    }
}
