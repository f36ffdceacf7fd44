//! Deleting a snapshot: marked and journaled first, its files, then its record.

use orlop_model::{Error, ErrorKind, OperationId, Result, SnapshotId, resource::SnapshotState};
use orlop_sys::durable;

use super::{again, find, object};
use crate::{
    authority,
    core::{Core, rule},
    directory::entries,
    events::event,
    fault::{self, Point},
    format::PoolPaths,
    host::On,
    locks::{Deadline, Lock},
    pool, reconcile,
    request::{Caller, SnapshotKey},
    store::{Intent, SnapshotRow, events, operations, snapshots},
};

/// See [`crate::Engine::delete_snapshot`].
pub(crate) fn delete(core: &Core, caller: &Caller, key: &SnapshotKey) -> Result<()> {
    delete_row(core, caller, find(core, key)?, Deadline::usual())
}

/// See [`crate::Engine::delete_snapshot_by_id`].
pub(crate) fn delete_by_id(core: &Core, caller: &Caller, id: SnapshotId, deadline: Deadline) -> Result<()> {
    match core.store.read(|r| snapshots::by_id(r, id))? {
        Some(row) => delete_row(core, caller, row, deadline),
        None => Ok(()),
    }
}

fn delete_row(core: &Core, caller: &Caller, row: SnapshotRow, deadline: Deadline) -> Result<()> {
    let workspace = core.workspace(&row.workspace)?;
    authority::rule_snapshot(caller, &rule(&workspace), row.owner_uid, &row.title())?;
    let key = SnapshotKey { workspace: row.workspace.clone(), name: row.manifest.name.clone() };
    let _name = core.locks.take(Lock::SnapshotName(key), deadline)?;
    reconcile::leftovers::settle_snapshot(core, row.id, deadline)?;
    let _held = core.locks.take(Lock::Snapshot(row.id), deadline)?;
    let row = match again(core, &row) {
        // What was unfinished of it was taken back just now.
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    alone(core, &row)?;
    begin(core, Some(caller), row, "somebody deleted it")
}

/// Refuses one that goes with others: what is left of them would be no group of one moment. Where a pool
/// of theirs is missing, they can't go together.
fn alone(core: &Core, row: &SnapshotRow) -> Result<()> {
    let Some(group) = &row.group else { return Ok(()) };
    let rows = core.store.read(|r| snapshots::of_group(r, group.id))?;
    for one in &rows {
        match pool::confirm(core, one.pool, &one.pool_name) {
            Ok(_) => {}
            Err(error) if error.kind == ErrorKind::Unavailable => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(
        ErrorKind::Protected,
        format!("snapshot {} is one of group {}, and goes with it", row.title(), group.title()),
    )
    .object(object(row))
    .hint(format!("delete the whole group: orlop snapshot delete -n {} -w {}", group.name, group.workspace)))
}

/// Marks and deletes it. The caller holds its lock.
pub(crate) fn begin(core: &Core, caller: Option<&Caller>, mut row: SnapshotRow, why: &str) -> Result<()> {
    match row.state {
        SnapshotState::Active | SnapshotState::Error => {}
        SnapshotState::Pending | SnapshotState::Deleting => {
            return Err(Error::new(
                ErrorKind::Recovering,
                format!("snapshot {} is being worked on", row.title()),
            )
            .object(object(&row))
            .hint("try again in a moment"));
        }
    }
    needed(core, &row)?;
    pool::confirm(core, row.pool, &row.pool_name)?;
    row.state = SnapshotState::Deleting;
    row.updated_at = Core::now();
    let operation = core.operation(caller, None, Intent::DeleteSnapshot { snapshot: row.id });
    let operation_id = operation.id;
    let told = event("SnapshotDeleting", format!("snapshot {} is being deleted: {why}", row.title()))
        .of_snapshot(&row)
        .by_any(caller);
    let row = core.store.write(move |tx| {
        snapshots::update(tx, &mut row)?;
        operations::begin(tx, &operation)?;
        events::append(tx, &told)?;
        Ok(row)
    })?;
    finish(core, caller, &row, operation_id)
}

/// Refuses one that an unfinished restore is of: whether that goes on or back is told by its record.
pub(crate) fn needed(core: &Core, row: &SnapshotRow) -> Result<()> {
    let journal = core.store.read(operations::unfinished)?;
    let is_of_it =
        |intent: &Intent| matches!(intent, Intent::Restore { snapshot, .. } if *snapshot == row.id);
    if !journal.iter().any(|operation| is_of_it(&operation.intent)) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Recovering,
        format!("a volume is being put back to snapshot {}, which did not come to its end", row.title()),
    )
    .object(object(row))
    .hint("use the volume, which brings that to its end; then try again"))
}

/// Goes on with a deletion that was begun. Also what recovery does.
pub(crate) fn finish(
    core: &Core,
    caller: Option<&Caller>,
    row: &SnapshotRow,
    operation: OperationId,
) -> Result<()> {
    fault::point(Point::SnapshotDeleteRecorded)?;
    let paths = pool::confirm(core, row.pool, &row.pool_name)?;
    remove(&paths, row)?;
    fault::point(Point::SnapshotDeleteRemoved)?;
    let told =
        event("SnapshotDeleted", format!("snapshot {} is gone", row.title())).of_snapshot(row).by_any(caller);
    let id = row.id;
    core.store.write(move |tx| {
        snapshots::delete(tx, id)?;
        operations::finish(tx, operation)?;
        events::append(tx, &told)
    })?;
    core.signal.shares(row.volume);
    fault::point(Point::SnapshotDeleteDone)
}

/// Removes its files: the description first, so that what a crash leaves is not taken for whole. Only
/// what we put there is removed; anything else keeps the directory.
///
/// # Errors
/// [`ErrorKind::Host`] where what is there can't be told: nothing was removed then.
pub(crate) fn remove(paths: &PoolPaths, row: &SnapshotRow) -> Result<()> {
    let (object, directory) = (object(row), paths.snapshot(row.id));
    let found = entries(&directory)?;
    durable::remove_file(&paths.snapshot_record(row.id)).on(&object)?;
    for (path, name) in found {
        if name.starts_with(".snapshot.json.") && name.ends_with(".new") {
            durable::remove_file(&path).on(&object)?;
        }
    }
    fault::point(Point::SnapshotDeleteDescribed)?;
    durable::remove_file(&paths.snapshot_image(row.id)).on(&object)?;
    fault::point(Point::SnapshotDeleteUnlinked)?;
    durable::remove_dir(&directory).on(&object)
}
