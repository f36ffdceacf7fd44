//! The names by which orchestrators ask for snapshots, verbatim. They go with their snapshot.

use jiff::Timestamp;
use orlop_model::{Result, SnapshotId, resource::Front};
use rusqlite::params;

use super::{
    Reader, SnapshotRow, Tx, snapshots,
    value::{At, Word},
};

/// A front's name for a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotAliasRow {
    /// Whose name.
    pub front: Front,
    /// The name, verbatim; unique with the front.
    pub external: String,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// When it was recorded.
    pub created_at: Timestamp,
}

/// The snapshot that a front knows by that name.
pub fn find(r: &Reader<'_>, front: Front, external: &str) -> Result<Option<SnapshotRow>> {
    let sql = "SELECT snapshot_id FROM snapshot_aliases WHERE front = ?1 AND external = ?2";
    let id = r.one("read an alias", sql, params![Word(&front), external], |row| {
        Ok(row.get::<_, Word<SnapshotId>>(0)?.0)
    })?;
    id.map_or(Ok(None), |id| snapshots::by_id(r, id))
}

/// All names of a snapshot.
pub fn of_snapshot(r: &Reader<'_>, snapshot: SnapshotId) -> Result<Vec<SnapshotAliasRow>> {
    let sql = "SELECT front, external, created_at FROM snapshot_aliases WHERE snapshot_id = ?1
        ORDER BY front, external";
    r.all("list aliases", sql, [Word(&snapshot)], |row| {
        Ok(SnapshotAliasRow {
            front: row.get::<_, Word<_>>(0)?.0,
            external: row.get(1)?,
            snapshot,
            created_at: row.get::<_, At>(2)?.0,
        })
    })
}

/// Records an alias.
pub fn insert(tx: &Tx<'_>, alias: &SnapshotAliasRow) -> Result<()> {
    let sql = "INSERT INTO snapshot_aliases (front, external, snapshot_id, node, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    let (front, external) = (Word(&alias.front), alias.external.as_str());
    let params = params![front, external, Word(&alias.snapshot), tx.node(), At(alias.created_at)];
    tx.execute("record an alias", sql, params).map(drop)
}
