//! Volumes.

use axum::extract::State;
use orlop_api::{
    AdoptRequest, Applied, ApplyOptions, DeleteOptions, Deleted, List, MigrateRequest, Page, RenameRequest,
    VolumeCheckOptions, VolumeFilter,
};
use orlop_engine::{ApplyRequest, Caller, CheckRequest, Order, VolumeKey, VolumeQuery, VolumeRef};
use orlop_model::{
    Error, ErrorKind, Result, UsageSample, VolumeId, VolumeManifest, VolumeName, WorkspaceName,
    resource::{Volume, VolumeCheck, VolumePlan},
};

use super::{
    extract::{Body, By, Params, Query},
    reply::{Json, Reply},
};
use crate::service::Service;

pub(super) async fn list(
    State(service): State<Service>,
    By(caller): By,
    Query(filter): Query<VolumeFilter>,
) -> Reply<Json<Page<Volume>>> {
    let query = VolumeQuery {
        workspace: filter.workspace,
        name: filter.name,
        owner_uid: filter.owner_uid,
        tags: filter.tags,
        state: filter.state,
        released: filter.released,
        pool: filter.pool,
        applied_set: filter.applied_set,
        order: Order::ByName,
        limit: filter.limit.map_or(0, |limit| usize::try_from(limit).unwrap_or(0)),
        after: filter.after,
    };
    let page = service.read(move |engine| engine.volumes(&caller, &query)).await?;
    Ok(Json(Page { items: page.items, next: page.next }))
}

pub(super) async fn get(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, VolumeName)>,
) -> Reply<Json<Volume>> {
    show(&service, caller, VolumeRef::Key(VolumeKey { workspace, name })).await
}

pub(super) async fn get_by_id(
    State(service): State<Service>,
    By(caller): By,
    Params((id,)): Params<(VolumeId,)>,
) -> Reply<Json<Volume>> {
    show(&service, caller, VolumeRef::Id(id)).await
}

pub(super) async fn check(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, VolumeName)>,
    Query(options): Query<VolumeCheckOptions>,
) -> Reply<Json<VolumeCheck>> {
    let volume = VolumeRef::Key(VolumeKey { workspace, name });
    let request = CheckRequest { repair: options.repair, discard_log: options.discard_log };
    Ok(Json(service.change(move |engine| engine.check(&caller, &volume, request)).await?))
}

pub(super) async fn usage(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, VolumeName)>,
) -> Reply<Json<List<UsageSample>>> {
    let volume = VolumeRef::Key(VolumeKey { workspace, name });
    let items = service.read(move |engine| engine.volume_usage(&caller, &volume)).await?;
    Ok(Json(List { items }))
}

async fn show(service: &Service, caller: Caller, volume: VolumeRef) -> Reply<Json<Volume>> {
    Ok(Json(service.read(move |engine| engine.volume(&caller, &volume)).await?))
}

pub(super) async fn apply(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, VolumeName)>,
    Query(options): Query<ApplyOptions>,
    Body(manifest): Body<VolumeManifest>,
) -> Reply<Json<Applied<Volume>>> {
    let request = asked(workspace, &name, manifest, options)?;
    let applied = service.change(move |engine| engine.apply(&caller, &request)).await?;
    Ok(Json(Applied { outcome: applied.outcome, changes: applied.changes, resource: applied.resource }))
}

pub(super) async fn plan(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, VolumeName)>,
    Query(options): Query<ApplyOptions>,
    Body(manifest): Body<VolumeManifest>,
) -> Reply<Json<VolumePlan>> {
    let request = asked(workspace, &name, manifest, options)?;
    Ok(Json(service.change(move |engine| engine.plan(&caller, &request)).await?))
}

fn asked(
    workspace: WorkspaceName,
    name: &VolumeName,
    manifest: VolumeManifest,
    options: ApplyOptions,
) -> Result<ApplyRequest> {
    if manifest.name != *name {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("the manifest's name is {}, the path's is {name}", manifest.name),
        )
        .object("name")
        .hint("give both the same name; orlop rename gives a volume another one"));
    }
    let ApplyOptions { create_workspace, set } = options;
    Ok(ApplyRequest { workspace, manifest, create_workspace, set })
}

pub(super) async fn migrate(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, VolumeName)>,
    Body(request): Body<MigrateRequest>,
) -> Reply<Json<Applied<Volume>>> {
    let volume = VolumeRef::Key(VolumeKey { workspace, name });
    let request = orlop_engine::MigrateRequest { pool: request.pool, size: request.size };
    let moved = service.change(move |engine| engine.migrate(&caller, &volume, &request)).await?;
    Ok(Json(Applied { outcome: moved.outcome, changes: moved.changes, resource: moved.resource }))
}

pub(super) async fn rename(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, VolumeName)>,
    Body(request): Body<RenameRequest>,
) -> Reply<Json<Applied<Volume>>> {
    let volume = VolumeKey { workspace, name };
    let request = orlop_engine::RenameRequest { volume, name: request.name, forget: request.forget };
    let applied = service.change(move |engine| engine.rename(&caller, &request)).await?;
    Ok(Json(Applied { outcome: applied.outcome, changes: applied.changes, resource: applied.resource }))
}

pub(super) async fn delete(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, VolumeName)>,
    Query(options): Query<DeleteOptions>,
) -> Reply<Json<Deleted>> {
    remove(&service, caller, VolumeRef::Key(VolumeKey { workspace, name }), options).await
}

pub(super) async fn delete_by_id(
    State(service): State<Service>,
    By(caller): By,
    Params((id,)): Params<(VolumeId,)>,
    Query(options): Query<DeleteOptions>,
) -> Reply<Json<Deleted>> {
    remove(&service, caller, VolumeRef::Id(id), options).await
}

async fn remove(
    service: &Service,
    caller: Caller,
    volume: VolumeRef,
    options: DeleteOptions,
) -> Reply<Json<Deleted>> {
    let deletion = service.change(move |engine| engine.delete(&caller, &volume, options.force)).await?;
    Ok(Json(Deleted { deletion }))
}

pub(super) async fn adopt(
    State(service): State<Service>,
    By(caller): By,
    Params((workspace, name)): Params<(WorkspaceName, VolumeName)>,
    Body(request): Body<AdoptRequest>,
) -> Reply<Json<Applied<Volume>>> {
    let AdoptRequest { source, size, pool } = request;
    let request = orlop_engine::AdoptRequest { source: source.into(), workspace, name, size, pool };
    let applied = service.change(move |engine| engine.adopt(&caller, &request)).await?;
    Ok(Json(Applied { outcome: applied.outcome, changes: applied.changes, resource: applied.resource }))
}
