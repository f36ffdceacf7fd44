//! Work that nobody waits for: volumes that were marked as deleting, mounts that linger, the health of
//! attached images, what stuck half-way, the room of pools, how full all of it is, what is to be wiped or purged, blanks, and
//! snapshots; and whom events are told to. A few threads; each sleeps until there is something to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use orlop_model::{Error, ErrorKind, Result, VolumeId, resource::VolumeState};

use crate::{
    attachment::detach::{self, Released},
    blank,
    core::Core,
    locks::Lock,
    notify,
    observation::watch,
    pool::{medium, room, share},
    reconcile::{descriptions, operations},
    request::VolumeQuery,
    snapshot,
    store::{attachments, volumes},
    volume::{delete, health, purge, wipe},
};

const RETRY: Duration = Duration::from_secs(5);
const CAPACITY: Duration = Duration::from_secs(10);
/// A minute is the shortest time between two snapshots of a schedule.
const SCHEDULES: Duration = Duration::from_secs(2);
/// So often, and at the start, times that were recorded by a clock that was ahead are looked for.
const CLOCK: Duration = Duration::from_secs(3600);
/// XFS gives up the blocks of a removed file some time after it: what shared them is looked at again.
const FREED_WITHIN: Duration = Duration::from_secs(3);
const HEALTH: Duration = Duration::from_secs(30);
/// So often the use of volumes is recorded: 288 times a day.
const SAMPLE: Duration = Duration::from_secs(300);
/// Blanks wait this long after a creation, so that a burst of them is not slowed down.
const BLANK_DELAY: Duration = Duration::from_millis(500);

/// How others tell the background what there is to do.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    /// Something may be done that waited.
    due: bool,
    blanks: bool,
    /// Volumes of which something is mounted, or held, without an attachment.
    lingering: BTreeSet<VolumeId>,
    /// Volumes whose snapshots or own image may take more or less for themselves than was recorded.
    shared: BTreeSet<VolumeId>,
    /// Volumes whose image looked wrong to somebody who only listed them.
    suspects: BTreeSet<VolumeId>,
}

impl Signal {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something that was waited for may have happened.
    pub(crate) fn wake(&self) {
        self.state().due = true;
        self.changed.notify_all();
    }

    pub(crate) fn blanks_wanted(&self) {
        self.state().blanks = true;
        self.changed.notify_all();
    }

    /// Remembers a volume that is held without an attachment; says whether that is news.
    pub(crate) fn linger(&self, id: VolumeId) -> bool {
        self.state().lingering.insert(id)
    }

    pub(crate) fn forget(&self, id: VolumeId) {
        self.state().lingering.remove(&id);
    }

    /// What the volume and its snapshots take for themselves changed.
    pub(crate) fn shares(&self, id: VolumeId) {
        self.state().shared.insert(id);
        self.changed.notify_all();
    }

    /// Has a volume looked at soon.
    pub(crate) fn suspect(&self, id: VolumeId) {
        self.state().suspects.insert(id);
    }

    pub(crate) fn stop(&self) {
        self.state().stopping = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.state().stopping
    }

    /// An event was told: somebody may want to pass it on.
    pub(crate) fn told(&self) {
        // The lock makes sure that nobody is between looking and sleeping.
        let _state = self.state();
        self.changed.notify_all();
    }

    /// Sleeps until `woken` holds or for so long. Says whether to go on.
    pub(crate) fn sleep_until(&self, most: Duration, woken: impl Fn() -> bool) -> bool {
        self.sleep(most, |_| woken())
    }

    /// Sleeps until woken or for so long. Says whether to go on.
    fn sleep(&self, most: Duration, woken: impl Fn(&mut State) -> bool) -> bool {
        let end = Instant::now() + most;
        let mut state = self.state();
        loop {
            if state.stopping {
                return false;
            }
            let left = end.saturating_duration_since(Instant::now());
            if woken(&mut state) || left.is_zero() {
                return true;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What is done from time to time.
type Work = fn(&Core) -> Result<()>;
/// What a thread does until it is told to stop.
type Body = Box<dyn FnOnce(&Core) + Send>;

/// Starts all threads. They end when told to.
///
/// # Errors
/// [`ErrorKind::HostLimit`] where the host has no more threads.
pub(crate) fn start(core: &Arc<Core>) -> Result<Vec<JoinHandle<()>>> {
    notify::begin(core)?;
    let mut bodies: Vec<(String, Body)> = vec![
        ("orlop-tend".to_owned(), Box::new(tend_all)),
        ("orlop-blanks".to_owned(), Box::new(tend_blanks)),
        ("orlop-snapshots".to_owned(), Box::new(tend_snapshots)),
    ];
    for (index, told) in core.config.notify.iter().cloned().enumerate() {
        bodies.push((format!("orlop-notify-{index}"), Box::new(move |core| notify::tell(core, &told))));
    }
    let start = |(name, body): (String, Body)| {
        let core = Arc::clone(core);
        std::thread::Builder::new().name(name).spawn(move || body(&core))
    };
    bodies.into_iter().map(start).collect::<Result<_, _>>().map_err(|error: std::io::Error| {
        core.signal.stop();
        Error::new(ErrorKind::HostLimit, format!("could not start a thread: {error}"))
            .hint("raise the limit of tasks (TasksMax, ulimit -u)")
    })
}

fn tend_all(core: &Core) {
    let pause = RETRY.min(core.config.observe_every);
    let mut watches: [(Duration, Work, Option<Instant>); 7] = [
        (CAPACITY, room::watch, None),
        (HEALTH, look_at_some, None),
        (CAPACITY, medium::bring_all, None),
        (core.config.observe_every, watch::look, None),
        (SAMPLE, watch::sample, None),
        (CAPACITY, share::watch, None),
        (CAPACITY, purge::expire, None),
    ];
    logged("looking at all images", look_at_all(core));
    logged("describing what is there", descriptions::bring_up_to_date(core));
    loop {
        logged("finishing deletions", finish_deletions(core));
        logged("settling what stuck", operations::tend(core));
        take_down_lingering(core);
        for (period, work, at) in &mut watches {
            if at.is_none_or(|at| at.elapsed() >= *period) {
                logged("watching", work(core));
                *at = Some(Instant::now());
            }
        }
        let wipe = wipe::tend(core).unwrap_or_else(|error| {
            tracing::warn!(%error, "looking at what is to be wiped");
            RETRY
        });
        if !core.signal.sleep(wipe.min(pause), |state| std::mem::take(&mut state.due)) {
            return;
        }
    }
}

fn tend_snapshots(core: &Core) {
    let mut again: BTreeMap<VolumeId, Instant> = BTreeMap::new();
    let mut clock: Option<Instant> = None;
    loop {
        let anew = clock.is_none_or(|at| at.elapsed() >= CLOCK);
        logged("making and deleting snapshots", snapshot::schedule::tend(core, anew));
        if anew {
            clock = Some(Instant::now());
        }
        let mut shared = std::mem::take(&mut core.signal.state().shared);
        let now = Instant::now();
        let due: Vec<VolumeId> = again.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        again.retain(|_, at| *at > now);
        again.extend(shared.iter().map(|id| (*id, now + FREED_WITHIN)));
        shared.extend(due);
        logged("looking at shared blocks", snapshot::shared::refresh(core, shared));
        if !core.signal.sleep(SCHEDULES, |state| !state.shared.is_empty()) {
            return;
        }
    }
}

fn tend_blanks(core: &Core) {
    loop {
        if !core.signal.sleep(HEALTH, |state| std::mem::take(&mut state.blanks)) {
            return;
        }
        if core.config.blanks == 0 || !core.signal.sleep(BLANK_DELAY, |_| false) {
            continue;
        }
        while !core.signal.is_stopping() {
            match blank::tend(core) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "could not prepare a blank");
                    break;
                }
            }
        }
    }
}

/// A failure here is retried with the next round.
fn logged(what: &str, result: Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "{what}");
    }
}

fn finish_deletions(core: &Core) -> Result<()> {
    for row in core.store.read(|r| volumes::in_state(r, VolumeState::Deleting))? {
        let Some(_held) = core.locks.try_take(Lock::Volume(row.id)) else { continue };
        let Some(row) = core.store.read(|r| volumes::by_id(r, row.id))? else { continue };
        if row.state == VolumeState::Deleting
            && let Err(error) = delete::resume(core, None, row)
        {
            tracing::warn!(%error, "a deletion goes on later");
        }
    }
    Ok(())
}

fn take_down_lingering(core: &Core) {
    let lingering = core.signal.state().lingering.clone();
    for id in lingering {
        let Some(_held) = core.locks.try_take(Lock::Volume(id)) else { continue };
        // One that fails keeps no other mounted.
        logged("taking down what lingers", take_down_one(core, id));
    }
}

fn take_down_one(core: &Core, id: VolumeId) -> Result<()> {
    let (row, left) = core.store.read(|r| Ok((volumes::by_id(r, id)?, attachments::of_volume(r, id)?)))?;
    match row {
        Some(row) if left.is_empty() => {
            detach::take_down(core, &row, &core.image(&row)?)?;
        }
        Some(row) => {
            if detach::trim(core, &row, &core.image(&row)?, &left)? == Released::Free {
                core.signal.forget(id);
            }
        }
        None => core.signal.forget(id),
    }
    Ok(())
}

/// The images of volumes in use, those that are known to be wrong, and those that are suspected.
fn look_at_some(core: &Core) -> Result<()> {
    let suspects = std::mem::take(&mut core.signal.state().suspects);
    let rows = core.store.read(|r| {
        let mut ids: BTreeSet<VolumeId> = attachments::all(r)?.into_iter().map(|a| a.volume).collect();
        ids.extend(volumes::in_state(r, VolumeState::Error)?.into_iter().map(|row| row.id));
        ids.extend(suspects);
        let ids: Vec<VolumeId> = ids.into_iter().collect();
        if ids.is_empty() { Ok(Vec::new()) } else { volumes::by_ids(r, &ids) }
    })?;
    for row in rows {
        health::look(core, &row);
    }
    Ok(())
}

/// All images, once: somebody may have touched them while the daemon did not run.
fn look_at_all(core: &Core) -> Result<()> {
    for released in [false, true] {
        let mut query = VolumeQuery { released, ..VolumeQuery::default() };
        loop {
            let page = core.store.read(|r| volumes::page(r, &query))?;
            for row in &page.items {
                if core.signal.is_stopping() {
                    return Ok(());
                }
                health::look(core, row);
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
    }
    Ok(())
}
