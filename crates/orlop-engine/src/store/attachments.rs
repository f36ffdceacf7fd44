//! Attachments: which consumers use which volumes. Whether a mode allows another is the engine's to decide.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use orlop_model::{
    AttachmentId, Error, ErrorKind, Result, VolumeId,
    resource::{Attachment, Front},
};
use rusqlite::{Row, params};

use super::{
    Reader, Tx,
    failure::{is_duplicate, is_foreign_key},
    pools::text,
    value::{At, Json, Word},
};
use crate::request::Form;

/// One consumer's use of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentRow {
    /// The attachment.
    pub id: AttachmentId,
    /// The volume.
    pub volume: VolumeId,
    /// The node it is on.
    pub node: String,
    /// Through which front.
    pub front: Front,
    /// What counts as one workload; with volume, node and front it is unique where there is no target.
    pub scope: String,
    /// Whether the scope may stand for many workloads.
    pub shared: bool,
    /// Whether it may go stale without a word from its front.
    pub may_go_stale: bool,
    /// Who, in words for a user.
    pub consumer: String,
    /// Where it is mounted, for a mount of the host and for a consumer of an orchestrator.
    pub target: Option<PathBuf>,
    /// It was made ready for consumers of the node, and nothing of it is mounted at the target: the
    /// orchestrator calls that so.
    pub staged: bool,
    /// As what the consumer has it.
    pub form: Form,
    /// Whether it can only read.
    pub read_only: bool,
    /// The boot of the host in which it was made.
    pub boot_id: String,
    /// Since when.
    pub since: Timestamp,
    /// The same, by a clock that nobody sets: how long after the boot, to the millisecond.
    pub since_boot: Duration,
}

impl AttachmentRow {
    /// As users see it.
    pub fn resource(&self) -> Attachment {
        Attachment {
            id: self.id,
            front: self.front,
            scope: self.scope.clone(),
            consumer: self.consumer.clone(),
            target: self.target.as_ref().map(|target| target.display().to_string()),
            staged: self.staged,
            read_only: self.read_only,
            node: self.node.clone(),
            since: self.since,
        }
    }
}

const SELECT: &str = "SELECT id, volume_id, node, front, scope, shared, may_go_stale, consumer, target,
    staged, form, read_only, boot_id, since, since_boot_ms FROM attachments";

fn row(row: &Row<'_>) -> rusqlite::Result<AttachmentRow> {
    Ok(AttachmentRow {
        id: row.get::<_, Word<_>>(0)?.0,
        volume: row.get::<_, Word<_>>(1)?.0,
        node: row.get(2)?,
        front: row.get::<_, Word<_>>(3)?.0,
        scope: row.get(4)?,
        shared: row.get(5)?,
        may_go_stale: row.get(6)?,
        consumer: row.get(7)?,
        target: row.get::<_, Option<String>>(8)?.map(PathBuf::from),
        staged: row.get(9)?,
        form: row.get::<_, Json<_>>(10)?.0,
        read_only: row.get(11)?,
        boot_id: row.get(12)?,
        since: row.get::<_, At>(13)?.0,
        since_boot: Duration::from_millis(row.get(14)?),
    })
}

/// All attachments, by volume and age.
pub fn all(r: &Reader<'_>) -> Result<Vec<AttachmentRow>> {
    r.all("list attachments", &format!("{SELECT} ORDER BY volume_id, id"), [], row)
}

/// How many there are in all.
pub fn count(r: &Reader<'_>) -> Result<u64> {
    let count = r.one("count attachments", "SELECT count(*) FROM attachments", [], |row| row.get(0))?;
    Ok(count.unwrap_or(0))
}

/// The attachments of a volume, oldest first.
pub fn of_volume(r: &Reader<'_>, volume: VolumeId) -> Result<Vec<AttachmentRow>> {
    r.all("list attachments", &format!("{SELECT} WHERE volume_id = ?1 ORDER BY id"), [Word(&volume)], row)
}

/// The attachments of many volumes in one query; volumes without any are not in the map.
pub fn of_volumes(r: &Reader<'_>, volumes: &[VolumeId]) -> Result<HashMap<VolumeId, Vec<AttachmentRow>>> {
    let sql = format!("{SELECT} WHERE volume_id IN (SELECT value FROM json_each(?1)) ORDER BY id");
    let mut map: HashMap<_, Vec<_>> = HashMap::new();
    for attachment in r.all("list attachments", &sql, [Json(&volumes)], row)? {
        map.entry(attachment.volume).or_default().push(attachment);
    }
    Ok(map)
}

/// The attachment of one scope, where that has no target.
pub fn find(
    r: &Reader<'_>,
    volume: VolumeId,
    node: &str,
    front: Front,
    scope: &str,
) -> Result<Option<AttachmentRow>> {
    let sql = format!(
        "{SELECT} WHERE volume_id = ?1 AND node = ?2 AND front = ?3 AND scope = ?4
        AND target IS NULL"
    );
    r.one("read an attachment", &sql, params![Word(&volume), node, Word(&front), scope], row)
}

/// The attachment whose target is that directory of the node.
pub fn by_target(r: &Reader<'_>, node: &str, target: &Path) -> Result<Option<AttachmentRow>> {
    let sql = format!("{SELECT} WHERE node = ?1 AND target = ?2");
    r.one("read an attachment", &sql, params![node, text(target)?], row)
}

/// Records an attachment. [`ErrorKind::AlreadyExists`] where the scope is attached already or the
/// target is taken, [`ErrorKind::NotFound`] where there is no such volume.
pub fn insert(tx: &Tx<'_>, attachment: &AttachmentRow) -> Result<()> {
    let sql = "INSERT INTO attachments (id, volume_id, node, front, scope, shared, may_go_stale, consumer,
        target, staged, form, read_only, boot_id, since, since_boot_ms)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    let params = params![
        Word(&attachment.id),
        Word(&attachment.volume),
        tx.node(),
        Word(&attachment.front),
        attachment.scope,
        attachment.shared,
        attachment.may_go_stale,
        attachment.consumer,
        attachment.target.as_deref().map(text).transpose()?,
        attachment.staged,
        Json(&attachment.form),
        attachment.read_only,
        attachment.boot_id,
        At(attachment.since),
        u64::try_from(attachment.since_boot.as_millis()).unwrap_or(u64::MAX)
    ];
    let object = format!("volume {}", attachment.volume);
    match tx.try_execute(sql, params) {
        Ok(_) => Ok(()),
        Err(error) if is_duplicate(&error) => {
            let message = format!("{} already uses the volume, or its target is in use", attachment.consumer);
            Err(Error::new(ErrorKind::AlreadyExists, message).object(object))
        }
        Err(error) if is_foreign_key(&error) => {
            Err(Error::new(ErrorKind::NotFound, "the volume is gone").object(object))
        }
        Err(error) => Err(tx.failed("record an attachment", &error)),
    }
}

/// Forgets an attachment, and says whether there was one.
pub fn delete(tx: &Tx<'_>, id: AttachmentId) -> Result<bool> {
    Ok(tx.execute("forget an attachment", "DELETE FROM attachments WHERE id = ?1", [Word(&id)])? > 0)
}
