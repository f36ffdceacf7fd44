//! Another UUID for the filesystem in an image: a clone must not be taken for what it was cloned from.
//!
//! It is written by us where that is a matter of a few checksummed blocks, of which each is proved to
//! be what it should be before it is changed: `xfs_admin` would rewrite the whole log, which takes
//! a third of a second and 64 MiB of the host's disk a clone. Where anything is not as expected,
//! the programs do it.

mod ext4;
mod xfs;

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use super::{FsKind, mkfs::format_uuid};
use crate::error::{Result, SysError};
use crate::image;
use crate::process::Program;

/// The programs rewrite the log, or all descriptors of block groups.
const PROGRAM_LIMIT: Duration = Duration::from_secs(120);

/// A block to be written, and where.
type Patch = (u64, Vec<u8>);

/// Whether the log of the filesystem in an image holds nothing that the next mount would replay. The
/// image is not attached. Where it can't be told, it is said not to be clean.
pub fn log_is_clean(path: &Path, kind: FsKind) -> Result<bool> {
    let file = image::open_existing(path)?;
    let clean = match kind {
        FsKind::Ext4 => ext4::is_clean(&file),
        FsKind::Xfs => xfs::last_record(&file).map(|record| record.is_some()),
    };
    clean.map_err(|error| SysError::io("read the image", path, &error))
}

/// Gives the filesystem in an image another UUID. The image is not attached, and its log is clean.
/// Not flushed; a crash in between leaves an image of no use, so it is one that nobody has yet.
pub fn set_uuid(path: &Path, kind: FsKind, uuid: [u8; 16]) -> Result<()> {
    let file = image::open_existing(path)?;
    let patches = match kind {
        FsKind::Ext4 => ext4::patches(&file, uuid),
        FsKind::Xfs => xfs::patches(&file, uuid),
    };
    let failed = |error: std::io::Error| SysError::io("give another UUID to", path, &error);
    match patches.map_err(failed)? {
        Some(patches) => {
            patches.iter().try_for_each(|(at, bytes)| file.write_all_at(bytes, *at)).map_err(failed)
        }
        None => by_program(path, kind, uuid),
    }
}

fn by_program(path: &Path, kind: FsKind, uuid: [u8; 16]) -> Result<()> {
    let program = match kind {
        FsKind::Ext4 => Program { name: "tune2fs", package: "e2fsprogs" },
        FsKind::Xfs => Program { name: "xfs_admin", package: "xfsprogs" },
    };
    let uuid = format_uuid(uuid);
    let arguments = [OsStr::new("-U"), OsStr::new(&uuid), path.as_os_str()];
    program.run(&arguments, &[], PROGRAM_LIMIT)?.success().map(drop)
}

/// `length` bytes of the image; `None` where it is shorter.
fn read(file: &File, at: u64, length: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; length];
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn array<const LENGTH: usize>(bytes: &[u8], at: usize) -> Option<[u8; LENGTH]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..value.len())) {
        place.copy_from_slice(value);
    }
}
