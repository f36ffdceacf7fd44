//! Putting a volume back to a snapshot, in place. What is in it until then becomes a snapshot itself,
//! and stays until somebody deletes it.
//!
//! The copy of the snapshot is made beside the volume's image, and grows there where the volume is
//! larger. Then that image gets a second name, as the image of the new snapshot, and the copy takes the
//! first one by a rename: there is no moment without an image. Before the rename all is taken back,
//! after it all is brought to its end. Where the snapshot is larger than the volume, the volume gets its
//! size: what is added is reserved with the intent, and the length of the image says what it came to.

use orlop_model::{
    Error, ErrorKind, OperationId, Result, Retain, Size, SnapshotId, SnapshotManifest, SnapshotName,
    resource::{Consistency, Outcome, Restored, SnapshotState, VolumeState},
};
use orlop_sys::{FileIdentity, durable, image as host_image};
use uuid::Uuid;

use super::{again, copy::Copy, describe, find, naming, object, usable};
use crate::{
    admission::Wanted,
    authority,
    backend::image::{Image, format as image_format, health, replacement},
    core::{self, Core, rule},
    events::event,
    fault::{self, Point},
    format::{Origin, Placement, PoolPaths},
    host::On,
    limits::{self, More},
    locks::{Deadline, Held, Lock},
    pool::{self, room},
    reconcile,
    request::{Caller, SnapshotKey},
    store::{
        IncomingRow, Intent, OperationRow, SnapshotRow, VolumeRow, events, incoming, operations, pools,
        snapshots, volumes,
    },
    volume::{self, describe as volume_describe, plan, unused::unused},
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
    reconcile::leftovers::settle_volume(core, &volume)?;
    let _snapshot = core.locks.take(Lock::Snapshot(snapshot.id), Deadline::usual())?;
    let (snapshot, volume) = (again(core, &snapshot)?, live(core, &snapshot)?);
    usable(&snapshot)?;
    core::usable(&volume)?;
    let image = core.image(&volume)?;
    same_content(&snapshot, &volume)?;
    let paths = pool::confirm(core, volume.placement.pool, &volume.placement.pool_name)?;
    let hint =
        "stop what uses it first; or look at the snapshot in a new volume: volume.source: {snapshot: …}";
    unused(core, caller, &volume, &image, hint)?;
    let before = before(core, caller, &volume, &snapshot, &image, name)?;
    let _before = core.locks.take(Lock::Snapshot(before.id), Deadline::usual())?;
    let (was, to) = (volume.placement.size, volume.placement.size.max(snapshot.size));
    let intent = Intent::Restore { snapshot: snapshot.id, before: before.id };
    let operation = core.operation(Some(caller), Some(volume.id), intent);
    let operation_id = operation.id;
    reserve(core, &volume, &snapshot, &before, to, operation)?;
    let done = effect(core, caller, &paths, &snapshot, &before, &image, to, operation_id).and_then(|()| {
        complete(core, Some(caller), &paths, &snapshot, volume.clone(), before.clone(), operation_id)
    });
    let (row, before) = done.inspect_err(|_| {
        if let Err(left) = settle(core, &volume, snapshot.id, before.id, operation_id) {
            tracing::warn!(volume = volume.title(), %left, "an unfinished restore is settled later");
        }
    })?;
    core.countdowns.changed();
    core.watch.forget(row.id);
    core.signal.shares(row.id);
    fault::point(Point::RestoreDone)?;
    let notes = notes(&row, &snapshot, was);
    Ok(Restored { volume: volume::view::one(core, row)?, before: before.manifest.name, notes })
}

/// A volume keeps its volumeMode: what was had as a block device never becomes a filesystem here,
/// whatever a description said that came from elsewhere.
fn same_content(snapshot: &SnapshotRow, volume: &VolumeRow) -> Result<()> {
    let Placement::Image(of_snapshot) = &snapshot.detail;
    let Placement::Image(of_volume) = &volume.placement.detail;
    if of_snapshot.is_device() == of_volume.is_device() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Damaged,
        format!("snapshot {} is of another volumeMode than volume {}", snapshot.title(), volume.title()),
    )
    .object(object(snapshot))
    .hint("its description was changed before it was imported; nothing was changed here"))
}

/// What whoever asked for it should know of the size.
fn notes(row: &VolumeRow, snapshot: &SnapshotRow, was: Size) -> Vec<String> {
    let (title, is) = (row.title(), row.placement.size);
    let Placement::Image(placement) = &row.placement.detail;
    let said = if is != was {
        Some(format!(
            "volume {title} has {is} as it had then, and not {was}; change the size in its manifest, which would have the next apply change it back"
        ))
    } else if is != snapshot.size {
        Some(format!(
            "volume {title} had {} then; it keeps its {is}, to which {} has grown",
            snapshot.size,
            if placement.is_device() { "it" } else { "the filesystem" }
        ))
    } else {
        None
    };
    let outgrown = placement
        .filesystem()
        .and_then(|filesystem| plan::outgrown(&title, filesystem.kind, row.created_size, is));
    said.into_iter().chain(outgrown).collect()
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
fn before_name(core: &Core, volume: &VolumeRow) -> Result<(SnapshotName, Held)> {
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

/// The record of the snapshot that keeps what is in the volume now.
fn before(
    core: &Core,
    caller: &Caller,
    volume: &VolumeRow,
    snapshot: &SnapshotRow,
    image: &Image,
    name: SnapshotName,
) -> Result<SnapshotRow> {
    health::examine(image).map_err(|error| {
        let made =
            format!("make a new volume from it: volume.source: {{snapshot: {}}}", snapshot.manifest.name);
        error.hint(format!("what is in the volume can't be kept, so it is left as it is; {made}"))
    })?;
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
        group: None,
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

/// Writes the pending snapshot and the intent, where the pool and the workspace have the room for it and
/// for what is added to the volume.
fn reserve(
    core: &Core,
    volume: &VolumeRow,
    snapshot: &SnapshotRow,
    before: &SnapshotRow,
    to: Size,
    operation: OperationRow,
) -> Result<()> {
    let pool = core.store.read(|r| pools::by_id(r, before.pool))?;
    let pool = pool.ok_or_else(|| pool::missing(&before.pool_name))?;
    let figures = room::gather(core, &pool)?;
    let more = Size::from_bytes(to.bytes().saturating_sub(volume.placement.size.bytes()));
    let both = Size::from_bytes(before.reserved.bytes().saturating_add(more.bytes()));
    let coming =
        IncomingRow { volume: volume.id, pool: pool.id, reserved: more, detail: snapshot.detail.clone() };
    let before = before.clone();
    core.store.write(move |tx| {
        // The same sums that the insertions change: two of these can't both take the last room.
        let pool = pools::by_id(tx, pool.id)?.ok_or_else(|| pool::missing(&pool.name))?;
        figures.room(&pool).admit(&pool.name, Wanted::New(both))?;
        limits::admit(tx, &before.workspace, More { volumes: 0, bytes: both.bytes() })?;
        incoming::insert(tx, &coming)?;
        snapshots::insert(tx, &before)?;
        operations::begin(tx, &operation)
    })
}

/// The files, with the rename last.
#[expect(clippy::too_many_arguments, reason = "it is one half of the function above")]
fn effect(
    core: &Core,
    caller: &Caller,
    paths: &PoolPaths,
    snapshot: &SnapshotRow,
    before: &SnapshotRow,
    image: &Image,
    to: Size,
    operation: OperationId,
) -> Result<()> {
    fault::point(Point::RestoreRecorded)?;
    let object = &image.object;
    let from = pool::confirm(core, snapshot.pool, &snapshot.pool_name)?.snapshot_image(snapshot.id);
    let next = paths.next_image(image.id);
    let Placement::Image(placement) = snapshot.detail.clone();
    let meter = core.running.begin(operation, "restore", object, Some(caller));
    let copy = Copy::begin(&from, &next, object)?;
    // What is preallocated has its blocks for itself.
    if placement.preallocated || !copy.share()? {
        copy.write(&meter)?;
    }
    fault::point(Point::RestoreCopied)?;
    let made = Image {
        path: next.clone(),
        size: to.bytes(),
        placement,
        object: super::object(snapshot),
        ..image.clone()
    };
    if snapshot.size < to {
        replacement::grown(&made, &meter).map_err(unusable)?;
    }
    if made.placement.preallocated {
        image_format::preallocate(made.path(), made.size, object)?;
    }
    copy.flush()?;
    if snapshot.size < to {
        fault::point(Point::RestoreGrown)?;
    }
    drop(meter);
    durable::create_dir_all(&paths.snapshot(before.id), 0o700).on(object)?;
    let kept = paths.snapshot_image(before.id);
    durable::link_file(image.path(), &kept).on(object)?;
    fault::point(Point::RestoreKept)?;
    let active = SnapshotRow { state: SnapshotState::Active, ..before.clone() };
    describe::write_ahead(core, paths, &active)?;
    durable::sync_directory(&paths.snapshots()).on(object)?;
    fault::point(Point::RestoreDescribed)?;
    durable::replace_file(&next, image.path()).on(object)?;
    fault::point(Point::RestoreSwapped)
}

/// What is damaged is the snapshot.
fn unusable(error: Error) -> Error {
    if error.kind != ErrorKind::Damaged {
        return error;
    }
    error.hint("the volume is as it was; put it back to another snapshot")
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
    let length = host_image::space(&paths.image(row.id)).on(&core::object(&row))?.length;
    let (was, is) = (row.placement.size, Size::from_bytes(length));
    (row.state, row.reason, row.updated_at) = (VolumeState::Active, None, now);
    row.placement.detail = snapshot.detail.clone();
    (row.placement.size, row.manifest.volume.size) = (is, is);
    row.created_size = row.created_size.min(snapshot.size);
    row.source = Some(Origin {
        snapshot: Some(snapshot.id),
        volume: snapshot.volume,
        named: object(snapshot),
        at: now,
        marks: snapshot.source.as_ref().map(|origin| origin.marks.clone()).unwrap_or_default(),
    });
    (before.state, before.updated_at) = (SnapshotState::Active, now);
    volume_describe::write_ahead(core, paths, &row)?;
    let sized = if is == was { String::new() } else { format!(", and has {is} instead of {was}") };
    let message = format!(
        "volume {} is put back to snapshot {}{sized}; what was in it is kept as snapshot {}",
        row.title(),
        snapshot.title(),
        before.title()
    );
    let told = event("Restored", message).of(&row).by_any(caller);
    core.store.write(move |tx| {
        incoming::delete(tx, row.id)?;
        volumes::update(tx, &mut row)?;
        // What it shares with the snapshot is most of it: see `shared`. And nobody left this data: no
        // countdown to a wipe goes on for it.
        volumes::renewed(tx, row.id, Some(Size::from_bytes(0)))?;
        (row.used_bytes, row.vacated_at) = (None, None);
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
            ErrorKind::Damaged,
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
    let id = row.id;
    core.store.write(move |tx| {
        incoming::delete(tx, id)?;
        snapshots::delete(tx, before)?;
        operations::finish(tx, operation)?;
        events::append(tx, &told)
    })?;
    Ok(Outcome::Unchanged)
}
