//! Groups that an orchestrator asks for by a name of its own, which says for ever which one is meant.

use std::collections::BTreeSet;

use orlop_model::{
    Error, ErrorKind, Result, Retain, SnapshotName, VolumeId,
    resource::{Outcome, SnapshotGroup},
};

use super::{
    create::{self, New},
    distinct, object, view,
};
use crate::{
    alias,
    core::Core,
    locks::{Deadline, Lock},
    reconcile,
    request::{Applied, Caller, SnapshotKey, TakeGroupRequest, VolumeRef},
    snapshot::usable,
    store::{SnapshotGroupRow, snapshot_groups, snapshots},
    volume::aliased::unique,
};

/// Names with a random end are as good as unique; so often another is tried.
const ATTEMPTS: usize = 16;

/// See [`crate::Engine::take_snapshot_group`].
pub(crate) fn take(
    core: &Core,
    caller: &Caller,
    request: &TakeGroupRequest,
    deadline: Deadline,
) -> Result<Applied<SnapshotGroup>> {
    let volumes = distinct(&request.volumes)?;
    let external = request.external.as_str();
    let alias = Lock::Alias(format!("{} snapshot group {external}", caller.front.as_str()));
    let _alias = core.locks.take(alias, deadline)?;
    let known = || core.store.read(|r| snapshot_groups::known_as(r, caller.front, external));
    if let Some(group) = known()? {
        reconcile::leftovers::settle_group(core, group.id, deadline)?;
    }
    if let Some(group) = known()? {
        return agree(core, &volumes, external, group);
    }
    let mut workspace = None;
    for id in &volumes {
        let row = core.row(&VolumeRef::Id(*id))?;
        workspace.get_or_insert(row.workspace);
    }
    let Some(workspace) = workspace else { return Err(super::missing(external)) };
    let mut name = request.name.clone();
    for _ in 0..ATTEMPTS {
        let key = SnapshotKey { workspace: workspace.clone(), name: name.clone() };
        let _name = core.locks.take(Lock::SnapshotName(key), deadline)?;
        let new = New {
            workspace: workspace.clone(),
            name,
            volumes: volumes.clone(),
            retain: Retain::Forever,
            tags: request.tags.clone(),
            known_as: Some(external.to_owned()),
        };
        match create::create(core, caller, new, deadline) {
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

/// Whether the group that is there is what is asked for.
fn agree(
    core: &Core,
    volumes: &BTreeSet<VolumeId>,
    external: &str,
    group: SnapshotGroupRow,
) -> Result<Applied<SnapshotGroup>> {
    let rows = core.store.read(|r| snapshots::of_group(r, group.id))?;
    rows.iter().try_for_each(usable)?;
    let of: BTreeSet<_> = rows.iter().map(|row| row.volume).collect();
    if of != *volumes {
        let hint = if of.is_subset(volumes) {
            "ask for it by another name; where it was of all of them, the pool of the others is not here: orlop pool list"
        } else {
            "ask for it by another name"
        };
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("{external:?} is snapshot group {}, which is of other volumes", group.title()),
        )
        .object(object(&group))
        .hint(hint));
    }
    Ok(Applied { outcome: Outcome::Unchanged, changes: Vec::new(), resource: view::of(group, rows) })
}
