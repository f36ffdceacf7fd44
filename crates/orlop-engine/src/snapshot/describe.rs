//! `snapshot.json`, beside the image: never the truth, but enough to rebuild the record from.

use orlop_model::Result;
use orlop_sys::durable;

use super::object;
use crate::{
    format::{PoolPaths, SnapshotFile},
    host::On,
    store::SnapshotRow,
};

/// Writes what the file of that record says, durably and as a whole.
pub(crate) fn write(paths: &PoolPaths, row: &SnapshotRow) -> Result<()> {
    let bytes = SnapshotFile::of(row).encode()?;
    durable::write_file(&paths.snapshot_record(row.id), &bytes, 0o600).on(&object(row))
}

/// The same for a record whose next change is about to be committed.
pub(crate) fn write_ahead(paths: &PoolPaths, row: &SnapshotRow) -> Result<()> {
    write(paths, &SnapshotRow { generation: row.generation + 1, ..row.clone() })
}

/// What the file says, if it is whole and of that snapshot.
pub(crate) fn read(paths: &PoolPaths, row: &SnapshotRow) -> Option<SnapshotFile> {
    let path = paths.snapshot_record(row.id);
    let bytes = crate::pool::read_short(&path).ok()?;
    SnapshotFile::decode(&bytes, &path).ok().filter(|file| file.id == row.id)
}
