//! Filesystems that are frozen for a copy, and those that everything left frozen when it ended: whoever
//! writes to them waits for ever. They are thawed first of all at start; the journal alone knows of them, so
//! an entry stays in it for as long as the kernel refuses.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use orlop_model::{OperationId, Result};
use orlop_sys::{SysError, freeze};

use super::operations::row_of;
use crate::{
    core::Core,
    events::{event, note},
    host::{On, failure},
    snapshot,
    store::{Intent, OperationRow, snapshots},
};

/// The operations whose filesystems could not be thawed: of an earlier run at start, and of this run when
/// their copy was made.
#[derive(Debug, Default)]
pub(crate) struct Frozen {
    left: Mutex<BTreeSet<OperationId>>,
}

impl Frozen {
    pub(super) fn keep(&self, operation: OperationId) {
        self.left().insert(operation);
    }

    /// Whether it may have left something frozen: then it is not taken back, as its entry would go.
    pub(crate) fn keeps(&self, operation: OperationId) -> bool {
        self.left().contains(&operation)
    }

    /// Thaws what is mounted there and about to be unmounted: its filesystem would come back frozen, and from
    /// the mount alone is known where to thaw it.
    pub(crate) fn let_go(&self, base: &Path, object: &str) -> Result<()> {
        if self.left().is_empty() {
            return Ok(());
        }
        freeze::thaw(base).map(drop).on(object)
    }

    fn left(&self) -> MutexGuard<'_, BTreeSet<OperationId>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does `work` while the filesystems on `roots` are frozen, for at most `bound`, and says for how long their
/// writers were paused. What can't be thawed again is left with the operation, to be thawed before that is
/// settled: see [`Frozen::keeps`].
pub(crate) fn while_frozen<T>(
    core: &Core,
    operation: OperationId,
    roots: &[&Path],
    bound: Duration,
    object: &str,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Duration)> {
    let failed = |error: SysError| {
        if matches!(error, SysError::StillFrozen { .. }) {
            core.frozen.keep(operation);
            core.signal.wake();
        }
        failure(&error, object)
    };
    let frozen = freeze::freeze_all(roots, bound).map_err(failed)?;
    let done = work();
    let paused = frozen.thaw().map_err(failed);
    Ok((done?, paused?))
}

/// Thaws what could not be thawed before. Until that is done, the operation is not settled.
pub(super) fn thaw_left(core: &Core, operation: &OperationRow) -> Result<()> {
    if core.frozen.keeps(operation.id) {
        thaw(core, operation)?;
        core.frozen.left().remove(&operation.id);
    }
    Ok(())
}

/// Thaws what an operation had frozen, and says how many filesystems that were.
pub(super) fn thaw(core: &Core, operation: &OperationRow) -> Result<u64> {
    let thawed = match operation.intent {
        Intent::Snapshot { snapshot } => match core.store.read(|r| snapshots::by_id(r, snapshot))? {
            Some(row) => snapshot::create::thaw(core, &row).map(u64::from),
            None => Ok(0),
        },
        Intent::SnapshotGroup { group } => snapshot::group::settle::thaw(core, group),
        Intent::Create { .. } => match row_of(core, operation.volume)? {
            Some(row) => snapshot::source::thaw(core, &row).map(u64::from),
            None => Ok(0),
        },
        Intent::Configure
        | Intent::Attach { .. }
        | Intent::Detach { .. }
        | Intent::Delete { .. }
        | Intent::DeleteSnapshot { .. }
        | Intent::DeleteSnapshotGroup { .. }
        | Intent::Restore { .. }
        | Intent::Resize { .. }
        | Intent::Migrate { .. }
        | Intent::Undelete
        | Intent::Wipe { .. }
        | Intent::Repair
        | Intent::CreatePool { .. }
        | Intent::GrowPool { .. }
        | Intent::RemovePool { .. }
        | Intent::ImportPool { .. }
        | Intent::ExportPool { .. } => Ok(0),
    };
    if let Ok(filesystems @ 1..) = thawed {
        tracing::warn!(operation = %operation.id, filesystems, "they were found frozen, and are thawed");
        note(core, event("Thawed", "a filesystem that a snapshot had left frozen is thawed").warning());
    }
    thawed
}
