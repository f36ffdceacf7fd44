//! A consumer's group in place of the volume's own.
//!
//! Each consumer may come with another group, which it wants all files to have. On disk they have the
//! volume's own group: the `gid` of its manifest, else 0, which is what the directory has where nobody
//! said otherwise, so that nothing on disk has to change hands. The mount exchanges the two, and the
//! directory passes its group on to what is made in it. So consumers of different groups each see
//! their own, nothing is walked through or rewritten, and one without a group sees what is there.

use std::{os::fd::AsFd, path::Path};

use orlop_model::Result;
use orlop_sys::{
    beneath::{self, OFlags},
    filesystem::DATA_DIRECTORY,
    idmap::IdMap,
    ownership::{self, Ownership},
};

use crate::{
    backend::image::Image,
    fault::{self, Point},
    host::On,
    request::Form,
    store::VolumeRow,
};

/// What a directory needs that passes its group on and is that group's to write.
const SHARED: u32 = 0o2070;

/// The table that the consumer's mount has, where it comes with a group. The volume's directory is
/// made its group's to write, unless the consumer only reads. `root` is the filesystem's root.
pub(crate) fn map(
    row: &VolumeRow,
    image: &Image,
    root: impl AsFd,
    form: &Form,
    read_only: bool,
) -> Result<Option<IdMap>> {
    let group = match form {
        Form::Filesystem { group, .. } => *group,
        Form::Block => None,
    };
    let Some(group) = group else { return Ok(None) };
    let own = row.manifest.volume.gid.unwrap_or(0);
    if !read_only {
        share(image, root, own)?;
        fault::point(Point::PublishShared)?;
    }
    if group == own {
        return Ok(None);
    }
    IdMap::exchanging_groups(own, group).on(&image.object).map(Some)
}

/// Of the directory alone: what is in it belongs to its users.
fn share(image: &Image, root: impl AsFd, own: u32) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let data = beneath::open(root, Path::new(DATA_DIRECTORY), flags).on(&image.object)?;
    let found = ownership::of(&data).on(&image.object)?;
    let mode = found.mode.unwrap_or_default();
    if found.gid == Some(own) && mode & SHARED == SHARED {
        return Ok(());
    }
    let wanted = Ownership { uid: None, gid: Some(own), mode: Some(mode | SHARED) };
    ownership::apply(&data, wanted).on(&image.object)
}
