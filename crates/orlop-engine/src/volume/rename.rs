//! Giving a volume another name. Its id, its data and its path stay; what an engine calls it does not
//! follow, so an engine that knows the old name is in the way until it has forgotten it.

use orlop_model::{
    Error, ErrorKind, Result,
    resource::{Front, Outcome, Volume, VolumeState},
};

use super::{change, unused::unused, view};
use crate::{
    alias,
    core::{Core, object, usable},
    events::event,
    fault::{self, Point},
    locks::{Deadline, Lock},
    pool, reconcile,
    request::{Applied, Caller, RenameRequest, VolumeKey, VolumeRef},
    store::{AliasRow, Intent, VolumeRow, aliases, events, operations, volumes},
};

/// What the events of a rename are called: one under the old name, one under the new.
const RENAMED: &str = "Renamed";

/// See [`crate::Engine::rename`].
pub(crate) fn rename(core: &Core, caller: &Caller, request: &RenameRequest) -> Result<Applied<Volume>> {
    let row = match core.row(&VolumeRef::Key(request.volume.clone())) {
        Err(error) if error.kind == ErrorKind::NotFound => return repeated(core, caller, request, error),
        found => found?,
    };
    core.authorise(caller, &row)?;
    let old = row.key();
    let new = VolumeKey { workspace: old.workspace.clone(), name: request.name.clone() };
    if new == old {
        return Ok(Applied {
            outcome: Outcome::Unchanged,
            changes: Vec::new(),
            resource: view::one(core, row)?,
        });
    }
    let deadline = Deadline::usual();
    // In one order, so that two renames that cross don't wait for each other.
    let mut names = [Lock::name(&old), Lock::name(&new)];
    names.sort();
    let [first, second] = names;
    let _first = core.locks.take(first, deadline)?;
    let _second = core.locks.take(second, deadline)?;
    let _volume = core.locks.take(Lock::Volume(row.id), deadline)?;
    let row = core.again(row.id)?;
    if row.state == VolumeState::Released || row.key() != old {
        return Err(Error::new(ErrorKind::Conflict, format!("volume {} was changed meanwhile", row.title()))
            .object(object(&row))
            .hint("look at it, then try again"));
    }
    usable(&row)?;
    let row = reconcile::leftovers::settled(core, row)?;
    if let Some(live) = core.store.read(|r| volumes::by_key(r, &new))? {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("there is already a volume {}", live.title()),
        )
        .object(object(&live))
        .hint("choose another name"));
    }
    pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let hint = "stop what uses it first, for it knows it by its old name; its data stays where it is";
    unused(core, caller, &row, &core.image(&row)?, hint)?;
    let known = known(core, &row, request)?;
    let row = record(core, caller, row, request, known)?;
    Ok(Applied {
        outcome: Outcome::Configured,
        changes: vec!["name".to_owned()],
        resource: view::one(core, row)?,
    })
}

/// No volume has the old name: it was renamed so before, and whoever asked was not told, or it is another
/// one that has the new name.
fn repeated(
    core: &Core,
    caller: &Caller,
    request: &RenameRequest,
    missing: Error,
) -> Result<Applied<Volume>> {
    let new = VolumeKey { workspace: request.volume.workspace.clone(), name: request.name.clone() };
    let Some(row) = core.store.read(|r| volumes::by_key(r, &new))? else { return Err(missing) };
    if core.authorise(caller, &row).is_err() {
        return Err(missing);
    }
    let names = core.store.read(|r| events::names_told(r, row.id, RENAMED, 2))?;
    if names != [new.name, request.volume.name.clone()] {
        return Err(missing.hint(format!(
            "there is a volume {}; whether it had that name before is not known any more",
            row.title()
        )));
    }
    let _volume = core.locks.take(Lock::Volume(row.id), Deadline::usual())?;
    let row = reconcile::leftovers::settled(core, core.again(row.id)?)?;
    Ok(Applied { outcome: Outcome::Unchanged, changes: Vec::new(), resource: view::one(core, row)? })
}

/// The old name's aliases, which go; where a front was not told to forget it, that is refused.
fn known(core: &Core, row: &VolumeRow, request: &RenameRequest) -> Result<Vec<AliasRow>> {
    let external = alias::external(&row.key());
    let mut known = core.store.read(|r| aliases::of_volume(r, row.id))?;
    // CSI finds a volume by its id; its name for it only tells a repeated request, and stays.
    known.retain(|alias| alias.external == external && alias.front != Front::Csi);
    let stays = known.iter().find(|alias| !request.forget.contains(&alias.front));
    let Some(alias) = stays else { return Ok(known) };
    let engine = match alias.front {
        Front::Docker => "Docker",
        Front::Podman => "Podman",
        Front::Manifest | Front::Host | Front::Csi => alias.front.as_str(),
    };
    Err(Error::new(
        ErrorKind::InUse,
        format!("{engine} knows volume {} as {external}, and would not find it under another name", row.title()),
    )
    .object(object(row))
    .hint(format!(
        "run orlop rename on this host while {engine} runs, and it is told; where {engine} is gone for good: --forget {}",
        alias.front.as_str()
    )))
}

fn record(
    core: &Core,
    caller: &Caller,
    mut row: VolumeRow,
    request: &RenameRequest,
    known: Vec<AliasRow>,
) -> Result<VolumeRow> {
    let was = row.title();
    let left = event(RENAMED, format!("volume {was} is {}/{} now", row.workspace, request.name));
    let left = left.of(&row).by(caller);
    row.manifest.name = request.name.clone();
    row.updated_at = Core::now();
    // The last two of a volume are its name before and the one that it has.
    let told = event(RENAMED, format!("volume {} was {was}", row.title())).of(&row).by(caller);
    let operation = core.operation(Some(caller), Some(row.id), Intent::Configure);
    let operation_id = operation.id;
    let row = core.store.write(move |tx| {
        volumes::update(tx, &mut row)?;
        for alias in &known {
            aliases::delete(tx, alias.front, &alias.external)?;
        }
        operations::begin(tx, &operation)?;
        events::append(tx, &left)?;
        events::append(tx, &told)?;
        Ok(row)
    })?;
    fault::point(Point::ChangeRecorded)?;
    change::follow(core, &row, operation_id)?;
    Ok(row)
}
