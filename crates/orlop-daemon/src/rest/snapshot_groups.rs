//! Snapshots of several volumes at one moment.

use axum::{extract::State, http::StatusCode};
use orlop_api::{Applied, SnapshotGroupRequest};
use orlop_engine::{self as engine, SnapshotKey};
use orlop_model::{SnapshotName, WorkspaceName, resource::SnapshotGroup};

use super::{
    extract::{Body, By, Params},
    reply::{Json, Reply},
};
use crate::service::Service;

pub(super) async fn apply(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, SnapshotName)>,
    Body(body): Body<SnapshotGroupRequest>,
) -> Reply<Json<Applied<SnapshotGroup>>> {
    let SnapshotGroupRequest { volumes, retain } = body;
    let request = engine::SnapshotGroupRequest { workspace, name, volumes, retain };
    let applied = service.change(move |engine| engine.apply_snapshot_group(&caller, &request)).await?;
    Ok(Json(Applied { outcome: applied.outcome, changes: applied.changes, resource: applied.resource }))
}

pub(super) async fn get(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, SnapshotName)>,
) -> Reply<Json<SnapshotGroup>> {
    let key = SnapshotKey { workspace, name };
    Ok(Json(service.read(move |engine| engine.snapshot_group(&caller, &key)).await?))
}

pub(super) async fn delete(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, SnapshotName)>,
) -> Reply<StatusCode> {
    let key = SnapshotKey { workspace, name };
    service.change(move |engine| engine.delete_snapshot_group(&caller, &key)).await?;
    Ok(StatusCode::NO_CONTENT)
}
