//! A pool that was carried here, or whose store was lost, with all that is in it.
//!
//! What it holds is looked at first: descriptions (see `candidate`), then each filesystem, by its own
//! checker, which only reads. What passed becomes records in one write; the rest is told of and left
//! alone. The same again goes on where an earlier attempt ended, and finds what is still missing.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use orlop_model::{
    Error, ErrorKind, OperationId, Period, PoolId, PoolName, Result, Size, VolumeId, VolumeName,
    pool_report::{ImportFate, ImportedVolume, PoolImport},
    resource::{Backend, Medium, VolumeState},
};
use orlop_sys::{
    blockdev::BlockDevice,
    filesystem::{CheckMode, CheckOutcome, FsKind, check},
    image as host_image, space,
};

use super::{
    candidate, create,
    create::{apart, checked, described},
    format::pool_on,
    medium, read_short,
    remove::{entries, mark},
    view,
};
use crate::{
    attachment::place::restrict,
    authority,
    backend::image::kernel_kind,
    core::Core,
    events::event,
    fault::{self, Point},
    format::{Placement, PoolFile, PoolPaths, VolumeFile},
    host::On,
    locks::{Deadline, Lock},
    reconcile::attachments::in_parallel,
    request::{Caller, ImportPlace, ImportRequest, VolumeKey},
    running::Meter,
    store::{Intent, PlacementRow, PoolRow, VolumeRow, events, operations, pools, volumes, workspaces},
    volume::describe,
    workspace,
};

/// A check reads all metadata of a large filesystem. It is killed with the daemon, and after this.
const CHECK_LIMIT: Duration = Duration::from_secs(30 * 60);
/// So many hexadecimal digits of the id tell apart what had the same name.
const SUFFIX: usize = 8;

/// See [`crate::Engine::import_pool`].
pub(crate) fn import(core: &Core, caller: &Caller, request: &ImportRequest) -> Result<PoolImport> {
    authority::rule_host(caller, "import pools")?;
    let (id, path, on) = locate(core, &request.place)?;
    let known = core.store.read(|r| pools::by_id(r, id))?;
    let name = match (&known, &request.name) {
        (Some(row), None) => row.name.clone(),
        (Some(row), Some(name)) if row.name == *name => row.name.clone(),
        (Some(row), Some(_)) => {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("that pool is known here, as {}", row.name),
            )
            .object(format!("pool {}", row.name))
            .hint("leave the name out to bring back what is still missing of it"));
        }
        (None, Some(name)) => name.clone(),
        (None, None) => default_name(core)?,
    };
    let object = format!("pool {name}");
    let _held = core.locks.take(Lock::Pool(name.clone()), Deadline::usual())?;
    if let Some(row) = &known {
        if row.path != path {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "pool {name} is at {}, and what is at {} is a copy of it",
                    row.path.display(),
                    path.display()
                ),
            )
            .object(object)
            .hint("two pools can't have one id: remove the copy, or export the other first"));
        }
    } else if core.store.read(|r| pools::by_name(r, &name))?.is_some() {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("there is a pool {name} already, another one"),
        )
        .object(object)
        .hint("give this one another name: --name NAME"));
    }
    let row = known.clone().unwrap_or_else(|| new_row(core, id, name, &path, &on, request));
    let intent = Intent::ImportPool { pool: id, path: create::text(&path)?.to_owned(), medium: on.clone() };
    let operation = core.operation(Some(caller), None, intent);
    let operation_id = operation.id;
    core.store.write(move |tx| operations::begin(tx, &operation))?;
    let meter = core.running.begin(operation_id, "import", &object, Some(caller));
    let taken = take_over(core, caller, row, known.is_none(), &meter, operation_id, request.capacity);
    if taken.is_err()
        && let Err(left) = settle(core, operation_id, id, &path, &on)
    {
        tracing::warn!(%left, "an import that failed is settled at the next start");
    }
    taken
}

/// The pool that is there, where it is or will be mounted, and on what.
fn locate(core: &Core, place: &ImportPlace) -> Result<(PoolId, PathBuf, Medium)> {
    let none = |path: &Path, what: &str| {
        Error::new(ErrorKind::NotFound, format!("there is no pool {what} {}", path.display()))
            .object("pool")
            .hint("a pool in a directory has a file orlop.pool; one on a device or in an image is an XFS with the pool's id as its UUID")
    };
    let of_medium = |path: &Path, what: &str, medium: Medium| {
        let id = pool_on(path).ok_or_else(|| none(path, what))?;
        Ok((id, medium::mount_point(core, id), medium))
    };
    match place {
        ImportPlace::Directory(path) => {
            let path = checked(path)?;
            let marker = PoolPaths::new(&path).marker();
            let bytes = read_short(&marker).map_err(|_| none(&path, "in"))?;
            Ok((PoolFile::decode(&bytes, &marker)?.id, path, Medium::Directory))
        }
        ImportPlace::Device(path) => {
            let device = BlockDevice::of_node(path).on("pool")?;
            let node = device.node().to_owned();
            of_medium(&node, "on", Medium::Device { device: node.display().to_string() })
        }
        ImportPlace::Image(file) => {
            let file = checked(file)?;
            let space = host_image::space(&file).on("pool")?;
            let sparse = space.allocated < space.length;
            let medium = Medium::Image {
                file: create::text(&file)?.to_owned(),
                size: Size::from_bytes(space.length),
                sparse,
            };
            of_medium(&file, "in", medium)
        }
    }
}

/// The name that volumes without a pool mean, where it is free: as after the store was lost.
fn default_name(core: &Core) -> Result<PoolName> {
    let name = PoolName::default_pool();
    if core.store.read(|r| pools::by_name(r, &name))?.is_none() {
        return Ok(name);
    }
    Err(Error::new(ErrorKind::InvalidArgument, "the pool needs a name: there is a pool default already")
        .object("name")
        .hint("give it one: --name NAME"))
}

fn new_row(
    core: &Core,
    id: PoolId,
    name: PoolName,
    path: &Path,
    on: &Medium,
    request: &ImportRequest,
) -> PoolRow {
    PoolRow {
        id,
        node: core.config.node.clone(),
        name,
        backend: Backend::Image,
        path: path.to_owned(),
        medium: on.clone(),
        capacity: Size::from_bytes(0),
        overcommit: request.overcommit.unwrap_or(1.0),
        created_at: Core::now(),
        reserved: Size::from_bytes(0),
        allocated: Size::from_bytes(0),
        volumes: 0,
        snapshots: 0,
    }
}

fn take_over(
    core: &Core,
    caller: &Caller,
    mut row: PoolRow,
    fresh: bool,
    meter: &Meter<'_>,
    operation: OperationId,
    capacity: Option<Size>,
) -> Result<PoolImport> {
    let object = format!("pool {}", row.name);
    if fresh {
        if row.medium == Medium::Directory {
            // The pool of a store that was lost is where the daemon itself made it.
            if row.path != core.state_dir.join(create::DEFAULT_DIRECTORY) {
                apart(core, &row.path)?;
            }
        } else {
            meter.phase("checking the filesystem of the pool", None);
            check_medium(&row, &object)?;
            medium::bring(core, &row)?;
        }
    }
    fault::point(Point::PoolImportMounted)?;
    let paths = PoolPaths::new(&row.path);
    let marker = paths.marker();
    let bytes = read_short(&marker).map_err(|error| {
        Error::new(ErrorKind::Damaged, format!("{object}: {} can't be read: {error}", marker.display()))
            .object(&object)
            .hint("it is no pool of orlop's, or it was never finished")
    })?;
    let file = PoolFile::decode(&bytes, &marker)?;
    if file.id != row.id {
        return Err(Error::new(
            ErrorKind::Damaged,
            format!(
                "{object}: its filesystem has the UUID {}, and {} says {}",
                row.id,
                marker.display(),
                file.id
            ),
        )
        .object(&object)
        .hint("the filesystem was given another UUID: give it back the pool's (xfs_admin -U)"));
    }
    restrict(&row.path, 0o700, &object)?;
    let (mut shown, found) = look(core, &row, &paths, meter)?;
    let rows = name_all(core, &row, found, &mut shown)?;
    let sum: u64 = rows.iter().map(|row| row.placement.size.bytes()).sum();
    if fresh {
        let taken: u64 = rows.iter().map(|row| row.placement.allocated.bytes()).sum();
        let free = space::usage(&row.path).on(&object)?.available;
        row.capacity = capacity.unwrap_or(Size::from_bytes(sum.max(free.saturating_add(taken))));
        row.created_at = file.created_at;
    }
    record(core, caller, &row, fresh, rows)?;
    fault::point(Point::PoolImportRecorded)?;
    settle(core, operation, row.id, &row.path, &row.medium)?;
    core.signal.wake();
    let row = core.store.read(|r| pools::by_id(r, row.id))?.ok_or_else(|| super::missing(&row.name))?;
    Ok(PoolImport { pool: view(core, &row), exported: file.exported_at.is_some(), volumes: shown })
}

/// The filesystem that the pool is on comes from elsewhere too: it is checked before it is mounted.
fn check_medium(row: &PoolRow, object: &str) -> Result<()> {
    let path = match &row.medium {
        Medium::Directory => return Ok(()),
        Medium::Device { device } => device,
        Medium::Image { file, .. } => file,
    };
    match check(Path::new(path), FsKind::Xfs, CheckMode::ReadOnly, CHECK_LIMIT).on(object)? {
        CheckOutcome::Clean | CheckOutcome::LogDirty => Ok(()),
        CheckOutcome::Repaired { detail } | CheckOutcome::Damaged { detail } => Err(Error::new(
            ErrorKind::Damaged,
            format!("{object}: its filesystem is damaged; xfs_repair says: {detail}"),
        )
        .object(object)
        .hint(format!("copy it away first, then repair it: xfs_repair {path}; nothing was changed"))),
    }
}

/// What is in the pool and not known here. Filesystems are checked, several at once.
fn look(
    core: &Core,
    row: &PoolRow,
    paths: &PoolPaths,
    meter: &Meter<'_>,
) -> Result<(Vec<ImportedVolume>, Vec<VolumeFile>)> {
    let (mut shown, mut candidates) = (Vec::new(), Vec::new());
    let refused = |directory: &str, title: Option<String>, why: String| ImportedVolume {
        directory: directory.to_owned(),
        title,
        owner_uid: None,
        fate: ImportFate::Refused,
        detail: Some(why),
    };
    let mut there = entries(&paths.volumes());
    there.sort();
    for (_, directory) in there {
        let Some(id) = PoolPaths::volume_of(&directory) else {
            shown.push(refused(&directory, None, "its name is no id of a volume".to_owned()));
            continue;
        };
        if let Some(known) = core.store.read(|r| volumes::by_id(r, id))? {
            let owner_uid = Some(known.owner_uid);
            shown.push(ImportedVolume {
                directory,
                title: Some(known.title()),
                owner_uid,
                fate: ImportFate::Known,
                detail: None,
            });
            continue;
        }
        match candidate::read(paths, row.id, id) {
            Ok(file) => candidates.push(file),
            Err(why) => shown.push(refused(&directory, None, why)),
        }
    }
    let allocated =
        |file: &VolumeFile| host_image::space(&paths.image(file.id)).map_or(0, |space| space.allocated);
    meter.phase("checking", Some(candidates.iter().map(allocated).sum()));
    let (good, bad) = (Mutex::new(BTreeSet::<VolumeId>::new()), Mutex::new(Vec::new()));
    in_parallel(core.config.recovery_parallelism, &candidates, |file| {
        match check_volume(paths, file) {
            Ok(()) => drop(good.lock().unwrap_or_else(PoisonError::into_inner).insert(file.id)),
            Err(why) => {
                let title = format!("{}/{}", file.workspace, file.manifest.name);
                bad.lock().unwrap_or_else(PoisonError::into_inner).push(refused(
                    &file.id.to_string(),
                    Some(title),
                    why,
                ));
            }
        }
        meter.advance(allocated(file))
    })?;
    shown.extend(bad.into_inner().unwrap_or_else(PoisonError::into_inner));
    let good = good.into_inner().unwrap_or_else(PoisonError::into_inner);
    candidates.retain(|file| good.contains(&file.id));
    Ok((shown, candidates))
}

fn check_volume(paths: &PoolPaths, file: &VolumeFile) -> Result<(), String> {
    let Placement::Image(placement) = &file.placement;
    let kind = kernel_kind(placement.filesystem);
    match check(&paths.image(file.id), kind, CheckMode::ReadOnly, CHECK_LIMIT) {
        // As after a crash: its log is replayed at its first use.
        Ok(CheckOutcome::Clean | CheckOutcome::LogDirty) => Ok(()),
        Ok(CheckOutcome::Repaired { detail } | CheckOutcome::Damaged { detail }) => {
            let program = kind.check_program().name;
            Err(format!(
                "its filesystem is damaged; {program} says: {detail}; copy it away first, then repair it and import again"
            ))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The records, under names that are free here.
fn name_all(
    core: &Core,
    pool: &PoolRow,
    found: Vec<VolumeFile>,
    shown: &mut Vec<ImportedVolume>,
) -> Result<Vec<VolumeRow>> {
    let mut taken = BTreeSet::new();
    let mut rows = Vec::new();
    for file in found {
        let directory = file.id.to_string();
        let mut row = row(core, pool, file);
        let key = row.key();
        let mut detail = None;
        let mut fate = ImportFate::Imported;
        if row.state == VolumeState::Released {
            fate = ImportFate::Released;
        } else {
            let lives = core.store.read(|r| volumes::by_key(r, &key))?.is_some();
            if lives || taken.contains(&(key.workspace.clone(), key.name.clone())) {
                row.manifest.name = suffixed(&key, row.id)?;
                fate = ImportFate::Renamed;
                detail = Some(format!("there is a volume {}/{} already", key.workspace, key.name));
            }
            taken.insert((row.workspace.clone(), row.manifest.name.clone()));
        }
        shown.push(ImportedVolume {
            directory,
            title: Some(row.title()),
            owner_uid: Some(row.owner_uid),
            fate,
            detail,
        });
        rows.push(row);
    }
    Ok(rows)
}

/// `data-1a2b3c4d`, within the length of a name.
fn suffixed(key: &VolumeKey, id: VolumeId) -> Result<VolumeName> {
    let digits = id.0.simple().to_string();
    let tail = digits.get(digits.len() - SUFFIX..).unwrap_or_default();
    let room = VolumeName::MAX_LENGTH - SUFFIX - 1;
    let head: String = key.name.as_str().chars().take(room).collect();
    format!("{}-{tail}", head.trim_end_matches('-')).parse()
}

fn row(core: &Core, pool: &PoolRow, file: VolumeFile) -> VolumeRow {
    let paths = PoolPaths::new(&pool.path);
    let now = Core::now();
    // A deletion that was begun elsewhere does not go on here: what is left of it is retained.
    let state = match file.state.phase {
        VolumeState::Active | VolumeState::Error | VolumeState::Pending => VolumeState::Active,
        VolumeState::Released | VolumeState::Deleting => VolumeState::Released,
    };
    let released = state == VolumeState::Released;
    VolumeRow {
        id: file.id,
        node: core.config.node.clone(),
        workspace: file.workspace,
        manifest: file.manifest,
        state,
        reason: None,
        generation: file.generation.max(1),
        owner_uid: file.owner_uid,
        created_by: file.created_by,
        created_at: file.created_at,
        updated_at: now,
        deleted_at: if released { file.state.deleted_at.or(Some(now)) } else { None },
        deleted_by: if released { file.state.deleted_by } else { None },
        released_at: if released { file.state.released_at.or(Some(now)) } else { None },
        used_bytes: None,
        temp_grace: Period::from_seconds(file.state.temp_grace_seconds),
        vacated_at: None,
        created_size: Size::from_bytes(file.created_size_bytes.unwrap_or(file.size_bytes)),
        applied_set: None,
        source: file.source.clone(),
        placement: PlacementRow {
            pool: pool.id,
            pool_name: pool.name.clone(),
            size: Size::from_bytes(file.size_bytes),
            allocated: Size::from_bytes(match &file.source {
                // It may share blocks with others; what is its own is found out later.
                Some(_) => 0,
                None => host_image::space(&paths.image(file.id)).map_or(0, |space| space.allocated),
            }),
            initialised: true,
            detail: file.placement,
        },
    }
}

/// Everything in one write: the pool, the workspaces that are missing, the volumes.
fn record(core: &Core, caller: &Caller, pool: &PoolRow, fresh: bool, rows: Vec<VolumeRow>) -> Result<()> {
    let mut told = vec![
        event(
            "PoolImported",
            format!("pool {} is imported from {}, with {} volumes", pool.name, described(pool), rows.len()),
        )
        .in_pool(&pool.name)
        .by(caller),
    ];
    told.extend(rows.iter().map(|row| {
        event("Imported", format!("volume {} is imported with pool {}", row.title(), pool.name))
            .of(row)
            .by(caller)
    }));
    let (pool, recorded) = (pool.clone(), pool.clone());
    // Who owned them elsewhere is not in the pool.
    let spaces: Vec<_> =
        rows.iter().map(|row| workspace::new(core, row.workspace.clone(), caller.uid, Vec::new())).collect();
    core.store.write(move |tx| {
        if fresh {
            pools::insert(tx, &pool)?;
        }
        for (row, space) in rows.iter().zip(&spaces) {
            if workspaces::by_name(tx, &row.workspace)?.is_none() {
                workspaces::insert(tx, space)?;
            }
            volumes::insert(tx, row)?;
        }
        told.iter().try_for_each(|told| events::append(tx, told).map(drop))
    })?;
    if fresh {
        core.pools.add(&recorded);
    }
    Ok(())
}

/// What follows the records: descriptions that agree with them, and the mark of an export goes. Where
/// nothing was recorded, what was mounted is unmounted. Repeated by recovery.
pub(crate) fn settle(
    core: &Core,
    operation: OperationId,
    id: PoolId,
    path: &Path,
    on: &Medium,
) -> Result<()> {
    let object = format!("pool at {}", path.display());
    match core.store.read(|r| pools::by_id(r, id))? {
        None => {
            medium::release(path, on, &object)?;
        }
        Some(row) => {
            if row.medium != *on {
                // Known before: it may have another name by now.
                medium::bring(core, &row)?;
            }
            core.pools.add_missing(&row);
            let paths = super::confirm(core, row.id, &row.name)?;
            let ids = core.store.read(|r| volumes::ids_in_pool(r, id))?;
            let rows =
                if ids.is_empty() { Vec::new() } else { core.store.read(|r| volumes::by_ids(r, &ids))? };
            for volume in rows {
                if describe::read(&paths, &volume).is_none_or(|file| file != VolumeFile::of(&volume)) {
                    describe::write(&paths, &volume)?;
                }
            }
            mark(&paths, None, &object)?;
            fault::point(Point::PoolImportDescribed)?;
        }
    }
    core.store.write(move |tx| operations::finish(tx, operation))
}
