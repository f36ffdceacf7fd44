//! Bringing back a volume that was deleted, with the data it had. The description beside the data is
//! written first, then the record, in one write with the names by which engines knew it.

use orlop_model::{
    Error, ErrorKind, OperationId, Result, VolumeName,
    resource::{Outcome, Volume, VolumeState},
};

use super::{aliased, change, describe, view};
use crate::{
    admission::human,
    backend::image::health,
    core::{self, Core, object},
    events::event,
    fault::{self, Point},
    locks::{Deadline, Lock},
    pool, reconcile,
    request::{Applied, Caller, UndeleteRequest, VolumeKey, VolumeQuery, VolumeRef},
    store::{Intent, VolumeRow, aliases, events, operations, volumes},
};

/// See [`crate::Engine::undelete`].
pub(crate) fn undelete(core: &Core, caller: &Caller, request: &UndeleteRequest) -> Result<Applied<Volume>> {
    let row = find(core, request)?;
    core.authorise(caller, &row)?;
    let name = request.name.clone().unwrap_or_else(|| row.manifest.name.clone());
    let key = VolumeKey { workspace: row.workspace.clone(), name };
    let deadline = Deadline::usual();
    let _name = core.locks.take(Lock::name(&key), deadline)?;
    let _volume = core.locks.take(Lock::Volume(row.id), deadline)?;
    let row = core.again(row.id)?;
    if let Some(done) = refused(&row, &key.name)? {
        return Ok(Applied { outcome: done, changes: Vec::new(), resource: view::one(core, row)? });
    }
    reconcile::leftovers::settle_volume(core, &row)?;
    if let Some(live) = core.store.read(|r| volumes::by_key(r, &key))? {
        return Err(taken(&row, &live));
    }
    pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    health::examine(&core.image(&row)?)?;
    let operation = core.operation(Some(caller), Some(row.id), Intent::Undelete);
    let operation_id = operation.id;
    core.store.write(move |tx| operations::begin(tx, &operation))?;
    match revive(core, caller, row.clone(), key.name, operation_id) {
        Ok((row, follows)) => {
            fault::point(Point::UndeleteDone)?;
            if let Some(follows) = follows {
                change::follow(core, &row, follows)?;
            }
            Ok(Applied { outcome: Outcome::Created, changes: Vec::new(), resource: view::one(core, row)? })
        }
        Err(error) => {
            if let Err(left) = undo(core, &row, operation_id) {
                tracing::warn!(volume = row.title(), %left, "an undelete is taken back later");
            }
            Err(error)
        }
    }
}

/// Makes it live again. Where it has another name than before, what follows from that is begun.
fn revive(
    core: &Core,
    caller: &Caller,
    mut row: VolumeRow,
    name: VolumeName,
    operation: OperationId,
) -> Result<(VolumeRow, Option<OperationId>)> {
    fault::point(Point::UndeleteRecorded)?;
    let paths = pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let was = row.title();
    let deleted = row.deleted_at.map_or_else(String::new, |at| format!(", as it was on {at:.0}"));
    row.manifest.name = name;
    row.state = VolumeState::Active;
    (row.reason, row.deleted_at, row.deleted_by, row.released_at) = (None, None, None, None);
    row.updated_at = Core::now();
    describe::write_ahead(core, &paths, &row)?;
    fault::point(Point::UndeleteDescribed)?;
    let from = if was == row.title() { String::new() } else { format!(", which was {was}") };
    let told =
        event("Undeleted", format!("volume {}{from} is back{deleted}", row.title())).of(&row).by(caller);
    let renamed = was != row.title();
    let follows = renamed.then(|| core.operation(Some(caller), Some(row.id), Intent::Configure));
    core.store.write(move |tx| {
        volumes::update(tx, &mut row)?;
        let names = aliased::returning(tx, row.id)?;
        aliases::restore(tx, row.id, &names)?;
        operations::finish(tx, operation)?;
        if let Some(follows) = &follows {
            operations::begin(tx, follows)?;
        }
        events::append(tx, &told)?;
        Ok((row, follows.map(|follows| follows.id)))
    })
}

/// Takes back one that was not recorded: the description says again what the record says.
pub(crate) fn undo(core: &Core, row: &VolumeRow, operation: OperationId) -> Result<()> {
    // A commit that failed may have happened: then it is done.
    let Some(now) = core.store.read(|r| volumes::by_id(r, row.id))? else { return Ok(()) };
    if now.state == VolumeState::Released {
        let paths = pool::confirm(core, now.placement.pool, &now.placement.pool_name)?;
        describe::write(core, &paths, &now)?;
        core.store.write(move |tx| operations::finish(tx, operation))?;
    }
    Ok(())
}

/// The one released volume that is meant; a live one where it is back already.
fn find(core: &Core, request: &UndeleteRequest) -> Result<VolumeRow> {
    let key = match &request.volume {
        VolumeRef::Id(_) => return core.row(&request.volume),
        VolumeRef::Key(key) => key,
    };
    let query = VolumeQuery {
        workspace: Some(key.workspace.clone()),
        name: Some(key.name.clone()),
        state: Some(VolumeState::Released),
        released: true,
        ..VolumeQuery::default()
    };
    let mut found = core.store.read(|r| volumes::page(r, &query))?.items;
    match (found.pop(), found.as_slice()) {
        (Some(only), []) => Ok(only),
        (Some(last), _) => {
            found.push(last);
            Err(several(key, &found))
        }
        (None, _) => {
            let live = core.store.read(|r| volumes::by_key(r, key))?;
            live.filter(|_| request.name.is_none()).ok_or_else(|| {
                let title = format!("{}/{}", key.workspace, key.name);
                Error::new(ErrorKind::NotFound, format!("there is no released volume {title}"))
                    .object(format!("volume {title}"))
                    .hint(format!(
                        "orlop get -t volume --released -a -w {} lists what there is",
                        key.workspace
                    ))
            })
        }
    }
}

/// What nothing has to be done about; else why it can't be done.
fn refused(row: &VolumeRow, name: &VolumeName) -> Result<Option<Outcome>> {
    let conflict = |what: &str, hint: &str| {
        Err(Error::new(ErrorKind::Conflict, format!("volume {} {what}", row.title()))
            .object(object(row))
            .hint(hint))
    };
    match row.state {
        VolumeState::Released => Ok(None),
        VolumeState::Active | VolumeState::Error | VolumeState::Pending if row.manifest.name == *name => {
            Ok(Some(Outcome::Unchanged))
        }
        VolumeState::Active | VolumeState::Error | VolumeState::Pending => {
            conflict("is not deleted", "orlop rename gives it another name")
        }
        VolumeState::Deleting if row.released_at.is_some() => {
            conflict("is being purged", "its data can't be brought back any more")
        }
        VolumeState::Deleting => {
            conflict("is still being deleted", "wait until its last user has left, then undelete it")
        }
    }
}

fn taken(row: &VolumeRow, live: &VolumeRow) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("there is another volume {} now", live.title()))
        .object(core::object(live))
        .hint(format!(
            "bring it back under another name: orlop undelete --id {} --as {}-old",
            row.id,
            // Short enough to be a name still.
            row.manifest
                .name
                .as_str()
                .get(..VolumeName::MAX_LENGTH - 4)
                .unwrap_or(row.manifest.name.as_str())
        ))
}

fn several(key: &VolumeKey, found: &[VolumeRow]) -> Error {
    let mut found: Vec<&VolumeRow> = found.iter().collect();
    found.sort_by_key(|row| std::cmp::Reverse(row.deleted_at));
    let lines = found.iter().map(|row| {
        let by = row.deleted_by.map_or_else(String::new, |uid| format!(" by {}", view::user(uid)));
        let at = row.deleted_at.map_or_else(|| "at an unknown time".to_owned(), |at| format!("{at:.0}"));
        format!("{} ({}, deleted {at}{by})", row.id, human(row.placement.size.bytes()))
    });
    let lines: Vec<String> = lines.collect();
    let title = format!("{}/{}", key.workspace, key.name);
    Error::new(
        ErrorKind::Conflict,
        format!("{} deleted volumes are called {title}: {}", found.len(), lines.join(", ")),
    )
    .object(format!("volume {title}"))
    .hint("say which: orlop undelete --id ID")
}
