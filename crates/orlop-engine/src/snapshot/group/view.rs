//! Groups as users see them, and what changes of one in place.

use std::collections::BTreeSet;

use orlop_model::{
    Error, ErrorKind, Result, Retain, VolumeName,
    resource::{Outcome, SnapshotGroup, SnapshotState},
};

use super::object;
use crate::{
    authority,
    core::{Core, rule},
    events::event,
    fault::{self, Point},
    locks::{Deadline, Lock},
    pool,
    request::{Applied, Caller},
    snapshot::{describe, usable, view},
    store::{SnapshotGroupRow, SnapshotRow, events, snapshots},
};

/// A group with its snapshots.
pub(crate) fn of(group: SnapshotGroupRow, rows: Vec<SnapshotRow>) -> SnapshotGroup {
    let first = [SnapshotState::Deleting, SnapshotState::Pending, SnapshotState::Error]
        .into_iter()
        .find(|state| rows.iter().any(|row| row.state == *state));
    SnapshotGroup {
        id: group.id,
        name: group.name,
        workspace: group.workspace,
        state: first.unwrap_or(SnapshotState::Active),
        created_by: group.created_by,
        created_at: group.created_at,
        snapshots: rows.into_iter().map(view::one).collect(),
    }
}

/// One, as it is recorded.
pub(crate) fn show(core: &Core, group: SnapshotGroupRow) -> Result<SnapshotGroup> {
    let rows = core.store.read(|r| snapshots::of_group(r, group.id))?;
    Ok(of(group, rows))
}

/// What is asked for again of a group that is there. The caller holds the lock of the name.
pub(super) fn configure(
    core: &Core,
    caller: &Caller,
    group: SnapshotGroupRow,
    wanted: &BTreeSet<VolumeName>,
    retain: Option<Retain>,
) -> Result<Applied<SnapshotGroup>> {
    let _group = core.locks.take(Lock::SnapshotGroup(group.id), Deadline::usual())?;
    let mut rows = core.store.read(|r| snapshots::of_group(r, group.id))?;
    let workspace = core.workspace(&group.workspace)?;
    let mut held = Vec::new();
    for row in &rows {
        authority::rule_snapshot(caller, &rule(&workspace), row.owner_uid, &row.title())?;
        held.push(core.locks.take(Lock::Snapshot(row.id), Deadline::usual())?);
        usable(row)?;
    }
    let is: BTreeSet<_> = rows.iter().map(|row| row.manifest.snapshot.volume.clone()).collect();
    if is != *wanted {
        let names = is.iter().map(VolumeName::as_str).collect::<Vec<_>>().join(", ");
        return Err(Error::new(
            ErrorKind::Immutable,
            format!("snapshot group {} is of other volumes: {names}", group.title()),
        )
        .object(object(&group))
        .hint(
            "choose another name, or delete that group first; where a volume was renamed, say its new name",
        ));
    }
    let differs = |row: &SnapshotRow| retain.is_some_and(|retain| row.manifest.snapshot.retain != retain);
    let Some(retain) = retain.filter(|_| rows.iter().any(differs)) else {
        rows.iter().try_for_each(|row| describe::catch_up(core, row))?;
        let resource = of(group, rows);
        return Ok(Applied { outcome: Outcome::Unchanged, changes: Vec::new(), resource });
    };
    let (now, mut told) = (Core::now(), Vec::new());
    for row in &mut rows {
        pool::confirm(core, row.pool, &row.pool_name)?;
        row.manifest.snapshot.retain = retain;
        row.expires_at = retain.until(row.created_at);
        row.updated_at = now;
        let message = format!("snapshot {} changed with its group: snapshot.retain", row.title());
        told.push(event("SnapshotConfigured", message).of_snapshot(row).by(caller));
    }
    let rows = core.store.write(move |tx| {
        rows.iter_mut().try_for_each(|row| snapshots::update(tx, row))?;
        told.iter().try_for_each(|told| events::append(tx, told).map(drop))?;
        Ok(rows)
    })?;
    for row in &rows {
        fault::point(Point::SnapshotConfigured)?;
        // Needs no intent: the record is the truth, and where this fails, the same request writes it.
        describe::write(core, &pool::confirm(core, row.pool, &row.pool_name)?, row)?;
    }
    let changes = vec!["snapshot.retain".to_owned()];
    Ok(Applied { outcome: Outcome::Configured, changes, resource: of(group, rows) })
}
