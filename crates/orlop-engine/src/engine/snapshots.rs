//! Snapshots: making, deleting and looking at them, and putting a volume back to one.

use orlop_model::{
    Result,
    resource::{Restored, Snapshot, SnapshotGroup},
};

use super::Engine;
use crate::{events::About, request::*, snapshot};

impl Engine {
    /// Makes a snapshot, or changes how long it is kept; returns when it is whole.
    pub fn apply_snapshot(&self, caller: &Caller, request: &SnapshotRequest) -> Result<Applied<Snapshot>> {
        let what = format!("snapshot {}", request.manifest.name);
        let name = request.manifest.snapshot.volume.clone();
        let key = VolumeKey { workspace: request.workspace.clone(), name };
        self.told("snapshot", caller, &what, &VolumeRef::Key(key), |core| {
            snapshot::create::apply(core, caller, request)
        })
    }

    /// One snapshot.
    pub fn snapshot(&self, _: &Caller, key: &SnapshotKey) -> Result<Snapshot> {
        snapshot::view::show(self.core(), key)
    }

    /// A page of snapshots.
    pub fn snapshots(&self, _: &Caller, query: &SnapshotQuery) -> Result<Page<Snapshot>> {
        snapshot::view::page(self.core(), query)
    }

    /// Deletes a snapshot. What was made from it stays.
    pub fn delete_snapshot(&self, caller: &Caller, key: &SnapshotKey) -> Result<()> {
        let what = format!("delete of snapshot {}", key.name);
        self.noted("snapshot.delete", caller, &what, About::Snapshot(key), |core| {
            snapshot::delete::delete(core, caller, key)
        })
    }

    /// Makes snapshots of several volumes at one moment, all or none, or changes how long they are kept;
    /// returns when they are whole.
    pub fn apply_snapshot_group(
        &self,
        caller: &Caller,
        request: &SnapshotGroupRequest,
    ) -> Result<Applied<SnapshotGroup>> {
        let (what, about) =
            (format!("snapshot group {}", request.name), About::Workspace(&request.workspace));
        self.noted("snapshot-group", caller, &what, about, |core| {
            snapshot::group::create::apply(core, caller, request)
        })
    }

    /// One group of snapshots.
    pub fn snapshot_group(&self, _: &Caller, key: &SnapshotKey) -> Result<SnapshotGroup> {
        let core = self.core();
        snapshot::group::view::show(core, snapshot::group::find(core, key)?)
    }

    /// Deletes a group with all its snapshots. What was made from them stays.
    pub fn delete_snapshot_group(&self, caller: &Caller, key: &SnapshotKey) -> Result<()> {
        let what = format!("delete of snapshot group {}", key.name);
        self.noted("snapshot-group.delete", caller, &what, About::Workspace(&key.workspace), |core| {
            snapshot::group::delete::delete(core, caller, key)
        })
    }

    /// Puts a volume that nobody uses back to a snapshot; what is in it becomes a snapshot.
    pub fn restore(&self, caller: &Caller, key: &SnapshotKey) -> Result<Restored> {
        let what = format!("restore of snapshot {}", key.name);
        self.noted("restore", caller, &what, About::Snapshot(key), |core| {
            snapshot::restore::restore(core, caller, key)
        })
    }
}
