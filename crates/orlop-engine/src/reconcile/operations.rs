//! The journal: what was begun and not completed is finished where its effect is whole, and undone
//! where it is not. Every step can be repeated, so a crash in here changes nothing. Who asks for it before
//! it uses something is in `leftovers`.

use std::path::Path;

use orlop_model::{
    AttachmentId, Error, ErrorKind, PoolId, Result, SnapshotId, VolumeId,
    resource::{Deletion, Outcome, SnapshotState, VolumeState},
};
use orlop_sys::{SysError, target};

use super::frozen;
use crate::{
    attachment::{
        detach::{self, Leave},
        host_mount,
    },
    backend::image::{Image, health},
    core::Core,
    events::{event, note},
    host::failure,
    locks::Lock,
    pool::{self, grow::Growth},
    request::Recovery,
    snapshot::{self, create::Made},
    store::{Intent, OperationRow, VolumeRow, attachments, operations, pools, snapshots, volumes},
    volume::{
        change, create, delete, describe, fsck, migrate,
        resize::{self, Settled},
        undelete, wipe,
    },
};

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Finished,
    Undone,
    /// It waits for something, such as the last user of a volume, and stays in the journal.
    Waits,
}

impl Fate {
    /// What was made is there as a whole, or was taken back.
    fn of_whole(whole: bool) -> Self {
        if whole { Self::Finished } else { Self::Undone }
    }
}

impl From<Settled> for Fate {
    fn from(settled: Settled) -> Self {
        match settled {
            Settled::Forward => Self::Finished,
            Settled::Back => Self::Undone,
        }
    }
}

/// All that is in the journal, at start. One that can't be settled (its disk is missing) is told of
/// and stays; the others go on.
pub(crate) fn recover(core: &Core, recovery: &mut Recovery) -> Result<()> {
    let unfinished = core.store.read(operations::unfinished)?;
    // First of all: whoever writes to a filesystem that is frozen waits, and so would we. What can't be
    // thawed stays in the journal, which alone knows of it.
    let mut thawed = Vec::new();
    for operation in unfinished {
        match frozen::thaw(core, &operation) {
            Ok(filesystems) => {
                recovery.thawed += filesystems;
                thawed.push(operation);
            }
            Err(error) => {
                core.frozen.keep(operation.id);
                postpone(core, &operation, &error)?;
            }
        }
    }
    for operation in thawed {
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

pub(super) fn settle(core: &Core, operation: &OperationRow) -> Result<Fate> {
    frozen::thaw_left(core, operation)?;
    let finished = |()| Fate::Finished;
    let undone = |()| Fate::Undone;
    let of_volume = |settle: &dyn Fn(VolumeRow) -> Result<Fate>| settle_of_volume(core, operation, settle);
    match &operation.intent {
        Intent::Create { .. } => of_volume(&|row| settle_create(core, operation, row)),
        Intent::Configure => of_volume(&|row| change::follow(core, &row, operation.id).map(finished)),
        Intent::Attach { target, .. } => {
            of_volume(&|row| settle_attach(core, operation, &row, target.as_deref()))
        }
        Intent::Detach { attachment, target } => {
            of_volume(&|row| settle_detach(core, operation, &row, *attachment, target.as_deref()))
        }
        Intent::Delete { .. } => of_volume(&|row| {
            Ok(match delete::resume(core, None, row)? {
                Deletion::Destroyed | Deletion::Released => Fate::Finished,
                Deletion::Deleting => Fate::Waits,
            })
        }),
        Intent::Resize { .. } => of_volume(&|row| resize::settle(core, &row, operation).map(Fate::from)),
        Intent::Migrate { from, .. } => {
            of_volume(&|row| migrate::settle(core, &row, operation.id, *from).map(Fate::from))
        }
        Intent::Undelete => of_volume(&|row| undelete::undo(core, &row, operation.id).map(undone)),
        Intent::Wipe { inode, placement } => of_volume(&|row| {
            wipe::settle(core, &row, operation.id, *inode, placement.as_ref()).map(Fate::of_whole)
        }),
        Intent::Repair => of_volume(&|row| {
            let undone = fsck::settle(core, &row, operation.id)?;
            Ok(Fate::of_whole(!undone))
        }),
        Intent::Restore { snapshot, before } => of_volume(&|row| {
            Ok(match snapshot::restore::settle(core, &row, *snapshot, *before, operation.id)? {
                Outcome::Configured => Fate::Finished,
                Outcome::Created | Outcome::Unchanged => Fate::Undone,
            })
        }),
        Intent::Snapshot { snapshot } => settle_new_snapshot(core, operation, *snapshot),
        Intent::DeleteSnapshot { snapshot } => match core.store.read(|r| snapshots::by_id(r, *snapshot))? {
            Some(row) => snapshot::delete::finish(core, None, &row, operation.id).map(finished),
            None => drop_entry(core, operation),
        },
        Intent::SnapshotGroup { group } => {
            snapshot::group::settle::made(core, *group, operation.id).map(Fate::of_whole)
        }
        Intent::DeleteSnapshotGroup { group } => {
            snapshot::group::settle::deleted(core, *group, operation.id).map(finished)
        }
        Intent::CreatePool { pool, path, medium } => {
            pool::create::undo(core, operation.id, path.as_ref(), *pool, medium).map(undone)
        }
        Intent::RemovePool { pool, path, medium } => {
            pool::remove::erase(core, operation.id, path.as_ref(), *pool, medium).map(finished)
        }
        Intent::GrowPool { pool, size, capacity, from } => {
            match core.store.read(|r| pools::by_id(r, *pool))? {
                Some(row) => {
                    let growth = Growth { to: *size, capacity: *capacity, from: *from };
                    pool::grow::settle(core, operation.id, row, growth).map(|_| Fate::Finished)
                }
                None => drop_entry(core, operation),
            }
        }
        Intent::ImportPool { pool, path, medium } => {
            pool::import::settle(core, operation.id, *pool, path.as_ref(), medium).map(finished)
        }
        Intent::ExportPool { pool } => pool::remove::undo_export(core, operation.id, *pool).map(undone),
    }
}

/// One that is about a volume, which may have gone meanwhile.
fn settle_of_volume(
    core: &Core,
    operation: &OperationRow,
    settle: impl FnOnce(VolumeRow) -> Result<Fate>,
) -> Result<Fate> {
    let Some(id) = operation.volume else { return drop_entry(core, operation) };
    match core.store.read(|r| volumes::by_id(r, id))? {
        Some(row) => settle(row),
        None => orphaned(core, operation),
    }
}

/// As of a volume: its description is the last thing that is written.
fn settle_new_snapshot(core: &Core, operation: &OperationRow, id: SnapshotId) -> Result<Fate> {
    let row = core.store.read(|r| snapshots::by_id(r, id))?;
    let Some(row) = row.filter(|row| row.state == SnapshotState::Pending) else {
        return drop_entry(core, operation);
    };
    let paths = pool::confirm(core, row.pool, &row.pool_name)?;
    if snapshot::describe::is_whole(&paths, &row)? {
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
    if describe::read(&paths, &row)?.is_some() && is_whole(&image)? {
        create::complete(core, None, &paths, row, operation.id)?;
        return Ok(Fate::Finished);
    }
    create::undo(core, &row, operation.id)?;
    Ok(Fate::Undone)
}

/// What can't be looked at now may be whole: that is an error, and nothing is taken back for it.
fn is_whole(image: &Image) -> Result<bool> {
    match health::examine(image) {
        Ok(()) => Ok(true),
        Err(error) if error.kind == ErrorKind::Damaged => Ok(false),
        Err(error) => Err(error),
    }
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
        unbind(core, &image, target.map(Path::new))?;
    }
    if recorded.is_empty() {
        detach::take_down(core, row, &image)?;
    }
    let id = operation.id;
    core.store.write(move |tx| operations::finish(tx, id))?;
    Ok(Fate::Undone)
}

/// The attachment is recorded, and was to go.
fn settle_detach(
    core: &Core,
    operation: &OperationRow,
    row: &VolumeRow,
    attachment: AttachmentId,
    target: Option<&str>,
) -> Result<Fate> {
    let recorded = core.store.read(|r| attachments::of_volume(r, row.id))?;
    let Some(attachment) = recorded.into_iter().find(|recorded| recorded.id == attachment) else {
        return drop_entry(core, operation);
    };
    let image = core.image(row)?;
    unbind(core, &image, target.map(Path::new))?;
    detach::finish(core, None, row, &image, &attachment, Leave::Undone, operation.id)?;
    Ok(Fate::Finished)
}

/// Takes a mount on a target away, if it is one of this volume.
pub(crate) fn unbind(core: &Core, image: &Image, target: Option<&Path>) -> Result<()> {
    let Some(path) = target else { return Ok(()) };
    let root = core.node_root.as_ref().filter(|root| path.starts_with(root.path()));
    let place = root.map_or_else(|| target::open_place(path), |root| root.place(path));
    match place {
        Ok(place) => host_mount::unbind(core, &place, image),
        // A path that its user changed meanwhile leads to nothing of ours.
        Err(SysError::TargetRefused { .. }) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(failure(&error, &image.object)),
    }
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

pub(super) fn row_of(core: &Core, id: Option<VolumeId>) -> Result<Option<VolumeRow>> {
    match id {
        Some(id) => core.store.read(|r| volumes::by_id(r, id)),
        None => Ok(None),
    }
}
