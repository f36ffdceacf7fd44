//! Long work that is under way: how far it is, and whether it was asked to stop. It is in memory
//! only; what has to survive a crash is in the journal.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use orlop_model::{Error, ErrorKind, OperationId, Result, resource::Operation};

use crate::request::Caller;

/// All of it. Ids are UUIDv7, so their order is the order of beginning.
#[derive(Debug, Default)]
pub(crate) struct Running {
    works: Mutex<BTreeMap<OperationId, Arc<Work>>>,
    /// The process is about to end.
    closing: AtomicBool,
}

#[derive(Debug)]
struct Work {
    /// All but the figure below.
    shown: Mutex<Operation>,
    done: AtomicU64,
    stop: AtomicBool,
}

/// What long work reports to. Dropping it ends the report.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    running: &'a Running,
    work: Arc<Work>,
}

impl Running {
    /// Begins a report. `kind` is one word for what is done, `object` what it is done to.
    pub(crate) fn begin(
        &self,
        id: OperationId,
        kind: &str,
        object: impl Into<String>,
        actor: Option<&Caller>,
    ) -> Meter<'_> {
        let now = Timestamp::now();
        let shown = Operation {
            id,
            kind: kind.to_owned(),
            object: object.into(),
            phase: "preparing".to_owned(),
            done_bytes: 0,
            total_bytes: None,
            stopping: false,
            started_at: now,
            phase_started_at: now,
            actor_uid: actor.map(|actor| actor.uid),
        };
        let work = Arc::new(Work {
            shown: Mutex::new(shown),
            done: AtomicU64::new(0),
            stop: AtomicBool::new(self.closing.load(Ordering::SeqCst)),
        });
        entered(&self.works).insert(id, Arc::clone(&work));
        Meter { running: self, work }
    }

    /// What is under way, oldest first.
    pub(crate) fn all(&self) -> Vec<Operation> {
        entered(&self.works).values().map(|work| work.show()).collect()
    }

    /// Asks it to stop.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where it has ended, [`ErrorKind::PermissionDenied`] where another
    /// user began it.
    pub(crate) fn stop(&self, caller: &Caller, id: OperationId) -> Result<Operation> {
        let object = format!("operation {id}");
        let Some(work) = entered(&self.works).get(&id).map(Arc::clone) else {
            return Err(Error::new(ErrorKind::NotFound, format!("no operation {id} is under way"))
                .object(object)
                .hint("it may have ended; orlop operation list shows what is under way"));
        };
        let began = entered(&work.shown).actor_uid;
        if caller.uid != 0 && began != Some(caller.uid) {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                format!("operation {id} is not yours to stop"),
            )
            .object(object)
            .hint("ask who began it, or root"));
        }
        work.stop.store(true, Ordering::SeqCst);
        Ok(work.show())
    }

    /// Asks all of it to stop, and all that begins from now on.
    pub(crate) fn close(&self) {
        // First the flag: what begins between the two reads it.
        self.closing.store(true, Ordering::SeqCst);
        for work in entered(&self.works).values() {
            work.stop.store(true, Ordering::SeqCst);
        }
    }
}

impl Meter<'_> {
    /// A new part of the work begins, of so many bytes where that is known.
    pub(crate) fn phase(&self, phase: &str, total_bytes: Option<u64>) {
        let mut shown = entered(&self.work.shown);
        phase.clone_into(&mut shown.phase);
        shown.total_bytes = total_bytes;
        shown.phase_started_at = Timestamp::now();
        self.work.done.store(0, Ordering::Relaxed);
    }

    /// So many bytes more are done. Passed between pieces of work that can be stopped there.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`] once it was asked to stop.
    pub(crate) fn advance(&self, bytes: u64) -> Result<()> {
        self.work.done.fetch_add(bytes, Ordering::Relaxed);
        if !self.work.stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        let shown = entered(&self.work.shown);
        let why = if self.running.closing.load(Ordering::SeqCst) {
            "the daemon is stopping"
        } else {
            "somebody asked for it"
        };
        Err(Error::new(
            ErrorKind::Interrupted,
            format!("{}: {} was stopped before its end: {why}", shown.object, shown.kind),
        )
        .object(shown.object.clone())
        .hint("what it had begun is taken back; the same command does it anew"))
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        let id = entered(&self.work.shown).id;
        entered(&self.running.works).remove(&id);
    }
}

impl Work {
    fn show(&self) -> Operation {
        Operation {
            done_bytes: self.done.load(Ordering::Relaxed),
            stopping: self.stop.load(Ordering::SeqCst),
            ..entered(&self.shown).clone()
        }
    }
}

/// Each field is whole at every moment: a panic while it was held leaves nothing half-done.
fn entered<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_model::resource::Front;
    use uuid::Uuid;

    fn user(uid: u32) -> Caller {
        Caller { uid, front: Front::Manifest }
    }

    fn id() -> OperationId {
        OperationId(Uuid::now_v7())
    }

    #[test]
    fn it_is_shown_while_it_lasts() {
        let running = Running::default();
        let meter = running.begin(id(), "migrate", "volume public/a", Some(&user(7)));
        meter.phase("copying", Some(100));
        meter.advance(30).unwrap();
        let [shown] = running.all().try_into().unwrap();
        assert_eq!((shown.phase.as_str(), shown.done_bytes, shown.total_bytes), ("copying", 30, Some(100)));
        assert_eq!((shown.actor_uid, shown.stopping), (Some(7), false));
        meter.phase("verifying", None);
        assert_eq!(running.all().first().map(|shown| shown.done_bytes), Some(0));
        drop(meter);
        assert!(running.all().is_empty());
    }

    #[test]
    fn who_began_it_may_stop_it_and_root() {
        let running = Running::default();
        for (caller, allowed) in [(user(7), true), (user(8), false), (user(0), true)] {
            let meter = running.begin(id(), "migrate", "volume public/a", Some(&user(7)));
            let shown = running.all().pop().unwrap();
            let stopped = running.stop(&caller, shown.id);
            assert_eq!(
                stopped.as_ref().map(|s| s.stopping).map_err(|e| e.kind),
                if allowed { Ok(true) } else { Err(ErrorKind::PermissionDenied) }
            );
            assert_eq!(
                meter.advance(1).map_err(|e| e.kind),
                if allowed { Err(ErrorKind::Interrupted) } else { Ok(()) }
            );
        }
        assert_eq!(running.stop(&user(0), id()).unwrap_err().kind, ErrorKind::NotFound);
    }

    #[test]
    fn the_end_of_the_process_stops_all_of_it() {
        let running = Running::default();
        let before = running.begin(id(), "migrate", "volume public/a", None);
        running.close();
        let after = running.begin(id(), "migrate", "volume public/b", None);
        for meter in [before, after] {
            let error = meter.advance(0).unwrap_err();
            assert!(error.kind == ErrorKind::Interrupted && error.message.contains("daemon"), "{error}");
        }
    }
}
