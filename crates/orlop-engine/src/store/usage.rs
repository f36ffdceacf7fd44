//! How full volumes were when they were last seen mounted.

use std::collections::HashMap;

use orlop_model::{Result, UsageSample, VolumeId, VolumeUsage};
use rusqlite::params;

use super::{
    Reader, Tx, samples,
    value::{Json, Word},
};

/// What was last seen of many volumes; those that never were mounted are missing.
pub fn of_volumes(r: &Reader<'_>, ids: &[VolumeId]) -> Result<HashMap<VolumeId, VolumeUsage>> {
    let sql = "SELECT volume_id, seen FROM usage WHERE volume_id IN (SELECT value FROM json_each(?1))";
    let rows = r.all("read the use of volumes", sql, [Json(&ids)], |row| {
        Ok((row.get::<_, Word<_>>(0)?.0, row.get::<_, Json<_>>(1)?.0))
    })?;
    Ok(rows.into_iter().collect())
}

/// Forgets what was seen of a volume: it has another filesystem than that.
pub fn forget(tx: &Tx<'_>, id: VolumeId) -> Result<()> {
    tx.execute("forget the use of a volume", "DELETE FROM usage WHERE volume_id = ?1", [Word(&id)]).map(drop)
}

/// Records what is seen of a volume, also for its last day. A volume that is gone is no error.
pub fn record(tx: &Tx<'_>, id: VolumeId, seen: &VolumeUsage) -> Result<()> {
    let sql = "INSERT INTO usage (volume_id, node, seen) SELECT id, ?2, ?3 FROM volumes WHERE id = ?1
        ON CONFLICT (volume_id) DO UPDATE SET node = excluded.node, seen = excluded.seen";
    tx.execute("record the use of a volume", sql, params![Word(&id), tx.node(), Json(seen)])?;
    let sample =
        UsageSample { at: seen.seen_at, used_bytes: seen.used_bytes, capacity_bytes: seen.capacity_bytes };
    samples::add(tx, id, sample)
}
