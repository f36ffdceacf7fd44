//! What apply would do, and what takes longer than an apply.

use orlop_model::{
    Error, ErrorKind, Result,
    resource::{Operation, Volume, VolumePlan},
};

use super::Engine;
use crate::{
    core::{Core, object},
    request::*,
    volume::{apply, migrate},
};

impl Engine {
    /// What [`Engine::apply`] would do now. A refusal is part of the answer.
    pub fn plan(&self, caller: &Caller, request: &ApplyRequest) -> Result<VolumePlan> {
        self.run("plan", |core| apply::preview(core, caller, request))
    }

    /// Moves a volume that nobody uses to another pool, or its files into a filesystem of another
    /// size. Long work: it can be watched and stopped.
    pub fn migrate(
        &self,
        caller: &Caller,
        which: &VolumeRef,
        request: &MigrateRequest,
    ) -> Result<Applied<Volume>> {
        self.told("migrate", caller, "migrate", which, |core| migrate::migrate(core, caller, which, request))
    }
}

/// Where somebody waited in vain for a volume because of long work on it: which that is, and how to
/// stop it.
pub(super) fn explained(core: &Core, which: &VolumeRef, error: Error) -> Error {
    if error.kind != ErrorKind::Recovering {
        return error;
    }
    let Ok(row) = core.row(which) else { return error };
    let object = object(&row);
    let Some(work) = core.running.all().into_iter().find(|work| work.object == object) else { return error };
    let Operation { id, kind, phase, .. } = work;
    Error::new(ErrorKind::Recovering, format!("{object} can't be used now: {kind} is under way ({phase})"))
        .object(object)
        .hint(format!("orlop operation list shows how far it is; orlop operation stop {id} stops it"))
}
