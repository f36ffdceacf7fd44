//! Connections that only read. There are few, made when first needed: each costs memory.

use std::{
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard},
};

use orlop_model::{Error, ErrorKind, Result};
use rusqlite::{Connection, OpenFlags};

use super::{Reader, failure::failed, open::configure};

/// Queries take well under a millisecond each; more connections than this would wait for the cores.
const MOST: usize = 4;

/// The page cache of one connection, in KiB.
const CACHE: i64 = 1024;

pub(super) struct Readers {
    file: PathBuf,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    open: usize,
    closed: bool,
}

impl Readers {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), state: Mutex::default(), returned: Condvar::new() }
    }

    /// Runs queries in one read transaction: they all see the state of its first one.
    pub(super) fn read<T>(&self, query: impl FnOnce(&Reader<'_>) -> Result<T>) -> Result<T> {
        let lent = self.lend()?;
        let Some(connection) = &lent.connection else { return Err(closed()) };
        let unread = |error: rusqlite::Error| failed(&self.file, "read the store", &error);
        // Rolls back when dropped, also while unwinding: nothing was written.
        let transaction = connection.unchecked_transaction().map_err(unread)?;
        let answer = query(&Reader::new(&transaction, &self.file));
        transaction.finish().map_err(unread)?;
        answer
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.open -= state.idle.len();
        state.idle.clear();
        self.returned.notify_all();
    }

    fn lend(&self) -> Result<Lent<'_>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Err(closed());
            }
            if let Some(connection) = state.idle.pop() {
                return Ok(Lent { readers: self, connection: Some(connection) });
            }
            if state.open < MOST {
                state.open += 1;
                drop(state);
                // From here on the count is given back by `Lent`, also where opening fails.
                let mut lent = Lent { readers: self, connection: None };
                lent.connection = Some(self.open()?);
                return Ok(lent);
            }
            state = self.returned.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    fn open(&self) -> Result<Connection> {
        let run = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.file, flags)?;
            configure(&connection, CACHE)?;
            Ok(connection)
        };
        run().map_err(|error| failed(&self.file, "open the store for reading", &error))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements, so that a panic elsewhere doesn't matter.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A connection in use; goes back when dropped.
struct Lent<'r> {
    readers: &'r Readers,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut state = self.readers.lock();
        match self.connection.take() {
            Some(connection) if !state.closed => state.idle.push(connection),
            Some(_) | None => state.open -= 1,
        }
        self.readers.returned.notify_one();
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the store is closed")
        .hint("the daemon is stopping: try again when it is back")
}
