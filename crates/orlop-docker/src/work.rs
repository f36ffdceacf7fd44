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

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    };

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(10);

    /// A call that lasts until it is told to end, and what tells that nobody heard its result.
    struct Blocked<C, U> {
        end: Sender<u32>,
        call: C,
        told: Receiver<u32>,
        unheard: U,
    }

    fn blocked() -> Blocked<impl FnOnce() -> Result<u32> + Send, impl FnOnce(Result<u32>) + Send> {
        let (end, ended) = channel();
        let (tell, told) = channel();
        Blocked {
            end,
            call: move || Ok(ended.recv().unwrap()),
            told,
            unheard: move |result: Result<u32>| tell.send(result.unwrap()).unwrap(),
        }
    }

    #[tokio::test]
    async fn late_work_goes_on_once_and_is_told_that_nobody_heard() {
        let queue = Arc::new(Semaphore::new(1));
        let Blocked { end, call, told, unheard } = blocked();
        let error = bounded(&queue, SHORT, call, unheard).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Recovering);
        assert_eq!(queue.available_permits(), 0, "it still works");
        end.send(7).unwrap();
        assert_eq!(told.recv_timeout(LONG), Ok(7));
        assert!(told.recv_timeout(LONG).is_err(), "told once");
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_does_not_stop_the_work() {
        let queue = Arc::new(Semaphore::new(1));
        let Blocked { end, call, told, unheard } = blocked();
        assert!(timeout(SHORT, bounded(&queue, LONG, call, unheard)).await.is_err());
        end.send(7).unwrap();
        assert_eq!(told.recv_timeout(LONG), Ok(7));
    }

    #[tokio::test]
    async fn what_is_heard_is_not_told_again() {
        let queue = Arc::new(Semaphore::new(1));
        let told = Arc::new(Mutex::new(false));
        let unheard = {
            let told = Arc::clone(&told);
            move |_: Result<u32>| *told.lock().unwrap() = true
        };
        assert_eq!(bounded(&queue, LONG, || Ok(7), unheard).await, Ok(7));
        assert!(!*told.lock().unwrap());
    }

    #[tokio::test]
    async fn reads_do_not_wait_for_changes() {
        let work = Work::new();
        let mut ends = Vec::new();
        for _ in 0..CHANGES {
            let Blocked { end, call, .. } = blocked();
            let change = work.change(call, |_| {});
            assert!(timeout(Duration::from_millis(1), change).await.is_err());
            ends.push(end);
        }
        assert_eq!(work.changes.available_permits(), 0);
        assert_eq!(work.read(|| Ok(7)).await, Ok(7));
        for end in ends {
            end.send(0).unwrap();
        }
    }

    #[tokio::test]
    async fn a_bug_in_one_operation_is_an_error_of_that_one() {
        let queue = Arc::new(Semaphore::new(1));
        let error = bounded::<u32>(&queue, LONG, || panic!("a bug"), |_| {}).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Host);
        assert_eq!(bounded(&queue, LONG, || Ok(7), |_| {}).await, Ok(7));
    }
}
