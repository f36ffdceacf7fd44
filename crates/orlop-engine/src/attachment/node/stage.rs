//! Keeping a volume ready for the consumers of this node: it stays on its base mount between them.
//! Nothing is mounted on the directory that stands for it.

use std::path::Path;

use orlop_model::{Error, ErrorKind, Result, VolumeId, resource::Front};

use super::{node_scope, path_of, place, settled, unusable};
use crate::{
    attachment::{
        access::Access,
        attach::{self, Consumer, Place, users},
        detach::{self, Leave},
        stale,
    },
    core::{Core, object, usable},
    locks::{Deadline, Lock},
    request::{Caller, Form, StageRequest, VolumeRef},
    store::{AttachmentRow, VolumeRow, attachments, operations, volumes},
};

/// See [`crate::Engine::stage`].
pub(crate) fn stage(core: &Core, caller: &Caller, request: &StageRequest, deadline: Deadline) -> Result<()> {
    let row = core.row(&VolumeRef::Id(request.volume))?;
    core.authorise(caller, &row)?;
    let path = path_of(core, &request.staging)?;
    let _target = core.locks.take(Lock::Target(path.clone()), deadline)?;
    let _held = core.locks.take(Lock::Volume(row.id), deadline)?;
    let row = core.again(row.id)?;
    keep(core, caller, &row, &path, &request.form)
}

/// The same, for one who holds the locks.
pub(super) fn keep(core: &Core, caller: &Caller, row: &VolumeRow, path: &Path, form: &Form) -> Result<()> {
    usable(row)?;
    let form = kept_form(settled(row, form)?);
    if !place(core, path)?.is_directory().map_err(|error| unusable(&error, path))? {
        return Err(Error::new(ErrorKind::InvalidArgument, format!("{} is no directory", path.display()))
            .object(path.display().to_string())
            .hint("the orchestrator makes it first"));
    }
    if let Some(there) = core.store.read(|r| attachments::by_target(r, &core.config.node, path))? {
        if !there.staged || there.volume != row.id || there.form != form {
            return Err(taken(row, &there, path));
        }
        // It is not to be ended any more, and what it keeps ready may have been unmounted by somebody.
        core.store.write({
            let given_up = detach::attempts(core, row.id, there.id)?;
            move |tx| given_up.into_iter().try_for_each(|id| operations::finish(tx, id))
        })?;
        return attach::prepare(core, row);
    }
    let name = format!("csi node {}", core.config.node);
    let scope = node_scope(core);
    let consumer = Consumer {
        front: Front::Csi,
        scope: &scope,
        shared: false,
        may_go_stale: false,
        name: &name,
        access: Access::ByMode,
        known_as: None,
        place: Place::Staged(path),
        form,
    };
    attach::grant(core, caller, row, &consumer).map(drop)
}

/// What counts of a form while a volume is only kept ready: each consumer has options of its own.
fn kept_form(form: Form) -> Form {
    match form {
        Form::Filesystem { .. } => Form::default(),
        Form::Block => Form::Block,
    }
}

/// The error for a directory that has something else already.
pub(super) fn taken(row: &VolumeRow, there: &AttachmentRow, path: &Path) -> Error {
    let what = if there.volume != row.id {
        format!("is taken by volume {}", there.volume)
    } else if there.staged {
        "stands for the volume in another form".to_owned()
    } else {
        format!("has the volume for {}, in another way than is asked for", there.consumer)
    };
    Error::new(ErrorKind::AlreadyExists, format!("{} {what}", path.display()))
        .object(object(row))
        .hint("end that first: unpublish or unstage it")
}

/// See [`crate::Engine::unstage`].
pub(crate) fn unstage(
    core: &Core,
    caller: &Caller,
    volume: VolumeId,
    staging: &Path,
    deadline: Deadline,
) -> Result<()> {
    let path = path_of(core, staging)?;
    let Some(row) = core.store.read(|r| volumes::by_id(r, volume))? else { return Ok(()) };
    core.authorise(caller, &row)?;
    let _target = core.locks.take(Lock::Target(path.clone()), deadline)?;
    let _held = core.locks.take(Lock::Volume(row.id), deadline)?;
    let Some(row) = core.store.read(|r| volumes::by_id(r, volume))? else { return Ok(()) };
    let found = core.store.read(|r| attachments::by_target(r, &core.config.node, &path))?;
    let Some(attachment) = found.filter(|found| found.staged && found.volume == row.id) else {
        return Ok(());
    };
    let image = core.image(&row)?;
    let all = core.store.read(|r| attachments::of_volume(r, row.id))?;
    let is_other = |other: &AttachmentRow| other.front == Front::Csi && other.id != attachment.id;
    if all.iter().any(is_other) {
        // What was unmounted by hand is in nobody's way.
        let mut survey = stale::survey_but(core, Some(caller), &row, &image, Some(attachment.id))?;
        let kept = survey.attachments.iter().any(|other| is_other(other) && other.staged);
        survey.attachments.retain(|other| is_other(other) && !other.staged);
        if !kept && !survey.attachments.is_empty() {
            return Err(Error::new(
                ErrorKind::InUse,
                format!("volume {} is still had by {}", row.title(), users(&survey)),
            )
            .object(object(&row))
            .hint("unpublish it there first"));
        }
    }
    detach::end(core, caller, &row, &image, attachment, Leave::WithWord, || Ok(()))
}
