//! Running the engine's blocking calls behind asynchronous handlers, within what engines wait for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use orlop_model::{Error, ErrorKind, Result};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::spawn_blocking,
    time::timeout,
};

/// How long the engine waits for other work on the same volume before it says so.
pub(crate) const PATIENCE: Duration = Duration::from_millis(3000);

/// When a change is answered at the latest: before Podman's 5 s, with room for the answer itself.
pub(crate) const CHANGE_DEADLINE: Duration = Duration::from_millis(3700);

/// When a read is answered at the latest.
const READ_DEADLINE: Duration = Duration::from_millis(3700);

/// How many changes run at once. Blocked ones must leave the runtime's threads to the reads.
const CHANGES: usize = 64;

/// How many reads run at once.
const READS: usize = 16;

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
        call: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        bounded(&self.reads, READ_DEADLINE, call, |_| {}).await
    }

    /// Changes something. What takes longer than the deadline is answered with
    /// [`ErrorKind::Recovering`] and goes on to its end; so does what nobody waits for any more.
    /// `unheard` is then given the result, on the same thread.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T> + Send + 'static,
        unheard: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Result<T> {
        bounded(&self.changes, CHANGE_DEADLINE, call, unheard).await
    }
}

async fn bounded<T: Send + 'static>(
    queue: &Arc<Semaphore>,
    deadline: Duration,
    call: impl FnOnce() -> Result<T> + Send + 'static,
    unheard: impl FnOnce(Result<T>) + Send + 'static,
) -> Result<T> {
    let start = Instant::now();
    let permit = match timeout(deadline, Arc::clone(queue).acquire_owned()).await {
        Ok(Ok(permit)) => permit,
        Ok(Err(_)) => return Err(stopping()),
        Err(_) => {
            return Err(Error::new(ErrorKind::Recovering, "many other volumes are being worked on")
                .hint("try again in a moment"));
        }
    };
    let (answer, mut heard) = oneshot::channel();
    spawn_blocking(move || run(permit, call, answer, unheard));
    let left = deadline.saturating_sub(start.elapsed());
    match timeout(left, &mut heard).await {
        Ok(Ok(result)) => result,
        // The thread went down without an answer: a bug in one operation, which must not end the others.
        Ok(Err(_)) => Err(Error::new(ErrorKind::Host, "the operation ended without a result")
            .hint("the daemon's log says why; the same request is safe to repeat")),
        Err(_) => {
            // From here on the sender sees that nobody hears it; what it had sent before is heard.
            heard.close();
            heard.try_recv().unwrap_or_else(|_| Err(late()))
        }
    }
}

fn run<T>(
    permit: OwnedSemaphorePermit,
    call: impl FnOnce() -> Result<T>,
    answer: oneshot::Sender<Result<T>>,
    unheard: impl FnOnce(Result<T>),
) {
    let result = call();
    if let Err(result) = answer.send(result) {
        unheard(result);
    }
    drop(permit);
}

fn late() -> Error {
    Error::new(ErrorKind::Recovering, "the work goes on and is not done yet")
        .hint("the same request will find it further on")
}

fn stopping() -> Error {
    Error::new(ErrorKind::Unavailable, "the daemon is stopping").hint("try again when it has started")
}
