//! Another size for a volume that is there: in the image itself (`grow`), or in a new image that
//! takes the place of the old (`replace`). What may be done at all is decided in `plan`.

mod grow;
pub(crate) mod replace;

use orlop_model::{Error, ErrorKind, Result, Size, resource::How};

use super::plan::Resize;
use crate::{
    admission::Wanted,
    backend::image::{Image, replacement},
    core::Core,
    pool::{
        self,
        room::{self, Figures},
    },
    request::Caller,
    store::{Intent, OperationRow, PoolRow, VolumeRow, Way, pools},
};
use replace::Work;

/// Whether what was begun came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    Forward,
    Back,
}

/// Changes the size. The caller holds the volume's lock and was authorised.
pub(crate) fn resize(core: &Core, caller: &Caller, row: VolumeRow, resize: Resize) -> Result<VolumeRow> {
    match resize.how {
        How::InPlace => grow::grow(core, caller, row, resize.to),
        How::WithCopy => replace::replace(core, caller, row, resize.to, Work::Resize),
    }
}

/// What is reserved for a change of size beyond what the volume has, until it is done: with a copy, both
/// images are there.
fn reserves(image: &Image, resize: Resize) -> Result<Wanted> {
    let growth = Wanted::Growth { from: resize.from, to: resize.to };
    match resize.how {
        How::InPlace => Ok(growth),
        How::WithCopy => {
            let both = growth.more().bytes().saturating_add(replacement::takes(image)?.bytes());
            Ok(Wanted::Copy { from: resize.from, to: resize.to, room: Size::from_bytes(both) })
        }
    }
}

/// Whether the pool has the room for that change.
pub(crate) fn room_for_change(core: &Core, row: &VolumeRow, resize: Resize) -> Result<()> {
    let image = core.image(row)?;
    let room = room_for(core, row, reserves(&image, resize)?).map(drop);
    match resize.how {
        How::InPlace => room,
        How::WithCopy => room.map_err(|error| of_copy(error, &image)),
    }
}

/// Says of a pool without room that a copy is what needs it.
pub(crate) fn of_copy(error: Error, image: &Image) -> Error {
    if !matches!(error.kind, ErrorKind::PoolFull | ErrorKind::LowSpace) {
        return error;
    }
    let message = format!(
        "{} is worked on in a copy, which needs room until it is done: {}",
        image.object, error.message
    );
    Error { message, ..error }.hint(
        "delete what is not needed in that pool (released data counts), free space on its disk, or let it grow: orlop pool grow; nothing was changed",
    )
}

/// Whether the pool has the room for what is added to a volume.
pub(crate) fn room_for(core: &Core, row: &VolumeRow, wanted: Wanted) -> Result<(PoolRow, Figures)> {
    let pool = core.store.read(|r| pools::by_id(r, row.placement.pool))?;
    let pool = pool.ok_or_else(|| pool::missing(&row.placement.pool_name))?;
    let figures = room::gather(core, &pool)?;
    figures.room(&pool).admit(&pool.name, wanted)?;
    Ok((pool, figures))
}

/// Finishes or takes back a change of size that an earlier attempt left. The caller holds the volume's
/// lock.
pub(crate) fn settle(core: &Core, row: &VolumeRow, operation: &OperationRow) -> Result<Settled> {
    let Intent::Resize { from, to, way } = operation.intent else { return Ok(Settled::Back) };
    match way {
        Way::InPlace => grow::forward(core, None, row, operation.id, from).map(|()| Settled::Forward),
        Way::Copy | Way::Anew => replace::settle(core, None, row, operation.id, to, way),
    }
}
