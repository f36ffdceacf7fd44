//! Snapshots as users see them, and what changes of one in place.

use std::time::Duration;

use orlop_model::{
    Error, ErrorKind, Result, SnapshotManifest,
    resource::{InGroup, Outcome, Snapshot, SnapshotStatus},
};

use super::{describe, find, usable};
use crate::{
    authority,
    core::{Core, rule},
    events::event,
    fault::{self, Point},
    format::Placement,
    locks::{Deadline, Lock},
    pool,
    request::{Applied, Caller, Page, SnapshotKey, SnapshotQuery},
    store::{SnapshotRow, events, snapshots},
};

/// One, as it is recorded.
pub(crate) fn one(row: SnapshotRow) -> Snapshot {
    let Placement::Image(placement) = &row.detail;
    Snapshot {
        status: SnapshotStatus {
            id: row.id,
            state: row.state,
            reason: row.reason,
            volume_id: row.volume,
            owner_uid: row.owner_uid,
            created_by: row.created_by,
            scheduled: row.scheduled,
            group: row.group.map(|group| InGroup { id: group.id, name: group.name }),
            pool: row.pool_name,
            filesystem: placement.filesystem().map(|filesystem| filesystem.kind),
            consistency: row.consistency,
            size: row.size,
            reserved: row.reserved,
            exclusive: row.exclusive,
            created_at: row.created_at,
            expires_at: row.expires_at,
            paused_millis: None,
        },
        manifest: row.manifest,
        workspace: row.workspace,
    }
}

/// Adds to one that was just made for how long writers were paused for it.
pub(super) fn tell_pause(made: &mut Snapshot, paused: Option<Duration>) {
    made.status.paused_millis = paused.map(|paused| u64::try_from(paused.as_millis()).unwrap_or(u64::MAX));
}

/// One by name.
pub(crate) fn show(core: &Core, key: &SnapshotKey) -> Result<Snapshot> {
    find(core, key).map(one)
}

/// A page of them.
pub(crate) fn page(core: &Core, query: &SnapshotQuery) -> Result<Page<Snapshot>> {
    let page = core.store.read(|r| snapshots::page(r, query))?;
    Ok(Page { items: page.items.into_iter().map(one).collect(), next: page.next })
}

/// Applies a manifest to a snapshot that is there. The caller holds the lock of the name.
pub(crate) fn configure(
    core: &Core,
    caller: &Caller,
    row: SnapshotRow,
    wanted: &SnapshotManifest,
) -> Result<Applied<Snapshot>> {
    let workspace = core.workspace(&row.workspace)?;
    authority::rule_snapshot(caller, &rule(&workspace), row.owner_uid, &row.title())?;
    let _held = core.locks.take(Lock::Snapshot(row.id), Deadline::usual())?;
    let mut row = super::again(core, &row)?;
    usable(&row)?;
    let changes = row.manifest.changes_to(wanted, &row.workspace)?;
    if changes.is_empty() {
        describe::catch_up(core, &row)?;
        return Ok(Applied { outcome: Outcome::Unchanged, changes, resource: one(row) });
    }
    kept_with_its_group(&row, wanted)?;
    let paths = pool::confirm(core, row.pool, &row.pool_name)?;
    if row.manifest.snapshot.retain != wanted.snapshot.retain {
        // What came with a pool may stay beyond its time: no other change ends that.
        row.expires_at = wanted.snapshot.retain.until(row.created_at);
    }
    row.manifest = wanted.clone();
    row.updated_at = Core::now();
    let message = format!("snapshot {} changed: {}", row.title(), changes.join(", "));
    let told = event("SnapshotConfigured", message).of_snapshot(&row).by(caller);
    let row = core.store.write(move |tx| {
        snapshots::update(tx, &mut row)?;
        events::append(tx, &told)?;
        Ok(row)
    })?;
    fault::point(Point::SnapshotConfigured)?;
    // Needs no intent: the record is the truth, and where this fails, the same request writes it.
    describe::write(core, &paths, &row)?;
    Ok(Applied { outcome: Outcome::Configured, changes, resource: one(row) })
}

/// Those of a group are kept equally long.
fn kept_with_its_group(row: &SnapshotRow, wanted: &SnapshotManifest) -> Result<()> {
    let Some(group) = row.group.as_ref().filter(|_| row.manifest.snapshot.retain != wanted.snapshot.retain)
    else {
        return Ok(());
    };
    Err(Error::new(
        ErrorKind::Immutable,
        format!("snapshot {} is one of group {}, and is kept as long as that", row.title(), group.title()),
    )
    .object("snapshot.retain")
    .hint(format!(
        "say it of the group: orlop snapshot create -n {} -w {} with --retain and all its volumes",
        group.name, group.workspace
    )))
}
