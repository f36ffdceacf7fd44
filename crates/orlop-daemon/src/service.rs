//! What all handlers share: the engine behind bounded blocking threads, the phase of the daemon's
//! life, and the newest event.

use std::{sync::Arc, time::Duration};

use orlop_engine::Engine;
use orlop_model::{Error, ErrorKind, Result};
use tokio::sync::{Semaphore, watch};

use crate::metrics::Metrics;

/// Changes that run at once. Most of each is spent in mkfs, mount and the store, which gain
/// nothing from more on a small host.
const CHANGES: usize = 16;
/// Reads that run at once. They wait for nothing but the store.
const READS: usize = 8;
/// The blocking threads that both take at most.
pub(crate) const THREADS: usize = CHANGES + READS;
/// So long a request waits for a recovery that is under way: the one that started the daemon, through the
/// socket that systemd holds, comes before it is over.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(3);

/// Where the daemon is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Recovery is under way.
    Starting,
    /// Recovered.
    Running,
    /// No new work; what was begun is brought to its end.
    Stopping,
}

/// Shared by all handlers; clones are the same one.
#[derive(Clone)]
pub(crate) struct Service {
    engine: Engine,
    phase: watch::Sender<Phase>,
    newest_event: watch::Receiver<u64>,
    changes: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Service {
    /// A service that is starting.
    pub(crate) fn new(engine: Engine) -> Self {
        let (sender, newest_event) = watch::channel(engine.newest_event());
        engine.on_event(Box::new(move |sequence| {
            sender.send_if_modified(|newest| {
                let newer = sequence > *newest;
                *newest = (*newest).max(sequence);
                newer
            });
        }));
        Self {
            engine,
            phase: watch::Sender::new(Phase::Starting),
            newest_event,
            changes: Arc::new(Semaphore::new(CHANGES)),
            reads: Arc::new(Semaphore::new(READS)),
            metrics: Arc::default(),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Ends when the daemon is told to stop.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut phase = self.phase.subscribe();
        async move {
            // The sender lives as long as any handler; without it there is nothing to wait for.
            let _ = phase.wait_for(|phase| *phase == Phase::Stopping).await;
        }
    }

    /// The newest sequence, and its changes.
    pub(crate) fn newest_event(&self) -> watch::Receiver<u64> {
        self.newest_event.clone()
    }

    /// Runs a read on a blocking thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.recovered().await?;
        self.block(&self.reads, work).await
    }

    /// Runs a change on a blocking thread. It runs to its end even when the client hangs up and
    /// this future is dropped: only a change that still waits for its turn is forgotten.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.recovered().await?;
        self.block(&self.changes, work).await
    }

    /// As [`Self::read`], also before recovery.
    pub(crate) async fn inspect<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.block(&self.reads, work).await
    }

    async fn recovered(&self) -> Result<()> {
        let mut phase = self.phase.subscribe();
        let over = phase.wait_for(|phase| *phase != Phase::Starting);
        // Whatever came of it: the phase says it.
        let _ = tokio::time::timeout(RECOVERY_PATIENCE, over).await;
        match self.phase() {
            Phase::Starting => {
                Err(Error::new(ErrorKind::Recovering, "the daemon still recovers its volumes")
                    .hint("try again in a moment; /readyz says when it is done"))
            }
            Phase::Running => Ok(()),
            Phase::Stopping => Err(Error::new(ErrorKind::Unavailable, "the daemon is stopping")
                .hint("try again when it is back: `systemctl status orlop`")),
        }
    }

    async fn block<T: Send + 'static>(
        &self,
        lane: &Arc<Semaphore>,
        work: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let lost = |what: &str| {
            Error::new(ErrorKind::Host, format!("the operation {what}"))
                .hint("its log is in `journalctl -u orlop`; the next start of the daemon finishes or undoes what was begun")
        };
        let permit = Arc::clone(lane).acquire_owned().await.map_err(|_| lost("found no thread"))?;
        let engine = self.engine.clone();
        let span = tracing::Span::current();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            span.in_scope(|| work(&engine))
        });
        task.await.map_err(|_| lost("broke off by a fault of Orlop"))?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use orlop_testkit::{Part, require};

    use super::*;
    use crate::rest::tests::engine;

    #[tokio::test]
    async fn work_goes_on_when_its_client_has_gone() {
        require!(Part::Root);
        let (_scratch, engine) = engine();
        let service = Service::new(engine);
        service.enter(Phase::Running);
        let (begun, begins) = mpsc::channel();
        let (go, going) = mpsc::channel::<()>();
        let (done, ends) = mpsc::channel();
        let call = tokio::spawn(async move {
            service
                .change(move |_| {
                    begun.send(()).unwrap();
                    going.recv().unwrap();
                    done.send(()).unwrap();
                    Ok(())
                })
                .await
        });
        tokio::task::spawn_blocking(move || begins.recv()).await.unwrap().unwrap();
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        go.send(()).unwrap();
        tokio::task::spawn_blocking(move || ends.recv()).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn nothing_is_done_before_recovery_nor_while_stopping() {
        require!(Part::Root);
        let (_scratch, engine) = engine();
        let service = Service::new(engine);
        let refused = service.change(|_| Ok(())).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Recovering);
        assert_eq!(service.inspect(|_| Ok(1)).await, Ok(1));
        // One that comes a moment too early is not sent away.
        let early = tokio::spawn({
            let service = service.clone();
            async move { service.change(|_| Ok(2)).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!early.is_finished());
        service.enter(Phase::Running);
        assert_eq!(early.await.unwrap(), Ok(2));
        service.enter(Phase::Stopping);
        assert_eq!(service.read(|_| Ok(())).await.unwrap_err().kind, ErrorKind::Unavailable);
        service.stopping().await;
    }

    #[tokio::test]
    async fn a_fault_of_ours_is_an_answer() {
        require!(Part::Root);
        let (_scratch, engine) = engine();
        let service = Service::new(engine);
        service.enter(Phase::Running);
        let error = service.change::<()>(|_| panic!("a bug")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Host);
        assert_eq!(service.change(|_| Ok(3)).await, Ok(3));
    }
}
