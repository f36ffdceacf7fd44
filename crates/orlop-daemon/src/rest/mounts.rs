//! Mounts onto directories of the host.

use std::path::Path;

use axum::{extract::State, http::StatusCode};
use orlop_api::{MountFilter, MountRequest, Mounted};
use orlop_engine::{Caller, VolumeKey, VolumeRef};
use orlop_model::resource::Front;

use super::{
    extract::{Body, By, Query},
    reply::{Json, Reply},
};
use crate::service::Service;

pub(super) async fn mount(
    State(service): State<Service>,
    By(caller): By,
    Body(request): Body<MountRequest>,
) -> Reply<Json<Mounted>> {
    let caller = Caller { front: Front::Host, ..caller };
    let target = request.target.clone();
    let request = orlop_engine::MountRequest {
        volume: VolumeRef::Key(VolumeKey { workspace: request.workspace, name: request.name }),
        target: request.target.into(),
        access: request.access,
    };
    let attached = service.change(move |engine| engine.mount(&caller, &request)).await?;
    Ok(Json(Mounted { target, read_only: attached.read_only }))
}

pub(super) async fn unmount(
    State(service): State<Service>,
    By(caller): By,
    Query(filter): Query<MountFilter>,
) -> Reply<StatusCode> {
    let caller = Caller { front: Front::Host, ..caller };
    service.change(move |engine| engine.unmount(&caller, Path::new(&filter.target))).await?;
    Ok(StatusCode::NO_CONTENT)
}
