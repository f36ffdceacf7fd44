//! Single fields of a volume by id, whatever the others are: read and changed under one lock, so that two
//! who change different fields don't undo each other.

use orlop_model::{Result, Size, VolumeId, VolumeManifest, resource::Volume};

use super::{apply, plan, provision};
use crate::{
    core::{Core, usable},
    locks::{Deadline, Lock},
    reconcile,
    request::{Amendment, Applied, Caller, SizeRange, VolumeRef},
    store::VolumeRow,
};

/// See [`crate::Engine::amend`].
pub(crate) fn amend(
    core: &Core,
    caller: &Caller,
    id: VolumeId,
    amendment: &Amendment,
    deadline: Deadline,
) -> Result<Applied<Volume>> {
    let row = core.row(&VolumeRef::Id(id))?;
    core.authorise(caller, &row)?;
    let _held = core.locks.take(Lock::Volume(id), deadline)?;
    let row = core.again(id)?;
    usable(&row)?;
    let row = reconcile::leftovers::settled(core, row)?;
    let manifest = amended(&row, amendment)?;
    plan::check(&manifest.volume, core.node_root.is_some())?;
    let plan = apply::assess(core, caller, &row, &manifest)?;
    apply::carry_out(core, caller, row, plan)
}

fn amended(row: &VolumeRow, amendment: &Amendment) -> Result<VolumeManifest> {
    let Amendment { size, volume_type, temp_grace_period, mount_options, protection, uid, gid, mode } =
        amendment;
    let mut manifest = row.manifest.clone();
    let spec = &mut manifest.volume;
    if let Some(range) = size {
        spec.size = grown(row.placement.size, *range)?;
    }
    spec.volume_type = volume_type.unwrap_or(spec.volume_type);
    spec.temp_grace_period = match temp_grace_period {
        Some(period) => Some(*period),
        None if spec.volume_type.retains() => None,
        None => spec.temp_grace_period,
    };
    if let Some(options) = mount_options {
        spec.mount_options.clone_from(options);
    }
    spec.protection = protection.unwrap_or(spec.protection);
    spec.uid = uid.or(spec.uid);
    spec.gid = gid.or(spec.gid);
    spec.mode = mode.or(spec.mode);
    Ok(manifest)
}

/// The size that a volume grows to.
fn grown(is: Size, range: SizeRange) -> Result<Size> {
    let SizeRange { least, most } = range;
    let wanted = least.map_or(is, |least| least.max(is));
    if let Some(most) = most.filter(|most| *most < wanted) {
        return Err(provision::out_of_range(
            format!("at most {most} are allowed, and the volume has to have {wanted}"),
            "a volume does not shrink this way: allow more".to_owned(),
        ));
    }
    Ok(if wanted == is { is } else { provision::whole(wanted, most) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_grows_and_never_shrinks() {
        let size = Size::from_bytes;
        for (least, most, becomes) in [
            (None, None, Some(8192)),
            (Some(1), None, Some(8192)),
            (Some(8193), None, Some(12288)),
            (Some(8193), Some(8193), Some(8193)),
            (Some(8192), Some(8192), Some(8192)),
            (None, Some(8191), None),
            (Some(9000), Some(8999), None),
        ] {
            let range = SizeRange { least: least.map(size), most: most.map(size) };
            assert_eq!(grown(size(8192), range).ok(), becomes.map(size), "{range:?}");
        }
    }
}
