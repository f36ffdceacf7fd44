//! `volume.json`, beside the data: never the truth, but enough to rebuild the record from.

use orlop_model::{Result, resource::VolumeState};
use orlop_sys::durable;

use super::aliased;
use crate::{
    alias,
    core::{Core, object},
    format::{FileAlias, PoolPaths, VolumeFile},
    host::On,
    pool,
    store::{AliasRow, Reader, VolumeRow, aliases},
};

/// Writes what the file of that record says, durably and as a whole.
pub(crate) fn write(core: &Core, paths: &PoolPaths, row: &VolumeRow) -> Result<()> {
    let bytes = file(core, row)?.encode()?;
    durable::write_file(&paths.record(row.id), &bytes, 0o600).on(&object(row))
}

/// The same for a record whose next change is about to be committed.
pub(crate) fn write_ahead(core: &Core, paths: &PoolPaths, row: &VolumeRow) -> Result<()> {
    write(core, paths, &VolumeRow { generation: row.generation + 1, ..row.clone() })
}

/// What the file says; nothing where it is missing, not whole, or of another volume.
///
/// # Errors
/// [`orlop_model::ErrorKind::Host`] where it can't be read: it may say anything then;
/// [`orlop_model::ErrorKind::NewerFormat`].
pub(crate) fn read(paths: &PoolPaths, row: &VolumeRow) -> Result<Option<VolumeFile>> {
    let found = pool::description(&paths.record(row.id), VolumeFile::decode)?;
    Ok(found.filter(|file| file.id == row.id))
}

/// What the file of that record should say.
pub(crate) fn file(core: &Core, row: &VolumeRow) -> Result<VolumeFile> {
    let known = core.store.read(|r| known(r, row))?;
    let mut names: Vec<_> = known
        .into_iter()
        .map(|alias| FileAlias { front: alias.front.as_str().to_owned(), name: alias.external })
        .collect();
    names.sort();
    names.dedup();
    Ok(VolumeFile::of(row, names))
}

/// The aliases that can't be told from its name. Those of a released volume are set aside, or about to
/// be; of one that is about to be undeleted they are about to be its own again, where they are free.
fn known(r: &Reader<'_>, row: &VolumeRow) -> Result<Vec<AliasRow>> {
    let mut known = aliases::of_volume(r, row.id)?;
    if row.state == VolumeState::Released {
        known.extend(aliases::aside(r, row.id)?);
        return Ok(known);
    }
    known.extend(aliased::returning(r, row.id)?);
    let key = row.key();
    known.retain(|alias| !alias::is_own_name(alias.front, &alias.external, &key));
    Ok(known)
}
