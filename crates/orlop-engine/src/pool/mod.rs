//! Pools: the directories that volumes live in. Making one is in `create`, the filesystem of its own
//! that it may have in `medium` and `medium_format`, its room in `room`, its way here and
//! away in `import` and `remove`, which daemon has it in `hold`, that nobody else has in `private`, what it
//! may be told to promise in `promise`, its agreement with the records in `check`; here is which pools there
//! are, whether each is really there, and how users see them.

mod candidate;
pub(crate) mod check;
pub(crate) mod create;
pub(crate) mod grow;
pub(crate) mod hold;
pub(crate) mod import;
pub(crate) mod medium;
pub(crate) mod medium_format;
mod private;
mod promise;
pub(crate) mod remove;
pub(crate) mod room;
pub(crate) mod share;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use orlop_model::{
    Error, ErrorKind, PoolId, PoolName, Result, Size,
    resource::{Capacity, Pool, PoolCapabilities, PoolState},
};
use orlop_sys::capability::{self, Capabilities};

use crate::{
    core::{Core, similar},
    directory::{read_short, unreadable},
    events::{event, note},
    format::{PoolFile, PoolPaths},
    store::{PoolRow, pools},
};

use hold::Hold;

/// Where the pools are. They are few, and stay where they are.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    known: RwLock<HashMap<PoolId, Known>>,
}

#[derive(Debug)]
struct Known {
    paths: PoolPaths,
    /// Why its own filesystem is not mounted.
    problem: Option<Error>,
    /// Found out once; a filesystem does not learn.
    can: Option<Capabilities>,
    hold: Arc<Hold>,
}

impl Pools {
    pub(crate) fn add(&self, row: &PoolRow) {
        self.add_held(row, Hold::default());
    }

    /// One that this daemon has already.
    pub(crate) fn add_held(&self, row: &PoolRow, hold: Hold) {
        let paths = PoolPaths::new(&row.path);
        let known = Known { paths, problem: None, can: None, hold: Arc::new(hold) };
        self.write().insert(row.id, known);
    }

    /// As [`Self::add`], where it is not known.
    pub(crate) fn add_missing(&self, row: &PoolRow) {
        if !self.read().contains_key(&row.id) {
            self.add(row);
        }
    }

    /// Forgets it. Afterwards nothing of it is open here.
    pub(crate) fn remove(&self, id: PoolId) {
        let known = self.write().remove(&id);
        // Whoever looked it up before finds it closed.
        if let Some(known) = known {
            known.hold.close();
        }
    }

    /// Who has that pool; `None` where it is not known.
    pub(crate) fn hold(&self, id: PoolId) -> Option<Arc<Hold>> {
        self.read().get(&id).map(|known| Arc::clone(&known.hold))
    }

    /// The paths of a pool.
    pub(crate) fn paths(&self, id: PoolId, name: &PoolName) -> Result<PoolPaths> {
        self.read().get(&id).map(|known| known.paths.clone()).ok_or_else(|| missing(name))
    }

    /// The directories of all pools.
    pub(crate) fn roots(&self) -> Vec<PathBuf> {
        self.read().values().map(|known| known.paths.root().to_owned()).collect()
    }

    /// Remembers why its own filesystem is not mounted, and says whether that is news.
    pub(crate) fn settle(&self, id: PoolId, problem: Option<Error>) -> bool {
        let mut all = self.write();
        let Some(known) = all.get_mut(&id) else { return false };
        let news = known.problem.is_some() != problem.is_some();
        known.problem = problem;
        news
    }

    fn problem(&self, id: PoolId) -> Option<Error> {
        self.read().get(&id)?.problem.clone()
    }

    /// What the pool's filesystem can do. The pool was confirmed to be there.
    pub(crate) fn can(&self, row: &PoolRow) -> Option<Capabilities> {
        if let Some(can) = self.read().get(&row.id)?.can {
            return Some(can);
        }
        let can =
            capability::probe(&row.path).inspect_err(|error| tracing::debug!(%error, "could not try it out"));
        let mut all = self.write();
        let known = all.get_mut(&row.id)?;
        known.can = can.ok();
        known.can
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<PoolId, Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<PoolId, Known>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Confirms that the pool is there, and this daemon's: its directory could be the empty mount point of a
/// disk that is not mounted, and everything in it would look deleted.
///
/// # Errors
/// [`ErrorKind::Unavailable`] where it is not; [`ErrorKind::Locked`] where another daemon has it;
/// [`ErrorKind::NewerFormat`].
pub(crate) fn confirm(core: &Core, id: PoolId, name: &PoolName) -> Result<PoolPaths> {
    let paths = core.pools.paths(id, name)?;
    let marker = paths.marker();
    let absent = |why: String| {
        if let Some(problem) = core.pools.problem(id) {
            let kind = if problem.kind == ErrorKind::Locked { problem.kind } else { ErrorKind::Unavailable };
            return Error { kind, ..problem };
        }
        Error::new(ErrorKind::Unavailable, format!("pool {name} is not at {}: {why}", paths.root().display()))
            .object(format!("pool {name}"))
            .hint("mount the disk that holds it; nothing of its volumes is changed meanwhile")
    };
    let bytes = read_short(&marker).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            absent(format!("{}: {error}", marker.display()))
        }
        _ => Error { kind: ErrorKind::Unavailable, ..unreadable(&marker, "it can't be read", &error) },
    })?;
    let file = PoolFile::decode(&bytes, &marker)?;
    if file.id != id {
        return Err(absent(format!("another pool is there, {}", file.id)));
    }
    core.pools.hold(id).ok_or_else(|| missing(name))?.take(core, name, &paths)?;
    Ok(paths)
}

/// Whether [`confirm`] says that the pool is not here to be used: nothing is known of what is in it then.
pub(crate) fn is_away(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unavailable | ErrorKind::Locked | ErrorKind::NewerFormat)
}

/// What a description says; nothing where there is none, or it is not whole.
///
/// # Errors
/// [`ErrorKind::Host`] where it can't be read; [`ErrorKind::NewerFormat`].
pub(crate) fn description<T>(
    path: &std::path::Path,
    decode: impl FnOnce(&[u8], &std::path::Path) -> Result<T>,
) -> Result<Option<T>> {
    let bytes = match read_short(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let file = path.display().to_string();
            return Err(Error::new(ErrorKind::Host, format!("{file}: {error}"))
                .object(file)
                .hint("see the kernel's log (dmesg) for errors of the disk"));
        }
    };
    match decode(&bytes, path) {
        Ok(said) => Ok(Some(said)),
        Err(error) if error.kind == ErrorKind::Damaged => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is at that path in a pool; nothing where nothing is.
///
/// # Errors
/// [`ErrorKind::Host`] where that can't be told: what is on a disk that fails is not nothing.
pub(crate) fn look_at(path: &std::path::Path) -> Result<Option<std::fs::Metadata>> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, "it can't be looked at", &error)),
    }
}

/// Tells of a pool that is there, and of which something can't be read.
pub(crate) fn tell_unreadable(core: &Core, row: &PoolRow, error: &Error) {
    tracing::error!(pool = %row.name, %error, "a pool can't be read");
    let message = format!("pool {} is there, and can't be read: {error}", row.name);
    note(core, event("PoolUnreadable", message).in_pool(&row.name).error());
}

/// One pool as users see it.
pub(crate) fn show(core: &Core, name: &PoolName) -> Result<Pool> {
    let row = find(core, name)?;
    Ok(view(core, &row))
}

/// All pools.
pub(crate) fn list(core: &Core) -> Result<Vec<Pool>> {
    Ok(core.store.read(pools::all)?.iter().map(|row| view(core, row)).collect())
}

/// A pool that is not there is shown too, with the reason and without figures of its disk.
pub(crate) fn view(core: &Core, row: &PoolRow) -> Pool {
    let (room, capacity_status, state, reason, can) = match core.rooms.current(core, row) {
        Ok(room) => {
            let (state, reason) = room.state();
            let status = room.status();
            (room, status, state, reason, core.pools.can(row))
        }
        Err(error) => {
            let status = Capacity::Advisory { why: error.message.clone() };
            (room::unknown(row), status, PoolState::Missing, Some(error.to_string()), None)
        }
    };
    let capabilities = can.map(|can| PoolCapabilities {
        reflink: can.reflink,
        hard_capacity: room.is_reservable(),
        discard: can.punch_hole,
    });
    Pool {
        id: row.id,
        name: row.name.clone(),
        backend: row.backend,
        state,
        reason,
        medium: row.medium.clone(),
        capabilities,
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
        snapshots: row.snapshots,
        capacity_status,
        created_at: row.created_at,
    }
}

/// The pool of that name.
///
/// # Errors
/// [`ErrorKind::NotFound`].
pub(crate) fn find(core: &Core, name: &PoolName) -> Result<PoolRow> {
    if let Some(found) = core.store.read(|r| pools::by_name(r, name))? {
        return Ok(found);
    }
    let all = core.store.read(pools::all)?;
    Err(similar(missing(name), name.as_str(), all.iter().map(|row| row.name.as_str())))
}

pub(crate) fn missing(name: &PoolName) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no pool {name}"))
        .object(format!("pool {name}"))
        .hint(format!("orlop pool list shows the pools; root makes one: orlop pool create {name} --path DIR"))
}
