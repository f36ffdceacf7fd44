//! The one thread that writes. Changes come in by channel; those that wait together are made
//! durable together, in one transaction with a savepoint for each, so that many threads share the
//! cost of a flush. Nobody is told of success before the commit is on the disk.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender},
    },
    thread::{self, JoinHandle, ThreadId},
    time::Duration,
};

use orlop_model::{Error, ErrorKind, Result};
use rusqlite::Connection;

use super::{Commits, EventObserver, StoreOptions, Tx, events, failure::failed, open};

/// The most changes in one commit. It bounds how long the first of them waits for the others.
const MOST: usize = 128;

/// After so many changes the log is moved into the file; at about 4 pages each that is some 8 MiB.
const CHECKPOINT_AFTER: usize = 512;

/// Without a change for that long, the log is moved into the file, so that the next start is short.
const IDLE: Duration = Duration::from_secs(2);

/// How many events pile up, and are then pruned with one commit.
const PRUNE_AFTER: u64 = 256;

/// The asking side.
pub(super) struct Writer {
    jobs: Mutex<Option<Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<Result<()>>>>,
    id: ThreadId,
    counters: Arc<Counters>,
    /// How many changes were ever asked for; tests queue them up by it.
    #[cfg(test)]
    asked: std::sync::atomic::AtomicUsize,
}

#[derive(Default)]
struct Counters {
    changes: AtomicU64,
    commits: AtomicU64,
    newest_event: AtomicU64,
}

/// A change on its way through the writer.
trait Job: Send {
    /// Runs the change; with an error, it is to be undone.
    fn run(&mut self, tx: &Tx<'_>) -> Result<()>;
    /// The change can't become durable.
    fn fail(&mut self, error: &Error);
    /// Answers.
    fn reply(self: Box<Self>);
}

struct Change<T, F> {
    change: Option<F>,
    result: Option<Result<T>>,
    reply: SyncSender<Result<T>>,
}

impl<T, F> Job for Change<T, F>
where
    F: FnOnce(&Tx<'_>) -> Result<T> + Send,
    T: Send,
{
    fn run(&mut self, tx: &Tx<'_>) -> Result<()> {
        if let Some(change) = self.change.take() {
            // Whatever the change had borrowed or moved is gone with it; its statements are undone.
            self.result = Some(catch_unwind(AssertUnwindSafe(|| change(tx))).unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Store, "a change of the store panicked and was undone")
                    .hint("this is a fault of orlop: report it with the daemon's log"))
            }));
        }
        match &self.result {
            Some(Err(error)) => Err(error.clone()),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    fn fail(&mut self, error: &Error) {
        // An error of its own says more than that of the commit.
        if !matches!(self.result, Some(Err(_))) {
            self.result = Some(Err(error.clone()));
        }
    }

    fn reply(self: Box<Self>) {
        if let Some(result) = self.result {
            // Nobody listens only where the asking thread panicked.
            let _ = self.reply.send(result);
        }
    }
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        file: &Path,
        options: StoreOptions,
        newest_event: u64,
        observers: Arc<Mutex<Vec<EventObserver>>>,
    ) -> Result<Self> {
        let counters =
            Arc::new(Counters { newest_event: AtomicU64::new(newest_event), ..Counters::default() });
        let (jobs, inbox) = mpsc::channel();
        let worker = Worker {
            connection,
            file: file.to_owned(),
            options,
            observers,
            counters: Arc::clone(&counters),
            unpruned: PRUNE_AFTER,
            unmoved: 0,
        };
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || worker.work(&inbox))
            .map_err(|error| {
                Error::new(ErrorKind::HostLimit, format!("could not start the store's thread: {error}"))
                    .hint("raise the limit of tasks for the daemon")
            })?;
        let id = thread.thread().id();
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
            id,
            counters,
            #[cfg(test)]
            asked: Default::default(),
        })
    }

    pub(super) fn write<T, F>(&self, change: F) -> Result<T>
    where
        F: FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        if thread::current().id() == self.id {
            // It would wait for itself for ever.
            return Err(Error::new(ErrorKind::Store, "a change of the store asked for another change")
                .hint("this is a fault of orlop: report it with the daemon's log"));
        }
        let (reply, answer) = mpsc::sync_channel(1);
        let job = Box::new(Change { change: Some(change), result: None, reply });
        match &*self.jobs.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            Some(jobs) => {
                jobs.send(job).map_err(|_| gone())?;
                #[cfg(test)]
                self.asked.fetch_add(1, Ordering::SeqCst);
            }
            None => return Err(gone()),
        }
        answer.recv().map_err(|_| gone())?
    }

    pub(super) fn newest_event(&self) -> u64 {
        self.counters.newest_event.load(Ordering::Acquire)
    }

    pub(super) fn commits(&self) -> Commits {
        Commits {
            changes: self.counters.changes.load(Ordering::Relaxed),
            commits: self.counters.commits.load(Ordering::Relaxed),
        }
    }

    #[cfg(test)]
    pub(super) fn asked(&self) -> usize {
        let _sent_and_counted = self.jobs.lock();
        self.asked.load(Ordering::SeqCst)
    }

    pub(super) fn close(&self) -> Result<()> {
        self.write(open::end_run)?;
        self.stop().unwrap_or(Ok(()))
    }

    /// Ends the thread after what was asked of it so far.
    fn stop(&self) -> Option<Result<()>> {
        drop(self.jobs.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take());
        let thread = self.thread.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        thread.map(|thread| thread.join().unwrap_or_else(|_| Err(gone())))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.stop() {
            tracing::warn!(%error, "the store was not closed well");
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Unavailable, "the store is closed")
        .hint("the daemon is stopping: try again when it is back")
}

/// The working side.
struct Worker {
    connection: Connection,
    file: PathBuf,
    options: StoreOptions,
    observers: Arc<Mutex<Vec<EventObserver>>>,
    counters: Arc<Counters>,
    /// Events since the last pruning.
    unpruned: u64,
    /// Changes in the log since the last checkpoint.
    unmoved: usize,
}

impl Worker {
    fn work(mut self, inbox: &Receiver<Box<dyn Job>>) -> Result<()> {
        loop {
            let first = if self.unmoved > 0 {
                match inbox.recv_timeout(IDLE) {
                    Ok(job) => job,
                    Err(RecvTimeoutError::Timeout) => {
                        self.checkpoint();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            } else {
                match inbox.recv() {
                    Ok(job) => job,
                    Err(mpsc::RecvError) => break,
                }
            };
            self.commit_together(first, inbox);
            if self.unmoved >= CHECKPOINT_AFTER {
                self.checkpoint();
            }
        }
        let Self { connection, file, .. } = self;
        connection.close().map_err(|(_, error)| failed(&file, "close the store", &error))
    }

    /// One transaction of all that waits, begun by `first`.
    fn commit_together(&mut self, first: Box<dyn Job>, inbox: &Receiver<Box<dyn Job>>) {
        let mut jobs = vec![first];
        let outcome = self.transact(&mut jobs, inbox);
        match outcome {
            Ok(newest_event) => {
                if let Some(newest) = newest_event {
                    // Before the replies: whoever was told of its change also finds its event.
                    self.counters.newest_event.store(newest, Ordering::Release);
                }
                jobs.into_iter().for_each(Job::reply);
                if let Some(newest) = newest_event {
                    self.observe(newest);
                }
            }
            Err(error) => {
                tracing::error!(%error, changes = jobs.len(), "could not commit");
                for mut job in jobs {
                    job.fail(&error);
                    job.reply();
                }
            }
        }
    }

    /// Runs and commits; returns the newest event that became durable, if any did.
    fn transact(
        &mut self,
        jobs: &mut Vec<Box<dyn Job>>,
        inbox: &Receiver<Box<dyn Job>>,
    ) -> Result<Option<u64>> {
        let connection = &self.connection;
        let failed = |what: &str, error: &rusqlite::Error| failed(&self.file, what, error);
        let run = |sql: &str| connection.prepare_cached(sql)?.execute([]).map(drop);
        run("BEGIN IMMEDIATE").map_err(|error| failed("begin a change", &error))?;
        // Rolls back whatever way this function is left.
        let undo = Undo(connection);
        let (mut kept, mut newest, mut index) = (0_u64, None, 0);
        while let Some(job) = jobs.get_mut(index) {
            run("SAVEPOINT change").map_err(|error| failed("begin a change", &error))?;
            let tx = Tx::new(connection, &self.file, &self.options.node);
            let outcome = job.run(&tx);
            // A full disk, an I/O error or a lack of memory can make SQLite roll back the whole
            // transaction by itself: what ran before is gone too, and must not be acknowledged.
            if connection.is_autocommit() {
                return Err(outcome.err().unwrap_or_else(|| lost(&self.file)));
            }
            if outcome.is_ok() {
                run("RELEASE change").map_err(|error| failed("keep a change", &error))?;
                kept += 1;
                newest = Some(tx.newest_event()).filter(|sequence| *sequence > 0).or(newest);
            } else {
                run("ROLLBACK TO change").map_err(|error| failed("undo a change", &error))?;
                run("RELEASE change").map_err(|error| failed("undo a change", &error))?;
            }
            index += 1;
            if index == jobs.len() && index < MOST {
                jobs.extend(inbox.try_recv());
            }
        }
        if kept == 0 {
            return Ok(None);
        }
        let events = newest
            .map_or(0, |newest| newest.saturating_sub(self.counters.newest_event.load(Ordering::Relaxed)));
        let mut unpruned = self.unpruned + events;
        if unpruned >= PRUNE_AFTER {
            let tx = Tx::new(connection, &self.file, &self.options.node);
            // Twice what comes in, so that a lowered limit is reached step by step.
            events::prune(&tx, self.options.events_kept, unpruned.saturating_mul(2))?;
            unpruned = 0;
        }
        run("COMMIT").map_err(|error| failed("commit a change", &error))?;
        drop(undo);
        self.unpruned = unpruned;
        self.unmoved += index;
        self.counters.changes.fetch_add(kept, Ordering::Relaxed);
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        Ok(newest)
    }

    fn observe(&self, newest: u64) {
        for observer in self.observers.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).iter() {
            if catch_unwind(AssertUnwindSafe(|| observer(newest))).is_err() {
                tracing::error!("an observer of events panicked");
            }
        }
    }

    fn checkpoint(&mut self) {
        self.unmoved = 0;
        // Nothing is lost where it fails: the log stays, and is moved later.
        if let Err(error) = open::checkpoint(&self.connection, "PASSIVE") {
            tracing::warn!(%error, "could not move the write-ahead log into the store");
        }
    }
}

/// Rolls an open transaction back when dropped.
struct Undo<'c>(&'c Connection);

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit()
            && let Err(error) = self.0.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "could not roll back");
        }
    }
}

fn lost(file: &Path) -> Error {
    let message = format!("SQLite undid the changes under way in {}", file.display());
    Error::new(ErrorKind::Store, message)
        .object(file.display().to_string())
        .hint("the disk under the state directory may be full or failing; nothing was changed")
}
