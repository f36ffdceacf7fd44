//! Filesystems that everything left frozen when it ended: whoever writes to them waits for ever. They are
//! thawed first of all at start; the journal alone knows of them, so an entry stays in it for as long as
//! the kernel refuses.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use orlop_model::{OperationId, Result};

use super::operations::row_of;
use crate::{
    core::Core,
    events::{event, note},
    snapshot,
    store::{Intent, OperationRow, snapshots},
};

/// The operations of an earlier run whose filesystems could not be thawed at start. Those of this run
/// thaw their own, or their watchdog does.
#[derive(Debug, Default)]
pub(crate) struct Frozen {
    left: Mutex<BTreeSet<OperationId>>,
}

impl Frozen {
    pub(super) fn keep(&self, operation: OperationId) {
        self.left().insert(operation);
    }

    fn left(&self) -> MutexGuard<'_, BTreeSet<OperationId>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Thaws what could not be thawed at start. Until that is done, the operation is not settled.
pub(super) fn thaw_left(core: &Core, operation: &OperationRow) -> Result<()> {
    let left = core.frozen.left().contains(&operation.id);
    if left {
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
