//! Blanks: images that are formatted ahead of need, so that a new volume is a rename. They belong to
//! nobody, count against nobody, and go when nobody wants them.
//!
//! The directory `blanks/` of each pool is the only list of them; what is here in memory is what it
//! holds and what was asked for lately.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use orlop_model::{FilesystemKind, PoolId, Result, Size};
use orlop_sys::durable;
use uuid::Uuid;

use crate::{
    backend::image::format as image_format,
    core::Core,
    directory::entries,
    fault::{self, Point},
    format::{BlankName, ImagePlacement, PoolPaths},
    host::On,
    locks::Lock,
    pool::{self, remove::is_blank, room},
    store::{PoolRow, pools},
};

/// Blanks of a kind that nobody asked for within this time go.
const WANTED_FOR: Duration = Duration::from_secs(3600);
/// So many kinds are kept at most; those asked for longest ago go first.
const KINDS: usize = 8;
/// The name of a blank that is being made ends with this, so that nobody takes it.
const UNFINISHED: &str = ".new";

/// For which volumes a blank will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub(crate) pool: PoolId,
    pub(crate) filesystem: FilesystemKind,
    pub(crate) size: Size,
}

/// What there is, and what is wanted.
#[derive(Debug, Default)]
pub(crate) struct Blanks {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ready: HashMap<Kind, Vec<BlankName>>,
    /// When it was last asked for, and how it is made; nothing of those that are there from before.
    wanted: HashMap<Kind, (Instant, Option<ImagePlacement>)>,
    /// The pools whose blanks were read. Before that nothing is made there.
    read: HashSet<PoolId>,
}

impl Blanks {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a blank of that kind, if there is one, and remembers that it was wanted.
    pub(crate) fn take(&self, kind: Kind, placement: &ImagePlacement) -> Option<BlankName> {
        let mut state = self.state();
        state.want(kind, Some(ImagePlacement { preallocated: false, ..placement.clone() }));
        state.ready.get_mut(&kind)?.pop()
    }

    /// One that was there at the start: it was wanted before.
    fn found(&self, kind: Kind, name: BlankName) {
        let mut state = self.state();
        state.want(kind, None);
        state.ready.entry(kind).or_default().push(name);
    }

    /// Whether those of a pool were read.
    fn is_read(&self, pool: PoolId) -> bool {
        self.state().read.contains(&pool)
    }

    /// Those of a pool are not read again.
    fn begin(&self, pool: PoolId) {
        self.state().read.insert(pool);
    }

    /// A blank that was taken and not used.
    pub(crate) fn give_back(&self, kind: Kind, name: BlankName) {
        self.state().ready.entry(kind).or_default().push(name);
    }

    /// The blanks of a pool that are ready.
    pub(crate) fn all(&self, pool: PoolId) -> Vec<BlankName> {
        let state = self.state();
        state
            .ready
            .iter()
            .filter(|(kind, _)| kind.pool == pool)
            .flat_map(|(_, names)| names.clone())
            .collect()
    }

    /// All blanks of a pool that is going away.
    pub(crate) fn forget(&self, pool: PoolId) {
        let mut state = self.state();
        state.ready.retain(|kind, _| kind.pool != pool);
        state.wanted.retain(|kind, _| kind.pool != pool);
        state.read.remove(&pool);
    }

    /// A kind that lacks a blank.
    fn lacking(&self, most: usize) -> Option<(Kind, ImagePlacement)> {
        let state = self.state();
        let lacks = |kind: &Kind| state.ready.get(kind).map_or(0, Vec::len) < most;
        let wanted = state.wanted.iter().filter(|(kind, _)| lacks(kind));
        let made = wanted.filter_map(|(kind, (at, placement))| Some((kind, at, placement.as_ref()?)));
        made.max_by_key(|(_, at, _)| **at).map(|(kind, _, placement)| (*kind, placement.clone()))
    }

    /// Blanks that nobody wants any more; they are forgotten here.
    fn unwanted(&self) -> Vec<(Kind, BlankName)> {
        let mut state = self.state();
        state.wanted.retain(|_, (at, _)| at.elapsed() < WANTED_FOR);
        let State { ready, wanted, read: _ } = &mut *state;
        let mut gone = Vec::new();
        ready.retain(|kind, names| {
            let keep = wanted.contains_key(kind);
            if !keep {
                gone.extend(names.drain(..).map(|name| (*kind, name)));
            }
            keep
        });
        gone
    }
}

impl State {
    fn want(&mut self, kind: Kind, placement: Option<ImagePlacement>) {
        self.wanted.insert(kind, (Instant::now(), placement));
        while self.wanted.len() > KINDS {
            let oldest = self.wanted.iter().min_by_key(|(_, (at, _))| *at).map(|(kind, _)| *kind);
            oldest.and_then(|kind| self.wanted.remove(&kind));
        }
    }
}

/// Reads which blanks there are, at start, in the pools that are there. A pool whose blanks can't be read
/// is told of: it has none until they can be.
pub(crate) fn load(core: &Core) -> Result<()> {
    for row in core.store.read(pools::all)? {
        if let Ok(paths) = pool::confirm(core, row.id, &row.name)
            && let Err(error) = load_of(core, &row, &paths)
        {
            pool::tell_unreadable(core, &row, &error);
        }
    }
    Ok(())
}

/// Those of one pool, where that was not done yet: it was missing until now. What a crash left half-made
/// is removed: it is ours by its place and its name, and was never anybody's. The caller holds the
/// pool's lock, or nothing else runs yet.
///
/// # Errors
/// [`orlop_model::ErrorKind::Host`] where they can't be read: whoever asks again reads them then.
pub(crate) fn load_of(core: &Core, row: &PoolRow, paths: &PoolPaths) -> Result<()> {
    if core.blanks.is_read(row.id) {
        return Ok(());
    }
    let mut usable = Vec::new();
    for (path, name) in entries(&paths.blanks())? {
        // Nothing else is ever made there.
        if !pool::look_at(&path)?.is_some_and(|found| found.is_file()) {
            continue;
        }
        match name.parse::<BlankName>() {
            Ok(blank) if core.config.blanks > 0 && blank.rule == image_format::RULE => {
                let kind = Kind { pool: row.id, filesystem: blank.filesystem, size: blank.size };
                usable.push((kind, blank));
            }
            Ok(blank) => remove(paths, &blank),
            Err(_) if name.strip_suffix(UNFINISHED).is_some_and(|name| name.parse::<BlankName>().is_ok()) => {
                let object = format!("pool {}", row.name);
                durable::remove_file(&path).on(&object)?;
            }
            Err(_) => {}
        }
    }
    core.blanks.begin(row.id);
    for (kind, blank) in usable {
        core.blanks.found(kind, blank);
    }
    Ok(())
}

/// Removes the blanks of a pool that comes from elsewhere: what may have been done to them nobody
/// knows, and a volume would begin with it. What is called so and is no file stays.
pub(crate) fn discard(paths: &PoolPaths, object: &str) -> Result<()> {
    let directory = paths.blanks();
    // Where it leads elsewhere, what is there is not of this pool.
    if !std::fs::symlink_metadata(&directory).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    for (path, name) in entries(&directory)? {
        let is_file = || std::fs::symlink_metadata(&path).is_ok_and(|found| !found.is_dir());
        if is_blank(&name) && is_file() {
            durable::remove_file(&path).on(object)?;
        }
    }
    Ok(())
}

/// Makes one blank that is lacking, and removes those that nobody wants. Says whether it made one.
pub(crate) fn tend(core: &Core) -> Result<bool> {
    for (kind, name) in core.blanks.unwanted() {
        if let Some(row) = core.store.read(|r| pools::by_id(r, kind.pool))? {
            remove(&PoolPaths::new(&row.path), &name);
        }
    }
    let most = usize::try_from(core.config.blanks).unwrap_or(usize::MAX);
    let Some((kind, placement)) = core.blanks.lacking(most) else { return Ok(false) };
    let Some(row) = core.store.read(|r| pools::by_id(r, kind.pool))? else { return Ok(false) };
    // Not while the pool is made, checked or taken away.
    let Some(_held) = core.locks.try_take(Lock::Pool(row.name.clone())) else { return Ok(false) };
    let paths = pool::confirm(core, row.id, &row.name)?;
    load_of(core, &row, &paths)?;
    if !has_room(core, &row, &placement)? {
        return Ok(false);
    }
    let name = BlankName {
        filesystem: kind.filesystem,
        size: kind.size,
        rule: image_format::RULE,
        id: Uuid::now_v7(),
    };
    let object = format!("a blank in pool {}", row.name);
    let path = paths.blank(&name);
    let unfinished = paths.blanks().join(format!("{name}{UNFINISHED}"));
    let made = image_format::make(&unfinished, kind.size.bytes(), &placement, &object)
        .and_then(|()| fault::point(Point::BlankFormatted))
        .and_then(|()| durable::rename_noreplace(&unfinished, &path).on(&object));
    if let Err(error) = made {
        let _ = durable::remove_file(&unfinished);
        return Err(error);
    }
    core.blanks.state().ready.entry(kind).or_default().push(name);
    Ok(true)
}

/// A blank takes little, but never what was promised or what is kept in reserve.
fn has_room(core: &Core, row: &PoolRow, placement: &ImagePlacement) -> Result<bool> {
    // An XFS log is written when it is made; an ext4 is less.
    let takes = match placement.filesystem().map(|filesystem| filesystem.kind) {
        Some(FilesystemKind::Ext4) => 16 << 20,
        Some(FilesystemKind::Xfs) => 128 << 20,
        None => 0,
    };
    let room = room::gather(core, row)?.room(row);
    let free = room.host_free.saturating_sub(room.low_water);
    Ok(free.saturating_sub(takes) > room.unallocated)
}

fn remove(paths: &PoolPaths, name: &BlankName) {
    if let Err(error) = durable::remove_file(&paths.blank(name)) {
        tracing::warn!(%error, "a blank stays");
    }
}
