//! Destroying the data of a deleted volume: when it is asked for, or after the retention that the
//! configuration says. From the record on it is a deletion like any other.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use orlop_model::{
    Error, ErrorKind, Period, Result, VolumeId,
    resource::{Deletion, VolumeState},
};

use super::delete;
use crate::{
    attachment::stale,
    core::{Core, object},
    events::{event, note},
    expiry::Over,
    fault::{self, Point},
    locks::{Deadline, Lock},
    pool,
    request::{Caller, VolumeRef},
    store::{Intent, VolumeRow, events, operations, volumes},
};

/// See [`crate::Engine::purge`].
pub(crate) fn purge(core: &Core, caller: &Caller, id: VolumeId) -> Result<Deletion> {
    let row = core.row(&VolumeRef::Id(id))?;
    core.authorise(caller, &row)?;
    let _held = core.locks.take(Lock::Volume(id), Deadline::usual())?;
    locked(core, Some(caller), core.again(id)?, "as was asked for")
}

/// Purges what was deleted longer ago than data is kept, and was so for a while: see [`crate::expiry`].
pub(crate) fn expire(core: &Core) -> Result<()> {
    let Period::After(kept) = core.config.released_retention else { return Ok(()) };
    let Ok(kept) = i64::try_from(kept) else { return Ok(()) };
    let now = Timestamp::now();
    let Ok(before) = now.checked_sub(jiff::SignedDuration::from_secs(kept)) else { return Ok(()) };
    let rows = core.store.read(|r| volumes::released_before(r, before))?;
    let kept = Duration::from_secs(kept.unsigned_abs());
    let over = |row: &VolumeRow| row.released_at.map(|since| Over { id: row.id, since, kept });
    let over: Vec<_> = rows.iter().filter_map(over).collect();
    let ripe = core.expired_volumes.ripe(&over, now, Instant::now());
    for row in rows.into_iter().filter(|row| ripe.contains(&row.id)) {
        if core.signal.is_stopping() {
            return Ok(());
        }
        let Some(_held) = core.locks.try_take(Lock::Volume(row.id)) else { continue };
        let Some(row) = core.store.read(|r| volumes::by_id(r, row.id))? else { continue };
        // Undeleted while others were purged, and perhaps deleted anew; or protected by what it was imported
        // with.
        let is_over = row.released_at.is_some_and(|at| at < before);
        if row.state != VolumeState::Released || !is_over || row.manifest.volume.protection {
            continue;
        }
        let why = format!("deleted more than {} ago", core.config.released_retention);
        match locked(core, None, row.clone(), &why) {
            Ok(_) => core.watch.purged(row.id),
            Err(error) => {
                let message = format!("the data of volume {} was not purged: {error}", row.title());
                if core.watch.unpurged(row.id, &message) {
                    note(core, event("PurgeFailed", message).of(&row).warning());
                }
            }
        }
    }
    Ok(())
}

/// The caller holds the volume's lock.
fn locked(core: &Core, caller: Option<&Caller>, row: VolumeRow, why: &str) -> Result<Deletion> {
    match row.state {
        VolumeState::Released => {}
        VolumeState::Deleting if row.released_at.is_some() => return delete::resume(core, caller, row),
        VolumeState::Active | VolumeState::Error | VolumeState::Pending | VolumeState::Deleting => {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("volume {} is not deleted: only what was deleted is purged", row.title()),
            )
            .object(object(&row))
            .hint(format!("orlop delete -t volume -n {} -w {}", row.manifest.name, row.workspace)));
        }
    }
    delete::protected(&row)?;
    pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let image = core.image(&row)?;
    let survey = stale::survey(core, caller, &row, &image)?;
    if !survey.lingerers().is_empty() {
        let users = crate::attachment::attach::users(&survey);
        return Err(Error::new(
            ErrorKind::InUse,
            format!("released volume {} is held by {users}", row.title()),
        )
        .object(object(&row))
        .hint("end what holds it first"));
    }
    let operation = core.operation(caller, Some(row.id), Intent::Delete { destroy: true });
    let operation_id = operation.id;
    let message = format!("the data of released volume {} ({}) is purged, {why}", row.title(), row.id);
    let told = event("Purging", message).of(&row).by_any(caller);
    let mut row = row;
    row.state = VolumeState::Deleting;
    row.updated_at = Core::now();
    let row = core.store.write(move |tx| {
        volumes::update(tx, &mut row)?;
        operations::begin(tx, &operation)?;
        events::append(tx, &told)?;
        Ok(row)
    })?;
    fault::point(Point::DeleteRecorded)?;
    delete::finish(core, caller, row, operation_id, true)
}
