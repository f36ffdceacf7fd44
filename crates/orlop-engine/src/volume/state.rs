//! A volume's state by what became of its image: `error` with the reason when it is damaged, and
//! `active` again when it is not.

use orlop_model::{Error, ErrorKind, Result, resource::VolumeState};

use crate::{
    backend::image::{Image, health},
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

/// One look at the image, for the sweep.
pub(crate) fn look(core: &Core, row: &VolumeRow) -> Result<()> {
    pool::confirm(core, row.placement.pool, &row.placement.pool_name)?;
    let image = core.image(row)?;
    match health::examine(&image) {
        // That it is there says nothing against a filesystem that would not mount.
        Ok(()) if is_unmountable(row) => Ok(()),
        Ok(()) => restored(core, row),
        Err(error) if error.kind == ErrorKind::Damaged => damaged(core, row, &error),
        Err(error) => Err(error),
    }
}

/// A look at the file can't clear what only a mount can.
fn is_unmountable(row: &VolumeRow) -> bool {
    row.reason.as_deref().is_some_and(|reason| !reason.contains("its image "))
}

fn damaged(core: &Core, row: &VolumeRow, error: &Error) -> Result<()> {
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

fn restored(core: &Core, row: &VolumeRow) -> Result<()> {
    let told = event("Restored", format!("volume {} is usable again", row.title())).of(row);
    match row.state {
        VolumeState::Error => {
            record(core, VolumeRow { state: VolumeState::Active, ..row.clone() }, None, told)
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
