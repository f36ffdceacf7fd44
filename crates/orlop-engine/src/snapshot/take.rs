//! Snapshots that an orchestrator asks for by a name of its own, which says for ever which one is meant.

use orlop_model::{
    Error, ErrorKind, Result, Retain, SnapshotManifest, SnapshotName, VolumeId,
    resource::{Outcome, Snapshot},
};

use super::{
    create::{self, New},
    object, usable, view,
};
use crate::{
    alias,
    core::Core,
    locks::{Deadline, Lock},
    reconcile,
    request::{Applied, Caller, SnapshotKey, TakeRequest, VolumeRef},
    store::{SnapshotRow, snapshot_aliases},
    volume::aliased::unique,
};

/// Names with a random end are as good as unique; so often another is tried.
const ATTEMPTS: usize = 16;

/// See [`crate::Engine::take_snapshot`].
pub(crate) fn take(
    core: &Core,
    caller: &Caller,
    request: &TakeRequest,
    deadline: Deadline,
) -> Result<Applied<Snapshot>> {
    let external = request.external.as_str();
    let alias = Lock::Alias(format!("{} snapshot {external}", caller.front.as_str()));
    let _alias = core.locks.take(alias, deadline)?;
    if let Some(row) = known(core, caller, external)? {
        reconcile::leftovers::settle_snapshot(core, row.id, deadline)?;
    }
    if let Some(row) = known(core, caller, external)? {
        return agree(request, row);
    }
    let volume = core.row(&VolumeRef::Id(request.volume))?;
    let mut name = request.name.clone();
    for _ in 0..ATTEMPTS {
        let key = SnapshotKey { workspace: volume.workspace.clone(), name: name.clone() };
        let _name = core.locks.take(Lock::SnapshotName(key.clone()), deadline)?;
        let mut manifest = SnapshotManifest::new(name, volume.manifest.name.clone(), Retain::Forever);
        manifest.tags.clone_from(&request.tags);
        let new = New {
            workspace: key.workspace,
            manifest,
            scheduled: false,
            pause_writers: false,
            alias: Some(external.to_owned()),
        };
        match create::create_of(core, Some(caller), volume.id, new, deadline) {
            Ok(resource) => {
                return Ok(Applied { outcome: Outcome::Created, changes: Vec::new(), resource });
            }
            Err(error) if error.kind == ErrorKind::AlreadyExists => {
                let another = alias::another(request.name.as_str(), &unique(), SnapshotName::MAX_LENGTH);
                name = another.parse()?;
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(ErrorKind::Conflict, "no free name was found").object("snapshot name").hint("try again"))
}

fn known(core: &Core, caller: &Caller, external: &str) -> Result<Option<SnapshotRow>> {
    core.store.read(|r| snapshot_aliases::find(r, caller.front, external))
}

/// Whether the snapshot that is there is what is asked for.
fn agree(request: &TakeRequest, row: SnapshotRow) -> Result<Applied<Snapshot>> {
    usable(&row)?;
    let of: VolumeId = row.volume;
    if of != request.volume {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("{:?} is snapshot {}, which is of another volume", request.external, row.title()),
        )
        .object(object(&row))
        .hint("ask for it by another name"));
    }
    Ok(Applied { outcome: Outcome::Unchanged, changes: Vec::new(), resource: view::one(row) })
}
