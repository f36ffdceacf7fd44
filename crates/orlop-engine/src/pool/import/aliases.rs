//! What fronts call the volumes and snapshots that were found. A name that means something here already goes on
//! meaning that: nobody's `docker run -v NAME` gets what was just brought in its place.

use std::collections::BTreeSet;

use orlop_model::{
    Result,
    resource::{Alias, Front, VolumeState},
};

use crate::{
    core::Core,
    format::FileAlias,
    pool::candidate,
    store::{AliasRow, SnapshotAliasRow, SnapshotRow, VolumeRow, aliases, snapshot_aliases},
    volume::{aliased, create},
};

/// The names that were given so far.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    pub(super) given: Vec<AliasRow>,
    taken: BTreeSet<(Front, String)>,
}

impl Aliases {
    /// Gives a volume the names that are free, and returns them for the report; why others are not
    /// given is added to `detail`. What a released volume was called is free until it is undeleted.
    pub(super) fn give(
        &mut self,
        core: &Core,
        row: &VolumeRow,
        known_as: &[FileAlias],
        detail: &mut Vec<String>,
    ) -> Result<Vec<Alias>> {
        let released = row.state == VolumeState::Released;
        let mut names = Vec::new();
        for FileAlias { front: word, name } in known_as {
            let Some(front) = candidate::front(word) else { continue };
            if !released && self.is_taken(core, front, name, row)? {
                detail.push(format!("{word} knows another volume as {name}"));
                continue;
            }
            self.given.push(create::alias(core, front, name.clone(), row.id));
            if !released {
                self.taken.insert((front, name.clone()));
                names.push(Alias { front, name: name.clone() });
            }
        }
        Ok(names)
    }

    fn is_taken(&self, core: &Core, front: Front, name: &str, row: &VolumeRow) -> Result<bool> {
        if self.taken.contains(&(front, name.to_owned())) {
            return Ok(true);
        }
        core.store.read(|r| {
            if aliases::find(r, front, name)?.is_some() {
                return Ok(true);
            }
            aliased::hides(r, front, name, row.id)
        })
    }
}

/// The same of the names by which orchestrators asked for snapshots.
#[derive(Debug, Default)]
pub(super) struct SnapshotAliases {
    pub(super) given: Vec<SnapshotAliasRow>,
    taken: BTreeSet<(Front, String)>,
}

impl SnapshotAliases {
    /// Gives a snapshot the names that are free; why others are not given is added to `detail`.
    pub(super) fn give(
        &mut self,
        core: &Core,
        row: &SnapshotRow,
        known_as: &[FileAlias],
        detail: &mut Vec<String>,
    ) -> Result<()> {
        for FileAlias { front: word, name } in known_as {
            let Some(front) = candidate::front_of_snapshots(word) else { continue };
            let known = core.store.read(|r| snapshot_aliases::find(r, front, name))?;
            if known.is_some() || !self.taken.insert((front, name.clone())) {
                detail.push(format!("{word} knows another snapshot as {name}"));
                continue;
            }
            let (external, created_at) = (name.clone(), Core::now());
            self.given.push(SnapshotAliasRow { front, external, snapshot: row.id, created_at });
        }
        Ok(())
    }
}
