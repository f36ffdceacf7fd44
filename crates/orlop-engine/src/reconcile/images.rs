//! What lies in the pools against the records: a directory that no record explains is told of and
//! left alone, for it may hold somebody's data.

use std::collections::HashSet;

use orlop_model::{Result, SnapshotId, VolumeId};

use crate::{
    core::Core,
    directory::entries,
    events::{event, note},
    format::PoolPaths,
    pool,
    request::Recovery,
    store::{pools, snapshots, volumes},
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
        let lies_there =
            entries(&paths.volumes()).and_then(|found| Ok((found, entries(&paths.snapshots())?)));
        let (in_volumes, in_snapshots) = match lies_there {
            Ok(found) => found,
            Err(error) => {
                pool::tell_unreadable(core, &row, &error);
                continue;
            }
        };
        let known: HashSet<VolumeId> =
            core.store.read(|r| volumes::ids_in_pool(r, row.id))?.into_iter().collect();
        let snapshots: HashSet<SnapshotId> =
            core.store.read(|r| snapshots::ids_in_pool(r, row.id))?.into_iter().collect();
        let volume = |name: &str| PoolPaths::volume_of(name).is_some_and(|id| known.contains(&id));
        let snapshot = |name: &str| PoolPaths::snapshot_of(name).is_some_and(|id| snapshots.contains(&id));
        let in_volumes = in_volumes.into_iter().filter(|(_, name)| !volume(name));
        let in_snapshots = in_snapshots.into_iter().filter(|(_, name)| !snapshot(name));
        for (path, _) in in_volumes.chain(in_snapshots) {
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
