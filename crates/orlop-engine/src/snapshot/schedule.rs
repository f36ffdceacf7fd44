//! Snapshots that a volume's manifest asks for, made when they are due, and those whose time is over.
//!
//! When a schedule is due next is recorded. What was missed while the daemon did not run is due at its
//! start, once. A snapshot that can't be made is told of and skipped: the next one is due in its turn.
//! Of a volume that others work on it is made when they have ended, at the latest when the next is due:
//! nobody waits for it here, for others are due too.

use std::time::{Duration, Instant};

use std::collections::BTreeMap;

use jiff::Timestamp;
use orlop_model::{
    ErrorKind, Result, Retain, SnapshotManifest, SnapshotPolicy,
    resource::{SnapshotState, VolumeState},
};

use super::{
    create::{self, New},
    delete, group, naming, retention,
};
use crate::{
    core::Core,
    events::{event, note},
    expiry::Over,
    locks::{Deadline, Lock},
    request::SnapshotKey,
    store::{SnapshotRow, VolumeRow, schedules, snapshots, volumes},
};

/// Does all that is due. With `anew`, what is not due is looked at too: a clock that was ahead has left times
/// that are later than the schedule says.
pub(crate) fn tend(core: &Core, anew: bool) -> Result<()> {
    let now = Core::now();
    for row in core.store.read(schedules::all)? {
        if core.signal.is_stopping() {
            return Ok(());
        }
        let waits = row.due_at.filter(|due| *due > now);
        if waits.is_some() && !anew {
            continue;
        }
        let Some(volume) = core.store.read(|r| volumes::by_id(r, row.volume))? else { continue };
        let Some(policy) = volume.manifest.volume.snapshots.clone() else { continue };
        if let Some(due) = waits {
            if let Some(next) = policy.schedule.next_after(now).filter(|next| *next < due) {
                core.store.write(move |tx| schedules::set(tx, row.volume, next))?;
            }
            continue;
        }
        // A schedule that is new or was changed begins with its next time.
        if let Some(due) = row.due_at
            && !run(core, &volume, &policy, now, due)?
        {
            continue;
        }
        // Counted from after it was made: a schedule never runs behind itself.
        if let Some(next) = policy.schedule.next_after(Core::now()) {
            core.store.write(move |tx| schedules::set(tx, row.volume, next))?;
        }
    }
    let mut groups = BTreeMap::new();
    let rows = core.store.read(|r| snapshots::expired(r, now))?;
    let over = |row: &SnapshotRow| Over { id: row.id, since: row.created_at, kept: kept(row) };
    let over: Vec<_> = rows.iter().map(over).collect();
    let ripe = core.expired_snapshots.ripe(&over, now, Instant::now());
    for row in rows.into_iter().filter(|row| ripe.contains(&row.id)) {
        match row.group {
            Some(group) => drop(groups.insert(group.id, group)),
            None => {
                let is_over = |row: &SnapshotRow| Ok(row.expires_at.is_some_and(|at| at <= now));
                remove(core, &row, "its time is over", is_over)?;
            }
        }
    }
    for group in groups.values() {
        another_time(group::delete::expire(core, group, now))?;
    }
    Ok(())
}

/// How long it was to be kept.
fn kept(row: &SnapshotRow) -> Duration {
    let kept = row.expires_at.map(|at| at.duration_since(row.created_at));
    kept.and_then(|kept| kept.try_into().ok()).unwrap_or_default()
}

/// Makes the one that was due then, and deletes what the schedule does not keep. False where others work
/// on the volume: it is to be tried again soon.
fn run(
    core: &Core,
    volume: &VolumeRow,
    policy: &SnapshotPolicy,
    now: Timestamp,
    due: Timestamp,
) -> Result<bool> {
    match volume.state {
        VolumeState::Active => {}
        VolumeState::Pending | VolumeState::Deleting | VolumeState::Released | VolumeState::Error => {
            return Ok(true);
        }
    }
    if let Err(error) = make(core, volume, now) {
        if error.kind == ErrorKind::Store {
            return Err(error);
        }
        let next = policy.schedule.next_after(due);
        if error.kind == ErrorKind::Recovering && next.is_none_or(|next| next > now) {
            return Ok(false);
        }
        let message = format!("no snapshot of volume {} was made by its schedule: {error}", volume.title());
        note(core, event("SnapshotSkipped", message).of(volume).warning());
        // Old ones stay while no new ones come.
        return Ok(true);
    }
    let made: Vec<SnapshotRow> = core.store.read(|r| snapshots::of_volume(r, volume.id))?;
    let made_until = Core::now();
    let scheduled: Vec<_> = made
        .iter()
        .filter(|row| row.scheduled && row.state == SnapshotState::Active)
        .map(|row| (row.id, row.created_at))
        // Those of a clock that was ahead would be the newest, and all that is made since surplus.
        .filter(|(_, at)| *at <= made_until)
        .collect();
    let surplus = retention::surplus(&scheduled, &policy.keep);
    // Deleting takes its time: what is to be kept may have been changed.
    let is_told = |_: &SnapshotRow| {
        let volume = core.store.read(|r| volumes::by_id(r, volume.id))?;
        Ok(volume.is_some_and(|volume| volume.manifest.volume.snapshots.as_ref() == Some(policy)))
    };
    for row in made.iter().filter(|row| surplus.contains(&row.id)) {
        remove(core, row, "no rule of its schedule keeps it", is_told)?;
    }
    Ok(true)
}

fn make(core: &Core, volume: &VolumeRow, now: Timestamp) -> Result<()> {
    let mut at = now;
    loop {
        let Some(name) = naming::dated(volume.manifest.name.as_str(), at) else { return Ok(()) };
        let key = SnapshotKey { workspace: volume.workspace.clone(), name: name.clone() };
        let _name = core.locks.take(Lock::SnapshotName(key.clone()), Deadline::after(Duration::ZERO))?;
        if core.store.read(|r| snapshots::by_key(r, &key))?.is_some() {
            // Names of volumes that begin alike were cut.
            at += jiff::SignedDuration::from_secs(1);
            continue;
        }
        let manifest = SnapshotManifest::new(name, volume.manifest.name.clone(), Retain::Forever);
        let new = New {
            workspace: volume.workspace.clone(),
            manifest,
            scheduled: true,
            pause_writers: false,
            alias: None,
        };
        let begin = Instant::now();
        // By id: it may have been renamed, and its name be another's, since it was due.
        let made = create::create_of(core, None, volume.id, new, Deadline::after(Duration::ZERO));
        // That others were at it is no attempt.
        if matches!(&made, Err(error) if error.kind == ErrorKind::Recovering) {
            return made.map(drop);
        }
        return core.tally.count("snapshot.scheduled", begin.elapsed(), made).map(drop);
    }
}

/// Where `still` says so of what it is now. One that is being read or deleted goes another time.
fn remove(
    core: &Core,
    row: &SnapshotRow,
    why: &str,
    still: impl Fn(&SnapshotRow) -> Result<bool>,
) -> Result<()> {
    let Some(_held) = core.locks.try_take(Lock::Snapshot(row.id)) else { return Ok(()) };
    let now = core.store.read(|r| snapshots::by_id(r, row.id))?;
    let Some(row) = now.filter(|now| matches!(now.state, SnapshotState::Active | SnapshotState::Error))
    else {
        return Ok(());
    };
    if !still(&row)? {
        return Ok(());
    }
    another_time(delete::begin(core, None, row, why))
}

fn another_time(deleted: Result<()>) -> Result<()> {
    match deleted {
        Err(error) if error.kind == ErrorKind::Store => Err(error),
        Err(error) => {
            tracing::warn!(%error, "a snapshot is deleted another time");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
