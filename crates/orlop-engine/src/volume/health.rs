//! Whether images are as they should be, looked at from time to time and when something is suspected.
//!
//! What one look at the file can tell is told at once. Whether a filesystem mounts is tried out only
//! where the volume is in `error` and its file changed for the better.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::state;
use crate::{
    attachment::{attach, detach},
    backend::image::{Image, attach as image_attach, health},
    core::Core,
    locks::Lock,
    pool,
    store::{VolumeRow, attachments, operations, volumes},
};
use orlop_model::{ErrorKind, Result, VolumeId, resource::VolumeState};

/// What was found out, for as long as it matters.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Volumes in `error` whose file is whole and whose filesystem would not mount: another attempt
    /// would take as long and end the same.
    unmountable: Mutex<BTreeSet<VolumeId>>,
    /// Why volumes whose time is over could not be purged, as it was told.
    unpurged: Mutex<BTreeMap<VolumeId, String>>,
}

impl Watch {
    /// It may mount now.
    pub(crate) fn forget(&self, id: VolumeId) {
        self.unmountable().remove(&id);
    }

    /// It could not be purged for that reason; says whether that is news.
    pub(super) fn unpurged(&self, id: VolumeId, why: &str) -> bool {
        let mut told = self.unpurged.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(id, why.to_owned()).as_deref() != Some(why)
    }

    /// It is being purged.
    pub(super) fn purged(&self, id: VolumeId) {
        self.unpurged.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    fn unmountable(&self) -> MutexGuard<'_, BTreeSet<VolumeId>> {
        self.unmountable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at one volume and records what it sees. Where somebody works on it, he will see for himself.
pub(crate) fn look(core: &Core, row: &VolumeRow) {
    // The usual case, without a lock: nothing to record.
    let whole = core.image(row).is_ok_and(|image| health::examine(&image).is_ok());
    let mounted =
        orlop_sys::mount::mounted_at(&core.places.base(row.id)).is_ok_and(|mounted| mounted.is_some());
    if whole && !mounted && row.state == VolumeState::Active {
        return;
    }
    let Some(_held) = core.locks.try_take(Lock::Volume(row.id)) else { return };
    if let Err(error) = look_locked(core, row.id) {
        tracing::debug!(volume = row.title(), %error, "could not look at an image");
    }
}

fn look_locked(core: &Core, id: VolumeId) -> Result<()> {
    let (row, busy, used) = core.store.read(|r| {
        let busy = !operations::of_volume(r, id)?.is_empty();
        Ok((volumes::by_id(r, id)?, busy, !attachments::of_volume(r, id)?.is_empty()))
    })?;
    let Some(row) = row.filter(|_| !busy) else { return Ok(()) };
    pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let image = core.image(&row)?;
    if row.state == VolumeState::Active && !used {
        // The records of its last users were dropped, as they had gone without a word.
        detach::take_down(core, &row, &image)?;
    }
    let found = match row.state {
        VolumeState::Pending | VolumeState::Deleting => return Ok(()),
        VolumeState::Released => health::examine(&image),
        VolumeState::Active => health::examine(&image).and_then(|()| works(core, &image)),
        VolumeState::Error => match health::examine(&image) {
            Ok(()) if core.watch.unmountable().contains(&id) => return Ok(()),
            Ok(()) if used => works(core, &image),
            Ok(()) => mounts(core, &row, &image),
            Err(error) => {
                core.watch.unmountable().remove(&id);
                Err(error)
            }
        },
    };
    match found {
        Ok(()) => state::restored(core, &row),
        Err(error) if error.kind == ErrorKind::Damaged => state::damaged(core, &row, &error),
        Err(error) => Err(error),
    }
}

/// Whether what is mounted is this image and met no error. Nothing mounted is as it should be.
fn works(core: &Core, image: &Image) -> Result<()> {
    let base = core.places.base(image.id);
    let Some(device) = image_attach::staged(image, &base)? else { return Ok(()) };
    // First: of a filesystem that shut down nothing can be read.
    health::is_sound(image, &base)?;
    image_attach::confirm(image, &base, device)
}

/// Whether the filesystem mounts, by trying it.
pub(crate) fn mounts(core: &Core, row: &VolumeRow, image: &Image) -> Result<()> {
    let tried = attach::stage(core, row, image);
    detach::take_down(core, row, image)?;
    if matches!(&tried, Err(error) if error.kind == ErrorKind::Damaged) {
        core.watch.unmountable().insert(image.id);
    }
    tried.map(drop)
}
