//! Deleting a group: all of it is marked and journaled in one write; then the files of each, then the records
//! in one write.

use jiff::Timestamp;
use orlop_model::{Error, ErrorKind, OperationId, Result, SnapshotGroupId, resource::SnapshotState};

use super::{find, object};
use crate::{
    authority,
    core::{Core, rule},
    events::event,
    fault::{self, Point},
    locks::{Deadline, Held, Lock},
    pool, reconcile,
    request::{Caller, SnapshotKey},
    snapshot::delete::{needed, remove},
    store::{Intent, SnapshotGroupRow, SnapshotRow, events, operations, snapshot_groups, snapshots},
};

/// See [`crate::Engine::delete_snapshot_group`].
pub(crate) fn delete(core: &Core, caller: &Caller, key: &SnapshotKey) -> Result<()> {
    delete_row(core, caller, &find(core, key)?, Deadline::usual())
}

/// See [`crate::Engine::delete_snapshot_group_by_id`].
pub(crate) fn delete_by_id(
    core: &Core,
    caller: &Caller,
    id: SnapshotGroupId,
    deadline: Deadline,
) -> Result<()> {
    match core.store.read(|r| snapshot_groups::by_id(r, id))? {
        Some(group) => delete_row(core, caller, &group, deadline),
        None => Ok(()),
    }
}

fn delete_row(core: &Core, caller: &Caller, group: &SnapshotGroupRow, deadline: Deadline) -> Result<()> {
    let workspace = core.workspace(&group.workspace)?;
    for row in core.store.read(|r| snapshots::of_group(r, group.id))? {
        authority::rule_snapshot(caller, &rule(&workspace), row.owner_uid, &row.title())?;
    }
    let key = SnapshotKey { workspace: group.workspace.clone(), name: group.name.clone() };
    let _name = core.locks.take(Lock::SnapshotName(key), deadline)?;
    reconcile::leftovers::settle_group(core, group.id, deadline)?;
    let _group = core.locks.take(Lock::SnapshotGroup(group.id), deadline)?;
    let rows = core.store.read(|r| snapshots::of_group(r, group.id))?;
    let take = |row: &SnapshotRow| core.locks.take(Lock::Snapshot(row.id), deadline);
    let _held = rows.iter().map(take).collect::<Result<Vec<_>>>()?;
    begin(core, Some(caller), group, &rows, "somebody deleted it")
}

/// Deletes a group whose time is over, all of it, unless somebody works on it: it goes another time then.
pub(crate) fn expire(core: &Core, group: &SnapshotGroupRow, now: Timestamp) -> Result<()> {
    let Some(_group) = core.locks.try_take(Lock::SnapshotGroup(group.id)) else { return Ok(()) };
    let rows = core.store.read(|r| snapshots::of_group(r, group.id))?;
    // Those of a pool that was away may stay for a while.
    let is_over = |row: &SnapshotRow| row.expires_at.is_some_and(|at| at <= now);
    let held: Vec<Held> = rows.iter().map_while(|row| core.locks.try_take(Lock::Snapshot(row.id))).collect();
    if held.len() < rows.len() || !rows.iter().all(is_over) {
        return Ok(());
    }
    begin(core, None, group, &rows, "its time is over")
}

/// Marks and deletes it. The caller holds the locks of the group and of the snapshots in `locked`; what came with a
/// pool since stays.
fn begin(
    core: &Core,
    caller: Option<&Caller>,
    group: &SnapshotGroupRow,
    locked: &[SnapshotRow],
    why: &str,
) -> Result<()> {
    let mut rows = core.store.read(|r| snapshots::of_group(r, group.id))?;
    rows.retain(|row| locked.iter().any(|locked| locked.id == row.id));
    let (now, mut told) = (Core::now(), Vec::new());
    for row in &mut rows {
        match row.state {
            SnapshotState::Active | SnapshotState::Error => {}
            SnapshotState::Pending | SnapshotState::Deleting => {
                return Err(Error::new(
                    ErrorKind::Recovering,
                    format!("snapshot group {} is being worked on", group.title()),
                )
                .object(object(group))
                .hint("try again in a moment"));
            }
        }
        needed(core, row)?;
        is_there(core, group, row)?;
        (row.state, row.updated_at) = (SnapshotState::Deleting, now);
        let message =
            format!("snapshot {} is being deleted with its group {}: {why}", row.title(), group.title());
        told.push(event("SnapshotDeleting", message).of_snapshot(row).by_any(caller));
    }
    if rows.is_empty() {
        // What was unfinished of it was taken back just now.
        return Ok(());
    }
    let operation = core.operation(caller, None, Intent::DeleteSnapshotGroup { group: group.id });
    let operation_id = operation.id;
    let rows = core.store.write(move |tx| {
        rows.iter_mut().try_for_each(|row| snapshots::update(tx, row))?;
        operations::begin(tx, &operation)?;
        told.iter().try_for_each(|told| events::append(tx, told).map(drop))?;
        Ok(rows)
    })?;
    finish(core, caller, &rows, operation_id)
}

/// Refuses a group that can't go as a whole now, and says what can.
fn is_there(core: &Core, group: &SnapshotGroupRow, row: &SnapshotRow) -> Result<()> {
    let Err(error) = pool::confirm(core, row.pool, &row.pool_name) else { return Ok(()) };
    let others = format!(
        "the snapshots of {} that are in other pools can be deleted one by one: orlop snapshot delete -n NAME -w {}",
        object(group),
        group.workspace
    );
    let hint = error.hint.as_ref().map_or_else(|| others.clone(), |hint| format!("{hint}; or {others}"));
    Err(error.hint(hint))
}

/// Goes on with a deletion that was begun. Also what recovery does.
pub(super) fn finish(
    core: &Core,
    caller: Option<&Caller>,
    rows: &[SnapshotRow],
    operation: OperationId,
) -> Result<()> {
    fault::point(Point::SnapshotGroupDeleteRecorded)?;
    let mut told = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        remove(&pool::confirm(core, row.pool, &row.pool_name)?, row)?;
        if at == 0 {
            fault::point(Point::SnapshotGroupDeleteRemoving)?;
        }
        let message = format!("snapshot {} is gone", row.title());
        told.push(event("SnapshotDeleted", message).of_snapshot(row).by_any(caller));
    }
    fault::point(Point::SnapshotGroupDeleteRemoved)?;
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    core.store.write(move |tx| {
        for id in ids {
            snapshots::delete(tx, id)?;
        }
        operations::finish(tx, operation)?;
        told.iter().try_for_each(|told| events::append(tx, told).map(drop))
    })?;
    rows.iter().for_each(|row| core.signal.shares(row.volume));
    fault::point(Point::SnapshotGroupDeleteDone)
}
