//! Volumes that are there: listing, looking at, comparing and deleting them.

use orlop_engine::{Order, VolumeQuery, VolumeRef};
use orlop_model::{
    ErrorKind, Result, VolumeId,
    resource::{Deletion, Volume, VolumeState},
};

use crate::{
    access::Capability,
    describe,
    driver::{CALLER, Shared},
    error::Reply,
    parameters::{CLASS, MUTABLE, Parameters},
    protocol::{
        ControllerGetVolumeRequest, ControllerGetVolumeResponse, DeleteVolumeRequest, DeleteVolumeResponse,
        ListVolumesRequest, ListVolumesResponse, ValidateVolumeCapabilitiesRequest,
        ValidateVolumeCapabilitiesResponse, controller_get_volume_response, list_volumes_response,
        validate_volume_capabilities_response::Confirmed,
    },
    request::{known_volume, no_volume, volume_id},
    token::Page,
};

/// The volume of that id, where it is there for consumers to use.
pub(crate) fn find(shared: &Shared, id: VolumeId) -> Result<Volume> {
    let found = shared.engine.volume(&CALLER, &VolumeRef::Id(id))?;
    // Its data is retained, but to the orchestrator it is gone.
    if found.status.state == VolumeState::Released { Err(no_volume(&id.to_string())) } else { Ok(found) }
}

/// See the specification of `DeleteVolume`. Of what is not there it succeeds.
pub(super) fn delete(shared: &Shared, request: &DeleteVolumeRequest) -> Reply<DeleteVolumeResponse> {
    let Some(id) = volume_id("volume_id", &request.volume_id)? else { return Ok(DeleteVolumeResponse {}) };
    let gone = match find(shared, id) {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(DeleteVolumeResponse {}),
        Err(error) => Err(error),
        Ok(_) => shared.engine.delete(&CALLER, &VolumeRef::Id(id), false),
    };
    match gone {
        Ok(Deletion::Destroyed | Deletion::Released | Deletion::Deleting) => Ok(DeleteVolumeResponse {}),
        // Somebody else's deletion ended in between.
        Err(error) if find(shared, id).is_err_and(|error| error.kind == ErrorKind::NotFound) => {
            tracing::debug!(volume = %id, %error, "it was deleted meanwhile");
            Ok(DeleteVolumeResponse {})
        }
        Err(error) => Err(error.into()),
    }
}

/// See the specification of `ValidateVolumeCapabilities`.
pub(super) fn validate(
    shared: &Shared,
    request: ValidateVolumeCapabilitiesRequest,
) -> Reply<ValidateVolumeCapabilitiesResponse> {
    let id = volume_id("volume_id", &request.volume_id)?;
    let capabilities = Capability::all("volume_capabilities", &request.volume_capabilities)?;
    let volume = find(shared, id.ok_or_else(|| no_volume(&request.volume_id))?)?;
    Parameters::read("parameters", CLASS, &request.parameters)?;
    Parameters::read("mutable_parameters", MUTABLE, &request.mutable_parameters)?;
    let refused = capabilities.iter().find_map(|capability| capability.of(&volume).err());
    Ok(match refused {
        Some(error) => ValidateVolumeCapabilitiesResponse { confirmed: None, message: error.to_string() },
        None => ValidateVolumeCapabilitiesResponse {
            // What is not in it was not compared: a volume may have been changed since it was made with
            // these parameters.
            confirmed: Some(Confirmed {
                volume_context: request.volume_context,
                volume_capabilities: request.volume_capabilities,
                parameters: Default::default(),
                mutable_parameters: Default::default(),
            }),
            message: String::new(),
        },
    })
}

/// See the specification of `ListVolumes`: all volumes of this node that are not deleted, whoever made them.
pub(super) fn list(shared: &Shared, request: &ListVolumesRequest) -> Reply<ListVolumesResponse> {
    let page = Page::asked(request.max_entries, &request.starting_token)?;
    let (volumes, next_token) = page.collect(|limit, after| {
        let query = VolumeQuery { order: Order::ById, limit, after, ..VolumeQuery::default() };
        shared.engine.volumes(&CALLER, &query)
    })?;
    let entry = |volume: &Volume| list_volumes_response::Entry {
        volume: Some(describe::volume(&shared.node, volume, None)),
        status: Some(list_volumes_response::VolumeStatus {
            published_node_ids: Vec::new(),
            volume_condition: Some(describe::condition(volume)),
        }),
    };
    Ok(ListVolumesResponse { entries: volumes.iter().map(entry).collect(), next_token })
}

/// See the specification of `ControllerGetVolume`.
pub(super) fn get(
    shared: &Shared,
    request: &ControllerGetVolumeRequest,
) -> Reply<ControllerGetVolumeResponse> {
    let volume = find(shared, known_volume("volume_id", &request.volume_id)?)?;
    Ok(ControllerGetVolumeResponse {
        volume: Some(describe::volume(&shared.node, &volume, None)),
        status: Some(controller_get_volume_response::VolumeStatus {
            published_node_ids: Vec::new(),
            volume_condition: Some(describe::condition(&volume)),
        }),
    })
}
