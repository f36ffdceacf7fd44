//! Making snapshots of several volumes. The records, their reservations and one intent come first, in one
//! write; then the images and their descriptions, each flushed; then one write says `active` of all.
//!
//! All filesystems are frozen before the first image is copied and thawed after the last one. Volumes that
//! nobody uses don't change meanwhile. One that is had as a block device can't be frozen: it is of the
//! moment at which its image is copied, within the others' freeze. Two of those would be of two moments.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use orlop_model::{
    Error, ErrorKind, OperationId, Result, Retain, Size, SnapshotGroupId, SnapshotId, SnapshotManifest,
    SnapshotName, VolumeId, WorkspaceName,
    resource::{Outcome, SnapshotGroup, SnapshotState},
};
use orlop_sys::{capability, durable, image as host_image};
use uuid::Uuid;

use super::{distinct, object, settle, view};
use crate::{
    alias,
    backend::image::{Image, device as image_device, health},
    core::{self, Core},
    events::event,
    fault::{self, Point},
    format::Placement,
    host::On,
    locks::{Deadline, Held, Lock},
    pool,
    reconcile::{self, frozen},
    request::{Applied, Caller, SnapshotGroupRequest, SnapshotKey, VolumeKey, VolumeRef},
    snapshot::{
        copy::{self, Copy},
        create::{How, Made, allocated, told_how},
        describe, holder,
        hooks::{self, Concerns},
        object as snapshot_object, require_free,
        room::Before,
        view::tell_pause,
    },
    store::{
        Intent, NewEvent, SnapshotGroupRow, SnapshotRow, VolumeRow, events, operations, snapshot_groups,
        snapshots,
    },
    volume::aliased::unique,
};

/// Names with a random end are as good as unique; so often another is tried.
const ATTEMPTS: usize = 16;

/// What is to be made.
pub(super) struct New {
    pub(super) workspace: WorkspaceName,
    pub(super) name: SnapshotName,
    pub(super) volumes: BTreeSet<VolumeId>,
    pub(super) retain: Retain,
    pub(super) tags: Vec<String>,
    /// What the caller's front calls it.
    pub(super) known_as: Option<String>,
}

/// One of the volumes, and what is made of it.
struct Member {
    volume: VolumeRow,
    image: Image,
    how: How,
    row: SnapshotRow,
    _held: [Held; 2],
}

/// What is recorded before the files are there.
struct Begun {
    rows: Vec<SnapshotRow>,
    operation: OperationId,
    before: Before,
}

/// See [`crate::Engine::apply_snapshot_group`].
pub(crate) fn apply(
    core: &Core,
    caller: &Caller,
    request: &SnapshotGroupRequest,
) -> Result<Applied<SnapshotGroup>> {
    let names = distinct(&request.volumes)?;
    let key = SnapshotKey { workspace: request.workspace.clone(), name: request.name.clone() };
    let _name = core.locks.take(Lock::SnapshotName(key.clone()), Deadline::usual())?;
    let known = || core.store.read(|r| snapshot_groups::by_key(r, &key));
    if let Some(group) = known()? {
        reconcile::leftovers::settle_group(core, group.id, Deadline::usual())?;
    }
    if let Some(group) = known()? {
        return view::configure(core, caller, group, &names, request.retain);
    }
    let id = |name| {
        let key = VolumeKey { workspace: request.workspace.clone(), name };
        core.row(&VolumeRef::Key(key)).map(|row| row.id)
    };
    let new = New {
        workspace: request.workspace.clone(),
        name: request.name.clone(),
        volumes: names.into_iter().map(id).collect::<Result<_>>()?,
        retain: request.retain.unwrap_or_default(),
        tags: Vec::new(),
        known_as: None,
    };
    let resource = create(core, caller, new, Deadline::usual())?;
    Ok(Applied { outcome: Outcome::Created, changes: Vec::new(), resource })
}

/// Makes it. The caller holds the lock of the name.
pub(super) fn create(core: &Core, caller: &Caller, new: New, deadline: Deadline) -> Result<SnapshotGroup> {
    let id = SnapshotGroupId(Uuid::now_v7());
    let mut group = SnapshotGroupRow {
        id,
        workspace: new.workspace.clone(),
        name: new.name.clone(),
        created_by: caller.front,
        known_as: new.known_as.clone(),
        created_at: Core::now(),
    };
    let key = SnapshotKey { workspace: group.workspace.clone(), name: group.name.clone() };
    require_free(core, &key, &object(&group))?;
    let _group = core.locks.take(Lock::SnapshotGroup(id), deadline)?;
    let members = members(core, caller, &group, &new, deadline)?;
    writers_can_wait(&group, &members)?;

    let mut begun = Vec::new();
    let ran = members.iter().map(Member::concerns).try_for_each(|concerns| {
        let ran = hooks::before(core, &concerns);
        // The one that failed gets its second half too, as after any snapshot that was not made.
        begun.push(concerns);
        ran
    });
    let made = ran.and_then(|()| record(core, caller, &mut group, &members));
    let made = made.and_then(|begun| perform(core, caller, &group, &members, begun));
    begun.iter().for_each(|concerns| hooks::after(core, concerns, made.is_ok()));
    let (rows, paused) = made?;
    members.iter().for_each(|member| core.signal.shares(member.volume.id));
    fault::point(Point::SnapshotGroupDone)?;
    let mut made = view::of(group, rows);
    made.snapshots.iter_mut().for_each(|one| tell_pause(one, paused));
    Ok(made)
}

impl Member {
    fn concerns(&self) -> Concerns<'_> {
        Concerns { volume: &self.volume, snapshot: self.row.manifest.name.as_str() }
    }
}

/// The volumes, each locked and looked at, and the records of what is made of them.
fn members(
    core: &Core,
    caller: &Caller,
    group: &SnapshotGroupRow,
    new: &New,
    deadline: Deadline,
) -> Result<Vec<Member>> {
    for id in &new.volumes {
        core.authorise(caller, &core.row(&VolumeRef::Id(*id))?)?;
    }
    // In the order of their ids, as all who take several do.
    let lock = |id: &VolumeId| Ok((*id, core.locks.take(Lock::Volume(*id), deadline)?));
    let locked = new.volumes.iter().map(lock).collect::<Result<Vec<_>>>()?;
    let mut members = Vec::new();
    for (id, held) in locked {
        let volume = reconcile::leftovers::settled(core, core.again(id)?)?;
        core::usable(&volume)?;
        let image = core.image(&volume)?;
        if volume.workspace != new.workspace {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "volume {} is of another workspace than {}, and a group of snapshots is of one",
                    volume.title(),
                    new.workspace
                ),
            )
            .object(&image.object)
            .hint("make a group for each workspace"));
        }
        let paths = pool::confirm(core, volume.placement.pool, &volume.placement.pool_name)?;
        health::examine(&image)?;
        let shared = capability::probe(paths.root()).on(&image.object)?.reflink;
        if !shared {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "volume {} can't be in a group of snapshots: the filesystem of pool {} can't share blocks, and copying all data takes too long to be of one moment",
                    volume.title(),
                    volume.placement.pool_name
                ),
            )
            .object(&image.object)
            .hint("make a snapshot of each volume while none is in use; or keep volumes on XFS with reflink or on btrfs"));
        }
        let how = How::find(core, &volume, &image, shared, false)?;
        let row = row(core, caller, group, new, &volume, &image, &how)?;
        let _held = [held, core.locks.take(Lock::Snapshot(row.id), deadline)?];
        members.push(Member { volume, image, how, row, _held });
    }
    Ok(members)
}

/// The record of what is to be made of one.
fn row(
    core: &Core,
    caller: &Caller,
    group: &SnapshotGroupRow,
    new: &New,
    volume: &VolumeRow,
    image: &Image,
    how: &How,
) -> Result<SnapshotRow> {
    let name = free_name(core, new, volume.manifest.name.as_str())?;
    let mut manifest = SnapshotManifest::new(name, volume.manifest.name.clone(), new.retain);
    manifest.tags.clone_from(&new.tags);
    Ok(SnapshotRow {
        id: SnapshotId(Uuid::now_v7()),
        node: core.config.node.clone(),
        workspace: new.workspace.clone(),
        volume: volume.id,
        state: SnapshotState::Pending,
        reason: None,
        generation: 1,
        // It holds the data of whoever owns the volume.
        owner_uid: volume.owner_uid,
        created_by: caller.front,
        created_at: group.created_at,
        updated_at: group.created_at,
        expires_at: new.retain.until(group.created_at),
        manifest,
        scheduled: false,
        group: Some(group.clone()),
        consistency: how.consistency(),
        source: volume.source.clone(),
        pool: volume.placement.pool,
        pool_name: volume.placement.pool_name.clone(),
        size: volume.placement.size,
        reserved: Size::from_bytes(how.allocated),
        exclusive: Size::from_bytes(0),
        detail: Placement::Image(image.placement.clone()),
    })
}

/// A name for what is made of that volume, where nothing has it now. Who is faster to take it has it.
fn free_name(core: &Core, new: &New, volume: &str) -> Result<SnapshotName> {
    let (workspace, wanted) = (&new.workspace, format!("{}-{volume}", new.name));
    let mut name = wanted.parse::<SnapshotName>().ok();
    for _ in 0..ATTEMPTS {
        if let Some(name) = name {
            let key = SnapshotKey { workspace: workspace.clone(), name };
            if key.name != new.name && holder(core, &key)?.is_none() {
                return Ok(key.name);
            }
        }
        name = alias::another(&wanted, &unique(), SnapshotName::MAX_LENGTH).parse().ok();
    }
    Err(Error::new(ErrorKind::Conflict, "no free name was found").object("snapshot name").hint("try again"))
}

/// Refuses more than one volume that can't be made to wait.
fn writers_can_wait(group: &SnapshotGroupRow, members: &[Member]) -> Result<()> {
    let mut written = members.iter().filter(|member| member.how.written).map(|member| member.volume.title());
    let (Some(one), Some(other)) = (written.next(), written.next()) else { return Ok(()) };
    Err(Error::new(
        ErrorKind::InUse,
        format!(
            "volumes {one} and {other} are both in use as block devices: what writes to them can't be made to wait, so their snapshots would be of two moments"
        ),
    )
    .object(object(group))
    .hint("stop what uses all but one of them first; or make a snapshot of each, where one moment is not needed"))
}

/// The records, their reservations and the intent. They are of now, and not of before others were waited for:
/// they are kept for as long as was asked, and what a volume took over until now it may share with them.
fn record(core: &Core, caller: &Caller, group: &mut SnapshotGroupRow, members: &[Member]) -> Result<Begun> {
    let now = Core::now();
    group.created_at = now;
    let operation = core.operation(Some(caller), None, Intent::SnapshotGroup { group: group.id });
    let operation_id = operation.id;
    let mut rows = Vec::new();
    for Member { row, image, .. } in members {
        // The hooks may have had much written.
        rows.push(SnapshotRow {
            created_at: now,
            updated_at: now,
            expires_at: row.manifest.snapshot.retain.until(now),
            group: Some(group.clone()),
            reserved: Size::from_bytes(allocated(image)?),
            ..row.clone()
        });
    }
    let before = Before::gather(core, &rows)?;
    let (group, inserted, admitted) = (group.clone(), rows.clone(), before.clone());
    core.store.write(move |tx| {
        snapshot_groups::insert(tx, &group)?;
        for row in &inserted {
            // The sums that the insertions change: those of the group add up.
            admitted.admit(tx, row, row.reserved)?;
            snapshots::insert(tx, row)?;
        }
        operations::begin(tx, &operation)
    })?;
    Ok(Begun { rows, operation: operation_id, before })
}

/// The images and the completion; what fails on the way is taken back. Says for how long writers were paused.
fn perform(
    core: &Core,
    caller: &Caller,
    group: &SnapshotGroupRow,
    members: &[Member],
    begun: Begun,
) -> Result<(Vec<SnapshotRow>, Option<Duration>)> {
    let Begun { rows, operation, before } = begun;
    let done = effect(core, group, members, operation).and_then(|paused| {
        let made = Made::Here { paused, before };
        complete(core, Some(caller), rows, operation, made).map(|rows| (rows, paused))
    });
    done.inspect_err(|_| {
        if !core.frozen.keeps(operation)
            && let Err(left) = settle::undo(core, group.id, operation)
        {
            tracing::warn!(group = group.title(), %left, "an unfinished group is taken back later");
        }
    })
}

/// The images. Says for how long writers were paused, where any were.
fn effect(
    core: &Core,
    group: &SnapshotGroupRow,
    members: &[Member],
    operation: OperationId,
) -> Result<Option<Duration>> {
    fault::point(Point::SnapshotGroupRecorded)?;
    let mut places = Vec::new();
    for Member { row, .. } in members {
        let (paths, object) = (pool::confirm(core, row.pool, &row.pool_name)?, snapshot_object(row));
        durable::create_dir_all(&paths.snapshot(row.id), 0o700).on(&object)?;
        places.push((paths.snapshot_image(row.id), object));
    }
    let mut copies = Vec::new();
    for (member, (path, object)) in members.iter().zip(&places) {
        copies.push(Copy::begin(member.image.path(), path, object)?);
    }
    fault::point(Point::SnapshotGroupBegun)?;
    let written = || members.iter().filter(|member| member.how.written);
    // So that little is left of it while the others' writers wait.
    written().try_for_each(|member| image_device::flush(&member.image))?;
    let bases: Vec<_> = members
        .iter()
        .filter(|member| member.how.frozen)
        .map(|member| core.places.base(member.volume.id))
        .collect();
    let bases: Vec<&Path> = bases.iter().map(PathBuf::as_path).collect();
    let share_all = || {
        fault::point(Point::SnapshotGroupFrozen)?;
        // What was written to a block device before the last filesystem froze comes before what waits now.
        written().try_for_each(|member| image_device::flush(&member.image))?;
        if let Some((first, others)) = copies.split_first() {
            first.share_at_once()?;
            fault::point(Point::SnapshotGroupSharing)?;
            share(others)?;
        }
        fault::point(Point::SnapshotGroupShared)
    };
    let paused = if bases.is_empty() {
        share_all()?;
        None
    } else {
        let bound = copy::SHARED_WITHIN;
        let ((), paused) = frozen::while_frozen(core, operation, &bases, bound, &object(group), share_all)?;
        Some(paused)
    };
    fault::point(Point::SnapshotGroupThawed)?;
    copies.iter().try_for_each(Copy::flush)?;
    fault::point(Point::SnapshotGroupFlushed)?;
    Ok(paused)
}

/// Shares the blocks of all at the same time, in a thread each, for the writers wait for the last; where there
/// is no thread to be had, one after another.
fn share(copies: &[Copy<'_>]) -> Result<()> {
    std::thread::scope(|scope| {
        let begin = |copy| std::thread::Builder::new().spawn_scoped(scope, move || Copy::share_at_once(copy));
        let begun: Vec<_> = copies.iter().map(|copy| begin(copy).map_err(|_| copy)).collect();
        begun.into_iter().try_for_each(|begun| match begun {
            Ok(thread) => thread.join().unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Host, "a copy of an image came to no end").hint("try again"))
            }),
            Err(copy) => copy.share_at_once(),
        })
    })
}

/// The descriptions and the records. Also what recovery does for images that are all whole.
pub(super) fn complete(
    core: &Core,
    caller: Option<&Caller>,
    mut rows: Vec<SnapshotRow>,
    operation: OperationId,
    made: Made,
) -> Result<Vec<SnapshotRow>> {
    let (paused, before) = made.parts();
    let now = Core::now();
    for (at, row) in rows.iter_mut().enumerate() {
        let paths = pool::confirm(core, row.pool, &row.pool_name)?;
        (row.state, row.updated_at) = (SnapshotState::Active, now);
        if let Ok(space) = host_image::space(&paths.snapshot_image(row.id)) {
            row.reserved = Size::from_bytes(space.allocated);
        }
        describe::write_ahead(core, &paths, row)?;
        durable::sync_directory(&paths.snapshots()).on(&snapshot_object(row))?;
        if at == 0 {
            fault::point(Point::SnapshotGroupDescribing)?;
        }
    }
    fault::point(Point::SnapshotGroupDescribed)?;
    let told: Vec<_> = rows.iter().map(|row| told_of(row, rows.len(), paused).by_any(caller)).collect();
    core.store.write(move |tx| {
        for row in &mut rows {
            if let Some(before) = &before {
                before.admit_rest(tx, row)?;
            }
            snapshots::update(tx, row)?;
        }
        operations::finish(tx, operation)?;
        told.iter().try_for_each(|told| events::append(tx, told).map(drop))?;
        Ok(rows)
    })
}

fn told_of(row: &SnapshotRow, all: usize, paused: Option<Duration>) -> NewEvent {
    let group = row
        .group
        .as_ref()
        .map_or_else(String::new, |group| format!(", in group {} of {all} of one moment", group.title()));
    let message = format!(
        "snapshot {} is made of volume {}/{}{group}{}",
        row.title(),
        row.workspace,
        row.manifest.snapshot.volume,
        told_how(row.consistency, paused)
    );
    event("SnapshotCreated", message).of_snapshot(row)
}
