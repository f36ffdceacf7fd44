//! The services on a socket.

use orlop_model::{Error, ErrorKind, Result};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use crate::{
    driver::Driver,
    protocol::{
        controller_server::ControllerServer, group_controller_server::GroupControllerServer,
        identity_server::IdentityServer, node_server::NodeServer,
    },
};

/// A message is at most so long. Tokens of service accounts, which kubelets may add to a request, are the
/// longest thing in one.
const MESSAGE_LIMIT: usize = 1 << 20;

/// Serves until `stop` ends, and then until what was asked before is answered.
///
/// # Errors
/// [`ErrorKind::Host`] where the socket fails.
pub async fn serve(driver: Driver, listener: UnixListener, stop: impl Future<Output = ()>) -> Result<()> {
    let identity = IdentityServer::new(driver.clone()).max_decoding_message_size(MESSAGE_LIMIT);
    let controller = ControllerServer::new(driver.clone()).max_decoding_message_size(MESSAGE_LIMIT);
    let group = GroupControllerServer::new(driver.clone()).max_decoding_message_size(MESSAGE_LIMIT);
    let node = NodeServer::new(driver).max_decoding_message_size(MESSAGE_LIMIT);
    Server::builder()
        .add_service(identity)
        .add_service(controller)
        .add_service(group)
        .add_service(node)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop)
        .await
        .map_err(|fault| Error::new(ErrorKind::Host, format!("the CSI socket failed: {fault}")))
}
