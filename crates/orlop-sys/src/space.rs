//! How full a filesystem is, and which one it is.

use std::path::Path;

use rustix::fs::{StatFs, StatVfsMountFlags, statfs, statvfs};

use crate::error::{Result, SysError};

/// What `df` shows of a filesystem. All but the inode counts are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceUse {
    /// What the filesystem can hold, its own metadata not counted.
    pub capacity: u64,
    /// What is used.
    pub used: u64,
    /// What a user who is not root can still write.
    pub available: u64,
    /// How many files it can hold; 0 where the filesystem makes inodes as it needs them.
    pub inodes: u64,
    /// How many it holds.
    pub inodes_used: u64,
    /// The mount at the path, or the filesystem itself, is read-only. A filesystem that met an
    /// error in its metadata makes itself so.
    pub read_only: bool,
}

/// The use of the filesystem that `path` is on.
///
/// On btrfs, and under directory quotas, this is what the filesystem as a whole has.
pub fn usage(path: &Path) -> Result<SpaceUse> {
    let found = statvfs(path).map_err(|errno| SysError::on("ask for the free space of", path, errno))?;
    let unit = found.f_frsize;
    Ok(SpaceUse {
        capacity: found.f_blocks.saturating_mul(unit),
        used: found.f_blocks.saturating_sub(found.f_bfree).saturating_mul(unit),
        available: found.f_bavail.saturating_mul(unit),
        inodes: found.f_files,
        inodes_used: found.f_files.saturating_sub(found.f_ffree),
        read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

/// The name of the filesystem that `path` is on, as in `/proc/filesystems`; where it is none of
/// those known here, its magic number.
pub fn filesystem_kind(path: &Path) -> Result<String> {
    let found: StatFs =
        statfs(path).map_err(|errno| SysError::on("ask for the filesystem of", path, errno))?;
    // The low 32 bits are the magic number; the field is signed on some machines.
    let magic = found.f_type as u64 & 0xffff_ffff;
    Ok(match magic {
        0xef53 => "ext4".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x0102_1994 => "tmpfs".to_owned(),
        0x8584_58f6 => "ramfs".to_owned(),
        0x794c_7630 => "overlay".to_owned(),
        0x6969 => "nfs".to_owned(),
        0x6573_5546 => "fuse".to_owned(),
        0x2fc1_2fc1 => "zfs".to_owned(),
        0xf2f5_2010 => "f2fs".to_owned(),
        0x00c3_6400 => "ceph".to_owned(),
        0xca45_1a4e => "bcachefs".to_owned(),
        other => format!("{other:#x}"),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_bytes_and_consistent() {
        let space = usage(Path::new("/")).unwrap();
        assert!(space.capacity > 1 << 30, "{space:?}");
        assert!(space.used <= space.capacity);
        assert!(space.available <= space.capacity - space.used);
        assert!(usage(Path::new("/no/such/place")).unwrap_err().is_not_found());
    }

    #[test]
    fn filesystems_are_named() {
        assert_eq!(filesystem_kind(Path::new("/proc")).unwrap(), "0x9fa0");
        assert!(!filesystem_kind(Path::new("/")).unwrap().is_empty());
    }
}
