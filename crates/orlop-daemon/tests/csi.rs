//! The daemon as the driver of an orchestrator: the socket that is asked for, and how it comes and goes.
#![allow(clippy::unwrap_used)]

use std::{os::unix::fs::PermissionsExt, path::Path};

use hyper_util::rt::TokioIo;
use orlop_csi::protocol::{
    NodeGetInfoRequest, ProbeRequest, identity_client::IdentityClient, node_client::NodeClient,
};
use orlop_testkit::{OrlopDaemon, Part, Scratch, require};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

async fn connect(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_driver_answers_on_its_socket_and_ends_with_the_daemon() {
    require!(Part::Loop);
    let scratch = Scratch::new("csi");
    let (socket, kubelet) = (scratch.join("plugins/csi.orlop.dev/csi.sock"), scratch.mkdir("kubelet"));
    let config = format!(
        "csiEndpoint: unix://{}\nnodeId: node-1\nkubeletRoot: {}\n",
        socket.display(),
        kubelet.display()
    );
    let mut daemon = OrlopDaemon::builder().config(config).state_dir(scratch.join("state")).start();
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    let channel = connect(&socket).await;
    let info = NodeClient::new(channel.clone()).node_get_info(NodeGetInfoRequest {}).await.unwrap();
    assert_eq!(info.into_inner().node_id, "node-1");
    // Clients that stay connected don't keep the daemon from ending.
    daemon.stop();
    assert!(!socket.exists());
    drop(channel);

    daemon.restart();
    // What a killed daemon leaves is replaced.
    daemon.kill9();
    assert!(socket.exists());
    daemon.restart();
    let probed = IdentityClient::new(connect(&socket).await).probe(ProbeRequest {}).await.unwrap();
    assert_eq!(probed.into_inner().ready, Some(true));
}
