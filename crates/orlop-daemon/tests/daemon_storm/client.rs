//! One orchestrator: what it asks for at random, whether the answer is right, and how it cleans up.

mod calls;
mod clean;

use std::{error::Error, path::Path, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use orlop_csi::protocol::{controller_client::ControllerClient, node_client::NodeClient};
use tokio::{net::UnixStream, time::timeout};
use tonic::{
    Code, Response, Status,
    transport::{Channel, Endpoint},
};

use crate::{dice::Dice, volumes::Storm};

/// When a call counts as one that is never answered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) struct Client {
    storm: Arc<Storm>,
    dice: Dice,
    controller: ControllerClient<Channel>,
    node: NodeClient<Channel>,
}

impl Client {
    pub(crate) async fn new(socket: &Path, storm: &Arc<Storm>, dice: Dice) -> Self {
        let socket = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        let (controller, node) = (ControllerClient::new(channel.clone()), NodeClient::new(channel));
        Self { storm: Arc::clone(storm), dice, controller, node }
    }

    /// What the driver answered, where it did, and the answer is one of those that the call may have: the
    /// allowed ones, and ABORTED, which says that something else is under way with the same volume. Now and
    /// then it does not wait for it.
    async fn judged<T>(
        &mut self,
        call: &'static str,
        allowed: &[Code],
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Option<T> {
        let gives_up = self.dice.one_in(8).then(|| Duration::from_micros(self.dice.roll(40_000)));
        let storm = Arc::clone(&self.storm);
        let Ok(answer) = timeout(gives_up.unwrap_or(ANSWERED_WITHIN), answer).await else {
            match gives_up {
                Some(_) => storm.answered(call, "given up"),
                None => storm.wrong(call, Code::DeadlineExceeded, "no answer"),
            }
            return None;
        };
        match answer {
            Ok(answer) => {
                storm.answered(call, "OK");
                return Some(answer.into_inner());
            }
            Err(status) if is_of_transport(&status) => {
                storm.answered(call, "nobody there");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(status) => {
                storm.answered(call, format!("{:?}", status.code()));
                if status.code() == Code::Aborted {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                } else if !allowed.contains(&status.code()) {
                    storm.wrong(call, status.code(), status.message());
                }
            }
        }
        None
    }
}

/// Whether nobody answered: what the driver itself says has no cause on this side.
fn is_of_transport(status: &Status) -> bool {
    status.source().is_some()
}
