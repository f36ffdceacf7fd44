//! What a file or a device *is*, as opposed to what it is called: names are changed and reused.

use std::fmt;
use std::os::fd::AsFd;
use std::path::Path;
use std::str::FromStr;

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, statx};

use crate::error::{Result, SysError};

/// The number of a device: of a block device, or of the filesystem a file is on.
///
/// Numbers of filesystems without a block device (btrfs, tmpfs, overlay) are given out at mount and
/// mean nothing after a reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceNumber {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl DeviceNumber {
    /// Of the filesystem that a path leads into. Where that is a server's, it is not asked: one that
    /// doesn't answer would hold us.
    pub fn of_path(path: &Path) -> Result<Self> {
        let found = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::empty())
            .map_err(|errno| SysError::on("look at", path, errno))?;
        Ok(Self { major: found.stx_dev_major, minor: found.stx_dev_minor })
    }

    /// Of the block device that a path names, or that the file is which a link in `/proc/PID/fd` leads
    /// to; `None` where it is none.
    pub fn of_node(path: &Path) -> Result<Option<Self>> {
        let found = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE)
            .map_err(|errno| SysError::on("look at", path, errno))?;
        Ok(Self::of_block_node(&found))
    }

    /// The same of what was looked at.
    pub(crate) fn of_block_node(found: &Statx) -> Option<Self> {
        let is_block = FileType::from_raw_mode(u32::from(found.stx_mode)) == FileType::BlockDevice;
        is_block.then_some(Self { major: found.stx_rdev_major, minor: found.stx_rdev_minor })
    }

    /// From the kernel's 64-bit form, as in `st_dev` and `lo_device`.
    pub(crate) fn from_raw(raw: u64) -> Self {
        Self { major: rustix::fs::major(raw), minor: rustix::fs::minor(raw) }
    }

    pub(crate) fn to_raw(self) -> u64 {
        rustix::fs::makedev(self.major, self.minor)
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.major, self.minor)
    }
}

impl FromStr for DeviceNumber {
    type Err = SysError;

    fn from_str(text: &str) -> Result<Self> {
        text.split_once(':')
            .and_then(|(major, minor)| Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? }))
            .ok_or_else(|| SysError::Invalid {
                what: "device number",
                detail: format!("`{text}` is not MAJOR:MINOR"),
            })
    }
}

/// A file, whatever it is called: its filesystem and its inode there.
///
/// Valid while the file exists or is held open; an inode number is reused after the file is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// The filesystem.
    pub device: DeviceNumber,
    /// The inode.
    pub inode: u64,
}

impl fmt::Display for FileIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "inode {} on {}", self.inode, self.device)
    }
}

impl FileIdentity {
    /// Of what a path names now. A symbolic link is not followed.
    pub fn of_path(path: &Path) -> Result<Self> {
        statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::INO)
            .map(|found| Self::of_statx(&found))
            .map_err(|errno| SysError::on("look at", path, errno))
    }

    /// Of an open file.
    pub fn of_fd(fd: impl AsFd) -> Result<Self> {
        statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::INO)
            .map(|found| Self::of_statx(&found))
            .map_err(|errno| SysError::call("look at an open file", errno))
    }

    pub(crate) fn of_statx(found: &Statx) -> Self {
        Self {
            device: DeviceNumber { major: found.stx_dev_major, minor: found.stx_dev_minor },
            inode: found.stx_ino,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_read_and_shown_as_the_kernel_does() {
        let device: DeviceNumber = "259:1048575".parse().unwrap();
        assert_eq!((device.major, device.minor), (259, 1_048_575));
        assert_eq!(device.to_string(), "259:1048575");
        assert_eq!(DeviceNumber::from_raw(device.to_raw()), device);
        for wrong in ["", "7", "7:", ":7", "a:b", "7:-1", "7:1:2"] {
            assert!(wrong.parse::<DeviceNumber>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_keeps_its_identity_when_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        std::fs::write(&old, b"x").unwrap();
        let before = FileIdentity::of_path(&old).unwrap();
        let open = std::fs::File::open(&old).unwrap();
        std::fs::rename(&old, &new).unwrap();
        assert_eq!(FileIdentity::of_path(&new).unwrap(), before);
        assert_eq!(FileIdentity::of_fd(&open).unwrap(), before);
        assert!(FileIdentity::of_path(&old).unwrap_err().is_not_found());
    }
}
