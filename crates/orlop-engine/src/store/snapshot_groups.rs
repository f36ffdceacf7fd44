//! Groups of snapshots that were made of several volumes at one moment. A group goes with its last
//! snapshot, which a trigger of the schema sees to.

use jiff::Timestamp;
use orlop_model::{Error, ErrorKind, Result, SnapshotGroupId, SnapshotName, WorkspaceName, resource::Front};
use rusqlite::{Row, params};

use super::{
    Reader, Tx,
    failure::is_duplicate,
    value::{At, Word},
};
use crate::request::SnapshotKey;

/// A group of snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotGroupRow {
    /// The group, for ever.
    pub id: SnapshotGroupId,
    /// The namespace of its name, and of all its snapshots.
    pub workspace: WorkspaceName,
    /// Unique in the workspace, and no name of a snapshot there.
    pub name: SnapshotName,
    /// Through which front it was made.
    pub created_by: Front,
    /// What that front calls it, verbatim; unique with the front.
    pub known_as: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl SnapshotGroupRow {
    /// `workspace/name`, as messages call it.
    pub fn title(&self) -> String {
        format!("{}/{}", self.workspace, self.name)
    }
}

const SELECT: &str = "SELECT id, workspace, name, created_by, known_as, created_at FROM snapshot_groups";

/// What is in these columns, from `first` on, where there is a group.
pub(super) fn columns(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<SnapshotGroupRow>> {
    let Some(id) = row.get::<_, Option<Word<_>>>(first)? else { return Ok(None) };
    Ok(Some(SnapshotGroupRow {
        id: id.0,
        workspace: row.get::<_, Word<_>>(first + 1)?.0,
        name: row.get::<_, Word<_>>(first + 2)?.0,
        created_by: row.get::<_, Word<_>>(first + 3)?.0,
        known_as: row.get(first + 4)?,
        created_at: row.get::<_, At>(first + 5)?.0,
    }))
}

fn find(r: &Reader<'_>, terms: &str, params: impl rusqlite::Params) -> Result<Option<SnapshotGroupRow>> {
    let sql = format!("{SELECT} WHERE {terms}");
    r.one("read a group of snapshots", &sql, params, |row| columns(row, 0)).map(Option::flatten)
}

/// One group.
pub fn by_id(r: &Reader<'_>, id: SnapshotGroupId) -> Result<Option<SnapshotGroupRow>> {
    find(r, "id = ?1", [Word(&id)])
}

/// The group of that name.
pub fn by_key(r: &Reader<'_>, key: &SnapshotKey) -> Result<Option<SnapshotGroupRow>> {
    find(r, "workspace = ?1 AND name = ?2", [key.workspace.as_str(), key.name.as_str()])
}

/// The group that a front knows by that name.
pub fn known_as(r: &Reader<'_>, front: Front, external: &str) -> Result<Option<SnapshotGroupRow>> {
    find(r, "created_by = ?1 AND known_as = ?2", params![Word(&front), external])
}

/// Adds a group. [`ErrorKind::AlreadyExists`] where its name is taken, by a snapshot too.
pub fn insert(tx: &Tx<'_>, group: &SnapshotGroupRow) -> Result<()> {
    let taken = |what: &str| {
        let title = group.title();
        Error::new(ErrorKind::AlreadyExists, format!("there is already a {what} {title}"))
            .object(format!("snapshot group {title}"))
            .hint("choose another name")
    };
    let (workspace, name) = (group.workspace.as_str(), group.name.as_str());
    let sql = "SELECT 1 FROM snapshots WHERE workspace = ?1 AND name = ?2";
    if tx.one("read a snapshot", sql, [workspace, name], |_| Ok(()))?.is_some() {
        return Err(taken("snapshot"));
    }
    let sql = "INSERT INTO snapshot_groups (id, node, workspace, name, created_by, known_as, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let params = params![
        Word(&group.id),
        tx.node(),
        workspace,
        name,
        Word(&group.created_by),
        group.known_as,
        At(group.created_at)
    ];
    match tx.try_execute(sql, params) {
        Ok(_) => Ok(()),
        Err(error) if is_duplicate(&error) => Err(taken("group of snapshots")),
        Err(error) => Err(tx.failed("add a group of snapshots", &error)),
    }
}
