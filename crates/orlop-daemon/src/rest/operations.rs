//! Long work that is under way.

use axum::extract::State;
use orlop_api::List;
use orlop_model::{OperationId, resource::Operation};

use super::{
    extract::{By, Params},
    reply::{Json, Reply},
};
use crate::service::Service;

pub(super) async fn list(State(service): State<Service>, By(caller): By) -> Reply<Json<List<Operation>>> {
    let items = service.read(move |engine| Ok(engine.operations(&caller))).await?;
    Ok(Json(List { items }))
}

/// Not in the lane of changes, which the very work that is to stop may fill.
pub(super) async fn stop(
    State(service): State<Service>,
    By(caller): By,
    Params((id,)): Params<(OperationId,)>,
) -> Reply<Json<Operation>> {
    Ok(Json(service.read(move |engine| engine.stop_operation(&caller, id)).await?))
}
