//! What is done to several volumes at once: snapshots of one moment.

mod snapshots;

pub(crate) use snapshots::wish as group_wish;

use tonic::{Request, Response, Status, async_trait};

use crate::{
    driver::Driver,
    protocol::{
        CreateVolumeGroupSnapshotRequest, CreateVolumeGroupSnapshotResponse,
        DeleteVolumeGroupSnapshotRequest, DeleteVolumeGroupSnapshotResponse, GetVolumeGroupSnapshotRequest,
        GetVolumeGroupSnapshotResponse, GroupControllerGetCapabilitiesRequest,
        GroupControllerGetCapabilitiesResponse, GroupControllerServiceCapability,
        group_controller_server::GroupController,
        group_controller_service_capability::{Rpc, Type, rpc},
    },
    request::shown,
};

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl GroupController for Driver {
    async fn group_controller_get_capabilities(
        &self,
        _: Request<GroupControllerGetCapabilitiesRequest>,
    ) -> Answer<GroupControllerGetCapabilitiesResponse> {
        let kind = rpc::Type::CreateDeleteGetVolumeGroupSnapshot;
        let capability =
            GroupControllerServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: kind.into() })) };
        Ok(Response::new(GroupControllerGetCapabilitiesResponse { capabilities: vec![capability] }))
    }

    async fn create_volume_group_snapshot(
        &self,
        request: Request<CreateVolumeGroupSnapshotRequest>,
    ) -> Answer<CreateVolumeGroupSnapshotResponse> {
        let request = request.into_inner();
        let about = shown(&request.name);
        self.change("CreateVolumeGroupSnapshot", about, move |shared| snapshots::create(shared, &request))
            .await
    }

    async fn delete_volume_group_snapshot(
        &self,
        request: Request<DeleteVolumeGroupSnapshotRequest>,
    ) -> Answer<DeleteVolumeGroupSnapshotResponse> {
        let request = request.into_inner();
        let about = shown(&request.group_snapshot_id);
        self.change("DeleteVolumeGroupSnapshot", about, move |shared| snapshots::delete(shared, &request))
            .await
    }

    async fn get_volume_group_snapshot(
        &self,
        request: Request<GetVolumeGroupSnapshotRequest>,
    ) -> Answer<GetVolumeGroupSnapshotResponse> {
        let request = request.into_inner();
        let about = shown(&request.group_snapshot_id);
        self.read("GetVolumeGroupSnapshot", about, move |shared| snapshots::get(shared, &request)).await
    }
}
