//! The end of a pool here: removed, where it is empty, or exported with all that is in it.
//!
//! Removal forgets the pool first, in one write with the intent, so that no volume can be made in it
//! any more, and then gives back what it was on. An export marks the pool as whole, forgets it with
//! everything that was recorded of it, and only then unmounts it: the data stays as it is.

use std::path::Path;

use orlop_model::{
    Error, ErrorKind, OperationId, PoolId, PoolName, Result,
    resource::{Medium, SnapshotState},
    text::count,
};
use orlop_sys::durable;

use super::{confirm, create, create::described, find, hold, medium, medium_format, view};
use crate::{
    attachment::detach::{self, Released},
    authority,
    core::{Core, object},
    directory::{entries, read_short},
    events::event,
    fault::{self, Point},
    format::{BlankName, PoolFile, PoolPaths},
    host::On,
    locks::{Deadline, Held, Lock},
    request::{Caller, Exported},
    snapshot,
    store::{
        Intent, PoolRow, SnapshotRow, VolumeRow, attachments, events, operations, pools, snapshots, volumes,
    },
    volume::describe,
};

/// What is in the root of a pool, and ours.
pub(crate) const OURS: [&str; 5] = ["orlop.pool", "orlop.lock", "volumes", "blanks", "snapshots"];
/// So many things are named in a refusal.
const NAMED: usize = 3;

/// See [`crate::Engine::remove_pool`].
pub(crate) fn remove(core: &Core, caller: &Caller, name: &PoolName) -> Result<()> {
    authority::rule_host(caller, "remove pools")?;
    let _held = core.locks.take(Lock::Pool(name.clone()), Deadline::usual())?;
    let row = find(core, name)?;
    let object = format!("pool {name}");
    none_moves(core, &row)?;
    require_empty(&row)?;
    let paths = confirm(core, row.id, name)?;
    let foreign = foreign(&paths)?;
    if !foreign.is_empty() {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("pool {name} holds what no record explains: {}", foreign.join(", ")),
        )
        .object(&object)
        .hint(format!("see what it is: orlop pool check {name}; nothing was removed")));
    }
    let _place = core.locks.take(create::place(&row.path, &row.medium), Deadline::usual())?;
    core.blanks.forget(row.id);
    if let Some(who) = release(core, &row, &object)? {
        bring_back(core, &row)?;
        return Err(Error::new(ErrorKind::InUse, format!("pool {name} is in use: {who}"))
            .object(object)
            .hint("end that use first; nothing was removed"));
    }
    let path = create::text(&row.path)?.to_owned();
    let operation = core.operation(
        Some(caller),
        None,
        Intent::RemovePool { pool: row.id, path, medium: row.medium.clone() },
    );
    let operation_id = operation.id;
    let told = event("PoolRemoved", format!("pool {name} on {} is removed", described(&row)))
        .in_pool(name)
        .by(caller);
    let id = row.id;
    let forgotten = core.store.write(move |tx| {
        pools::delete(tx, id)?;
        operations::begin(tx, &operation)?;
        events::append(tx, &told)
    });
    if let Err(error) = forgotten {
        bring_back(core, &row)?;
        return Err(came_meanwhile(core, &row, error));
    }
    core.pools.remove(id);
    fault::point(Point::PoolForgotten)?;
    erase(core, operation_id, &row.path, id, &row.medium)
}

/// Unmounts the filesystem of its own that it may have: what is open in it is in the way. A directory
/// stays this daemon's until it is forgotten.
fn release(core: &Core, row: &PoolRow, object: &str) -> Result<Option<String>> {
    let hold = core.pools.hold(row.id).filter(|_| row.medium != Medium::Directory);
    if let Some(hold) = &hold {
        hold.close();
    }
    medium::release(&row.path, &row.medium, object).inspect_err(|_| {
        if let Some(hold) = &hold {
            hold.open();
        }
    })
}

fn bring_back(core: &Core, row: &PoolRow) -> Result<()> {
    if let Some(hold) = core.pools.hold(row.id) {
        hold.open();
    }
    medium::bring(core, row)
}

/// Neither volumes nor snapshots are recorded in it.
fn require_empty(row: &PoolRow) -> Result<()> {
    let name = &row.name;
    let refused = |what: String, hint: &str| {
        Err(Error::new(ErrorKind::InUse, format!("pool {name} holds {what}"))
            .object(format!("pool {name}"))
            .hint(format!("{hint}; or take the pool off with its data: orlop pool export {name}")))
    };
    if row.volumes > 0 {
        return refused(
            format!("{}, released ones included", count(row.volumes, "volume")),
            "delete and purge them first (orlop get -t volume -a, and with --released)",
        );
    }
    if row.snapshots > 0 {
        return refused(
            count(row.snapshots, "snapshot"),
            "delete them first (orlop snapshot list -a -o wide)",
        );
    }
    Ok(())
}

/// A volume on its way has its data in both pools until it has arrived and what it left is removed.
fn none_moves(core: &Core, pool: &PoolRow) -> Result<()> {
    for operation in core.store.read(operations::unfinished)? {
        let Intent::Migrate { from, to } = operation.intent else { continue };
        let way = match pool.id {
            id if id == to => "into",
            id if id == from => "out of",
            _ => continue,
        };
        let id = operation.volume;
        let volume = core.store.read(|r| id.map_or(Ok(None), |id| volumes::by_id(r, id)))?;
        let Some(volume) = volume else { continue };
        let (title, id) = (volume.title(), operation.id);
        let hint = if core.running.all().iter().any(|work| work.id == id) {
            format!("wait for it (orlop operation list), or stop it: orlop operation stop {id}")
        } else {
            // It was interrupted, and the disk of one of the pools may be missing.
            "see orlop events for why it was not settled; it is tried again every few seconds".to_owned()
        };
        return Err(Error::new(
            ErrorKind::InUse,
            format!("volume {title} is being moved {way} pool {}", pool.name),
        )
        .object(format!("pool {}", pool.name))
        .hint(hint));
    }
    Ok(())
}

/// Why a pool that was free a moment ago can't be forgotten.
fn came_meanwhile(core: &Core, pool: &PoolRow, error: Error) -> Error {
    if error.kind != ErrorKind::InUse {
        return error;
    }
    let now = core.store.read(|r| pools::by_id(r, pool.id)).ok().flatten();
    let refused = none_moves(core, pool).and_then(|()| now.map_or(Ok(()), |now| require_empty(&now)));
    refused.err().unwrap_or(error)
}

/// Gives back what the pool was on. Repeated by recovery until it succeeds.
pub(crate) fn erase(core: &Core, operation: OperationId, path: &Path, id: PoolId, on: &Medium) -> Result<()> {
    let object = format!("pool at {}", path.display());
    match on {
        Medium::Directory => {
            let _alone = hold::remains(core, &PoolPaths::new(path), &object)?;
            for (entry, name) in entries(&PoolPaths::new(path).blanks())? {
                if is_blank(&name) {
                    durable::remove_file(&entry).on(&object)?;
                }
            }
            create::clear(path, id, &object)?;
        }
        Medium::Device { .. } | Medium::Image { .. } => {
            medium::release(path, on, &object)?;
            medium_format::take_back(core, id, on, &object)?;
        }
    }
    fault::point(Point::PoolErased)?;
    core.store.write(move |tx| operations::finish(tx, operation))
}

/// A blank, or one that was being made.
pub(crate) fn is_blank(name: &str) -> bool {
    name.strip_suffix(".new").unwrap_or(name).parse::<BlankName>().is_ok()
}

/// What lies in a pool without volumes and is not ours to remove.
fn foreign(paths: &PoolPaths) -> Result<Vec<String>> {
    let root = entries(paths.root())?.into_iter().filter(|(_, name)| !OURS.contains(&name.as_str()));
    // What a new filesystem has in its root makes a directory no less empty, and stays.
    let root = root.filter(|(_, name)| name != create::LOST_AND_FOUND);
    let blanks = entries(&paths.blanks())?.into_iter().filter(|(_, name)| !is_blank(name));
    let inside = entries(&paths.volumes())?.into_iter().chain(entries(&paths.snapshots())?);
    let named = root.chain(blanks).chain(inside).map(|(path, _)| path.display().to_string());
    Ok(named.take(NAMED).collect())
}

/// See [`crate::Engine::export_pool`].
pub(crate) fn export(core: &Core, caller: &Caller, name: &PoolName) -> Result<Exported> {
    authority::rule_host(caller, "export pools")?;
    let _held = core.locks.take(Lock::Pool(name.clone()), Deadline::usual())?;
    let row = find(core, name)?;
    let paths = confirm(core, row.id, name)?;
    let object = format!("pool {name}");
    none_moves(core, &row)?;
    let (_volumes_held, rows) = hold_all(core, &row)?;
    for volume in &rows {
        require_idle(core, volume)?;
    }
    let (_snapshots_held, kept) = hold_snapshots(core, &row)?;
    let shown = view(core, &row);
    let operation = core.operation(Some(caller), None, Intent::ExportPool { pool: row.id });
    let operation_id = operation.id;
    core.store.write(move |tx| operations::begin(tx, &operation))?;
    let forgotten = (|| {
        for volume in &rows {
            describe::write(core, &paths, volume)?;
        }
        for snapshot in &kept {
            snapshot::describe::write(core, &paths, snapshot)?;
        }
        mark(&paths, Some(Core::now()), &object)?;
        durable::sync_filesystem(paths.root()).on(&object)?;
        fault::point(Point::PoolExportMarked)?;
        let told = event(
            "PoolExported",
            format!(
                "pool {name} on {} is no longer known here, with its {}; its data stays",
                described(&row),
                count(rows.len() as u64, "volume")
            ),
        )
        .in_pool(name)
        .by(caller);
        let (pool, ids) = (row.id, rows.iter().map(|row| row.id).collect::<Vec<_>>());
        let kept: Vec<_> = kept.iter().map(|row| row.id).collect();
        core.store.write(move |tx| {
            for id in kept {
                snapshots::delete(tx, id)?;
            }
            for id in ids {
                volumes::delete(tx, id)?;
            }
            // Fails where a volume was made in it meanwhile.
            pools::delete(tx, pool)?;
            operations::finish(tx, operation_id)?;
            events::append(tx, &told)
        })
    })();
    if let Err(error) = forgotten {
        if let Err(left) = undo_export(core, operation_id, row.id) {
            tracing::warn!(%left, "an export that failed is taken back later");
        }
        return Err(error);
    }
    core.pools.remove(row.id);
    core.blanks.forget(row.id);
    fault::point(Point::PoolExported)?;
    let held = match medium::release(&row.path, &row.medium, &object) {
        Ok(held) => held,
        Err(error) => Some(error.to_string()),
    };
    Ok(Exported { pool: shown, held })
}

/// The pool is still ours.
pub(crate) fn undo_export(core: &Core, operation: OperationId, id: PoolId) -> Result<()> {
    if let Some(row) = core.store.read(|r| pools::by_id(r, id))? {
        let paths = confirm(core, row.id, &row.name)?;
        mark(&paths, None, &format!("pool {}", row.name))?;
    }
    core.store.write(move |tx| operations::finish(tx, operation))
}

/// Says in the pool itself whether it was exported.
pub(crate) fn mark(paths: &PoolPaths, exported: Option<jiff::Timestamp>, object: &str) -> Result<()> {
    let marker = paths.marker();
    let bytes = read_short(&marker).map_err(|error| {
        Error::new(ErrorKind::Host, format!("{object}: can't read {}: {error}", marker.display()))
            .object(object)
    })?;
    let file = PoolFile { exported_at: exported, ..PoolFile::decode(&bytes, &marker)? };
    durable::write_file(&marker, &file.encode()?, 0o600).on(object)
}

/// Nobody works on any volume of the pool for as long as the locks are held.
fn hold_all(core: &Core, pool: &PoolRow) -> Result<(Vec<Held>, Vec<VolumeRow>)> {
    let mut ids = core.store.read(|r| volumes::ids_in_pool(r, pool.id))?;
    ids.sort_unstable();
    let deadline = Deadline::usual();
    let held =
        ids.iter().map(|id| core.locks.take(Lock::Volume(*id), deadline)).collect::<Result<Vec<_>>>()?;
    let rows = if ids.is_empty() { Vec::new() } else { core.store.read(|r| volumes::by_ids(r, &ids))? };
    Ok((held, rows))
}

/// The same of its snapshots, none of which is being worked on.
fn hold_snapshots(core: &Core, pool: &PoolRow) -> Result<(Vec<Held>, Vec<SnapshotRow>)> {
    let mut ids = core.store.read(|r| snapshots::ids_in_pool(r, pool.id))?;
    // As all who take several do.
    ids.sort_unstable();
    let deadline = Deadline::usual();
    let held =
        ids.iter().map(|id| core.locks.take(Lock::Snapshot(*id), deadline)).collect::<Result<Vec<_>>>()?;
    let rows = core.store.read(|r| snapshots::in_pool(r, pool.id))?;
    // What is in a volume of another pool may be told by one of them alone.
    rows.iter().try_for_each(|row| snapshot::delete::needed(core, row))?;
    match rows.iter().find(|row| matches!(row.state, SnapshotState::Pending | SnapshotState::Deleting)) {
        None => Ok((held, rows)),
        Some(row) => {
            let message = format!("snapshot {} is being worked on", row.title());
            Err(Error::new(ErrorKind::Recovering, message)
                .object(format!("snapshot {}", row.title()))
                .hint("try again when that has ended"))
        }
    }
}

/// Neither attached, nor mounted, nor being worked on.
fn require_idle(core: &Core, row: &VolumeRow) -> Result<()> {
    let (attached, begun) =
        core.store.read(|r| Ok((attachments::of_volume(r, row.id)?, operations::of_volume(r, row.id)?)))?;
    let refused =
        |kind, what: String| Error::new(kind, format!("volume {} {what}", row.title())).object(object(row));
    if let Some(attachment) = attached.first() {
        return Err(refused(ErrorKind::InUse, format!("is in use by {}", attachment.consumer))
            .hint("stop what uses it first; nothing of the pool was changed"));
    }
    if !begun.is_empty() {
        return Err(refused(ErrorKind::Recovering, "is being worked on".to_owned())
            .hint("try again when that has ended"));
    }
    let image = core.image(row)?;
    match detach::take_down(core, row, &image)? {
        Released::Free => Ok(()),
        Released::Held(who) => Err(refused(ErrorKind::InUse, format!("is still held: {who}"))
            .hint("end what holds it first; nothing of the pool was changed")),
    }
}
