//! Volumes and snapshots as such: making, changing, listing and deleting them. What happens where they
//! are used is in `node`.

mod capacity;
mod change;
mod create;
mod snapshots;
mod volumes;

pub(crate) use create::{manifest, wish as volume_wish};
pub(crate) use snapshots::wish as snapshot_wish;
pub(crate) use volumes::find;

use tonic::{Request, Response, Status, async_trait};

use crate::{
    driver::Driver,
    protocol::{
        ControllerExpandVolumeRequest, ControllerExpandVolumeResponse, ControllerGetCapabilitiesRequest,
        ControllerGetCapabilitiesResponse, ControllerGetVolumeRequest, ControllerGetVolumeResponse,
        ControllerModifyVolumeRequest, ControllerModifyVolumeResponse, ControllerPublishVolumeRequest,
        ControllerPublishVolumeResponse, ControllerServiceCapability, ControllerUnpublishVolumeRequest,
        ControllerUnpublishVolumeResponse, CreateSnapshotRequest, CreateSnapshotResponse,
        CreateVolumeRequest, CreateVolumeResponse, DeleteSnapshotRequest, DeleteSnapshotResponse,
        DeleteVolumeRequest, DeleteVolumeResponse, GetCapacityRequest, GetCapacityResponse,
        GetSnapshotRequest, GetSnapshotResponse, ListSnapshotsRequest, ListSnapshotsResponse,
        ListVolumesRequest, ListVolumesResponse, ValidateVolumeCapabilitiesRequest,
        ValidateVolumeCapabilitiesResponse,
        controller_server::Controller,
        controller_service_capability::{Rpc, Type, rpc},
    },
    request::shown,
};

/// What it can do. Volumes need no attaching by a controller: they are where their data is.
const CAPABILITIES: [rpc::Type; 12] = [
    rpc::Type::CreateDeleteVolume,
    rpc::Type::ListVolumes,
    rpc::Type::GetCapacity,
    rpc::Type::CreateDeleteSnapshot,
    rpc::Type::ListSnapshots,
    rpc::Type::CloneVolume,
    rpc::Type::ExpandVolume,
    rpc::Type::VolumeCondition,
    rpc::Type::GetVolume,
    rpc::Type::SingleNodeMultiWriter,
    rpc::Type::ModifyVolume,
    rpc::Type::GetSnapshot,
];

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl Controller for Driver {
    async fn create_volume(&self, request: Request<CreateVolumeRequest>) -> Answer<CreateVolumeResponse> {
        let request = request.into_inner();
        let about = shown(&request.name);
        self.change("CreateVolume", about, move |shared| create::create(shared, &request)).await
    }

    async fn delete_volume(&self, request: Request<DeleteVolumeRequest>) -> Answer<DeleteVolumeResponse> {
        let request = request.into_inner();
        let about = shown(&request.volume_id);
        self.change("DeleteVolume", about, move |shared| volumes::delete(shared, &request)).await
    }

    async fn controller_publish_volume(
        &self,
        _: Request<ControllerPublishVolumeRequest>,
    ) -> Answer<ControllerPublishVolumeResponse> {
        Err(no_attaching())
    }

    async fn controller_unpublish_volume(
        &self,
        _: Request<ControllerUnpublishVolumeRequest>,
    ) -> Answer<ControllerUnpublishVolumeResponse> {
        Err(no_attaching())
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<ValidateVolumeCapabilitiesRequest>,
    ) -> Answer<ValidateVolumeCapabilitiesResponse> {
        let request = request.into_inner();
        let about = shown(&request.volume_id);
        self.read("ValidateVolumeCapabilities", about, move |shared| volumes::validate(shared, request)).await
    }

    async fn list_volumes(&self, request: Request<ListVolumesRequest>) -> Answer<ListVolumesResponse> {
        let request = request.into_inner();
        self.read("ListVolumes", String::new(), move |shared| volumes::list(shared, &request)).await
    }

    async fn get_capacity(&self, request: Request<GetCapacityRequest>) -> Answer<GetCapacityResponse> {
        let request = request.into_inner();
        self.read("GetCapacity", String::new(), move |shared| capacity::get(shared, &request)).await
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<ControllerGetCapabilitiesRequest>,
    ) -> Answer<ControllerGetCapabilitiesResponse> {
        let claimed = CAPABILITIES
            .into_iter()
            .filter(|kind| *kind != rpc::Type::ExpandVolume || !self.expands_on_node());
        let capabilities = claimed
            .map(|kind| ControllerServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: kind.into() })) });
        Ok(Response::new(ControllerGetCapabilitiesResponse { capabilities: capabilities.collect() }))
    }

    async fn create_snapshot(
        &self,
        request: Request<CreateSnapshotRequest>,
    ) -> Answer<CreateSnapshotResponse> {
        let request = request.into_inner();
        let about = shown(&request.name);
        self.change("CreateSnapshot", about, move |shared| snapshots::create(shared, &request)).await
    }

    async fn delete_snapshot(
        &self,
        request: Request<DeleteSnapshotRequest>,
    ) -> Answer<DeleteSnapshotResponse> {
        let request = request.into_inner();
        let about = shown(&request.snapshot_id);
        self.change("DeleteSnapshot", about, move |shared| snapshots::delete(shared, &request)).await
    }

    async fn list_snapshots(&self, request: Request<ListSnapshotsRequest>) -> Answer<ListSnapshotsResponse> {
        let request = request.into_inner();
        self.read("ListSnapshots", String::new(), move |shared| snapshots::list(shared, &request)).await
    }

    async fn get_snapshot(&self, request: Request<GetSnapshotRequest>) -> Answer<GetSnapshotResponse> {
        let request = request.into_inner();
        let about = shown(&request.snapshot_id);
        self.read("GetSnapshot", about, move |shared| snapshots::get(shared, &request)).await
    }

    async fn controller_expand_volume(
        &self,
        request: Request<ControllerExpandVolumeRequest>,
    ) -> Answer<ControllerExpandVolumeResponse> {
        let request = request.into_inner();
        let about = shown(&request.volume_id);
        self.change("ControllerExpandVolume", about, move |shared| change::expand(shared, &request)).await
    }

    async fn controller_get_volume(
        &self,
        request: Request<ControllerGetVolumeRequest>,
    ) -> Answer<ControllerGetVolumeResponse> {
        let request = request.into_inner();
        let about = shown(&request.volume_id);
        self.read("ControllerGetVolume", about, move |shared| volumes::get(shared, &request)).await
    }

    async fn controller_modify_volume(
        &self,
        request: Request<ControllerModifyVolumeRequest>,
    ) -> Answer<ControllerModifyVolumeResponse> {
        let request = request.into_inner();
        let about = shown(&request.volume_id);
        self.change("ControllerModifyVolume", about, move |shared| change::modify(shared, &request)).await
    }
}

fn no_attaching() -> Status {
    Status::unimplemented("volumes are attached on their node: set attachRequired: false in the CSIDriver")
}
