//! One daemon a pool: a lock on a file in it, held for as long as the pool is used here. Another daemon
//! with a store of its own would give out what is given out already.
//!
//! The lock is the kernel's, on the file itself: another path to the pool, or another host on a network
//! filesystem, meets the same one, and it goes with the process, however that ends. What was put in the
//! pool's place meanwhile has a file of its own, which is locked when the pool is next confirmed.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use orlop_model::{Error, ErrorKind, PoolName, Result};
use orlop_sys::{
    FileIdentity, SysError,
    durable::{self, FileLock},
};

use crate::{
    core::Core,
    events::{event, note},
    format::PoolPaths,
};

/// Where a lock can't be had at all (a network filesystem without locks, a full disk) it is tried again
/// after this.
const RETRY: Duration = Duration::from_secs(60);
/// A daemon that just ended can have left a child between fork and exec, which has the lock for a
/// moment longer.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// Whether this daemon has the pool.
#[derive(Debug, Default)]
pub(crate) struct Hold(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Free,
    /// By the lock on that file.
    Held { file: FileIdentity, _lock: FileLock },
    /// The filesystem gives no locks, as it said then.
    Unlocked(Instant),
    /// The pool is being taken off: nothing of it may be open.
    Closed,
}

impl Hold {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the pool up until [`Self::open`].
    pub(crate) fn close(&self) {
        *self.state() = State::Closed;
    }

    /// Lets it be taken again.
    pub(crate) fn open(&self) {
        let mut state = self.state();
        if matches!(*state, State::Closed) {
            *state = State::Free;
        }
    }

    /// Makes sure that this daemon, and no other, has the pool. The pool was seen to be there.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] where another daemon has it.
    pub(crate) fn take(&self, core: &Core, name: &PoolName, paths: &PoolPaths) -> Result<()> {
        let mut state = self.state();
        match &*state {
            State::Held { file, .. } if FileIdentity::of_path(&paths.lock()).ok() == Some(*file) => {
                return Ok(());
            }
            State::Unlocked(at) if at.elapsed() < RETRY => return Ok(()),
            State::Closed => {
                return Err(Error::new(ErrorKind::Unavailable, format!("pool {name} is being taken off"))
                    .object(format!("pool {name}"))
                    .hint("try again in a moment"));
            }
            State::Held { .. } | State::Unlocked(_) | State::Free => {}
        }
        let told = matches!(*state, State::Unlocked(_));
        // The old one goes first: it may be on a disk that is about to be unmounted.
        *state = State::Free;
        match attempt(core, &paths.lock()) {
            Ok((file, lock)) => *state = State::Held { file, _lock: lock },
            Err(error) if error.is_busy() => return Err(taken(&format!("pool {name}"), paths, &error)),
            Err(error) if error.is_not_found() => return Err(gone(name, &error)),
            Err(error) => {
                *state = State::Unlocked(Instant::now());
                drop(state);
                if !told {
                    unlocked(core, name, &error);
                }
            }
        }
        Ok(())
    }
}

/// Waits for the rest of a daemon that just ended only while nobody waits for us.
fn attempt(core: &Core, file: &Path) -> std::result::Result<(FileIdentity, FileLock), SysError> {
    let who = format!("node {}, with the state directory {},", core.config.node, core.state_dir.display());
    let mut left = if core.is_recovered() { 1 } else { ATTEMPTS };
    loop {
        match durable::lock_exclusive_as(file, &who) {
            Ok(lock) => return FileIdentity::of_fd(lock.file()).map(|identity| (identity, lock)),
            Err(error) if error.is_busy() && left > 1 => {
                left -= 1;
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Takes what may be left of a pool that no record knows any more, so that it can be removed; `None`
/// where there is nothing to be locked.
///
/// # Errors
/// As [`Hold::take`].
pub(crate) fn remains(core: &Core, paths: &PoolPaths, object: &str) -> Result<Option<FileLock>> {
    if !paths.lock().exists() {
        return Ok(None);
    }
    match attempt(core, &paths.lock()) {
        Ok((_, lock)) => Ok(Some(lock)),
        Err(error) if error.is_busy() => Err(taken(object, paths, &error)),
        Err(_) => Ok(None),
    }
}

fn gone(name: &PoolName, error: &SysError) -> Error {
    Error::new(ErrorKind::Unavailable, format!("pool {name} is gone: {error}"))
        .object(format!("pool {name}"))
        .hint("mount the disk that holds it; nothing of its volumes is changed meanwhile")
}

fn taken(object: &str, paths: &PoolPaths, error: &SysError) -> Error {
    let root = paths.root().display();
    let at = if object.contains(&root.to_string()) { String::new() } else { format!(" at {root}") };
    Error::new(ErrorKind::Locked, format!("{object}{at} is used by another daemon: {error}"))
    .object(object)
    .hint("stop that daemon, or have it give the pool away: orlop pool export; nothing of the pool is changed meanwhile")
}

fn unlocked(core: &Core, name: &PoolName, error: &SysError) {
    let message =
        format!("pool {name} can't be locked: {error}; that no other daemon uses it is for you to see to");
    tracing::warn!("{message}");
    note(core, event("PoolUnlocked", message).in_pool(name).warning());
}
