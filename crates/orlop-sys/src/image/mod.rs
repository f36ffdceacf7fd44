//! Image files: sparse files of an exact length on the host's filesystem.

mod copy;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FallocateFlags, Mode, OFlags, SeekFrom, fallocate, fstat, ftruncate, open, seek};
use rustix::io::Errno;

use crate::error::{Result, SysError};

pub use copy::{checksum, copy};

/// `st_blocks` counts in these, whatever the filesystem's block size.
const STAT_BLOCK: u64 = 512;

/// Creates a sparse file of exactly `length` bytes, mode 0600, which must not exist yet. Neither
/// the file nor its directory is flushed: see [`sync`] and [`crate::durable::sync_directory`].
///
/// # Errors
/// EEXIST where anything by that name exists, EFBIG where the host filesystem has no files that long.
pub fn create(path: &Path, length: u64) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = open(path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| SysError::on("create the image", path, errno))?;
    if let Err(errno) = ftruncate(&fd, length) {
        // The file is ours and empty: don't leave it in the way of the next attempt.
        let _ = std::fs::remove_file(path);
        return Err(SysError::on("give its length to the image", path, errno));
    }
    Ok(File::from(fd))
}

/// Opens an image to read and write; a symbolic link is refused.
pub fn open_existing(path: &Path) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(path, flags, Mode::empty())
        .map(File::from)
        .map_err(|errno| SysError::on("open the image", path, errno))
}

/// Length in bytes, and bytes the host has really allocated for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageSpace {
    /// The length.
    pub length: u64,
    /// What is allocated; blocks past what was written, and metadata of the host, are not counted.
    pub allocated: u64,
}

/// How long the image is and how much of it is allocated.
pub fn space(path: &Path) -> Result<ImageSpace> {
    let found = rustix::fs::lstat(path).map_err(|errno| SysError::on("look at", path, errno))?;
    Ok(from_stat(&found))
}

/// The same of an open image.
pub fn space_of(image: impl AsFd) -> Result<ImageSpace> {
    let found = fstat(image).map_err(|errno| SysError::call("look at the image", errno))?;
    Ok(from_stat(&found))
}

fn from_stat(found: &rustix::fs::Stat) -> ImageSpace {
    ImageSpace {
        length: u64::try_from(found.st_size).unwrap_or(0),
        allocated: u64::try_from(found.st_blocks).unwrap_or(0) * STAT_BLOCK,
    }
}

/// Makes an image longer or shorter. What is cut off is gone. The new length is not yet flushed.
pub fn set_length(image: impl AsFd, length: u64) -> Result<()> {
    ftruncate(image, length).map_err(|errno| SysError::call("change the length of the image", errno))
}

/// Allocates every block of the first `length` bytes, keeping what is written already. Afterwards
/// a write inside can't fail for want of space on the host, unless blocks are given back by
/// discard.
///
/// # Errors
/// ENOSPC where the host hasn't the room; what was allocated until then stays so.
pub fn preallocate(image: impl AsFd, length: u64) -> Result<()> {
    loop {
        match fallocate(&image, FallocateFlags::empty(), 0, length) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(SysError::call("allocate the image's blocks", errno)),
        }
    }
}

/// Gives back blocks that are allocated but hold nothing: what mkfs reserved and did not write.
/// Reads as before (zeros). The image must not be attached.
///
/// Where the host filesystem can't punch holes, nothing happens.
pub fn punch_holes(image: impl AsFd) -> Result<()> {
    let length = space_of(&image)?.length;
    let mut position = 0;
    while position < length {
        // Allocated blocks that were never written also count as a hole for SEEK_HOLE.
        let hole = seek_or(&image, SeekFrom::Hole(position), length)?;
        if hole >= length {
            break;
        }
        let data = seek_or(&image, SeekFrom::Data(hole), length)?;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&image, flags, hole, data - hole) {
            Ok(()) => position = data,
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => break,
            Err(errno) => return Err(SysError::call("give back empty blocks", errno)),
        }
    }
    Ok(())
}

/// ENXIO says that there is no more data (or hole) up to the end.
fn seek_or(image: impl AsFd, to: SeekFrom, end: u64) -> Result<u64> {
    match seek(image, to) {
        Ok(found) => Ok(found),
        Err(Errno::NXIO) => Ok(end),
        Err(errno) => Err(SysError::call("look for holes in the image", errno)),
    }
}

/// Flushes content and length of the image to stable storage.
pub fn sync(image: &File, path: &Path) -> Result<()> {
    image.sync_all().map_err(|error| SysError::io("flush the image", path, &error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, PermissionsExt};

    const MIB: u64 = 1 << 20;

    #[test]
    fn an_image_is_private_sparse_and_of_exact_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.img");
        let file = create(&path, 64 * MIB + 1).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        let before = space(&path).unwrap();
        assert_eq!((before.length, before.allocated), (64 * MIB + 1, 0));
        assert!(create(&path, MIB).unwrap_err().already_exists());
        assert_eq!(space_of(&file).unwrap(), before);
    }

    #[test]
    fn a_link_in_place_of_the_image_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, b"v").unwrap();
        let path = dir.path().join("data.img");
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        assert!(create(&path, MIB).is_err());
        assert!(open_existing(&path).is_err());
        assert_eq!(std::fs::read(&victim).unwrap(), b"v");
    }

    #[test]
    fn allocated_blocks_that_hold_nothing_are_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.img");
        let file = create(&path, 16 * MIB).unwrap();
        preallocate(&file, 16 * MIB).unwrap();
        assert!(space(&path).unwrap().allocated >= 16 * MIB);
        file.write_all_at(b"kept", 5 * MIB).unwrap();
        file.sync_all().unwrap();
        punch_holes(&file).unwrap();
        let after = space(&path).unwrap();
        assert_eq!(after.length, 16 * MIB);
        assert!(after.allocated < MIB, "{after:?}");
        let mut kept = [0; 4];
        file.read_exact_at(&mut kept, 5 * MIB).unwrap();
        assert_eq!(&kept, b"kept");
    }
}
