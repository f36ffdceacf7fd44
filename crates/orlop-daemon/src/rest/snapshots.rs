//! Snapshots.

use axum::{extract::State, http::StatusCode};
use orlop_api::{Applied, Page, SnapshotFilter, SnapshotOptions};
use orlop_engine::{Order, SnapshotKey, SnapshotQuery, SnapshotRequest};
use orlop_model::{
    Error, ErrorKind, SnapshotManifest, SnapshotName, WorkspaceName,
    resource::{Restored, Snapshot},
};

use super::{
    extract::{Body, By, Params, Query},
    reply::{Json, Reply},
};
use crate::service::Service;

pub(super) async fn list(
    State(service): State<Service>,
    By(caller): By,
    Query(filter): Query<SnapshotFilter>,
) -> Reply<Json<Page<Snapshot>>> {
    let query = SnapshotQuery {
        workspace: filter.workspace,
        volume: filter.volume,
        volume_id: None,
        order: Order::ByName,
        limit: filter.limit.map_or(0, |limit| usize::try_from(limit).unwrap_or(0)),
        after: filter.after,
    };
    let page = service.read(move |engine| engine.snapshots(&caller, &query)).await?;
    Ok(Json(Page { items: page.items, next: page.next }))
}

pub(super) async fn get(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, SnapshotName)>,
) -> Reply<Json<Snapshot>> {
    let key = SnapshotKey { workspace, name };
    Ok(Json(service.read(move |engine| engine.snapshot(&caller, &key)).await?))
}

pub(super) async fn apply(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, SnapshotName)>,
    Query(options): Query<SnapshotOptions>,
    Body(manifest): Body<SnapshotManifest>,
) -> Reply<Json<Applied<Snapshot>>> {
    if manifest.name != name {
        let error = Error::new(
            ErrorKind::InvalidArgument,
            format!("the manifest's name is {}, the path's is {name}", manifest.name),
        )
        .object("name")
        .hint("give both the same name");
        return Err(error.into());
    }
    let request = SnapshotRequest { workspace, manifest, pause_writers: options.pause_writers };
    let applied = service.change(move |engine| engine.apply_snapshot(&caller, &request)).await?;
    Ok(Json(Applied { outcome: applied.outcome, changes: applied.changes, resource: applied.resource }))
}

pub(super) async fn delete(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, SnapshotName)>,
) -> Reply<StatusCode> {
    let key = SnapshotKey { workspace, name };
    service.change(move |engine| engine.delete_snapshot(&caller, &key)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn restore(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, SnapshotName)>,
) -> Reply<Json<Restored>> {
    let key = SnapshotKey { workspace, name };
    Ok(Json(service.change(move |engine| engine.restore(&caller, &key)).await?))
}
