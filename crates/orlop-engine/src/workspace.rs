//! Workspaces: namespaces of volumes, who rules in them, and what they may hold.

use orlop_model::{
    Error, ErrorKind, Result, Size, WorkspaceName,
    resource::{Outcome, Workspace},
    text::count,
};

use crate::{
    authority,
    core::{Core, no_workspace, rule},
    events::event,
    locks::{Deadline, Lock},
    request::{Applied, Caller, WorkspaceRequest},
    store::{ContentRow, NewEvent, WorkspaceRow, events, workspaces},
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
    request: &WorkspaceRequest,
) -> Result<Applied<Workspace>> {
    let _held = core.locks.take(Lock::Workspace(name.clone()), Deadline::usual())?;
    let Some(before) = core.store.read(|r| workspaces::by_name(r, name))? else {
        let row = wanted(request, new(core, name.clone(), caller.uid, Vec::new()));
        if row.size_limit.is_some() || row.volume_limit.is_some() {
            authority::rule_host(caller, "set the limits of a workspace")?;
        }
        let told =
            told("WorkspaceCreated", format!("workspace {name} belongs to uid {}", caller.uid), name, caller);
        let made = row.clone();
        core.store.write(move |tx| {
            workspaces::insert(tx, &made)?;
            events::append(tx, &told)
        })?;
        let resource = view(row, ContentRow::default());
        return Ok(Applied { outcome: Outcome::Created, changes: Vec::new(), resource });
    };
    let row = wanted(request, before.clone());
    let limits = [
        ("sizeLimit", before.size_limit != row.size_limit),
        ("volumeLimit", before.volume_limit != row.volume_limit),
    ];
    let differ = [("grants", before.grants != row.grants)].into_iter().chain(limits);
    let changes: Vec<String> =
        differ.filter(|(_, differs)| *differs).map(|(field, _)| field.to_owned()).collect();
    if changes.is_empty() {
        return Ok(Applied { outcome: Outcome::Unchanged, changes, resource: show(core, name)? });
    }
    authority::rule_workspace(caller, &rule(&before))?;
    if limits.iter().any(|(_, differs)| *differs) {
        authority::rule_host(caller, "set the limits of a workspace")?;
    }
    let message = format!(
        "workspace {name} is granted to {:?}, and may hold {} in {}",
        row.grants,
        row.size_limit.map_or_else(|| "any size".to_owned(), |size| size.to_string()),
        row.volume_limit.map_or_else(
            || "any number of volumes".to_owned(),
            |most| format!("at most {}", count(most, "volume"))
        ),
    );
    let told = told("WorkspaceConfigured", message, name, caller);
    core.store.write(move |tx| {
        workspaces::set_grants(tx, &row.name, &row.grants)?;
        workspaces::set_limits(tx, &row.name, row.size_limit, row.volume_limit)?;
        events::append(tx, &told)
    })?;
    Ok(Applied { outcome: Outcome::Configured, changes, resource: show(core, name)? })
}

fn wanted(request: &WorkspaceRequest, mut row: WorkspaceRow) -> WorkspaceRow {
    if let Some(grants) = &request.grants {
        row.grants.clone_from(grants);
        row.grants.sort_unstable();
        row.grants.dedup();
    }
    row.size_limit = request.size_limit.unwrap_or(row.size_limit);
    row.volume_limit = request.volume_limit.unwrap_or(row.volume_limit);
    row
}

/// One workspace.
pub(crate) fn show(core: &Core, name: &WorkspaceName) -> Result<Workspace> {
    let row = core.workspace(name)?;
    let mut content = core.store.read(|r| workspaces::content(r, Some(name)))?;
    Ok(view(row, content.remove(name).unwrap_or_default()))
}

/// All workspaces.
pub(crate) fn list(core: &Core) -> Result<Vec<Workspace>> {
    let (rows, mut content) =
        core.store.read(|r| Ok((workspaces::all(r)?, workspaces::content(r, None)?)))?;
    let view = |row: WorkspaceRow| {
        let content = content.remove(&row.name).unwrap_or_default();
        view(row, content)
    };
    Ok(rows.into_iter().map(view).collect())
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

pub(crate) fn new(core: &Core, name: WorkspaceName, owner_uid: u32, grants: Vec<u32>) -> WorkspaceRow {
    WorkspaceRow {
        name,
        node: core.config.node.clone(),
        owner_uid,
        grants,
        size_limit: None,
        volume_limit: None,
        created_at: Core::now(),
    }
}

fn told(reason: &str, message: String, name: &WorkspaceName, caller: &Caller) -> NewEvent {
    let mut told = event(reason, message).by(caller);
    told.workspace = Some(name.clone());
    told
}

fn view(row: WorkspaceRow, content: ContentRow) -> Workspace {
    Workspace {
        name: row.name,
        owner_uid: row.owner_uid,
        grants: row.grants,
        volumes: content.live.count,
        size: Size::from_bytes(content.live.bytes),
        released: content.released.count,
        released_size: Size::from_bytes(content.released.bytes),
        snapshots: content.snapshots.count,
        snapshots_size: Size::from_bytes(content.snapshots.bytes),
        size_limit: row.size_limit,
        volume_limit: row.volume_limit,
        created_at: row.created_at,
    }
}
