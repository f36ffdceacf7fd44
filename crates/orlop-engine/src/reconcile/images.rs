//! What lies in the pools against the records: a directory that no record explains is told of and
//! left alone, for it may hold somebody's data.

use std::collections::HashSet;

use orlop_model::{Result, VolumeId};

use crate::{
    core::Core,
    events::{event, note},
    format::PoolPaths,
    pool,
    request::Recovery,
    store::{pools, volumes},
};

/// So many are named in events; the rest is counted.
const NAMED: usize = 20;

/// Compares the directories of all pools with the records. Opens no image.
pub(crate) fn account(core: &Core, recovery: &mut Recovery) -> Result<()> {
    for row in core.store.read(pools::all)? {
        let paths = match pool::confirm(core, row.id, &row.name) {
            Ok(paths) => paths,
            Err(error) => {
                tracing::error!(pool = %row.name, %error, "a pool is not there");
                note(core, event("PoolMissing", error.to_string()).in_pool(&row.name).error());
                continue;
            }
        };
        let known: HashSet<VolumeId> =
            core.store.read(|r| volumes::ids_in_pool(r, row.id))?.into_iter().collect();
        let entries = std::fs::read_dir(paths.volumes()).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let id = name.to_str().and_then(PoolPaths::volume_of);
            if id.is_some_and(|id| known.contains(&id)) {
                continue;
            }
            let path = entry.path();
            if recovery.unaccounted.len() < NAMED {
                let message =
                    format!("{} is in the pool, and no record explains it; it is left alone", path.display());
                note(core, event("Unaccounted", message).in_pool(&row.name).warning());
            }
            recovery.unaccounted.push(path);
        }
    }
    Ok(())
}
