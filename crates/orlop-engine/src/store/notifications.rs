//! How far each was told of events who is told of them.

use orlop_model::Result;
use rusqlite::params;

use super::{Reader, Tx, value::Json};

/// Up to which sequence one was told; `None` where it is new.
pub fn position(r: &Reader<'_>, target: &str) -> Result<Option<u64>> {
    let sql = "SELECT position FROM notifications WHERE target = ?1";
    r.one("read what was told", sql, [target], |row| row.get(0))
}

/// Records up to which sequence one was told.
pub fn set_position(tx: &Tx<'_>, target: &str, position: u64) -> Result<()> {
    let sql = "INSERT INTO notifications (target, node, position) VALUES (?1, ?2, ?3)
        ON CONFLICT (target) DO UPDATE SET node = excluded.node, position = excluded.position";
    tx.execute("record what was told", sql, params![target, tx.node(), position]).map(drop)
}

/// Forgets all others.
pub fn keep_only(tx: &Tx<'_>, targets: &[String]) -> Result<()> {
    let sql = "DELETE FROM notifications WHERE target NOT IN (SELECT value FROM json_each(?1))";
    tx.execute("forget who was told", sql, [Json(&targets)]).map(drop)
}
