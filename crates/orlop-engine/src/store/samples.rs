//! The use of volumes over the last day. Only changes are kept: between two samples the first holds.

use jiff::Timestamp;
use orlop_model::{Result, UsageSample, VolumeId};
use rusqlite::params;

use super::{
    Reader, Tx,
    value::{At, Word},
};

/// The samples of a volume since that time, oldest first, and before them the one that held then.
pub fn since(r: &Reader<'_>, id: VolumeId, since: Timestamp) -> Result<Vec<UsageSample>> {
    let sql = "SELECT at, used_bytes, capacity_bytes FROM samples WHERE volume_id = ?1
        AND at >= coalesce((SELECT max(at) FROM samples WHERE volume_id = ?1 AND at <= ?2), ?2) ORDER BY at";
    r.all("read the use of a volume", sql, params![Word(&id), At(since)], |row| {
        Ok(UsageSample { at: row.get::<_, At>(0)?.0, used_bytes: row.get(1)?, capacity_bytes: row.get(2)? })
    })
}

/// Adds a sample, unless it equals the newest. A volume that is gone is no error.
pub fn add(tx: &Tx<'_>, id: VolumeId, sample: UsageSample) -> Result<()> {
    let sql = "INSERT INTO samples (volume_id, at, node, used_bytes, capacity_bytes)
        SELECT id, ?2, ?3, ?4, ?5 FROM volumes WHERE id = ?1 AND (?4, ?5) IS NOT
            (SELECT used_bytes, capacity_bytes FROM samples WHERE volume_id = ?1 ORDER BY at DESC LIMIT 1)
        ON CONFLICT (volume_id, at) DO NOTHING";
    let params = params![Word(&id), At(sample.at), tx.node(), sample.used_bytes, sample.capacity_bytes];
    tx.execute("record the use of a volume", sql, params).map(drop)
}

/// Deletes what is older than that and no longer holds at that time.
pub fn prune(tx: &Tx<'_>, before: Timestamp) -> Result<()> {
    let sql = "DELETE FROM samples WHERE at < ?1 AND EXISTS
        (SELECT 1 FROM samples n WHERE n.volume_id = samples.volume_id AND n.at > samples.at AND n.at <= ?1)";
    tx.execute("prune the use of volumes", sql, [At(before)]).map(drop)
}
