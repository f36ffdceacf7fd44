//! Making an image: which parameters it gets, and the file with the filesystem in it.

use std::{path::Path, time::Duration};

use orlop_model::{Result, VolumeSpec};
use orlop_sys::{
    filesystem::{FormatParameters, format_parameters, mkfs},
    image,
};

use super::kernel_kind;
use crate::{
    format::{ImageFormat, ImagePlacement},
    host::On,
};

/// The number of the rule by which `orlop-sys` pins the parameters. It grows with every change of
/// them, so that a blank of an older rule is not taken for one of the newer.
pub(crate) const RULE: u32 = 1;

/// mkfs writes little and nothing in proportion to the size; longer means that the disk hangs.
const MKFS_LIMIT: Duration = Duration::from_secs(120);

/// What a new volume is made with. Decided once, recorded, and never derived again.
pub(crate) fn decide(spec: &VolumeSpec, object: &str) -> Result<ImagePlacement> {
    let filesystem = spec.filesystem.resolve(spec.size);
    let parameters = format_parameters(kernel_kind(filesystem), spec.size.bytes()).on(object)?;
    Ok(ImagePlacement {
        filesystem,
        filesystem_block_size: parameters.block_size,
        loop_block_size: parameters.loop_block_size,
        format: ImageFormat {
            rule: RULE,
            program: parameters.kind.mkfs_program().name.to_owned(),
            arguments: parameters.arguments,
        },
        preallocated: spec.preallocate,
    })
}

/// Makes the file, sparse and exactly `size` long, and the filesystem in it, and flushes it. What was
/// left there by an attempt that did not end is replaced: a half-made image has never been used.
pub(crate) fn make(path: &Path, size: u64, placement: &ImagePlacement, object: &str) -> Result<()> {
    orlop_sys::durable::remove_file(path).on(object)?;
    let file = image::create(path, size).on(object)?;
    let parameters = FormatParameters {
        kind: kernel_kind(placement.filesystem),
        block_size: placement.filesystem_block_size,
        loop_block_size: placement.loop_block_size,
        arguments: placement.format.arguments.clone(),
    };
    mkfs(path, &parameters, None, MKFS_LIMIT).on(object)?;
    image::punch_holes(&file).on(object)
}

/// Takes the disk space of the whole image, for good: it is mounted without discard.
pub(crate) fn preallocate(path: &Path, size: u64, object: &str) -> Result<()> {
    let file = image::open_existing(path).on(object)?;
    image::preallocate(&file, size).on(object)
}

/// Flushes the image; its directory is the caller's.
pub(crate) fn flush(path: &Path, object: &str) -> Result<()> {
    let file = image::open_existing(path).on(object)?;
    image::sync(&file, path).on(object)
}
