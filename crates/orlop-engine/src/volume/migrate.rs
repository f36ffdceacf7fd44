//! Moving a volume to another pool, or into a new filesystem of another size. Nobody uses it
//! meanwhile. The source stays until the copy was read back from the disk and found to be the same and
//! the record says that the volume is there; a crash before that is followed by going back, a crash
//! after it by removing the source.

use orlop_model::{
    Error, ErrorKind, OperationId, PoolId, Result, Size,
    resource::{Medium, Outcome, Volume, VolumeState},
};
use orlop_sys::{durable, image as host_image};

use super::{
    describe, plan,
    resize::{
        Settled,
        replace::{self, COPIED, Work},
    },
    transfer,
    unused::unused,
    view,
};
use crate::{
    admission::Wanted,
    attachment::detach,
    backend::image::{
        Image,
        attach::{Remaining, remaining_patiently},
        format as image_format, remove,
    },
    core::{Core, object, usable},
    events::event,
    fault::{self, Point},
    format::{Placement, PoolPaths},
    host::{On, ended},
    limits::{self, More},
    locks::{Deadline, Lock},
    pool::{self, room},
    reconcile,
    request::{Applied, Caller, MigrateRequest, VolumeRef},
    running::Meter,
    store::{
        IncomingRow, Intent, PlacementRow, PoolRow, VolumeRow, events, incoming, operations, pools, usage,
        volumes,
    },
};

/// See [`crate::Engine::migrate`].
pub(crate) fn migrate(
    core: &Core,
    caller: &Caller,
    which: &VolumeRef,
    request: &MigrateRequest,
) -> Result<Applied<Volume>> {
    let row = core.row(which)?;
    core.authorise(caller, &row)?;
    let _held = core.locks.take(Lock::Volume(row.id), Deadline::usual())?;
    let row = reconcile::leftovers::settled(core, core.again(row.id)?)?;
    usable(&row)?;
    if row.state == VolumeState::Error {
        let why = row.reason.clone().unwrap_or_default();
        return Err(Error::new(ErrorKind::Damaged, format!("volume {} can't be moved: {why}", row.title()))
            .object(object(&row))
            .hint("a copy would be damaged too; repair it first"));
    }
    let size = request.size.unwrap_or(row.placement.size);
    let target = match &request.pool {
        Some(name) => pool::find(core, name)?,
        None => {
            let pool = core.store.read(|r| pools::by_id(r, row.placement.pool))?;
            pool.ok_or_else(|| pool::missing(&row.placement.pool_name))?
        }
    };
    let moves = target.id != row.placement.pool;
    if !moves && size == row.placement.size {
        return Ok(Applied {
            outcome: Outcome::Unchanged,
            changes: Vec::new(),
            resource: view::one(core, row)?,
        });
    }
    if request.size.is_some() {
        // Its files are copied.
        core.image(&row)?.filesystem()?;
    }
    let mut changes = Vec::new();
    let mut spec = row.manifest.volume.clone();
    spec.size = size;
    if moves {
        spec.pool = Some(target.name.clone());
        changes.push("volume.pool".to_owned());
    }
    if size != row.placement.size {
        changes.push("volume.size".to_owned());
    }
    plan::check(&spec, core.node_root.is_some())?;
    let detail = match request.size {
        Some(_) => Placement::Image(image_format::decide(&spec, &object(&row))?),
        None => row.placement.detail.clone(),
    };
    let row = if moves {
        let mut moved = row.clone();
        moved.manifest.volume = spec;
        moved.placement = PlacementRow {
            pool: target.id,
            pool_name: target.name.clone(),
            size,
            allocated: Size::from_bytes(0),
            initialised: true,
            detail,
        };
        if request.size.is_some() {
            moved.created_size = size;
        }
        to_pool(core, caller, &row, moved, target, request.size.is_some())?
    } else {
        let Placement::Image(placement) = detail;
        replace::replace(core, caller, row, size, Work::Anew(placement))?
    };
    Ok(Applied { outcome: Outcome::Configured, changes, resource: view::one(core, row)? })
}

fn to_pool(
    core: &Core,
    caller: &Caller,
    row: &VolumeRow,
    moved: VolumeRow,
    target: PoolRow,
    anew: bool,
) -> Result<VolumeRow> {
    pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let paths = pool::confirm(core, target.id, &target.name)?;
    let image = core.image(row)?;
    unused(core, caller, row, &image, COPIED)?;
    vacant(&core.image(&moved)?, &target)?;
    let size = moved.placement.size;
    let figures = room::gather(core, &target)?;
    figures.room(&target).admit(&target.name, Wanted::New(size))?;
    let (from, to) = (row.placement.pool, target.id);
    let more = More { volumes: 0, bytes: size.bytes().saturating_sub(row.placement.size.bytes()) };
    let workspace = row.workspace.clone();
    let operation = core.operation(Some(caller), Some(row.id), Intent::Migrate { from, to });
    let id = operation.id;
    let coming =
        IncomingRow { volume: row.id, pool: to, reserved: size, detail: moved.placement.detail.clone() };
    core.store.write(move |tx| {
        let pool = pools::by_id(tx, to)?.ok_or_else(|| pool::missing(&target.name))?;
        figures.room(&pool).admit(&pool.name, Wanted::New(size))?;
        limits::admit(tx, &workspace, more)?;
        incoming::insert(tx, &coming)?;
        operations::begin(tx, &operation)
    })?;
    let meter = core.running.begin(id, "migrate", object(row), Some(caller));
    let done =
        copy(core, row, &moved, &paths, anew, &meter).and_then(|()| arrive(core, caller, row, moved, &paths));
    drop(meter);
    if let Err(error) = done {
        if let Err(left) = settle(core, &core.again(row.id)?, id, from) {
            tracing::warn!(volume = row.title(), %left, "a move is settled later");
        }
        return Err(error);
    }
    settle(core, &core.again(row.id)?, id, from)?;
    fault::point(Point::MigrateDone)?;
    core.again(row.id)
}

/// What was begun of a move goes away with its entry of the journal: what else lies in its place is
/// somebody's.
fn vacant(new: &Image, target: &PoolRow) -> Result<()> {
    match std::fs::symlink_metadata(&new.directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(_) | Err(_) => Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "{}: {} is there already, and no record explains it",
                new.object,
                new.directory.display()
            ),
        )
        .object(&new.object)
        .hint(format!("see what it is: orlop pool check {}; nothing was changed", target.name))),
    }
}

/// The data in the other pool, verified and flushed with its names.
fn copy(
    core: &Core,
    row: &VolumeRow,
    moved: &VolumeRow,
    paths: &PoolPaths,
    anew: bool,
    meter: &Meter<'_>,
) -> Result<()> {
    fault::point(Point::MigrateRecorded)?;
    let (old, new) = (core.image(row)?, core.image(moved)?);
    remove::discard(&new, &paths.record(row.id))?;
    durable::create_dir(&new.directory, 0o700).on(&new.object)?;
    if anew {
        transfer::files(core, row, &old, &new, meter)?;
        fault::point(Point::MigrateCopied)?;
    } else {
        blocks(&old, &new, meter)?;
    }
    durable::sync_directory(&new.directory).on(&new.object)?;
    fault::point(Point::MigrateVerified)
}

/// The image as it is, and its checksum read back.
fn blocks(old: &Image, new: &Image, meter: &Meter<'_>) -> Result<()> {
    let object = &old.object;
    let made = host_image::create(new.path(), new.size).on(object)?;
    let data = host_image::space(old.path()).on(object)?.allocated;
    meter.phase("copying", Some(data));
    let read = ended(host_image::copy(old.path(), new.path(), |bytes| meter.advance(bytes)), object)?;
    fault::point(Point::MigrateCopied)?;
    meter.phase("verifying", Some(data));
    let written = ended(host_image::checksum(new.path(), |bytes| meter.advance(bytes)), object)?;
    if read != written {
        return Err(Error::new(
            ErrorKind::Host,
            format!("{object}: its copy has the checksum {written}, and should have {read}"),
        )
        .object(object)
        .hint("nothing was changed; see the kernel's log (dmesg) for errors of the disk or of memory"));
    }
    if new.placement.preallocated {
        host_image::preallocate(&made, new.size).on(object)?;
        host_image::sync(&made, new.path()).on(object)?;
    }
    Ok(())
}

/// The description and the record of the new place.
fn arrive(
    core: &Core,
    caller: &Caller,
    row: &VolumeRow,
    mut moved: VolumeRow,
    paths: &PoolPaths,
) -> Result<()> {
    moved.updated_at = Core::now();
    let resized = moved.placement.size != row.placement.size;
    describe::write_ahead(core, paths, &moved)?;
    durable::sync_directory(&paths.volumes()).on(&object(&moved))?;
    fault::point(Point::MigrateDescribed)?;
    let allocated =
        host_image::space(&paths.image(moved.id)).ok().map(|space| Size::from_bytes(space.allocated));
    let message = format!(
        "volume {} moved from pool {} to pool {}",
        moved.title(),
        row.placement.pool_name,
        moved.placement.pool_name
    );
    let told = event("Migrated", message).of(&moved).by(caller);
    core.store.write(move |tx| {
        incoming::arrive(tx, &moved)?;
        volumes::update(tx, &mut moved)?;
        if resized {
            usage::forget(tx, moved.id)?;
        }
        volumes::observe(tx, moved.id, None, allocated)?;
        events::append(tx, &told)
    })?;
    fault::point(Point::MigrateSwapped)
}

/// Removes the source where the record says that the volume is in the other pool, and what was copied
/// where it does not. The caller holds the volume's lock.
pub(crate) fn settle(core: &Core, row: &VolumeRow, operation: OperationId, from: PoolId) -> Result<Settled> {
    let (coming, source) = core.store.read(|r| {
        let journal = operations::of_volume(r, row.id)?;
        let begun = journal.iter().any(|entry| entry.id == operation);
        Ok((incoming::of_volume(r, row.id)?, pools::by_id(r, from)?.filter(|_| begun)))
    })?;
    let Some(source) = source else { return Ok(Settled::Forward) };
    let (left, told) = match &coming {
        // It has arrived.
        None => (source, None),
        Some(coming) => {
            let target = core.store.read(|r| pools::by_id(r, coming.pool))?;
            let message = format!("volume {} was not moved, and is where it was", row.title());
            let target = target.ok_or_else(|| pool::missing(&row.placement.pool_name))?;
            (target, Some(event("MigrateUndone", message).of(row).warning()))
        }
    };
    if left.id == row.placement.pool {
        return Err(Error::new(
            ErrorKind::Damaged,
            format!("volume {} is in pool {}, and the journal says that it left it", row.title(), left.name),
        )
        .object(object(row))
        .hint("this is a fault of orlop: its data is kept; report it with the daemon's log"));
    }
    let paths = pool::confirm(core, left.id, &left.name)?;
    let image = Image { directory: paths.volume(row.id), path: paths.image(row.id), ..core.image(row)? };
    if told.is_some() {
        // Where the files were being copied, both images are mounted.
        detach::take_down(core, row, &core.image(row)?)?;
    }
    // Asked as late as possible: what follows can't be undone.
    if let Remaining::Somebody(device) = remaining_patiently(&image)? {
        return Err(Error::new(
            ErrorKind::InUse,
            format!(
                "{}: something on this host still holds {} as {device}",
                image.object,
                image.path().display()
            ),
        )
        .object(&image.object)
        .hint("end what uses it; what is left of the move is removed then"));
    }
    // A host's ext4 may take 0.15 s to give back a GiB: nobody has to wait for that. A pool's own filesystem
    // could not be unmounted meanwhile; it is an XFS, which does it behind our back anyway.
    let blocks = (left.medium == Medium::Directory).then(|| durable::keep_blocks(image.path()));
    remove::discard(&image, &paths.record(row.id))?;
    if let Some(blocks) = blocks {
        blocks.give_back();
    }
    if told.is_none() {
        fault::point(Point::MigrateRemoved)?;
    }
    let id = row.id;
    core.store.write(move |tx| {
        incoming::delete(tx, id)?;
        operations::finish(tx, operation)?;
        if let Some(told) = &told {
            events::append(tx, told)?;
        }
        Ok(())
    })?;
    core.signal.shares(id);
    Ok(if coming.is_none() { Settled::Forward } else { Settled::Back })
}
