//! Pools.

use axum::extract::State;
use orlop_api::{Applied, List, PoolRequest};
use orlop_model::{PoolName, resource::Pool};

use super::{
    extract::{Body, By, Params},
    reply::{Json, Reply},
};
use crate::service::Service;

pub(super) async fn list(State(service): State<Service>, By(caller): By) -> Reply<Json<List<Pool>>> {
    let items = service.read(move |engine| engine.pools(&caller)).await?;
    Ok(Json(List { items }))
}

pub(super) async fn get(
    State(service): State<Service>,
    By(caller): By,
    Params((name,)): Params<(PoolName,)>,
) -> Reply<Json<Pool>> {
    Ok(Json(service.read(move |engine| engine.pool(&caller, &name)).await?))
}

pub(super) async fn create(
    State(service): State<Service>,
    By(caller): By,
    Params((name,)): Params<(PoolName,)>,
    Body(request): Body<PoolRequest>,
) -> Reply<Json<Applied<Pool>>> {
    let request = orlop_engine::PoolRequest {
        name,
        path: request.path.into(),
        capacity: request.capacity,
        overcommit: request.overcommit,
    };
    let applied = service.change(move |engine| engine.create_pool(&caller, &request)).await?;
    Ok(Json(Applied { outcome: applied.outcome, changes: applied.changes, resource: applied.resource }))
}
