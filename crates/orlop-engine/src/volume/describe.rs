//! `volume.json`, beside the data: never the truth, but enough to rebuild the record from.

use orlop_model::Result;
use orlop_sys::durable;

use crate::{
    core::object,
    format::{PoolPaths, VolumeFile},
    host::On,
    store::VolumeRow,
};

/// Writes what the file of that record says, durably and as a whole.
pub(crate) fn write(paths: &PoolPaths, row: &VolumeRow) -> Result<()> {
    let bytes = VolumeFile::of(row).encode()?;
    durable::write_file(&paths.record(row.id), &bytes, 0o600).on(&object(row))
}

/// The same for a record whose next change is about to be committed.
pub(crate) fn write_ahead(paths: &PoolPaths, row: &VolumeRow) -> Result<()> {
    write(paths, &VolumeRow { generation: row.generation + 1, ..row.clone() })
}

/// What the file says, if it is whole and of that volume.
pub(crate) fn read(paths: &PoolPaths, row: &VolumeRow) -> Option<VolumeFile> {
    let path = paths.record(row.id);
    let bytes = crate::pool::read_short(&path).ok()?;
    VolumeFile::decode(&bytes, &path).ok().filter(|file| file.id == row.id)
}
