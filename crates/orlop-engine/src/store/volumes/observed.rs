//! What is only observed of a volume, or noted with it: none of it is a change of its record.

use jiff::Timestamp;
use orlop_model::{Result, Size, VolumeId, VolumeUsage};
use rusqlite::params;

use super::{SELECT, VolumeRow, row};
use crate::store::{
    Reader, Tx, usage,
    value::{At, Word},
};

/// Records what was seen of a volume's use, where it was seen; no change of the record.
pub fn observe(tx: &Tx<'_>, id: VolumeId, seen: Option<&VolumeUsage>, allocated: Option<Size>) -> Result<()> {
    if let Some(seen) = seen {
        usage::record(tx, id, seen)?;
    }
    if let Some(allocated) = allocated {
        let sql = "UPDATE placements SET allocated_bytes = ?2 WHERE volume_id = ?1";
        tx.execute("record what a volume takes", sql, params![Word(&id), allocated.bytes()])?;
    }
    Ok(())
}

/// Records that the last user of a volume left with a word, or that this no longer counts. As what
/// is observed, no change of the record.
pub fn vacate(tx: &Tx<'_>, id: VolumeId, at: Option<Timestamp>) -> Result<()> {
    let sql = "UPDATE volumes SET vacated_at = ?2 WHERE id = ?1 AND vacated_at IS NOT ?2";
    tx.execute("record that a volume is vacant", sql, params![Word(&id), at.map(At)]).map(drop)
}

/// Records that a volume has other data than was seen of it, which nobody has used yet and which takes
/// so much.
pub fn renewed(tx: &Tx<'_>, id: VolumeId, allocated: Option<Size>) -> Result<()> {
    let sql = "UPDATE volumes SET used_bytes = NULL, vacated_at = NULL WHERE id = ?1";
    tx.execute("record that a volume's data is new", sql, [Word(&id)])?;
    usage::forget(tx, id)?;
    observe(tx, id, None, allocated)
}

/// All volumes whose last user left with a word, longest ago first.
pub fn vacant(r: &Reader<'_>) -> Result<Vec<VolumeRow>> {
    let sql = format!("{SELECT} WHERE v.vacated_at IS NOT NULL ORDER BY v.vacated_at");
    r.all("list vacant volumes", &sql, [], row)
}

/// Records with which set of manifests a volume was applied; no change of the record.
pub fn applied(tx: &Tx<'_>, id: VolumeId, set: &str) -> Result<()> {
    let sql = "UPDATE volumes SET applied_set = ?2 WHERE id = ?1";
    tx.execute("record the set of a volume", sql, params![Word(&id), set]).map(drop)
}
