//! A volume where one consumer of an orchestrator gets it, and off it again.
//!
//! The directory is made here, in one that has to be there, and goes again by `rmdir`: what somebody
//! wrote into it while nothing was mounted is never removed. For a block device it is an empty file.

use std::path::Path;

use orlop_model::{AccessMode, Error, ErrorKind, Result, VolumeId, VolumeMode, resource::Front};
use orlop_sys::{SysError, error::TargetRefusal, target::TargetPlace};

use super::{device, is_alone, path_of, place, root, scope, settled, stage, unusable};
use crate::{
    attachment::{
        access::{self, Access},
        attach::{self, Consumer, Place},
        detach::{self, Leave},
        host_mount, kernel, stale,
    },
    backend::image::Image,
    core::{Core, object, usable},
    fault::{self, Point},
    locks::{Deadline, Lock},
    request::{Caller, PublishRequest, VolumeRef},
    store::{AttachmentRow, VolumeRow, attachments, volumes},
};

/// The mode of a directory that is made to be mounted on.
const DIRECTORY_MODE: u32 = 0o750;
/// The mode of a file that is made for a block device.
const FILE_MODE: u32 = 0o600;

/// See [`crate::Engine::publish`].
pub(crate) fn publish(
    core: &Core,
    caller: &Caller,
    request: &PublishRequest,
    deadline: Deadline,
) -> Result<()> {
    let row = core.row(&VolumeRef::Id(request.volume))?;
    core.authorise(caller, &row)?;
    let path = path_of(core, &request.target)?;
    let staging = request.staging.as_deref().map(|staging| path_of(core, staging)).transpose()?;
    let _target = core.locks.take(Lock::Target(path.clone()), deadline)?;
    let _held = core.locks.take(Lock::Volume(row.id), deadline)?;
    let row = core.again(row.id)?;
    usable(&row)?;
    let image = core.image(&row)?;
    let form = settled(&row, &request.form)?;
    let scope = scope(core, &row, request.access, &path);
    let place = place(core, &path)?;
    if let Some(there) = core.store.read(|r| attachments::by_target(r, &core.config.node, &path))? {
        if there.staged || is_mounted(core, &there, &place)? {
            let read_only = request.read_only || row.manifest.volume.access_mode == AccessMode::ReadOnlyMany;
            let same = there.volume == row.id
                && !there.staged
                && there.form == form
                && there.scope == scope
                && there.read_only == read_only;
            return if same { Ok(()) } else { Err(stage::taken(&row, &there, &path)) };
        }
        let owner = core.row(&VolumeRef::Id(there.volume))?;
        stale::drop_all(
            core,
            Some(caller),
            &owner,
            vec![there],
            "its target was unmounted by somebody else",
        )?;
    }
    alone(core, caller, &row, &image, &scope)?;
    if image.is_device() {
        alike(core, caller, &row, &image, request.read_only)?;
    }
    if let Some(staging) = &staging
        && !is_staged(core, &row, staging)?
    {
        stage::keep(core, caller, &row, staging, &request.form)?;
    }
    // Left behind by an attempt that nobody was told of.
    host_mount::unbind(core, &place, &image)?;
    let unusable = |error| unusable(&error, &path);
    let made = if image.is_device() {
        place.make_file(FILE_MODE).map_err(unusable)?
    } else {
        place.make_directory(DIRECTORY_MODE).map_err(unusable)?
    };
    let grant = |place: Place<'_>| {
        let consumer = Consumer {
            front: Front::Csi,
            scope: &scope,
            shared: false,
            may_go_stale: false,
            name: &request.consumer,
            access: if request.read_only { Access::ReadOnly } else { Access::ByMode },
            known_as: None,
            place,
            form,
        };
        attach::grant(core, caller, &row, &consumer).map(drop)
    };
    let done = fault::point(Point::PublishMade).and_then(|()| {
        if image.is_device() {
            return grant(Place::File(&place.open_file().map_err(unusable)?));
        }
        grant(Place::Target(&super::place(core, &path)?.open(None).map_err(unusable)?))
    });
    if done.is_err()
        && made
        && let Err(error) = remove(&place, image.is_device())
    {
        tracing::debug!(path = %path.display(), %error, "what was made to be mounted on stays");
    }
    done
}

/// Whether that volume was made ready for there.
fn is_staged(core: &Core, row: &VolumeRow, staging: &Path) -> Result<bool> {
    let found = core.store.read(|r| attachments::by_target(r, &core.config.node, staging))?;
    Ok(found.is_some_and(|found| found.staged && found.volume == row.id))
}

/// Removes the directory that was made to be mounted on, or the file where it may have been for a block
/// device. It has to be empty.
fn remove(place: &TargetPlace, or_file: bool) -> orlop_sys::Result<bool> {
    match place.remove_directory() {
        Err(SysError::TargetRefused { reason: TargetRefusal::NotADirectory, .. }) if or_file => {
            place.remove_file()
        }
        other => other,
    }
}

/// Whether what is recorded of a target is there. What else may be mounted on it is not.
fn is_mounted(core: &Core, there: &AttachmentRow, place: &TargetPlace) -> Result<bool> {
    let row = core.row(&VolumeRef::Id(there.volume))?;
    let image = core.image(&row)?;
    if image.is_device() {
        return device::is_at(core, place.path(), &image);
    }
    let mounted = match place.mounted() {
        Err(error) if error.is_not_found() => None,
        found => found.map_err(|error| unusable(&error, place.path()))?,
    };
    let Some(mounted) = mounted else { return Ok(false) };
    Ok(kernel::devices(&core.places, &image)?.contains(&mounted.device))
}

/// A block device takes writes or refuses them, for all who have it.
fn alike(core: &Core, caller: &Caller, row: &VolumeRow, image: &Image, read_only: bool) -> Result<()> {
    let read_only = read_only || row.manifest.volume.access_mode == AccessMode::ReadOnlyMany;
    let other = |recorded: &[AttachmentRow]| -> Option<AttachmentRow> {
        recorded.iter().find(|other| !other.staged && other.read_only != read_only).cloned()
    };
    if other(&core.store.read(|r| attachments::of_volume(r, row.id))?).is_none() {
        return Ok(());
    }
    let survey = stale::survey(core, Some(caller), row, image)?;
    let Some(other) = other(&survey.attachments) else { return Ok(()) };
    let has = if other.read_only { "only reads" } else { "writes" };
    Err(Error::new(
        ErrorKind::AccessRefused,
        format!(
            "volume {} is a block device, which takes writes or refuses them for all who have it, and {} {has}",
            row.title(),
            other.consumer
        ),
    )
    .object(object(row))
    .hint("end that one first, or let both do the same"))
}

/// Refuses where a consumer of this node has the volume for itself alone, or wants it so while others
/// have it. What other fronts may is the access mode's to say.
fn alone(core: &Core, caller: &Caller, row: &VolumeRow, image: &Image, scope: &str) -> Result<()> {
    let against = |recorded: &[AttachmentRow]| -> Vec<AttachmentRow> {
        let others = recorded.iter().filter(|other| other.front == Front::Csi && !other.staged);
        others.filter(|other| is_alone(scope) || is_alone(&other.scope)).cloned().collect()
    };
    let recorded = core.store.read(|r| attachments::of_volume(r, row.id))?;
    if against(&recorded).is_empty() {
        return Ok(());
    }
    let survey = stale::survey(core, Some(caller), row, image)?;
    let against = against(&survey.attachments);
    if against.is_empty() {
        return Ok(());
    }
    let holders: Vec<_> = against.iter().map(AttachmentRow::holder).collect();
    Err(Error::new(
        ErrorKind::AccessRefused,
        format!(
            "volume {} is had by {}, and one of the two is to have it alone",
            row.title(),
            access::names(&holders, &[])
        ),
    )
    .object(object(row))
    .hint("end that one first; or let both ask for an access mode of many writers"))
}

/// The error for a target that stays.
fn unremovable(error: &SysError, path: &Path) -> Error {
    let SysError::TargetRefused { reason: TargetRefusal::NotEmpty, .. } = error else {
        return unusable(error, path);
    };
    let path = path.display().to_string();
    let message = format!("{path} is not empty: something was written there while no volume was mounted");
    Error::new(ErrorKind::Host, message).object(path).hint("look what it is, and move it away")
}

/// See [`crate::Engine::unpublish`].
pub(crate) fn unpublish(
    core: &Core,
    caller: &Caller,
    volume: VolumeId,
    target: &Path,
    deadline: Deadline,
) -> Result<()> {
    let path = path_of(core, target)?;
    let _target = core.locks.take(Lock::Target(path.clone()), deadline)?;
    let _held = core.locks.take(Lock::Volume(volume), deadline)?;
    let (row, found) = core
        .store
        .read(|r| Ok((volumes::by_id(r, volume)?, attachments::by_target(r, &core.config.node, &path)?)))?;
    if found.as_ref().is_some_and(|found| found.volume != volume || found.staged) {
        // That volume is not there, and what is there is not asked about.
        return Ok(());
    }
    let place = match root(core)?.place(&path) {
        Err(error) if error.is_not_found() => None,
        place => Some(place.map_err(|error| unusable(&error, &path))?),
    };
    // Of a volume that is gone it is not known what it was.
    let or_file = row.as_ref().is_none_or(|row| row.manifest.volume.volume_mode == VolumeMode::Block);
    if let Some(row) = row {
        core.authorise(caller, &row)?;
        let image = core.image(&row)?;
        let unbind = || place.as_ref().map_or(Ok(()), |place| host_mount::unbind(core, place, &image));
        match found {
            Some(attachment) => {
                detach::end(core, caller, &row, &image, attachment, Leave::WithWord, unbind)?;
            }
            // Left behind by a crash, or by an attempt that nobody was told of.
            None => unbind()?,
        }
    }
    let Some(place) = place else { return Ok(()) };
    remove(&place, or_file).map_err(|error| unremovable(&error, &path))?;
    fault::point(Point::UnpublishRemoved)
}
