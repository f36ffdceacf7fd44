//! Volumes where their consumers are: staged for the node, published for one consumer, and how they fare.

mod ephemeral;
mod expand;
mod publish;
mod stage;
mod statistics;

pub(crate) use ephemeral::wish_of as inline_wish;

use tonic::{Request, Response, Status, async_trait};

use crate::{
    driver::Driver,
    protocol::{
        NodeExpandVolumeRequest, NodeExpandVolumeResponse, NodeGetCapabilitiesRequest,
        NodeGetCapabilitiesResponse, NodeGetInfoRequest, NodeGetInfoResponse, NodeGetVolumeStatsRequest,
        NodeGetVolumeStatsResponse, NodePublishVolumeRequest, NodePublishVolumeResponse,
        NodeServiceCapability, NodeStageVolumeRequest, NodeStageVolumeResponse, NodeUnpublishVolumeRequest,
        NodeUnpublishVolumeResponse, NodeUnstageVolumeRequest, NodeUnstageVolumeResponse,
        node_server::Node,
        node_service_capability::{Rpc, Type, rpc},
    },
    request::shown,
};

/// What it can do.
const CAPABILITIES: [rpc::Type; 6] = [
    rpc::Type::StageUnstageVolume,
    rpc::Type::GetVolumeStats,
    rpc::Type::ExpandVolume,
    rpc::Type::VolumeCondition,
    rpc::Type::SingleNodeMultiWriter,
    rpc::Type::VolumeMountGroup,
];

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl Node for Driver {
    async fn node_stage_volume(
        &self,
        request: Request<NodeStageVolumeRequest>,
    ) -> Answer<NodeStageVolumeResponse> {
        let request = request.into_inner();
        let about = shown(&request.volume_id);
        self.change("NodeStageVolume", about, move |shared| stage::stage(shared, &request)).await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<NodeUnstageVolumeRequest>,
    ) -> Answer<NodeUnstageVolumeResponse> {
        let request = request.into_inner();
        let about = shown(&request.volume_id);
        self.change("NodeUnstageVolume", about, move |shared| stage::unstage(shared, &request)).await
    }

    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Answer<NodePublishVolumeResponse> {
        let request = request.into_inner();
        let about = shown(&request.volume_id);
        self.change("NodePublishVolume", about, move |shared| publish::publish(shared, &request)).await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Answer<NodeUnpublishVolumeResponse> {
        let request = request.into_inner();
        let about = shown(&request.volume_id);
        self.change("NodeUnpublishVolume", about, move |shared| publish::unpublish(shared, &request)).await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Answer<NodeGetVolumeStatsResponse> {
        let request = request.into_inner();
        let about = shown(&request.volume_id);
        self.read("NodeGetVolumeStats", about, move |shared| statistics::get(shared, &request)).await
    }

    async fn node_expand_volume(
        &self,
        request: Request<NodeExpandVolumeRequest>,
    ) -> Answer<NodeExpandVolumeResponse> {
        let request = request.into_inner();
        let about = shown(&request.volume_id);
        self.change("NodeExpandVolume", about, move |shared| expand::expand(shared, &request)).await
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Answer<NodeGetCapabilitiesResponse> {
        let capabilities = CAPABILITIES
            .map(|kind| NodeServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: kind.into() })) });
        Ok(Response::new(NodeGetCapabilitiesResponse { capabilities: capabilities.to_vec() }))
    }

    async fn node_get_info(&self, _: Request<NodeGetInfoRequest>) -> Answer<NodeGetInfoResponse> {
        Ok(Response::new(NodeGetInfoResponse {
            node_id: self.node().0.clone(),
            // As many as the kernel has loop devices for, which is no small number.
            max_volumes_per_node: 0,
            accessible_topology: Some(self.node().topology()),
        }))
    }
}
