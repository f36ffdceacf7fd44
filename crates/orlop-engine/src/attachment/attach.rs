//! A consumer gets a volume: decided, mounted, recorded.
//!
//! The intent is recorded before anything is mounted, the attachment after. A crash between leaves a
//! mount without an attachment, which the next start takes down.

use std::{os::fd::AsFd, path::Path};

use jiff::Timestamp;
use orlop_model::{
    AccessMode, AttachmentId, Error, ErrorKind, MountOption, OperationId, Result, VolumeMode,
    resource::{Front, VolumeState},
};
use orlop_sys::{
    DeviceNumber,
    filesystem::DATA_DIRECTORY,
    mount,
    ownership::Ownership,
    target::{FileTarget, Target},
};
use uuid::Uuid;

use super::{
    access::{self, Access, Asked, Grant, Wish},
    detach::{self, Released},
    node, publish,
    stale::{self, Survey},
};
use crate::{
    backend::image::{Image, attach as image_attach, attach::Use, device as image_device},
    core::{Core, object, usable},
    events::event,
    fault::{self, Point},
    host::On,
    locks::{Deadline, Lock},
    pool, reconcile,
    request::{AttachRequest, Attached, Caller, Form, VolumeRef},
    store::{AttachmentRow, Intent, VolumeRow, aliases, attachments, events, operations, volumes},
    volume::{create, state},
};

/// Who wants a volume, and how.
pub(crate) struct Consumer<'a> {
    pub(crate) front: Front,
    pub(crate) scope: &'a str,
    pub(crate) shared: bool,
    pub(crate) may_go_stale: bool,
    pub(crate) name: &'a str,
    pub(crate) access: Access,
    /// What its front calls the volume, where it said so.
    pub(crate) known_as: Option<&'a str>,
    pub(crate) place: Place<'a>,
    pub(crate) form: Form,
}

/// Where a consumer gets a volume.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// At the path of its front.
    Front,
    /// On a directory of the host.
    Target(&'a Target),
    /// On a file of the host, as a block device.
    File(&'a FileTarget),
    /// Nowhere: it is kept ready for others. The directory stands for it.
    Staged(&'a Path),
}

impl<'a> Consumer<'a> {
    /// What of the host's is mounted on for it.
    fn mounted_at(&self) -> Option<&'a Path> {
        match self.place {
            Place::Target(target) => Some(target.path()),
            Place::File(target) => Some(target.path()),
            Place::Front | Place::Staged(_) => None,
        }
    }

    fn is_staged(&self) -> bool {
        matches!(self.place, Place::Staged(_))
    }

    /// Where it gets the volume, or what stands for it, as it is recorded.
    fn named(&self) -> Option<&'a Path> {
        match self.place {
            Place::Front => None,
            Place::Target(target) => Some(target.path()),
            Place::File(target) => Some(target.path()),
            Place::Staged(path) => Some(path),
        }
    }
}

/// See [`crate::Engine::attach`].
pub(crate) fn attach(
    core: &Core,
    caller: &Caller,
    request: &AttachRequest,
    deadline: Deadline,
) -> Result<Attached> {
    let row = core.row(&request.volume)?;
    core.authorise(caller, &row)?;
    let _held = core.locks.take(Lock::Volume(row.id), deadline)?;
    let row = core.again(row.id)?;
    let consumer = Consumer {
        front: caller.front,
        scope: &request.scope.id,
        shared: request.scope.shared,
        may_go_stale: request.scope.may_go_stale,
        name: &request.consumer,
        access: if request.read_only { Access::ReadOnly } else { Access::ByMode },
        known_as: request.known_as.as_deref(),
        place: Place::Front,
        form: Form::default(),
    };
    grant(core, caller, &row, &consumer)
}

/// Decides and does it. The caller holds the volume's lock and was authorised.
pub(crate) fn grant(
    core: &Core,
    caller: &Caller,
    row: &VolumeRow,
    consumer: &Consumer<'_>,
) -> Result<Attached> {
    usable(row)?;
    let row = &reconcile::leftovers::settled(core, row.clone())?;
    let image = core.image(row)?;
    if image.is_device() != (consumer.form == Form::Block) {
        return Err(of_other_mode(row, consumer));
    }
    let result = decide(core, caller, row, &image, consumer)
        .and_then(|grant| perform(core, caller, row, &image, consumer, grant));
    state::settle(core, row, &image, result)
}

/// By the records alone where those allow it; before a refusal the kernel is asked.
fn decide(
    core: &Core,
    caller: &Caller,
    row: &VolumeRow,
    image: &Image,
    consumer: &Consumer<'_>,
) -> Result<Grant> {
    let title = row.title();
    let asked = Asked { title: &title, mode: row.manifest.volume.access_mode };
    let wish = Wish {
        front: consumer.front,
        scope: consumer.scope,
        shared: consumer.shared,
        staged: consumer.is_staged(),
        own_place: consumer.named().is_some(),
        alone: consumer.front == Front::Csi && node::is_alone(consumer.scope),
        access: consumer.access,
    };
    let by = |recorded: &[AttachmentRow], lingerers: &[access::Lingerer]| {
        let holders: Vec<_> = recorded.iter().map(AttachmentRow::holder).collect();
        access::decide(asked, &holders, lingerers, wish)
    };
    let recorded = core.store.read(|r| attachments::of_volume(r, row.id))?;
    // One for whom it was kept ready was decided on then.
    let same = |held: &AttachmentRow| held.front == consumer.front && held.scope == consumer.scope;
    let first = recorded.iter().all(|held| held.staged && !same(held));
    let exclusive = access::excludes_others(asked.mode, wish);
    match by(&recorded, &[]) {
        // Where one alone is allowed, the kernel may know another who has no record.
        Ok(grant) if !(first && exclusive) => Ok(grant),
        Ok(_) | Err(_) => {
            let survey = stale::survey(core, Some(caller), row, image)?;
            let grant = by(&survey.attachments, &survey.lingerers()).map_err(|mut error| {
                if let Some(who) = &survey.held {
                    error.message.push_str(&format!("; it is held by {who}"));
                }
                error
            })?;
            // Readers of a read-only volume are no danger to each other.
            let one_only = exclusive && !(asked.mode == AccessMode::ReadOnlyMany && grant.read_only);
            if one_only
                && survey.kernel.device.is_some()
                && let Some(who) = unseen(core, row, image, wish, &survey)?
            {
                return Err(access::unseen(asked, &who));
            }
            Ok(grant)
        }
    }
}

/// Who has a volume that nothing of ours mounts any more, if somebody has: its loop device is there
/// for as long as anybody mounts it anywhere, in a namespace without a process too.
///
/// While it is kept ready, whoever is still there of those for whom it was is not asked about, unless one
/// is to have it alone: then of a block device, whose users no mount shows. What is on its base mount stays
/// there.
fn unseen(
    core: &Core,
    row: &VolumeRow,
    image: &Image,
    wish: Wish<'_>,
    survey: &Survey,
) -> Result<Option<String>> {
    if !survey.attachments.is_empty() {
        let kept = survey.attachments.iter().all(|held| held.staged);
        let is_asked = kept && wish.alone && image.is_device();
        return if is_asked { detach::had_while_kept(core, row, image) } else { Ok(None) };
    }
    let Released::Held(who) = detach::take_down_patiently(core, row, image)? else { return Ok(None) };
    // Where it is still mounted, somebody of this host sits in our own mount, which stays.
    let mounted = image_attach::staged(image, &core.places.base(row.id))?.is_some();
    Ok((!mounted).then_some(who))
}

fn perform(
    core: &Core,
    caller: &Caller,
    row: &VolumeRow,
    image: &Image,
    consumer: &Consumer<'_>,
    grant: Grant,
) -> Result<Attached> {
    let base = core.places.base(row.id);
    // What needs nothing new of the kernel needs no entry in the journal.
    let staged = if image.is_device() { None } else { image_attach::staged(image, &base)? };
    let simple = match staged {
        Some(device) => match consumer.place {
            Place::Front => publish::is_published(core, image, device, consumer.front, grant.read_only)?,
            Place::Target(_) | Place::File(_) => false,
            Place::Staged(_) => true,
        },
        None => false,
    };
    let attachment = AttachmentRow {
        id: AttachmentId(Uuid::now_v7()),
        volume: row.id,
        node: core.config.node.clone(),
        front: consumer.front,
        scope: consumer.scope.to_owned(),
        shared: consumer.shared,
        may_go_stale: consumer.may_go_stale,
        consumer: consumer.name.to_owned(),
        target: consumer.named().map(Path::to_owned),
        staged: consumer.is_staged(),
        form: consumer.form.clone(),
        read_only: grant.read_only,
        boot_id: core.boot_id.clone(),
        since: Timestamp::now(),
        since_boot: orlop_sys::host::since_boot(),
    };
    let operation = if simple {
        None
    } else {
        let target = consumer.mounted_at().map(|target| target.display().to_string());
        let intent = Intent::Attach { attachment: attachment.id, target };
        let operation = core.operation(Some(caller), Some(row.id), intent);
        let id = operation.id;
        core.store.write(move |tx| operations::begin(tx, &operation))?;
        Some(id)
    };
    let abandoned = if grant.already { abandoned(core, row, consumer)? } else { Vec::new() };
    let done = fault::point(Point::AttachRecorded).and_then(|()| {
        let device = stage(core, row, image)?;
        let path = show(core, row, image, consumer, grant, device)?;
        fault::point(Point::AttachBound)?;
        let told = event("Attached", told(row, &attachment)).of(row).by(caller);
        let already = grant.already;
        let alias = |known_as: &str| create::alias(core, consumer.front, known_as.to_owned(), row.id);
        let alias = consumer.known_as.map(alias);
        core.store.write(move |tx| {
            // Whoever comes back in time finds the data of a temp volume.
            volumes::vacate(tx, attachment.volume, None)?;
            if let Some(alias) = &alias {
                aliases::note(tx, alias)?;
            }
            if !already {
                attachments::insert(tx, &attachment)?;
                events::append(tx, &told)?;
            }
            for id in abandoned {
                operations::finish(tx, id)?;
            }
            operation.map_or(Ok(()), |id| operations::finish(tx, id))
        })?;
        Ok(path)
    });
    match done {
        Ok(path) => {
            // Only the answer is missing: what fails from here on is found attached when asked again.
            fault::point(Point::AttachDone)?;
            Ok(Attached { path, read_only: grant.read_only })
        }
        Err(error) => {
            let target = consumer.mounted_at();
            match reconcile::operations::unbind(core, image, target) {
                Ok(()) => detach::undo(core, row, image, operation),
                // Somebody was faster and uses what is mounted there. Nothing but the journal knows of it,
                // and the entry stays until it is gone.
                Err(left) => {
                    tracing::warn!(volume = row.title(), error = %left, "a failed attach is undone later");
                }
            }
            Err(error)
        }
    }
}

/// Detaches of that scope that failed half-way: now that it is attached again, nobody may finish them.
fn abandoned(core: &Core, row: &VolumeRow, consumer: &Consumer<'_>) -> Result<Vec<OperationId>> {
    let node = &core.config.node;
    let found = core.store.read(|r| attachments::find(r, row.id, node, consumer.front, consumer.scope))?;
    found.map_or(Ok(Vec::new()), |found| detach::attempts(core, row.id, found.id))
}

/// Makes sure that the volume is on its base mount, or that its block device is there. Its pool is there,
/// and this daemon's.
pub(crate) fn stage(core: &Core, row: &VolumeRow, image: &Image) -> Result<DeviceNumber> {
    pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    if image.is_device() {
        core.places.prepare_node(row.id, &image.object)?;
        return image_device::keep(image, &core.places.node(row.id));
    }
    core.places.prepare(row.id, &image.object)?;
    image_attach::stage(image, &core.places.base(row.id), using(row))
}

/// The same, and records what was found out of the image.
pub(crate) fn prepare(core: &Core, row: &VolumeRow) -> Result<()> {
    let image = core.image(row)?;
    state::settle(core, row, &image, stage(core, row, &image)).map(drop)
}

/// How the volume's filesystem is mounted.
pub(crate) fn using(row: &VolumeRow) -> Use<'_> {
    let spec = &row.manifest.volume;
    let ownership = Ownership {
        // Whoever applied it can write to it, where the manifest doesn't say who should.
        uid: spec.uid.or(Some(row.owner_uid).filter(|uid| *uid != 0)),
        gid: spec.gid,
        mode: spec.mode.map(orlop_model::spec::DirectoryMode::bits),
    };
    Use { options: &spec.mount_options, ownership }
}

/// The path for that consumer, after the kernel confirmed what is there.
fn show(
    core: &Core,
    row: &VolumeRow,
    image: &Image,
    consumer: &Consumer<'_>,
    grant: Grant,
    device: DeviceNumber,
) -> Result<std::path::PathBuf> {
    let target = match consumer.place {
        Place::Front => {
            return publish::publish(core, row, image, device, consumer.front, grant.read_only);
        }
        Place::Staged(path) => return Ok(path.to_owned()),
        Place::File(target) => {
            let node = core.places.node(row.id);
            let device = image_device::keep_as(image, &node, grant.read_only)?;
            target.bind_node(&node, device).on(&image.object)?;
            return Ok(target.path().to_owned());
        }
        Place::Target(target) => target,
    };
    let base = core.places.base(row.id);
    image_attach::confirm(image, &base, device)?;
    let options = options(row, &consumer.form);
    let using = Use { options: &options, ownership: Ownership::default() };
    let root = mount::open_directory(&base).on(&image.object)?;
    let ids = node::group::map(row, image, &root, &consumer.form, grant.read_only)?;
    let data = Path::new(DATA_DIRECTORY);
    target.bind(root.as_fd(), data, using.attributes(grant.read_only), ids.as_ref()).on(&image.object)?;
    Ok(target.path().to_owned())
}

/// The mount options that hold for who has it so: the volume's and its own, each once and in order.
pub(crate) fn options(row: &VolumeRow, form: &Form) -> Vec<MountOption> {
    let own = match form {
        Form::Filesystem { options, .. } => options.as_slice(),
        Form::Block => &[],
    };
    let mut all = [&row.manifest.volume.mount_options, own].concat();
    all.sort_unstable();
    all.dedup();
    all
}

/// The refusal of who can't have the volume as what it is.
fn of_other_mode(row: &VolumeRow, consumer: &Consumer<'_>) -> Error {
    let (title, front) = (row.title(), consumer.front.as_str());
    let (message, hint) = match row.manifest.volume.volume_mode {
        VolumeMode::Filesystem => (
            format!("volume {title} has a filesystem and is no block device"),
            "ask for it as a filesystem; or make a volume with volumeMode: Block",
        ),
        VolumeMode::Block if consumer.front == Front::Csi => (
            format!("volume {title} is a block device and has no filesystem of ours"),
            "ask for it as a block device",
        ),
        VolumeMode::Block => (
            format!("volume {title} is a block device, which {front} can't have"),
            "it is had through CSI, by a pod with volumeDevices; make another volume to have a directory",
        ),
    };
    let kind = match consumer.front {
        Front::Csi => ErrorKind::InvalidArgument,
        Front::Manifest | Front::Docker | Front::Podman | Front::Host => ErrorKind::Unsupported,
    };
    Error::new(kind, message).object(object(row)).hint(hint)
}

fn told(row: &VolumeRow, attachment: &AttachmentRow) -> String {
    if attachment.staged {
        return format!("{} keeps volume {} ready", attachment.consumer, row.title());
    }
    let how = if attachment.read_only { "reads" } else { "uses" };
    match &attachment.target {
        Some(target) => {
            format!("{} {how} volume {} at {}", attachment.consumer, row.title(), target.display())
        }
        None => format!("{} {how} volume {}", attachment.consumer, row.title()),
    }
}

/// See [`crate::Engine::attached_path`].
pub(crate) fn attached_path(core: &Core, caller: &Caller, which: &VolumeRef) -> Result<Option<Attached>> {
    let row = core.row(which)?;
    let recorded = core.store.read(|r| attachments::of_volume(r, row.id))?;
    let ours =
        recorded.iter().find(|attachment| attachment.front == caller.front && attachment.target.is_none());
    let Some(attachment) = ours else { return Ok(None) };
    // No path of a volume that is not mounted: it would be a plain directory.
    let image = core.image(&row)?;
    let Some(device) = image_attach::staged(&image, &core.places.base(row.id))? else { return Ok(None) };
    let (front, read_only) = (attachment.front, attachment.read_only);
    if !publish::is_published(core, &image, device, front, read_only)? {
        return Ok(None);
    }
    image_attach::confirm(&image, &core.places.published(row.id, front, read_only), device)?;
    Ok(Some(Attached { path: publish::path(core, &image, front, read_only), read_only }))
}

/// Whether the state says that somebody may still get it.
pub(crate) fn is_open(state: VolumeState) -> bool {
    match state {
        VolumeState::Active | VolumeState::Error => true,
        VolumeState::Pending | VolumeState::Deleting | VolumeState::Released => false,
    }
}

/// Those who use it, in words; for refusals.
pub(crate) fn users(survey: &Survey) -> String {
    let holders: Vec<_> = survey.attachments.iter().map(AttachmentRow::holder).collect();
    let names = access::names(&holders, &survey.lingerers());
    match &survey.held {
        Some(who) => format!("{names}, held by {who}"),
        None => names,
    }
}
