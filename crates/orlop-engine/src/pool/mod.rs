//! Pools: the directories that volumes live in. Making one is in `create`, its room in `room`; here
//! is which pools there are, whether each is really there, and how users see them.

pub(crate) mod create;
pub(crate) mod room;

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use orlop_model::{
    Error, ErrorKind, PoolId, PoolName, Result, Size,
    resource::{Capacity, Pool},
};

use crate::{
    core::Core,
    format::{LONGEST, PoolFile, PoolPaths},
    store::{PoolRow, pools},
};

/// Where the pools are. They are few, and stay where they are.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    known: RwLock<HashMap<PoolId, PoolPaths>>,
}

impl Pools {
    pub(crate) fn add(&self, row: &PoolRow) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(row.id, PoolPaths::new(&row.path));
    }

    /// The paths of a pool.
    pub(crate) fn paths(&self, id: PoolId, name: &PoolName) -> Result<PoolPaths> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&id).cloned().ok_or_else(|| missing(name))
    }
}

/// Confirms that the pool is there: its directory could be the empty mount point of a disk that is
/// not mounted, and everything in it would look deleted.
///
/// # Errors
/// [`ErrorKind::Unavailable`] where it is not; [`ErrorKind::NewerFormat`].
pub(crate) fn confirm(core: &Core, id: PoolId, name: &PoolName) -> Result<PoolPaths> {
    let paths = core.pools.paths(id, name)?;
    let marker = paths.marker();
    let absent = |why: String| {
        Error::new(ErrorKind::Unavailable, format!("pool {name} is not at {}: {why}", paths.root().display()))
            .object(format!("pool {name}"))
            .hint("mount the disk that holds it; nothing of its volumes is changed meanwhile")
    };
    let bytes = read_short(&marker).map_err(|error| absent(format!("{}: {error}", marker.display())))?;
    let file = PoolFile::decode(&bytes, &marker)?;
    if file.id != id {
        return Err(absent(format!("another pool is there, {}", file.id)));
    }
    Ok(paths)
}

/// Reads a file that is no longer than our descriptions are.
pub(crate) fn read_short(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// One pool as users see it.
pub(crate) fn show(core: &Core, name: &PoolName) -> Result<Pool> {
    let row = core.store.read(|r| pools::by_name(r, name))?.ok_or_else(|| missing(name))?;
    Ok(view(core, &row))
}

/// All pools.
pub(crate) fn list(core: &Core) -> Result<Vec<Pool>> {
    Ok(core.store.read(pools::all)?.iter().map(|row| view(core, row)).collect())
}

/// A pool that is not there is shown too, with the reason and without figures of its disk.
fn view(core: &Core, row: &PoolRow) -> Pool {
    let (room, capacity_status) = match core.rooms.current(core, row) {
        Ok(room) => {
            let status = room.status();
            (room, status)
        }
        Err(error) => (room::unknown(row), Capacity::Advisory { why: error.message }),
    };
    Pool {
        id: row.id,
        name: row.name.clone(),
        backend: row.backend,
        path: row.path.display().to_string(),
        capacity: row.capacity,
        overcommit: row.overcommit,
        reserved: row.reserved,
        available: Size::from_bytes(room.available()),
        allocated: Size::from_bytes(room.reserved.saturating_sub(room.unallocated)),
        host_free: Size::from_bytes(room.host_free),
        low_water: Size::from_bytes(room.low_water),
        host_filesystem: room.host_filesystem.clone(),
        volumes: row.volumes,
        capacity_status,
        created_at: row.created_at,
    }
}

pub(crate) fn missing(name: &PoolName) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no pool {name}"))
        .object(format!("pool {name}"))
        .hint(format!("orlop pool list shows the pools; root makes one: orlop pool create {name} --path DIR"))
}
