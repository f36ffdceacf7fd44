//! One operation at a time on one volume or name, with a deadline for those who wait.
//!
//! A caller that can't have the lock until its deadline is told to come again; the work that holds
//! the lock goes on once. What is locked is a word, so nothing is kept for idle volumes.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use orlop_model::{Error, ErrorKind, PoolName, Result, SnapshotGroupId, SnapshotId, VolumeId, WorkspaceName};

use crate::request::{SnapshotKey, VolumeKey};

/// What is locked. An operation that needs several takes them in the order of the variants.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Lock {
    /// An external name of a front, with the front and the kind of what it names: `csi volume NAME`.
    Alias(String),
    /// A workspace, while it is made or deleted.
    Workspace(WorkspaceName),
    /// A pool, while it is made, changed or taken away as a whole.
    Pool(PoolName),
    /// What a pool is on, a directory, a device or an image, while one is made there, brought from there
    /// or taken off: none that is recorded has a name then.
    PoolPlace(PathBuf),
    /// A volume's name, while a volume is made under it.
    Name(WorkspaceName, String),
    /// A snapshot's name, while a snapshot is made under it.
    SnapshotName(SnapshotKey),
    /// A group of snapshots, while it is made or deleted.
    SnapshotGroup(SnapshotGroupId),
    /// A directory that an orchestrator names.
    Target(PathBuf),
    /// A volume.
    Volume(VolumeId),
    /// A snapshot, while it is deleted or read.
    Snapshot(SnapshotId),
}

impl Lock {
    pub(crate) fn name(key: &VolumeKey) -> Self {
        Self::Name(key.workspace.clone(), key.name.to_string())
    }
}

/// Until when a caller waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// How long operations without a patience of their own wait.
    const USUAL: Duration = Duration::from_secs(30);
    /// Keeps an absurd patience from overflowing the clock.
    const MOST: Duration = Duration::from_secs(3600);

    pub(crate) fn after(patience: Duration) -> Self {
        Self(Instant::now() + patience.min(Self::MOST))
    }

    pub(crate) fn usual() -> Self {
        Self::after(Self::USUAL)
    }
}

/// The words that are locked now.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    held: Arc<(Mutex<HashSet<Lock>>, Condvar)>,
}

/// A lock; dropping it lets the next one go on.
#[derive(Debug)]
pub(crate) struct Held {
    held: Arc<(Mutex<HashSet<Lock>>, Condvar)>,
    lock: Lock,
}

impl Locks {
    /// Takes the lock, waiting at most until the deadline.
    ///
    /// # Errors
    /// [`ErrorKind::Recovering`] when others work on it for longer than that.
    pub(crate) fn take(&self, lock: Lock, deadline: Deadline) -> Result<Held> {
        let (held, changed) = &*self.held;
        let mut words = entered(held);
        while words.contains(&lock) {
            let left = deadline.0.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(still_working(&lock));
            }
            words = changed.wait_timeout(words, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        words.insert(lock.clone());
        drop(words);
        Ok(Held { held: Arc::clone(&self.held), lock })
    }

    /// Takes the lock if nobody has it. For background work, which comes again anyway.
    pub(crate) fn try_take(&self, lock: Lock) -> Option<Held> {
        let fresh = entered(&self.held.0).insert(lock.clone());
        fresh.then(|| Held { held: Arc::clone(&self.held), lock })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (held, changed) = &*self.held;
        entered(held).remove(&self.lock);
        changed.notify_all();
    }
}

/// A set of words is whole at every moment: a panic while it was held leaves nothing half-done.
fn entered(held: &Mutex<HashSet<Lock>>) -> MutexGuard<'_, HashSet<Lock>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn still_working(lock: &Lock) -> Error {
    let what = match lock {
        Lock::Alias(words) => words.clone(),
        Lock::Workspace(name) => format!("workspace {name}"),
        Lock::Pool(name) => format!("pool {name}"),
        Lock::PoolPlace(path) => format!("the pool on {}", path.display()),
        Lock::Name(workspace, name) => format!("volume {workspace}/{name}"),
        Lock::SnapshotName(key) => format!("snapshot {}/{}", key.workspace, key.name),
        Lock::Target(path) => format!("target {}", path.display()),
        Lock::Volume(id) => format!("volume {id}"),
        Lock::SnapshotGroup(id) => format!("snapshot group {id}"),
        Lock::Snapshot(id) => format!("snapshot {id}"),
    };
    Error::new(ErrorKind::Recovering, format!("{what} is still recovering or being worked on"))
        .object(what)
        .hint("retry: the work goes on meanwhile")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn pool(name: &str) -> Lock {
        Lock::Pool(name.parse().unwrap())
    }

    #[test]
    fn the_second_waits_until_its_deadline_and_is_told() {
        let locks = Locks::default();
        let first = locks.take(pool("a"), Deadline::usual()).unwrap();
        let error = locks.take(pool("a"), Deadline::after(Duration::from_millis(20))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Recovering);
        assert!(locks.try_take(pool("a")).is_none());
        assert!(locks.take(pool("b"), Deadline::after(Duration::ZERO)).is_ok(), "another word is free");
        drop(first);
        assert!(locks.take(pool("a"), Deadline::after(Duration::ZERO)).is_ok());
        assert!(entered(&locks.held.0).is_empty(), "nothing is kept of what is idle");
    }

    #[test]
    fn who_is_told_to_wait_is_told_for_what() {
        let key = SnapshotKey { workspace: "public".parse().unwrap(), name: "s".parse().unwrap() };
        for (lock, words) in [
            (Lock::Alias("csi snapshot group One".to_owned()), "csi snapshot group One is still"),
            (Lock::SnapshotName(key), "snapshot public/s is still"),
            (pool("a"), "pool a is still"),
        ] {
            let error = still_working(&lock);
            assert!(error.message.starts_with(words), "{error}");
        }
    }

    #[test]
    fn one_at_a_time() {
        let locks = Locks::default();
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _held = locks.take(pool("a"), Deadline::usual()).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
