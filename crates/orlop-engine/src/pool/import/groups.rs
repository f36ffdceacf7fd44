//! The groups that imported snapshots are of. One that is in several pools comes back with each of them.

use std::collections::{BTreeMap, BTreeSet};

use orlop_model::{Result, SnapshotGroupId, SnapshotName, WorkspaceName};

use super::naming::suffixed;
use crate::{
    core::Core,
    format::FileGroup,
    request::SnapshotKey,
    store::{SnapshotGroupRow, SnapshotRow, snapshot_groups, snapshots},
};

/// Those that were met so far.
#[derive(Debug, Default)]
pub(super) struct Groups {
    met: BTreeMap<SnapshotGroupId, SnapshotGroupRow>,
}

impl Groups {
    /// The group that a snapshot says it is of. `None` where that is of another workspace, which no group of
    /// ours is.
    pub(super) fn join(
        &mut self,
        core: &Core,
        row: &SnapshotRow,
        said: FileGroup,
    ) -> Result<Option<SnapshotGroupRow>> {
        let known = match self.met.get(&said.id) {
            Some(met) => Some(met.clone()),
            None => core.store.read(|r| snapshot_groups::by_id(r, said.id))?,
        };
        let group = known.unwrap_or_else(|| SnapshotGroupRow {
            id: said.id,
            workspace: row.workspace.clone(),
            name: said.name,
            created_by: row.created_by,
            known_as: said.known_as,
            created_at: row.created_at,
        });
        if group.workspace != row.workspace {
            return Ok(None);
        }
        self.met.insert(group.id, group.clone());
        Ok(Some(group))
    }

    /// All of them, under names that neither others here have nor the snapshots in `taken`. A front's name
    /// that another group has here stays with that.
    pub(super) fn named(
        self,
        core: &Core,
        taken: &BTreeSet<(WorkspaceName, SnapshotName)>,
    ) -> Result<Vec<SnapshotGroupRow>> {
        let mut groups: Vec<SnapshotGroupRow> = Vec::new();
        for mut group in self.met.into_values() {
            if core.store.read(|r| snapshot_groups::by_id(r, group.id))?.is_none() {
                let key = SnapshotKey { workspace: group.workspace.clone(), name: group.name.clone() };
                let there = core.store.read(|r| {
                    Ok(snapshots::by_key(r, &key)?.is_some() || snapshot_groups::by_key(r, &key)?.is_some())
                })?;
                let is_met =
                    |other: &SnapshotGroupRow| (&other.workspace, &other.name) == (&key.workspace, &key.name);
                if there
                    || groups.iter().any(is_met)
                    || taken.contains(&(key.workspace.clone(), key.name.clone()))
                {
                    group.name = suffixed(key.name.as_str(), group.id.0, SnapshotName::MAX_LENGTH).parse()?;
                }
                let external = group.known_as.clone();
                if let Some(external) = external
                    && (core
                        .store
                        .read(|r| snapshot_groups::known_as(r, group.created_by, &external))?
                        .is_some()
                        || groups.iter().any(|other| {
                            other.created_by == group.created_by && other.known_as == group.known_as
                        }))
                {
                    group.known_as = None;
                }
            }
            groups.push(group);
        }
        Ok(groups)
    }
}
