//! Making a snapshot. The record, its reservation and the intent come first, in one write; then the
//! image and its description, each flushed; then the record says `active`.
//!
//! Of a volume in use the filesystem is frozen while its image is copied. Everything that can be
//! done before or after that is not done within: the writers wait.

use std::time::Duration;

use orlop_model::{
    Error, ErrorKind, OperationId, Result, Size, SnapshotId, SnapshotManifest, VolumeId, WorkspaceName,
    resource::{Consistency, Front, Outcome, Snapshot, SnapshotState},
};
use orlop_sys::{capability, durable, freeze, image as host_image, mount};
use uuid::Uuid;

use super::{
    copy::{self, Copy},
    describe,
    hooks::{self, Concerns},
    object, require_free,
    room::Before,
    view,
};
use crate::{
    admission::human,
    attachment::detach,
    backend::image::{
        Image,
        attach::{self as image_attach, Remaining, remaining},
        device as image_device, health,
    },
    core::{self, Core},
    events::event,
    fault::{self, Point},
    format::{Placement, PoolPaths},
    host::{On, failure},
    locks::{Deadline, Lock},
    pool,
    reconcile::{self, frozen},
    request::{Applied, Caller, SnapshotKey, SnapshotRequest, VolumeKey, VolumeRef},
    running::Meter,
    store::{
        Intent, OperationRow, SnapshotAliasRow, SnapshotRow, VolumeRow, events, operations, snapshot_aliases,
        snapshots,
    },
};

/// What is to be made.
pub(crate) struct New {
    pub(crate) workspace: WorkspaceName,
    pub(crate) manifest: SnapshotManifest,
    /// Whether a schedule asks for it.
    pub(crate) scheduled: bool,
    /// Whether writers may be made to wait for a copy of all data.
    pub(crate) pause_writers: bool,
    /// What the caller's front calls it.
    pub(crate) alias: Option<String>,
}

/// See [`crate::Engine::apply_snapshot`].
pub(crate) fn apply(core: &Core, caller: &Caller, request: &SnapshotRequest) -> Result<Applied<Snapshot>> {
    request.manifest.check_texts()?;
    let key = SnapshotKey { workspace: request.workspace.clone(), name: request.manifest.name.clone() };
    let _name = core.locks.take(Lock::SnapshotName(key.clone()), Deadline::usual())?;
    if let Some(row) = core.store.read(|r| snapshots::by_key(r, &key))? {
        reconcile::leftovers::settle_snapshot(core, row.id, Deadline::usual())?;
    }
    match core.store.read(|r| snapshots::by_key(r, &key))? {
        Some(row) => view::configure(core, caller, row, &request.manifest),
        None => {
            let new = New {
                workspace: request.workspace.clone(),
                manifest: request.manifest.clone(),
                scheduled: false,
                pause_writers: request.pause_writers,
                alias: None,
            };
            let resource = create(core, Some(caller), new, Deadline::usual())?;
            Ok(Applied { outcome: Outcome::Created, changes: Vec::new(), resource })
        }
    }
}

/// Makes it. The caller holds the lock of the name.
///
/// # Errors
/// [`ErrorKind::Recovering`] where others work on the volume until the deadline.
pub(crate) fn create(core: &Core, caller: Option<&Caller>, new: New, deadline: Deadline) -> Result<Snapshot> {
    let key = VolumeKey { workspace: new.workspace.clone(), name: new.manifest.snapshot.volume.clone() };
    let volume = core.row(&VolumeRef::Key(key))?.id;
    create_of(core, caller, volume, new, deadline)
}

/// The same of a volume by id, whatever the manifest calls that.
///
/// # Errors
/// As [`create`]; [`ErrorKind::AlreadyExists`] where the name is taken, by a group too.
pub(crate) fn create_of(
    core: &Core,
    caller: Option<&Caller>,
    volume: VolumeId,
    mut new: New,
    deadline: Deadline,
) -> Result<Snapshot> {
    let volume = core.row(&VolumeRef::Id(volume))?;
    if let Some(caller) = caller {
        core.authorise(caller, &volume)?;
    }
    let key = SnapshotKey { workspace: new.workspace.clone(), name: new.manifest.name.clone() };
    require_free(core, &key, &format!("snapshot {}/{}", key.workspace, key.name))?;
    let _volume = core.locks.take(Lock::Volume(volume.id), deadline)?;
    let volume = reconcile::leftovers::settled(core, core.again(volume.id)?)?;
    core::usable(&volume)?;
    new.manifest.snapshot.volume = volume.manifest.name.clone();
    let image = core.image(&volume)?;
    let paths = pool::confirm(core, volume.placement.pool, &volume.placement.pool_name)?;
    health::examine(&image)?;
    let shared = capability::probe(paths.root()).on(&image.object)?.reflink;
    let mut how = How::find(core, &volume, &image, shared, new.pause_writers)?;
    let id = SnapshotId(Uuid::now_v7());
    let _held = core.locks.take(Lock::Snapshot(id), Deadline::usual())?;

    let snapshot = new.manifest.name.to_string();
    let concerns = Concerns { volume: &volume, snapshot: &snapshot };
    let made = hooks::before(core, &concerns).and_then(|()| {
        // The hook may have had much written.
        how.allocated = allocated(&image)?;
        record(core, caller, &volume, &image, &how, id, new)
    });
    let made = made.and_then(|begun| perform(core, caller, &volume, &image, &how, begun));
    hooks::after(core, &concerns, made.is_ok());
    let (row, paused) = made?;
    core.signal.shares(volume.id);
    fault::point(Point::SnapshotDone)?;
    let mut made = view::one(row);
    view::tell_pause(&mut made, paused);
    Ok(made)
}

/// What is recorded before its files are there.
struct Begun {
    row: SnapshotRow,
    operation: OperationId,
    before: Before,
}

/// What an image takes now.
pub(super) fn allocated(image: &Image) -> Result<u64> {
    Ok(host_image::space(image.path()).on(&image.object)?.allocated)
}

/// How its image is copied.
pub(super) struct How {
    /// The volume is mounted, and is frozen meanwhile.
    pub(super) frozen: bool,
    /// Its users have it as a block device, and write on meanwhile.
    pub(super) written: bool,
    /// The pool's filesystem shares blocks.
    shared: bool,
    /// What the image takes now.
    pub(super) allocated: u64,
}

impl How {
    pub(super) fn find(
        core: &Core,
        volume: &VolumeRow,
        image: &Image,
        shared: bool,
        may_pause: bool,
    ) -> Result<Self> {
        let title = volume.title();
        let used = image_attach::is_used(image, &core.places.base(volume.id))?;
        let (frozen, written) = (used && !image.is_device(), used && image.is_device());
        if !used && let Remaining::Somebody(device) = remaining(image)? {
            let who = detach::who_has(core, volume, image, device)?;
            return Err(Error::new(
                ErrorKind::InUse,
                format!("volume {title} was detached, but {who} still holds it, and it can't be frozen so"),
            )
            .object(&image.object)
            .hint("end what holds it, then make the snapshot"));
        }
        let allocated = allocated(image)?;
        if written && !shared {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "volume {title} is in use as a block device, and the filesystem of pool {} can't share blocks: a copy of all its data would be of no one moment",
                    volume.placement.pool_name
                ),
            )
            .object(&image.object)
            .hint("stop what uses it first; or keep volumes on XFS with reflink or on btrfs"));
        }
        if frozen && !shared && !may_pause {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "volume {title} is in use, and the filesystem of pool {} can't share blocks: its writers would wait while {} are copied",
                    volume.placement.pool_name,
                    human(allocated)
                ),
            )
            .object(&image.object)
            .hint("stop what uses it first; or say --pause-writers; or keep volumes on XFS with reflink or on btrfs"));
        }
        Ok(Self { frozen, written, shared, allocated })
    }

    pub(super) fn consistency(&self) -> Consistency {
        match (self.frozen, self.written) {
            (true, _) => Consistency::Filesystem,
            (false, true) => Consistency::Crash,
            (false, false) => Consistency::Detached,
        }
    }
}

/// The record, its reservation and the intent.
fn record(
    core: &Core,
    caller: Option<&Caller>,
    volume: &VolumeRow,
    image: &Image,
    how: &How,
    id: SnapshotId,
    new: New,
) -> Result<Begun> {
    let now = Core::now();
    let row = SnapshotRow {
        id,
        node: core.config.node.clone(),
        workspace: new.workspace,
        volume: volume.id,
        state: SnapshotState::Pending,
        reason: None,
        generation: 1,
        // It holds the data of whoever owns the volume.
        owner_uid: volume.owner_uid,
        created_by: caller.map_or(Front::Manifest, |caller| caller.front),
        created_at: now,
        updated_at: now,
        expires_at: new.manifest.snapshot.retain.until(now),
        manifest: new.manifest,
        scheduled: new.scheduled,
        group: None,
        consistency: how.consistency(),
        source: volume.source.clone(),
        pool: volume.placement.pool,
        pool_name: volume.placement.pool_name.clone(),
        size: volume.placement.size,
        reserved: Size::from_bytes(how.allocated),
        exclusive: Size::from_bytes(0),
        detail: Placement::Image(image.placement.clone()),
    };
    let operation = core.operation(caller, Some(volume.id), Intent::Snapshot { snapshot: id });
    let operation_id = operation.id;
    let alias = new.alias.map(|external| SnapshotAliasRow {
        front: row.created_by,
        external,
        snapshot: id,
        created_at: now,
    });
    let before = reserve(core, &row, alias, operation)?;
    Ok(Begun { row, operation: operation_id, before })
}

/// Writes a pending snapshot and the intent, where its pool has the room.
fn reserve(
    core: &Core,
    row: &SnapshotRow,
    alias: Option<SnapshotAliasRow>,
    operation: OperationRow,
) -> Result<Before> {
    let before = Before::gather(core, std::slice::from_ref(row))?;
    let (row, admitted) = (row.clone(), before.clone());
    core.store.write(move |tx| {
        admitted.admit(tx, &row, row.reserved)?;
        snapshots::insert(tx, &row)?;
        if let Some(alias) = &alias {
            snapshot_aliases::insert(tx, alias)?;
        }
        operations::begin(tx, &operation)
    })?;
    Ok(before)
}

/// The image and the completion; what fails on the way is taken back. Says for how long writers were paused.
fn perform(
    core: &Core,
    caller: Option<&Caller>,
    volume: &VolumeRow,
    image: &Image,
    how: &How,
    begun: Begun,
) -> Result<(SnapshotRow, Option<Duration>)> {
    let Begun { row, operation, before } = begun;
    let done = effect(core, caller, volume, image, how, &row, operation).and_then(|paused| {
        let paths = pool::confirm(core, row.pool, &row.pool_name)?;
        let made = Made::Here { paused, before };
        complete(core, caller, &paths, row.clone(), operation, made).map(|row| (row, paused))
    });
    done.inspect_err(|_| {
        if !core.frozen.keeps(operation)
            && let Err(left) = undo(core, &row, operation)
        {
            tracing::warn!(snapshot = row.title(), %left, "an unfinished snapshot is taken back later");
        }
    })
}

/// The files, up to the description. Says for how long writers were paused.
fn effect(
    core: &Core,
    caller: Option<&Caller>,
    volume: &VolumeRow,
    image: &Image,
    how: &How,
    row: &SnapshotRow,
    operation: OperationId,
) -> Result<Option<Duration>> {
    fault::point(Point::SnapshotRecorded)?;
    let object = object(row);
    let paths = pool::confirm(core, row.pool, &row.pool_name)?;
    durable::create_dir_all(&paths.snapshot(row.id), 0o700).on(&object)?;
    let path = paths.snapshot_image(row.id);
    let copy = Copy::begin(image.path(), &path, &object)?;
    fault::point(Point::SnapshotBegun)?;
    let meter = (!how.shared).then(|| core.running.begin(operation, "snapshot", &object, caller));
    let paused = if how.frozen {
        let bound = if how.shared { copy::SHARED_WITHIN } else { copy::copied_within(how.allocated) };
        let base = core.places.base(volume.id);
        let ((), paused) = frozen::while_frozen(core, operation, &[&base], bound, &object, || {
            fault::point(Point::SnapshotFrozen)?;
            write(&copy, meter.as_ref())?;
            fault::point(Point::SnapshotCopied)
        })?;
        Some(paused)
    } else {
        if how.written {
            // Sharing the blocks is of one moment: what is written meanwhile waits for it.
            image_device::flush(image)?;
        }
        write(&copy, meter.as_ref())?;
        fault::point(Point::SnapshotCopied)?;
        None
    };
    fault::point(Point::SnapshotThawed)?;
    copy.flush()?;
    fault::point(Point::SnapshotFlushed)?;
    Ok(paused)
}

fn write(copy: &Copy<'_>, meter: Option<&Meter<'_>>) -> Result<()> {
    match meter {
        Some(meter) => copy.write(meter),
        None => copy.share_at_once(),
    }
}

/// When the images came to be whole.
pub(crate) enum Made {
    /// By whoever completes it.
    Here {
        /// For how long writers were paused.
        paused: Option<Duration>,
        /// What its room is asked of.
        before: Before,
    },
    /// Before everything ended: it is kept, whatever it takes.
    Earlier,
}

impl Made {
    pub(super) fn parts(self) -> (Option<Duration>, Option<Before>) {
        match self {
            Self::Here { paused, before } => (paused, Some(before)),
            Self::Earlier => (None, None),
        }
    }
}

/// The description and the record. Also what recovery does for an image that is whole.
pub(crate) fn complete(
    core: &Core,
    caller: Option<&Caller>,
    paths: &PoolPaths,
    mut row: SnapshotRow,
    operation: OperationId,
    made: Made,
) -> Result<SnapshotRow> {
    let object = object(&row);
    row.state = SnapshotState::Active;
    row.updated_at = Core::now();
    if let Ok(space) = host_image::space(&paths.snapshot_image(row.id)) {
        row.reserved = Size::from_bytes(space.allocated);
    }
    describe::write_ahead(core, paths, &row)?;
    durable::sync_directory(&paths.snapshots()).on(&object)?;
    fault::point(Point::SnapshotDescribed)?;
    let (paused, before) = made.parts();
    let how = told_how(row.consistency, paused);
    let message = format!(
        "snapshot {} is made of volume {}/{}{how}",
        row.title(),
        row.workspace,
        row.manifest.snapshot.volume
    );
    let told = event("SnapshotCreated", message).of_snapshot(&row).by_any(caller);
    core.store.write(move |tx| {
        if let Some(before) = &before {
            before.admit_rest(tx, &row)?;
        }
        snapshots::update(tx, &mut row)?;
        operations::finish(tx, operation)?;
        events::append(tx, &told)?;
        Ok(row)
    })
}

/// What is told of the moment that a snapshot is of.
pub(super) fn told_how(consistency: Consistency, paused: Option<Duration>) -> String {
    match (consistency, paused) {
        (Consistency::Detached, _) => ", which was not in use".to_owned(),
        (Consistency::Filesystem, Some(paused)) => {
            format!("; its writers were paused for {} ms", paused.as_millis())
        }
        (Consistency::Filesystem, None) => String::new(),
        (Consistency::Crash, _) => {
            ", which was in use as a block device: as after a crash of its users".to_owned()
        }
    }
}

/// Takes back what was begun: the files, then the record. Nobody ever had it. Nothing of ours is frozen
/// any more: what is, another program froze.
pub(crate) fn undo(core: &Core, row: &SnapshotRow, operation: OperationId) -> Result<()> {
    // A commit that failed may have happened: what is active now is not taken back.
    let now = core.store.read(|r| snapshots::by_id(r, row.id))?;
    if now.is_some_and(|now| now.state != SnapshotState::Pending) {
        return Ok(());
    }
    let paths = pool::confirm(core, row.pool, &row.pool_name)?;
    super::delete::remove(&paths, row)?;
    let message = format!("snapshot {} was not made, and what was begun of it is gone", row.title());
    let (id, told) = (row.id, event("SnapshotUndone", message).of_snapshot(row).warning());
    core.store.write(move |tx| {
        snapshots::delete(tx, id)?;
        operations::finish(tx, operation)?;
        events::append(tx, &told)
    })?;
    Ok(())
}

/// Thaws the volume's filesystem if a snapshot that did not end left it frozen, and says whether so.
pub(crate) fn thaw(core: &Core, row: &SnapshotRow) -> Result<bool> {
    let base = core.places.base(row.volume);
    match mount::mounted_at(&base) {
        Ok(Some(_)) => freeze::thaw(&base).on(&object(row)),
        Ok(None) => Ok(false),
        Err(error) if error.is_not_found() => Ok(false),
        // Whether it is frozen is not known: whoever asks has to come again.
        Err(error) => Err(failure(&error, &object(row))),
    }
}
