//! Checking the filesystem of a volume that nobody uses, and repairing it. A repair works on a copy,
//! which takes the place of the image only when a check finds nothing wrong with it any more: until
//! then, and after a crash before that, the volume is as it was.

use orlop_model::{
    ErrorKind, OperationId, Result,
    resource::{Verdict, VolumeCheck},
};
use orlop_sys::{
    durable,
    filesystem::{CheckMode, CheckOutcome, check_while},
};
use uuid::Uuid;

use super::{
    health,
    resize::{of_copy, room_for},
    state, transfer,
    unused::unused,
};
use crate::{
    admission::Wanted,
    attachment::detach,
    authority,
    backend::image::{Image, attach as image_attach, health as image_health, replacement},
    core::{Core, object, usable},
    events::event,
    fault::{self, Point},
    host::{On, ended},
    locks::{Deadline, Lock},
    pool, reconcile,
    request::{Caller, CheckRequest, VolumeRef},
    running::Meter,
    store::{IncomingRow, Intent, OperationRow, VolumeRow, events, incoming, operations, pools},
};

/// See [`crate::Engine::check`].
pub(crate) fn check(
    core: &Core,
    caller: &Caller,
    which: &VolumeRef,
    request: CheckRequest,
) -> Result<VolumeCheck> {
    let row = core.row(which)?;
    if request.repair {
        authority::rule_host(caller, &format!("repair {}", object(&row)))?;
    } else {
        core.authorise(caller, &row)?;
    }
    let _held = core.locks.take(Lock::Volume(row.id), Deadline::usual())?;
    reconcile::leftovers::settle_volume(core, &core.again(row.id)?)?;
    let row = core.again(row.id)?;
    usable(&row)?;
    pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let image = core.image(&row)?;
    image.filesystem()?;
    let hint = "stop what uses it first: a filesystem in use can't be checked";
    unused(core, caller, &row, &image, hint)?;
    image_health::examine(&image)?;
    let id = OperationId(Uuid::now_v7());
    let meter = core.running.begin(id, "check", object(&row), Some(caller));
    meter.phase("checking", None);
    let detail = match examine(core, &row, &image, &meter)? {
        CheckOutcome::Clean | CheckOutcome::Repaired { .. } => {
            return settled(core, &row, &image, Verdict::Clean, String::new());
        }
        CheckOutcome::LogDirty => "its log can't be replayed".to_owned(),
        CheckOutcome::Damaged { detail } => detail,
    };
    if !request.repair {
        let error = image_health::unsound(&image, &detail);
        state::damaged(core, &row, &error)?;
        return Ok(report(core, &row, &image, Verdict::Damaged, detail));
    }
    drop(meter);
    repair(core, caller, &row, &image, request.discard_log)
}

/// What a check says. Where a log is left to be replayed, it is mounted once for that, as the next
/// use would do.
fn examine(core: &Core, row: &VolumeRow, image: &Image, meter: &Meter<'_>) -> Result<CheckOutcome> {
    let (kind, limit) = (image.kind()?, image_health::CHECK_LIMIT);
    let look = || {
        let found = check_while(image.path(), kind, CheckMode::ReadOnly, limit, || meter.advance(0));
        ended(found, &image.object)
    };
    let found = look()?;
    if found != CheckOutcome::LogDirty {
        return Ok(found);
    }
    match health::mounts(core, row, image) {
        Ok(()) => look(),
        Err(error) if error.kind == ErrorKind::Damaged => Ok(found),
        Err(error) => Err(error),
    }
}

fn repair(
    core: &Core,
    caller: &Caller,
    row: &VolumeRow,
    image: &Image,
    discard_log: bool,
) -> Result<VolumeCheck> {
    let operation = core.operation(Some(caller), Some(row.id), Intent::Repair);
    let id = operation.id;
    begin(core, row, image, operation)?;
    let meter = core.running.begin(id, "repair", object(row), Some(caller));
    let repaired = effect(core, row, image, discard_log, &meter);
    drop(meter);
    let said = match repaired {
        Ok(said) => said,
        Err(error) => {
            if let Err(left) = settle(core, row, id) {
                tracing::warn!(volume = row.title(), %left, "a repair is taken back later");
            }
            if error.kind == ErrorKind::Damaged {
                state::damaged(core, row, &error)?;
            }
            return Err(error);
        }
    };
    let message = format!("the filesystem of volume {} was repaired", row.title());
    let told = event("Repaired", message).of(row).by(caller).warning();
    let volume = row.id;
    core.store.write(move |tx| {
        incoming::delete(tx, volume)?;
        operations::finish(tx, id)?;
        events::append(tx, &told)
    })?;
    core.signal.shares(row.id);
    fault::point(Point::RepairDone)?;
    settled(core, row, image, Verdict::Repaired, said)
}

/// The intent; and the room for the copy, where that takes as much again as the image.
fn begin(core: &Core, row: &VolumeRow, image: &Image, operation: OperationRow) -> Result<()> {
    let reserved = replacement::takes(image)?;
    if reserved.bytes() == 0 {
        return core.store.write(move |tx| operations::begin(tx, &operation));
    }
    let (pool, figures) =
        room_for(core, row, Wanted::New(reserved)).map_err(|error| of_copy(error, image))?;
    let coming =
        IncomingRow { volume: row.id, pool: pool.id, reserved, detail: row.placement.detail.clone() };
    core.store.write(move |tx| {
        let pool = pools::by_id(tx, pool.id)?.ok_or_else(|| pool::missing(&pool.name))?;
        figures.room(&pool).admit(&pool.name, Wanted::New(reserved))?;
        incoming::insert(tx, &coming)?;
        operations::begin(tx, &operation)
    })
}

/// Makes the repaired copy and puts it in the place of the image.
fn effect(
    core: &Core,
    row: &VolumeRow,
    image: &Image,
    discard_log: bool,
    meter: &Meter<'_>,
) -> Result<String> {
    let paths = pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let path = paths.replacement(row.id);
    fault::point(Point::RepairRecorded)?;
    let said = replacement::repaired(image, &path, discard_log, meter)?;
    // A checker is content with a filesystem that has all of its files in lost+found. What is there of
    // the volume is worth more then than that.
    let copy = Image { path: path.clone(), ..core.image(row)? };
    transfer::try_out(core, row, &copy).map_err(|error| {
        if error.kind != ErrorKind::Damaged {
            return error;
        }
        image_health::unrepaired(image, &format!("the repair leaves no volume: {}", error.message))
    })?;
    fault::point(Point::RepairMade)?;
    replacement::swap(image, &path)?;
    fault::point(Point::RepairSwapped)?;
    Ok(said)
}

/// After a failure or a crash: a copy that has not taken the image's place goes. Says whether there
/// was one. The caller holds the volume's lock.
pub(crate) fn settle(core: &Core, row: &VolumeRow, operation: OperationId) -> Result<bool> {
    let paths = pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let path = paths.replacement(row.id);
    let unfinished = pool::look_at(&path)?.is_some();
    if unfinished {
        // It was being tried out.
        let image = core.image(row)?;
        detach::take_down(core, row, &image)?;
        image_attach::remaining(&Image { path: path.clone(), ..image })?;
    }
    durable::remove_file(&path).on(&object(row))?;
    let id = row.id;
    core.store.write(move |tx| {
        incoming::delete(tx, id)?;
        operations::finish(tx, operation)
    })?;
    Ok(unfinished)
}

/// Nothing is wrong with the filesystem: whether the volume can be used with it is tried out, and told.
fn settled(
    core: &Core,
    row: &VolumeRow,
    image: &Image,
    verdict: Verdict,
    said: String,
) -> Result<VolumeCheck> {
    core.watch.forget(row.id);
    match health::mounts(core, row, image) {
        Ok(()) => state::restored(core, row)?,
        Err(error) if error.kind == ErrorKind::Damaged => {
            state::damaged(core, row, &error)?;
            return Err(error);
        }
        Err(error) => return Err(error),
    }
    Ok(report(core, row, image, verdict, said))
}

fn report(core: &Core, row: &VolumeRow, image: &Image, verdict: Verdict, said: String) -> VolumeCheck {
    // Where it was deleted meanwhile, this is how it was.
    let state = core.again(row.id).map_or(row.state, |now| now.state);
    VolumeCheck { verdict, program: image.checker().to_owned(), said, state }
}
