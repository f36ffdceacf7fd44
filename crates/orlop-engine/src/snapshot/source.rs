//! What a new volume is made from: a snapshot or another volume of its workspace. It gets a copy of the
//! image, and the filesystem in it a UUID of its own.

use std::path::PathBuf;

use orlop_model::{
    Error, ErrorKind, FilesystemChoice, OperationId, PoolId, PoolName, Result, Size, VolumeMode,
    VolumeSource, VolumeSpec, WorkspaceName,
};
use orlop_sys::{capability, filesystem, filesystem::FsKind, freeze, image as host_image};
use uuid::Uuid;

use super::{
    again, by_id,
    copy::{self, Copy},
    find, object, usable,
};
use crate::{
    admission::human,
    authority,
    backend::image::{
        Image,
        attach::{self as image_attach, Remaining, remaining},
        device as image_device, health, kernel_kind, replacement,
    },
    core::{self, Core, rule},
    fault::{self, Point},
    format::{ImagePlacement, Origin, Placement},
    host::On,
    locks::{Deadline, Held, Lock},
    pool,
    reconcile::{self, frozen},
    request::{Caller, SnapshotKey, SourceId, VolumeKey, VolumeRef},
    store::{PoolRow, SnapshotRow, VolumeRow, volumes},
};

/// The data that a volume begins with. Nobody changes or deletes it while this lives.
pub(crate) struct Source {
    pub(crate) origin: Origin,
    pub(crate) placement: ImagePlacement,
    pub(crate) pool: PoolId,
    pub(crate) pool_name: PoolName,
    pub(crate) size: Size,
    /// The size that its filesystem was made with.
    pub(crate) created_size: Size,
    path: PathBuf,
    /// The volume that it is, where it is none of the snapshots; and whether it may be written now: it is
    /// mounted, or there as a block device.
    volume: Option<(VolumeRow, bool)>,
    _held: Held,
}

/// Looks it up, and waits until nobody else works on it.
///
/// # Errors
/// [`ErrorKind::Recovering`] where others do until the deadline.
pub(crate) fn look_up(
    core: &Core,
    caller: &Caller,
    workspace: &WorkspaceName,
    source: &VolumeSource,
    deadline: Deadline,
) -> Result<Source> {
    match source {
        VolumeSource::Snapshot(name) => {
            let row = find(core, &SnapshotKey { workspace: workspace.clone(), name: name.clone() })?;
            of_snapshot(core, caller, row, deadline)
        }
        VolumeSource::Volume(name) => {
            let key = VolumeKey { workspace: workspace.clone(), name: name.clone() };
            of_volume(core, caller, core.row(&VolumeRef::Key(key))?, deadline)
        }
    }
}

/// The same by id.
pub(crate) fn look_up_id(
    core: &Core,
    caller: &Caller,
    source: SourceId,
    deadline: Deadline,
) -> Result<Source> {
    match source {
        SourceId::Snapshot(id) => of_snapshot(core, caller, by_id(core, id)?, deadline),
        SourceId::Volume(id) => of_volume(core, caller, core.row(&VolumeRef::Id(id))?, deadline),
    }
}

fn of_snapshot(core: &Core, caller: &Caller, row: SnapshotRow, deadline: Deadline) -> Result<Source> {
    let workspace = core.workspace(&row.workspace)?;
    authority::rule_snapshot(caller, &rule(&workspace), row.owner_uid, &row.title())?;
    let held = core.locks.take(Lock::Snapshot(row.id), deadline)?;
    let row = again(core, &row)?;
    usable(&row)?;
    let Placement::Image(placement) = row.detail.clone();
    let path = pool::confirm(core, row.pool, &row.pool_name)?.snapshot_image(row.id);
    let marks = row.source.iter().flat_map(|origin| origin.marks.clone()).chain([row.volume]).collect();
    Ok(Source {
        origin: Origin {
            snapshot: Some(row.id),
            volume: row.volume,
            named: object(&row),
            at: Core::now(),
            marks,
        },
        placement,
        pool: row.pool,
        pool_name: row.pool_name,
        created_size: core
            .store
            .read(|r| volumes::by_id(r, row.volume))?
            .map_or(row.size, |volume| volume.created_size.min(row.size)),
        size: row.size,
        path,
        volume: None,
        _held: held,
    })
}

fn of_volume(core: &Core, caller: &Caller, row: VolumeRow, deadline: Deadline) -> Result<Source> {
    core.authorise(caller, &row)?;
    let held = core.locks.take(Lock::Volume(row.id), deadline)?;
    let row = reconcile::leftovers::settled(core, core.again(row.id)?)?;
    core::usable(&row)?;
    pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let image = core.image(&row)?;
    health::examine(&image)?;
    let used = image_attach::is_used(&image, &core.places.base(row.id))?;
    if !used && remaining(&image)? != Remaining::Nobody {
        return Err(Error::new(
            ErrorKind::InUse,
            format!("volume {} was detached, but somebody still holds it", row.title()),
        )
        .object(&image.object)
        .hint("end what holds it, then apply again"));
    }
    Ok(Source {
        origin: Origin {
            snapshot: None,
            volume: row.id,
            named: image.object.clone(),
            at: Core::now(),
            marks: image.marks.iter().copied().chain([row.id]).collect(),
        },
        placement: image.placement.clone(),
        pool: row.placement.pool,
        pool_name: row.placement.pool_name.clone(),
        size: row.placement.size,
        created_size: row.created_size,
        path: image.path,
        volume: Some((row, used)),
        _held: held,
    })
}

impl Source {
    /// Whether what is asked for can be made of it in that pool.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] and [`ErrorKind::Unsupported`], naming the field.
    pub(crate) fn check(&self, core: &Core, spec: &VolumeSpec, pool: &PoolRow) -> Result<()> {
        let named = &self.origin.named;
        let invalid =
            |field: &str, message: String| Error::new(ErrorKind::InvalidArgument, message).object(field);
        let mode = if self.placement.is_device() { VolumeMode::Block } else { VolumeMode::Filesystem };
        if spec.volume_mode != mode {
            let message =
                format!("the volumeMode of {named} is {mode}, and a volume made from it has the same");
            return Err(invalid("volume.volumeMode", message).hint(format!("say volumeMode: {mode}")));
        }
        if let Some(kind) = self.placement.filesystem().map(|filesystem| filesystem.kind)
            && spec.filesystem != FilesystemChoice::Auto
            && spec.filesystem.resolve(spec.size) != kind
        {
            let message =
                format!("the filesystem of {named} is {kind}, and a volume made from it has the same");
            return Err(invalid("volume.filesystem", message).hint("leave filesystem out"));
        }
        if spec.preallocate {
            let message =
                format!("a volume made from {named} shares its blocks, so they can't be taken beforehand");
            return Err(Error::new(ErrorKind::Unsupported, message)
                .object("volume.preallocate")
                .hint("leave preallocate out"));
        }
        if spec.size < self.size {
            let message = format!("the size {} is less than that of {named}, {}", spec.size, self.size);
            return Err(invalid("volume.size", message).hint(format!("use {} or more", self.size)));
        }
        let shares = || self.pool == pool.id && core.pools.can(pool).is_some_and(|can| can.reflink);
        match &self.volume {
            Some((row, true)) if !shares() => Err(self.unshared(row)?),
            Some(_) | None => Ok(()),
        }
    }

    /// Makes the image of the new volume, with a filesystem of its own identity. Not flushed. What was
    /// had as a block device is copied as it is.
    pub(crate) fn make(
        &self,
        core: &Core,
        caller: &Caller,
        image: &Image,
        operation: OperationId,
    ) -> Result<()> {
        let object = &image.object;
        let kind = self.placement.filesystem().map(|filesystem| kernel_kind(filesystem.kind));
        // Of a snapshot once for all volumes that are ever made from it.
        if let (None, Some(kind)) = (&self.volume, kind) {
            self.settle_log(kind, &self.path, object)?;
        }
        let copy = Copy::begin(&self.path, image.path(), object)?;
        let shared = capability::probe(&image.directory).on(object)?.reflink && self.pool_holds(core, image);
        match &self.volume {
            Some((row, true)) => self.copy_used(core, row, &copy, shared, operation, object)?,
            Some((_, false)) | None => {
                if !(shared && copy.share()?) {
                    copy.write(&core.running.begin(operation, "clone", object, Some(caller)))?;
                }
            }
        }
        fault::point(Point::CreateCopied)?;
        let Some(kind) = kind else { return Ok(()) };
        self.settle_log(kind, image.path(), object)?;
        filesystem::set_uuid(image.path(), kind, Uuid::now_v7().into_bytes()).on(object)
    }

    /// Lets the copy grow to the size of its volume, where that is larger. Nobody knows the volume yet:
    /// what breaks off here is taken back as a whole.
    pub(crate) fn enlarge(
        &self,
        core: &Core,
        caller: &Caller,
        image: &Image,
        operation: OperationId,
    ) -> Result<()> {
        if image.size <= self.size.bytes() {
            return Ok(());
        }
        replacement::grown(image, &core.running.begin(operation, "clone", &image.object, Some(caller)))?;
        fault::point(Point::CreateEnlarged)
    }

    fn pool_holds(&self, core: &Core, image: &Image) -> bool {
        core.pools
            .paths(self.pool, &self.pool_name)
            .is_ok_and(|paths| image.directory.starts_with(paths.root()))
    }

    fn copy_used(
        &self,
        core: &Core,
        row: &VolumeRow,
        copy: &Copy<'_>,
        shared: bool,
        operation: OperationId,
        object: &str,
    ) -> Result<()> {
        if !shared {
            return Err(self.unshared(row)?);
        }
        if self.placement.is_device() {
            image_device::flush(&core.image(row)?)?;
            fault::point(Point::CreateFrozen)?;
            return self.share(copy, object);
        }
        let base = core.places.base(row.id);
        let share = || {
            fault::point(Point::CreateFrozen)?;
            self.share(copy, object)
        };
        let ((), paused) =
            frozen::while_frozen(core, operation, &[&base], copy::SHARED_WITHIN, object, share)?;
        tracing::info!(volume = row.title(), milliseconds = paused.as_millis() as u64, "writers were paused");
        Ok(())
    }

    /// Why a volume in use can't be copied into a pool that doesn't share its blocks.
    fn unshared(&self, row: &VolumeRow) -> Result<Error> {
        let allocated = host_image::space(&self.path).on(&self.origin.named)?.allocated;
        let message = format!(
            "volume {} is in use, and its blocks can't be shared: its writers would wait while {} are copied",
            row.title(),
            human(allocated)
        );
        Ok(Error::new(ErrorKind::Unsupported, message).object(&self.origin.named).hint(
            if self.placement.is_device() {
                "stop what uses it first; or keep volumes on XFS with reflink or on btrfs"
            } else {
                "stop what uses it first; or make a snapshot of it with --pause-writers, and the volume from that"
            },
        ))
    }

    fn share(&self, copy: &Copy<'_>, object: &str) -> Result<()> {
        if copy.share()? {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Host,
            format!("{object}: blocks can't be shared with {}", self.origin.named),
        )
        .object(object)
        .hint("try again"))
    }

    fn settle_log(&self, kind: FsKind, path: &std::path::Path, object: &str) -> Result<()> {
        if filesystem::log_is_clean(path, kind).on(object)? {
            return Ok(());
        }
        filesystem::replay_log(path, kind, self.placement.loop_block_size).map_err(|error| {
            if health::is_of_the_image(&error) {
                return Error::new(
                    ErrorKind::Damaged,
                    format!(
                        "{object} can't be made: the filesystem of {} can't be mounted: {error}",
                        self.origin.named
                    ),
                )
                .object(&self.origin.named)
                .hint("make it from another snapshot");
            }
            crate::host::failure(&error, object)
        })
    }
}

/// Thaws the volume that a clone was being made of, and says whether it was frozen.
pub(crate) fn thaw(core: &Core, clone: &VolumeRow) -> Result<bool> {
    let Some(origin) = clone.source.as_ref().filter(|origin| origin.snapshot.is_none()) else {
        return Ok(false);
    };
    if core.store.read(|r| volumes::by_id(r, origin.volume))?.is_none() {
        return Ok(false);
    }
    let base = core.places.base(origin.volume);
    match orlop_sys::mount::mounted_at(&base) {
        Ok(Some(_)) => freeze::thaw(&base).on(&origin.named),
        Ok(None) => Ok(false),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(crate::host::failure(&error, &origin.named)),
    }
}
