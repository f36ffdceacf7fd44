//! What the driver is, what it can do as a whole, and whether it is ready.

use orlop_model::{Error, ErrorKind};
use tonic::{Code, Request, Response, Status, async_trait};

use crate::{
    NAME,
    driver::Driver,
    error::Refusal,
    protocol::{
        GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse, GetPluginInfoRequest,
        GetPluginInfoResponse, PluginCapability, ProbeRequest, ProbeResponse,
        identity_server::Identity,
        plugin_capability::{Service, Type, VolumeExpansion, service, volume_expansion},
    },
};

#[async_trait]
impl Identity for Driver {
    async fn get_plugin_info(
        &self,
        _: Request<GetPluginInfoRequest>,
    ) -> Result<Response<GetPluginInfoResponse>, Status> {
        Ok(Response::new(GetPluginInfoResponse {
            name: NAME.to_owned(),
            vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
            manifest: Default::default(),
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<GetPluginCapabilitiesRequest>,
    ) -> Result<Response<GetPluginCapabilitiesResponse>, Status> {
        let service = |kind: service::Type| Type::Service(Service { r#type: kind.into() });
        let expansion = VolumeExpansion { r#type: volume_expansion::Type::Online.into() };
        let capabilities = [
            service(service::Type::ControllerService),
            service(service::Type::VolumeAccessibilityConstraints),
            service(service::Type::GroupControllerService),
            Type::VolumeExpansion(expansion),
        ];
        let capabilities = capabilities.map(|kind| PluginCapability { r#type: Some(kind) });
        Ok(Response::new(GetPluginCapabilitiesResponse { capabilities: capabilities.to_vec() }))
    }

    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        self.read("Probe", String::new(), |shared| {
            let readiness = shared.engine.readiness();
            // What is still recovering is healthy; what no host can see is not.
            if !readiness.recovering && !readiness.is_ready() {
                let error = Error::new(ErrorKind::Host, readiness.problems.join("; ")).object("driver");
                return Err(Refusal::coded(Code::FailedPrecondition, error));
            }
            Ok(ProbeResponse { ready: Some(!readiness.recovering) })
        })
        .await
    }
}
