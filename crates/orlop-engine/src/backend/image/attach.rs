//! An image onto its base mount, and off it.
//!
//! Two loop devices on one image corrupt it, so a device is looked for by the image's identity
//! before one is made: a container may still hold the old one after everything of ours is gone.

use std::{
    os::fd::AsFd,
    path::Path,
    time::{Duration, Instant},
};

use orlop_model::{Error, ErrorKind, MountOption, Result};
use orlop_sys::{
    DeviceNumber, FileIdentity, SysError,
    loopdev::{self, Exclusivity, LoopDevice, LoopOptions},
    mount::{self, FilesystemMount, MountAttributes},
    ownership::Ownership,
};

use super::{
    Image, health,
    health::{Verdict, diagnose},
    marker,
};
use crate::{
    fault::{self, Point},
    host::{On, failure},
};

/// After the last unmount the kernel frees the device a moment later.
const FREED_WITHIN: Duration = Duration::from_secs(2);
/// How long an ended namespace may take to let go.
pub(crate) const CLEARED_WITHIN: Duration = Duration::from_secs(1);

/// How the filesystem is mounted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use<'a> {
    pub(crate) options: &'a [MountOption],
    pub(crate) ownership: Ownership,
}

impl Use<'_> {
    /// What the mount allows; the bind mounts of consumers have the same.
    pub(crate) fn attributes(&self, read_only: bool) -> MountAttributes {
        MountAttributes {
            read_only,
            no_exec: self.has(MountOption::Noexec),
            no_atime: self.has(MountOption::Noatime),
            no_dir_atime: self.has(MountOption::Nodiratime),
        }
    }

    fn has(&self, option: MountOption) -> bool {
        self.options.contains(&option)
    }
}

/// Who still holds an image that is not on its base mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remaining {
    /// Nobody: it has no loop device.
    Nobody,
    /// Some mount namespace, or a program that claims the device.
    Somebody(DeviceNumber),
}

/// Makes sure that the image is mounted on `base`, marked, and this volume's. Returns its device.
///
/// # Errors
/// [`ErrorKind::Damaged`] for what is wrong with the image; [`ErrorKind::HostLimit`] without a loop
/// device. After an error nothing of it is mounted that was not before.
pub(crate) fn stage(image: &Image, base: &Path, using: Use<'_>) -> Result<DeviceNumber> {
    health::examine(image)?;
    if let Some(device) = staged(image, base)? {
        health::is_sound(image, base)?;
        let root = mount::open_directory(base).on(&image.object)?;
        marker::settle(image, &root, using.ownership)?;
        return Ok(device);
    }
    let device = mount_image(image, base, using)?;
    let settled = fault::point(Point::AttachMounted)
        .and_then(|()| mount::open_directory(base).on(&image.object))
        .and_then(|root| marker::settle(image, &root, using.ownership));
    if let Err(error) = settled {
        // Nobody was told of the mount yet.
        if let Err(left) = mount::unmount(base) {
            tracing::warn!(object = image.object, %left, "could not undo a mount");
        }
        return Err(error);
    }
    Ok(device)
}

/// The device that is mounted on `base`, after it was confirmed that it is this image's.
///
/// # Errors
/// [`ErrorKind::Damaged`] where another one is mounted there.
pub(crate) fn staged(image: &Image, base: &Path) -> Result<Option<DeviceNumber>> {
    let mounted = match mount::mounted_at(base) {
        Ok(mounted) => mounted,
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(failure(&error, &image.object)),
    };
    let Some(mounted) = mounted else { return Ok(None) };
    let device = device_of(image)?.map(|device| device.device());
    if device == Some(mounted.device) {
        return Ok(Some(mounted.device));
    }
    Err(health::damaged(
        image,
        &format!(
            "device {} is mounted on {}, and it is not of the image {}, which was exchanged or removed",
            mounted.device,
            base.display(),
            image.path().display()
        ),
    )
    .hint("stop what uses the volume, then put the right image back"))
}

/// Whether somebody may write to it now: it is mounted on `base`, or there as a block device.
pub(crate) fn is_used(image: &Image, base: &Path) -> Result<bool> {
    if image.is_device() {
        return Ok(device_of(image)?.is_some());
    }
    Ok(staged(image, base)?.is_some())
}

/// The loop device of the image, if it has one.
///
/// # Errors
/// [`ErrorKind::InUse`] where somebody made one on a part of the image, which must get no other then.
pub(crate) fn device_of(image: &Image) -> Result<Option<LoopDevice>> {
    find(image).on(&image.object)
}

/// The same for those who only look at it or end it, and make none: one that somebody made on a part of
/// the image is passed over. [`remaining`] tells of it.
pub(crate) fn own_device(image: &Image) -> Result<Option<LoopDevice>> {
    match find(image) {
        Err(SysError::ForeignLoop { .. }) => Ok(None),
        found => found.on(&image.object),
    }
}

fn find(image: &Image) -> orlop_sys::Result<Option<LoopDevice>> {
    match FileIdentity::of_path(image.path()) {
        Ok(identity) => loopdev::find_by_backing(identity),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes the image off `base`; that it is not there is no error. Never lazily: a detached mount
/// would go on being written with nobody to see it.
///
/// # Errors
/// [`SysError::Busy`] while something in our namespace uses it.
pub(crate) fn unstage(base: &Path) -> orlop_sys::Result<()> {
    match mount::unmount(base) {
        Ok(()) | Err(SysError::NotMounted { .. } | SysError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// After our own unmount: asks the kernel whether any mount namespace still has the image. Whoever made
/// a loop device on a part of it has it too.
pub(crate) fn remaining(image: &Image) -> Result<Remaining> {
    match left(image) {
        Err(SysError::ForeignLoop { number, .. }) => {
            Ok(Remaining::Somebody(DeviceNumber { major: loopdev::MAJOR, minor: number }))
        }
        left => left.on(&image.object),
    }
}

fn left(image: &Image) -> orlop_sys::Result<Remaining> {
    let Some(device) = find(image)? else { return Ok(Remaining::Nobody) };
    let (identity, number) = (device.identity(), device.device());
    match device.probe_exclusive()? {
        Exclusivity::Gone => return Ok(Remaining::Nobody),
        Exclusivity::Claimed => return Ok(Remaining::Somebody(number)),
        Exclusivity::Free => {}
    }
    // Our own descriptor kept it; now the kernel frees it.
    drop(device);
    if loopdev::wait_gone(identity, FREED_WITHIN)? {
        return Ok(Remaining::Nobody);
    }
    Ok(Remaining::Somebody(number))
}

/// The same, and waits a moment for what the kernel clears away in the background, such as the
/// namespace of a container that ended or a child of ours between fork and exec.
pub(crate) fn remaining_patiently(image: &Image) -> Result<Remaining> {
    let begin = Instant::now();
    loop {
        let remaining = remaining(image)?;
        if remaining == Remaining::Nobody || begin.elapsed() >= CLEARED_WITHIN {
            return Ok(remaining);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn mount_image(image: &Image, base: &Path, using: Use<'_>) -> Result<DeviceNumber> {
    let mut tried = false;
    loop {
        let device = loop_device(image)?;
        fault::point(Point::AttachLoop)?;
        let node = device.node();
        let mount = FilesystemMount {
            device: &node,
            kind: image.kind()?,
            discard: !image.placement.preallocated,
            synchronous: using.has(MountOption::Sync),
            read_only: false,
            attributes: using.attributes(false),
        };
        let refusal = match mount::mount_filesystem(mount, base) {
            Ok(mounted) => return Ok(mounted.device),
            Err(error) if health::is_of_the_image(&error) => error,
            Err(error) => return Err(failure(&error, &image.object)),
        };
        let identity = device.identity();
        drop(device);
        // A check of an image that somebody still writes would see damage that is none.
        if !loopdev::wait_gone(identity, FREED_WITHIN).on(&image.object)? {
            return Err(health::unmountable(
                image,
                &refusal,
                "nothing: another mount namespace still holds the image",
            ));
        }
        match diagnose(image, &refusal) {
            Verdict::TryAgain if !tried => tried = true,
            Verdict::TryAgain => return Err(health::unmountable(image, &refusal, "nothing is wrong")),
            Verdict::Damaged(error) => return Err(error),
        }
    }
}

fn loop_device(image: &Image) -> Result<LoopDevice> {
    if let Some(device) = device_of(image)? {
        device.confirm_block_size(image.placement.loop_block_size).on(&image.object)?;
        return Ok(device);
    }
    health::settle_error(image)?;
    let options =
        LoopOptions { block_size: image.placement.loop_block_size, direct_io: true, read_only: false };
    loopdev::attach(image.path(), options).map_err(|error| match error {
        SysError::NotFound { .. } => {
            health::damaged(image, &format!("its image {} is missing", image.path().display()))
        }
        other => failure(&other, &image.object),
    })
}

/// Confirms, before its path is handed out, that what is mounted on `base` is this volume.
///
/// # Errors
/// [`ErrorKind::Damaged`]; [`ErrorKind::Host`] where nothing is mounted.
pub(crate) fn confirm(image: &Image, base: &Path, device: DeviceNumber) -> Result<()> {
    let mounted = mount::mounted_at(base).on(&image.object)?;
    if mounted.map(|mounted| mounted.device) != Some(device) {
        return Err(Error::new(
            ErrorKind::Host,
            format!("{}: {} is no longer mounted: somebody unmounted it", image.object, base.display()),
        )
        .object(&image.object)
        .hint("try again; nothing was written beside the volume"));
    }
    let root = mount::open_directory(base).on(&image.object)?;
    marker::confirm(image, root.as_fd())
}
