//! An image that its users have as a block device: a loop device, and a node of it to be mounted where
//! they get it.
//!
//! No mount of ours keeps the loop device, and whoever uses it need not have it open at any moment. So
//! it is kept by a flag, until it is let go. From then on it goes with its last user: what is left of it
//! is asked for as of any image (`attach::remaining`).

use std::{path::Path, time::Duration};

use orlop_model::{Error, ErrorKind, Result};
use orlop_sys::{
    DeviceNumber, SysError,
    loopdev::{self, LoopDevice, LoopOptions},
    target,
};

use super::{
    Image,
    attach::{device_of, own_device},
    health,
};
use crate::{
    fault::{self, Point},
    host::{On, failure},
};

/// A device that is let go is freed a moment later.
const FREED_WITHIN: Duration = Duration::from_secs(2);

/// Makes sure that the image has a loop device that stays, and that `node` is of it. Returns the device.
///
/// # Errors
/// [`ErrorKind::Damaged`] for what is wrong with the image; [`ErrorKind::HostLimit`] without a loop
/// device. After an error it goes as soon as nobody has it, unless it was there before.
pub(crate) fn keep(image: &Image, node: &Path) -> Result<DeviceNumber> {
    health::examine(image)?;
    let device = match device_of(image)? {
        Some(device) => device,
        None => attach(image, false)?,
    };
    fault::point(Point::AttachLoop)?;
    kept(image, node, &device)
}

fn kept(image: &Image, node: &Path, device: &LoopDevice) -> Result<DeviceNumber> {
    device.keep().on(&image.object)?;
    target::make_node(node, device.device()).on(&image.object)?;
    fault::point(Point::AttachKept)?;
    Ok(device.device())
}

/// The same, and makes sure that it takes writes, or refuses them: one that does the other is exchanged,
/// which nobody may have open then. The caller knows that nobody else gets it meanwhile.
///
/// # Errors
/// [`ErrorKind::InUse`] where somebody has the other one.
pub(crate) fn keep_as(image: &Image, node: &Path, read_only: bool) -> Result<DeviceNumber> {
    if let Some(other) = device_of(image)?.filter(|device| device.read_only() != read_only) {
        let number = other.device();
        if !goes(image, node, other)? {
            return Err(in_use(image, number, read_only));
        }
    }
    let device = match device_of(image)? {
        Some(device) => device,
        None => attach(image, read_only)?,
    };
    kept(image, node, &device)
}

/// The device, where somebody has it open or mounted. Only its going tells that nobody has: a mapping, a
/// descriptor in a message and a namespace without a process show nowhere. So it is let go, and another
/// comes for it. The caller knows that nobody is to have it now, and that nobody gets it meanwhile.
pub(crate) fn in_other_hands(image: &Image, node: &Path) -> Result<Option<DeviceNumber>> {
    let Some(device) = device_of(image)? else { return Ok(None) };
    let number = device.device();
    if !goes(image, node, device)? {
        return Ok(Some(number));
    }
    keep(image, node)?;
    Ok(None)
}

/// Has the device go, and says whether it did. One that somebody has is kept again: whoever it is may be
/// one of those for whom it was kept.
fn goes(image: &Image, node: &Path, device: LoopDevice) -> Result<bool> {
    let identity = device.identity();
    // Beside such a one none is made: what is let go could not be kept again.
    loopdev::only_whole(identity).on(&image.object)?;
    device.flush().on(&image.object)?;
    device.let_go().on(&image.object)?;
    drop(device);
    let gone = loopdev::wait_gone(identity, FREED_WITHIN).on(&image.object)?;
    if !gone {
        keep(image, node)?;
    }
    Ok(gone)
}

fn in_use(image: &Image, device: DeviceNumber, read_only: bool) -> Error {
    let (does, wanted) = if read_only { ("takes", "refuses") } else { ("refuses", "takes") };
    Error::new(
        ErrorKind::InUse,
        format!(
            "{}: somebody still has device {device} open, which {does} writes, and one that {wanted} them is asked for",
            image.object
        ),
    )
    .object(&image.object)
    .hint("end what has it open, then try again")
}

/// Has the loop device go as soon as nobody has it any more, and removes its node.
pub(crate) fn let_go(image: &Image, node: &Path) -> Result<()> {
    match std::fs::remove_file(node) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(path = %node.display(), %error, "the node of a block device stays");
        }
        Ok(()) | Err(_) => {}
    }
    match own_device(image)? {
        Some(device) => device.let_go().on(&image.object),
        None => Ok(()),
    }
}

/// Brings to the image what was written to its device, where it has one.
pub(crate) fn flush(image: &Image) -> Result<()> {
    match own_device(image)? {
        Some(device) => device.flush().on(&image.object),
        None => Ok(()),
    }
}

fn attach(image: &Image, read_only: bool) -> Result<LoopDevice> {
    let options = LoopOptions { block_size: image.placement.loop_block_size, direct_io: true, read_only };
    loopdev::attach(image.path(), options).map_err(|error| match error {
        SysError::NotFound { .. } => {
            health::damaged(image, &format!("its image {} is missing", image.path().display()))
        }
        other => failure(&other, &image.object),
    })
}

/// Whether that device is the image's now: its number may be another's since.
pub(crate) fn is_of(image: &Image, device: DeviceNumber) -> Result<bool> {
    Ok(own_device(image)?.is_some_and(|found| found.device() == device))
}
