//! A block device where one consumer gets it: its node, mounted on a file that is made for it.
//!
//! What is mounted is told by the node, since the mount table only shows the filesystem that the node is
//! in; and who has the device open is not told by any mount.

use std::path::Path;

use orlop_model::{Error, ErrorKind, Result};
use orlop_sys::{
    DeviceNumber, SysError,
    target::{MountedNode, TargetPlace},
};

use crate::{
    attachment::kernel,
    backend::image::{Image, device as image_device},
    core::Core,
    host,
};

/// Whether the volume's device is mounted there. What else may be is not.
pub(crate) fn is_at(core: &Core, target: &Path, image: &Image) -> Result<bool> {
    let device = match &core.node_root {
        Some(root) => {
            let found = root.place(target).and_then(|place| place.mounted_node());
            found.map(|found| found.map(|found| found.device))
        }
        // Served no more, what is there stays.
        None => DeviceNumber::of_node(target),
    };
    match device {
        Ok(Some(device)) => image_device::is_of(image, device),
        Ok(None) => Ok(false),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(host::failure(&error, &image.object)),
    }
}

/// Whether it is known not to be there: a record is only dropped for that.
pub(crate) fn is_gone(core: &Core, target: &Path, image: &Image) -> bool {
    match is_at(core, target, image) {
        Ok(there) => !there,
        Err(error) => {
            tracing::warn!(target = %target.display(), %error, "can't tell whether a block device is still there");
            false
        }
    }
}

/// Unmounts a node of ours that is mounted there. That nothing is mounted, or something else is, is no
/// error. After somebody detached the loop device its number may be another's: then it is ours as it
/// lies where our nodes do.
///
/// # Errors
/// [`ErrorKind::InUse`] while somebody of this host has the device open by that very file.
pub(crate) fn unbind(core: &Core, place: &TargetPlace, image: &Image) -> Result<()> {
    let found = place.mounted_node().map_err(|error| host::failure(&error, &image.object))?;
    let Some(found) = found else { return Ok(()) };
    if !image_device::is_of(image, found.device)? && !is_own(core, found) {
        return Ok(());
    }
    match place.unmount_node(found) {
        Ok(())
        | Err(SysError::NotMounted { .. } | SysError::WrongDevice { .. } | SysError::NotFound { .. }) => {
            Ok(())
        }
        Err(SysError::Busy { .. }) => {
            let users = kernel::openers_of(found.device, 5);
            let who = if users.is_empty() { "something".to_owned() } else { users.join(", ") };
            Err(Error::new(
                ErrorKind::InUse,
                format!("{}: {who} still has {} open", image.object, place.path().display()),
            )
            .object(&image.object)
            .hint("end it, then try again"))
        }
        Err(error) => Err(host::failure(&error, &image.object)),
    }
}

fn is_own(core: &Core, found: MountedNode) -> bool {
    DeviceNumber::of_path(core.places.root()).is_ok_and(|ours| ours == found.holder)
}
