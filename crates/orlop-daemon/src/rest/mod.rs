//! REST: the route table of `orlop-api`, each operation with its handler. Handlers translate and
//! call; what they ask for is decided in the engine.
//!
//! Whoever may open the socket may read everything: volumes, pools, events, who uses what. Who may
//! change something is decided by the engine, by the peer's uid.

mod events;
mod extract;
mod mounts;
mod observe;
mod operations;
mod pools;
mod probes;
mod released;
mod reply;
mod snapshot_groups;
mod snapshots;
mod volumes;
mod watch;
mod workspaces;

#[cfg(test)]
pub(crate) mod tests;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    handler::Handler,
    middleware,
    routing::{MethodFilter, MethodRouter, on},
};
use orlop_api::{MAX_REQUEST_BYTES, Method, Operation};

use crate::service::Service;

/// The router of the REST socket.
pub(crate) fn router(service: Service) -> Router {
    let mut router = Router::new();
    for operation in Operation::ALL {
        let observed = service.clone();
        let served = serving(*operation).layer(middleware::from_fn(move |request, next| {
            observe::observe(observed.clone(), *operation, request, next)
        }));
        router = router.route(operation.route().path, served);
    }
    router
        .fallback(reply::no_such_path)
        .method_not_allowed_fallback(reply::no_such_method)
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(service)
}

fn serving(operation: Operation) -> MethodRouter<Service> {
    match operation {
        Operation::ListVolumes => handle(operation, volumes::list),
        Operation::GetVolumeById => handle(operation, volumes::get_by_id),
        Operation::DeleteVolumeById => handle(operation, volumes::delete_by_id),
        Operation::ApplyVolume => handle(operation, volumes::apply),
        Operation::PlanVolume => handle(operation, volumes::plan),
        Operation::MigrateVolume => handle(operation, volumes::migrate),
        Operation::GetVolume => handle(operation, volumes::get),
        Operation::CheckVolume => handle(operation, volumes::check),
        Operation::GetVolumeUsage => handle(operation, volumes::usage),
        Operation::DeleteVolume => handle(operation, volumes::delete),
        Operation::UndeleteVolume => handle(operation, released::undelete),
        Operation::UndeleteVolumeById => handle(operation, released::undelete_by_id),
        Operation::PurgeVolume => handle(operation, released::purge),
        Operation::RenameVolume => handle(operation, volumes::rename),
        Operation::ListSnapshots => handle(operation, snapshots::list),
        Operation::ApplySnapshot => handle(operation, snapshots::apply),
        Operation::GetSnapshot => handle(operation, snapshots::get),
        Operation::DeleteSnapshot => handle(operation, snapshots::delete),
        Operation::RestoreSnapshot => handle(operation, snapshots::restore),
        Operation::ApplySnapshotGroup => handle(operation, snapshot_groups::apply),
        Operation::GetSnapshotGroup => handle(operation, snapshot_groups::get),
        Operation::DeleteSnapshotGroup => handle(operation, snapshot_groups::delete),
        Operation::ListWorkspaces => handle(operation, workspaces::list),
        Operation::PutWorkspace => handle(operation, workspaces::put),
        Operation::GetWorkspace => handle(operation, workspaces::get),
        Operation::DeleteWorkspace => handle(operation, workspaces::delete),
        Operation::ListPools => handle(operation, pools::list),
        Operation::GetPool => handle(operation, pools::get),
        Operation::CreatePool => handle(operation, pools::create),
        Operation::DeletePool => handle(operation, pools::delete),
        Operation::ExportPool => handle(operation, pools::export),
        Operation::CheckPool => handle(operation, pools::check),
        Operation::GrowPool => handle(operation, pools::grow),
        Operation::ImportPool => handle(operation, pools::import),
        Operation::AdoptDirectory => handle(operation, volumes::adopt),
        Operation::GetDevice => handle(operation, pools::device),
        Operation::MountVolume => handle(operation, mounts::mount),
        Operation::UnmountVolume => handle(operation, mounts::unmount),
        Operation::ListOperations => handle(operation, operations::list),
        Operation::StopOperation => handle(operation, operations::stop),
        Operation::ListEvents => handle(operation, events::list),
        Operation::Watch => handle(operation, watch::watch),
        Operation::GetVersion => handle(operation, probes::version),
        Operation::GetHealth => handle(operation, probes::health),
        Operation::GetReadiness => handle(operation, probes::readiness),
        Operation::GetMetrics => handle(operation, probes::metrics),
        Operation::GetOpenApi => handle(operation, probes::openapi),
    }
}

fn handle<H, T>(operation: Operation, handler: H) -> MethodRouter<Service>
where
    H: Handler<T, Service>,
    T: 'static,
{
    let filter = match operation.route().method {
        Method::Get => MethodFilter::GET,
        Method::Put => MethodFilter::PUT,
        Method::Post => MethodFilter::POST,
        Method::Delete => MethodFilter::DELETE,
    };
    on(filter, handler)
}
