//! Workspaces and who is granted them.

use jiff::Timestamp;
use orlop_model::{Error, ErrorKind, Result, WorkspaceName};
use rusqlite::{Row, params};

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
    /// How many live volumes it has. Read only: the store counts.
    pub volumes: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

const SELECT: &str = "SELECT w.name, w.node, w.owner_uid, w.created_at,
    (SELECT json_group_array(g.uid ORDER BY g.uid) FROM workspace_grants g WHERE g.workspace = w.name),
    (SELECT count(*) FROM volumes v WHERE v.workspace = w.name AND v.released_at IS NULL)
    FROM workspaces w";

fn row(row: &Row<'_>) -> rusqlite::Result<WorkspaceRow> {
    Ok(WorkspaceRow {
        name: row.get::<_, Word<_>>(0)?.0,
        node: row.get(1)?,
        owner_uid: row.get(2)?,
        created_at: row.get::<_, At>(3)?.0,
        grants: row.get::<_, Json<_>>(4)?.0,
        volumes: row.get(5)?,
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

/// Adds a workspace; [`ErrorKind::AlreadyExists`] where the name is taken.
pub fn insert(tx: &Tx<'_>, workspace: &WorkspaceRow) -> Result<()> {
    let sql = "INSERT INTO workspaces (name, node, owner_uid, created_at) VALUES (?1, ?2, ?3, ?4)";
    let name = workspace.name.as_str();
    match tx.try_execute(sql, params![name, tx.node(), workspace.owner_uid, At(workspace.created_at)]) {
        Ok(_) => set_grants(tx, &workspace.name, &workspace.grants),
        Err(error) if is_duplicate(&error) => {
            Err(Error::new(ErrorKind::AlreadyExists, format!("the workspace {name} exists already"))
                .object(format!("workspace {name}")))
        }
        Err(error) => Err(tx.failed("add a workspace", &error)),
    }
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
/// volumes, live or released.
pub fn delete(tx: &Tx<'_>, name: &WorkspaceName) -> Result<bool> {
    match tx.try_execute("DELETE FROM workspaces WHERE name = ?1", [name.as_str()]) {
        Ok(rows) => Ok(rows > 0),
        Err(error) if is_foreign_key(&error) => {
            Err(Error::new(ErrorKind::InUse, format!("the workspace {name} still holds volumes"))
                .object(format!("workspace {name}"))
                .hint("delete its volumes first; released ones count, and `orlop get --released` lists them"))
        }
        Err(error) => Err(tx.failed("delete a workspace", &error)),
    }
}
