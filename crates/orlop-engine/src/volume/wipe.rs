//! Wiping a temp volume that nobody came back to: a new empty image takes the place of the old, which
//! is gone with the rename, the last effect of all. Until then everything can be taken back.

use std::{
    collections::BTreeSet,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use orlop_model::{
    Error, ErrorKind, FilesystemChoice, FilesystemKind, OperationId, Period, Result, Size, VolumeId,
};
use orlop_sys::{durable, image as host_image};

use super::{
    describe,
    temp::{self, Step},
    unused,
};
use crate::{
    backend::image::{
        Image,
        attach::{Remaining, remaining},
        format as image_format,
    },
    core::Core,
    events::{event, note},
    fault::{self, Point},
    format::{ImagePlacement, Placement},
    host::On,
    locks::Lock,
    pool,
    store::{Intent, VolumeRow, attachments, events, operations, volumes},
};

/// A volume that somebody works on is looked at again so soon.
const BUSY: Duration = Duration::from_secs(1);
/// Without a vacancy there is nothing to look at before one begins.
const IDLE: Duration = Duration::from_secs(3600);

/// Looks at the countdowns and does what they ask for. Says when to come again.
pub(crate) fn tend(core: &Core) -> Result<Duration> {
    let rest = core.countdowns.rest(Instant::now());
    if !rest.is_zero() {
        return Ok(rest);
    }
    core.countdowns.looking();
    let rows = core.store.read(volumes::vacant)?;
    let mut next = IDLE;
    for row in &rows {
        let (Some(at), Some(grace)) = (row.vacated_at, temp::grace(row)) else { continue };
        let rest = match core.countdowns.step(row.id, at, grace, Instant::now()) {
            Step::Wait(rest) => rest,
            Step::Warn(left) => {
                warn(core, row, left);
                left
            }
            Step::Wipe if core.signal.is_stopping() => return Ok(BUSY),
            Step::Wipe => match wipe(core, row.id) {
                Ok(()) => BUSY,
                Err(error) => {
                    failed(core, row, &error);
                    grace
                }
            },
        };
        next = next.min(rest);
    }
    // To one that can't be used now nobody could come back: it is counted in full once it can.
    let counted = rows.iter().filter(|row| temp::grace(row).is_some());
    let counted: BTreeSet<VolumeId> = counted.map(|row| row.id).collect();
    core.countdowns.looked_at(&counted, next, Instant::now());
    Ok(next)
}

fn warn(core: &Core, row: &VolumeRow, left: Duration) {
    let left = Period::After(left.as_secs().max(1));
    let message =
        format!("the data of volume {} is wiped in {left}, unless somebody attaches it", row.title());
    note(core, event("WipeSoon", message).of(row).warning());
}

fn failed(core: &Core, row: &VolumeRow, error: &Error) {
    core.countdowns.restart(row.id);
    let message = format!("the data of volume {} was not wiped, and is counted anew: {error}", row.title());
    note(core, event("WipeFailed", message).of(row).warning());
}

/// Wipes one whose countdown has ended, if all that was true when it began is true still.
fn wipe(core: &Core, id: VolumeId) -> Result<()> {
    let Some(_held) = core.locks.try_take(Lock::Volume(id)) else { return Ok(()) };
    let (row, used, journal) = core.store.read(|r| {
        let used = !attachments::of_volume(r, id)?.is_empty();
        Ok((volumes::by_id(r, id)?, used, operations::of_volume(r, id)?))
    })?;
    // While others were wiped somebody may have come and left again, or have given it more time.
    let is_over = |row: &VolumeRow| {
        let counted = row.vacated_at.zip(temp::grace(row));
        counted.is_some_and(|(at, grace)| core.countdowns.left(id, at, grace, Instant::now()).is_zero())
    };
    let Some(row) = row.filter(is_over) else { return Ok(()) };
    for operation in &journal {
        if let Intent::Wipe { inode, placement } = &operation.intent {
            settle(core, &row, operation.id, *inode, placement.as_ref())?;
        }
    }
    if used || !journal.is_empty() {
        return Ok(());
    }
    pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let image = core.image(&row)?;
    if let Some(who) = unused::user(core, None, &row, &image)? {
        return spare(core, &row, &who);
    }
    let inode = inode_of(&image)?;
    let placement = remade(&row, &image)?;
    let intent = Intent::Wipe { inode, placement: Some(placement.clone()) };
    let operation = core.operation(None, Some(id), intent);
    let operation_id = operation.id;
    core.store.write(move |tx| operations::begin(tx, &operation))?;
    let done = effect(&image, &placement);
    let settled = settle(core, &row, operation_id, inode, Some(&placement));
    done.and(settled.map(drop))
}

/// Somebody has it without a word: he must leave with one before its data is wiped.
fn spare(core: &Core, row: &VolumeRow, who: &str) -> Result<()> {
    let message =
        format!("the data of volume {} stays: it is held by {who}, who was not known to use it", row.title());
    let told = event("WipeCancelled", message).of(row).warning();
    let id = row.id;
    core.store.write(move |tx| {
        volumes::vacate(tx, id, None)?;
        events::append(tx, &told)
    })?;
    Ok(())
}

/// What the new filesystem is made with, decided for the size that the volume has: it may have grown since,
/// or come from a snapshot or another host, where how it was made is not known.
fn remade(row: &VolumeRow, image: &Image) -> Result<ImagePlacement> {
    let mut spec = row.manifest.volume.clone();
    spec.size = row.placement.size;
    if let Some(filesystem) = image.placement.filesystem() {
        spec.filesystem = match filesystem.kind {
            FilesystemKind::Ext4 => FilesystemChoice::Ext4,
            FilesystemKind::Xfs => FilesystemChoice::Xfs,
        };
    }
    image_format::decide(&spec, &image.object)
}

/// The new image in place of the old.
fn effect(image: &Image, placement: &ImagePlacement) -> Result<()> {
    fault::point(Point::WipeRecorded)?;
    let fresh = fresh(image);
    image_format::make(&fresh, image.size, placement, &image.object)?;
    image_format::flush(&fresh, &image.object)?;
    fault::point(Point::WipeFormatted)?;
    // Asked once more, as late as possible: what follows can't be undone.
    if let Remaining::Somebody(device) = remaining(image)? {
        return Err(Error::new(
            ErrorKind::InUse,
            format!("{}: somebody has just mounted device {device}", image.object),
        )
        .object(&image.object));
    }
    std::fs::rename(&fresh, image.path()).map_err(|error| unreplaced(image, &error))?;
    fault::point(Point::WipeReplaced)
}

fn fresh(image: &Image) -> PathBuf {
    durable::draft_of(image.path())
}

fn inode_of(image: &Image) -> Result<u64> {
    std::fs::metadata(image.path()).map(|found| found.ino()).map_err(|error| unreplaced(image, &error))
}

fn unreplaced(image: &Image, error: &std::io::Error) -> Error {
    Error::new(
        ErrorKind::Host,
        format!("{}: can't replace {}: {error}", image.object, image.path().display()),
    )
    .object(&image.object)
    .hint("see the kernel's log (dmesg)")
}

/// Completes a wipe whose old image is gone, and takes back any other. Says whether it was
/// completed. The caller holds the volume's lock.
pub(crate) fn settle(
    core: &Core,
    row: &VolumeRow,
    operation: OperationId,
    old: u64,
    placement: Option<&ImagePlacement>,
) -> Result<bool> {
    let paths = pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let image = core.image(row)?;
    durable::remove_file(&fresh(&image)).on(&image.object)?;
    // One that can't be looked at is settled once it can: taken for the old one, its record would be wrong.
    let replaced = pool::look_at(image.path())?.is_some_and(|found| found.ino() != old);
    if !replaced {
        core.store.write(move |tx| operations::finish(tx, operation))?;
        return Ok(false);
    }
    let placement = placement.unwrap_or(&image.placement);
    if placement.preallocated {
        image_format::preallocate(image.path(), image.size, &image.object)?;
    }
    durable::sync_directory(&image.directory).on(&image.object)?;
    // The filesystem is a new one, of this size, and nothing in it comes from anywhere.
    let mut row = VolumeRow { source: None, created_size: row.placement.size, ..row.clone() };
    row.placement.detail = Placement::Image(placement.clone());
    row.updated_at = Core::now();
    describe::write_ahead(core, &paths, &row)?;
    fault::point(Point::WipeDescribed)?;
    let allocated = host_image::space(image.path()).ok().map(|space| Size::from_bytes(space.allocated));
    let message = format!(
        "the data of volume {} is wiped: nobody used it again within {}",
        row.title(),
        row.temp_grace
    );
    let told = event("Wiped", message).of(&row);
    let id = row.id;
    core.store.write(move |tx| {
        volumes::update(tx, &mut row)?;
        volumes::renewed(tx, id, allocated)?;
        operations::finish(tx, operation)?;
        events::append(tx, &told)
    })?;
    core.signal.shares(id);
    fault::point(Point::WipeDone)?;
    Ok(true)
}
