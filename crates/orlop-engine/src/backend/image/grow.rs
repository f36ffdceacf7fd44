//! An image that grows while it is what it is: the file, its loop device where it has one, and the
//! filesystem of ours in it, which the kernel grows while it is mounted. Each step can be repeated.

use std::path::Path;

use orlop_model::Result;
use orlop_sys::{
    beneath::{self, OFlags},
    filesystem::{grow_mounted, mounted_size, superblock},
    image as host_image, mount,
};

use super::{
    Image,
    attach::{device_of, staged},
    health,
};
use crate::host::On;

/// Makes the file as long as the volume is to be, and its loop device.
pub(crate) fn extend(image: &Image) -> Result<()> {
    set_length(image, image.size, |length| length < image.size)
}

/// The way back: only what is behind the filesystem is cut off.
pub(crate) fn cut(image: &Image, size: u64) -> Result<()> {
    set_length(image, size, |length| length > size)
}

fn set_length(image: &Image, size: u64, needed: impl Fn(u64) -> bool) -> Result<()> {
    let file = host_image::open_existing(image.path()).on(&image.object)?;
    if needed(host_image::space_of(&file).on(&image.object)?.length) {
        if image.placement.preallocated && size == image.size {
            host_image::preallocate(&file, size).on(&image.object)?;
        } else {
            host_image::set_length(&file, size).on(&image.object)?;
        }
    }
    host_image::sync(&file, image.path()).on(&image.object)?;
    match device_of(image)? {
        Some(device) => device.set_capacity().on(&image.object),
        None => Ok(()),
    }
}

/// Has the kernel grow the filesystem, which is mounted on `base`.
pub(crate) fn grow(image: &Image, base: &Path) -> Result<()> {
    let filesystem = image.filesystem()?;
    let root = open(image, base)?;
    grow_mounted(&root, image.kind()?, filesystem.block_size, image.size).on(&image.object)
}

/// How long the filesystem believes to be, in bytes; `None` where that can't be told, as some
/// namespace has it mounted and we have not.
pub(crate) fn filesystem_size(image: &Image, base: &Path) -> Result<Option<u64>> {
    let kind = image.kind()?;
    let device = device_of(image)?;
    match (staged(image, base)?, device) {
        (Some(_), Some(device)) => {
            let root = open(image, base)?;
            mounted_size(&root, kind, &device.node()).on(&image.object).map(Some)
        }
        (None, Some(_)) => Ok(None),
        (_, None) => {
            let found = superblock(image.path()).on(&image.object)?;
            match found.filter(|found| found.kind == kind) {
                Some(found) => Ok(Some(found.size)),
                None => Err(health::damaged(image, "its image holds no filesystem any more")),
            }
        }
    }
}

fn open(image: &Image, base: &Path) -> Result<std::os::fd::OwnedFd> {
    let root = mount::open_directory(base).on(&image.object)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    beneath::open(&root, Path::new("."), flags).on(&image.object)
}
