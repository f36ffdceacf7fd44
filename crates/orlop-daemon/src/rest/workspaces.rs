//! Workspaces.

use axum::{extract::State, http::StatusCode};
use orlop_api::{Applied, List, WorkspaceRequest};
use orlop_model::{WorkspaceName, resource::Workspace};

use super::{
    extract::{Body, By, Params},
    reply::{Json, Reply},
};
use crate::service::Service;

pub(super) async fn list(State(service): State<Service>, By(caller): By) -> Reply<Json<List<Workspace>>> {
    let items = service.read(move |engine| engine.workspaces(&caller)).await?;
    Ok(Json(List { items }))
}

pub(super) async fn get(
    State(service): State<Service>,
    By(caller): By,
    Params((name,)): Params<(WorkspaceName,)>,
) -> Reply<Json<Workspace>> {
    Ok(Json(service.read(move |engine| engine.workspace(&caller, &name)).await?))
}

pub(super) async fn put(
    State(service): State<Service>,
    By(caller): By,
    Params((name,)): Params<(WorkspaceName,)>,
    Body(request): Body<WorkspaceRequest>,
) -> Reply<Json<Applied<Workspace>>> {
    let request = orlop_engine::WorkspaceRequest {
        grants: request.grants,
        size_limit: request.size_limit,
        volume_limit: request.volume_limit.map(|limit| limit.map(u64::from)),
    };
    let applied = service.change(move |engine| engine.put_workspace(&caller, &name, &request)).await?;
    Ok(Json(Applied { outcome: applied.outcome, changes: applied.changes, resource: applied.resource }))
}

pub(super) async fn delete(
    State(service): State<Service>,
    By(caller): By,
    Params((name,)): Params<(WorkspaceName,)>,
) -> Reply<StatusCode> {
    service.change(move |engine| engine.delete_workspace(&caller, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}
