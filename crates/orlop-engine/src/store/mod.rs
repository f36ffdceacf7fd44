//! The store: what should exist, in one SQLite file. No SQL lives outside this module.
//!
//! Queries are small functions in the module of their table. Those that read take a [`Reader`],
//! those that change take a [`Tx`], which is also a reader:
//!
//! ```text
//! let row = store.read(|r| volumes::by_id(r, id))?;
//! store.write(move |tx| {
//!     let pool = pools::by_id(tx, pool)?;   // admission and insertion see the same sums
//!     volumes::insert(tx, &row)?;
//!     events::append(tx, &event)
//! })?;
//! ```
//!
//! [`Store::write`] returns after its change is on the disk. Changes of many threads are made
//! durable together (see `writer`). Rows are structs; every row carries the node that wrote it.

pub mod aliases;
pub mod attachments;
mod connection;
pub mod described;
pub mod events;
mod failure;
pub mod incoming;
mod meta;
pub mod notifications;
mod open;
pub mod operations;
pub mod pools;
mod readers;
pub mod samples;
pub mod schedules;
mod schema;
pub mod shared;
pub mod snapshot_aliases;
pub mod snapshot_groups;
pub mod snapshots;
#[cfg(test)]
mod tests;
pub mod thresholds;
pub mod usage;
mod value;
pub mod volumes;
pub mod workspaces;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use orlop_model::Result;

pub use aliases::AliasRow;
pub use attachments::AttachmentRow;
pub use connection::{Reader, Tx};
pub use events::NewEvent;
pub use incoming::IncomingRow;
pub use open::PreviousRun;
pub use operations::{Intent, OperationRow, Way};
pub use pools::PoolRow;
pub use schedules::ScheduleRow;
pub use snapshot_aliases::SnapshotAliasRow;
pub use snapshot_groups::SnapshotGroupRow;
pub use snapshots::SnapshotRow;
pub use volumes::{AttachedRow, NameRow, PlacementRow, VolumeRow};
pub use workspaces::{ContentRow, Held, WorkspaceRow};

use readers::Readers;
use writer::Writer;

/// How the store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The name of this node, recorded with every row.
    pub node: String,
    /// The host's boot, as `/proc/sys/kernel/random/boot_id` says it.
    pub boot_id: String,
    /// How many events are kept, at least; the store prunes older ones in batches.
    pub events_kept: u64,
}

/// Called with the newest sequence after every commit that added events.
pub type EventObserver = Box<dyn Fn(u64) + Send + Sync>;

/// One open store. Threads share it by reference.
pub struct Store {
    file: PathBuf,
    previous: PreviousRun,
    readers: Readers,
    writer: Writer,
    observers: Arc<Mutex<Vec<EventObserver>>>,
}

impl Store {
    /// Opens the store at `file`, or makes it, and brings it to this build's version. One of a
    /// newer version is refused with [`orlop_model::ErrorKind::NewerFormat`], and nothing is written.
    /// The caller holds the lock of the state directory.
    pub fn open(file: &Path, options: StoreOptions) -> Result<Self> {
        let opened = open::open(file, &options)?;
        let observers = Arc::default();
        let writer =
            Writer::start(opened.connection, file, options, opened.newest_event, Arc::clone(&observers))?;
        Ok(Self {
            file: file.to_owned(),
            previous: opened.previous,
            readers: Readers::new(file),
            writer,
            observers,
        })
    }

    /// Runs `change` in a transaction of its own and returns when that is on the disk. Where
    /// `change` fails, nothing of it is kept. It runs on the writer's thread, where it must neither
    /// wait nor call the store again.
    ///
    /// When the commit itself fails, the change is undone here; but whether the disk already had it
    /// is only known after the next start. Intents are repeatable for that reason.
    pub fn write<T, F>(&self, change: F) -> Result<T>
    where
        F: FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.writer.write(change)
    }

    /// Runs queries that all see the same state, the newest one committed. Must not be nested.
    pub fn read<T>(&self, query: impl FnOnce(&Reader<'_>) -> Result<T>) -> Result<T> {
        self.readers.read(query)
    }

    /// Calls back after every commit that added events, in order, on the writer's thread: the
    /// callback must not block and not call the store.
    pub fn on_event(&self, observer: EventObserver) {
        self.observers.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(observer);
    }

    /// The newest sequence that is on the disk; 0 where there never was an event.
    pub fn newest_event(&self) -> u64 {
        self.writer.newest_event()
    }

    /// How the run before this one ended.
    pub fn previous_run(&self) -> &PreviousRun {
        &self.previous
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Changes and commits so far; the latter are fewer where changes were committed together.
    pub fn commits(&self) -> Commits {
        self.writer.commits()
    }

    /// Records that this run ended as it should, and closes the file. Later writes fail with
    /// [`orlop_model::ErrorKind::Unavailable`]. Dropping the store without it is like a crash.
    pub fn close(&self) -> Result<()> {
        self.readers.close();
        self.writer.close()
    }
}

/// What the writer did since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commits {
    /// Changes that became durable.
    pub changes: u64,
    /// Transactions that they took.
    pub commits: u64,
}
