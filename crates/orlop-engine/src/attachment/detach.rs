//! A consumer leaves: its record goes, with the last one of its front the front's path, and with the
//! last of all the mount and the loop device.
//!
//! The last unmount can fail, since something in our own namespace sits in the mount, or leave the
//! device with another namespace. Then the volume lingers: nothing is forced, the record stays true,
//! and it is tried again (`linger`).

use std::time::{Duration, Instant};

use orlop_model::{AttachmentId, OperationId, Result, Size, VolumeId, VolumeUsage, resource::VolumeState};
use orlop_sys::{DeviceNumber, SysError, mount};

use super::{kernel, publish, stale};
use crate::{
    backend::image::{Image, attach as image_attach, attach::Remaining, device as image_device},
    core::Core,
    events::{event, note},
    fault::{self, Point},
    locks::{Deadline, Lock},
    observation::usage,
    request::{Caller, VolumeRef},
    store::{AttachmentRow, Intent, NewEvent, VolumeRow, attachments, events, operations, volumes},
    volume::temp,
};

/// How taking down a volume ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Released {
    /// Nobody has it: it has no loop device.
    Free,
    /// Somebody still has it, in words.
    Held(String),
}

/// How an attachment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Its consumer said so, to a daemon that runs.
    WithWord,
    /// It is taken back, or recovery ends it.
    Undone,
}

/// See [`crate::Engine::detach`].
pub(crate) fn detach(
    core: &Core,
    caller: &Caller,
    which: &VolumeRef,
    scope: &str,
    leave: Leave,
    deadline: Deadline,
) -> Result<()> {
    let row = core.row(which)?;
    core.authorise(caller, &row)?;
    let _held = core.locks.take(Lock::Volume(row.id), deadline)?;
    let row = core.again(row.id)?;
    let node = &core.config.node;
    let found = core.store.read(|r| attachments::find(r, row.id, node, caller.front, scope))?;
    let Some(attachment) = found else { return Ok(()) };
    let image = core.image(&row)?;
    end(core, caller, &row, &image, attachment, leave, || Ok(()))
}

/// Ends one attachment. `unbind` takes away the consumer's own mount, where it has one; when that
/// fails, nothing has changed. The caller holds the volume's lock.
pub(crate) fn end(
    core: &Core,
    caller: &Caller,
    row: &VolumeRow,
    image: &Image,
    attachment: AttachmentRow,
    leave: Leave,
    unbind: impl FnOnce() -> Result<()>,
) -> Result<()> {
    // An attempt that failed before has left its entry.
    let operation_id = match attempts(core, row.id, attachment.id)?.first() {
        Some(begun) => *begun,
        None => {
            let target = attachment.target.as_ref().filter(|_| !attachment.staged);
            let target = target.map(|target| target.display().to_string());
            let intent = Intent::Detach { attachment: attachment.id, target };
            let operation = core.operation(Some(caller), Some(row.id), intent);
            let id = operation.id;
            core.store.write(move |tx| operations::begin(tx, &operation))?;
            id
        }
    };
    let unbound = fault::point(Point::DetachRecorded).and_then(|()| unbind());
    if let Err(error) = unbound {
        core.store.write(move |tx| operations::finish(tx, operation_id))?;
        return Err(error);
    }
    let done = finish(core, Some(caller), row, image, &attachment, leave, operation_id);
    if done.is_err() {
        // What was unbound is not bound again: the consumer is gone. The background ends the record,
        // or the next detach does.
        core.signal.wake();
    }
    done?;
    fault::point(Point::DetachDone)
}

/// What the journal has of attempts to end that attachment.
pub(super) fn attempts(core: &Core, volume: VolumeId, attachment: AttachmentId) -> Result<Vec<OperationId>> {
    let journal = core.store.read(|r| operations::of_volume(r, volume))?;
    let of_it =
        |intent: &Intent| matches!(intent, Intent::Detach { attachment: ended, .. } if *ended == attachment);
    Ok(journal.into_iter().filter(|entry| of_it(&entry.intent)).map(|entry| entry.id).collect())
}

/// What remains of a detach after the consumer's own mount is gone. Also what recovery does.
pub(crate) fn finish(
    core: &Core,
    caller: Option<&Caller>,
    row: &VolumeRow,
    image: &Image,
    attachment: &AttachmentRow,
    leave: Leave,
    operation: OperationId,
) -> Result<()> {
    fault::point(Point::DetachUnbound)?;
    // Only who leaves with a word, told to a daemon that runs, leaves a temp volume vacant.
    let mut vacant = None;
    let mut others = core.store.read(|r| attachments::of_volume(r, row.id))?;
    others.retain(|other| other.id != attachment.id);
    if !others.is_empty() {
        // Ids that nothing backs must not keep the volume mounted.
        others = stale::survey_but(core, caller, row, image, Some(attachment.id))?.attachments;
        others.retain(|other| other.id != attachment.id);
    }
    if others.is_empty() {
        let free = take_down(core, row, image)? == Released::Free;
        vacant = temp::grace(row).filter(|_| free && leave == Leave::WithWord).map(|_| vacated(row));
        fault::point(Point::DetachUnmounted)?;
    } else {
        trim(core, row, image, &others)?;
    }
    let (volume, is_vacant) = (row.id, vacant.is_some());
    let told = event("Detached", format!("{} left volume {}", attachment.consumer, row.title()))
        .of(row)
        .by_any(caller);
    let id = attachment.id;
    core.store.write(move |tx| {
        if attachments::delete(tx, id)? {
            events::append(tx, &told)?;
            if let Some(vacant) = vacant {
                volumes::vacate(tx, volume, Some(vacant.at))?;
                events::append(tx, &vacant)?;
            }
        }
        operations::finish(tx, operation)
    })?;
    if is_vacant {
        core.countdowns.changed();
        core.signal.wake();
    }
    if row.state == VolumeState::Deleting {
        core.signal.wake();
    }
    Ok(())
}

fn vacated(row: &VolumeRow) -> NewEvent {
    let message = format!(
        "nobody uses volume {} any more: its data is wiped in {}, unless somebody attaches it",
        row.title(),
        row.temp_grace
    );
    event("WipeScheduled", message).of(row)
}

/// After a failed attach: what nobody uses is taken down, and the entry of the journal goes.
pub(crate) fn undo(core: &Core, row: &VolumeRow, image: &Image, operation: Option<OperationId>) {
    let undone = (|| {
        let left = core.store.read(|r| attachments::of_volume(r, row.id))?;
        if left.is_empty() {
            take_down(core, row, image)?
        } else {
            trim(core, row, image, &left)?
        };
        match operation {
            Some(id) => core.store.write(move |tx| operations::finish(tx, id)),
            None => Ok(()),
        }
    })();
    if let Err(error) = undone {
        tracing::warn!(volume = row.title(), %error, "a failed attach is undone later");
    }
}

/// Unmounts a volume that no attachment needs, records what it takes, and says who still has it.
/// The caller holds the volume's lock.
///
/// # Errors
/// Where the host fails; that somebody still uses it is no error.
pub(crate) fn take_down(core: &Core, row: &VolumeRow, image: &Image) -> Result<Released> {
    if image.is_device() {
        return let_go(core, row, image);
    }
    let base = core.places.base(row.id);
    let mounted = match mount::mounted_at(&base) {
        Ok(mounted) => mounted.is_some(),
        Err(error) if error.is_not_found() => false,
        Err(error) => return Err(crate::host::failure(&error, &image.object)),
    };
    let seen = if mounted { usage::live(core, row.id) } else { None };
    if mounted {
        core.frozen.let_go(&base, &image.object)?;
    }
    if let Released::Held(who) = publish::unpublish(core, image, &[])? {
        return Ok(linger(core, row, who));
    }
    match image_attach::unstage(&base) {
        Ok(()) => {}
        Err(SysError::Busy { .. }) => return Ok(linger(core, row, publish::sitters(&base))),
        Err(error) => return Err(crate::host::failure(&error, &image.object)),
    }
    core.places.clear(row.id);
    let remaining = image_attach::remaining(image)?;
    if mounted {
        observe(core, row.id, image, seen)?;
    }
    released(core, row, image, remaining)
}

/// The same of a block device.
fn let_go(core: &Core, row: &VolumeRow, image: &Image) -> Result<Released> {
    if image_attach::own_device(image)?.is_none() {
        core.places.clear(row.id);
        // Somebody may have made a device on a part of it.
        let remaining = image_attach::remaining(image)?;
        return released(core, row, image, remaining);
    }
    image_device::flush(image)?;
    image_device::let_go(image, &core.places.node(row.id))?;
    core.places.clear(row.id);
    fault::point(Point::DetachLetGo)?;
    let remaining = image_attach::remaining(image)?;
    observe(core, row.id, image, None)?;
    released(core, row, image, remaining)
}

fn released(core: &Core, row: &VolumeRow, image: &Image, remaining: Remaining) -> Result<Released> {
    match remaining {
        Remaining::Nobody => {
            core.signal.forget(row.id);
            Ok(Released::Free)
        }
        Remaining::Somebody(device) => {
            let who = who_has(core, row, image, device)?;
            Ok(linger(core, row, who))
        }
    }
}

/// The same, and waits a moment for what the kernel clears away in the background: the namespace of a
/// container that ended.
pub(crate) fn take_down_patiently(core: &Core, row: &VolumeRow, image: &Image) -> Result<Released> {
    let begin = Instant::now();
    loop {
        let released = take_down(core, row, image)?;
        let settled = released == Released::Free
            || image_attach::staged(image, &core.places.base(row.id))?.is_some()
            || begin.elapsed() >= image_attach::CLEARED_WITHIN;
        if settled {
            return Ok(released);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Those who have a device that nothing of ours needs, in words.
pub(crate) fn who_has(core: &Core, row: &VolumeRow, image: &Image, device: DeviceNumber) -> Result<String> {
    let view = kernel::look(&core.places, row.id, &[device], &[], &image.object)?;
    Ok(match view.holders().as_slice() {
        [] => kernel::unseen(device),
        holders => holders.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    })
}

/// Who has the block device of a volume that is only kept ready, in words, if somebody has. The caller holds
/// the volume's lock.
pub(crate) fn had_while_kept(core: &Core, row: &VolumeRow, image: &Image) -> Result<Option<String>> {
    let device = image_device::in_other_hands(image, &core.places.node(row.id))?;
    device.map(|device| who_has(core, row, image, device)).transpose()
}

/// Takes away the paths of fronts that have no attachment any more, while others go on. The caller
/// holds the volume's lock.
pub(crate) fn trim(core: &Core, row: &VolumeRow, image: &Image, left: &[AttachmentRow]) -> Result<Released> {
    Ok(match publish::unpublish(core, image, left)? {
        Released::Free => Released::Free,
        Released::Held(who) => linger(core, row, who),
    })
}

/// Remembers what is mounted without an attachment, and tells of it once.
fn linger(core: &Core, row: &VolumeRow, who: String) -> Released {
    if core.signal.linger(row.id) {
        note(
            core,
            event(
                "Lingering",
                format!("volume {} is still held by one who is not recorded: {who}", row.title()),
            )
            .of(row)
            .warning(),
        );
    }
    Released::Held(who)
}

/// Records what the volume holds and what its image takes.
fn observe(core: &Core, id: VolumeId, image: &Image, seen: Option<VolumeUsage>) -> Result<()> {
    let allocated = image.taken().map(Size::from_bytes);
    core.store.write(move |tx| volumes::observe(tx, id, seen.as_ref(), allocated))
}
