//! `orlop mount`: a volume onto a directory of the host, and off it.
//!
//! The directory is the user's, and could be exchanged for a symbolic link at any moment: it is
//! opened once, checked, and mounted on through that descriptor, never by its path again.

use std::path::Path;

use orlop_model::{Error, ErrorKind, MountAccess, Result, resource::Front};
use orlop_sys::{
    DeviceNumber, SysError,
    target::{self, TargetPlace},
};

use super::{
    access::Access,
    attach::{self, Consumer, Place},
    detach::{self, Leave},
    kernel, node,
    place::Places,
    stale,
};
use crate::{
    authority,
    backend::image::Image,
    core::{Core, object},
    host,
    locks::{Deadline, Lock},
    request::{Attached, Caller, Form, MountRequest, VolumeRef},
    store::{AttachmentRow, attachments, pools},
};

/// See [`crate::Engine::mount`].
pub(crate) fn mount(core: &Core, caller: &Caller, request: &MountRequest) -> Result<Attached> {
    let row = core.row(&request.volume)?;
    core.authorise(caller, &row)?;
    let read_only_mode = row.manifest.volume.access_mode == orlop_model::AccessMode::ReadOnlyMany;
    let access = match request.access {
        MountAccess::ByMode => Access::ByMode,
        MountAccess::ReadOnly => Access::ReadOnly,
        MountAccess::ReadWrite => Access::Fill,
    };
    if access == Access::Fill && read_only_mode {
        authority::own_volume(caller, row.owner_uid, &row.title())?;
    }
    let _held = core.locks.take(Lock::Volume(row.id), Deadline::usual())?;
    let row = core.again(row.id)?;
    let unusable = |error| unusable(&error, &request.target);
    let place = target::open_place(&request.target).map_err(unusable)?;
    apart(core, place.path())?;
    if let Some(there) = core.store.read(|r| attachments::by_target(r, &core.config.node, place.path()))?
        && place.mounted().map_err(unusable)?.is_some()
    {
        let wanted = match access {
            Access::ByMode => read_only_mode,
            Access::ReadOnly => true,
            Access::Fill => false,
        };
        if there.volume == row.id && there.read_only == wanted {
            return Ok(Attached { path: place.path().to_owned(), read_only: there.read_only });
        }
        return Err(Error::new(
            ErrorKind::InUse,
            format!("{} has a volume mounted already, by {}", place.path().display(), there.consumer),
        )
        .hint("unmount it first: orlop unmount DIR; or name another directory"));
    }
    forget_unmounted(core, caller, &place)?;
    let owner = (caller.uid != 0).then_some(caller.uid);
    let target = target::open_target(place.path(), owner).map_err(unusable)?;
    let scope = format!("host:{}", target.path().display());
    let user = orlop_sys::user::user_name(caller.uid).unwrap_or_else(|| format!("uid {}", caller.uid));
    let name = format!("host mount {} of {user}", target.path().display());
    let consumer = Consumer {
        front: Front::Host,
        scope: &scope,
        shared: false,
        may_go_stale: false,
        name: &name,
        access,
        known_as: None,
        place: Place::Target(&target),
        form: Form::default(),
    };
    attach::grant(core, caller, &row, &consumer)
}

/// See [`crate::Engine::unmount`].
pub(crate) fn unmount(core: &Core, caller: &Caller, path: &Path) -> Result<()> {
    let place = match target::open_place(path) {
        Err(error) if error.is_not_found() => return Err(not_ours(path, false)),
        place => place.map_err(|error| unusable(&error, path))?,
    };
    let mounted = match place.mounted() {
        Err(error) if error.is_not_found() => false,
        found => found.map_err(|error| unusable(&error, path))?.is_some(),
    };
    let found = core.store.read(|r| attachments::by_target(r, &core.config.node, place.path()))?;
    let Some(attachment) = found else {
        return Err(not_ours(place.path(), mounted));
    };
    if attachment.front != Front::Host {
        return Err(others(&attachment, place.path()));
    }
    let row = core.row(&VolumeRef::Id(attachment.volume))?;
    core.authorise(caller, &row)?;
    let _held = core.locks.take(Lock::Volume(row.id), Deadline::usual())?;
    let row = core.again(row.id)?;
    let now = core.store.read(|r| attachments::by_target(r, &core.config.node, place.path()))?;
    // Somebody else ended it meanwhile.
    let Some(attachment) = now.filter(|now| now.id == attachment.id) else { return Ok(()) };
    let image = core.image(&row)?;
    detach::end(core, caller, &row, &image, attachment, Leave::WithWord, || unbind(core, &place, &image))?;
    if mounted {
        return Ok(());
    }
    // Somebody unmounted it by hand, or moved it: then it is in use all the same.
    let survey = stale::survey(core, Some(caller), &row, &image)?;
    match survey.lingerers().first() {
        None => Ok(()),
        Some(lingerer) => Err(Error::new(
            ErrorKind::InUse,
            format!(
                "nothing was mounted on {} any more, but volume {} is in use by {lingerer}",
                place.path().display(),
                row.title()
            ),
        )
        .object(object(&row))
        .hint(lingerer.remedy())),
    }
}

/// The error for a directory that no record names.
fn not_ours(path: &Path, mounted: bool) -> Error {
    let path = path.display();
    if mounted {
        return Error::new(
            ErrorKind::NotFound,
            format!("what is mounted on {path} was not mounted there by orlop"),
        )
        .hint(format!("end it with `umount {path}`, also where it is a volume that was moved there"));
    }
    Error::new(ErrorKind::NotFound, format!("no volume is mounted on {path}"))
        .hint("orlop get -t volume -a -d shows where volumes are mounted")
}

/// The error for a directory that an orchestrator named.
fn others(attachment: &AttachmentRow, path: &Path) -> Error {
    Error::new(
        ErrorKind::InUse,
        format!("{} has a volume for {}, not for a host mount", path.display(), attachment.consumer),
    )
    .hint("let the orchestrator end it: delete the pod that uses it")
}

/// The error for a directory that the user named and that can't be used.
fn unusable(error: &SysError, path: &Path) -> Error {
    let shown = path.display().to_string();
    if error.is_not_found() {
        return Error::new(ErrorKind::InvalidArgument, format!("there is no directory {shown}"))
            .hint(format!("make it first: mkdir -p {shown}"));
    }
    let mut failed = host::failure(error, &shown);
    if error.to_string().contains(&shown) {
        failed.message = error.to_string();
    }
    failed
}

/// Unmounts a target of that volume. That it is not mounted, or something else is, is no error: the
/// consumer is gone.
pub(crate) fn unbind(core: &Core, place: &TargetPlace, image: &Image) -> Result<()> {
    if image.is_device() {
        return node::device::unbind(core, place, image);
    }
    for device in kernel::devices(&core.places, image)? {
        unmount_one(place, device, &image.object)?;
    }
    Ok(())
}

fn unmount_one(place: &TargetPlace, device: DeviceNumber, object: &str) -> Result<()> {
    match place.unmount(device) {
        Ok(())
        | Err(SysError::NotMounted { .. } | SysError::WrongDevice { .. } | SysError::NotFound { .. }) => {
            Ok(())
        }
        Err(SysError::Busy { .. }) => {
            let users = kernel::users_of(place.path(), 5);
            let who = if users.is_empty() { "something".to_owned() } else { users.join(", ") };
            Err(Error::new(
                ErrorKind::InUse,
                format!("{}: {who} still uses {}", object, place.path().display()),
            )
            .object(object)
            .hint("end it, or let it leave the directory, then unmount again"))
        }
        Err(error) => Err(host::failure(&error, object)),
    }
}

/// A record of a target that somebody unmounted by hand would stand in the way of the new one.
fn forget_unmounted(core: &Core, caller: &Caller, place: &TargetPlace) -> Result<()> {
    let Some(there) = core.store.read(|r| attachments::by_target(r, &core.config.node, place.path()))? else {
        return Ok(());
    };
    let row = core.row(&VolumeRef::Id(there.volume))?;
    let gone: Vec<AttachmentRow> = vec![there];
    stale::drop_all(core, Some(caller), &row, gone, "its directory was unmounted by somebody else")
}

/// Not in our own directories: a volume mounted there would hide others.
fn apart(core: &Core, path: &Path) -> Result<()> {
    let mut own = vec![core.state_dir.clone(), core.places.root().to_owned()];
    own.extend(core.node_root.as_ref().map(|root| root.path().to_owned()));
    own.extend(core.store.read(pools::all)?.into_iter().map(|pool| pool.path));
    if own.iter().any(|own| Places::overlaps(path, own)) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{} overlaps with a directory of orlop itself", path.display()),
        )
        .hint("name a directory elsewhere"));
    }
    Ok(())
}
