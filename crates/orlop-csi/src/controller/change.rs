//! Changing a volume that is there: its size, and the parameters that may change.

use orlop_engine::Amendment;
use orlop_model::{Period, Result, resource::Volume};

use super::volumes::find;
use crate::{
    access::Capability,
    describe::bytes,
    driver::{CALLER, Shared},
    error::Reply,
    parameters::{MUTABLE, Parameters},
    protocol::{
        ControllerExpandVolumeRequest, ControllerExpandVolumeResponse, ControllerModifyVolumeRequest,
        ControllerModifyVolumeResponse,
    },
    request::{given, known_volume, missing, sizes},
    work::PATIENCE,
};

/// See the specification of `ControllerExpandVolume`. Image, device and filesystem grow at once, whether
/// somebody uses them or not: nothing is left for the node to do. What is in a block device is its users'.
pub(super) fn expand(
    shared: &Shared,
    request: &ControllerExpandVolumeRequest,
) -> Reply<ControllerExpandVolumeResponse> {
    let id = known_volume("volume_id", &request.volume_id)?;
    let size = sizes(Some(given("capacity_range", request.capacity_range.as_ref())?))?;
    if size.least.or(size.most).is_none() {
        return Err(missing("capacity_range.required_bytes").into());
    }
    Capability::of_grown(request.volume_capability.as_ref(), &find(shared, id)?)?;
    let amendment = Amendment { size: Some(size), ..Amendment::default() };
    let grown = shared.engine.amend(&CALLER, id, &amendment, PATIENCE)?.resource;
    Ok(ControllerExpandVolumeResponse {
        capacity_bytes: bytes(grown.manifest.volume.size.bytes()),
        node_expansion_required: false,
    })
}

/// See the specification of `ControllerModifyVolume`.
pub(super) fn modify(
    shared: &Shared,
    request: &ControllerModifyVolumeRequest,
) -> Reply<ControllerModifyVolumeResponse> {
    let id = known_volume("volume_id", &request.volume_id)?;
    let volume = find(shared, id)?;
    if request.mutable_parameters.is_empty() {
        return Err(missing("mutable_parameters").into());
    }
    let parameters = Parameters::read("mutable_parameters", MUTABLE, &request.mutable_parameters)?;
    shared.engine.amend(&CALLER, id, &amendment(parameters, &volume)?, PATIENCE)?;
    Ok(ControllerModifyVolumeResponse {})
}

fn amendment(parameters: Parameters, volume: &Volume) -> Result<Amendment> {
    let scratch = parameters.volume_type.is_some_and(|kind| !kind.retains());
    // As for a new one: scratch is not wiped by itself where nobody says when.
    let unsaid = (scratch && volume.manifest.volume.volume_type.retains()).then_some(Period::Never);
    Ok(Amendment {
        size: None,
        volume_type: parameters.volume_type,
        temp_grace_period: parameters.temp_grace_period.or(unsaid),
        mount_options: parameters.mount_options,
        protection: parameters.protection,
        uid: parameters.uid,
        gid: parameters.gid,
        mode: parameters.mode,
    })
}
