//! How much of each pool is released data, and a warning when that is a large share of it.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use orlop_model::{PoolId, Result};

use crate::{
    admission::human,
    core::Core,
    events::{event, note},
    store::{pools, volumes},
};

/// The pools whose share was told of.
#[derive(Debug, Default)]
pub(crate) struct Shares(Mutex<BTreeSet<PoolId>>);

/// Looks at all pools, and tells what became too much or is no longer.
pub(crate) fn watch(core: &Core) -> Result<()> {
    let percent = u64::from(core.config.released_warn_percent);
    if percent == 0 {
        return Ok(());
    }
    let (rows, released) = core.store.read(|r| Ok((pools::all(r)?, volumes::released_by_pool(r)?)))?;
    let mut told = core.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
    for row in rows {
        let bytes = released.get(&row.id).copied().unwrap_or(0);
        let large = is_large(bytes, row.capacity.bytes(), percent);
        let (name, of) = (&row.name, human(row.capacity.bytes()));
        if large && told.insert(row.id) {
            let message = format!(
                "{} of {of} in pool {name} are data of deleted volumes, more than {percent} %: orlop purge gives it back",
                human(bytes)
            );
            note(core, event("ReleasedDataLarge", message).in_pool(name).warning());
        } else if !large && told.remove(&row.id) {
            let message =
                format!("data of deleted volumes in pool {name} is down to {} of {of}", human(bytes));
            note(core, event("ReleasedDataSmall", message).in_pool(name));
        }
    }
    Ok(())
}

fn is_large(bytes: u64, capacity: u64, percent: u64) -> bool {
    u128::from(bytes) * 100 > u128::from(capacity) * u128::from(percent)
}

#[cfg(test)]
mod tests {
    #[test]
    fn more_than_the_share_is_large() {
        for (bytes, capacity, large) in
            [(0, 0, false), (20, 100, false), (21, 100, true), (u64::MAX, u64::MAX, true)]
        {
            assert_eq!(super::is_large(bytes, capacity, 20), large, "{bytes} of {capacity}");
        }
    }
}
