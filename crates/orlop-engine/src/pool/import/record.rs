//! What was found becomes records, in one write, and the descriptions follow them.

use std::{collections::HashSet, path::Path};

use orlop_model::{
    OperationId, PoolId, Result, WorkspaceName,
    resource::{Medium, VolumeState},
    text::count,
};

use super::rows::Rows;
use crate::{
    core::Core,
    events::event,
    fault::{self, Point},
    pool::{confirm, create::described, hold::Hold, medium, remove::mark},
    reconcile::descriptions,
    request::Caller,
    store::{
        PoolRow, aliases, events, operations, pools, snapshot_aliases, snapshot_groups, snapshots, volumes,
        workspaces,
    },
    workspace,
};

/// Everything in one write: the pool, the workspaces that are missing, volumes and snapshots. `hold` is of
/// a pool that was not known.
pub(super) fn record(
    core: &Core,
    caller: &Caller,
    pool: &PoolRow,
    hold: Option<Hold>,
    rows: Rows,
) -> Result<()> {
    let fresh = hold.is_some();
    let message = format!(
        "pool {} is imported from {}, with {} and {}",
        pool.name,
        described(pool),
        count(rows.volumes.len() as u64, "volume"),
        count(rows.snapshots.len() as u64, "snapshot")
    );
    let mut told = vec![event("PoolImported", message).in_pool(&pool.name).by(caller)];
    told.extend(rows.volumes.iter().map(|row| {
        event("Imported", format!("volume {} is imported with pool {}", row.title(), pool.name))
            .of(row)
            .by(caller)
    }));
    told.extend(rows.snapshots.iter().map(|row| {
        event("Imported", format!("snapshot {} is imported with pool {}", row.title(), pool.name))
            .of_snapshot(row)
            .by(caller)
    }));
    let (pool, recorded) = (pool.clone(), pool.clone());
    // Who owned them elsewhere is not in the pool.
    let space = |name: &WorkspaceName| workspace::new(core, name.clone(), caller.uid, Vec::new());
    let spaces: Vec<_> = rows
        .volumes
        .iter()
        .map(|row| space(&row.workspace))
        .chain(rows.snapshots.iter().map(|row| space(&row.workspace)))
        .collect();
    core.store.write(move |tx| {
        if fresh {
            pools::insert(tx, &pool)?;
        }
        for space in &spaces {
            if workspaces::by_name(tx, &space.name)?.is_none() {
                workspaces::insert(tx, space)?;
            }
        }
        let mut released = HashSet::new();
        for row in &rows.volumes {
            volumes::insert(tx, row)?;
            if row.state == VolumeState::Released {
                released.insert(row.id);
            }
        }
        for alias in &rows.aliases {
            if released.contains(&alias.volume) {
                aliases::put_aside(tx, alias)?;
            } else {
                // One that somebody was faster to take stays theirs.
                aliases::note(tx, alias)?;
            }
        }
        for group in &rows.groups {
            if snapshot_groups::by_id(tx, group.id)?.is_none() {
                snapshot_groups::insert(tx, group)?;
            }
        }
        rows.snapshots.iter().try_for_each(|row| snapshots::insert(tx, row))?;
        for alias in &rows.snapshot_aliases {
            // As above.
            if snapshot_aliases::find(tx, alias.front, &alias.external)?.is_none() {
                snapshot_aliases::insert(tx, alias)?;
            }
        }
        told.iter().try_for_each(|told| events::append(tx, told).map(drop))
    })?;
    if let Some(hold) = hold {
        core.pools.add_held(&recorded, hold);
    }
    Ok(())
}

/// What follows the records: descriptions that agree with them, and the mark of an export goes. Where
/// nothing was recorded, what was mounted is unmounted. Repeated by recovery.
pub(crate) fn settle(
    core: &Core,
    operation: OperationId,
    id: PoolId,
    path: &Path,
    on: &Medium,
) -> Result<()> {
    let object = format!("pool at {}", path.display());
    match core.store.read(|r| pools::by_id(r, id))? {
        None => {
            medium::release(path, on, &object)?;
        }
        Some(row) => {
            if row.medium != *on {
                // Known before: it may have another name by now.
                medium::bring(core, &row)?;
            }
            core.pools.add_missing(&row);
            let paths = confirm(core, row.id, &row.name)?;
            // Of a pool that was known, others may be worked on meanwhile: whoever does so describes them.
            descriptions::follow(core, id, &paths)?;
            mark(&paths, None, &object)?;
            fault::point(Point::PoolImportDescribed)?;
        }
    }
    core.store.write(move |tx| operations::finish(tx, operation))
}
