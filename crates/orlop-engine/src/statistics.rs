//! Counters for `/metrics`, which begin at zero with the process, and figures of what is used now.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use orlop_model::{Result, resource::VolumeState};

use crate::{
    core::Core,
    observation::usage,
    request::{Latency, Statistics},
    store::{attachments, volumes},
};

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    operations: Mutex<Operations>,
    notifications: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    pub(crate) from_blank: AtomicU64,
    pub(crate) from_scratch: AtomicU64,
}

#[derive(Debug, Default)]
struct Operations {
    outcomes: BTreeMap<(&'static str, String), u64>,
    latencies: BTreeMap<&'static str, Latency>,
}

impl Tally {
    /// Counts an operation by its result, which passes through, and by how long it took.
    pub(crate) fn count<T>(&self, operation: &'static str, took: Duration, result: Result<T>) -> Result<T> {
        let word = match &result {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("{:?}", error.kind),
        };
        let mut operations = self.operations();
        *operations.outcomes.entry((operation, word)).or_default() += 1;
        operations.latencies.entry(operation).or_default().add(took);
        drop(operations);
        result
    }

    /// Counts an attempt to tell somebody of an event.
    pub(crate) fn notified(&self, kind: &'static str, outcome: &'static str) {
        *self.notifications().entry((kind, outcome)).or_default() += 1;
    }

    fn notifications(&self) -> MutexGuard<'_, BTreeMap<(&'static str, &'static str), u64>> {
        self.notifications.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn operations(&self) -> MutexGuard<'_, Operations> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latency {
    fn add(&mut self, took: Duration) {
        // Beyond the last bound it is in the sum only.
        if let Some(bucket) = Self::BOUNDS.iter().position(|bound| took <= *bound) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum += took;
    }
}

/// The numbers now. What the store can't say is left out rather than wrong.
pub(crate) fn read(core: &Core) -> Statistics {
    const STATES: [VolumeState; 5] = [
        VolumeState::Pending,
        VolumeState::Active,
        VolumeState::Deleting,
        VolumeState::Released,
        VolumeState::Error,
    ];
    let stored =
        core.store.read(|r| Ok((volumes::count_by_state(r)?, attachments::count(r)?, volumes::attached(r)?)));
    let (states, attachments, attached) = stored.unwrap_or_default();
    let count = |state| states.iter().find(|(found, _)| *found == state).map_or(0, |(_, count)| *count);
    let usage = usage::of_attached(core, attached);
    let operations = core.tally.operations();
    Statistics {
        volumes: STATES.map(|state| (state, count(state))).to_vec(),
        attachments,
        usage,
        operations: operations
            .outcomes
            .iter()
            .map(|((operation, word), count)| ((*operation).to_owned(), word.clone(), *count))
            .collect(),
        latencies: operations
            .latencies
            .iter()
            .map(|(name, latency)| ((*name).to_owned(), *latency))
            .collect(),
        notifications: core
            .tally
            .notifications()
            .iter()
            .map(|((kind, outcome), count)| (*kind, *outcome, *count))
            .collect(),
        created_from_blank: core.tally.from_blank.load(Ordering::Relaxed),
        created_from_scratch: core.tally.from_scratch.load(Ordering::Relaxed),
    }
}

#[cfg(test)]
mod tests {
    use orlop_model::{Error, ErrorKind};

    use super::*;

    #[test]
    fn operations_are_counted_by_outcome_and_time() {
        let tally = Tally::default();
        let short = Duration::from_millis(3);
        tally.count("attach", short, Ok(())).unwrap();
        tally.count("attach", Duration::from_secs(3600), Ok(())).unwrap();
        let refused: Result<()> = Err(Error::new(ErrorKind::InUse, "x"));
        assert!(tally.count("attach", short, refused).is_err());
        let operations = tally.operations();
        assert_eq!(operations.outcomes[&("attach", "ok".to_owned())], 2);
        assert_eq!(operations.outcomes[&("attach", "InUse".to_owned())], 1);
        let latency = operations.latencies["attach"];
        assert_eq!((latency.count, latency.sum), (3, Duration::from_secs(3600) + 2 * short));
        assert_eq!(latency.buckets.iter().sum::<u64>(), 2, "an hour is beyond all bounds");
        assert_eq!(latency.buckets[1], 2);
    }
}
