//! How a volume stands that is staged or published somewhere.

use std::path::Path;

use orlop_model::{Error, ErrorKind, Result, VolumeId, VolumeUsage, resource::VolumeState};
use orlop_sys::FileIdentity;

use super::{device, path_of, place};
use crate::{
    attachment::kernel,
    backend::image::{Image, attach as image_attach, health},
    core::{Core, object},
    observation::{device as lost, usage},
    request::{NodeUsage, VolumeRef, VolumeStatistics},
    store::{AttachmentRow, VolumeRow, attachments},
};

/// See [`crate::Engine::volume_statistics`].
pub(crate) fn read(core: &Core, volume: VolumeId, path: &Path) -> Result<VolumeStatistics> {
    let row = core.row(&VolumeRef::Id(volume))?;
    let path = path_of(core, path).map_err(nowhere)?;
    let found = core.store.read(|r| attachments::by_target(r, &core.config.node, &path))?;
    let found = found.filter(|found| found.volume == row.id);
    let image = core.image(&row)?;
    // The kubelet asks for a block device at a path of its own, where it mounted the published one again.
    if image.is_device() && (found.is_some() || is_device_at(core, &path, &image)?) {
        return of_device(core, &row, &image, found.as_ref());
    }
    let Some(there) = found else {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("volume {} is neither staged nor published at {}", row.title(), path.display()),
        )
        .object(object(&row)));
    };
    let Some(usage) = usage::live(core, row.id) else {
        return Err(Error::new(
            ErrorKind::Host,
            format!("volume {} is not mounted any more: somebody unmounted it", row.title()),
        )
        .object(object(&row))
        .hint("unpublish and publish it again, or restart the daemon"));
    };
    let abnormal = abnormal(core, &row, &there, &usage)?;
    Ok(VolumeStatistics { usage: NodeUsage::Filesystem(usage), abnormal })
}

/// No volume is at what is no path of the orchestrator's.
fn nowhere(error: Error) -> Error {
    if error.kind == ErrorKind::InvalidArgument {
        Error { kind: ErrorKind::NotFound, ..error }
    } else {
        error
    }
}

/// Whether the volume's device is mounted there, or its node after the device was lost.
fn is_device_at(core: &Core, path: &Path, image: &Image) -> Result<bool> {
    if device::is_at(core, path, image).map_err(nowhere)? {
        return Ok(true);
    }
    let identity = |path: &Path| FileIdentity::of_path(path).ok();
    let node = identity(&core.places.node(image.id));
    Ok(node.is_some() && identity(path) == node && image_attach::own_device(image)?.is_none())
}

/// What is in a block device is its users' alone: only its image is looked at, and whether it is there.
fn of_device(
    core: &Core,
    row: &VolumeRow,
    image: &Image,
    there: Option<&AttachmentRow>,
) -> Result<VolumeStatistics> {
    let taken = image.taken().unwrap_or_default();
    let usage = NodeUsage::Block { capacity_bytes: image.size, allocated_bytes: taken };
    // One that is only kept ready may be exchanged at this moment; one that somebody has is not.
    let lost = if there.is_some_and(|there| there.staged) {
        lost::is_lost(core, image)
    } else {
        image_attach::own_device(image)?.is_none()
    };
    let target = there.filter(|there| !there.staged).and_then(|there| there.target.as_ref());
    let abnormal = match (health::examine(image), target) {
        (Err(error), _) => Some(error.to_string()),
        (Ok(()), _) if lost => {
            Some(lost::lost_by(row, &core.store.read(|r| attachments::of_volume(r, row.id))?))
        }
        (Ok(()), Some(target)) if !device::is_at(core, target, image)? => Some(no_longer_there(row, target)),
        (Ok(()), _) => None,
    };
    Ok(VolumeStatistics { usage, abnormal })
}

/// What is wrong, the gravest first.
fn abnormal(
    core: &Core,
    row: &VolumeRow,
    there: &AttachmentRow,
    usage: &VolumeUsage,
) -> Result<Option<String>> {
    if row.state == VolumeState::Error {
        let why = row.reason.as_deref().unwrap_or("its image is damaged");
        return Ok(Some(format!("volume {} is in error: {why}", row.title())));
    }
    if usage.stopped {
        return Ok(Some(format!(
            "the filesystem of volume {} met an error and takes no more writes; stop what uses it, then orlop volume fsck",
            row.title()
        )));
    }
    if let Some(errors) = usage.filesystem_errors.filter(|errors| *errors > 0) {
        return Ok(Some(format!(
            "the filesystem of volume {} has {errors} errors in its metadata; stop what uses it, then orlop volume fsck",
            row.title()
        )));
    }
    if !there.staged && !is_mounted(core, row, there)? {
        return Ok(Some(no_longer_there(row, there.target.as_deref().unwrap_or(Path::new("")))));
    }
    Ok(None)
}

fn no_longer_there(row: &VolumeRow, target: &Path) -> String {
    format!(
        "volume {} is not mounted on {} any more: somebody unmounted it; restart its pod",
        row.title(),
        target.display()
    )
}

fn is_mounted(core: &Core, row: &VolumeRow, there: &AttachmentRow) -> Result<bool> {
    let Some(target) = &there.target else { return Ok(false) };
    let Ok(place) = place(core, target) else { return Ok(false) };
    let Ok(Some(mounted)) = place.mounted() else { return Ok(false) };
    Ok(kernel::devices(&core.places, &core.image(row)?)?.contains(&mounted.device))
}
