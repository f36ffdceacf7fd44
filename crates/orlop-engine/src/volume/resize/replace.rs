//! A new image in the place of the old, in the same pool: the old one, copied and resized, or a new
//! filesystem with the files copied into it. Nobody uses the volume meanwhile. The new image is made
//! beside the old, which stays until the new one is whole, checked and flushed; then one rename swaps
//! them, and the length of the image says which of the two it is.

use orlop_model::{OperationId, Result, Size, resource::How};
use orlop_sys::{durable, image as host_image};

use super::{Settled, of_copy, reserves, room_for};
use crate::{
    admission::Wanted,
    attachment::detach,
    backend::image::{Image, attach as image_attach, replacement},
    core::{Core, object},
    events::event,
    fault::{self, Point},
    format::{ImagePlacement, Placement, PoolPaths},
    host::On,
    limits::{self, More},
    pool,
    request::Caller,
    store::{IncomingRow, Intent, VolumeRow, Way, events, incoming, operations, pools, usage, volumes},
    volume::{describe, plan::Resize, transfer, unused::unused},
};

/// What to do about those who use a volume whose data is to be copied.
pub(crate) const COPIED: &str =
    "stop what uses it and try again: its data is copied, which can't be done under a writer";

/// How the new image is made.
pub(crate) enum Work {
    /// From the old one.
    Resize,
    /// With that filesystem, and the files of the old one.
    Anew(ImagePlacement),
}

impl Work {
    fn way(&self) -> Way {
        match self {
            Self::Resize => Way::Copy,
            Self::Anew(_) => Way::Anew,
        }
    }

    /// What is reserved for it beyond what the volume has.
    fn reserves(&self, image: &Image, from: Size, to: Size) -> Result<Wanted> {
        match self {
            Self::Resize => reserves(image, Resize { from, to, how: How::WithCopy }),
            // Both are there until the end.
            Self::Anew(_) => Ok(Wanted::New(to)),
        }
    }
}

pub(crate) fn replace(
    core: &Core,
    caller: &Caller,
    row: VolumeRow,
    to: Size,
    work: Work,
) -> Result<VolumeRow> {
    let paths = pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let image = core.image(&row)?;
    unused(core, caller, &row, &image, COPIED)?;
    let (from, way) = (row.placement.size, work.way());
    let wanted = work.reserves(&image, from, to)?;
    let (pool, figures) = room_for(core, &row, wanted).map_err(|error| of_copy(error, &image))?;
    let detail = match &work {
        Work::Resize => row.placement.detail.clone(),
        Work::Anew(placement) => Placement::Image(placement.clone()),
    };
    let intent = Intent::Resize { from: from.bytes(), to: to.bytes(), way };
    let operation = core.operation(Some(caller), Some(row.id), intent);
    let id = operation.id;
    // What is there only meanwhile is not the workspace's.
    let more = More { volumes: 0, bytes: to.bytes().saturating_sub(from.bytes()) };
    let workspace = row.workspace.clone();
    let coming = IncomingRow { volume: row.id, pool: pool.id, reserved: wanted.more(), detail };
    core.store.write(move |tx| {
        let pool = pools::by_id(tx, pool.id)?.ok_or_else(|| pool::missing(&pool.name))?;
        figures.room(&pool).admit(&pool.name, wanted)?;
        limits::admit(tx, &workspace, more)?;
        incoming::insert(tx, &coming)?;
        operations::begin(tx, &operation)
    })?;
    let made = effect(core, caller, &paths, &row, &image, id, to, work);
    let settled = match &made {
        Ok(()) => complete(core, Some(caller), &paths, &row, id, to, way),
        Err(_) => settle(core, Some(caller), &row, id, to.bytes(), way).map(drop),
    };
    match (made, settled) {
        (Ok(()), settled) => settled?,
        (Err(error), Ok(())) => return Err(error),
        (Err(error), Err(left)) => {
            tracing::warn!(volume = row.title(), %left, "a change of size is settled later");
            return Err(error);
        }
    }
    fault::point(Point::ReplaceDone)?;
    core.again(row.id)
}

/// Makes the new image and puts it in the place of the old.
#[expect(clippy::too_many_arguments, reason = "it is one half of the function above")]
fn effect(
    core: &Core,
    caller: &Caller,
    paths: &PoolPaths,
    row: &VolumeRow,
    image: &Image,
    operation: OperationId,
    to: Size,
    work: Work,
) -> Result<()> {
    let path = paths.replacement(row.id);
    fault::point(Point::ReplaceRecorded)?;
    let meter = core.running.begin(operation, "resize", object(row), Some(caller));
    match work {
        Work::Resize => replacement::resized(image, &path, to.bytes(), &meter)?,
        Work::Anew(placement) => {
            let new = Image { path: path.clone(), size: to.bytes(), placement, ..image.clone() };
            transfer::files(core, row, image, &new, &meter)?;
        }
    }
    fault::point(Point::ReplaceMade)?;
    replacement::swap(image, &path)?;
    fault::point(Point::ReplaceSwapped)
}

/// The description and the record of the new image.
fn complete(
    core: &Core,
    caller: Option<&Caller>,
    paths: &PoolPaths,
    row: &VolumeRow,
    operation: OperationId,
    to: Size,
    way: Way,
) -> Result<()> {
    let coming = core.store.read(|r| incoming::of_volume(r, row.id))?;
    let mut row = row.clone();
    let from = row.placement.size;
    row.manifest.volume.size = to;
    row.placement.size = to;
    row.updated_at = Core::now();
    if let Some(coming) = coming {
        row.placement.detail = coming.detail;
    }
    if way == Way::Anew {
        row.created_size = to;
    }
    describe::write_ahead(core, paths, &row)?;
    fault::point(Point::ReplaceDescribed)?;
    let allocated =
        host_image::space(&paths.image(row.id)).ok().map(|space| Size::from_bytes(space.allocated));
    let (reason, how) = if from < to { ("Grown", "grew") } else { ("Shrunk", "shrank") };
    let id = row.id;
    let told = event(reason, format!("volume {} {how} from {from} to {to}", row.title()));
    let told = told.of(&row).by_any(caller);
    core.store.write(move |tx| {
        incoming::delete(tx, row.id)?;
        volumes::update(tx, &mut row)?;
        usage::forget(tx, row.id)?;
        volumes::observe(tx, row.id, None, allocated)?;
        operations::finish(tx, operation)?;
        events::append(tx, &told)
    })?;
    core.signal.shares(id);
    Ok(())
}

/// Goes on where the images were swapped, and back where they were not. The caller holds the volume's
/// lock.
pub(super) fn settle(
    core: &Core,
    caller: Option<&Caller>,
    row: &VolumeRow,
    operation: OperationId,
    to: u64,
    way: Way,
) -> Result<Settled> {
    let journal = core.store.read(|r| operations::of_volume(r, row.id))?;
    if journal.iter().all(|entry| entry.id != operation) {
        return Ok(Settled::Forward);
    }
    let paths = pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let image = core.image(row)?;
    let length = host_image::space(image.path()).on(&image.object)?.length;
    if length == to && length != image.size {
        complete(core, caller, &paths, row, operation, Size::from_bytes(to), way)?;
        return Ok(Settled::Forward);
    }
    // Where the files were being copied, both images are mounted.
    detach::take_down(core, row, &image)?;
    let unfinished = Image { path: paths.replacement(row.id), ..image };
    image_attach::remaining(&unfinished)?;
    durable::remove_file(unfinished.path()).on(&unfinished.object)?;
    let id = row.id;
    let told =
        event("ResizeUndone", format!("volume {} did not change its size, and is as it was", row.title()));
    let told = told.of(row).warning();
    core.store.write(move |tx| {
        incoming::delete(tx, id)?;
        operations::finish(tx, operation)?;
        events::append(tx, &told)
    })?;
    Ok(Settled::Back)
}
