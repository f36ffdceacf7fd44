//! What becomes of a volume after it was made and before its data is gone: it is brought back,
//! purged, renamed.

use orlop_model::{
    Result, VolumeId,
    resource::{Deletion, Volume},
};

use super::Engine;
use crate::{
    request::*,
    volume::{purge, rename, undelete},
};

impl Engine {
    /// Brings back a deleted volume with the data it had. Where it is back already, that is no error.
    pub fn undelete(&self, caller: &Caller, request: &UndeleteRequest) -> Result<Applied<Volume>> {
        self.told("undelete", caller, "undelete", &request.volume, |core| {
            undelete::undelete(core, caller, request)
        })
    }

    /// Destroys the data of a deleted volume, for good.
    pub fn purge(&self, caller: &Caller, id: VolumeId) -> Result<Deletion> {
        self.told("purge", caller, "purge", &VolumeRef::Id(id), |core| purge::purge(core, caller, id))
    }

    /// Gives a volume that nobody uses another name.
    pub fn rename(&self, caller: &Caller, request: &RenameRequest) -> Result<Applied<Volume>> {
        let what = format!("rename to {}", request.name);
        self.told("rename", caller, &what, &VolumeRef::Key(request.volume.clone()), |core| {
            rename::rename(core, caller, request)
        })
    }
}
