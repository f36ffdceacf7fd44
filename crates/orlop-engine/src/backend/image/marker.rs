//! `.orlop/volume` inside the filesystem: which volume it is, and what ownership was applied to the
//! directory that users see. It is written last of the first mount, so that without it nothing that
//! it says has happened.

use std::{os::fd::AsFd, path::Path, path::PathBuf};

use orlop_model::{Result, VolumeId};
use orlop_sys::{
    beneath::{self, OFlags},
    filesystem::{DATA_DIRECTORY, OWN_DIRECTORY},
    ownership::{self, Ownership},
};
use serde::{Deserialize, Serialize};

use super::{Image, health};
use crate::{
    fault::{self, Point},
    host::On,
};

const MARKER: &str = "volume";
const FORMAT: u32 = 1;
/// Markers are filled up with spaces to this length, in bytes: within one sector and always the same,
/// so that a new one takes the place of the old as a whole, also in a volume that is full.
const LENGTH: usize = 256;
/// No marker is longer, in bytes.
const LONGEST: usize = 4096;

/// What the marker says. Fields that were never asked for are not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    format: u32,
    volume: VolumeId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
}

/// Makes sure that the mounted filesystem is this volume's, that its directory for users has the
/// ownership that is asked for, and that the marker says so. `root` is the filesystem's root.
///
/// Ownership is applied when it was never applied, or when what is asked for has changed: what users
/// changed themselves meanwhile stays. Never recursive.
///
/// # Errors
/// [`orlop_model::ErrorKind::Damaged`] where it is another volume's, or not one of ours.
pub(crate) fn settle(image: &Image, root: impl AsFd, wanted: Ownership) -> Result<()> {
    let found = read(image, &root)?;
    let own = found.as_ref().is_some_and(|marker| marker.volume == image.id);
    let applied = found.map(|marker| Ownership { uid: marker.uid, gid: marker.gid, mode: marker.mode });
    // A directory of that name, and no link to somewhere else.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let data = beneath::open(&root, Path::new(DATA_DIRECTORY), flags)
        .map_err(|error| health::damaged(image, &format!("it has no directory {DATA_DIRECTORY}: {error}")))?;
    if own && applied == Some(wanted) {
        return Ok(());
    }
    let before = applied.unwrap_or_default();
    let changed = Ownership {
        uid: wanted.uid.filter(|_| wanted.uid != before.uid),
        gid: wanted.gid.filter(|_| wanted.gid != before.gid),
        mode: wanted.mode.filter(|_| wanted.mode != before.mode),
    };
    ownership::apply(&data, changed).on(&image.object)?;
    fault::point(Point::AttachOwned)?;
    let marker =
        Marker { format: FORMAT, volume: image.id, uid: wanted.uid, gid: wanted.gid, mode: wanted.mode };
    let mut bytes = serde_json::to_vec(&marker)
        .map_err(|error| health::damaged(image, &format!("its marker can't be written: {error}")))?;
    bytes.resize(bytes.len().max(LENGTH), b' ');
    beneath::write_file(&root, &path(), &bytes, 0o600).on(&image.object)?;
    fault::point(Point::AttachMarked)
}

/// Confirms that the mounted filesystem is this volume's.
pub(crate) fn confirm(image: &Image, root: impl AsFd) -> Result<()> {
    match read(image, root)? {
        Some(marker) if marker.volume == image.id => Ok(()),
        Some(_) | None => Err(health::damaged(image, "its marker is gone")
            .hint("stop what uses it; it is marked anew at the next use")),
    }
}

/// The marker, if it was written. One of another volume is an error, unless the image was made from
/// that volume's.
fn read(image: &Image, root: impl AsFd) -> Result<Option<Marker>> {
    let bytes = match beneath::read_file(root, &path(), LONGEST) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(health::damaged(image, &format!("its marker can't be read: {error}"))),
    };
    // A crash while it was written leaves it empty or without its content.
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let marker: Marker = serde_json::from_slice(&bytes)
        .map_err(|error| health::damaged(image, &format!("its marker is not one of ours: {error}")))?;
    if marker.volume != image.id && !image.marks.contains(&marker.volume) {
        return Err(health::damaged(
            image,
            &format!("it holds the data of another volume, {}", marker.volume),
        )
        .hint("somebody exchanged images: put the right one back; nothing was written to this one"));
    }
    Ok(Some(marker))
}

fn path() -> PathBuf {
    Path::new(OWN_DIRECTORY).join(MARKER)
}
