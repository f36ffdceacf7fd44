//! Deleting: by type the data is destroyed or retained. Destroying is the last thing done, after the
//! kernel said that no mount namespace has the volume any more.

use orlop_model::{
    Error, ErrorKind, OperationId, Result, VolumeId,
    resource::{Deletion, VolumeState},
};

use super::{describe, unused};
use crate::{
    backend::image::{attach::Remaining, attach::remaining, remove},
    core::{Core, object},
    events::event,
    fault::{self, Point},
    locks::{Deadline, Lock},
    pool, reconcile,
    request::{Caller, VolumeRef},
    store::{Intent, VolumeRow, aliases, events, operations, volumes},
};

/// See [`crate::Engine::delete`].
pub(crate) fn delete(
    core: &Core,
    caller: &Caller,
    which: &VolumeRef,
    force: bool,
    deadline: Deadline,
) -> Result<Deletion> {
    let row = core.row(which)?;
    core.authorise(caller, &row)?;
    let _held = core.locks.take(Lock::Volume(row.id), deadline)?;
    let row = core.again(row.id)?;
    still_called(which, &row)?;
    protected(&row)?;
    match row.state {
        VolumeState::Active | VolumeState::Error => {}
        VolumeState::Pending => {
            reconcile::leftovers::settle_volume(core, &row)?;
            let row = match core.store.read(|r| volumes::by_id(r, row.id))? {
                None => return Ok(Deletion::Destroyed),
                Some(row) => row,
            };
            return begin(core, caller, row, force);
        }
        // Asked again: it goes on.
        VolumeState::Deleting => return resume(core, Some(caller), row),
        VolumeState::Released => {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("volume {} was deleted already; its data is retained", row.title()),
            )
            .object(object(&row))
            .hint(format!("orlop undelete --id {} brings it back, orlop purge destroys it", row.id)));
        }
    }
    begin(core, caller, row, force)
}

/// Refuses one that has another name by now: by the name that it had, another was meant, or none.
fn still_called(which: &VolumeRef, row: &VolumeRow) -> Result<()> {
    match which {
        VolumeRef::Key(key) if row.key() != *key => {
            let title = format!("{}/{}", key.workspace, key.name);
            Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no volume {title}: it was renamed to {} meanwhile", row.title()),
            )
            .object(format!("volume {title}"))
            .hint("nothing was deleted; delete it by the name that it has now"))
        }
        VolumeRef::Key(_) | VolumeRef::Id(_) => Ok(()),
    }
}

/// Refuses what its manifest protects. What is marked as deleting goes on: it was not protected then.
pub(crate) fn protected(row: &VolumeRow) -> Result<()> {
    if !row.manifest.volume.protection || row.state == VolumeState::Deleting {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Protected, format!("volume {} is protected from being deleted", row.title()))
        .object(object(row))
        .hint("apply its manifest without `protection: true` first"))
}

fn begin(core: &Core, caller: &Caller, mut row: VolumeRow, force: bool) -> Result<Deletion> {
    // What is on its way elsewhere would be left there.
    row = reconcile::leftovers::settled(core, row)?;
    pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let image = core.image(&row)?;
    let in_use = unused::user(core, Some(caller), &row, &image)?;
    if let Some(users) = &in_use
        && !force
    {
        return Err(Error::new(ErrorKind::InUse, format!("volume {} is in use by {users}", row.title()))
            .object(object(&row))
            .hint("stop what uses it first; or delete with --force: it goes when the last user has left"));
    }
    let destroy = !row.manifest.volume.volume_type.retains();
    let operation = core.operation(Some(caller), Some(row.id), Intent::Delete { destroy });
    let operation_id = operation.id;
    row.state = VolumeState::Deleting;
    row.deleted_at = Some(Core::now());
    row.deleted_by = Some(caller.uid);
    row.updated_at = Core::now();
    let waits = in_use.as_ref().map(|users| format!(", and goes when its last user has left: {users}"));
    row.reason = in_use.map(|users| format!("waits for {users}"));
    let message = format!("volume {} is being deleted{}", row.title(), waits.unwrap_or_default());
    let told = event("Deleting", message).of(&row).by(caller);
    let row = core.store.write(move |tx| {
        volumes::update(tx, &mut row)?;
        operations::begin(tx, &operation)?;
        events::append(tx, &told)?;
        Ok(row)
    })?;
    fault::point(Point::DeleteRecorded)?;
    if row.reason.is_some() {
        core.signal.wake();
        return Ok(Deletion::Deleting);
    }
    finish(core, Some(caller), row, operation_id, destroy)
}

/// Goes on with a deletion that was begun. The caller holds the volume's lock.
pub(crate) fn resume(core: &Core, caller: Option<&Caller>, row: VolumeRow) -> Result<Deletion> {
    let journal = core.store.read(|r| operations::of_volume(r, row.id))?;
    let begun = journal.into_iter().find_map(|operation| match operation.intent {
        Intent::Delete { destroy } => Some((operation.id, destroy)),
        Intent::Create { .. }
        | Intent::Configure
        | Intent::Attach { .. }
        | Intent::Detach { .. }
        | Intent::Resize { .. }
        | Intent::Migrate { .. }
        | Intent::Undelete
        | Intent::Wipe { .. }
        | Intent::Snapshot { .. }
        | Intent::DeleteSnapshot { .. }
        | Intent::SnapshotGroup { .. }
        | Intent::DeleteSnapshotGroup { .. }
        | Intent::Restore { .. }
        | Intent::Repair
        | Intent::CreatePool { .. }
        | Intent::RemovePool { .. }
        | Intent::ImportPool { .. }
        | Intent::GrowPool { .. }
        | Intent::ExportPool { .. } => None,
    });
    let Some((operation, destroy)) = begun else {
        return Err(Error::new(
            ErrorKind::Damaged,
            format!("volume {} is marked as deleting, but the journal does not say how", row.title()),
        )
        .object(object(&row))
        .hint("this is a fault of orlop: its data is kept; report it with the daemon's log"));
    };
    finish(core, caller, row, operation, destroy)
}

/// How an attempt to finish a deletion ended.
enum Attempt {
    Done(Deletion),
    /// Somebody has the volume, in words.
    Waits(String),
}

/// Finishes if nothing stands in the way; what does is told in the volume's status.
pub(super) fn finish(
    core: &Core,
    caller: Option<&Caller>,
    row: VolumeRow,
    operation: OperationId,
    destroy: bool,
) -> Result<Deletion> {
    let id = row.id;
    match attempt(core, caller, row, operation, destroy) {
        Ok(Attempt::Done(deletion)) => Ok(deletion),
        Ok(Attempt::Waits(users)) => {
            waits(core, id, format!("waits for {users}"), false);
            Ok(Deletion::Deleting)
        }
        Err(error) => {
            waits(core, id, error.to_string(), true);
            Err(error)
        }
    }
}

/// Records why a deletion did not end yet. A failure is told as an event too; whom it waits for was
/// told when it began. The caller holds the volume's lock.
fn waits(core: &Core, id: VolumeId, why: String, failed: bool) {
    let recorded = core.store.read(|r| volumes::by_id(r, id)).and_then(|row| {
        let new = |row: &VolumeRow| {
            row.state == VolumeState::Deleting && row.reason.as_deref() != Some(why.as_str())
        };
        let Some(mut row) = row.filter(new) else { return Ok(()) };
        let told = failed.then(|| event("DeletionDelayed", why.clone()).of(&row).warning());
        row.reason = Some(why);
        row.updated_at = Core::now();
        core.store.write(move |tx| {
            volumes::update(tx, &mut row)?;
            told.map_or(Ok(()), |told| events::append(tx, &told).map(drop))
        })
    });
    if let Err(error) = recorded {
        tracing::warn!(volume = %id, %error, "could not record why a deletion waits");
    }
}

fn attempt(
    core: &Core,
    caller: Option<&Caller>,
    row: VolumeRow,
    operation: OperationId,
    destroy: bool,
) -> Result<Attempt> {
    let paths = pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let image = core.image(&row)?;
    if let Some(who) = unused::user(core, caller, &row, &image)? {
        return Ok(Attempt::Waits(who));
    }
    fault::point(Point::DeleteDetached)?;
    if destroy {
        // Asked once more, as late as possible: what follows can't be undone.
        if let Remaining::Somebody(device) = remaining(&image)? {
            return Ok(Attempt::Waits(format!("somebody who just mounted device {device}")));
        }
        remove::destroy(&image, &paths.record(row.id))?;
        let told = event("Destroyed", format!("volume {} and its data are gone", row.title()))
            .of(&row)
            .by_any(caller);
        let id = row.id;
        core.store.write(move |tx| {
            volumes::delete(tx, id)?;
            operations::finish(tx, operation)?;
            events::append(tx, &told)
        })?;
        core.signal.forget(row.id);
        core.signal.shares(row.id);
        fault::point(Point::DeleteDone)?;
        return Ok(Attempt::Done(Deletion::Destroyed));
    }
    let mut row = row;
    row.state = VolumeState::Released;
    row.reason = None;
    row.released_at = Some(Core::now());
    row.updated_at = Core::now();
    if pool::look_at(&image.directory)?.is_some_and(|found| found.is_dir()) {
        describe::write_ahead(core, &paths, &row)?;
    }
    fault::point(Point::DeleteDescribed)?;
    let message = format!("volume {} is deleted, and its data is retained as {}", row.title(), row.id);
    let told = event("Released", message).of(&row).by_any(caller);
    core.store.write(move |tx| {
        volumes::update(tx, &mut row)?;
        // The names by which engines knew it are free for a new one.
        aliases::set_aside(tx, row.id)?;
        operations::finish(tx, operation)?;
        events::append(tx, &told)
    })?;
    fault::point(Point::DeleteDone)?;
    Ok(Attempt::Done(Deletion::Released))
}
