//! What an orchestrator does with volumes on its node.

use std::{path::Path, time::Duration};

use orlop_model::{Result, VolumeId};
use orlop_sys::idmap::IdMap;

use super::Engine;
use crate::{attachment::node, host::On, locks::Deadline, request::*};

impl Engine {
    /// Keeps a volume ready for the consumers of this node, until [`Self::unstage`]. Asked again, it
    /// succeeds; [`orlop_model::ErrorKind::AlreadyExists`] where the directory stands for another
    /// volume, or for this one in another form.
    pub fn stage(&self, caller: &Caller, request: &StageRequest, patience: Duration) -> Result<()> {
        let deadline = Deadline::after(patience);
        let what = format!("stage at {}", request.staging.display());
        self.told("stage", caller, &what, &VolumeRef::Id(request.volume), |core| {
            node::stage::stage(core, caller, request, deadline)
        })
    }

    /// Ends a stage; of one that is not there it succeeds, also where the volume is gone.
    /// [`orlop_model::ErrorKind::InUse`] while a consumer still has the volume.
    pub fn unstage(
        &self,
        caller: &Caller,
        volume: VolumeId,
        staging: &Path,
        patience: Duration,
    ) -> Result<()> {
        let deadline = Deadline::after(patience);
        let what = format!("unstage at {}", staging.display());
        self.told("unstage", caller, &what, &VolumeRef::Id(volume), |core| {
            node::stage::unstage(core, caller, volume, staging, deadline)
        })
    }

    /// Gives a volume to one consumer. Asked again with the same arguments, it succeeds;
    /// [`orlop_model::ErrorKind::AlreadyExists`] where the target has another volume, or this one in
    /// another way.
    pub fn publish(&self, caller: &Caller, request: &PublishRequest, patience: Duration) -> Result<()> {
        let deadline = Deadline::after(patience);
        let what = format!("publish for {}", request.consumer);
        self.told("publish", caller, &what, &VolumeRef::Id(request.volume), |core| {
            node::publish::publish(core, caller, request, deadline)
        })
    }

    /// Takes a volume from one consumer and removes the target, which has to be empty then. Of one
    /// that is not there it succeeds, also where the volume is gone.
    pub fn unpublish(
        &self,
        caller: &Caller,
        volume: VolumeId,
        target: &Path,
        patience: Duration,
    ) -> Result<()> {
        let deadline = Deadline::after(patience);
        let what = format!("unpublish at {}", target.display());
        self.told("unpublish", caller, &what, &VolumeRef::Id(volume), |core| {
            node::publish::unpublish(core, caller, volume, target, deadline)
        })
    }

    /// Whether a consumer may come with a group of its own; why not, where it may not.
    ///
    /// # Errors
    /// [`orlop_model::ErrorKind::Host`] where the kernel makes no user namespace for us.
    pub fn maps_groups(&self) -> Result<()> {
        IdMap::exchanging_groups(0, 1).on("user namespace").map(drop)
    }

    /// How a volume stands that is staged or published at that path.
    /// [`orlop_model::ErrorKind::NotFound`] where it is neither.
    pub fn volume_statistics(&self, _: &Caller, volume: VolumeId, path: &Path) -> Result<VolumeStatistics> {
        self.run("volume.statistics", |core| node::statistics::read(core, volume, path))
    }
}
