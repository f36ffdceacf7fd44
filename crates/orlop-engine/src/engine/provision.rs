//! What an orchestrator makes, changes and deletes by names and ids of its own.

use std::time::Duration;

use orlop_model::{
    Result, SnapshotGroupId, SnapshotId, VolumeId,
    resource::{Snapshot, SnapshotGroup, Volume},
};

use super::Engine;
use crate::{
    events::About,
    locks::Deadline,
    request::*,
    snapshot,
    volume::{amend, provision},
};

impl Engine {
    /// Makes the volume that an orchestrator asks for by its own name, or finds it again.
    pub fn provision(
        &self,
        caller: &Caller,
        request: &ProvisionRequest,
        patience: Duration,
    ) -> Result<Applied<Volume>> {
        let deadline = Deadline::after(patience);
        let what = format!("provision of {}", request.external);
        self.noted("provision", caller, &what, About::Nothing, |core| {
            provision::provision(core, caller, request, deadline)
        })
    }

    /// The live volume that was provisioned under that name.
    pub fn provisioned(&self, caller: &Caller, external: &str) -> Result<Option<Volume>> {
        provision::find(self.core(), caller, external)
    }

    /// Changes single fields of a volume, whatever the others are.
    pub fn amend(
        &self,
        caller: &Caller,
        volume: VolumeId,
        amendment: &Amendment,
        patience: Duration,
    ) -> Result<Applied<Volume>> {
        let deadline = Deadline::after(patience);
        self.told("amend", caller, "change", &VolumeRef::Id(volume), |core| {
            amend::amend(core, caller, volume, amendment, deadline)
        })
    }

    /// Makes the snapshot that an orchestrator asks for by its own name, or finds it again.
    pub fn take_snapshot(
        &self,
        caller: &Caller,
        request: &TakeRequest,
        patience: Duration,
    ) -> Result<Applied<Snapshot>> {
        let deadline = Deadline::after(patience);
        self.told("snapshot", caller, "snapshot", &VolumeRef::Id(request.volume), |core| {
            snapshot::take::take(core, caller, request, deadline)
        })
    }

    /// Any snapshot by id.
    pub fn snapshot_by_id(&self, _: &Caller, id: SnapshotId) -> Result<Snapshot> {
        snapshot::by_id(self.core(), id).map(snapshot::view::one)
    }

    /// Deletes a snapshot by id; of one that is not there it succeeds. What was made from it stays.
    pub fn delete_snapshot_by_id(&self, caller: &Caller, id: SnapshotId, patience: Duration) -> Result<()> {
        let deadline = Deadline::after(patience);
        let what = format!("delete of snapshot {id}");
        self.noted("snapshot.delete", caller, &what, About::Nothing, |core| {
            snapshot::delete::delete_by_id(core, caller, id, deadline)
        })
    }

    /// Makes the snapshots of several volumes that an orchestrator asks for by its own name, at one moment, or
    /// finds them again.
    pub fn take_snapshot_group(
        &self,
        caller: &Caller,
        request: &TakeGroupRequest,
        patience: Duration,
    ) -> Result<Applied<SnapshotGroup>> {
        let deadline = Deadline::after(patience);
        let what = format!("snapshot group {}", request.external);
        self.noted("snapshot-group", caller, &what, About::Nothing, |core| {
            snapshot::group::take::take(core, caller, request, deadline)
        })
    }

    /// Any group of snapshots by id.
    pub fn snapshot_group_by_id(&self, _: &Caller, id: SnapshotGroupId) -> Result<SnapshotGroup> {
        let core = self.core();
        snapshot::group::view::show(core, snapshot::group::by_id(core, id)?)
    }

    /// Deletes a group of snapshots by id; of one that is not there it succeeds.
    pub fn delete_snapshot_group_by_id(
        &self,
        caller: &Caller,
        id: SnapshotGroupId,
        patience: Duration,
    ) -> Result<()> {
        let deadline = Deadline::after(patience);
        let what = format!("delete of snapshot group {id}");
        self.noted("snapshot-group.delete", caller, &what, About::Nothing, |core| {
            snapshot::group::delete::delete_by_id(core, caller, id, deadline)
        })
    }
}
