//! Growing in place, in use or not: the record and the reservation first, then the file, the loop
//! device and the filesystem. An image that is longer than its filesystem is harmless, so a crash is
//! followed by going on; and where the kernel refused, by going back.

use orlop_model::{OperationId, Result, Size};
use orlop_sys::image as host_image;

use super::room_for;
use crate::{
    admission::Wanted,
    attachment::{attach, detach},
    backend::image::{Image, attach as image_attach, grow as image_grow},
    core::Core,
    events::event,
    fault::{self, Point},
    limits::{self, More},
    pool,
    request::Caller,
    store::{Intent, VolumeRow, Way, attachments, events, operations, pools, volumes},
    volume::describe,
};

pub(super) fn grow(core: &Core, caller: &Caller, row: VolumeRow, to: Size) -> Result<VolumeRow> {
    let from = row.placement.size;
    let wanted = Wanted::Growth { from, to };
    let (pool, figures) = room_for(core, &row, wanted)?;
    let intent = Intent::Resize { from: from.bytes(), to: to.bytes(), way: Way::InPlace };
    let operation = core.operation(Some(caller), Some(row.id), intent);
    let id = operation.id;
    let mut grown = row;
    set(&mut grown, to);
    let grown = core.store.write(move |tx| {
        let pool = pools::by_id(tx, pool.id)?.ok_or_else(|| pool::missing(&pool.name))?;
        figures.room(&pool).admit(&pool.name, wanted)?;
        limits::admit(tx, &grown.workspace, More { volumes: 0, bytes: wanted.more().bytes() })?;
        volumes::update(tx, &mut grown)?;
        operations::begin(tx, &operation)?;
        Ok(grown)
    })?;
    match forward(core, Some(caller), &grown, id, from.bytes()) {
        Ok(()) => Ok(grown),
        Err(error) => {
            if let Err(left) = back(core, &grown, id, from) {
                tracing::warn!(volume = grown.title(), %left, "a change of size goes on with the next apply");
            }
            Err(error)
        }
    }
}

fn set(row: &mut VolumeRow, size: Size) {
    row.manifest.volume.size = size;
    row.placement.size = size;
    row.updated_at = Core::now();
}

/// What follows from a record that has the new size. Repeatable.
pub(super) fn forward(
    core: &Core,
    caller: Option<&Caller>,
    row: &VolumeRow,
    operation: OperationId,
    from: u64,
) -> Result<()> {
    fault::point(Point::GrowRecorded)?;
    let paths = pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let image = core.image(row)?;
    image_grow::extend(&image)?;
    fault::point(Point::GrowExtended)?;
    // Whoever has it as a block device sees at once that it is longer.
    if !image.is_device() {
        attach::stage(core, row, &image)?;
        image_grow::grow(&image, &core.places.base(row.id))?;
    }
    fault::point(Point::GrowGrown)?;
    describe::write(core, &paths, row)?;
    fault::point(Point::GrowDescribed)?;
    leave(core, row, &image)?;
    let allocated = host_image::space(image.path()).ok().map(|space| Size::from_bytes(space.allocated));
    let (id, to) = (row.id, row.placement.size);
    let told = event("Grown", format!("volume {} grew from {} to {to}", row.title(), Size::from_bytes(from)));
    let told = told.of(row).by_any(caller);
    core.store.write(move |tx| {
        volumes::observe(tx, id, None, allocated)?;
        operations::finish(tx, operation)?;
        events::append(tx, &told)
    })?;
    fault::point(Point::GrowDone)
}

/// After a failure: where the filesystem has not grown, all is as it was. Where it has, or might have,
/// it stays begun.
fn back(core: &Core, row: &VolumeRow, operation: OperationId, from: Size) -> Result<()> {
    let journal = core.store.read(|r| operations::of_volume(r, row.id))?;
    if journal.iter().all(|entry| entry.id != operation) {
        return Ok(());
    }
    let image = core.image(row)?;
    let grown = if image.is_device() {
        // Somebody may have written behind the old end.
        image_attach::device_of(&image)?.is_some()
    } else {
        let size = image_grow::filesystem_size(&image, &core.places.base(row.id))?;
        size.is_none_or(|size| size > from.bytes())
    };
    if !grown {
        image_grow::cut(&image, from.bytes())?;
    }
    leave(core, row, &image)?;
    if grown {
        return Ok(());
    }
    let mut row = row.clone();
    let message = format!("volume {} did not grow to {}, and is as it was", row.title(), row.placement.size);
    let told = event("GrowUndone", message).of(&row).warning();
    set(&mut row, from);
    core.store.write(move |tx| {
        volumes::update(tx, &mut row)?;
        operations::finish(tx, operation)?;
        events::append(tx, &told)
    })?;
    Ok(())
}

/// What was mounted only to grow it is unmounted.
fn leave(core: &Core, row: &VolumeRow, image: &Image) -> Result<()> {
    if core.store.read(|r| attachments::of_volume(r, row.id))?.is_empty() {
        detach::take_down(core, row, image)?;
    }
    Ok(())
}
