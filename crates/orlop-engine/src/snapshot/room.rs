//! The room that snapshots take of their pools and workspaces: asked for before anything is made, and again
//! for what an image turned out to take beyond that.

use std::collections::{BTreeMap, btree_map::Entry};

use orlop_model::{PoolId, Result, Size};

use crate::{
    admission::Wanted,
    core::Core,
    limits::{self, More},
    pool::{
        self,
        room::{self, Figures},
    },
    store::{SnapshotRow, Tx, pools, snapshots},
};

/// The figures of pools before anything was copied in them.
#[derive(Debug, Clone)]
pub(crate) struct Before(BTreeMap<PoolId, Figures>);

impl Before {
    /// Those of the pools of these snapshots.
    pub(super) fn gather(core: &Core, rows: &[SnapshotRow]) -> Result<Self> {
        let mut gathered = BTreeMap::new();
        for row in rows {
            if let Entry::Vacant(place) = gathered.entry(row.pool) {
                let pool = core.store.read(|r| pools::by_id(r, row.pool))?;
                let pool = pool.ok_or_else(|| pool::missing(&row.pool_name))?;
                place.insert(room::gather(core, &pool)?);
            }
        }
        Ok(Self(gathered))
    }

    /// Whether its pool and its workspace have that much room for a snapshot, in the write that takes it: two
    /// of these can't both take the last.
    pub(super) fn admit(&self, tx: &Tx<'_>, row: &SnapshotRow, size: Size) -> Result<()> {
        let pool = pools::by_id(tx, row.pool)?.ok_or_else(|| pool::missing(&row.pool_name))?;
        if let Some(figures) = self.0.get(&row.pool) {
            figures.room(&pool).admit(&pool.name, Wanted::New(size))?;
        }
        limits::admit(tx, &row.workspace, More { volumes: 0, bytes: size.bytes() })
    }

    /// The same for what its image takes beyond what is recorded as reserved: what its users had written, and
    /// the kernel had still to bring to the image. What was copied since is in what was reserved for it.
    pub(super) fn admit_rest(&self, tx: &Tx<'_>, row: &SnapshotRow) -> Result<()> {
        let recorded = snapshots::by_id(tx, row.id)?.map_or(0, |recorded| recorded.reserved.bytes());
        match row.reserved.bytes().saturating_sub(recorded) {
            0 => Ok(()),
            rest => self.admit(tx, row, Size::from_bytes(rest)),
        }
    }
}
