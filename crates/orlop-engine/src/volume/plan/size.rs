//! Changes of a volume's size: whether they can be made, how, and what they cost. Pure.

use std::cmp::Ordering;

use orlop_model::{Error, ErrorKind, FilesystemKind, Result, Size, resource::How};

use super::{Existing, immutable};
use crate::admission::human;

/// What a change of size depends on now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Who uses the volume, in words.
    pub(crate) users: Option<String>,
    /// The kernel lets the daemon grow a mounted ext4.
    pub(crate) grows_mounted_ext4: bool,
    /// How small an ext4 that nobody uses could be made, in bytes.
    pub(crate) least: Option<u64>,
}

/// A change of size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resize {
    pub(crate) from: Size,
    pub(crate) to: Size,
    pub(crate) how: How,
}

/// How the size changes; `None` where it stays.
pub(super) fn resize(existing: Existing<'_>, to: Size) -> Result<Option<Resize>> {
    let from = existing.manifest.volume.size;
    let how = match (existing.filesystem, from.cmp(&to)) {
        (_, Ordering::Equal) => return Ok(None),
        (Some(FilesystemKind::Xfs) | None, Ordering::Less) => How::InPlace,
        (Some(FilesystemKind::Ext4), Ordering::Less) => grow_ext4(existing, to)?,
        (None, Ordering::Greater) => {
            let how = "it is a block device, and only its users know what is at its end";
            return Err(immutable(existing, "size", &from, &to, how)
                .hint("make a smaller volume of another name, and have them copy what they need"));
        }
        (Some(FilesystemKind::Xfs), Ordering::Greater) => {
            return Err(
                immutable(existing, "size", &from, &to, "XFS can't shrink").hint(remake(existing.title, to))
            );
        }
        (Some(FilesystemKind::Ext4), Ordering::Greater) => shrink_ext4(existing, to)?,
    };
    Ok(Some(Resize { from, to, how }))
}

fn grow_ext4(existing: Existing<'_>, to: Size) -> Result<How> {
    match &existing.facts.users {
        _ if existing.facts.grows_mounted_ext4 => Ok(How::InPlace),
        None => Ok(How::WithCopy),
        Some(users) => Err(Error::new(
            ErrorKind::InUse,
            format!(
                "volume {} is in use by {users}, and can't grow to {to} now: it has an ext4, which the kernel grows in use only for a daemon with CAP_SYS_RESOURCE, and this one lacks it",
                existing.title
            ),
        )
        .object("volume.size")
        .hint("stop what uses it and apply again; or give the daemon CAP_SYS_RESOURCE")),
    }
}

fn shrink_ext4(existing: Existing<'_>, to: Size) -> Result<How> {
    let from = existing.manifest.volume.size;
    if let Some(users) = &existing.facts.users {
        return Err(Error::new(
            ErrorKind::InUse,
            format!(
                "volume {} is in use by {users}: an ext4 can shrink from {from} to {to} only while nobody uses it",
                existing.title
            ),
        )
        .object("volume.size")
        .hint("stop what uses it and apply again"));
    }
    // Unknown is no promise: then it is tried, on a copy.
    let needs = existing.facts.least.map_or(0, with_margin);
    if needs > to.bytes() {
        let how = format!("what is in it needs {}", human(needs));
        return Err(immutable(existing, "size", &from, &to, &how)
            .hint(format!("delete what is not needed in it, or ask for at least {}", human(needs))));
    }
    Ok(How::WithCopy)
}

/// A filesystem that was shrunk to the last block takes no more files.
fn with_margin(least: u64) -> u64 {
    least.saturating_add((least / 10).max(1 << 20))
}

fn remake(title: &str, to: Size) -> String {
    let (workspace, name) = title.split_once('/').unwrap_or(("public", title));
    format!(
        "orlop volume migrate -w {workspace} -n {name} --size {to} copies the files into a new filesystem of that size, while nobody uses it"
    )
}

/// What a volume that becomes `to` bytes long pays for having been made with `made`: a filesystem keeps
/// the layout that it was made with.
pub(crate) fn outgrown(title: &str, filesystem: FilesystemKind, made: Size, to: Size) -> Option<String> {
    const WELL: u64 = 16;
    if to.bytes() <= made.bytes().saturating_mul(WELL) {
        return None;
    }
    let price = match filesystem {
        // Made with four allocation groups; all further ones are as large.
        FilesystemKind::Xfs => format!(
            "its XFS will have {} allocation groups instead of 4",
            to.bytes().div_ceil((made.bytes() / 4).max(1))
        ),
        FilesystemKind::Ext4 => "its ext4 has no room kept for that many block groups".to_owned(),
    };
    Some(format!(
        "{to} is more than {WELL} times the size that volume {title} was made with ({made}): {price}, which makes it slower; {}",
        remake(title, to)
    ))
}
