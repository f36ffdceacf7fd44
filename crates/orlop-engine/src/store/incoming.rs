//! Data that is on its way to another place: where that is, and what is reserved for it there.

use orlop_model::{PoolId, Result, Size, VolumeId};
use rusqlite::params;

use super::{
    Reader, Tx, VolumeRow,
    value::{Json, Word},
};
use crate::format::Placement;

/// Where the data of a volume will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingRow {
    /// The volume.
    pub volume: VolumeId,
    /// The pool, which may be the one where the volume is.
    pub pool: PoolId,
    /// What is reserved there beyond the placement.
    pub reserved: Size,
    /// How it is kept there.
    pub detail: Placement,
}

/// What is on its way for a volume.
pub fn of_volume(r: &Reader<'_>, volume: VolumeId) -> Result<Option<IncomingRow>> {
    let sql = "SELECT pool_id, size_bytes, detail FROM incoming WHERE volume_id = ?1";
    r.one("read what is incoming", sql, [Word(&volume)], |row| {
        Ok(IncomingRow {
            volume,
            pool: row.get::<_, Word<_>>(0)?.0,
            reserved: Size::from_bytes(row.get(1)?),
            detail: row.get::<_, Json<_>>(2)?.0,
        })
    })
}

/// Reserves the place.
pub fn insert(tx: &Tx<'_>, incoming: &IncomingRow) -> Result<()> {
    let sql =
        "INSERT INTO incoming (volume_id, pool_id, node, size_bytes, detail) VALUES (?1, ?2, ?3, ?4, ?5)";
    let params = params![
        Word(&incoming.volume),
        Word(&incoming.pool),
        tx.node(),
        incoming.reserved.bytes(),
        Json(&incoming.detail)
    ];
    tx.execute("reserve a place", sql, params).map(drop)
}

/// Gives it up. That there is none is no error.
pub fn delete(tx: &Tx<'_>, volume: VolumeId) -> Result<()> {
    tx.execute("give up a place", "DELETE FROM incoming WHERE volume_id = ?1", [Word(&volume)]).map(drop)
}

/// The data is there now: what was incoming becomes the volume's placement, of the pool, size and
/// detail in `volume`. The rest of its record is written by [`super::volumes::update`].
pub fn arrive(tx: &Tx<'_>, volume: &VolumeRow) -> Result<()> {
    delete(tx, volume.id)?;
    let what = "change the place of a volume";
    tx.execute(what, "DELETE FROM placements WHERE volume_id = ?1", [Word(&volume.id)])?;
    super::volumes::place(tx, volume)
}
