//! What the store knows about itself: single values by key.

use orlop_model::Result;

use super::{Reader, Tx};

/// The value of a key.
pub(super) fn get(r: &Reader<'_>, key: &str) -> Result<Option<String>> {
    r.one("read a setting", "SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
}

/// Sets the value of a key.
pub(super) fn set(tx: &Tx<'_>, key: &str, value: &str) -> Result<()> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    tx.execute("write a setting", sql, [key, value]).map(drop)
}
