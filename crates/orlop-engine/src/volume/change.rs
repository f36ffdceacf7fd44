//! A change in place: the record first, then what follows from it (`volume.json`, the mounted directory,
//! what its snapshots say of it), which recovery repeats after a crash.

use orlop_model::{OperationId, Result};

use super::{describe, plan::Change, temp};
use crate::{
    attachment::{access, attach as attachment_attach, stale},
    backend::image::attach as image_attach,
    core::Core,
    events::event,
    fault::{self, Point},
    pool,
    request::Caller,
    snapshot,
    store::{AttachmentRow, Intent, VolumeRow, events, operations, volumes},
};

/// Whether those who use the volume allow the change. The caller holds the volume's lock.
pub(crate) fn allow(core: &Core, caller: &Caller, row: &VolumeRow, change: &Change) -> Result<()> {
    if change.access_mode {
        let survey = stale::survey(core, Some(caller), row, &core.image(row)?)?;
        let holders: Vec<_> = survey.attachments.iter().map(AttachmentRow::holder).collect();
        access::allows_change(&row.title(), change.manifest.volume.access_mode, &holders)?;
    }
    Ok(())
}

/// Makes the change, which was allowed. The caller holds the volume's lock and was authorised.
pub(crate) fn change(core: &Core, caller: &Caller, mut row: VolumeRow, change: Change) -> Result<VolumeRow> {
    let image = core.image(&row)?;
    pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let mounted = image_attach::staged(&image, &core.places.base(row.id))?.is_some();
    let mut message = format!("volume {} changed: {}", row.title(), change.fields.join(", "));
    if change.mount_options && mounted {
        message.push_str("; the new mount options hold when it is next mounted");
    }
    let told = event("Configured", message).of(&row).by(caller);
    let operation = core.operation(Some(caller), Some(row.id), Intent::Configure);
    let operation_id = operation.id;
    if change.temp_grace {
        row.temp_grace = temp::recorded(&change.manifest.volume, core.config.temp_grace);
    }
    row.manifest = change.manifest;
    row.updated_at = Core::now();
    let keeps = temp::grace(&row).is_none();
    let row = core.store.write(move |tx| {
        volumes::update(tx, &mut row)?;
        if keeps {
            volumes::vacate(tx, row.id, None)?;
        }
        operations::begin(tx, &operation)?;
        events::append(tx, &told)?;
        Ok(row)
    })?;
    core.countdowns.changed();
    fault::point(Point::ChangeRecorded)?;
    follow(core, &row, operation_id)?;
    Ok(row)
}

/// What follows from a record that changed. Repeatable.
pub(crate) fn follow(core: &Core, row: &VolumeRow, operation: OperationId) -> Result<()> {
    let paths = pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    describe::write(core, &paths, row)?;
    fault::point(Point::ChangeDescribed)?;
    let image = core.image(row)?;
    if image_attach::staged(&image, &core.places.base(row.id))?.is_some() {
        // Applies ownership where it changed; mounted already, so nothing else happens.
        attachment_attach::stage(core, row, &image)?;
    }
    if !snapshot::describe::follow(core, row.id)? {
        // The journal keeps it for the next change, and it is tried again.
        tracing::info!(volume = row.title(), "the descriptions of its snapshots follow later");
        return Ok(());
    }
    core.store.write(move |tx| operations::finish(tx, operation))
}
