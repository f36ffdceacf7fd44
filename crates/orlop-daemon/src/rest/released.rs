//! Deleted volumes whose data is retained.

use axum::extract::State;
use orlop_api::{Applied, Deleted, UndeleteRequest};
use orlop_engine::{Caller, VolumeKey, VolumeRef};
use orlop_model::{VolumeId, VolumeName, WorkspaceName, resource::Volume};

use super::{
    extract::{Body, By, Params},
    reply::{Json, Reply},
};
use crate::service::Service;

pub(super) async fn undelete(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, VolumeName)>,
    Body(request): Body<UndeleteRequest>,
) -> Reply<Json<Applied<Volume>>> {
    revive(&service, caller, VolumeRef::Key(VolumeKey { workspace, name }), request).await
}

pub(super) async fn undelete_by_id(
    State(service): State<Service>,
    By(caller): By,
    Params((id,)): Params<(VolumeId,)>,
    Body(request): Body<UndeleteRequest>,
) -> Reply<Json<Applied<Volume>>> {
    revive(&service, caller, VolumeRef::Id(id), request).await
}

async fn revive(
    service: &Service,
    caller: Caller,
    volume: VolumeRef,
    request: UndeleteRequest,
) -> Reply<Json<Applied<Volume>>> {
    let request = orlop_engine::UndeleteRequest { volume, name: request.name };
    let applied = service.change(move |engine| engine.undelete(&caller, &request)).await?;
    Ok(Json(Applied { outcome: applied.outcome, changes: applied.changes, resource: applied.resource }))
}

pub(super) async fn purge(
    State(service): State<Service>,
    By(caller): By,
    Params((id,)): Params<(VolumeId,)>,
) -> Reply<Json<Deleted>> {
    let deletion = service.change(move |engine| engine.purge(&caller, id)).await?;
    Ok(Json(Deleted { deletion }))
}
