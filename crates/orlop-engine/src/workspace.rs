//! Workspaces: namespaces of volumes, and who rules in them.

use orlop_model::{
    Error, ErrorKind, Result, WorkspaceName,
    resource::{Outcome, Workspace},
};

use crate::{
    authority,
    core::{Core, no_workspace, rule},
    events::event,
    locks::{Deadline, Lock},
    request::{Applied, Caller},
    store::{NewEvent, WorkspaceRow, events, workspaces},
};

/// `public` exists from the first start on and belongs to root.
pub(crate) fn make_public(core: &Core) -> Result<()> {
    let name = WorkspaceName::public();
    if core.store.read(|r| workspaces::by_name(r, &name))?.is_some() {
        return Ok(());
    }
    let row = new(core, name, 0, Vec::new());
    core.store.write(move |tx| workspaces::insert(tx, &row))
}

/// See [`crate::Engine::put_workspace`].
pub(crate) fn put(
    core: &Core,
    caller: &Caller,
    name: &WorkspaceName,
    grants: Option<Vec<u32>>,
) -> Result<Applied<Workspace>> {
    let _held = core.locks.take(Lock::Workspace(name.clone()), Deadline::usual())?;
    let grants = grants.map(|mut grants| {
        grants.sort_unstable();
        grants.dedup();
        grants
    });
    let Some(row) = core.store.read(|r| workspaces::by_name(r, name))? else {
        let row = new(core, name.clone(), caller.uid, grants.unwrap_or_default());
        let told =
            told("WorkspaceCreated", format!("workspace {name} belongs to uid {}", caller.uid), name, caller);
        let made = row.clone();
        core.store.write(move |tx| {
            workspaces::insert(tx, &made)?;
            events::append(tx, &told)
        })?;
        return Ok(Applied { outcome: Outcome::Created, changes: Vec::new(), resource: view(row) });
    };
    let Some(grants) = grants.filter(|grants| *grants != row.grants) else {
        return Ok(Applied { outcome: Outcome::Unchanged, changes: Vec::new(), resource: view(row) });
    };
    authority::rule_workspace(caller, &rule(&row))?;
    let told =
        told("WorkspaceConfigured", format!("workspace {name} is granted to {grants:?}"), name, caller);
    let row = WorkspaceRow { grants, ..row };
    let changed = row.clone();
    core.store.write(move |tx| {
        workspaces::set_grants(tx, &changed.name, &changed.grants)?;
        events::append(tx, &told)
    })?;
    Ok(Applied { outcome: Outcome::Configured, changes: vec!["grants".to_owned()], resource: view(row) })
}

/// One workspace.
pub(crate) fn show(core: &Core, name: &WorkspaceName) -> Result<Workspace> {
    core.workspace(name).map(view)
}

/// All workspaces.
pub(crate) fn list(core: &Core) -> Result<Vec<Workspace>> {
    Ok(core.store.read(workspaces::all)?.into_iter().map(view).collect())
}

/// See [`crate::Engine::delete_workspace`].
pub(crate) fn delete(core: &Core, caller: &Caller, name: &WorkspaceName) -> Result<()> {
    let _held = core.locks.take(Lock::Workspace(name.clone()), Deadline::usual())?;
    let row = core.workspace(name)?;
    authority::rule_workspace(caller, &rule(&row))?;
    if *name == WorkspaceName::public() {
        return Err(Error::new(ErrorKind::InvalidArgument, "the workspace public can't be deleted")
            .object("workspace public")
            .hint("it is where volumes are that name no workspace"));
    }
    let told = told("WorkspaceDeleted", format!("workspace {name} is gone"), name, caller);
    let deleted = name.clone();
    let there = core.store.write(move |tx| {
        let there = workspaces::delete(tx, &deleted)?;
        events::append(tx, &told)?;
        Ok(there)
    })?;
    if there { Ok(()) } else { Err(no_workspace(name)) }
}

fn new(core: &Core, name: WorkspaceName, owner_uid: u32, grants: Vec<u32>) -> WorkspaceRow {
    WorkspaceRow {
        name,
        node: core.config.node.clone(),
        owner_uid,
        grants,
        volumes: 0,
        created_at: Core::now(),
    }
}

fn told(reason: &str, message: String, name: &WorkspaceName, caller: &Caller) -> NewEvent {
    let mut told = event(reason, message).by(caller);
    told.workspace = Some(name.clone());
    told
}

fn view(row: WorkspaceRow) -> Workspace {
    Workspace {
        name: row.name,
        owner_uid: row.owner_uid,
        grants: row.grants,
        volumes: row.volumes,
        created_at: row.created_at,
    }
}
