//! Pools.

use axum::{extract::State, http::StatusCode};
use orlop_api::{
    Applied, CheckOptions, DeviceFilter, DeviceReport, GrowRequest, ImportRequest, List, PoolExported,
    PoolRequest,
};
use orlop_engine::{ImportPlace, PoolPlace};
use orlop_model::{
    Error, ErrorKind, PoolName, Result,
    pool_report::{PoolCheck, PoolImport},
    resource::Pool,
};

use super::{
    extract::{Body, By, Params, Query},
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
    let place = place(&request)?;
    let request =
        orlop_engine::PoolRequest { name, place, capacity: request.capacity, overcommit: request.overcommit };
    let applied = service.change(move |engine| engine.create_pool(&caller, &request)).await?;
    Ok(Json(Applied { outcome: applied.outcome, changes: applied.changes, resource: applied.resource }))
}

/// Exactly one place, with what belongs to it.
fn place(request: &PoolRequest) -> Result<PoolPlace> {
    let PoolRequest { path, device, erase, image, size, sparse, capacity: _, overcommit: _ } = request;
    let refused = |why: &str| {
        Err(Error::new(ErrorKind::InvalidArgument, why)
            .object("pool")
            .hint("say where the pool is to be: a directory, a device, or an image and its size"))
    };
    if erase.is_some() && device.is_none() {
        return refused("only a device is erased");
    }
    if image.is_none() && (size.is_some() || *sparse) {
        return refused("only an image is given a size");
    }
    match (path, device, image, size) {
        (Some(path), None, None, None) => Ok(PoolPlace::Directory(path.into())),
        (None, Some(device), None, None) => {
            Ok(PoolPlace::Device { device: device.into(), erase: erase.clone() })
        }
        (None, None, Some(file), Some(size)) => {
            Ok(PoolPlace::Image { file: file.into(), size: *size, sparse: *sparse })
        }
        (None, None, Some(_), None) => refused("an image needs a size"),
        (None, None, None, _) => refused("a pool needs a place"),
        (Some(_) | None, Some(_) | None, Some(_) | None, _) => refused("a pool has one place only"),
    }
}

pub(super) async fn delete(
    State(service): State<Service>,
    By(caller): By,
    Params((name,)): Params<(PoolName,)>,
) -> Reply<StatusCode> {
    service.change(move |engine| engine.remove_pool(&caller, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn export(
    State(service): State<Service>,
    By(caller): By,
    Params((name,)): Params<(PoolName,)>,
) -> Reply<Json<PoolExported>> {
    let exported = service.change(move |engine| engine.export_pool(&caller, &name)).await?;
    Ok(Json(PoolExported { pool: exported.pool, held: exported.held }))
}

pub(super) async fn device(
    State(service): State<Service>,
    By(caller): By,
    Query(filter): Query<DeviceFilter>,
) -> Reply<Json<DeviceReport>> {
    let found = service.change(move |engine| engine.device(&caller, filter.path.as_ref())).await?;
    Ok(Json(DeviceReport {
        device: found.device.display().to_string(),
        size: found.size,
        content: found.content,
        users: found.users,
    }))
}

pub(super) async fn check(
    State(service): State<Service>,
    By(caller): By,
    Params((name,)): Params<(PoolName,)>,
    Query(options): Query<CheckOptions>,
) -> Reply<Json<PoolCheck>> {
    Ok(Json(service.change(move |engine| engine.check_pool(&caller, &name, options.repair)).await?))
}

pub(super) async fn import(
    State(service): State<Service>,
    By(caller): By,
    Body(request): Body<ImportRequest>,
) -> Reply<Json<PoolImport>> {
    let ImportRequest { name, path, device, image, capacity, overcommit } = request;
    let place = match (path, device, image) {
        (Some(path), None, None) => ImportPlace::Directory(path.into()),
        (None, Some(device), None) => ImportPlace::Device(device.into()),
        (None, None, Some(file)) => ImportPlace::Image(file.into()),
        (Some(_) | None, Some(_) | None, Some(_) | None) => {
            return Err(Error::new(ErrorKind::InvalidArgument, "a pool is in one place")
                .object("pool")
                .hint("say where it is: a directory, a device or an image")
                .into());
        }
    };
    let request = orlop_engine::ImportRequest { name, place, capacity, overcommit };
    Ok(Json(service.change(move |engine| engine.import_pool(&caller, &request)).await?))
}

pub(super) async fn grow(
    State(service): State<Service>,
    By(caller): By,
    Params((name,)): Params<(PoolName,)>,
    Body(request): Body<GrowRequest>,
) -> Reply<Json<Applied<Pool>>> {
    let request = orlop_engine::GrowRequest { size: request.size, capacity: request.capacity };
    let applied = service.change(move |engine| engine.grow_pool(&caller, &name, &request)).await?;
    Ok(Json(Applied { outcome: applied.outcome, changes: applied.changes, resource: applied.resource }))
}
