//! Attachments against the kernel, at start: mounts that are still there are adopted, attachments
//! whose mount is gone are dropped, and mounts that no attachment needs are taken down.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use orlop_model::{ErrorKind, Result, VolumeId};
use orlop_sys::{mount, mountinfo};

use crate::{
    attachment::{
        attach, detach,
        kernel::{KernelView, Snapshot},
        node, publish, stale,
    },
    backend::image::{Image, attach as image_attach},
    core::Core,
    events::{event, note},
    host::{On, failure},
    request::Recovery,
    store::{AttachmentRow, VolumeRow, attachments, volumes},
    volume::state,
};

/// Reconciles all volumes that have attachments or mounts; idle ones are not looked at.
pub(crate) fn recover(core: &Core, recovery: &mut Recovery) -> Result<()> {
    let mut recorded: BTreeMap<VolumeId, Vec<AttachmentRow>> = BTreeMap::new();
    for attachment in core.store.read(attachments::all)? {
        recorded.entry(attachment.volume).or_default().push(attachment);
    }
    let ids: Vec<VolumeId> = recorded.keys().copied().collect();
    let rows = if ids.is_empty() { Vec::new() } else { core.store.read(|r| volumes::by_ids(r, &ids))? };
    let counts = Mutex::new((0, 0));
    let kernel = if rows.is_empty() { None } else { Some(Snapshot::take()?) };
    in_parallel(core.config.recovery_parallelism, &rows, |row| {
        let attached = recorded.get(&row.id).cloned().unwrap_or_default();
        let Some(kernel) = &kernel else { return Ok(()) };
        match reconcile(core, kernel, row, attached) {
            Ok((adopted, dropped)) => {
                let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                counts.0 += adopted;
                counts.1 += dropped;
                Ok(())
            }
            // What is wrong with one volume is recorded with it, and keeps no other from its start.
            Err(error) if error.kind == ErrorKind::Store => Err(error),
            Err(error) => {
                tracing::error!(volume = row.title(), %error, "could not recover a volume");
                let told = event(
                    "RecoveryFailed",
                    format!("volume {} could not be recovered: {error}", row.title()),
                );
                note(core, told.of(row).error());
                Ok(())
            }
        }
    })?;
    let (adopted, dropped) = *counts.lock().unwrap_or_else(PoisonError::into_inner);
    recovery.adopted += adopted;
    recovery.dropped += dropped;
    take_down_unneeded(core)
}

/// One volume that had attachments. How many of it were adopted (0 or 1) and dropped.
fn reconcile(
    core: &Core,
    kernel: &Snapshot,
    row: &VolumeRow,
    attached: Vec<AttachmentRow>,
) -> Result<(u64, u64)> {
    let image = core.image(row)?;
    let (here, rebooted): (Vec<_>, Vec<_>) =
        attached.into_iter().partition(|attachment| attachment.boot_id == core.boot_id);
    let mut dropped = rebooted.len() as u64;
    if !rebooted.is_empty() {
        stale::drop_all(core, None, row, rebooted, "the host was rebooted")?;
        if here.is_empty() {
            let replayed = replay(core, row, &image);
            state::settle(core, row, &image, replayed)?;
            return Ok((0, dropped));
        }
    }
    let targets: Vec<_> = here.iter().filter_map(|attachment| attachment.target.clone()).collect();
    let base = core.places.base(row.id);
    // What can't be told is not taken for gone: a front's attachments are dropped for that.
    let mounted = match mount::mounted_at(&base) {
        Ok(mounted) => mounted.map(|mounted| mounted.device),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(failure(&error, &image.object)),
    };
    let view = kernel.view(&core.places, &image, &targets, mounted)?;
    if mounted.is_some() && mounted != view.device {
        // Says what is wrong with it; those who use it go on with what they have.
        state::settle(core, row, &image, image_attach::staged(&image, &base))?;
    }
    let (live, gone): (Vec<_>, Vec<_>) =
        here.into_iter().partition(|attachment| is_live(core, attachment, &image, mounted.is_some(), &view));
    dropped += gone.len() as u64;
    if !gone.is_empty() {
        stale::drop_all(core, None, row, gone, "its mount is gone")?;
    }
    if live.is_empty() {
        detach::take_down(core, row, &image)?;
        return Ok((0, dropped));
    }
    if mounted.is_none() {
        // Somebody unmounted the base under consumers that still hold the device. A block device has
        // none: it is made sure that it stays.
        let staged = attach::stage(core, row, &image);
        state::settle(core, row, &image, staged)?;
    }
    // A crash while the paths of ids that nothing seems to back were closed leaves the ids without them
    // (`stale`), one during an attach leaves what nobody got.
    publish::publish_all(core, row, &image, &live)?;
    detach::trim(core, row, &image, &live)?;
    let who: Vec<&str> = live.iter().map(|attachment| attachment.consumer.as_str()).collect();
    note(
        core,
        event("Adopted", format!("volume {} goes on being used by {}", row.title(), who.join(", "))).of(row),
    );
    Ok((1, dropped))
}

fn is_live(core: &Core, attachment: &AttachmentRow, image: &Image, base: bool, view: &KernelView) -> bool {
    match &attachment.target {
        Some(staging) if attachment.staged => !node::is_gone(core, staging),
        Some(target) if image.is_device() => !node::device::is_gone(core, target, image),
        Some(target) => view.targets.contains(target),
        None => base || !view.consumers.is_empty(),
    }
}

/// After a reboot: mounts the volume once, so that its log is replayed before anybody waits for it.
fn replay(core: &Core, row: &VolumeRow, image: &Image) -> Result<()> {
    if image.is_device() {
        return Ok(());
    }
    attach::stage(core, row, image)?;
    detach::take_down(core, row, image)?;
    Ok(())
}

/// Mounts and mount points of ours that no attachment needs any more.
fn take_down_unneeded(core: &Core) -> Result<()> {
    let mounted: BTreeSet<VolumeId> = mountinfo::own()
        .on("mount table")?
        .iter()
        .filter_map(|mount| core.places.volume_of(&mount.mount_point))
        .chain(core.places.volumes()?)
        .collect();
    for id in mounted {
        let (row, needed) =
            core.store.read(|r| Ok((volumes::by_id(r, id)?, !attachments::of_volume(r, id)?.is_empty())))?;
        match row {
            Some(row) if !needed => {
                let image = core.image(&row)?;
                if let Err(error) = detach::take_down(core, &row, &image) {
                    tracing::warn!(volume = row.title(), %error, "a mount that nobody needs stays");
                }
            }
            Some(_) => {}
            None => {
                let place = core.places.volume(id);
                tracing::warn!(path = %place.display(), "mounted, and no record explains it");
                let message =
                    format!("{} is there, and no record explains it; it is left alone", place.display());
                note(core, event("UnaccountedMount", message).warning());
            }
        }
    }
    Ok(())
}

/// Runs `work` on all, at most so many at once. The first error ends it.
pub(crate) fn in_parallel<T: Sync>(
    most: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..most.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = work(item) {
                        next.store(items.len(), Ordering::Relaxed);
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
