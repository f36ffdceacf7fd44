//! Snapshots: making, listing, looking at and deleting them. They outlive their volume.

use orlop_engine::{Order, SnapshotQuery, TakeRequest};
use orlop_model::{Error, ErrorKind, Result, VolumeId, resource::Snapshot};
use tonic::Code;

use crate::{
    describe,
    driver::{CALLER, Shared},
    error::{Refusal, Reply},
    parameters::{Origin, Parameters, legal},
    protocol::{
        CreateSnapshotRequest, CreateSnapshotResponse, DeleteSnapshotRequest, DeleteSnapshotResponse,
        GetSnapshotRequest, GetSnapshotResponse, ListSnapshotsRequest, ListSnapshotsResponse,
        list_snapshots_response,
    },
    request::{known_snapshot, name, no_volume, snapshot_id, volume_id},
    token::Page,
    work::PATIENCE,
};

/// See the specification of `CreateSnapshot`.
pub(super) fn create(shared: &Shared, request: &CreateSnapshotRequest) -> Reply<CreateSnapshotResponse> {
    let wish = wish(request)?;
    let taken = shared.engine.take_snapshot(&CALLER, &wish, PATIENCE)?.resource;
    Ok(CreateSnapshotResponse { snapshot: Some(describe::snapshot(&taken)) })
}

/// What the engine is asked for.
pub(crate) fn wish(request: &CreateSnapshotRequest) -> Result<TakeRequest> {
    let external = name("name", &request.name)?;
    let volume = volume_id("source_volume_id", &request.source_volume_id)?;
    Parameters::read("parameters", &[], &request.parameters)?;
    let origin = Origin::of_snapshot(&request.parameters);
    Ok(TakeRequest {
        external: external.to_owned(),
        volume: volume.ok_or_else(|| no_volume(&request.source_volume_id))?,
        name: legal(origin.name.unwrap_or(external)).parse()?,
        tags: origin.tags(),
    })
}

/// See the specification of `DeleteSnapshot`. Of what is not there it succeeds.
pub(super) fn delete(shared: &Shared, request: &DeleteSnapshotRequest) -> Reply<DeleteSnapshotResponse> {
    if let Some(id) = snapshot_id("snapshot_id", &request.snapshot_id)? {
        shared.engine.delete_snapshot_by_id(&CALLER, id, PATIENCE).map_err(refused)?;
    }
    Ok(DeleteSnapshotResponse {})
}

/// One of a group goes with it: that has a code of its own.
fn refused(error: Error) -> Refusal {
    if error.kind == ErrorKind::Protected {
        return Refusal::coded(Code::InvalidArgument, error);
    }
    error.into()
}

/// See the specification of `ListSnapshots`.
pub(super) fn list(shared: &Shared, request: &ListSnapshotsRequest) -> Reply<ListSnapshotsResponse> {
    let page = Page::asked(request.max_entries, &request.starting_token)?;
    let of = match request.source_volume_id.as_str() {
        "" => None,
        // Of what could be no volume there are none.
        text => match volume_id("source_volume_id", text)? {
            None => return Ok(ListSnapshotsResponse::default()),
            id => id,
        },
    };
    let (snapshots, next_token) = match request.snapshot_id.as_str() {
        "" => page.collect(|limit, after| {
            let query =
                SnapshotQuery { volume_id: of, order: Order::ById, limit, after, ..SnapshotQuery::default() };
            shared.engine.snapshots(&CALLER, &query)
        })?,
        text => (one(shared, text, of)?.into_iter().collect(), String::new()),
    };
    let entry =
        |snapshot: &Snapshot| list_snapshots_response::Entry { snapshot: Some(describe::snapshot(snapshot)) };
    let entries = snapshots.iter().filter(|snapshot| describe::is_cut(snapshot)).map(entry).collect();
    Ok(ListSnapshotsResponse { entries, next_token })
}

/// The one of that id, if it is of that volume.
fn one(shared: &Shared, id: &str, of: Option<VolumeId>) -> Reply<Option<Snapshot>> {
    let Some(id) = snapshot_id("snapshot_id", id)? else { return Ok(None) };
    match shared.engine.snapshot_by_id(&CALLER, id) {
        Ok(found) => Ok(Some(found).filter(|found| of.is_none_or(|of| found.status.volume_id == of))),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// See the specification of `GetSnapshot`.
pub(super) fn get(shared: &Shared, request: &GetSnapshotRequest) -> Reply<GetSnapshotResponse> {
    let id = known_snapshot("snapshot_id", &request.snapshot_id)?;
    let found = shared.engine.snapshot_by_id(&CALLER, id)?;
    Ok(GetSnapshotResponse { snapshot: Some(describe::snapshot(&found)) })
}
