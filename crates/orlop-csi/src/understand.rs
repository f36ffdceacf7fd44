//! What can be told of a message without an engine: whether it can be read, and whether it says something
//! that could be done. Each call begins with the same checks.

use prost::Message;

use crate::{
    access::Capability,
    controller::{snapshot_wish, volume_wish},
    error::Refusal,
    group::group_wish,
    node::inline_wish,
    parameters::{CLASS, MUTABLE, Parameters},
    protocol::{
        ControllerExpandVolumeRequest, ControllerModifyVolumeRequest, CreateSnapshotRequest,
        CreateVolumeGroupSnapshotRequest, CreateVolumeRequest, GetCapacityRequest, ListSnapshotsRequest,
        ListVolumesRequest, NodePublishVolumeRequest, NodeStageVolumeRequest,
        ValidateVolumeCapabilitiesRequest,
    },
    request::{invalid, known_volume, path, sizes},
    token::Page,
};

/// Reads the message of a call and checks it.
///
/// # Errors
/// The line with which it would be refused.
pub fn understand(call: &str, body: &[u8]) -> Result<(), String> {
    check(call, body).map_err(|refusal| refusal.line())
}

fn check(call: &str, body: &[u8]) -> Result<(), Refusal> {
    match call {
        "CreateVolume" => drop(volume_wish(&read::<CreateVolumeRequest>(body)?)?),
        "CreateSnapshot" => drop(snapshot_wish(&read::<CreateSnapshotRequest>(body)?)?),
        "CreateVolumeGroupSnapshot" => drop(group_wish(&read::<CreateVolumeGroupSnapshotRequest>(body)?)?),
        "ValidateVolumeCapabilities" => {
            let request: ValidateVolumeCapabilitiesRequest = read(body)?;
            Capability::all("volume_capabilities", &request.volume_capabilities)?;
            Parameters::read("parameters", CLASS, &request.parameters)?;
        }
        "ListVolumes" => {
            let request: ListVolumesRequest = read(body)?;
            Page::asked(request.max_entries, &request.starting_token)?;
        }
        "ListSnapshots" => {
            let request: ListSnapshotsRequest = read(body)?;
            Page::asked(request.max_entries, &request.starting_token)?;
        }
        "GetCapacity" => {
            let request: GetCapacityRequest = read(body)?;
            Parameters::read("parameters", CLASS, &request.parameters)?;
            Capability::all("volume_capabilities", &request.volume_capabilities)?;
        }
        "ControllerExpandVolume" => {
            let request: ControllerExpandVolumeRequest = read(body)?;
            known_volume("volume_id", &request.volume_id)?;
            sizes(request.capacity_range.as_ref())?;
        }
        "ControllerModifyVolume" => {
            let request: ControllerModifyVolumeRequest = read(body)?;
            Parameters::read("mutable_parameters", MUTABLE, &request.mutable_parameters)?;
        }
        "NodeStageVolume" => {
            let request: NodeStageVolumeRequest = read(body)?;
            Capability::read("volume_capability", request.volume_capability.as_ref())?.form();
            path("staging_target_path", &request.staging_target_path)?;
        }
        "NodePublishVolume" => {
            let request: NodePublishVolumeRequest = read(body)?;
            let capability = Capability::read("volume_capability", request.volume_capability.as_ref())?;
            path("target_path", &request.target_path)?;
            inline_wish(&request, &capability)?;
        }
        _ => return Err(invalid("call", "there is no such call").into()),
    }
    Ok(())
}

fn read<T: Message + Default>(body: &[u8]) -> Result<T, Refusal> {
    T::decode(body).map_err(|fault| invalid("message", format!("the message can't be read: {fault}")).into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CALLS: [&str; 11] = [
        "CreateVolume",
        "CreateSnapshot",
        "CreateVolumeGroupSnapshot",
        "ValidateVolumeCapabilities",
        "ListVolumes",
        "ListSnapshots",
        "GetCapacity",
        "ControllerExpandVolume",
        "ControllerModifyVolume",
        "NodeStageVolume",
        "NodePublishVolume",
    ];

    #[test]
    fn every_call_is_known() {
        for call in CALLS {
            let said = understand(call, &[]).err().unwrap_or_default();
            assert!(!said.contains("no such call"), "{call}: {said}");
        }
        assert!(understand("Delete", &[]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_in_one_line(call in 0..CALLS.len(), body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Err(line) = understand(CALLS[call], &body) {
                prop_assert!(!line.is_empty() && !line.contains(char::is_control), "{line:?}");
            }
        }
    }
}
