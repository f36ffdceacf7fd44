//! Running the engine's blocking calls behind asynchronous handlers.

use std::{sync::Arc, time::Duration};

use orlop_model::{Error, ErrorKind};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

use crate::error::{Refusal, Reply};

/// How long the engine waits for other work on the same volume before a call is answered ABORTED: less
/// than sidecars wait by default (10 s), so that they hear it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// When a call is answered at the latest. Callers have deadlines of their own, of at most two minutes in a
/// kubelet.
const DEADLINE: Duration = Duration::from_secs(120);

/// How many changes run at once. Most of each is spent in mkfs, mount and the store.
const CHANGES: usize = 32;

/// How many reads run at once.
const READS: usize = 8;

/// How many blocking threads of the runtime the requests of one socket take at most. Where there are fewer,
/// changes that hang keep those who read waiting.
pub const THREADS: usize = CHANGES + READS;

/// Two queues before the engine: what changes volumes can't keep what reads them waiting.
#[derive(Clone)]
pub(crate) struct Work {
    changes: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

impl Work {
    pub(crate) fn new() -> Self {
        Self { changes: Arc::new(Semaphore::new(CHANGES)), reads: Arc::new(Semaphore::new(READS)) }
    }

    /// Reads from the engine.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Reply<T> + Send + 'static,
    ) -> Reply<T> {
        bounded(&self.reads, DEADLINE, call).await
    }

    /// Changes something. What takes longer than the deadline goes on to its end, and so does what nobody
    /// waits for any more: the same call finds it further on.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Reply<T> + Send + 'static,
    ) -> Reply<T> {
        bounded(&self.changes, DEADLINE, call).await
    }
}

async fn bounded<T: Send + 'static>(
    queue: &Arc<Semaphore>,
    deadline: Duration,
    call: impl FnOnce() -> Reply<T> + Send + 'static,
) -> Reply<T> {
    let work = async {
        let permit = Arc::clone(queue).acquire_owned().await.map_err(|_| stopping())?;
        spawn_blocking(move || run(permit, call)).await.map_err(|_| broken())?
    };
    timeout(deadline, work).await.unwrap_or_else(|_| Err(late()))
}

fn run<T>(permit: OwnedSemaphorePermit, call: impl FnOnce() -> Reply<T>) -> Reply<T> {
    let result = call();
    drop(permit);
    result
}

fn late() -> Refusal {
    Error::new(ErrorKind::Recovering, "the work goes on and is not done yet")
        .hint("the same call will find it further on")
        .into()
}

fn broken() -> Refusal {
    Error::new(ErrorKind::Host, "the operation ended without a result")
        .hint("the daemon's log says why; the same call is safe to repeat")
        .into()
}

fn stopping() -> Refusal {
    Error::new(ErrorKind::Unavailable, "the daemon is stopping").hint("try again when it has started").into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc::channel;

    use tonic::Code;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn late_work_goes_on_and_is_told_to_be_repeated() {
        let queue = Arc::new(Semaphore::new(1));
        let (end, ended) = channel();
        let (tell, told) = channel();
        let call = move || {
            ended.recv().unwrap();
            tell.send(()).unwrap();
            Ok(())
        };
        let refusal = bounded(&queue, SHORT, call).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Aborted);
        assert_eq!(queue.available_permits(), 0, "it still works");
        end.send(()).unwrap();
        told.recv_timeout(LONG).unwrap();
        bounded(&queue, LONG, || Ok(())).await.unwrap();
    }

    #[tokio::test]
    async fn reads_do_not_wait_for_changes() {
        let work = Work::new();
        let mut ends = Vec::new();
        for _ in 0..CHANGES {
            let (end, ended) = channel::<()>();
            let change = work.change(move || {
                // Ends when the test does, whatever becomes of it.
                let _ = ended.recv();
                Ok(())
            });
            assert!(timeout(Duration::from_millis(1), change).await.is_err());
            ends.push(end);
        }
        assert_eq!(work.changes.available_permits(), 0);
        assert_eq!(work.read(|| Ok(7)).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_bug_in_one_operation_is_an_error_of_that_one() {
        let work = Work::new();
        let refusal = work.change::<u32>(|| panic!("a bug")).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Internal);
        assert_eq!(work.change(|| Ok(7)).await.unwrap(), 7);
    }
}
