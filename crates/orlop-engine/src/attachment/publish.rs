//! A volume published to a front: a mount of the front's own, of which its consumers get `data`, and
//! which is there only while the front has an attachment.
//!
//! An engine may start a container on a path it remembers, asking nobody: Podman does, for as long as
//! it believes that an earlier one runs. Once another front has the volume, that path leads nowhere.
//! What is mounted is the root of the filesystem, so that without it there is no `data` either: a
//! container can't start on the empty directory that is left for a moment.

use std::{
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use orlop_model::{Error, ErrorKind, Result, VolumeId, resource::Front};
use orlop_sys::{DeviceNumber, SysError, filesystem::DATA_DIRECTORY, mount, ownership::Ownership, space};

use super::{detach::Released, kernel, place};
use crate::{
    backend::image::{Image, attach as image_attach, attach::Use},
    core::Core,
    fault::{self, Point},
    host::{On, failure},
    store::{AttachmentRow, VolumeRow},
};

/// Where that front's consumers find the volume while it is published to them.
pub(crate) fn path(core: &Core, image: &Image, front: Front, read_only: bool) -> PathBuf {
    core.places.published(image.id, front, read_only).join(DATA_DIRECTORY)
}

/// Whether it is there, from that device.
pub(crate) fn is_published(
    core: &Core,
    image: &Image,
    device: DeviceNumber,
    front: Front,
    read_only: bool,
) -> Result<bool> {
    let place = core.places.published(image.id, front, read_only);
    Ok(mounted(&place, image)? == Some(device))
}

/// Makes sure that it is there, and returns its path after the kernel confirmed what it leads to.
pub(crate) fn publish(
    core: &Core,
    row: &VolumeRow,
    image: &Image,
    device: DeviceNumber,
    front: Front,
    read_only: bool,
) -> Result<PathBuf> {
    let place = ensure(core, row, image, front, read_only)?;
    let found = mounted(&place, image)?;
    let writable = read_only && !space::usage(&place).on(&image.object)?.read_only;
    if found.is_some_and(|found| found != device) || writable {
        return Err(Error::new(
            ErrorKind::Host,
            format!("{}: something else is mounted on {}", image.object, place.display()),
        )
        .object(&image.object)
        .hint("unmount it and try again"));
    }
    image_attach::confirm(image, &place, device)?;
    Ok(path(core, image, front, read_only))
}

/// Publishes it to the fronts of all these attachments. What is there already is not touched.
pub(crate) fn publish_all(
    core: &Core,
    row: &VolumeRow,
    image: &Image,
    attachments: &[AttachmentRow],
) -> Result<()> {
    for attachment in attachments.iter().filter(|attachment| attachment.target.is_none()) {
        ensure(core, row, image, attachment.front, attachment.read_only)?;
    }
    Ok(())
}

/// Takes away what none of these attachments needs, here and in all namespaces, whatever other build
/// made it.
///
/// # Errors
/// Where the host fails; that somebody sits in it is no error.
pub(crate) fn unpublish(core: &Core, image: &Image, left: &[AttachmentRow]) -> Result<Released> {
    let needed = needed(core, image.id, left);
    for place in core.places.all_published(image.id)? {
        if needed.contains(&place) {
            continue;
        }
        match image_attach::unstage(&place) {
            Ok(()) => {}
            Err(SysError::Busy { .. }) => return Ok(Released::Held(sitters(&place))),
            Err(error) => return Err(failure(&error, &image.object)),
        }
        fault::point(Point::UnpublishUnmounted)?;
        place::remove(&place);
    }
    Ok(Released::Free)
}

/// The paths that the fronts of these attachments need.
pub(crate) fn needed(core: &Core, volume: VolumeId, attachments: &[AttachmentRow]) -> Vec<PathBuf> {
    attachments
        .iter()
        .filter(|attachment| attachment.target.is_none())
        // Whoever may write may also be given it for reading.
        .flat_map(|attachment| [true, attachment.read_only].map(|read_only| (attachment.front, read_only)))
        .map(|(front, read_only)| core.places.published(volume, front, read_only))
        .collect()
}

/// Those who keep a mount of ours busy on this host, in words.
pub(crate) fn sitters(place: &Path) -> String {
    let users = kernel::users_of(place, 3);
    if users.is_empty() {
        format!("something on this host uses {}", place.display())
    } else {
        format!("{} on this host uses {}", users.join(", "), place.display())
    }
}

/// Makes sure that something is mounted there: the volume, where nothing is.
fn ensure(core: &Core, row: &VolumeRow, image: &Image, front: Front, read_only: bool) -> Result<PathBuf> {
    let place = core.places.published(image.id, front, read_only);
    if mounted(&place, image)?.is_some() {
        return Ok(place);
    }
    place::make(&place, 0o000, &image.object)?;
    let using = Use { options: &row.manifest.volume.mount_options, ownership: Ownership::default() };
    let base = mount::open_directory(&core.places.base(image.id)).on(&image.object)?;
    let target = mount::open_directory(&place).on(&image.object)?;
    mount::bind(base.as_fd(), Path::new("."), using.attributes(read_only), target.as_fd())
        .on(&image.object)?;
    Ok(place)
}

fn mounted(place: &Path, image: &Image) -> Result<Option<DeviceNumber>> {
    match mount::mounted_at(place) {
        Ok(mounted) => Ok(mounted.map(|mounted| mounted.device)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(failure(&error, &image.object)),
    }
}
