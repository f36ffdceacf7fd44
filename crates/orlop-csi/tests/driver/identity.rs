//! What the driver says of itself.

use orlop_csi::protocol::{
    controller_service_capability as controller, node_service_capability as node,
    plugin_capability as plugin, *,
};
use orlop_testkit::{Part, require};

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_when_it_has_recovered() {
    require!(Part::Loop);
    let mut world = World::unrecovered(|_| ()).await;
    let info = world.identity.get_plugin_info(GetPluginInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.name, "csi.orlop.dev");
    assert_eq!(info.vendor_version, env!("CARGO_PKG_VERSION"));
    let ready = world.identity.probe(ProbeRequest {}).await.unwrap().into_inner().ready;
    assert_eq!(ready, Some(false));
    // Until then calls are told to come again.
    assert_eq!(code(world.create(volume("a")).await), tonic::Code::Aborted);
    world.recover().await;
    let ready = world.identity.probe(ProbeRequest {}).await.unwrap().into_inner().ready;
    assert_eq!(ready, Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_claims_what_it_can_do() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let answer = world.identity.get_plugin_capabilities(GetPluginCapabilitiesRequest {}).await.unwrap();
    let of_all: Vec<_> =
        answer.into_inner().capabilities.into_iter().map(|one| one.r#type.unwrap()).collect();
    let answer =
        world.controller.controller_get_capabilities(ControllerGetCapabilitiesRequest {}).await.unwrap();
    let of_controller: Vec<_> = answer
        .into_inner()
        .capabilities
        .into_iter()
        .map(|one| match one.r#type.unwrap() {
            controller::Type::Rpc(rpc) => rpc.r#type().as_str_name(),
        })
        .collect();
    let answer = world.node.node_get_capabilities(NodeGetCapabilitiesRequest {}).await.unwrap();
    let of_node: Vec<_> = answer
        .into_inner()
        .capabilities
        .into_iter()
        .map(|one| match one.r#type.unwrap() {
            node::Type::Rpc(rpc) => rpc.r#type().as_str_name(),
        })
        .collect();
    let of_all: Vec<_> = of_all
        .iter()
        .map(|one| match one {
            plugin::Type::Service(service) => service.r#type().as_str_name(),
            plugin::Type::VolumeExpansion(expansion) => expansion.r#type().as_str_name(),
        })
        .collect();
    insta::assert_snapshot!(format!("plugin: {of_all:?}\ncontroller: {of_controller:?}\nnode: {of_node:?}"));

    let info = world.node.node_get_info(NodeGetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.node_id.as_str(), info.max_volumes_per_node), (NODE, 0));
    assert_eq!(info.accessible_topology.unwrap().segments, map(&[(TOPOLOGY, NODE)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn growing_can_be_left_to_the_node() {
    require!(Part::Loop);
    let mut world = World::unrecovered(|settings| settings.expand_on_node = true).await;
    let answer =
        world.controller.controller_get_capabilities(ControllerGetCapabilitiesRequest {}).await.unwrap();
    let expands = answer.into_inner().capabilities.into_iter().any(|one| match one.r#type.unwrap() {
        controller::Type::Rpc(rpc) => rpc.r#type() == controller::rpc::Type::ExpandVolume,
    });
    assert!(!expands);
}
