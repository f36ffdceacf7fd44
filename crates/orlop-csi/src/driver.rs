//! What the services of one node have in common: the engine, the node's name, and one way in which every
//! call is run, logged and answered.

use std::{sync::Arc, time::Instant};

use orlop_engine::{Caller, Engine};
use orlop_model::resource::Front;
use tonic::{Response, Status};

use crate::{Settings, error::Reply, topology::Node, work::Work};

/// The driver of one node. Clones are the same one.
#[derive(Clone)]
pub struct Driver {
    shared: Arc<Shared>,
    work: Work,
}

/// What a call is given.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) node: Node,
    pub(crate) expand_on_node: bool,
}

/// Who asks the engine. The socket is 0600 and root's, so its peer is root.
pub(crate) const CALLER: Caller = Caller { uid: 0, front: Front::Csi };

impl Driver {
    /// A driver over that engine.
    pub fn new(engine: Engine, settings: Settings) -> Self {
        let Settings { node, expand_on_node } = settings;
        Self { shared: Arc::new(Shared { engine, node: Node(node), expand_on_node }), work: Work::new() }
    }

    /// A call that only reads. `about` is what the log says of it: never a secret.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        call: &'static str,
        about: String,
        work: impl FnOnce(&Shared) -> Reply<T> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let (start, shared) = (Instant::now(), Arc::clone(&self.shared));
        answer(call, &about, start, self.work.read(move || work(&shared)).await)
    }

    /// A call that changes something.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        call: &'static str,
        about: String,
        work: impl FnOnce(&Shared) -> Reply<T> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let (start, shared) = (Instant::now(), Arc::clone(&self.shared));
        answer(call, &about, start, self.work.change(move || work(&shared)).await)
    }

    pub(crate) fn node(&self) -> &Node {
        &self.shared.node
    }

    pub(crate) fn expands_on_node(&self) -> bool {
        self.shared.expand_on_node
    }
}

fn answer<T>(
    call: &'static str,
    about: &str,
    start: Instant,
    reply: Reply<T>,
) -> Result<Response<T>, Status> {
    let millis = start.elapsed().as_millis();
    match reply {
        Ok(message) => {
            tracing::debug!(call, about, millis, "answered");
            Ok(Response::new(message))
        }
        Err(refusal) => {
            tracing::info!(call, about, millis, code = ?refusal.code(), error = refusal.line(), "refused");
            Err(refusal.into())
        }
    }
}
