//! `snapshot.json`, beside the image: never the truth, but enough to rebuild the record from.

use std::time::Duration;

use orlop_model::{Result, VolumeId};
use orlop_sys::{durable, image};

use super::object;
use crate::{
    core::Core,
    fault::{self, Point},
    format::{FileAlias, PoolPaths, SnapshotFile},
    host::{On, failure},
    locks::{Deadline, Lock},
    pool,
    store::{SnapshotAliasRow, SnapshotRow, snapshot_aliases, snapshots},
};

/// Writes what the file of that record says, durably and as a whole.
pub(crate) fn write(core: &Core, paths: &PoolPaths, row: &SnapshotRow) -> Result<()> {
    let bytes = file(core, row)?.encode()?;
    durable::write_file(&paths.snapshot_record(row.id), &bytes, 0o600).on(&object(row))
}

/// The same where it says something else: a change was recorded, and everything ended, or the disk failed,
/// before it was written. While the pool is away there is nothing to be done.
pub(super) fn catch_up(core: &Core, row: &SnapshotRow) -> Result<()> {
    let paths = match pool::confirm(core, row.pool, &row.pool_name) {
        Ok(paths) => paths,
        Err(error) if pool::is_away(error.kind) => {
            tracing::debug!(snapshot = row.title(), %error, "what lies beside it stays as it is for now");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let wanted = file(core, row)?;
    if read(&paths, row)?.is_some_and(|file| file == wanted) { Ok(()) } else { write(core, &paths, row) }
}

/// Writes it for a record whose next change is about to be committed.
pub(crate) fn write_ahead(core: &Core, paths: &PoolPaths, row: &SnapshotRow) -> Result<()> {
    write(core, paths, &SnapshotRow { generation: row.generation + 1, ..row.clone() })
}

/// How long is waited for somebody else's work on snapshots. Who only looks is done by then.
const MOMENT: Duration = Duration::from_millis(500);

/// Has the files of a volume's snapshots say its name. One that somebody works on for longer than a
/// moment goes another time: says whether none is left. The caller holds the volume's lock.
pub(crate) fn follow(core: &Core, volume: VolumeId) -> Result<bool> {
    let mut all = true;
    let deadline = Deadline::after(MOMENT);
    let differs = |paths: &PoolPaths, row: &SnapshotRow| -> Result<bool> {
        let file = read(paths, row)?;
        Ok(file.is_some_and(|file| file.manifest.snapshot.volume != row.manifest.snapshot.volume))
    };
    for row in core.store.read(|r| snapshots::of_volume(r, volume))? {
        let paths = pool::confirm(core, row.pool, &row.pool_name)?;
        if !differs(&paths, &row)? {
            continue;
        }
        let Ok(_held) = core.locks.take(Lock::Snapshot(row.id), deadline) else {
            all = false;
            continue;
        };
        let now = core.store.read(|r| snapshots::by_id(r, row.id))?;
        if let Some(now) = now
            && differs(&paths, &now)?
        {
            write(core, &paths, &now)?;
            fault::point(Point::ChangeOfSnapshots)?;
        }
    }
    Ok(all)
}

/// What the file of that record should say.
pub(crate) fn file(core: &Core, row: &SnapshotRow) -> Result<SnapshotFile> {
    let known = core.store.read(|r| snapshot_aliases::of_snapshot(r, row.id))?;
    let named =
        |alias: SnapshotAliasRow| FileAlias { front: alias.front.as_str().to_owned(), name: alias.external };
    Ok(SnapshotFile::of(row, known.into_iter().map(named).collect()))
}

/// What the file says; nothing where it is missing, not whole, or of another snapshot.
///
/// # Errors
/// [`orlop_model::ErrorKind::Host`] where it can't be read: it may say anything then;
/// [`orlop_model::ErrorKind::NewerFormat`].
pub(crate) fn read(paths: &PoolPaths, row: &SnapshotRow) -> Result<Option<SnapshotFile>> {
    let found = pool::description(&paths.snapshot_record(row.id), SnapshotFile::decode)?;
    Ok(found.filter(|file| file.id == row.id))
}

/// Whether a snapshot that was being made is: its description is the last that is written. Where that
/// can't be looked at now it may be, which is an error.
pub(crate) fn is_whole(paths: &PoolPaths, row: &SnapshotRow) -> Result<bool> {
    if read(paths, row)?.is_none() {
        return Ok(false);
    }
    match image::space(&paths.snapshot_image(row.id)) {
        Ok(space) => Ok(space.length == row.size.bytes()),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(failure(&error, &object(row))),
    }
}
