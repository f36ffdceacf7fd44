//! How full a mounted volume is, and how its filesystem fares.

use orlop_model::{PoolName, Result, UsageSample, VolumeId, VolumeUsage};
use orlop_sys::mount;

use super::watch::KEPT;
use crate::{
    core::{self, Core},
    request::{VolumeKey, VolumeRef},
    store::{AttachedRow, samples},
};

/// What `df` and the kernel say, while it is mounted. Where it is not, `statfs` would speak of the host.
pub(crate) fn live(core: &Core, id: VolumeId) -> Option<VolumeUsage> {
    let found = mount::condition(&core.places.base(id)).ok()??;
    Some(VolumeUsage {
        seen_at: Core::now(),
        capacity_bytes: found.space.capacity,
        used_bytes: found.space.used,
        available_bytes: found.space.available,
        inodes: found.space.inodes,
        inodes_used: found.space.inodes_used,
        stopped: found.stopped,
        filesystem_errors: found.errors,
        filesystem_warnings: found.warnings,
    })
}

/// The samples of the last day, and what is seen now.
pub(crate) fn of_last_day(core: &Core, which: &VolumeRef) -> Result<Vec<UsageSample>> {
    let since = Core::now() - KEPT;
    let (id, mut samples) = core.store.read(|r| {
        let row = core::row(r, which)?;
        Ok((row.id, samples::since(r, row.id, since)?))
    })?;
    samples.extend(live(core, id).map(|now| UsageSample {
        at: now.seen_at,
        used_bytes: now.used_bytes,
        capacity_bytes: now.capacity_bytes,
    }));
    Ok(samples)
}

/// The same of all volumes that somebody uses, for figures with labels.
pub(crate) fn of_attached(
    core: &Core,
    attached: Vec<AttachedRow>,
) -> Vec<(VolumeKey, PoolName, VolumeUsage)> {
    let seen = attached.into_iter().filter_map(|row| Some((row.key, row.pool, live(core, row.id)?)));
    seen.collect()
}
