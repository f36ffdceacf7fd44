//! The journal: what was begun and not completed is finished where its effect is whole, and undone
//! where it is not. Every step can be repeated, so a crash in here changes nothing.

use std::path::Path;

use orlop_model::{
    Error, ErrorKind, PoolId, Result, SnapshotGroupId, SnapshotId, VolumeId,
    resource::{Outcome, SnapshotState, VolumeState},
};
use orlop_sys::target;

use crate::{
    attachment::{
        detach::{self, Leave},
        host_mount,
    },
    backend::image::health,
    core::Core,
    events::{event, note},
    locks::{Deadline, Lock},
    pool,
    request::Recovery,
    snapshot::{self, create::Made},
    store::{
        Intent, OperationRow, SnapshotRow, VolumeRow, attachments, operations, pools, snapshots, volumes,
    },
    volume::{
        change, create, delete, describe, fsck, migrate,
        resize::{self, Settled},
        undelete, wipe,
    },
};

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Finished,
    Undone,
    /// It waits for something, such as the last user of a volume, and stays in the journal.
    Waits,
}

/// All that is in the journal, at start. One that can't be settled (its disk is missing) is told of
/// and stays; the others go on.
pub(crate) fn recover(core: &Core, recovery: &mut Recovery) -> Result<()> {
    let mut unfinished = core.store.read(operations::unfinished)?;
    // First of all: whoever writes to a filesystem that is frozen waits, and so would we. What can't be
    // thawed stays in the journal, which alone knows of it.
    let mut frozen = Vec::new();
    for operation in &unfinished {
        match thaw(core, operation) {
            Ok(thawed) => recovery.thawed += thawed,
            Err(error) => {
                postpone(core, operation, &error)?;
                frozen.push(operation.id);
            }
        }
    }
    unfinished.retain(|operation| !frozen.contains(&operation.id));
    for operation in unfinished {
        match settle(core, &operation) {
            Ok(Fate::Finished) => recovery.finished += 1,
            Ok(Fate::Undone) => recovery.undone += 1,
            Ok(Fate::Waits) => {}
            Err(error) => postpone(core, &operation, &error)?,
        }
    }
    Ok(())
}

/// The same while the engine runs, of what a failed attempt could neither finish nor take back: until
/// it is settled, its volume is taken for one that is worked on.
pub(crate) fn tend(core: &Core) -> Result<()> {
    for operation in core.store.read(operations::unfinished)? {
        // Whoever has a lock is at it.
        let Some(locks) = locks_of(core, &operation)? else { continue };
        let held: Option<Vec<_>> = locks.into_iter().map(|lock| core.locks.try_take(lock)).collect();
        if held.is_none() {
            continue;
        }
        if core.store.read(|r| operations::is_open(r, operation.id))?
            && let Err(error) = settle(core, &operation)
        {
            tracing::debug!(operation = %operation.id, %error, "it can't be settled yet");
        }
    }
    Ok(())
}

/// What is locked while an operation is under way, in order. `None` of those that are not settled while
/// the engine runs: deletions of volumes, which others go on with.
fn locks_of(core: &Core, operation: &OperationRow) -> Result<Option<Vec<Lock>>> {
    let of_pool = |id: PoolId| -> Result<Vec<Lock>> {
        let row = core.store.read(|r| pools::by_id(r, id))?;
        Ok(row.into_iter().map(|row| Lock::Pool(row.name)).collect())
    };
    Ok(match &operation.intent {
        Intent::DeleteSnapshot { snapshot } => Some(vec![Lock::Snapshot(*snapshot)]),
        Intent::SnapshotGroup { group } | Intent::DeleteSnapshotGroup { group } => {
            Some(vec![Lock::SnapshotGroup(*group)])
        }
        Intent::Create { .. }
        | Intent::Configure
        | Intent::Attach { .. }
        | Intent::Detach { .. }
        | Intent::Resize { .. }
        | Intent::Migrate { .. }
        | Intent::Undelete
        | Intent::Wipe { .. }
        | Intent::Repair
        | Intent::Snapshot { .. }
        | Intent::Restore { .. } => operation.volume.map(|id| vec![Lock::Volume(id)]),
        Intent::CreatePool { pool: id, path, medium }
        | Intent::RemovePool { pool: id, path, medium }
        | Intent::ImportPool { pool: id, path, medium } => {
            let mut locks = of_pool(*id)?;
            locks.push(pool::create::place(Path::new(path), medium));
            Some(locks)
        }
        // Of one that is not recorded any more only the entry is left.
        Intent::GrowPool { pool: id, .. } | Intent::ExportPool { pool: id } => Some(of_pool(*id)?),
        Intent::Delete { .. } => None,
    })
}

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

/// Thaws what an operation had frozen, and says how many filesystems that were.
fn thaw(core: &Core, operation: &OperationRow) -> Result<u64> {
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

fn settle(core: &Core, operation: &OperationRow) -> Result<Fate> {
    match &operation.intent {
        Intent::CreatePool { pool, path, medium } => {
            pool::create::undo(core, operation.id, path.as_ref(), *pool, medium)?;
            return Ok(Fate::Undone);
        }
        Intent::RemovePool { pool, path, medium } => {
            pool::remove::erase(core, operation.id, path.as_ref(), *pool, medium)?;
            return Ok(Fate::Finished);
        }
        Intent::GrowPool { pool, size, capacity } => {
            let Some(row) = core.store.read(|r| pools::by_id(r, *pool))? else {
                return drop_entry(core, operation);
            };
            pool::grow::settle(core, operation.id, row, *size, *capacity)?;
            return Ok(Fate::Finished);
        }
        Intent::ImportPool { pool, path, medium } => {
            pool::import::settle(core, operation.id, *pool, path.as_ref(), medium)?;
            return Ok(Fate::Finished);
        }
        Intent::ExportPool { pool } => {
            pool::remove::undo_export(core, operation.id, *pool)?;
            return Ok(Fate::Undone);
        }
        Intent::Snapshot { snapshot } => return settle_new_snapshot(core, operation, *snapshot),
        Intent::DeleteSnapshot { snapshot } => {
            let Some(row) = core.store.read(|r| snapshots::by_id(r, *snapshot))? else {
                return drop_entry(core, operation);
            };
            return snapshot::delete::finish(core, None, &row, operation.id).map(|()| Fate::Finished);
        }
        Intent::SnapshotGroup { group } => {
            let made = snapshot::group::settle::made(core, *group, operation.id)?;
            return Ok(if made { Fate::Finished } else { Fate::Undone });
        }
        Intent::DeleteSnapshotGroup { group } => {
            snapshot::group::settle::deleted(core, *group, operation.id)?;
            return Ok(Fate::Finished);
        }
        Intent::Create { .. }
        | Intent::Configure
        | Intent::Attach { .. }
        | Intent::Detach { .. }
        | Intent::Resize { .. }
        | Intent::Migrate { .. }
        | Intent::Delete { .. }
        | Intent::Undelete
        | Intent::Wipe { .. }
        | Intent::Repair
        | Intent::Restore { .. } => {}
    }
    let Some(id) = operation.volume else { return drop_entry(core, operation) };
    let Some(row) = core.store.read(|r| volumes::by_id(r, id))? else { return orphaned(core, operation) };
    match &operation.intent {
        Intent::Create { .. } => settle_create(core, operation, row),
        Intent::Configure => change::follow(core, &row, operation.id).map(|()| Fate::Finished),
        Intent::Attach { target, .. } => settle_attach(core, operation, &row, target.as_deref()),
        Intent::Detach { attachment, target } => {
            let recorded = core.store.read(|r| attachments::of_volume(r, id))?;
            let Some(attachment) = recorded.into_iter().find(|recorded| recorded.id == *attachment) else {
                return drop_entry(core, operation);
            };
            let image = core.image(&row)?;
            unbind(core, &row, target.as_deref())?;
            detach::finish(core, None, &row, &image, &attachment, Leave::Undone, operation.id)
                .map(|()| Fate::Finished)
        }
        Intent::Delete { .. } => match delete::resume(core, None, row)? {
            orlop_model::resource::Deletion::Destroyed | orlop_model::resource::Deletion::Released => {
                Ok(Fate::Finished)
            }
            orlop_model::resource::Deletion::Deleting => Ok(Fate::Waits),
        },
        Intent::Resize { .. } => Ok(match resize::settle(core, &row, operation)? {
            Settled::Forward => Fate::Finished,
            Settled::Back => Fate::Undone,
        }),
        Intent::Migrate { from, .. } => Ok(match migrate::settle(core, &row, operation.id, *from)? {
            Settled::Forward => Fate::Finished,
            Settled::Back => Fate::Undone,
        }),
        Intent::Undelete => undelete::undo(core, &row, operation.id).map(|()| Fate::Undone),
        Intent::Wipe { inode, placement } => {
            let done = wipe::settle(core, &row, operation.id, *inode, placement.as_ref())?;
            Ok(if done { Fate::Finished } else { Fate::Undone })
        }
        Intent::Restore { snapshot, before } => {
            match snapshot::restore::settle(core, &row, *snapshot, *before, operation.id)? {
                Outcome::Configured => Ok(Fate::Finished),
                Outcome::Created | Outcome::Unchanged => Ok(Fate::Undone),
            }
        }
        Intent::Repair => {
            let undone = fsck::settle(core, &row, operation.id)?;
            Ok(if undone { Fate::Undone } else { Fate::Finished })
        }
        // Settled above.
        Intent::Snapshot { .. }
        | Intent::DeleteSnapshot { .. }
        | Intent::SnapshotGroup { .. }
        | Intent::DeleteSnapshotGroup { .. }
        | Intent::CreatePool { .. }
        | Intent::RemovePool { .. }
        | Intent::ImportPool { .. }
        | Intent::GrowPool { .. }
        | Intent::ExportPool { .. } => Ok(Fate::Waits),
    }
}

/// As of a volume: its description is the last thing that is written.
fn settle_new_snapshot(core: &Core, operation: &OperationRow, id: SnapshotId) -> Result<Fate> {
    let row = core.store.read(|r| snapshots::by_id(r, id))?;
    let Some(row) = row.filter(|row| row.state == SnapshotState::Pending) else {
        return drop_entry(core, operation);
    };
    let paths = pool::confirm(core, row.pool, &row.pool_name)?;
    let length = orlop_sys::image::space(&paths.snapshot_image(id)).map(|space| space.length);
    if snapshot::describe::read(&paths, &row).is_some()
        && length.is_ok_and(|length| length == row.size.bytes())
    {
        snapshot::create::complete(core, None, &paths, row, operation.id, Made::Earlier)?;
        return Ok(Fate::Finished);
    }
    snapshot::create::undo(core, &row, operation.id)?;
    Ok(Fate::Undone)
}

/// Its description is the last thing that is written: with it the image is whole.
fn settle_create(core: &Core, operation: &OperationRow, row: VolumeRow) -> Result<Fate> {
    if row.state != VolumeState::Pending {
        return drop_entry(core, operation);
    }
    let paths = pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let image = core.image(&row)?;
    if describe::read(&paths, &row).is_some() && health::examine(&image).is_ok() {
        create::complete(core, None, &paths, row, operation.id)?;
        return Ok(Fate::Finished);
    }
    create::undo(core, &row, operation.id)?;
    Ok(Fate::Undone)
}

/// Nobody was told of the attachment: what was mounted for it is taken down.
fn settle_attach(
    core: &Core,
    operation: &OperationRow,
    row: &VolumeRow,
    target: Option<&str>,
) -> Result<Fate> {
    let image = core.image(row)?;
    let recorded = core.store.read(|r| attachments::of_volume(r, row.id))?;
    // A later attach succeeded where this one failed: what is mounted there is in use.
    let taken = target
        .is_some_and(|target| recorded.iter().any(|other| other.target.as_deref() == Some(target.as_ref())));
    if !taken {
        unbind(core, row, target)?;
    }
    if recorded.is_empty() {
        detach::take_down(core, row, &image)?;
    }
    let id = operation.id;
    core.store.write(move |tx| operations::finish(tx, id))?;
    Ok(Fate::Undone)
}

/// Takes a mount on a target away, if it is one of this volume.
fn unbind(core: &Core, row: &VolumeRow, target: Option<&str>) -> Result<()> {
    let Some(target) = target else { return Ok(()) };
    let image = core.image(row)?;
    let path = Path::new(target);
    let root = core.node_root.as_ref().filter(|root| path.starts_with(root.path()));
    let place = root.map_or_else(|| target::open_place(path), |root| root.place(path));
    // A path that its user changed meanwhile leads to nothing of ours.
    let Ok(place) = place else { return Ok(()) };
    host_mount::unbind(core, &place, &image)
}

/// The volume is gone. What was begun of a snapshot for its restore goes with the entry.
fn orphaned(core: &Core, operation: &OperationRow) -> Result<Fate> {
    if let Intent::Restore { before, .. } = operation.intent
        && let Some(row) = core.store.read(|r| snapshots::by_id(r, before))?
        && row.state == SnapshotState::Pending
    {
        snapshot::create::undo(core, &row, operation.id)?;
        return Ok(Fate::Undone);
    }
    drop_entry(core, operation)
}

/// The volume is gone or settled: only the entry is left.
fn drop_entry(core: &Core, operation: &OperationRow) -> Result<Fate> {
    let id = operation.id;
    core.store.write(move |tx| operations::finish(tx, id))?;
    Ok(Fate::Finished)
}

fn postpone(core: &Core, operation: &OperationRow, error: &Error) -> Result<()> {
    // Without the store nothing can be done.
    if error.kind == ErrorKind::Store {
        return Err(error.clone());
    }
    let told =
        event("RecoveryPostponed", format!("an operation that was begun could not be settled: {error}"))
            .error();
    let row = row_of(core, operation.volume)?;
    note(
        core,
        match &row {
            Some(row) => told.of(row),
            None => told,
        },
    );
    tracing::error!(operation = %operation.id, %error, "could not settle an operation");
    Ok(())
}

fn row_of(core: &Core, id: Option<VolumeId>) -> Result<Option<VolumeRow>> {
    match id {
        Some(id) => core.store.read(|r| volumes::by_id(r, id)),
        None => Ok(None),
    }
}
