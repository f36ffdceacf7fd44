//! Mount requests under way, by mount id, so that one nobody waited for can be undone without
//! taking the volume from another request that uses the same id.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orlop_model::{Error, ErrorKind, Result};

#[derive(Default)]
struct Scope {
    requests: usize,
    undoing: bool,
}

/// What is under way.
#[derive(Clone, Default)]
pub(crate) struct Mounting(Arc<Mutex<HashMap<String, Scope>>>);

/// One request under way; it ends when this is dropped.
pub(crate) struct Ticket {
    mounting: Mounting,
    scope: String,
}

impl Mounting {
    /// Registers a request; refused, to be retried, while the same id is being undone.
    pub(crate) fn begin(&self, scope: &str) -> Result<Ticket> {
        let mut scopes = self.lock();
        let entry = scopes.entry(scope.to_owned()).or_default();
        if entry.undoing {
            return Err(Error::new(ErrorKind::Recovering, "an earlier mount of that id is being undone")
                .hint("try again in a moment"));
        }
        entry.requests += 1;
        Ok(Ticket { mounting: self.clone(), scope: scope.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Scope>> {
        // Every change of the map is complete before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Undoes the mount, unless another request with the same id has begun meanwhile and wants it.
    pub(crate) fn undo(self, undo: impl FnOnce()) {
        let alone = match self.mounting.lock().get_mut(&self.scope) {
            Some(entry) if entry.requests == 1 => {
                entry.undoing = true;
                true
            }
            Some(_) | None => false,
        };
        if alone {
            undo();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut scopes = self.mounting.lock();
        if let Some(entry) = scopes.get_mut(&self.scope) {
            entry.requests -= 1;
            if entry.requests == 0 {
                scopes.remove(&self.scope);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undone_when_alone() {
        let mounting = Mounting::default();
        let ticket = mounting.begin("a").unwrap();
        let mut undone = false;
        ticket.undo(|| {
            undone = true;
            assert_eq!(mounting.begin("a").err().unwrap().kind, ErrorKind::Recovering);
            assert!(mounting.begin("b").is_ok());
        });
        assert!(undone);
        assert!(mounting.begin("a").is_ok());
        assert!(mounting.lock().is_empty());
    }

    #[test]
    fn kept_for_the_one_who_came_back() {
        let mounting = Mounting::default();
        let first = mounting.begin("a").unwrap();
        let second = mounting.begin("a").unwrap();
        first.undo(|| panic!("the second request wants it"));
        let mut undone = false;
        second.undo(|| undone = true);
        assert!(undone);
    }
}
