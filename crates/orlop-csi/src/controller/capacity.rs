//! How much can still be provisioned here.

use orlop_model::{ErrorKind, FilesystemChoice, FilesystemKind, PoolName, Result, Size};

use crate::{
    access::{Capability, Wanted, one_of},
    describe::bytes,
    driver::{CALLER, Shared},
    error::Reply,
    parameters::{CLASS, Parameters},
    protocol::{GetCapacityRequest, GetCapacityResponse, VolumeCapability},
};

/// See the specification of `GetCapacity`. A pool that this node does not have has no room here.
pub(super) fn get(shared: &Shared, request: &GetCapacityRequest) -> Reply<GetCapacityResponse> {
    let mut parameters = Parameters::read("parameters", CLASS, &request.parameters)?;
    let least = least(&mut parameters, &request.volume_capabilities)?;
    let here = request.accessible_topology.as_ref().is_none_or(|place| shared.node.is_in(place));
    let pool = parameters.pool.unwrap_or_else(PoolName::default_pool);
    let available = match (least, shared.engine.pool(&CALLER, &pool)) {
        (Some(_), Ok(pool)) if here => whole(pool.available.bytes()),
        (Some(_) | None, Ok(_)) => 0,
        (_, Err(error)) if error.kind == ErrorKind::NotFound => 0,
        (_, Err(error)) => return Err(error.into()),
    };
    Ok(GetCapacityResponse {
        available_capacity: bytes(available),
        maximum_volume_size: Some(bytes(available)),
        minimum_volume_size: least.map(|size| bytes(size.bytes())),
    })
}

/// The least size of such a volume; `None` where there can be none.
fn least(parameters: &mut Parameters, capabilities: &[VolumeCapability]) -> Result<Option<Size>> {
    if !capabilities.is_empty() {
        let capabilities = Capability::all("volume_capabilities", capabilities)?;
        let Ok(wanted) = Wanted::of(&capabilities, parameters.node_scope) else { return Ok(None) };
        parameters.keep_for(wanted.volume_mode);
        parameters.filesystem = Some(one_of(wanted.filesystem, parameters.filesystem.unwrap_or_default())?);
    }
    Ok(Some(match parameters.filesystem.unwrap_or_default() {
        FilesystemChoice::Xfs => FilesystemKind::XFS_LEAST,
        FilesystemChoice::Auto | FilesystemChoice::Ext4 => Size::LEAST,
    }))
}

/// Sizes are rounded up to whole blocks, and what is promised here has to be had after that.
fn whole(bytes: u64) -> u64 {
    bytes - bytes % orlop_model::rules::BLOCK
}
