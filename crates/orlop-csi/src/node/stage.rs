//! Keeping a volume ready for the consumers of this node.

use orlop_engine::StageRequest;

use crate::{
    access::Capability,
    controller::find,
    driver::{CALLER, Shared},
    error::Reply,
    protocol::{
        NodeStageVolumeRequest, NodeStageVolumeResponse, NodeUnstageVolumeRequest, NodeUnstageVolumeResponse,
    },
    request::{no_volume, path, said, volume_id},
    work::PATIENCE,
};

/// See the specification of `NodeStageVolume`.
pub(super) fn stage(shared: &Shared, request: &NodeStageVolumeRequest) -> Reply<NodeStageVolumeResponse> {
    let id = volume_id("volume_id", &request.volume_id)?;
    said("staging_target_path", &request.staging_target_path)?;
    let capability = Capability::read("volume_capability", request.volume_capability.as_ref())?;
    let id = id.ok_or_else(|| no_volume(&request.volume_id))?;
    let staging = path("staging_target_path", &request.staging_target_path)?;
    capability.of(&find(shared, id)?)?;
    let wish = StageRequest { volume: id, staging, form: capability.form(), access: capability.access() };
    shared.engine.stage(&CALLER, &wish, PATIENCE)?;
    Ok(NodeStageVolumeResponse {})
}

/// See the specification of `NodeUnstageVolume`. Of what is not staged it succeeds.
pub(super) fn unstage(
    shared: &Shared,
    request: &NodeUnstageVolumeRequest,
) -> Reply<NodeUnstageVolumeResponse> {
    let id = volume_id("volume_id", &request.volume_id)?;
    let staging = path("staging_target_path", &request.staging_target_path)?;
    if let Some(id) = id {
        shared.engine.unstage(&CALLER, id, &staging, PATIENCE)?;
    }
    Ok(NodeUnstageVolumeResponse {})
}
