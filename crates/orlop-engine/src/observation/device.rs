//! Block devices in use whose loop device somebody took away. Their users get errors, or another's device
//! once its number is given out again, and no mount shows it.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Mutex, PoisonError},
};

use orlop_model::{Result, VolumeId};
use orlop_sys::{FileIdentity, loopdev};

use crate::{
    backend::image::{Image, attach as image_attach},
    core::Core,
    events::event,
    host::On,
    store::{AttachedRow, AttachmentRow, NewEvent, VolumeRow, attachments, volumes},
};

/// What was missing at the last look, and what was told of.
#[derive(Debug, Default)]
pub(crate) struct Missing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    seen: BTreeSet<VolumeId>,
    told: BTreeSet<VolumeId>,
}

impl Missing {
    /// Those to be told of: missing at two looks, since one may fall into the moment in which it is made or
    /// let go; and not told of since they were there last.
    fn news(&self, now: BTreeSet<VolumeId>) -> Vec<VolumeId> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.told.retain(|id| now.contains(id));
        let news: Vec<_> =
            now.intersection(&state.seen).filter(|id| !state.told.contains(id)).copied().collect();
        state.told.extend(&news);
        state.seen = now;
        news
    }

    fn is_told(&self, id: VolumeId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).told.contains(&id)
    }
}

/// Whether that was told of a block device and it is still so. One look alone may fall into the moment in
/// which it is made or let go.
pub(crate) fn is_lost(core: &Core, image: &Image) -> bool {
    core.missing.is_told(image.id) && image_attach::own_device(image).is_ok_and(|found| found.is_none())
}

/// What is to be said of one that is lost.
pub(crate) fn lost_by(row: &VolumeRow, users: &[AttachmentRow]) -> String {
    let users: Vec<_> = users.iter().filter(|user| !user.staged).map(|user| user.consumer.as_str()).collect();
    let users = if users.is_empty() { "nobody yet".to_owned() } else { users.join(", ") };
    format!(
        "somebody detached the loop device of volume {}, which {users} has: restart its pods, they may get another's device",
        row.title()
    )
}

/// Events of block devices that went since the last look.
pub(crate) fn lost(core: &Core, attached: &[AttachedRow]) -> Result<Vec<NewEvent>> {
    let devices: Vec<_> = attached.iter().filter(|row| row.filesystem.is_none()).map(|row| row.id).collect();
    let missing = if devices.is_empty() { Vec::new() } else { missing(core, &devices)? };
    let news = core.missing.news(missing.iter().map(|row| row.id).collect());
    let rows = missing.into_iter().filter(|row| news.contains(&row.id));
    rows.map(|row| {
        let users = core.store.read(|r| attachments::of_volume(r, row.id))?;
        Ok(event("DeviceLost", lost_by(&row, &users)).of(&row).error())
    })
    .collect()
}

fn missing(core: &Core, devices: &[VolumeId]) -> Result<Vec<VolumeRow>> {
    let rows = core.store.read(|r| volumes::by_ids(r, devices))?;
    let there: HashSet<FileIdentity> = loopdev::list()
        .on("loop devices")?
        .into_iter()
        .filter(loopdev::LoopInfo::is_whole)
        .map(|device| device.identity)
        .collect();
    let mut missing = Vec::new();
    for row in rows {
        let image = core.image(&row)?;
        let identity = FileIdentity::of_path(image.path());
        if identity.is_ok_and(|identity| !there.contains(&identity)) {
            missing.push(row);
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn it_is_told_once_and_not_of_what_is_missing_for_a_moment() {
        let missing = Missing::default();
        let [one, two] = [1, 2].map(|number| VolumeId(Uuid::from_u128(number)));
        let news = |now: &[VolumeId]| missing.news(now.iter().copied().collect());
        assert_eq!(news(&[one]), []);
        assert_eq!(news(&[one, two]), [one]);
        assert_eq!(news(&[one]), []);
        assert_eq!(news(&[]), []);
        assert_eq!(news(&[one]), []);
        assert_eq!(news(&[one]), [one]);
    }
}
