//! Whether anybody uses a volume, asked of the records and of the kernel in every mount namespace, for
//! work that needs it alone.

use orlop_model::{Error, ErrorKind, Result};

use crate::{
    attachment::{
        attach::users,
        detach::{self, Released},
        stale,
    },
    backend::image::Image,
    core::{Core, object},
    request::Caller,
    store::VolumeRow,
};

/// Whoever has the volume, in words. Where nobody has, it is not mounted afterwards. The caller holds
/// its lock.
pub(crate) fn user(
    core: &Core,
    caller: Option<&Caller>,
    row: &VolumeRow,
    image: &Image,
) -> Result<Option<String>> {
    let survey = stale::survey(core, caller, row, image)?;
    if !survey.attachments.is_empty() || !survey.lingerers().is_empty() {
        return Ok(Some(users(&survey)));
    }
    Ok(match detach::take_down(core, row, image)? {
        Released::Free => None,
        Released::Held(who) => Some(who),
    })
}

/// Refuses a volume that somebody uses, with `hint` for what to do.
///
/// # Errors
/// [`ErrorKind::InUse`], naming who it is.
pub(crate) fn unused(core: &Core, caller: &Caller, row: &VolumeRow, image: &Image, hint: &str) -> Result<()> {
    match user(core, Some(caller), row, image)? {
        None => Ok(()),
        Some(who) => Err(Error::new(ErrorKind::InUse, format!("volume {} is in use by {who}", row.title()))
            .object(object(row))
            .hint(hint)),
    }
}
