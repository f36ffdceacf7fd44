//! A volume's state by what became of its image: `error` with the reason when it is damaged, and
//! `active` again when it is not.

use orlop_model::{Error, ErrorKind, Result, resource::VolumeState};

use crate::{
    backend::image::Image,
    core::Core,
    events::event,
    pool,
    store::{VolumeRow, events, volumes},
};

/// Records what an operation found out about the image; the result passes through. The caller holds
/// the volume's lock.
pub(crate) fn settle<T>(core: &Core, row: &VolumeRow, image: &Image, result: Result<T>) -> Result<T> {
    let recorded = match &result {
        Ok(_) => restored(core, row),
        Err(error) if error.kind == ErrorKind::Damaged => {
            // Where the whole pool is missing, nothing is known of its volumes.
            pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
            damaged(core, row, error)
        }
        Err(_) => Ok(()),
    };
    if let Err(error) = recorded {
        tracing::warn!(object = image.object, %error, "could not record the volume's state");
    }
    result
}

/// Records that the image is not usable. The caller holds the volume's lock.
pub(crate) fn damaged(core: &Core, row: &VolumeRow, error: &Error) -> Result<()> {
    let reason = error.to_string();
    let told = event("Error", reason.clone()).of(row).error();
    let changed = row.reason.as_deref() != Some(reason.as_str());
    match row.state {
        VolumeState::Active | VolumeState::Error if changed => {
            let row = VolumeRow { state: VolumeState::Error, ..row.clone() };
            record(core, row, Some(reason), told)
        }
        // Its fate is decided; the reason helps whoever looks.
        VolumeState::Released if changed => record(core, row.clone(), Some(reason), told),
        VolumeState::Active
        | VolumeState::Error
        | VolumeState::Released
        | VolumeState::Pending
        | VolumeState::Deleting => Ok(()),
    }
}

/// Records that the image is usable. The caller holds the volume's lock.
pub(crate) fn restored(core: &Core, row: &VolumeRow) -> Result<()> {
    let told = event("Restored", format!("volume {} is usable again", row.title())).of(row);
    match row.state {
        VolumeState::Error => {
            record(core, VolumeRow { state: VolumeState::Active, ..row.clone() }, None, told)?;
            core.countdowns.changed();
            Ok(())
        }
        VolumeState::Released if row.reason.is_some() => record(core, row.clone(), None, told),
        VolumeState::Active | VolumeState::Released | VolumeState::Pending | VolumeState::Deleting => Ok(()),
    }
}

fn record(
    core: &Core,
    mut row: VolumeRow,
    reason: Option<String>,
    told: crate::store::NewEvent,
) -> Result<()> {
    row.reason = reason;
    row.updated_at = Core::now();
    core.store.write(move |tx| {
        volumes::update(tx, &mut row)?;
        events::append(tx, &told)
    })?;
    Ok(())
}
