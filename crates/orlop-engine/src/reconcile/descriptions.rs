//! What lies beside the data follows the records: after an import, and once where an older build wrote
//! less than this one does.

use std::path::Path;

use orlop_model::{
    PoolId, Result,
    resource::{SnapshotState, VolumeState},
};

use crate::{
    core::Core,
    format::PoolPaths,
    locks::Lock,
    pool, snapshot,
    store::{described, operations, pools, snapshots, volumes},
    volume::describe,
};

/// All of them, in the background of the first start of a build that says more. What can't be reached
/// now goes with the next start.
pub(crate) fn bring_up_to_date(core: &Core) -> Result<()> {
    if core.store.read(described::is_done)? {
        return Ok(());
    }
    let mut all = true;
    for row in core.store.read(pools::all)? {
        match pool::confirm(core, row.id, &row.name) {
            Ok(paths) => all &= follow(core, row.id, &paths)?,
            Err(error) => {
                tracing::debug!(%error, "what a pool says of its volumes stays as it is for now");
                all = false;
            }
        }
    }
    if all { core.store.write(described::done) } else { Ok(()) }
}

/// Writes those of a pool anew that say something else than the records. Says whether none is left:
/// what others work on they describe themselves, and where nothing is on the disk, nothing is described.
pub(crate) fn follow(core: &Core, pool: PoolId, paths: &PoolPaths) -> Result<bool> {
    let volumes = of_volumes(core, pool, paths)?;
    Ok(of_snapshots(core, pool, paths)? && volumes)
}

fn of_volumes(core: &Core, pool: PoolId, paths: &PoolPaths) -> Result<bool> {
    let mut all = true;
    for id in core.store.read(|r| volumes::ids_in_pool(r, pool))? {
        let Some(_held) = core.locks.try_take(Lock::Volume(id)).filter(|_| !core.signal.is_stopping()) else {
            all = false;
            continue;
        };
        let (row, begun) =
            core.store.read(|r| Ok((volumes::by_id(r, id)?, !operations::of_volume(r, id)?.is_empty())))?;
        let Some(row) = row else { continue };
        if begun || row.state == VolumeState::Pending {
            all = false;
            continue;
        }
        if row.placement.pool != pool || !lies_there(&paths.volume(id))? {
            continue;
        }
        let wanted = describe::file(core, &row)?;
        if describe::read(paths, &row)?.is_none_or(|file| file != wanted) {
            describe::write(core, paths, &row)?;
        }
    }
    Ok(all)
}

fn of_snapshots(core: &Core, pool: PoolId, paths: &PoolPaths) -> Result<bool> {
    let mut all = true;
    for id in core.store.read(|r| snapshots::ids_in_pool(r, pool))? {
        let Some(_held) = core.locks.try_take(Lock::Snapshot(id)).filter(|_| !core.signal.is_stopping())
        else {
            all = false;
            continue;
        };
        let Some(row) = core.store.read(|r| snapshots::by_id(r, id))? else { continue };
        match row.state {
            SnapshotState::Active | SnapshotState::Error => {}
            SnapshotState::Pending | SnapshotState::Deleting => {
                all = false;
                continue;
            }
        }
        if !lies_there(&paths.snapshot(id))? {
            continue;
        }
        let wanted = snapshot::describe::file(core, &row)?;
        if snapshot::describe::read(paths, &row)?.is_none_or(|file| file != wanted) {
            snapshot::describe::write(core, paths, &row)?;
        }
    }
    Ok(all)
}

fn lies_there(directory: &Path) -> Result<bool> {
    Ok(pool::look_at(directory)?.is_some_and(|found| found.is_dir()))
}
