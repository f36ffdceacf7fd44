//! A pool that gets more: the image or the device below its own filesystem, that filesystem, and what
//! it may promise. While volumes in it are used. What was begun goes on at the next start: nothing of
//! it can lose anything.

use std::{fs::File, path::Path};

use orlop_model::{
    Error, ErrorKind, OperationId, PoolName, Result, Size,
    resource::{Medium, Outcome, Pool},
};
use orlop_sys::{
    FileIdentity,
    filesystem::{FsKind, grow_mounted, mounted_size},
    image, loopdev, space,
};

use super::{confirm, create, find, medium, missing, room, view};
use crate::{
    admission::{human, usual_low_water},
    authority,
    core::Core,
    events::event,
    fault::{self, Point},
    host::On,
    locks::{Deadline, Lock},
    request::{Applied, Caller, GrowRequest, PoolPlace, PoolRequest},
    store::{Intent, PoolRow, events, operations, pools},
};

/// The block size of the filesystem.
const BLOCK: u32 = 4096;
/// A device is a little longer than the whole blocks of its filesystem.
const LEAST: u64 = 1 << 20;

/// See [`crate::Engine::grow_pool`].
pub(crate) fn grow(
    core: &Core,
    caller: &Caller,
    name: &PoolName,
    request: &GrowRequest,
) -> Result<Applied<Pool>> {
    authority::rule_host(caller, "grow pools")?;
    let (before, row) = {
        let _held = core.locks.take(Lock::Pool(name.clone()), Deadline::usual())?;
        let row = find(core, name)?;
        confirm(core, row.id, name)?;
        let before = row.clone();
        let row = finished(core, row)?;
        let row = match (&row.medium, request.size) {
            (Medium::Directory, None) => row,
            (Medium::Directory | Medium::Device { .. }, Some(_)) => return Err(sizeless(&row)),
            (Medium::Device { .. }, None) => lengthen(core, caller, row, None)?,
            (Medium::Image { .. }, size) => lengthen(core, caller, row, size)?,
        };
        (before, row)
    };
    let changed = row != before;
    let outcome = if changed { Outcome::Configured } else { Outcome::Unchanged };
    let changes = if changed { vec!["size".to_owned()] } else { Vec::new() };
    let grown = Applied { outcome, changes, resource: view(core, &row) };
    let Some(capacity) = request.capacity else { return Ok(grown) };
    if capacity < row.capacity {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!(
                "pool {name} has a capacity of {} already, more than {capacity}",
                human(row.capacity.bytes())
            ),
        )
        .object("capacity")
        .hint("a capacity is made smaller with orlop pool create, the same place and --capacity"));
    }
    let place = match &row.medium {
        Medium::Directory => PoolPlace::Directory(row.path.clone()),
        Medium::Device { device } => PoolPlace::Device { device: device.into(), erase: None },
        Medium::Image { file, size, sparse } => {
            PoolPlace::Image { file: file.into(), size: *size, sparse: *sparse }
        }
    };
    create::create(
        core,
        caller,
        &PoolRequest { name: name.clone(), place, capacity: Some(capacity), overcommit: None },
    )
}

/// What an earlier attempt left of a device is finished before that is looked at: two that are under way at
/// the same time would each take what the other gains for their own.
fn finished(core: &Core, mut row: PoolRow) -> Result<PoolRow> {
    if !matches!(row.medium, Medium::Device { .. }) {
        return Ok(row);
    }
    for operation in core.store.read(operations::unfinished)? {
        if let Intent::GrowPool { pool, size, capacity, from } = operation.intent
            && pool == row.id
        {
            row = settle(core, operation.id, row, Growth { to: size, capacity, from })?;
        }
    }
    Ok(row)
}

fn sizeless(row: &PoolRow) -> Error {
    let why = match &row.medium {
        Medium::Directory => {
            "is in a directory: it grows with the filesystem that is on, and may promise more with --capacity"
        }
        Medium::Device { .. } | Medium::Image { .. } => {
            "is on a device: make that larger first, and then grow the pool without a size"
        }
    };
    Error::new(ErrorKind::InvalidArgument, format!("pool {} {why}", row.name))
        .object("size")
        .hint("only an image is given a size")
}

/// The image to `size`, or the device as it is now, and the filesystem after it.
fn lengthen(core: &Core, caller: &Caller, row: PoolRow, size: Option<Size>) -> Result<PoolRow> {
    let object = format!("pool {}", row.name);
    let to = match (&row.medium, size) {
        (Medium::Image { file, size: now, sparse }, Some(to)) if to > *now => {
            if !to.bytes().is_multiple_of(u64::from(BLOCK)) {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    format!("{to} are not whole blocks of {BLOCK} bytes"),
                )
                .object("size")
                .hint("round it up"));
            }
            require_room(core, Path::new(file), to.bytes() - now.bytes(), *sparse, &object)?;
            Some(to)
        }
        (Medium::Image { file, size: now, .. }, Some(to)) if to < *now => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{file} has {now}, and an XFS does not get smaller"),
            )
            .object("size")
            .hint("make a smaller pool, and move the volumes there: orlop volume migrate"));
        }
        (Medium::Directory | Medium::Device { .. } | Medium::Image { .. }, _) => None,
    };
    // What it may promise grows by as much; that all of it is there is what admission asks anyway.
    let (gained, from) = match (&row.medium, to) {
        (Medium::Image { size: now, .. }, Some(to)) => (to.bytes() - now.bytes(), None),
        (Medium::Device { device }, _) => {
            let found = medium::find(&core.pools, row.id, device, &object)?;
            let directory = open(&row, &object)?;
            let now = mounted_size(&directory, FsKind::Xfs, found.node()).on(&object)?;
            (found.size().on(&object)?.saturating_sub(now), Some(Size::from_bytes(now)))
        }
        (Medium::Directory | Medium::Image { .. }, _) => return Ok(row),
    };
    // Less than an allocation group is no growth.
    if gained < LEAST {
        return Ok(row);
    }
    let capacity = Size::from_bytes(row.capacity.bytes().saturating_add(gained));
    let intent = Intent::GrowPool { pool: row.id, size: to, capacity, from };
    let operation = core.operation(Some(caller), None, intent);
    let operation_id = operation.id;
    core.store.write(move |tx| operations::begin(tx, &operation))?;
    fault::point(Point::PoolGrowRecorded)?;
    settle(core, operation_id, row, Growth { to, capacity, from })
}

/// Taking space ahead must not take what others on that disk are promised.
fn require_room(core: &Core, file: &Path, more: u64, sparse: bool, object: &str) -> Result<()> {
    if sparse {
        return Ok(());
    }
    let host = space::usage(file).on(object)?;
    let low_water = core
        .config
        .low_water
        .map_or_else(|| usual_low_water(host.used + host.available), |size| size.bytes());
    if more.saturating_add(low_water) <= host.available {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::LowSpace,
        format!(
            "{object}: {} more do not fit on the disk of {}: {} are free, and {} are kept as a reserve",
            human(more),
            file.display(),
            human(host.available),
            human(low_water)
        ),
    )
    .object(object)
    .hint("ask for less, or free space there"))
}

fn open(row: &PoolRow, object: &str) -> Result<File> {
    File::open(&row.path).map_err(|error| {
        Error::new(ErrorKind::Host, format!("{object}: can't open {}: {error}", row.path.display()))
            .object(object)
    })
}

/// What was begun of a growth, as the journal has it: see [`Intent::GrowPool`].
pub(crate) struct Growth {
    pub(crate) to: Option<Size>,
    pub(crate) capacity: Size,
    pub(crate) from: Option<Size>,
}

/// What was begun, to its end. Also what recovery does.
pub(crate) fn settle(core: &Core, operation: OperationId, row: PoolRow, growth: Growth) -> Result<PoolRow> {
    let Growth { to, capacity, from } = growth;
    let object = format!("pool {}", row.name);
    confirm(core, row.id, &row.name)?;
    let directory = open(&row, &object)?;
    let (on, length) = match (&row.medium, to) {
        (Medium::Image { size: now, .. }, Some(to)) if to <= *now => {
            core.store.write(move |tx| operations::finish(tx, operation))?;
            return Ok(row);
        }
        (Medium::Image { file, sparse, .. }, Some(to)) => {
            let path = Path::new(file);
            let opened = image::open_existing(path).on(&object)?;
            if !sparse {
                let has = image::space_of(&opened).on(&object)?.allocated;
                require_room(core, path, to.bytes().saturating_sub(has), *sparse, &object)?;
                image::preallocate(&opened, to.bytes()).on(&object)?;
            }
            if image::space_of(&opened).on(&object)?.length < to.bytes() {
                image::set_length(&opened, to.bytes()).on(&object)?;
            }
            image::sync(&opened, path).on(&object)?;
            fault::point(Point::PoolGrowImage)?;
            let identity = FileIdentity::of_path(path).on(&object)?;
            let device = loopdev::find_by_backing(identity).on(&object)?;
            let device = device.ok_or_else(|| missing(&row.name))?;
            device.set_capacity().on(&object)?;
            fault::point(Point::PoolGrowDevice)?;
            (Medium::Image { file: file.clone(), size: to, sparse: *sparse }, to.bytes())
        }
        (Medium::Device { device }, _) => {
            let found = medium::find(&core.pools, row.id, device, &object)?;
            let length = found.size().on(&object)?;
            (Medium::Device { device: found.node().display().to_string() }, length)
        }
        (Medium::Directory | Medium::Image { .. }, _) => {
            core.store.write(move |tx| operations::finish(tx, operation))?;
            return Ok(row);
        }
    };
    grow_mounted(&directory, FsKind::Xfs, BLOCK, length).on(&object)?;
    fault::point(Point::PoolGrowFilesystem)?;
    // Others may have changed the record since: what this adds is added to what it says now.
    let added = |gained: u64| Size::from_bytes(row.capacity.bytes().saturating_add(gained));
    let capacity = match (&row.medium, to, from) {
        (Medium::Image { size: now, .. }, Some(to), _) => added(to.bytes().saturating_sub(now.bytes())),
        // The device may have become longer since, or not as long as it was to be.
        (Medium::Device { device }, _, Some(from)) => {
            let now = mounted_size(&directory, FsKind::Xfs, Path::new(device)).on(&object)?;
            added(now.saturating_sub(from.bytes()))
        }
        (Medium::Directory | Medium::Device { .. } | Medium::Image { .. }, _, _) => {
            capacity.max(row.capacity)
        }
    };
    let told = event(
        "PoolGrown",
        format!("pool {} has {} now, and may promise {}", row.name, human(length), human(capacity.bytes())),
    )
    .in_pool(&row.name);
    let (id, overcommit) = (row.id, row.overcommit);
    core.store.write(move |tx| {
        pools::set_medium(tx, id, &on)?;
        pools::set_capacity(tx, id, capacity, overcommit)?;
        operations::finish(tx, operation)?;
        events::append(tx, &told)
    })?;
    let row = core.store.read(|r| pools::by_id(r, id))?.ok_or_else(|| missing(&row.name))?;
    // What was gathered a moment ago is of the smaller filesystem.
    room::gather(core, &row)?;
    Ok(row)
}
