//! Apply: what is asked for against what is there. Making and changing are elsewhere.

use orlop_model::{
    Error, ErrorKind, Result, VolumeManifest, WorkspaceName,
    resource::{Intention, Outcome, Volume, VolumePlan, VolumeState},
};

use super::{
    change,
    create::{self, New},
    facts,
    plan::{self, Existing, Plan},
    resize, view,
};
use crate::{
    authority,
    core::{self, Core, no_workspace, rule},
    events::event,
    format::Placement,
    limits::{self, More},
    locks::{Deadline, Lock},
    reconcile,
    request::{Applied, ApplyRequest, Caller, VolumeKey},
    store::{VolumeRow, WorkspaceRow, events, volumes, workspaces},
};

/// See [`crate::Engine::apply`].
pub(crate) fn apply(core: &Core, caller: &Caller, request: &ApplyRequest) -> Result<Applied<Volume>> {
    check(core, &request.manifest)?;
    let key = VolumeKey { workspace: request.workspace.clone(), name: request.manifest.name.clone() };
    let deadline = Deadline::usual();
    let workspace = workspace(core, caller, &request.workspace, request.create_workspace)?;
    let _name = core.locks.take(Lock::name(&key), deadline)?;
    let make = || {
        authority::make_volume(caller, &rule(&workspace))?;
        let row = create::create(core, caller, new(request), deadline)?;
        Ok(Applied { outcome: Outcome::Created, changes: Vec::new(), resource: view::one(core, row)? })
    };
    let Some(row) = core.store.read(|r| volumes::by_key(r, &key))? else { return make() };
    authority::rule_volume(caller, &rule(&workspace), row.owner_uid, &row.title())?;
    let _volume = core.locks.take(Lock::Volume(row.id), deadline)?;
    // While this waited, a deletion may have ended and freed the name.
    let now = core.store.read(|r| volumes::by_id(r, row.id))?;
    let Some(row) = now.filter(|now| now.state != VolumeState::Released) else { return make() };
    let Some(row) = settled(core, row)? else { return make() };
    let plan = assess(core, caller, &row, &request.manifest)?;
    if let Some(set) = request.set.clone().filter(|set| row.applied_set.as_ref() != Some(set)) {
        let id = row.id;
        core.store.write(move |tx| volumes::applied(tx, id, &set))?;
    }
    carry_out(core, caller, row, plan)
}

/// Does what was planned. The caller holds the volume's lock.
pub(super) fn carry_out(core: &Core, caller: &Caller, row: VolumeRow, plan: Plan) -> Result<Applied<Volume>> {
    match plan {
        Plan::Unchanged => {
            Ok(Applied { outcome: Outcome::Unchanged, changes: Vec::new(), resource: view::one(core, row)? })
        }
        Plan::Change(change) => {
            let changes = change.fields.clone();
            let row = match change.resize {
                Some(wanted) => resize::resize(core, caller, row, wanted)?,
                None => row,
            };
            let row =
                if change.is_of_size_alone() { row } else { change::change(core, caller, row, *change)? };
            Ok(Applied { outcome: Outcome::Configured, changes, resource: view::one(core, row)? })
        }
    }
}

fn new(request: &ApplyRequest) -> New {
    New {
        workspace: request.workspace.clone(),
        manifest: request.manifest.clone(),
        alias: None,
        set: request.set.clone(),
        source: None,
        ephemeral: false,
    }
}

/// See [`crate::Engine::plan`].
pub(crate) fn preview(core: &Core, caller: &Caller, request: &ApplyRequest) -> Result<VolumePlan> {
    let mut planned = VolumePlan {
        workspace: request.workspace.clone(),
        name: request.manifest.name.clone(),
        intention: Intention::Unchanged,
        changes: Vec::new(),
        warnings: Vec::new(),
        refusal: None,
    };
    match foreseen(core, caller, request) {
        Ok(None) => planned.intention = Intention::Create,
        Ok(Some((_, Plan::Unchanged))) => {}
        Ok(Some((row, Plan::Change(change)))) => {
            planned.intention = Intention::Change;
            planned.changes = change.planned(&row.manifest);
            planned.warnings = change.warnings;
        }
        Err(error) if is_refusal(error.kind) => {
            planned.intention = Intention::Refuse;
            planned.refusal = Some(error);
        }
        Err(error) => return Err(error),
    }
    Ok(planned)
}

/// What a manifest has to keep whatever exists; a client may have made it without our reader.
fn check(core: &Core, manifest: &VolumeManifest) -> Result<()> {
    manifest.check_texts()?;
    plan::check(&manifest.volume, core.node_root.is_some())
}

/// What apply would go by; none where there is nothing of that name.
fn foreseen(core: &Core, caller: &Caller, request: &ApplyRequest) -> Result<Option<(VolumeRow, Plan)>> {
    check(core, &request.manifest)?;
    let deadline = Deadline::usual();
    let key = VolumeKey { workspace: request.workspace.clone(), name: request.manifest.name.clone() };
    let found = core.store.read(|r| workspaces::by_name(r, &key.workspace))?;
    let Some(workspace) = found else {
        if !request.create_workspace {
            return Err(no_workspace(&key.workspace));
        }
        create::foresee(core, caller, &key.workspace, &request.manifest, None, deadline)?;
        return Ok(None);
    };
    let held = match core.store.read(|r| volumes::by_key(r, &key))? {
        Some(row) => {
            authority::rule_volume(caller, &rule(&workspace), row.owner_uid, &row.title())?;
            let held = core.locks.take(Lock::Volume(row.id), deadline)?;
            core.store.read(|r| volumes::by_key(r, &key))?.map(|row| (row, held))
        }
        None => None,
    };
    let Some((row, _held)) = held else {
        authority::make_volume(caller, &rule(&workspace))?;
        create::foresee(core, caller, &key.workspace, &request.manifest, None, deadline)?;
        return Ok(None);
    };
    match row.state {
        VolumeState::Active | VolumeState::Error | VolumeState::Pending => {}
        VolumeState::Deleting | VolumeState::Released => return Err(deleting(&row)),
    }
    let plan = assess(core, caller, &row, &request.manifest)?;
    Ok(Some((row, plan)))
}

/// Whether such an error is apply's answer to what was asked for; all others say that it can't be told.
fn is_refusal(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::InvalidArgument
        | ErrorKind::InvalidManifest
        | ErrorKind::PermissionDenied
        | ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::Immutable
        | ErrorKind::Conflict
        | ErrorKind::InUse
        | ErrorKind::AccessRefused
        | ErrorKind::PoolFull
        | ErrorKind::WorkspaceFull
        | ErrorKind::Protected
        | ErrorKind::LowSpace
        | ErrorKind::Unsupported
        | ErrorKind::Damaged => true,
        ErrorKind::Recovering
        | ErrorKind::Unavailable
        | ErrorKind::Unreachable
        | ErrorKind::HostLimit
        | ErrorKind::Host
        | ErrorKind::Store
        | ErrorKind::Expired
        | ErrorKind::NewerFormat
        | ErrorKind::Locked
        | ErrorKind::Interrupted => false,
    }
}

fn deleting(row: &VolumeRow) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("volume {} is being deleted, and goes when its last user has left", row.title()),
    )
    .object(core::object(row))
    .hint("wait until it is gone, then apply again; orlop get shows who uses it")
}

/// What is to be done with a volume that is there, and whether that can be done now: the one answer
/// that a preview shows and apply goes by. The caller holds the volume's lock.
pub(super) fn assess(core: &Core, caller: &Caller, row: &VolumeRow, wanted: &VolumeManifest) -> Result<Plan> {
    let Placement::Image(placement) = &row.placement.detail;
    let (title, facts) = (row.title(), facts::gather(core, caller, row, wanted.volume.size)?);
    let existing = Existing {
        manifest: &row.manifest,
        filesystem: placement.filesystem().map(|filesystem| filesystem.kind),
        pool: &row.placement.pool_name,
        created_size: row.created_size,
        title: &title,
        facts: &facts,
    };
    let plan = plan::plan(existing, wanted)?;
    if let Plan::Change(change) = &plan {
        change::allow(core, caller, row, change)?;
        if let Some(wanted) = change.resize {
            let more = wanted.to.bytes().saturating_sub(wanted.from.bytes());
            resize::room_for_change(core, row, wanted)?;
            core.store.read(|r| limits::admit(r, &row.workspace, More { volumes: 0, bytes: more }))?;
        }
    }
    Ok(plan)
}

/// The workspace, made if that is asked for.
pub(super) fn workspace(
    core: &Core,
    caller: &Caller,
    name: &WorkspaceName,
    make: bool,
) -> Result<WorkspaceRow> {
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
/// taken back first: then there is none.
fn settled(core: &Core, row: VolumeRow) -> Result<Option<VolumeRow>> {
    match row.state {
        VolumeState::Active | VolumeState::Error => reconcile::leftovers::settled(core, row).map(Some),
        VolumeState::Pending => {
            reconcile::leftovers::settle_volume(core, &row)?;
            match core.store.read(|r| volumes::by_id(r, row.id))? {
                Some(row) if row.state == VolumeState::Active => Ok(Some(row)),
                Some(_) => Err(Error::new(
                    ErrorKind::Recovering,
                    format!("an unfinished volume {} could not be taken back yet", row.title()),
                )
                .object(core::object(&row))
                .hint("see orlop log for the reason, then apply again")),
                None => Ok(None),
            }
        }
        VolumeState::Deleting => Err(deleting(&row)),
        VolumeState::Released => {
            Err(Error::new(ErrorKind::Conflict, format!("volume {} was deleted meanwhile", row.title()))
                .object(core::object(&row))
                .hint("apply again"))
        }
    }
}
