//! Putting a volume back to a snapshot, in place. What is in it until then becomes a snapshot itself,
//! and stays until somebody deletes it.
//!
//! The copy of the snapshot is made beside the volume's image. Then that image gets a second name, as
//! the image of the new snapshot, and the copy takes the first one by a rename: there is no moment
//! without an image. Before the rename all is taken back, after it all is brought to its end.

use orlop_model::{
    Error, ErrorKind, OperationId, Result, Retain, Size, SnapshotId, SnapshotManifest,
    resource::{Consistency, Outcome, Restored, SnapshotState, VolumeState},
};
use orlop_sys::{FileIdentity, durable, image as host_image};
use uuid::Uuid;

use super::{again, copy::Copy, create, describe, find, naming, object, usable};
use crate::{
    attachment::{
        attach::users,
        detach::{self, Released},
        stale,
    },
    authority,
    backend::image::{Image, health},
    core::{self, Core, rule},
    events::event,
    fault::{self, Point},
    format::{Origin, PoolPaths},
    host::On,
    locks::{Deadline, Lock},
    pool, reconcile,
    request::{Caller, SnapshotKey},
    store::{Intent, SnapshotRow, VolumeRow, events, operations, snapshots, volumes},
    volume::{self, describe as volume_describe},
};

/// See [`crate::Engine::restore`].
pub(crate) fn restore(core: &Core, caller: &Caller, key: &SnapshotKey) -> Result<Restored> {
    let snapshot = find(core, key)?;
    let workspace = core.workspace(&snapshot.workspace)?;
    authority::rule_snapshot(caller, &rule(&workspace), snapshot.owner_uid, &snapshot.title())?;
    let volume = live(core, &snapshot)?;
    core.authorise(caller, &volume)?;
    let (name, _name) = before_name(core, &volume)?;
    let _volume = core.locks.take(Lock::Volume(volume.id), Deadline::usual())?;
    reconcile::operations::settle_volume(core, &volume)?;
    let _snapshot = core.locks.take(Lock::Snapshot(snapshot.id), Deadline::usual())?;
    let (snapshot, volume) = (again(core, &snapshot)?, live(core, &snapshot)?);
    usable(&snapshot)?;
    core::usable(&volume)?;
    let image = core.image(&volume)?;
    let paths = pool::confirm(core, volume.placement.pool, &volume.placement.pool_name)?;
    unused(core, caller, &volume, &image)?;
    same_size(&snapshot, &volume)?;
    let before = before(core, caller, &volume, &image, name)?;
    let _before = core.locks.take(Lock::Snapshot(before.id), Deadline::usual())?;
    let intent = Intent::Restore { snapshot: snapshot.id, before: before.id };
    let operation = core.operation(Some(caller), Some(volume.id), intent);
    let operation_id = operation.id;
    create::reserve(core, &before, operation)?;
    let done = effect(core, caller, &paths, &snapshot, &before, &image, operation_id).and_then(|()| {
        complete(core, Some(caller), &paths, &snapshot, volume.clone(), before.clone(), operation_id)
    });
    let (row, before) = done.inspect_err(|_| {
        if let Err(left) = settle(core, &volume, snapshot.id, before.id, operation_id) {
            tracing::warn!(volume = volume.title(), %left, "an unfinished restore is settled at the next start");
        }
    })?;
    core.signal.shares(row.id);
    fault::point(Point::RestoreDone)?;
    Ok(Restored { volume: volume::view::one(core, row)?, before: before.manifest.name })
}

/// The volume that it is of.
fn live(core: &Core, snapshot: &SnapshotRow) -> Result<VolumeRow> {
    let found = core.store.read(|r| volumes::by_id(r, snapshot.volume))?;
    found.filter(|row| row.state != VolumeState::Released).ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format!(
                "the volume {} of snapshot {} was deleted",
                snapshot.manifest.snapshot.volume,
                snapshot.title()
            ),
        )
        .object(object(snapshot))
        .hint(format!("make a new volume from it: volume.source: {{snapshot: {}}}", snapshot.manifest.name))
    })
}

/// A free name for what the volume holds now, and the lock on it.
fn before_name(core: &Core, volume: &VolumeRow) -> Result<(orlop_model::SnapshotName, crate::locks::Held)> {
    let mut at = Core::now();
    loop {
        let Some(name) = naming::before(volume.manifest.name.as_str(), at) else {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "no name is left for what is in the volume now",
            ));
        };
        let key = SnapshotKey { workspace: volume.workspace.clone(), name: name.clone() };
        if let Some(held) = core.locks.try_take(Lock::SnapshotName(key.clone()))
            && core.store.read(|r| snapshots::by_key(r, &key))?.is_none()
        {
            return Ok((name, held));
        }
        // Another one within that second.
        at += jiff::SignedDuration::from_secs(1);
    }
}

fn unused(core: &Core, caller: &Caller, volume: &VolumeRow, image: &Image) -> Result<()> {
    let survey = stale::survey(core, Some(caller), volume, image)?;
    let users = if !survey.attachments.is_empty() || !survey.lingerers().is_empty() {
        users(&survey)
    } else {
        match detach::take_down(core, volume, image)? {
            Released::Free => return Ok(()),
            Released::Held(who) => who,
        }
    };
    Err(Error::new(ErrorKind::InUse, format!("volume {} is in use by {users}", volume.title()))
        .object(&image.object)
        .hint(
            "stop what uses it first; or look at the snapshot in a new volume: volume.source: {snapshot: …}",
        ))
}

fn same_size(snapshot: &SnapshotRow, volume: &VolumeRow) -> Result<()> {
    if snapshot.size == volume.placement.size {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!(
            "snapshot {} is of a time when volume {} had {}, and now it has {}",
            snapshot.title(),
            volume.title(),
            snapshot.size,
            volume.placement.size
        ),
    )
    .object(object(snapshot))
    .hint("make a new volume of that size from it: volume.source: {snapshot: …}"))
}

/// The record of the snapshot that keeps what is in the volume now.
fn before(
    core: &Core,
    caller: &Caller,
    volume: &VolumeRow,
    image: &Image,
    name: orlop_model::SnapshotName,
) -> Result<SnapshotRow> {
    health::examine(image)?;
    let now = Core::now();
    let allocated = host_image::space(image.path()).on(&image.object)?.allocated;
    Ok(SnapshotRow {
        id: SnapshotId(Uuid::now_v7()),
        node: core.config.node.clone(),
        workspace: volume.workspace.clone(),
        manifest: SnapshotManifest::new(name, volume.manifest.name.clone(), Retain::Forever),
        volume: volume.id,
        state: SnapshotState::Pending,
        reason: None,
        generation: 1,
        owner_uid: volume.owner_uid,
        created_by: caller.front,
        created_at: now,
        updated_at: now,
        expires_at: None,
        scheduled: false,
        consistency: Consistency::Detached,
        source: volume.source.clone(),
        pool: volume.placement.pool,
        pool_name: volume.placement.pool_name.clone(),
        size: volume.placement.size,
        reserved: Size::from_bytes(allocated),
        exclusive: Size::from_bytes(0),
        detail: volume.placement.detail.clone(),
    })
}

/// The files, with the rename last.
fn effect(
    core: &Core,
    caller: &Caller,
    paths: &PoolPaths,
    snapshot: &SnapshotRow,
    before: &SnapshotRow,
    image: &Image,
    operation: OperationId,
) -> Result<()> {
    fault::point(Point::RestoreRecorded)?;
    let object = &image.object;
    let from = pool::confirm(core, snapshot.pool, &snapshot.pool_name)?.snapshot_image(snapshot.id);
    let next = paths.next_image(image.id);
    let copy = Copy::begin(&from, &next, object)?;
    if !copy.share()? {
        copy.write(&core.running.begin(operation, "restore", object, Some(caller)))?;
    }
    fault::point(Point::RestoreCopied)?;
    copy.flush()?;
    durable::create_dir_all(&paths.snapshot(before.id), 0o700).on(object)?;
    let kept = paths.snapshot_image(before.id);
    durable::link_file(image.path(), &kept).on(object)?;
    fault::point(Point::RestoreKept)?;
    let active = SnapshotRow { state: SnapshotState::Active, ..before.clone() };
    describe::write_ahead(paths, &active)?;
    durable::sync_directory(&paths.snapshots()).on(object)?;
    fault::point(Point::RestoreDescribed)?;
    durable::replace_file(&next, image.path()).on(object)?;
    fault::point(Point::RestoreSwapped)
}

/// The records of a volume whose image was exchanged. Also what recovery does.
fn complete(
    core: &Core,
    caller: Option<&Caller>,
    paths: &PoolPaths,
    snapshot: &SnapshotRow,
    mut row: VolumeRow,
    mut before: SnapshotRow,
    operation: OperationId,
) -> Result<(VolumeRow, SnapshotRow)> {
    let now = Core::now();
    (row.state, row.reason, row.updated_at) = (VolumeState::Active, None, now);
    row.placement.detail = snapshot.detail.clone();
    row.source = Some(Origin {
        snapshot: Some(snapshot.id),
        volume: snapshot.volume,
        named: object(snapshot),
        at: now,
        marks: snapshot.source.as_ref().map(|origin| origin.marks.clone()).unwrap_or_default(),
    });
    (before.state, before.updated_at) = (SnapshotState::Active, now);
    volume_describe::write_ahead(paths, &row)?;
    let message = format!(
        "volume {} is put back to snapshot {}; what was in it is kept as snapshot {}",
        row.title(),
        snapshot.title(),
        before.title()
    );
    let told = event("Restored", message).of(&row).by_any(caller);
    core.store.write(move |tx| {
        volumes::update(tx, &mut row)?;
        // What it shares with the snapshot is most of it: see `shared`.
        volumes::observe(tx, row.id, None, Some(Size::from_bytes(0)))?;
        snapshots::update(tx, &mut before)?;
        operations::finish(tx, operation)?;
        events::append(tx, &told)?;
        Ok((row, before))
    })
}

/// Finishes or takes back a restore that did not end. The caller holds the volume's lock, or nothing
/// else runs yet.
pub(crate) fn settle(
    core: &Core,
    volume: &VolumeRow,
    snapshot: SnapshotId,
    before: SnapshotId,
    operation: OperationId,
) -> Result<Outcome> {
    let (row, from, kept) = core.store.read(|r| {
        Ok((volumes::by_id(r, volume.id)?, snapshots::by_id(r, snapshot)?, snapshots::by_id(r, before)?))
    })?;
    let Some((row, kept)) = row.zip(kept).filter(|(_, kept)| kept.state == SnapshotState::Pending) else {
        // Its commit happened, and was not heard of.
        core.store.write(move |tx| {
            if operations::is_open(tx, operation)? { operations::finish(tx, operation) } else { Ok(()) }
        })?;
        return Ok(Outcome::Unchanged);
    };
    let paths = pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let image = core.image(&row)?;
    let now = FileIdentity::of_path(image.path()).on(&image.object)?;
    let swapped = match FileIdentity::of_path(&paths.snapshot_image(before)) {
        Ok(kept) => kept != now,
        Err(error) if error.is_not_found() => false,
        Err(error) => return Err(crate::host::failure(&error, &image.object)),
    };
    if let (true, Some(from)) = (swapped, from) {
        complete(core, None, &paths, &from, row, kept, operation)?;
        return Ok(Outcome::Configured);
    }
    if swapped {
        return Err(Error::new(
            ErrorKind::Store,
            format!("volume {} was put back to a snapshot that no record knows", row.title()),
        )
        .object(&image.object)
        .hint("this is a fault of orlop: both images are kept; report it with the daemon's log"));
    }
    // The image of the snapshot to be is the volume's own by a second name.
    durable::remove_file(&paths.next_image(row.id)).on(&image.object)?;
    super::delete::remove(&paths, &kept)?;
    let message = format!("volume {} was not put back to a snapshot, and is as it was", row.title());
    let told = event("RestoreUndone", message).of(&row).warning();
    core.store.write(move |tx| {
        snapshots::delete(tx, before)?;
        operations::finish(tx, operation)?;
        events::append(tx, &told)
    })?;
    Ok(Outcome::Unchanged)
}
