//! Volumes that were deleted and keep their data.

use std::collections::HashMap;

use jiff::Timestamp;
use orlop_model::{PoolId, Result};
use rusqlite::Row;

use super::{SELECT, VolumeRow, row};
use crate::{
    request::VolumeKey,
    store::{
        Reader,
        value::{At, Word},
    },
};

/// All volumes that were released before that, longest ago first.
pub fn released_before(r: &Reader<'_>, before: Timestamp) -> Result<Vec<VolumeRow>> {
    let sql = format!("{SELECT} WHERE v.released_at < ?1 ORDER BY v.released_at");
    r.all("list released volumes", &sql, [At(before)], row)
}

/// How many released volumes of that name there are.
pub fn count_released(r: &Reader<'_>, key: &VolumeKey) -> Result<u64> {
    let sql = "SELECT count(*) FROM volumes WHERE workspace = ?1 AND name = ?2 AND released_at IS NOT NULL";
    let count = |row: &Row<'_>| row.get(0);
    let found = r.one("count volumes", sql, [key.workspace.as_str(), key.name.as_str()], count)?;
    Ok(found.unwrap_or(0))
}

/// The sizes of released volumes in all, by pool; a pool without any is missing.
pub fn released_by_pool(r: &Reader<'_>) -> Result<HashMap<PoolId, u64>> {
    let sql =
        "SELECT p.pool_id, sum(p.size_bytes) FROM volumes v CROSS JOIN placements p ON p.volume_id = v.id
        WHERE v.released_at IS NOT NULL GROUP BY p.pool_id";
    let rows = r.all("count released data", sql, [], |row| Ok((row.get::<_, Word<_>>(0)?.0, row.get(1)?)))?;
    Ok(rows.into_iter().collect())
}
