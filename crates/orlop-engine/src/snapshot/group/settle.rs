//! A group that was being made or deleted when everything ended: it is brought to its end where its images
//! are all whole, and taken back as a whole where one is not.

use orlop_model::{OperationId, Result, SnapshotGroupId, resource::SnapshotState};

use super::{create, delete};
use crate::{
    core::Core,
    events::event,
    pool,
    snapshot::{
        create::{Made, thaw as thaw_one},
        delete::remove,
        describe,
    },
    store::{events, operations, snapshots},
};

/// Thaws the volumes that are still frozen for a group, and says how many were.
pub(crate) fn thaw(core: &Core, group: SnapshotGroupId) -> Result<u64> {
    let (mut thawed, mut failed) = (0, None);
    // One that can't be thawed keeps none of the others waiting.
    for row in core.store.read(|r| snapshots::of_group(r, group))? {
        match thaw_one(core, &row) {
            Ok(was_frozen) => thawed += u64::from(was_frozen),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(thawed), Err)
}

/// One that was being made. Its descriptions are the last that is written: with all of them all images
/// are whole, and of one moment. Says whether it is there now. The caller holds the group's lock, or nothing
/// else runs yet.
pub(crate) fn made(core: &Core, group: SnapshotGroupId, operation: OperationId) -> Result<bool> {
    let rows = core.store.read(|r| snapshots::of_group(r, group))?;
    if rows.is_empty() || rows.iter().any(|row| row.state != SnapshotState::Pending) {
        // Its commit happened, and was not heard of.
        core.store.write(move |tx| operations::finish(tx, operation))?;
        return Ok(true);
    }
    for row in &rows {
        if !describe::is_whole(&pool::confirm(core, row.pool, &row.pool_name)?, row)? {
            undo(core, group, operation)?;
            return Ok(false);
        }
    }
    create::complete(core, None, rows, operation, Made::Earlier).map(|_| true)
}

/// One that was being deleted. What came with a pool since was never marked, and stays.
pub(crate) fn deleted(core: &Core, group: SnapshotGroupId, operation: OperationId) -> Result<()> {
    let mut rows = core.store.read(|r| snapshots::of_group(r, group))?;
    rows.retain(|row| row.state == SnapshotState::Deleting);
    delete::finish(core, None, &rows, operation)
}

/// Takes back what was begun: the files, then the records. Nobody ever had it. Nothing of ours is frozen any
/// more: what is, another program froze.
pub(crate) fn undo(core: &Core, group: SnapshotGroupId, operation: OperationId) -> Result<()> {
    let rows = core.store.read(|r| snapshots::of_group(r, group))?;
    // A commit that failed may have happened: what is active now is not taken back.
    if rows.iter().any(|row| row.state != SnapshotState::Pending) {
        return Ok(());
    }
    let mut told = Vec::new();
    for row in &rows {
        remove(&pool::confirm(core, row.pool, &row.pool_name)?, row)?;
        let message = format!(
            "snapshot {} was not made, nor any other of its group, and what was begun of them is gone",
            row.title()
        );
        told.push(event("SnapshotUndone", message).of_snapshot(row).warning());
    }
    core.store.write(move |tx| {
        for row in &rows {
            snapshots::delete(tx, row.id)?;
        }
        operations::finish(tx, operation)?;
        told.iter().try_for_each(|told| events::append(tx, told).map(drop))
    })
}
