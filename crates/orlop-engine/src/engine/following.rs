//! What happens and what is under way, for those who follow it.

use orlop_model::{
    OperationId, Result,
    resource::{Event, Operation},
};

use super::Engine;
use crate::{events::About, request::*};

impl Engine {
    /// Events in order; [`ErrorKind::Expired`] when those right after `after` are no longer kept.
    pub fn events(&self, _: &Caller, query: &EventQuery) -> Result<Vec<Event>> {
        self.core().store.read(|r| crate::store::events::select(r, query))
    }

    /// The newest sequence.
    pub fn newest_event(&self) -> u64 {
        self.core().store.newest_event()
    }

    /// Calls back with the newest sequence after every commit that added events. The callback must not block.
    pub fn on_event(&self, observer: Box<dyn Fn(u64) + Send + Sync>) {
        self.core().store.on_event(observer);
    }

    /// Long work that is under way, oldest first.
    pub fn operations(&self, _: &Caller) -> Vec<Operation> {
        self.core().running.all()
    }

    /// Asks long work to stop, and returns at once; the request that began it is answered with
    /// [`ErrorKind::Interrupted`]. Only who began it may, and uid 0.
    pub fn stop_operation(&self, caller: &Caller, id: OperationId) -> Result<Operation> {
        let what = format!("stop of operation {id}");
        self.noted("operation.stop", caller, &what, About::Nothing, |core| core.running.stop(caller, id))
    }

    /// Asks all long work to stop, now and from now on: the process is about to end.
    pub fn stop_operations(&self) {
        self.core().running.close();
    }
}
