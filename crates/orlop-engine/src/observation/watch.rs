//! Looking at what is used, from time to time: thresholds that were crossed are told of, and what is
//! seen is kept for the last day. All that one look finds is one write.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::SignedDuration;
use orlop_model::{FilesystemKind, Result, VolumeId, VolumeUsage};
use orlop_sys::space;

use super::{
    device,
    threshold::{Crossing, step},
    usage,
};
use crate::{
    admission::human,
    core::Core,
    events::event,
    store::{
        self, AttachedRow, NewEvent, PoolRow, events, pools, samples,
        thresholds::{self, Measure, Subject, Told},
        volumes,
    },
    volume::health,
};

/// So long samples are kept.
pub(crate) const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// One figure that has thresholds.
#[derive(Debug, Clone, Copy)]
struct Figure {
    measure: Measure,
    used: u64,
    capacity: u64,
}

/// A threshold that holds now, and the event that tells of it.
struct Change {
    subject: Subject,
    measure: Measure,
    percent: u8,
    event: NewEvent,
}

/// How many warnings each filesystem in use had when it was last looked at.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Mutex<HashMap<VolumeId, u64>>);

/// Tells of thresholds that were crossed since the last look, of filesystems that warn and of block devices
/// that went, and has volumes looked at whose filesystem met an error.
pub(crate) fn look(core: &Core) -> Result<()> {
    let (told, attached, pools) =
        core.store.read(|r| Ok((thresholds::all(r)?, volumes::attached(r)?, pools::all(r)?)))?;
    let seen = attached.iter().filter_map(|row| Some((row, usage::live(core, row.id)?)));
    let seen: Vec<(&AttachedRow, VolumeUsage)> = seen.collect();
    let mut noticed = warned(core, &seen);
    noticed.extend(device::lost(core, &attached)?);
    let abnormal: Vec<_> =
        seen.iter().filter(|(_, seen)| seen.is_abnormal()).map(|(row, _)| row.id).collect();
    let mut changes = Vec::new();
    for (row, seen) in &seen {
        let subject = Subject::Volume(row.id);
        let name = format!("volume {}/{}", row.key.workspace, row.key.name);
        for figure in figures_of_volume(row.filesystem, seen) {
            let event = |figure: &Figure, crossing| tell(&name, figure, crossing).of_attached(row);
            changes.extend(change(&told, subject, figure, event));
        }
    }
    for row in &pools {
        let name = format!("pool {}", row.name);
        for figure in figures_of_pool(core, row) {
            let event = |figure: &Figure, crossing| tell(&name, figure, crossing).in_pool(&row.name);
            changes.extend(change(&told, Subject::Pool(row.id), figure, event));
        }
    }
    if !abnormal.is_empty() {
        for row in core.store.read(|r| volumes::by_ids(r, &abnormal))? {
            health::look(core, &row);
        }
    }
    if changes.is_empty() && noticed.is_empty() {
        return Ok(());
    }
    core.store.write(move |tx| {
        for event in &noticed {
            events::append(tx, event)?;
        }
        for change in &changes {
            // What was deleted meanwhile is nobody's concern any more.
            if thresholds::set(tx, change.subject, change.measure, change.percent)? {
                events::append(tx, &change.event)?;
            }
        }
        Ok(())
    })
}

/// Events of filesystems that warned since the last look. What one had before it was first looked at
/// is not news.
fn warned(core: &Core, seen: &[(&AttachedRow, VolumeUsage)]) -> Vec<NewEvent> {
    let mut known = core.warnings.0.lock().unwrap_or_else(PoisonError::into_inner);
    let counted = seen.iter().filter_map(|(row, seen)| Some((*row, seen.filesystem_warnings?)));
    let now: HashMap<VolumeId, u64> = counted.clone().map(|(row, count)| (row.id, count)).collect();
    let before = std::mem::replace(&mut *known, now);
    drop(known);
    let more = counted.filter_map(|(row, count)| {
        let more = count.saturating_sub(*before.get(&row.id)?);
        (more > 0).then(|| {
            let message = format!(
                "the filesystem of volume {}/{} gave {more} warning(s), as it does when writes fail: see the kernel's log (dmesg)",
                row.key.workspace, row.key.name
            );
            event("FilesystemWarning", message).of_attached(row).warning()
        })
    });
    more.collect()
}

/// Records how full the volumes in use are, and forgets what is older than a day.
pub(crate) fn sample(core: &Core) -> Result<()> {
    let attached = core.store.read(volumes::attached)?;
    let seen: Vec<_> = attached.iter().filter_map(|row| Some((row.id, usage::live(core, row.id)?))).collect();
    if seen.is_empty() {
        return Ok(());
    }
    let day = Core::now() - KEPT;
    core.store.write(move |tx| {
        for (id, seen) in &seen {
            store::usage::record(tx, *id, seen)?;
        }
        samples::prune(tx, day)
    })
}

/// An XFS makes inodes of free space: that it runs out of them is said by its bytes.
fn figures_of_volume(filesystem: Option<FilesystemKind>, seen: &VolumeUsage) -> Vec<Figure> {
    let bytes = Figure {
        measure: Measure::Bytes,
        used: seen.used_bytes,
        // Not the capacity: what is kept back for root is not there for others.
        capacity: seen.used_bytes.saturating_add(seen.available_bytes),
    };
    let inodes = Figure { measure: Measure::Inodes, used: seen.inodes_used, capacity: seen.inodes };
    match filesystem {
        Some(FilesystemKind::Ext4) => vec![bytes, inodes],
        Some(FilesystemKind::Xfs) => vec![bytes],
        None => Vec::new(),
    }
}

/// None of a pool that is not there.
fn figures_of_pool(core: &Core, row: &PoolRow) -> Vec<Figure> {
    let Ok(room) = core.rooms.current(core, row) else { return Vec::new() };
    let reserved = Figure { measure: Measure::Reserved, used: room.reserved, capacity: room.limit() };
    let disk = space::usage(&row.path).ok().map(|disk| Figure {
        measure: Measure::Disk,
        used: disk.used,
        capacity: disk.used.saturating_add(disk.available),
    });
    std::iter::once(reserved).chain(disk).collect()
}

fn change(
    told: &Told,
    subject: Subject,
    figure: Figure,
    event: impl Fn(&Figure, Crossing) -> NewEvent,
) -> Option<Change> {
    let before = told.get(&(subject, figure.measure)).copied().unwrap_or(0);
    let (percent, crossing) = step(before, figure.used, figure.capacity);
    let event = event(&figure, crossing?);
    Some(Change { subject, measure: figure.measure, percent, event })
}

fn tell(name: &str, figure: &Figure, crossing: Crossing) -> NewEvent {
    let percent = u128::from(figure.used) * 100 / u128::from(figure.capacity.max(1));
    let sizes = || format!("{} of {}", human(figure.used), human(figure.capacity));
    let message = match figure.measure {
        Measure::Bytes => format!("{name} is {percent} % full: {} used", sizes()),
        Measure::Inodes => {
            format!("{name} has {percent} % of its inodes in use: {} of {}", figure.used, figure.capacity)
        }
        Measure::Reserved => format!("{name} has promised {percent} % of what it may: {}", sizes()),
        Measure::Disk => format!("the disk under {name} is {percent} % full: {} used", sizes()),
    };
    match crossing {
        Crossing::Below(step) => event(&format!("Below{step}Percent"), message),
        Crossing::Above(step @ 95..) => event(&format!("Above{step}Percent"), message).error(),
        Crossing::Above(step) => event(&format!("Above{step}Percent"), message).warning(),
    }
}

impl NewEvent {
    /// It concerns that volume.
    fn of_attached(mut self, row: &AttachedRow) -> Self {
        self.workspace = Some(row.key.workspace.clone());
        self.volume = Some(row.key.name.clone());
        self.volume_id = Some(row.id);
        self.in_pool(&row.pool)
    }
}
