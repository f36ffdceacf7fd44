//! Making a volume. The record, its reservation and the intent come first, in one write; then the
//! directory, the image and its description, each flushed; then the record says `active`. What fails
//! on the way is taken back at once, what crashes at the next start: until `volume.json` is there
//! nothing was promised to anybody.

use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt, sync::atomic::Ordering};

use orlop_model::{
    Error, ErrorKind, OperationId, PoolName, Result, Size, VolumeId, VolumeManifest, WorkspaceName,
    resource::{Front, VolumeState},
};
use orlop_sys::durable;
use uuid::Uuid;

use super::{describe, temp};
use crate::{
    admission::Wanted,
    attachment::detach::{self, Released},
    backend::image::{Image, format as image_format, remove},
    blank::Kind,
    core::{Core, object},
    events::event,
    fault::{self, Point},
    format::{BlankName, ImagePlacement, Placement, PoolPaths},
    host::On,
    limits::{self, More},
    locks::{Deadline, Lock},
    pool::{
        self,
        room::{self, Figures},
    },
    request::{Caller, SourceId},
    snapshot::source::{self, Source},
    store::{
        AliasRow, Intent, PlacementRow, PoolRow, VolumeRow, aliases, events, operations, pools, volumes,
    },
};

/// What is to be made.
pub(crate) struct New {
    pub(crate) workspace: WorkspaceName,
    /// Passed `plan::check`.
    pub(crate) manifest: VolumeManifest,
    /// What the caller's front calls it.
    pub(crate) alias: Option<String>,
    /// The set of manifests that it is of.
    pub(crate) set: Option<String>,
    /// What it is made from, where that is said by id and not by the manifest.
    pub(crate) source: Option<SourceId>,
    /// Whether it is made for one consumer, and goes with it.
    pub(crate) ephemeral: bool,
}

/// What a volume would be made with, and whether there is room for it now.
pub(crate) struct Foreseen {
    pool: PoolRow,
    paths: PoolPaths,
    placement: ImagePlacement,
    figures: Figures,
    /// What it would be made from; nobody changes that meanwhile.
    source: Option<Source>,
}

/// Finds that out; nothing is made.
pub(crate) fn foresee(
    core: &Core,
    caller: &Caller,
    workspace: &WorkspaceName,
    manifest: &VolumeManifest,
    source: Option<SourceId>,
    deadline: Deadline,
) -> Result<Foreseen> {
    let source = match (source, &manifest.volume.source) {
        (Some(id), _) => Some(source::look_up_id(core, caller, id, deadline)?),
        (None, Some(source)) => Some(source::look_up(core, caller, workspace, source, deadline)?),
        (None, None) => None,
    };
    // Where its source is it can share blocks with that.
    let usual = || source.as_ref().map_or_else(PoolName::default_pool, |source| source.pool_name.clone());
    let pool_name = manifest.volume.pool.clone().unwrap_or_else(usual);
    let pool = pool::find(core, &pool_name)?;
    let paths = pool::confirm(core, pool.id, &pool.name)?;
    let title = format!("volume {workspace}/{}", manifest.name);
    let placement = match &source {
        Some(source) => {
            source.check(core, &manifest.volume, &pool)?;
            // What it shares can't have been taken beforehand, whatever its source has.
            ImagePlacement { preallocated: false, ..source.placement.clone() }
        }
        None => image_format::decide(&manifest.volume, &title)?,
    };
    let figures = room::gather(core, &pool)?;
    let size = manifest.volume.size;
    figures.room(&pool).admit(&pool.name, Wanted::New(size))?;
    core.store.read(|r| limits::admit(r, workspace, More { volumes: 1, bytes: size.bytes() }))?;
    Ok(Foreseen { pool, paths, placement, figures, source })
}

/// Makes it. The caller holds the lock of the name and was authorised. Until the deadline it waits for those
/// who work on its source.
pub(crate) fn create(core: &Core, caller: &Caller, new: New, deadline: Deadline) -> Result<VolumeRow> {
    create_filled(core, caller, new, deadline, &|_, _| Ok(()))
}

/// The same, and has it filled while nobody knows it yet: until that has succeeded it is not made.
pub(crate) fn create_filled(
    core: &Core,
    caller: &Caller,
    new: New,
    deadline: Deadline,
    fill: &dyn Fn(&VolumeRow, &Image) -> Result<()>,
) -> Result<VolumeRow> {
    let Foreseen { pool, paths, placement, figures, source } =
        foresee(core, caller, &new.workspace, &new.manifest, new.source, deadline)?;
    let id = VolumeId(Uuid::now_v7());
    // Whoever sees the pending record waits for what becomes of it.
    let _held = core.locks.take(Lock::Volume(id), Deadline::usual())?;
    let size = new.manifest.volume.size;
    let temp_grace = temp::recorded(&new.manifest.volume, core.config.temp_grace);
    let now = Core::now();
    let row = VolumeRow {
        id,
        node: core.config.node.clone(),
        workspace: new.workspace,
        manifest: new.manifest,
        state: VolumeState::Pending,
        reason: None,
        generation: 1,
        owner_uid: caller.uid,
        created_by: caller.front,
        created_at: now,
        updated_at: now,
        deleted_at: None,
        deleted_by: None,
        released_at: None,
        used_bytes: None,
        temp_grace,
        vacated_at: None,
        created_size: source.as_ref().map_or(size, |source| source.created_size),
        applied_set: new.set,
        source: source.as_ref().map(|source| source.origin.clone()),
        ephemeral: new.ephemeral,
        placement: PlacementRow {
            pool: pool.id,
            pool_name: pool.name.clone(),
            size,
            allocated: Size::from_bytes(0),
            initialised: false,
            detail: Placement::Image(placement.clone()),
        },
    };
    let kind = placement.filesystem().map(|it| Kind { pool: pool.id, filesystem: it.kind, size });
    let blank = kind.filter(|_| source.is_none()).and_then(|kind| core.blanks.take(kind, &placement));
    let intent = Intent::Create { blank: blank.map(|blank| blank.to_string()) };
    let operation = core.operation(Some(caller), Some(id), intent);
    let operation_id = operation.id;
    let alias = new.alias.map(|external| alias(core, caller.front, external, id));
    let recorded = row.clone();
    let begun = core.store.write(move |tx| {
        // The same sums that the insertion changes: two of these can't both take the last room.
        let pool = pools::by_id(tx, pool.id)?.ok_or_else(|| pool::missing(&pool.name))?;
        figures.room(&pool).admit(&pool.name, Wanted::New(size))?;
        limits::admit(tx, &recorded.workspace, More { volumes: 1, bytes: size.bytes() })?;
        volumes::insert(tx, &recorded)?;
        if let Some(alias) = alias {
            aliases::insert(tx, &alias)?;
        }
        operations::begin(tx, &operation)
    });
    if let Err(error) = begun {
        give_back(core, kind, &paths, blank);
        return Err(error);
    }
    let begin = match &source {
        Some(source) => Begin::From { source, caller, operation: operation_id },
        None => Begin::Empty(blank),
    };
    match effect(core, &paths, &row, begin)
        .and_then(|()| fill(&row, &core.image(&row)?))
        .and_then(|()| complete(core, Some(caller), &paths, row.clone(), operation_id))
    {
        Ok(row) => {
            if source.is_some() {
                core.signal.shares(row.id);
            } else {
                let tally = if blank.is_some() { &core.tally.from_blank } else { &core.tally.from_scratch };
                tally.fetch_add(1, Ordering::Relaxed);
                core.signal.blanks_wanted();
            }
            fault::point(Point::CreateDone)?;
            Ok(row)
        }
        Err(error) => {
            if !core.frozen.keeps(operation_id)
                && let Err(left) = undo(core, &row, operation_id)
            {
                tracing::warn!(volume = row.title(), %left, "an unfinished volume is taken back later");
            }
            give_back(core, kind, &paths, blank);
            Err(error)
        }
    }
}

/// What is in the volume at first.
enum Begin<'a> {
    /// Nothing; its image may be there already.
    Empty(Option<BlankName>),
    /// The data of another one.
    From { source: &'a Source, caller: &'a Caller, operation: OperationId },
}

/// The files, up to the description.
fn effect(core: &Core, paths: &PoolPaths, row: &VolumeRow, begin: Begin<'_>) -> Result<()> {
    fault::point(Point::CreateRecorded)?;
    let image = core.image(row)?;
    // Names become durable further down, with one flush for all of them.
    match DirBuilder::new().mode(0o700).create(&image.directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(unmade(&image, &error));
        }
        Ok(()) | Err(_) => {}
    }
    fault::point(Point::CreateDirectory)?;
    match begin {
        Begin::From { source, caller, operation } => {
            source.make(core, caller, &image, operation)?;
            source.enlarge(core, caller, &image, operation)?;
        }
        Begin::Empty(Some(blank)) if take_blank(paths, &blank, &image)? => {}
        Begin::Empty(_) => image_format::make(image.path(), image.size, &image.placement, &image.object)?,
    }
    fault::point(Point::CreateFormatted)?;
    if image.placement.preallocated {
        image_format::preallocate(image.path(), image.size, &image.object)?;
    }
    fault::point(Point::CreateAllocated)?;
    image_format::flush(image.path(), &image.object)?;
    fault::point(Point::CreateFlushed)
}

/// Somebody else's cleaning may have taken the blank: then one is made.
fn take_blank(paths: &PoolPaths, blank: &BlankName, image: &Image) -> Result<bool> {
    match std::fs::rename(paths.blank(blank), image.path()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unmade(image, &error)),
    }
}

fn unmade(image: &Image, error: &std::io::Error) -> Error {
    let (kind, hint) = match error.kind() {
        std::io::ErrorKind::StorageFull => {
            (ErrorKind::LowSpace, "free space on the pool's disk and try again")
        }
        _ => (ErrorKind::Host, "see the kernel's log (dmesg)"),
    };
    Error::new(kind, format!("{}: can't make {}: {error}", image.object, image.directory.display()))
        .object(&image.object)
        .hint(hint)
}

/// The description and the record. Also what recovery does for an image that is whole.
pub(crate) fn complete(
    core: &Core,
    caller: Option<&Caller>,
    paths: &PoolPaths,
    mut row: VolumeRow,
    operation: OperationId,
) -> Result<VolumeRow> {
    row.state = VolumeState::Active;
    row.placement.initialised = true;
    row.updated_at = Core::now();
    // Flushes the names of image and description; the flush after it, the name of their directory.
    describe::write_ahead(core, paths, &row)?;
    durable::sync_directory(&paths.volumes()).on(&object(&row))?;
    fault::point(Point::CreateDescribed)?;
    // What one that was made from another has for itself is found out later.
    let allocated = match row.source {
        Some(_) => Some(Size::from_bytes(0)),
        None => core.image(&row)?.taken().map(Size::from_bytes),
    };
    let Placement::Image(placement) = &row.placement.detail;
    let from = row.source.as_ref().map(|origin| format!(", from {}", origin.named)).unwrap_or_default();
    let message = format!(
        "volume {} is made: {} of {} in pool {}{from}",
        row.title(),
        row.placement.size,
        placement.filesystem().map_or("a block device", |filesystem| filesystem.kind.as_str()),
        row.placement.pool_name
    );
    let mut told = event("Created", message).of(&row).by_any(caller);
    core.store.write(move |tx| {
        volumes::update(tx, &mut row)?;
        let before = volumes::count_released(tx, &row.key())?;
        if before > 0 {
            told.message.push_str(&format!(
                "; it is new: {before} deleted of this name keep their data (orlop undelete)"
            ));
        }
        volumes::observe(tx, row.id, None, allocated)?;
        if let Some(allocated) = allocated {
            row.placement.allocated = allocated;
        }
        operations::finish(tx, operation)?;
        events::append(tx, &told)?;
        Ok(row)
    })
}

/// Takes back what was begun: the files, then the record. Nobody ever had it.
pub(crate) fn undo(core: &Core, row: &VolumeRow, operation: OperationId) -> Result<()> {
    // A commit that failed may have happened: what is active now is not taken back.
    let now = core.store.read(|r| volumes::by_id(r, row.id))?;
    if now.is_some_and(|now| now.state != VolumeState::Pending) {
        return Ok(());
    }
    let paths = pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let image = core.image(row)?;
    // Where it was being filled it is mounted, for nobody but us.
    if let Released::Held(who) = detach::take_down(core, row, &image)? {
        return Err(Error::new(ErrorKind::InUse, format!("{} is still held: {who}", image.object))
            .object(&image.object)
            .hint("end what holds it; what was begun of the volume is taken back then"));
    }
    remove::discard(&image, &paths.record(row.id))?;
    let (id, told) = (
        row.id,
        event(
            "CreateUndone",
            format!("volume {} was not made, and what was begun of it is gone", row.title()),
        )
        .of(row)
        .warning(),
    );
    core.store.write(move |tx| {
        volumes::delete(tx, id)?;
        operations::finish(tx, operation)?;
        events::append(tx, &told)
    })?;
    Ok(())
}

/// A blank that was not used is there for the next one.
fn give_back(core: &Core, kind: Option<Kind>, paths: &PoolPaths, blank: Option<BlankName>) {
    if let (Some(kind), Some(blank)) = (kind, blank)
        && paths.blank(&blank).exists()
    {
        core.blanks.give_back(kind, blank);
    }
}

pub(crate) fn alias(core: &Core, front: Front, external: String, volume: VolumeId) -> AliasRow {
    AliasRow { front, external, volume, node: core.config.node.clone(), created_at: Core::now() }
}
