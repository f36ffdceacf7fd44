//! Counters for `/metrics`. They begin at zero with the process.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use orlop_model::{Result, resource::VolumeState};

use crate::{
    core::Core,
    request::Statistics,
    store::{attachments, volumes},
};

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    operations: Mutex<BTreeMap<(&'static str, String), u64>>,
    pub(crate) from_blank: AtomicU64,
    pub(crate) from_scratch: AtomicU64,
}

impl Tally {
    /// Counts an operation by its result, which passes through.
    pub(crate) fn count<T>(&self, operation: &'static str, result: Result<T>) -> Result<T> {
        let word = match &result {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("{:?}", error.kind),
        };
        let mut operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        *operations.entry((operation, word)).or_default() += 1;
        drop(operations);
        result
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
    let stored = core.store.read(|r| Ok((volumes::count_by_state(r)?, attachments::count(r)?)));
    let (states, attachments) = stored.unwrap_or_default();
    let count = |state| states.iter().find(|(found, _)| *found == state).map_or(0, |(_, count)| *count);
    let operations = core.tally.operations.lock().unwrap_or_else(PoisonError::into_inner);
    Statistics {
        volumes: STATES.map(|state| (state, count(state))).to_vec(),
        attachments,
        operations: operations
            .iter()
            .map(|((operation, word), count)| ((*operation).to_owned(), word.clone(), *count))
            .collect(),
        created_from_blank: core.tally.from_blank.load(Ordering::Relaxed),
        created_from_scratch: core.tally.from_scratch.load(Ordering::Relaxed),
    }
}
