//! The engine's face: one method an operation. What each does lives in the modules of that name.
//! Here are opening, readiness and the use of volumes; what else can be done is in the modules below.

mod changes;
mod following;
mod lifecycle;
mod node;
mod observation;
mod pools;
mod provision;
mod snapshots;
mod workspaces;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use orlop_model::{
    Error, ErrorKind, Result,
    resource::{Deletion, Front, Volume},
};
use orlop_sys::{SysError, durable, durable::FileLock, propagation, target::TargetRoot};

use crate::{
    attachment::{
        attach,
        detach::{self, Leave},
        host_mount,
        place::Places,
    },
    background::{self, Signal},
    blank::Blanks,
    core::Core,
    events::{self, About},
    expiry::Expiry,
    host::On,
    locks::{Deadline, Locks},
    observation::{device::Missing, watch::Warnings},
    pool::{Pools, room::Rooms, share::Shares},
    reconcile::{self, frozen::Frozen},
    request::*,
    running::Running,
    statistics::{self, Tally},
    store::{Store, StoreOptions, VolumeRow, pools as pool_rows},
    volume::{aliased, apply, delete, health::Watch, temp::Countdowns, view},
};

/// One engine over one state directory. Clones share it.
#[derive(Clone)]
pub struct Engine {
    handle: Arc<Handle>,
}

/// Ends the background with the last clone.
struct Handle {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Engine {
    /// Takes the lock of the state directory, migrates the store and opens the pools.
    pub fn open(config: EngineConfig) -> Result<Self> {
        let object = "state directory";
        durable::create_dir_all(&config.state_dir, 0o700).on(object)?;
        let state_dir = config.state_dir.canonicalize().map_err(|error| {
            Error::new(ErrorKind::Host, format!("can't find {}: {error}", config.state_dir.display()))
                .object(object)
        })?;
        let lock = take_lock(&state_dir)?;
        let boot_id = orlop_sys::host::boot_id().on("boot id")?;
        let options = StoreOptions {
            node: config.node.clone(),
            boot_id: boot_id.clone(),
            events_kept: config.events_kept,
        };
        let store = Store::open(&state_dir.join("orlop.db"), options)?;
        let places = Places::open(&config.mount_dir)?;
        let root = |path: &PathBuf| TargetRoot::open(path).on("kubelet root");
        let node_root = config.kubelet_root.as_ref().map(root).transpose()?;
        let pools = Pools::default();
        for row in store.read(pool_rows::all)? {
            pools.add(&row);
        }
        let core = Core {
            config,
            state_dir,
            boot_id,
            store,
            locks: Locks::default(),
            pools,
            rooms: Rooms::default(),
            places,
            node_root,
            blanks: Blanks::default(),
            countdowns: Countdowns::default(),
            expired_snapshots: Expiry::default(),
            expired_volumes: Expiry::default(),
            frozen: Frozen::default(),
            shares: Shares::default(),
            tally: Tally::default(),
            running: Running::default(),
            watch: Watch::default(),
            warnings: Warnings::default(),
            missing: Missing::default(),
            signal: Signal::default(),
            recovered: AtomicBool::new(false),
            problems: Mutex::new(Vec::new()),
            _lock: lock,
        };
        Ok(Self { handle: Arc::new(Handle { core: Arc::new(core), threads: Mutex::default() }) })
    }

    /// Compares store, disk and kernel, finishes or undoes what was begun. Called once, before readiness.
    pub fn recover(&self) -> Result<Recovery> {
        let core = self.core();
        *lock(&core.problems) = propagated(core);
        let recovery = reconcile::recover(core)?;
        *lock(&self.handle.threads) = background::start(&self.handle.core)?;
        Ok(recovery)
    }

    /// Whether the engine may be used: recovered, and mounts are seen by the host.
    pub fn readiness(&self) -> Readiness {
        let mut problems = lock(&self.core().problems).clone();
        let recovering = !self.core().is_recovered();
        if recovering {
            problems.push("it is still recovering".to_owned());
        }
        Readiness { problems, recovering }
    }

    /// Stops background work and flushes the store. Mounts stay.
    pub fn shutdown(&self) {
        self.handle.stop();
        self.core().places.close();
        if let Err(error) = self.core().store.close() {
            tracing::error!(%error, "the store could not be closed");
        }
    }

    /// Makes or changes a volume; returns when it is active.
    pub fn apply(&self, caller: &Caller, request: &ApplyRequest) -> Result<Applied<Volume>> {
        let what = format!("apply of {}/{}", request.workspace, request.manifest.name);
        let key = VolumeKey { workspace: request.workspace.clone(), name: request.manifest.name.clone() };
        self.told("apply", caller, &what, &VolumeRef::Key(key), |core| apply::apply(core, caller, request))
    }

    /// One volume.
    pub fn volume(&self, _: &Caller, which: &VolumeRef) -> Result<Volume> {
        view::one(self.core(), self.core().row(which)?)
    }

    /// A page of volumes.
    pub fn volumes(&self, _: &Caller, query: &VolumeQuery) -> Result<Page<Volume>> {
        view::page(self.core(), query)
    }

    /// Deletes a volume: destroys or releases its data by type. In use it is refused, or with
    /// `force` marked and finished after the last holder has gone.
    pub fn delete(&self, caller: &Caller, which: &VolumeRef, force: bool) -> Result<Deletion> {
        self.told("delete", caller, "delete", which, |core| {
            delete::delete(core, caller, which, force, Deadline::usual())
        })
    }

    /// Attaches a volume for a consumer. Waits at most `patience` for other work on the volume,
    /// then says [`ErrorKind::Recovering`].
    pub fn attach(&self, caller: &Caller, request: &AttachRequest, patience: Duration) -> Result<Attached> {
        let deadline = Deadline::after(patience);
        let what = format!("attach for {}", request.consumer);
        self.told("attach", caller, &what, &request.volume, |core| {
            attach::attach(core, caller, request, deadline)
        })
    }

    /// Ends one scope's use of a volume; of a scope that is not attached it succeeds.
    pub fn detach(&self, caller: &Caller, which: &VolumeRef, scope: &str, patience: Duration) -> Result<()> {
        let deadline = Deadline::after(patience);
        self.told("detach", caller, "detach", which, |core| {
            detach::detach(core, caller, which, scope, Leave::WithWord, deadline)
        })
    }

    /// Takes back an attach whose answer nobody heard: as [`Self::detach`], but nobody left.
    pub fn withdraw(
        &self,
        caller: &Caller,
        which: &VolumeRef,
        scope: &str,
        patience: Duration,
    ) -> Result<()> {
        let deadline = Deadline::after(patience);
        self.told("detach", caller, "detach", which, |core| {
            detach::detach(core, caller, which, scope, Leave::Undone, deadline)
        })
    }

    /// Where an attached volume is for that front's consumers; `None` when it is not attached.
    pub fn attached_path(&self, caller: &Caller, which: &VolumeRef) -> Result<Option<Attached>> {
        attach::attached_path(self.core(), caller, which)
    }

    /// Mounts a volume onto a directory of the host.
    pub fn mount(&self, caller: &Caller, request: &MountRequest) -> Result<Attached> {
        let what = format!("mount on {}", request.target.display());
        self.told("mount", caller, &what, &request.volume, |core| host_mount::mount(core, caller, request))
    }

    /// Ends a host mount.
    pub fn unmount(&self, caller: &Caller, target: &Path) -> Result<()> {
        let what = format!("unmount of {}", target.display());
        self.noted("unmount", caller, &what, About::Nothing, |core| host_mount::unmount(core, caller, target))
    }

    /// The volume that a front knows by that name: by alias, else `name` in `public`, else
    /// `workspace.name`. The same volume is found for ever under the same external name.
    pub fn resolve(&self, caller: &Caller, external: &str) -> Result<Option<Volume>> {
        aliased::resolve(self.core(), caller, external)
    }

    /// Makes the volume that a front asks for by its own name and records the alias; where the
    /// volume exists and agrees with what was said, records the alias alone.
    pub fn create_aliased(
        &self,
        caller: &Caller,
        request: &AliasedRequest,
        patience: Duration,
    ) -> Result<Applied<Volume>> {
        let deadline = Deadline::after(patience);
        let what = format!("create of {}", request.external);
        self.noted("create", caller, &what, About::Nothing, |core| {
            aliased::create(core, caller, request, deadline)
        })
    }

    /// The names by which a front may call the volumes it can use.
    pub fn aliased(&self, caller: &Caller) -> Result<Vec<Aliased>> {
        aliased::list(self.core(), caller)
    }

    /// Deletes what that front created under that name; anything else is refused. An unknown name succeeds.
    pub fn remove_aliased(&self, caller: &Caller, external: &str, patience: Duration) -> Result<()> {
        let deadline = Deadline::after(patience);
        self.noted("remove", caller, &format!("remove of {external}"), About::Nothing, |core| {
            aliased::remove(core, caller, external, deadline)
        })
    }

    /// Numbers for `/metrics`.
    pub fn statistics(&self) -> Statistics {
        statistics::read(self.core())
    }

    /// The front's own view of whom it serves, for messages.
    pub fn node(&self) -> &str {
        &self.core().config.node
    }

    /// Whether volumes made through this front may be removed by it.
    pub fn owns(front: Front, volume: &Volume) -> bool {
        volume.status.created_by == front
    }

    fn core(&self) -> &Core {
        &self.handle.core
    }

    /// Counts it, and refuses it before recovery has ended.
    fn run<T>(&self, operation: &'static str, work: impl FnOnce(&Core) -> Result<T>) -> Result<T> {
        let core = self.core();
        let start = Instant::now();
        let result = if core.is_recovered() { work(core) } else { Err(recovering()) };
        core.tally.count(operation, start.elapsed(), result)
    }

    /// The same, and records refusals with what they concern.
    fn noted<T>(
        &self,
        operation: &'static str,
        caller: &Caller,
        what: &str,
        about: About<'_>,
        work: impl FnOnce(&Core) -> Result<T>,
    ) -> Result<T> {
        let result = self.run(operation, work);
        if let Err(error) = &result {
            events::refusal(self.core(), caller, what, about, error);
        }
        result
    }

    /// The same of a volume, and explains what it waited for in vain.
    fn told<T>(
        &self,
        operation: &'static str,
        caller: &Caller,
        what: &str,
        which: &VolumeRef,
        work: impl FnOnce(&Core) -> Result<T>,
    ) -> Result<T> {
        let result = self.run(operation, work).map_err(|e| changes::explained(self.core(), which, e));
        if let Err(error) = &result {
            let row: Option<VolumeRow> = self.core().row(which).ok();
            let about = match (&row, which) {
                (Some(row), _) => About::Row(row),
                (None, VolumeRef::Key(key)) => About::Key(key),
                (None, VolumeRef::Id(_)) => About::Nothing,
            };
            events::refusal(self.core(), caller, what, about, error);
        }
        result
    }
}

impl Handle {
    fn stop(&self) {
        self.core.signal.stop();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn recovering() -> Error {
    Error::new(ErrorKind::Recovering, "the daemon is still recovering")
        .object("engine")
        .hint("retry in a moment")
}

/// Why mounts made here are not seen by the host, if so.
fn propagated(core: &Core) -> Vec<String> {
    let root = core.places.root();
    match propagation::probe(root) {
        Ok(found) if found.is_seen() => Vec::new(),
        Ok(found) => {
            vec![format!("mounts in {} are not seen by containers: {}", root.display(), found.reason())]
        }
        Err(error) => vec![format!("mounts in {} could not be tried out: {error}", root.display())],
    }
}

/// A daemon that just ended can have left a child between fork and exec, which has the lock for a
/// moment longer: it is waited for, a little.
fn take_lock(state_dir: &Path) -> Result<FileLock> {
    const ATTEMPTS: u32 = 10;
    const PAUSE: Duration = Duration::from_millis(50);
    let file = state_dir.join("lock");
    let mut attempt = 1;
    loop {
        match durable::lock_exclusive(&file) {
            Ok(lock) => return Ok(lock),
            Err(error) if error.is_busy() && attempt < ATTEMPTS => {
                attempt += 1;
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(locked(&error, state_dir)),
        }
    }
}

fn locked(error: &SysError, state_dir: &Path) -> Error {
    if error.is_busy() {
        return Error::new(
            ErrorKind::Locked,
            format!("another daemon uses {}: {error}", state_dir.display()),
        )
        .object("state directory")
        .hint("stop that one first, or give this one another --state-dir");
    }
    crate::host::failure(error, "state directory")
}
