//! What earlier attempts left of one object, settled before somebody uses or changes it. How each kind of
//! operation is settled is in `operations`.

use orlop_model::{Result, SnapshotGroupId, SnapshotId};

use super::operations::settle;
use crate::{
    core::Core,
    locks::{Deadline, Lock},
    store::{Intent, OperationRow, SnapshotRow, VolumeRow, operations, snapshots},
};

/// What is in the journal for a volume that a failed attempt left as it is. The caller holds its lock.
pub(crate) fn settle_volume(core: &Core, row: &VolumeRow) -> Result<()> {
    for operation in core.store.read(|r| operations::of_volume(r, row.id))? {
        settle(core, &operation)?;
    }
    Ok(())
}

/// What earlier attempts left of all that changes a volume or its data is finished or taken back, before
/// it is used or changed otherwise; what the volume is then. Where nothing was left this is one look at
/// the journal. The caller holds the volume's lock.
pub(crate) fn settled(core: &Core, row: VolumeRow) -> Result<VolumeRow> {
    let journal = core.store.read(|r| operations::of_volume(r, row.id))?;
    let mut left = journal.iter().filter(|operation| changes_a_volume(&operation.intent)).peekable();
    if left.peek().is_none() {
        return Ok(row);
    }
    for operation in left {
        settle(core, operation)?;
    }
    core.again(row.id)
}

/// Those that are about the volume as a whole: not its users, and not what makes and deletes it.
fn changes_a_volume(intent: &Intent) -> bool {
    match intent {
        Intent::Configure
        | Intent::Resize { .. }
        | Intent::Migrate { .. }
        | Intent::Undelete
        | Intent::Wipe { .. }
        | Intent::Snapshot { .. }
        | Intent::Restore { .. }
        | Intent::Repair => true,
        Intent::Create { .. }
        | Intent::Attach { .. }
        | Intent::Detach { .. }
        | Intent::Delete { .. }
        | Intent::DeleteSnapshot { .. }
        | Intent::SnapshotGroup { .. }
        | Intent::DeleteSnapshotGroup { .. }
        | Intent::CreatePool { .. }
        | Intent::RemovePool { .. }
        | Intent::ImportPool { .. }
        | Intent::GrowPool { .. }
        | Intent::ExportPool { .. } => false,
    }
}

/// What is in the journal for a group of snapshots that a failed attempt left as it is. Whoever makes or
/// deletes the group now is waited for.
pub(crate) fn settle_group(core: &Core, id: SnapshotGroupId, deadline: Deadline) -> Result<()> {
    let of_it = |operation: &OperationRow| operation.intent.snapshot_group() == Some(id);
    if !core.store.read(operations::unfinished)?.iter().any(of_it) {
        return Ok(());
    }
    let _group = core.locks.take(Lock::SnapshotGroup(id), deadline)?;
    for operation in core.store.read(operations::unfinished)?.iter().filter(|operation| of_it(operation)) {
        settle(core, operation)?;
    }
    Ok(())
}

/// What is in the journal for a snapshot that a failed attempt left as it is. The caller holds the
/// lock of its name, so that nobody makes it now.
pub(crate) fn settle_snapshot(core: &Core, id: SnapshotId, deadline: Deadline) -> Result<()> {
    let of_it = |operation: &OperationRow| match operation.intent {
        Intent::Snapshot { snapshot } | Intent::DeleteSnapshot { snapshot } => snapshot == id,
        Intent::Restore { snapshot, before } => snapshot == id || before == id,
        Intent::Create { .. }
        | Intent::Configure
        | Intent::Attach { .. }
        | Intent::Detach { .. }
        | Intent::Delete { .. }
        | Intent::Resize { .. }
        | Intent::Migrate { .. }
        | Intent::Undelete
        | Intent::Wipe { .. }
        | Intent::Repair
        | Intent::SnapshotGroup { .. }
        | Intent::DeleteSnapshotGroup { .. }
        | Intent::CreatePool { .. }
        | Intent::GrowPool { .. }
        | Intent::RemovePool { .. }
        | Intent::ImportPool { .. }
        | Intent::ExportPool { .. } => false,
    };
    if let Some(SnapshotRow { group: Some(group), .. }) = core.store.read(|r| snapshots::by_id(r, id))? {
        settle_group(core, group.id, deadline)?;
    }
    if !core.store.read(operations::unfinished)?.iter().any(of_it) {
        return Ok(());
    }
    let Some(row) = core.store.read(|r| snapshots::by_id(r, id))? else { return Ok(()) };
    let _volume = core.locks.take(Lock::Volume(row.volume), deadline)?;
    let _snapshot = core.locks.take(Lock::Snapshot(id), deadline)?;
    for operation in core.store.read(operations::unfinished)?.iter().filter(|operation| of_it(operation)) {
        settle(core, operation)?;
    }
    Ok(())
}
