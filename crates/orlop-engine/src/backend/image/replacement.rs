//! A new image beside the old, which takes its place once it is whole: until then nothing has happened
//! to the volume. The image has no loop device meanwhile.

use std::{fs::File, path::Path, time::Duration};

use orlop_model::{Error, FilesystemKind, Result, Size};
use orlop_sys::{
    capability, durable,
    filesystem::{CheckMode, CheckOutcome, RepairOutcome, check_while, grow_unmounted, repair, resize_ext4},
    host::{Capability, has_capability},
    image as host_image, reflink,
};

use super::{Image, health};
use crate::{
    host::{On, ended, failure},
    running::Meter,
};

/// A check or a resize goes through all metadata, and a shrink moves data.
const RESIZE_LIMIT: Duration = Duration::from_secs(4 * 3600);

/// What a copy of the image takes of the disk: nothing where the blocks are shared.
pub(crate) fn takes(image: &Image) -> Result<Size> {
    if capability::probe(&image.directory).on(&image.object)?.reflink {
        return Ok(Size::from_bytes(0));
    }
    Ok(Size::from_bytes(host_image::space(image.path()).on(&image.object)?.allocated))
}

/// Makes a copy of the image at `path`, sharing blocks where the host's filesystem can, and resizes
/// the ext4 in it. Afterwards it is checked and flushed.
pub(crate) fn resized(image: &Image, path: &Path, size: u64, meter: &Meter<'_>) -> Result<()> {
    let object = &image.object;
    let made = copied(image, path, meter)?;
    meter.phase("resizing", None);
    if size > image.size {
        host_image::set_length(&made, size).on(object)?;
    }
    resize(image, path, size, meter)?;
    host_image::set_length(&made, size).on(object)?;
    sound(image, path, CheckMode::ReadOnly, meter)?;
    if image.placement.preallocated {
        host_image::preallocate(&made, size).on(object)?;
    }
    meter.advance(0)?;
    host_image::sync(&made, path).on(object)
}

/// Makes a copy as long as `copy` says, and the filesystem of ours in it with it: by the kernel, where
/// that lets us. Nobody has the copy yet. Not flushed.
pub(crate) fn grown(copy: &Image, meter: &Meter<'_>) -> Result<()> {
    let (object, placement) = (&copy.object, &copy.placement);
    meter.phase("growing", None);
    let made = host_image::open_existing(copy.path()).on(object)?;
    host_image::set_length(&made, copy.size).on(object)?;
    let Some(filesystem) = placement.filesystem() else { return Ok(()) };
    let by_kernel = match filesystem.kind {
        FilesystemKind::Xfs => true,
        FilesystemKind::Ext4 => has_capability(Capability::SysResource).on(object)?,
    };
    if !by_kernel {
        resize(copy, copy.path(), copy.size, meter)?;
        return sound(copy, copy.path(), CheckMode::ReadOnly, meter);
    }
    let (block_size, loop_block_size) = (filesystem.block_size, placement.loop_block_size);
    grow_unmounted(copy.path(), copy.kind()?, block_size, loop_block_size, copy.size).map_err(|error| {
        if health::is_of_the_image(&error) {
            return health::damaged(copy, &format!("a copy of it can't be mounted to grow: {error}"));
        }
        failure(&error, object)
    })
}

/// Has `resize2fs` change the ext4 in a copy, which it finds whole.
fn resize(image: &Image, path: &Path, size: u64, meter: &Meter<'_>) -> Result<()> {
    sound(image, path, CheckMode::Full, meter)?;
    ended(resize_ext4(path, size, RESIZE_LIMIT, || meter.advance(0)), &image.object)
}

/// Makes a copy of the image at `path` in the same way and repairs the filesystem in it. Afterwards a
/// check finds nothing wrong, and it is flushed. Returns what the program said.
///
/// # Errors
/// [`orlop_model::ErrorKind::Damaged`] where it can't be repaired.
pub(crate) fn repaired(image: &Image, path: &Path, discard_log: bool, meter: &Meter<'_>) -> Result<String> {
    let object = &image.object;
    let made = copied(image, path, meter)?;
    meter.phase("repairing", None);
    let repaired = repair(path, image.kind()?, discard_log, RESIZE_LIMIT, || meter.advance(0));
    let said = match ended(repaired, object)? {
        RepairOutcome::Done { said } => said,
        RepairOutcome::Failed { said } => return Err(health::unrepaired(image, &said)),
        RepairOutcome::LogDirty => {
            return Err(health::unrepaired(image, "its log holds changes that can't be replayed").hint(
                "repair it with --discard-log: what was written last, and not yet in its place, is lost",
            ));
        }
    };
    match checked(image, path, CheckMode::ReadOnly, meter)? {
        CheckOutcome::Clean | CheckOutcome::Repaired { .. } => {}
        CheckOutcome::LogDirty => return Err(health::unrepaired(image, "its log is not clean afterwards")),
        CheckOutcome::Damaged { detail } => return Err(health::unrepaired(image, &detail)),
    }
    if image.placement.preallocated {
        host_image::preallocate(&made, image.size).on(object)?;
    }
    meter.advance(0)?;
    host_image::sync(&made, path).on(object)?;
    Ok(said)
}

/// A copy at `path`, which shares blocks with the image where the host's filesystem can.
fn copied(image: &Image, path: &Path, meter: &Meter<'_>) -> Result<File> {
    let object = &image.object;
    durable::remove_file(path).on(object)?;
    let source = host_image::open_existing(image.path()).on(object)?;
    let made = host_image::create(path, 0).on(object)?;
    if !reflink::share(&source, &made, path).on(object)? {
        let space = host_image::space_of(&source).on(object)?;
        host_image::set_length(&made, space.length).on(object)?;
        meter.phase("copying", Some(space.allocated));
        ended(host_image::copy(image.path(), path, |bytes| meter.advance(bytes)), object)?;
    }
    Ok(made)
}

fn checked(image: &Image, path: &Path, mode: CheckMode, meter: &Meter<'_>) -> Result<CheckOutcome> {
    let checked = check_while(path, image.kind()?, mode, RESIZE_LIMIT, || meter.advance(0));
    ended(checked, &image.object)
}

fn sound(image: &Image, path: &Path, mode: CheckMode, meter: &Meter<'_>) -> Result<()> {
    match checked(image, path, mode, meter)? {
        CheckOutcome::Clean | CheckOutcome::Repaired { .. } => Ok(()),
        CheckOutcome::LogDirty => Err(unsound(image, "its log can't be replayed")),
        CheckOutcome::Damaged { detail } => Err(unsound(image, &detail)),
    }
}

fn unsound(image: &Image, detail: &str) -> Error {
    let program = image.checker();
    health::damaged(image, &format!("{program} says of a copy of its filesystem: {detail}"))
        .hint("nothing was changed; have it checked: orlop volume fsck")
}

/// Puts it in the place of the image, durably. The old one is gone then.
pub(crate) fn swap(image: &Image, path: &Path) -> Result<()> {
    std::fs::rename(path, image.path()).map_err(|error| {
        Error::new(
            orlop_model::ErrorKind::Host,
            format!("{}: can't replace {}: {error}", image.object, image.path().display()),
        )
        .object(&image.object)
        .hint("see the kernel's log (dmesg); nothing was changed")
    })?;
    durable::sync_directory(&image.directory).on(&image.object)
}
