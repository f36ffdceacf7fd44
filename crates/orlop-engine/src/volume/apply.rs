//! Apply: what is asked for against what is there. Making and changing are elsewhere.

use orlop_model::{
    Error, ErrorKind, Result, WorkspaceName,
    resource::{Outcome, Volume, VolumeState},
};

use super::{
    change,
    create::{self, New},
    plan::{self, Existing, Plan},
    view,
};
use crate::{
    authority,
    core::{self, Core, no_workspace, rule},
    events::event,
    format::Placement,
    locks::{Deadline, Lock},
    reconcile,
    request::{Applied, ApplyRequest, Caller, VolumeKey},
    store::{VolumeRow, WorkspaceRow, events, volumes, workspaces},
};

/// See [`crate::Engine::apply`].
pub(crate) fn apply(core: &Core, caller: &Caller, request: &ApplyRequest) -> Result<Applied<Volume>> {
    plan::check(&request.manifest.volume)?;
    let key = VolumeKey { workspace: request.workspace.clone(), name: request.manifest.name.clone() };
    let deadline = Deadline::usual();
    let _name = core.locks.take(Lock::name(&key), deadline)?;
    let workspace = workspace(core, caller, &request.workspace, request.create_workspace)?;
    let make = || {
        authority::make_volume(caller, &rule(&workspace))?;
        let new = New { workspace: key.workspace.clone(), manifest: request.manifest.clone(), alias: None };
        let row = create::create(core, caller, new)?;
        Ok(Applied { outcome: Outcome::Created, changes: Vec::new(), resource: view::one(core, row)? })
    };
    let Some(row) = core.store.read(|r| volumes::by_key(r, &key))? else { return make() };
    authority::rule_volume(caller, &rule(&workspace), row.owner_uid, &row.title())?;
    let _volume = core.locks.take(Lock::Volume(row.id), deadline)?;
    // While this waited, a deletion may have ended and freed the name.
    let now = core.store.read(|r| volumes::by_id(r, row.id))?;
    let Some(row) = now.filter(|now| now.state != VolumeState::Released) else { return make() };
    let row = settled(core, caller, row, request)?;
    let Placement::Image(placement) = &row.placement.detail;
    let title = row.title();
    let existing = Existing {
        manifest: &row.manifest,
        filesystem: placement.filesystem,
        pool: &row.placement.pool_name,
        title: &title,
    };
    match plan::plan(existing, &request.manifest)? {
        Plan::Unchanged => {
            Ok(Applied { outcome: Outcome::Unchanged, changes: Vec::new(), resource: view::one(core, row)? })
        }
        Plan::Change(change) => {
            let changes = change.fields.clone();
            let row = change::change(core, caller, row, *change)?;
            Ok(Applied { outcome: Outcome::Configured, changes, resource: view::one(core, row)? })
        }
    }
}

/// The workspace, made if that is asked for.
fn workspace(core: &Core, caller: &Caller, name: &WorkspaceName, make: bool) -> Result<WorkspaceRow> {
    if let Some(found) = core.store.read(|r| workspaces::by_name(r, name))? {
        return Ok(found);
    }
    if !make {
        return Err(no_workspace(name));
    }
    let _held = core.locks.take(Lock::Workspace(name.clone()), Deadline::usual())?;
    if let Some(found) = core.store.read(|r| workspaces::by_name(r, name))? {
        return Ok(found);
    }
    let row = WorkspaceRow {
        name: name.clone(),
        node: core.config.node.clone(),
        owner_uid: caller.uid,
        grants: Vec::new(),
        size_limit: None,
        volume_limit: None,
        created_at: Core::now(),
    };
    let mut told =
        event("WorkspaceCreated", format!("workspace {name} belongs to uid {}", caller.uid)).by(caller);
    told.workspace = Some(name.clone());
    let made = row.clone();
    core.store.write(move |tx| {
        workspaces::insert(tx, &made)?;
        events::append(tx, &told)
    })?;
    Ok(row)
}

/// A volume whose state allows a change. One that a failed attempt left as pending is finished or
/// taken back first.
fn settled(core: &Core, caller: &Caller, row: VolumeRow, request: &ApplyRequest) -> Result<VolumeRow> {
    match row.state {
        VolumeState::Active | VolumeState::Error => {
            change::resume(core, &row)?;
            Ok(row)
        }
        VolumeState::Pending => {
            reconcile::operations::settle_volume(core, &row)?;
            match core.store.read(|r| volumes::by_id(r, row.id))? {
                Some(row) if row.state == VolumeState::Active => Ok(row),
                Some(_) => Err(Error::new(
                    ErrorKind::Recovering,
                    format!("an unfinished volume {} could not be taken back yet", row.title()),
                )
                .object(core::object(&row))
                .hint("see orlop log for the reason, then apply again")),
                None => {
                    let new = New {
                        workspace: request.workspace.clone(),
                        manifest: request.manifest.clone(),
                        alias: None,
                    };
                    create::create(core, caller, new)
                }
            }
        }
        VolumeState::Deleting => Err(Error::new(
            ErrorKind::Conflict,
            format!("volume {} is being deleted, and goes when its last user has left", row.title()),
        )
        .object(core::object(&row))
        .hint("wait until it is gone, then apply again; orlop get shows who uses it")),
        VolumeState::Released => {
            Err(Error::new(ErrorKind::Conflict, format!("volume {} was deleted meanwhile", row.title()))
                .object(core::object(&row))
                .hint("apply again"))
        }
    }
}
