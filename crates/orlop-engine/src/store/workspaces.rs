//! Workspaces and who is granted them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use orlop_model::{Error, ErrorKind, Result, Size, WorkspaceName};
use rusqlite::{Row, params, params_from_iter};

use super::{
    Reader, Tx,
    failure::{is_duplicate, is_foreign_key},
    value::{At, Json, Word},
};

/// A workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceRow {
    /// Its name.
    pub name: WorkspaceName,
    /// The node that made it.
    pub node: String,
    /// The uid that owns it.
    pub owner_uid: u32,
    /// The uids that may change, mount and delete all that is in it; in ascending order.
    pub grants: Vec<u32>,
    /// The most that its volumes may be in all, in bytes; see [`content`].
    pub size_limit: Option<Size>,
    /// The most volumes that it may have, released ones counted.
    pub volume_limit: Option<u64>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a workspace holds, by what holds it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContentRow {
    /// Live volumes.
    pub live: Held,
    /// Deleted volumes whose data is retained.
    pub released: Held,
    /// Snapshots, with what they can take.
    pub snapshots: Held,
}

/// How many of something, and their sizes in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// How many.
    pub count: u64,
    /// In bytes.
    pub bytes: u64,
}

const SELECT: &str = "SELECT w.name, w.node, w.owner_uid, w.created_at,
    (SELECT json_group_array(g.uid ORDER BY g.uid) FROM workspace_grants g WHERE g.workspace = w.name),
    w.size_limit_bytes, w.volume_limit FROM workspaces w";

fn row(row: &Row<'_>) -> rusqlite::Result<WorkspaceRow> {
    Ok(WorkspaceRow {
        name: row.get::<_, Word<_>>(0)?.0,
        node: row.get(1)?,
        owner_uid: row.get(2)?,
        created_at: row.get::<_, At>(3)?.0,
        grants: row.get::<_, Json<_>>(4)?.0,
        size_limit: row.get::<_, Option<u64>>(5)?.map(Size::from_bytes),
        volume_limit: row.get(6)?,
    })
}

/// One workspace.
pub fn by_name(r: &Reader<'_>, name: &WorkspaceName) -> Result<Option<WorkspaceRow>> {
    r.one("read a workspace", &format!("{SELECT} WHERE w.name = ?1"), [name.as_str()], row)
}

/// All workspaces, by name.
pub fn all(r: &Reader<'_>) -> Result<Vec<WorkspaceRow>> {
    r.all("list workspaces", &format!("{SELECT} ORDER BY w.name"), [], row)
}

/// The sums of one workspace, or of each: two statements, as no index serves a condition that may hold
/// for all. Live and released volumes have an index each.
fn sums(of_one: bool) -> &'static str {
    macro_rules! sums {
        ($volumes:literal, $snapshots:literal) => {
            concat!(
                "SELECT v.workspace, 0, count(*), sum(p.size_bytes)
                 FROM volumes v CROSS JOIN placements p ON p.volume_id = v.id
                 WHERE v.released_at IS NULL ",
                $volumes,
                " GROUP BY v.workspace
                 UNION ALL SELECT v.workspace, 1, count(*), sum(p.size_bytes)
                 FROM volumes v CROSS JOIN placements p ON p.volume_id = v.id
                 WHERE v.released_at IS NOT NULL ",
                $volumes,
                " GROUP BY v.workspace
                 UNION ALL SELECT s.workspace, 2, count(*), sum(s.reserved_bytes)
                 FROM snapshots s ",
                $snapshots,
                " GROUP BY s.workspace"
            )
        };
    }
    if of_one { sums!("AND v.workspace = ?1", "WHERE s.workspace = ?1") } else { sums!("", "") }
}

/// How SQLite would read the sums of one workspace.
#[cfg(test)]
pub(super) fn plan_of_content(r: &Reader<'_>) -> Result<Vec<String>> {
    r.all("explain", &format!("EXPLAIN QUERY PLAN {}", sums(true)), [""], |row| row.get(3))
}

/// What each workspace holds, by name; one without anything is missing.
pub fn content(r: &Reader<'_>, only: Option<&WorkspaceName>) -> Result<BTreeMap<WorkspaceName, ContentRow>> {
    let values = params_from_iter(only.map(WorkspaceName::as_str));
    let rows = r.all("count a workspace", sums(only.is_some()), values, |row| {
        let held = Held { count: row.get(2)?, bytes: row.get(3)? };
        Ok((row.get::<_, Word<_>>(0)?.0, row.get::<_, u8>(1)?, held))
    })?;
    let mut content: BTreeMap<WorkspaceName, ContentRow> = BTreeMap::new();
    for (name, kind, held) in rows {
        let content = content.entry(name).or_default();
        let place = match kind {
            0 => &mut content.live,
            1 => &mut content.released,
            _ => &mut content.snapshots,
        };
        *place = held;
    }
    Ok(content)
}

/// Adds a workspace; [`ErrorKind::AlreadyExists`] where the name is taken.
pub fn insert(tx: &Tx<'_>, workspace: &WorkspaceRow) -> Result<()> {
    let sql = "INSERT INTO workspaces (name, node, owner_uid, created_at, size_limit_bytes, volume_limit)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let name = workspace.name.as_str();
    let params = params![
        name,
        tx.node(),
        workspace.owner_uid,
        At(workspace.created_at),
        workspace.size_limit.map(Size::bytes),
        workspace.volume_limit
    ];
    match tx.try_execute(sql, params) {
        Ok(_) => set_grants(tx, &workspace.name, &workspace.grants),
        Err(error) if is_duplicate(&error) => {
            Err(Error::new(ErrorKind::AlreadyExists, format!("the workspace {name} exists already"))
                .object(format!("workspace {name}")))
        }
        Err(error) => Err(tx.failed("add a workspace", &error)),
    }
}

/// Replaces what a workspace may hold. What it holds already stays.
pub fn set_limits(
    tx: &Tx<'_>,
    name: &WorkspaceName,
    size_limit: Option<Size>,
    volume_limit: Option<u64>,
) -> Result<()> {
    let sql = "UPDATE workspaces SET size_limit_bytes = ?2, volume_limit = ?3 WHERE name = ?1";
    tx.execute("change limits", sql, params![name.as_str(), size_limit.map(Size::bytes), volume_limit])
        .map(drop)
}

/// Replaces who is granted a workspace.
pub fn set_grants(tx: &Tx<'_>, name: &WorkspaceName, grants: &[u32]) -> Result<()> {
    tx.execute("change grants", "DELETE FROM workspace_grants WHERE workspace = ?1", [name.as_str()])?;
    let sql = "INSERT OR IGNORE INTO workspace_grants (workspace, uid, node) VALUES (?1, ?2, ?3)";
    for uid in grants {
        tx.execute("change grants", sql, params![name.as_str(), uid, tx.node()])?;
    }
    Ok(())
}

/// Deletes a workspace, and says whether there was one; [`ErrorKind::InUse`] where it holds
/// volumes, live or released, or snapshots.
pub fn delete(tx: &Tx<'_>, name: &WorkspaceName) -> Result<bool> {
    match tx.try_execute("DELETE FROM workspaces WHERE name = ?1", [name.as_str()]) {
        Ok(rows) => Ok(rows > 0),
        Err(error) if is_foreign_key(&error) => {
            Err(Error::new(ErrorKind::InUse, format!("the workspace {name} still holds volumes or snapshots"))
                .object(format!("workspace {name}"))
                .hint(format!(
                    "delete its volumes and snapshots first; released volumes count: orlop get -a --released -w {name}, orlop snapshot list -w {name}"
                )))
        }
        Err(error) => Err(tx.failed("delete a workspace", &error)),
    }
}
