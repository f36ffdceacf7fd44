//! Making a pool, or changing what it may promise.

use std::path::{Component, Path, PathBuf};

use orlop_model::{
    Error, ErrorKind, OperationId, PoolId, PoolName, Result, Size,
    resource::{Backend, Medium, Outcome, Pool},
};
use orlop_sys::{durable, space};
use uuid::Uuid;

use super::{hold::Hold, medium, medium_format, missing, private, promise, view};
use crate::{
    admission::human,
    attachment::place::Places,
    authority,
    core::Core,
    directory::{entries, read_short},
    events::{event, note},
    fault::{self, Point},
    format::{PoolFile, PoolPaths},
    host::On,
    locks::{Deadline, Lock},
    request::{Applied, Caller, PoolPlace, PoolRequest},
    store::{Intent, PoolRow, events, operations, pools},
};

/// Where the pool `default` is, below the state directory.
pub(crate) const DEFAULT_DIRECTORY: &str = "pool";
/// What a new ext4 has in its root; it makes a directory no less empty.
pub(crate) const LOST_AND_FOUND: &str = "lost+found";

/// See [`crate::Engine::create_pool`].
pub(crate) fn create(core: &Core, caller: &Caller, request: &PoolRequest) -> Result<Applied<Pool>> {
    authority::rule_host(caller, "make or change pools")?;
    let _held = core.locks.take(Lock::Pool(request.name.clone()), Deadline::usual())?;
    promise::check(request.capacity, request.overcommit)?;
    match core.store.read(|r| pools::by_name(r, &request.name))? {
        Some(row) => change(core, caller, request, row),
        None => {
            let row = make(core, Some(caller), request)?;
            Ok(Applied { outcome: Outcome::Created, changes: Vec::new(), resource: view(core, &row) })
        }
    }
}

/// On the first start: the pool of those who name none. Where its directory holds one already, the
/// store was lost, or the pool was exported: what to do with it is root's to say.
pub(crate) fn make_default(core: &Core) -> Result<()> {
    if !core.store.read(pools::all)?.is_empty() {
        return Ok(());
    }
    let path = core.state_dir.join(DEFAULT_DIRECTORY);
    if PoolPaths::new(&path).marker().exists() {
        let message = format!(
            "a pool is at {}, and no record explains it: if the store was lost, bring its volumes back with `orlop pool import --path {}`",
            path.display(),
            path.display()
        );
        tracing::warn!("{message}");
        note(core, event("PoolUnaccounted", message).warning());
        return Ok(());
    }
    let name = PoolName::default_pool();
    make(
        core,
        None,
        &PoolRequest { name, place: PoolPlace::Directory(path), capacity: None, overcommit: None },
    )
    .map(drop)
}

/// Takes back what was begun: only what we made, and only while it is empty.
pub(crate) fn undo(
    core: &Core,
    operation: OperationId,
    path: &Path,
    pool: PoolId,
    on: &Medium,
) -> Result<()> {
    let object = format!("pool at {}", path.display());
    match on {
        Medium::Directory => clear(path, pool, &object)?,
        // Its filesystem goes, and with it all that was made in it.
        Medium::Device { .. } | Medium::Image { .. } => {
            medium::release(path, on, &object)?;
            medium_format::take_back(core, pool, on, &object)?;
        }
    }
    core.store.write(move |tx| operations::finish(tx, operation))
}

/// Removes what makes a directory a pool, where it is that pool: nothing else, and nothing that holds
/// data.
pub(crate) fn clear(path: &Path, pool: PoolId, object: &str) -> Result<()> {
    let paths = PoolPaths::new(path);
    let ours = read_short(&paths.marker())
        .is_ok_and(|bytes| PoolFile::decode(&bytes, &paths.marker()).is_ok_and(|file| file.id == pool));
    if ours {
        for directory in [paths.volumes(), paths.blanks(), paths.snapshots()] {
            durable::remove_dir(&directory).on(object)?;
        }
        durable::remove_file(&paths.lock()).on(object)?;
        // Last: without it a second attempt would not know that the rest is ours.
        durable::remove_file(&paths.marker()).on(object)?;
    }
    // The directory was empty when the intent was recorded, so what a kill left of the marker is ours.
    durable::remove_file(&durable::draft_of(&paths.marker())).on(object)
}

/// Where it will be, after everything was looked at that could forbid it. Nothing is changed yet, but
/// that a directory is made.
fn prepare(
    core: &Core,
    caller: Option<&Caller>,
    id: PoolId,
    request: &PoolRequest,
    object: &str,
) -> Result<(PathBuf, Medium)> {
    match &request.place {
        PoolPlace::Directory(path) => {
            let path = checked(path)?;
            if path.exists() && !path.is_dir() {
                return Err(invalid("path", format!("{} is no directory", path.display())).hint(
                    "name a directory, or one that is to be made; a pool in a file: --image FILE --size N",
                ));
            }
            // The daemon's own is below the state directory.
            if caller.is_some() {
                apart(core, &path)?;
            }
            durable::create_dir_all(&path, 0o700).on(object)?;
            require_empty(&path)?;
            Ok((path, Medium::Directory))
        }
        PoolPlace::Device { device, erase } => {
            let medium = medium_format::check_device(core, device, erase.as_deref())?;
            Ok((medium::mount_point(core, id), medium))
        }
        PoolPlace::Image { file, size, sparse } => {
            let file = checked(file)?;
            apart(core, &file)?;
            let medium = medium_format::check_image(core, &file, *size, *sparse)?;
            Ok((medium::mount_point(core, id), medium))
        }
    }
}

fn make(core: &Core, caller: Option<&Caller>, request: &PoolRequest) -> Result<PoolRow> {
    let object = format!("pool {}", request.name);
    let id = PoolId(Uuid::now_v7());
    let (path, on) = prepare(core, caller, id, request, &object)?;
    let _place = core.locks.take(place(&path, &on), Deadline::usual())?;
    let intent = Intent::CreatePool { pool: id, path: text(&path)?.to_owned(), medium: on.clone() };
    let operation = core.operation(caller, None, intent);
    let operation_id = operation.id;
    core.store.write(move |tx| operations::begin(tx, &operation))?;

    let made = (|| {
        let mut row = PoolRow {
            id,
            node: core.config.node.clone(),
            name: request.name.clone(),
            backend: Backend::Image,
            path: path.clone(),
            medium: on.clone(),
            capacity: Size::from_bytes(0),
            overcommit: request.overcommit.unwrap_or(1.0),
            created_at: Core::now(),
            reserved: Size::from_bytes(0),
            allocated: Size::from_bytes(0),
            volumes: 0,
            snapshots: 0,
        };
        if on != Medium::Directory {
            medium_format::make(id, &on, &object)?;
            fault::point(Point::PoolFormatted)?;
            medium::bring(core, &row)?;
            fault::point(Point::PoolMounted)?;
        }
        let paths = PoolPaths::new(&path);
        private::close(&paths, &object)?;
        let free = space::usage(&path).on(&object)?.available;
        row.capacity = request.capacity.unwrap_or(Size::from_bytes(free));
        let marker = PoolFile::new(id, Backend::Image, row.created_at).encode()?;
        durable::write_file(&paths.marker(), &marker, 0o600).on(&object)?;
        for directory in [paths.volumes(), paths.blanks()] {
            durable::create_dir(&directory, 0o700).on(&object)?;
        }
        let hold = Hold::default();
        hold.take(core, &row.name, &paths)?;
        fault::point(Point::PoolMarked)?;
        let told = event(
            "PoolCreated",
            format!(
                "pool {} is made at {}, and may promise {}",
                row.name,
                described(&row),
                human(row.capacity.bytes())
            ),
        )
        .in_pool(&row.name)
        .by_any(caller);
        let recorded = row.clone();
        core.store.write(move |tx| {
            pools::insert(tx, &recorded)?;
            operations::finish(tx, operation_id)?;
            events::append(tx, &told)
        })?;
        Ok((row, hold))
    })();
    match made {
        Ok((row, hold)) => {
            core.pools.add_held(&row, hold);
            Ok(row)
        }
        Err(error) => {
            if let Err(left) = undo(core, operation_id, &path, id, &on) {
                tracing::warn!(%left, "an unfinished pool is taken back later");
            }
            Err(error)
        }
    }
}

/// What is locked while something is done to what a pool is on.
pub(crate) fn place(path: &Path, on: &Medium) -> Lock {
    Lock::PoolPlace(match on {
        Medium::Directory => path.to_owned(),
        Medium::Device { device } => device.into(),
        Medium::Image { file, .. } => file.into(),
    })
}

/// A path as the journal keeps it, which is text.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| invalid("path", format!("{} is not UTF-8", path.display())))
}

/// Where a pool is, for messages.
pub(crate) fn described(row: &PoolRow) -> String {
    match &row.medium {
        Medium::Directory => row.path.display().to_string(),
        Medium::Device { device } => format!("the device {device}"),
        Medium::Image { file, .. } => format!("the image {file}"),
    }
}

/// Whether the request means what that pool is on.
fn is_there(row: &PoolRow, place: &PoolPlace) -> Result<bool> {
    Ok(match (place, &row.medium) {
        (PoolPlace::Directory(path), Medium::Directory) => checked(path)? == row.path,
        (PoolPlace::Device { device, .. }, Medium::Device { .. }) => {
            device.canonicalize().is_ok_and(|node| medium_format::pool_on(&node) == Some(row.id))
        }
        (PoolPlace::Image { file, size, sparse }, Medium::Image { file: at, size: long, sparse: thin }) => {
            checked(file)?.to_str() == Some(at) && size == long && sparse == thin
        }
        (
            PoolPlace::Directory(_) | PoolPlace::Device { .. } | PoolPlace::Image { .. },
            Medium::Directory | Medium::Device { .. } | Medium::Image { .. },
        ) => false,
    })
}

fn change(core: &Core, caller: &Caller, request: &PoolRequest, mut row: PoolRow) -> Result<Applied<Pool>> {
    if !is_there(&row, &request.place)? {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("pool {} is there already, on {}", row.name, described(&row)),
        )
        .object(format!("pool {}", row.name))
        .hint("a pool does not move: make one of another name there; an image or a device grows with orlop pool grow"));
    }
    let capacity = request.capacity.unwrap_or(row.capacity);
    let overcommit = request.overcommit.unwrap_or(row.overcommit);
    let mut changes = Vec::new();
    if capacity != row.capacity {
        changes.push("capacity".to_owned());
    }
    if overcommit != row.overcommit {
        changes.push("overcommit".to_owned());
    }
    if changes.is_empty() {
        return Ok(Applied { outcome: Outcome::Unchanged, changes, resource: view(core, &row) });
    }
    row.capacity = capacity;
    row.overcommit = overcommit;
    let room = core.rooms.current(core, &row)?;
    if room.limit() < room.reserved {
        return Err(invalid(
            "capacity",
            format!(
                "pool {} promised {} already, more than the {} it could promise then",
                row.name,
                human(room.reserved),
                human(room.limit())
            ),
        )
        .hint("delete volumes first, or give it more"));
    }
    let told = event("PoolConfigured", format!("pool {} may now promise {}", row.name, human(room.limit())))
        .in_pool(&row.name)
        .by(caller);
    let name = row.name.clone();
    let row = core.store.write(move |tx| {
        pools::set_capacity(tx, row.id, capacity, overcommit)?;
        events::append(tx, &told)?;
        pools::by_id(tx, row.id)?.ok_or_else(|| missing(&name))
    })?;
    Ok(Applied { outcome: Outcome::Configured, changes, resource: view(core, &row) })
}

/// Absolute, and without anything that a reader could misread. Symbolic links on the way are root's
/// own business, and resolved as far as the path exists.
pub(crate) fn checked(path: &Path) -> Result<PathBuf> {
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !plain || path.parent().is_none() {
        return Err(invalid("path", format!("{} is no place for a pool", path.display()))
            .hint("give an absolute path without `..`, and not the root directory"));
    }
    let existing = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    let Some((above, real)) = existing else { return Ok(path.to_owned()) };
    let rest = path.strip_prefix(above).unwrap_or(Path::new(""));
    Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) })
}

/// Not inside our own directories or other pools, nor around them.
pub(crate) fn apart(core: &Core, path: &Path) -> Result<()> {
    let mut taken = vec![
        ("the state directory".to_owned(), core.state_dir.clone()),
        ("the mount directory".to_owned(), core.places.root().to_owned()),
    ];
    for row in core.store.read(pools::all)? {
        taken.push((format!("pool {}", row.name), row.path));
    }
    match taken.iter().find(|(_, own)| Places::overlaps(path, own)) {
        None => Ok(()),
        Some((what, own)) => {
            Err(invalid("path", format!("{} overlaps with {what}, {}", path.display(), own.display()))
                .hint("give a directory of its own"))
        }
    }
}

fn require_empty(path: &Path) -> Result<()> {
    let found = entries(path)?.into_iter().find(|(_, name)| name != LOST_AND_FOUND);
    match found {
        None => Ok(()),
        Some((_, name)) => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{} is not empty: it holds {name}", path.display()),
        )
        .object("path")
        .hint("give an empty directory, or one that is not there yet")),
    }
}

fn invalid(field: &str, message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message).object(field)
}
