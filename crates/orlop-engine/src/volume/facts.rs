//! What a change of size depends on, asked of the kernel and of the image.

use std::time::Duration;

use orlop_model::{FilesystemKind, Result, Size};
use orlop_sys::{
    filesystem::least_ext4,
    host::{Capability, has_capability},
};

use super::plan::Facts;
use crate::{
    attachment::{attach::users, stale},
    core::Core,
    format::Placement,
    host::On,
    pool,
    request::Caller,
    store::VolumeRow,
};

/// It reads the block groups' descriptors.
const ESTIMATE_LIMIT: Duration = Duration::from_secs(60);

/// Gathers them where the size is to change. The caller holds the volume's lock.
pub(crate) fn gather(core: &Core, caller: &Caller, row: &VolumeRow, size: Size) -> Result<Facts> {
    if size == row.manifest.volume.size {
        return Ok(Facts::default());
    }
    pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let image = core.image(row)?;
    let survey = stale::survey(core, Some(caller), row, &image)?;
    let used = !survey.attachments.is_empty() || !survey.lingerers().is_empty();
    let Placement::Image(placement) = &row.placement.detail;
    let is_ext4 = placement.filesystem().is_some_and(|it| it.kind == FilesystemKind::Ext4);
    let shrinks = size < row.manifest.volume.size && is_ext4;
    // Without an estimate it is tried, on a copy.
    let least = if shrinks && !used { least_ext4(image.path(), ESTIMATE_LIMIT).ok() } else { None };
    Ok(Facts {
        users: used.then(|| users(&survey)),
        grows_mounted_ext4: has_capability(Capability::SysResource).on(&image.object)?,
        least,
    })
}
