//! Records against the kernel, before anything is refused because of them: an id that nothing backs
//! is dropped, and whoever the kernel knows without a record is named.
//!
//! An engine that crashed never tells that its ids are gone. What tells it is that no mount of the
//! volume is left in any namespace, some time after the id was given out: before that, the engine
//! may not have mounted it yet.

use std::time::Duration;

use orlop_model::{AttachmentId, Result, resource::Front};

use super::{
    access::{Holder, Lingerer},
    attach,
    detach::{self, Released},
    kernel::{self, KernelView},
    node, publish,
};
use crate::{
    backend::image::Image,
    core::Core,
    events::event,
    fault::{self, Point},
    request::Caller,
    store::{AttachmentRow, VolumeRow, attachments, events},
};

/// What holds after the comparison.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The attachments that are left.
    pub(crate) attachments: Vec<AttachmentRow>,
    /// What the kernel has.
    pub(crate) kernel: KernelView,
    /// Who keeps an id that seemed to be stale, in words.
    pub(crate) held: Option<String>,
}

impl Survey {
    /// Consumers that no attachment can stand for.
    pub(crate) fn lingerers(&self) -> Vec<Lingerer> {
        let accounted = self.attachments.iter().any(AttachmentRow::has_copies);
        if accounted { Vec::new() } else { self.kernel.lingerers() }
    }
}

impl AttachmentRow {
    pub(crate) fn holder(&self) -> Holder<'_> {
        Holder {
            front: self.front,
            scope: &self.scope,
            shared: self.shared,
            consumer: &self.consumer,
            read_only: self.read_only,
            staged: self.staged,
            since: self.since,
        }
    }

    /// Whether containers get copies of what is mounted for it, which then are accounted for.
    fn has_copies(&self) -> bool {
        match self.front {
            Front::Manifest | Front::Docker | Front::Podman => true,
            Front::Host => false,
            Front::Csi => !self.staged,
        }
    }
}

/// Compares, and drops what nothing backs. The caller holds the volume's lock.
pub(crate) fn survey(core: &Core, caller: Option<&Caller>, row: &VolumeRow, image: &Image) -> Result<Survey> {
    survey_but(core, caller, row, image, None)
}

/// The same, of all but an attachment that is being ended anyway: it stays for now.
pub(crate) fn survey_but(
    core: &Core,
    caller: Option<&Caller>,
    row: &VolumeRow,
    image: &Image,
    ended: Option<AttachmentId>,
) -> Result<Survey> {
    let recorded = core.store.read(|r| attachments::of_volume(r, row.id))?;
    let targets: Vec<_> = recorded.iter().filter_map(|attachment| attachment.target.clone()).collect();
    let look = || -> Result<KernelView> {
        let devices = kernel::devices(&core.places, image)?;
        kernel::look(&core.places, row.id, &devices, &targets, &image.object)
    };
    let mut kernel = look()?;
    let now = orlop_sys::host::since_boot();
    let (stale, mut attachments): (Vec<_>, Vec<_>) = recorded.into_iter().partition(|attachment| {
        Some(attachment.id) != ended && is_stale(core, attachment, image, &kernel, now)
    });
    let (left_behind, stale): (Vec<_>, Vec<_>) = stale.into_iter().partition(|attachment| attachment.staged);
    if !left_behind.is_empty() {
        drop_all(core, caller, row, left_behind, "the directory that stood for it is gone")?;
    }
    let (unmounted, silent): (Vec<_>, Vec<_>) =
        stale.into_iter().partition(|attachment| attachment.target.is_some());
    if !unmounted.is_empty() {
        drop_all(core, caller, row, unmounted, "nothing of it is mounted any more")?;
    }
    let mut held = None;
    if !silent.is_empty() {
        match close(core, row, image, &silent, &attachments, look)? {
            Released::Free => {
                let why = "nothing of it is mounted any more, and its path is gone until it asks again";
                drop_all(core, caller, row, silent, why)?;
            }
            Released::Held(who) => {
                held = Some(who);
                attachments.extend(silent);
                attachments.sort_by_key(|attachment| attachment.id);
            }
        }
        kernel = look()?;
    }
    Ok(Survey { attachments, kernel, held })
}

/// Takes away the paths of ids that nothing backs, and says whether somebody has them after all. An
/// engine that forgot to tell remembers its path too, and may start a container on it at any moment:
/// where one came before the path went, all is put back. Where nobody is left, not what processes
/// show but the loop device itself says that nobody has it.
fn close(
    core: &Core,
    row: &VolumeRow,
    image: &Image,
    silent: &[AttachmentRow],
    left: &[AttachmentRow],
    look: impl Fn() -> Result<KernelView>,
) -> Result<Released> {
    let closed = (|| {
        let closed = if left.is_empty() {
            detach::take_down_patiently(core, row, image)?
        } else {
            match (publish::unpublish(core, image, left)?, look()?.lingerers().first()) {
                (Released::Free, Some(consumer)) => Released::Held(consumer.to_string()),
                (closed, _) => closed,
            }
        };
        fault::point(Point::DropClosed)?;
        Ok(closed)
    })();
    if closed != Ok(Released::Free)
        && let Err(error) = attach::stage(core, row, image)
            .and_then(|_| publish::publish_all(core, row, image, &[silent, left].concat()))
    {
        tracing::warn!(volume = row.title(), %error, "could not put back what its users may use");
    }
    closed
}

fn is_stale(
    core: &Core,
    attachment: &AttachmentRow,
    image: &Image,
    kernel: &KernelView,
    now: Duration,
) -> bool {
    if attachment.node != core.config.node {
        return false;
    }
    match &attachment.target {
        Some(staging) if attachment.staged => return node::is_gone(core, staging),
        Some(target) if image.is_device() => return node::device::is_gone(core, target, image),
        Some(target) => return !kernel.targets.contains(target),
        None => {}
    }
    // The time of day can be set back, or far ahead, at any moment.
    let age = now.saturating_sub(attachment.since_boot);
    attachment.may_go_stale && kernel.consumers.is_empty() && age >= core.config.stale_after
}

/// Forgets attachments that nothing backs, and tells why.
pub(crate) fn drop_all(
    core: &Core,
    caller: Option<&Caller>,
    row: &VolumeRow,
    stale: Vec<AttachmentRow>,
    why: &str,
) -> Result<()> {
    let told: Vec<_> = stale
        .iter()
        .map(|attachment| {
            event(
                "AttachmentDropped",
                format!("{} no longer uses volume {}: {why}", attachment.consumer, row.title()),
            )
            .of(row)
            .by_any(caller)
            .warning()
        })
        .collect();
    let ids: Vec<AttachmentId> = stale.iter().map(|attachment| attachment.id).collect();
    // Where they were the last, nobody else takes the volume down.
    core.signal.suspect(row.id);
    core.store.write(move |tx| {
        for id in ids {
            attachments::delete(tx, id)?;
        }
        for event in &told {
            events::append(tx, event)?;
        }
        Ok(())
    })
}
