//! What images that share blocks take for themselves: found out in the background after something
//! changed, and recorded. Until then it counts as nothing, so that no promise is undercounted.

use std::collections::BTreeSet;

use orlop_model::{Result, Size, VolumeId};

use crate::{
    backend::image::exclusive,
    core::Core,
    store::{SnapshotRow, VolumeRow, snapshots, volumes},
};

/// Looks at the snapshots of these volumes, and at the volumes themselves.
pub(crate) fn refresh(core: &Core, of: BTreeSet<VolumeId>) -> Result<()> {
    for volume in of {
        if core.signal.is_stopping() {
            return Ok(());
        }
        let (rows, volume) =
            core.store.read(|r| Ok((snapshots::of_volume(r, volume)?, volumes::by_id(r, volume)?)))?;
        rows.iter().try_for_each(|row| snapshot(core, row))?;
        volume.map_or(Ok(()), |row| look(core, &row))?;
    }
    Ok(())
}

/// It is not locked: nothing is changed but what is recorded of one that is still there, and
/// nobody may find it busy for that.
fn snapshot(core: &Core, row: &SnapshotRow) -> Result<()> {
    let Ok(paths) = core.pools.paths(row.pool, &row.pool_name) else { return Ok(()) };
    let Some(now) = exclusive(&paths.snapshot_image(row.id)).map(Size::from_bytes) else { return Ok(()) };
    if now == row.exclusive {
        return Ok(());
    }
    let id = row.id;
    core.store.write(move |tx| snapshots::observe(tx, id, now))
}

/// Of a volume that was made from something else.
fn look(core: &Core, row: &VolumeRow) -> Result<()> {
    if row.source.is_none() {
        return Ok(());
    }
    let Some(now) = core.image(row)?.taken().map(Size::from_bytes) else { return Ok(()) };
    let id = row.id;
    core.store.write(move |tx| volumes::observe(tx, id, None, Some(now)))
}
