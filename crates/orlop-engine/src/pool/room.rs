//! The room of a pool: its sums in the store, what attached images take now, and what is free in the
//! host's filesystem. What follows from them is `admission`.
//!
//! An image that was made from another one shares blocks with it, and what of it is its own takes
//! time to find out: it is counted as last recorded, which is 0 at first.
//!
//! An image that is not attached does not change, so what it takes is what was last recorded of it.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use orlop_model::{
    PoolId, Result,
    resource::{Capacity, Medium},
};
use orlop_sys::space;

use crate::{
    admission::{Below, Room, usual_low_water},
    core::Core,
    events::{event, note},
    host::On,
    pool,
    store::{PoolRow, attachments, pools, volumes},
};

/// For so long figures are shown again without being gathered again.
const FRESH: Duration = Duration::from_secs(2);

/// The figures last gathered, by pool.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    gathered: Mutex<HashMap<PoolId, (Instant, Figures)>>,
    told: Mutex<HashMap<PoolId, Capacity>>,
}

/// What the store does not know of a pool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figures {
    /// What attached images take beyond what was recorded of them; negative where they take less.
    grown: i64,
    host_free: u64,
    low_water: u64,
    host_filesystem: String,
    below: Option<Below>,
}

impl Figures {
    /// Together with the sums of the store.
    pub(crate) fn room(&self, row: &PoolRow) -> Room {
        let reserved = row.reserved.bytes();
        let allocated = row.allocated.bytes().saturating_add_signed(self.grown);
        Room {
            capacity: row.capacity.bytes(),
            overcommit: row.overcommit,
            reserved,
            unallocated: reserved.saturating_sub(allocated),
            host_free: self.host_free,
            low_water: self.low_water,
            host_filesystem: self.host_filesystem.clone(),
            below: self.below.clone(),
        }
    }
}

impl Rooms {
    /// The room now, from figures that are at most a few seconds old.
    ///
    /// # Errors
    /// [`orlop_model::ErrorKind::Unavailable`] where the pool is not there: what the directory says
    /// then is of another disk.
    pub(crate) fn current(&self, core: &Core, row: &PoolRow) -> Result<Room> {
        pool::confirm(core, row.id, &row.name)?;
        let gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh =
            gathered.get(&row.id).filter(|(at, _)| at.elapsed() < FRESH).map(|(_, found)| found.clone());
        drop(gathered);
        let figures = match fresh {
            Some(figures) => figures,
            None => gather(core, row)?,
        };
        Ok(figures.room(row))
    }
}

/// What is known of a pool that is not there: what it promised, and nothing of its disk.
pub(crate) fn unknown(row: &PoolRow) -> Room {
    let host_filesystem = "unknown".to_owned();
    let figures = Figures { grown: 0, host_free: 0, low_water: 0, host_filesystem, below: None };
    figures.room(row)
}

/// Asks the host. Also remembered, for those who only look.
pub(crate) fn gather(core: &Core, row: &PoolRow) -> Result<Figures> {
    let object = format!("pool {}", row.name);
    let host = space::usage(&row.path).on(&object)?;
    let total = host.used.saturating_add(host.available);
    let low_water = core.config.low_water.map_or_else(|| usual_low_water(total), |size| size.bytes());
    let (below, below_free) = below(row, &object)?.unzip();
    let figures = Figures {
        grown: grown(core, row)?,
        // What does not fit below can't be written, whatever the filesystem above says.
        host_free: host.available.min(below_free.flatten().unwrap_or(u64::MAX)),
        below,
        low_water,
        host_filesystem: space::filesystem_kind(&row.path).on(&object)?,
    };
    let mut gathered = core.rooms.gathered.lock().unwrap_or_else(PoisonError::into_inner);
    gathered.insert(row.id, (Instant::now(), figures.clone()));
    Ok(figures)
}

/// What a pool's image is on, and what is free there for one that is still to take its space.
fn below(row: &PoolRow, object: &str) -> Result<Option<(Below, Option<u64>)>> {
    let Medium::Image { file, sparse, .. } = &row.medium else { return Ok(None) };
    let file = Path::new(file);
    let filesystem = space::filesystem_kind(file).on(object)?;
    let free = if *sparse { Some(space::usage(file).on(object)?.available) } else { None };
    Ok(Some((Below { filesystem, sparse: *sparse }, free)))
}

fn grown(core: &Core, pool: &PoolRow) -> Result<i64> {
    let attached = core.store.read(|r| {
        let mut ids: Vec<_> = attachments::all(r)?.into_iter().map(|attachment| attachment.volume).collect();
        ids.dedup();
        if ids.is_empty() { Ok(Vec::new()) } else { volumes::by_ids(r, &ids) }
    })?;
    let grown = attached
        .iter()
        .filter(|row| row.placement.pool == pool.id && row.source.is_none())
        .filter_map(|row| {
            let now = orlop_sys::image::space(core.image(row).ok()?.path()).ok()?.allocated;
            Some(now.cast_signed().saturating_sub(row.placement.allocated.bytes().cast_signed()))
        });
    Ok(grown.fold(0, i64::saturating_add))
}

/// Looks whether promises of pools became advisory, or hard again, and tells of it.
pub(crate) fn watch(core: &Core) -> Result<()> {
    for row in core.store.read(pools::all)? {
        let gathered = pool::confirm(core, row.id, &row.name).and_then(|_| gather(core, &row));
        let status = match gathered {
            Ok(figures) => figures.room(&row).status(),
            Err(error) => Capacity::Advisory { why: error.message },
        };
        let before = {
            let mut told = core.rooms.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.insert(row.id, status.clone())
        };
        let was_hard = before.is_none_or(|before| before == Capacity::Hard);
        match (&status, was_hard) {
            (Capacity::Hard, true) | (Capacity::Advisory { .. }, false) => {}
            (Capacity::Hard, false) => note(
                core,
                event("CapacityHard", format!("pool {} can keep all its promises again", row.name))
                    .in_pool(&row.name),
            ),
            (Capacity::Advisory { why }, true) => note(
                core,
                event("CapacityAdvisory", format!("pool {} may not keep all its promises: {why}", row.name))
                    .in_pool(&row.name)
                    .warning(),
            ),
        }
    }
    Ok(())
}
