//! The store says what should be, disk and kernel say what is; here the three are compared. At start
//! all of it, before the engine is ready: what is frozen (`frozen`), the journal (`operations`), mounts
//! (`attachments`), and what lies in the pools (`images`); what lies there as text follows later
//! (`descriptions`). While it runs, what an attempt left is settled before its object is used
//! (`leftovers`). Nothing that can't be accounted for is ever deleted.

pub(crate) mod attachments;
pub(crate) mod descriptions;
pub(crate) mod frozen;
pub(crate) mod images;
pub(crate) mod leftovers;
pub(crate) mod operations;

use std::sync::atomic::Ordering;

use orlop_model::{Result, text::count};

use crate::{
    blank,
    core::Core,
    events::{event, note},
    pool,
    request::Recovery,
    store::PreviousRun,
    workspace,
};

/// See [`crate::Engine::recover`].
pub(crate) fn recover(core: &Core) -> Result<Recovery> {
    let mut recovery = Recovery::default();
    workspace::make_public(core)?;
    pool::medium::bring_all(core)?;
    operations::recover(core, &mut recovery)?;
    pool::create::make_default(core)?;
    attachments::recover(core, &mut recovery)?;
    images::account(core, &mut recovery)?;
    blank::load(core)?;
    tell(core, &recovery);
    core.recovered.store(true, Ordering::Release);
    Ok(recovery)
}

fn tell(core: &Core, recovery: &Recovery) {
    let before = match core.store.previous_run() {
        PreviousRun::None => "for the first time",
        PreviousRun::Closed => "after a clean stop",
        PreviousRun::Killed => "after the daemon was killed",
        PreviousRun::Rebooted { closed: true } => "after a reboot",
        PreviousRun::Rebooted { closed: false } => "after a crash of the host",
    };
    let did = format!(
        "started {before}: {} finished, {} undone, {} adopted, {} dropped, {} thawed, {} unaccounted for",
        count(recovery.finished, "operation"),
        recovery.undone,
        count(recovery.adopted, "volume"),
        count(recovery.dropped, "attachment"),
        recovery.thawed,
        count(recovery.unaccounted.len() as u64, "path")
    );
    tracing::info!("{did}");
    note(core, event("Started", did));
}
