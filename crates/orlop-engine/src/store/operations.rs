//! The intent journal: operations that were begun and are not completed.
//!
//! An operation is recorded with [`begin`] before its first effect, and [`finish`] deletes it in the
//! write that records its result. What is left after a crash is what recovery finishes or undoes.
//! How far it came is not recorded: recovery looks at what is there, and every effect is repeatable.

use jiff::Timestamp;
use orlop_model::{
    AttachmentId, Error, ErrorKind, OperationId, PoolId, Result, Size, SnapshotGroupId, SnapshotId, VolumeId,
    resource::{Front, Medium},
};
use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

use super::{
    Reader, Tx,
    value::{At, Json, Word},
};
use crate::format::ImagePlacement;

/// What was begun, with all that is needed to finish or undo it. A variant or field added here is
/// read by no older build: it takes a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Intent {
    /// A volume is made; its row is there as `pending`.
    Create {
        /// The name of the blank that becomes its image, where one is used.
        blank: Option<String>,
    },
    /// What is on disk follows a changed row.
    Configure,
    /// A consumer gets a volume.
    Attach {
        /// The attachment that will be recorded.
        attachment: AttachmentId,
        /// Where it is mounted, for a mount of the host.
        target: Option<String>,
    },
    /// A consumer leaves.
    Detach {
        /// The recorded attachment.
        attachment: AttachmentId,
        /// Where it is mounted, for a mount of the host.
        target: Option<String>,
    },
    /// A volume is deleted.
    Delete {
        /// Whether its data is destroyed; else it is released.
        destroy: bool,
    },
    /// A volume gets another size. Its row has the new one from the beginning where the image itself
    /// grows, else only when the new image has taken the place of the old.
    Resize {
        /// In bytes.
        from: u64,
        /// In bytes.
        to: u64,
        /// How.
        way: Way,
    },
    /// A volume moves to the pool that is in `incoming` for it, until its row says that it is there.
    Migrate {
        /// Where it was.
        from: PoolId,
        /// Where it will be.
        to: PoolId,
    },
    /// A deleted volume is brought back.
    Undelete,
    /// The data of a temp volume is wiped.
    Wipe {
        /// The inode of the image that goes: one with another is the new one.
        inode: u64,
        /// What the new one is made with; where nothing is said, the same as the old one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        placement: Option<ImagePlacement>,
    },
    /// The filesystem of a volume is repaired, on a copy.
    Repair,
    /// A snapshot is made; its row is there as `pending`.
    Snapshot {
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// A snapshot is deleted.
    DeleteSnapshot {
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// Snapshots of several volumes are made; their rows are there as `pending`.
    SnapshotGroup {
        /// The group.
        group: SnapshotGroupId,
    },
    /// A group of snapshots is deleted.
    DeleteSnapshotGroup {
        /// The group.
        group: SnapshotGroupId,
    },
    /// A volume is put back to a snapshot.
    Restore {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The snapshot that keeps what is in the volume now; its row is there as `pending`.
        before: SnapshotId,
    },
    /// A pool is made.
    CreatePool {
        /// The pool that will be recorded.
        pool: PoolId,
        /// Its directory.
        path: String,
        /// What that is on; a directory, in a journal of version 1.
        #[serde(default = "directory")]
        medium: Medium,
    },
    /// An empty pool is removed: its row is gone, and what it was on is given back.
    RemovePool {
        /// The pool.
        pool: PoolId,
        /// Its directory.
        path: String,
        /// What that is on.
        medium: Medium,
    },
    /// A pool that came from elsewhere is taken over.
    ImportPool {
        /// The pool.
        pool: PoolId,
        /// Its directory.
        path: String,
        /// What that is on.
        medium: Medium,
    },
    /// What is below a pool's own filesystem grows, and that with it.
    GrowPool {
        /// The pool.
        pool: PoolId,
        /// The length of its image; none for a device, which is as long as it is.
        size: Option<Size>,
        /// What the pool may promise then, as far as that could be told before.
        capacity: Size,
        /// How large the filesystem on a device was; nothing in a journal of an older build.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Size>,
    },
    /// A pool is marked as exported, before it is forgotten.
    ExportPool {
        /// The pool.
        pool: PoolId,
    },
}

impl Intent {
    /// The group of snapshots that is made or deleted.
    pub fn snapshot_group(&self) -> Option<SnapshotGroupId> {
        match self {
            Self::SnapshotGroup { group } | Self::DeleteSnapshotGroup { group } => Some(*group),
            Self::Create { .. }
            | Self::Configure
            | Self::Attach { .. }
            | Self::Detach { .. }
            | Self::Resize { .. }
            | Self::Migrate { .. }
            | Self::Delete { .. }
            | Self::Undelete
            | Self::Wipe { .. }
            | Self::Snapshot { .. }
            | Self::DeleteSnapshot { .. }
            | Self::Repair
            | Self::Restore { .. }
            | Self::CreatePool { .. }
            | Self::RemovePool { .. }
            | Self::ImportPool { .. }
            | Self::GrowPool { .. }
            | Self::ExportPool { .. } => None,
        }
    }

    /// The pool that is made, changed or removed as a whole.
    pub fn pool(&self) -> Option<PoolId> {
        match self {
            Self::CreatePool { pool, .. }
            | Self::RemovePool { pool, .. }
            | Self::ImportPool { pool, .. }
            | Self::GrowPool { pool, .. }
            | Self::ExportPool { pool } => Some(*pool),
            Self::Create { .. }
            | Self::Configure
            | Self::Attach { .. }
            | Self::Detach { .. }
            | Self::Resize { .. }
            | Self::Migrate { .. }
            | Self::Delete { .. }
            | Self::Undelete
            | Self::Wipe { .. }
            | Self::Snapshot { .. }
            | Self::DeleteSnapshot { .. }
            | Self::SnapshotGroup { .. }
            | Self::DeleteSnapshotGroup { .. }
            | Self::Repair
            | Self::Restore { .. } => None,
        }
    }
}

fn directory() -> Medium {
    Medium::Directory
}

/// How a volume gets another size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Way {
    /// The image grows.
    InPlace,
    /// A copy of the image is resized.
    Copy,
    /// The files are copied into a new image.
    Anew,
}

/// An entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationRow {
    /// The operation.
    pub id: OperationId,
    /// The node that runs it.
    pub node: String,
    /// The volume concerned.
    pub volume: Option<VolumeId>,
    /// What was begun.
    pub intent: Intent,
    /// The boot of the host in which it runs.
    pub boot_id: String,
    /// The uid that asked; none for what the daemon does by itself.
    pub actor_uid: Option<u32>,
    /// The front it came through; none as above.
    pub front: Option<Front>,
    /// When it was begun.
    pub started_at: Timestamp,
}

const SELECT: &str =
    "SELECT id, node, volume_id, intent, boot_id, actor_uid, front, started_at FROM operations";

fn row(row: &Row<'_>) -> rusqlite::Result<OperationRow> {
    Ok(OperationRow {
        id: row.get::<_, Word<_>>(0)?.0,
        node: row.get(1)?,
        volume: row.get::<_, Option<Word<_>>>(2)?.map(|id| id.0),
        intent: row.get::<_, Json<_>>(3)?.0,
        boot_id: row.get(4)?,
        actor_uid: row.get(5)?,
        front: row.get::<_, Option<Word<_>>>(6)?.map(|front| front.0),
        started_at: row.get::<_, At>(7)?.0,
    })
}

/// All that is in the journal, oldest first. Costs what is unfinished, not what there is.
pub fn unfinished(r: &Reader<'_>) -> Result<Vec<OperationRow>> {
    r.all("read the journal", &format!("{SELECT} ORDER BY id"), [], row)
}

/// What is in the journal for a volume, oldest first.
pub fn of_volume(r: &Reader<'_>, volume: VolumeId) -> Result<Vec<OperationRow>> {
    r.all("read the journal", &format!("{SELECT} WHERE volume_id = ?1 ORDER BY id"), [Word(&volume)], row)
}

/// Whether it is still in the journal.
pub fn is_open(r: &Reader<'_>, id: OperationId) -> Result<bool> {
    r.one("read the journal", "SELECT 1 FROM operations WHERE id = ?1", [Word(&id)], |_| Ok(()))
        .map(|found| found.is_some())
}

/// Records that an operation begins.
pub fn begin(tx: &Tx<'_>, operation: &OperationRow) -> Result<()> {
    let sql = "INSERT INTO operations (id, node, volume_id, intent, boot_id, actor_uid, front, started_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let params = params![
        Word(&operation.id),
        tx.node(),
        operation.volume.as_ref().map(Word),
        Json(&operation.intent),
        operation.boot_id,
        operation.actor_uid,
        operation.front.as_ref().map(Word),
        At(operation.started_at)
    ];
    tx.execute("write the journal", sql, params).map(drop)
}

/// Takes an operation out of the journal: it is completed, or undone.
pub fn finish(tx: &Tx<'_>, id: OperationId) -> Result<()> {
    if tx.execute("write the journal", "DELETE FROM operations WHERE id = ?1", [Word(&id)])? == 0 {
        let message = format!("the operation {id} is not in the journal: somebody else finished it");
        return Err(Error::new(ErrorKind::Conflict, message).object(format!("operation {id}")));
    }
    Ok(())
}
