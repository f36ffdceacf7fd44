//! Mounts: those that a volume's users should have beside its base, and those below the mount directory
//! that no record explains.

use std::path::{Path, PathBuf};

use orlop_model::{Result, pool_report::Difference, resource::Front};
use orlop_sys::{DeviceNumber, mount, mountinfo};

use super::{About, Check};
use crate::{
    attachment::{detach, publish},
    backend::image::Image,
    host::On,
    store::{AttachmentRow, VolumeRow, volumes},
};

impl Check<'_> {
    /// The paths of fronts and the targets of a volume that is mounted from that device.
    pub(super) fn beside_base(
        &mut self,
        row: &VolumeRow,
        image: &Image,
        device: DeviceNumber,
        attached: &[AttachmentRow],
        title: &str,
    ) -> Result<()> {
        let (core, about) = (self.core, About::Volume(row.id));
        let mut places: Vec<(PathBuf, &str)> = Vec::new();
        for attachment in attached.iter().filter(|attachment| !attachment.staged) {
            let of_front = || core.places.published(row.id, attachment.front, attachment.read_only);
            let place = attachment.target.clone().unwrap_or_else(of_front);
            // A front has one path for all its consumers.
            if !places.iter().any(|(known, _)| *known == place) {
                places.push((place, &attachment.consumer));
            }
        }
        for (place, consumer) in places {
            let (shown, subject) = (place.display(), title.to_owned());
            match mounted(&place, title)? {
                Some(found) if found == device => {}
                Some(found) => {
                    let detail =
                        format!("device {found} is mounted on {shown}, where {consumer} should have it");
                    self.found(Difference::ForeignMount, subject, about, detail, || Ok(false))?;
                }
                None => {
                    let detail = format!("{consumer} should have it on {shown}, where nothing is mounted");
                    self.found(Difference::MissingMount, subject, about, detail, || Ok(false))?;
                }
            }
        }
        let needed = publish::needed(core, row.id, attached);
        for place in core.places.all_published(row.id)? {
            if needed.contains(&place) || mounted(&place, title)?.is_none() {
                continue;
            }
            let detail = format!("it is mounted on {}, which nobody is recorded for", place.display());
            self.found(Difference::LingeringMount, title.to_owned(), about, detail, || {
                Ok(detach::trim(core, row, image, attached)? == detach::Released::Free)
            })?;
        }
        Ok(())
    }

    /// What is mounted below the mount directory, is of no volume's record, and would be in its way. What is
    /// of a volume of another pool is told of by the check of that.
    pub(super) fn strange_mounts(&mut self) -> Result<()> {
        let places = &self.core.places;
        let root = places.root().to_owned();
        for found in mountinfo::own().on("mounts")? {
            let path = found.mount_point;
            if path == root || !path.starts_with(&root) {
                continue;
            }
            let id = places.volume_of(&path);
            let known = id.map(|id| self.core.store.read(|r| volumes::by_id(r, id))).transpose()?.flatten();
            let detail = match known {
                Some(row) if row.placement.pool != self.row.id => continue,
                Some(row) => {
                    let fronts = Front::ALL.into_iter().flat_map(|front| {
                        [true, false].map(|read_only| places.published(row.id, front, read_only))
                    });
                    let own = [places.base(row.id), places.node(row.id), places.incoming(row.id)];
                    if own.into_iter().chain(fronts).any(|place| place == path) {
                        continue;
                    }
                    format!("it is in the way of volume {}", row.title())
                }
                None => "no record explains what is mounted there".to_owned(),
            };
            let subject = path.display().to_string();
            self.found(Difference::ForeignMount, subject, About::Path, detail, || Ok(false))?;
        }
        Ok(())
    }
}

/// What is mounted there, if anything is.
fn mounted(place: &Path, object: &str) -> Result<Option<DeviceNumber>> {
    match mount::mounted_at(place) {
        Ok(mounted) => Ok(mounted.map(|mounted| mounted.device)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error).on(object),
    }
}
