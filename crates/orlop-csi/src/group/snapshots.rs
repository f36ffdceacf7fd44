//! Snapshots of several volumes at one moment: making, looking at and deleting them, each time all of them.

use std::collections::BTreeSet;

use orlop_engine::TakeGroupRequest;
use orlop_model::{Error, ErrorKind, Result, SnapshotId, resource::SnapshotGroup};
use tonic::Code;

use crate::{
    describe,
    driver::{CALLER, Shared},
    error::{Refusal, Reply},
    parameters::{Origin, Parameters, legal},
    protocol::{
        CreateVolumeGroupSnapshotRequest, CreateVolumeGroupSnapshotResponse,
        DeleteVolumeGroupSnapshotRequest, DeleteVolumeGroupSnapshotResponse, GetVolumeGroupSnapshotRequest,
        GetVolumeGroupSnapshotResponse,
    },
    request::{group_id, invalid, known_group, known_volume, missing, name, shown, snapshot_id},
    work::PATIENCE,
};

/// See the specification of `CreateVolumeGroupSnapshot`.
pub(super) fn create(
    shared: &Shared,
    request: &CreateVolumeGroupSnapshotRequest,
) -> Reply<CreateVolumeGroupSnapshotResponse> {
    let wish = wish(request)?;
    let taken = shared.engine.take_snapshot_group(&CALLER, &wish, PATIENCE).map_err(refused)?;
    Ok(CreateVolumeGroupSnapshotResponse { group_snapshot: Some(describe::group(&taken.resource)) })
}

/// What the engine is asked for.
pub(crate) fn wish(request: &CreateVolumeGroupSnapshotRequest) -> Result<TakeGroupRequest> {
    let external = name("name", &request.name)?;
    if request.source_volume_ids.is_empty() {
        return Err(missing("source_volume_ids"));
    }
    let volumes = request.source_volume_ids.iter();
    let volumes = volumes.map(|id| known_volume("source_volume_ids", id)).collect::<Result<_>>()?;
    Parameters::read("parameters", &[], &request.parameters)?;
    let origin = Origin::of_group(&request.parameters);
    Ok(TakeGroupRequest {
        external: external.to_owned(),
        volumes,
        name: legal(origin.name.unwrap_or(external)).parse()?,
        tags: origin.tags(),
    })
}

/// That volumes can't be of one moment is the volumes' own, and not the request's.
fn refused(mut error: Error) -> Refusal {
    if error.object.as_deref() == Some(VOLUMES) {
        error = error.object("source_volume_ids");
    }
    if error.kind == ErrorKind::Unsupported {
        return Refusal::coded(Code::FailedPrecondition, error);
    }
    error.into()
}

/// What the engine calls the volumes of a group.
const VOLUMES: &str = "volumes";

/// See the specification of `DeleteVolumeGroupSnapshot`. Of what is not there it succeeds.
pub(super) fn delete(
    shared: &Shared,
    request: &DeleteVolumeGroupSnapshotRequest,
) -> Reply<DeleteVolumeGroupSnapshotResponse> {
    if let Some(id) = group_id("group_snapshot_id", &request.group_snapshot_id)? {
        match shared.engine.snapshot_group_by_id(&CALLER, id) {
            Ok(group) => {
                let named = named(&group, &request.snapshot_ids)?;
                // One that is not there any more, as its pool is elsewhere, may be named; one that is not
                // of the group may not.
                let strangers = named.difference(&members(&group)).copied().collect::<Vec<_>>();
                for id in strangers {
                    if shared.engine.snapshot_by_id(&CALLER, id).is_ok() {
                        return Err(stranger(&group, id).into());
                    }
                }
                shared.engine.delete_snapshot_group_by_id(&CALLER, id, PATIENCE)?;
            }
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(DeleteVolumeGroupSnapshotResponse {})
}

/// See the specification of `GetVolumeGroupSnapshot`.
pub(super) fn get(
    shared: &Shared,
    request: &GetVolumeGroupSnapshotRequest,
) -> Reply<GetVolumeGroupSnapshotResponse> {
    let id = known_group("group_snapshot_id", &request.group_snapshot_id)?;
    let group = shared.engine.snapshot_group_by_id(&CALLER, id)?;
    let named = named(&group, &request.snapshot_ids)?;
    // Half a group is nothing to make volumes from.
    if let Some(id) = named.difference(&members(&group)).next() {
        return Err(stranger(&group, *id).hint("is the pool that it is in here? orlop pool list").into());
    }
    Ok(GetVolumeGroupSnapshotResponse { group_snapshot: Some(describe::group(&group)) })
}

fn members(group: &SnapshotGroup) -> BTreeSet<SnapshotId> {
    group.snapshots.iter().map(|snapshot| snapshot.status.id).collect()
}

/// The snapshots that a call names, among which all of the group have to be.
fn named(group: &SnapshotGroup, texts: &[String]) -> Result<BTreeSet<SnapshotId>> {
    if texts.is_empty() {
        return Err(missing(SNAPSHOTS));
    }
    let id = |text: &String| {
        snapshot_id(SNAPSHOTS, text)?.ok_or_else(|| {
            invalid(SNAPSHOTS, format!("{} is no snapshot of group {}", shown(text), group.title()))
        })
    };
    let named: BTreeSet<_> = texts.iter().map(id).collect::<Result<_>>()?;
    match members(group).difference(&named).next() {
        None => Ok(named),
        Some(id) => {
            let message = format!("snapshot {id} is of group {} too, and is not named", group.title());
            Err(invalid(SNAPSHOTS, message).hint("name all snapshots of the group"))
        }
    }
}

fn stranger(group: &SnapshotGroup, id: SnapshotId) -> Error {
    invalid(SNAPSHOTS, format!("snapshot {id} is not in group {} here", group.title()))
}

const SNAPSHOTS: &str = "snapshot_ids";
