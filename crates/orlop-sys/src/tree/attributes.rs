//! Owner, permissions, extended attributes and times of one entry.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, Statx, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, lgetxattr,
    llistxattr, lsetxattr, utimensat,
};
use rustix::io::Errno;

use super::walk::Kind;
use crate::error::{Result, SysError};

/// The kernel has no longer values, and no longer lists of names.
const LONGEST: usize = 64 << 10;

/// Extended attributes by name, in order.
pub(super) type Extended = Vec<(CString, Vec<u8>)>;

/// An entry by a path of our own making: the directory's descriptor and one name in it, which is not
/// followed where it is a link. Descriptors of the entry itself would not do: links, FIFOs and nodes
/// can't be opened.
pub(super) fn path_of(directory: BorrowedFd<'_>, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name)
}

/// All extended attributes; none where the filesystem has none.
pub(super) fn extended(entry: &Path, shown: &Path) -> Result<Extended> {
    let failed = |errno| SysError::on("read the extended attributes of", shown, errno);
    let mut list = vec![0; LONGEST];
    let length = match llistxattr(entry, list.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(errno) => return Err(failed(errno)),
    };
    let mut found = Vec::new();
    let names = list.get(..length).unwrap_or_default().split(|byte| *byte == 0);
    for name in names.filter(|name| !name.is_empty()) {
        let Ok(name) = CString::new(name) else { continue };
        let mut value = vec![0; LONGEST];
        match lgetxattr(entry, &name, value.as_mut_slice()) {
            Ok(length) => {
                value.truncate(length);
                found.push((name, value));
            }
            // Taken away meanwhile, or one that the kernel lists and has no value for.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    found.sort();
    Ok(found)
}

/// Gives `to` what `from` has. The order matters: a change of owner clears permissions and
/// capabilities, and all of them change times.
pub(super) fn apply(from: &Path, found: &Statx, kind: Kind, to: &Path, shown: &Path) -> Result<()> {
    let failed = |operation| move |errno| SysError::on(operation, shown, errno);
    let (uid, gid) = (Uid::from_raw(found.stx_uid), Gid::from_raw(found.stx_gid));
    chownat(CWD, to, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed("give its owner to"))?;
    for (name, value) in extended(from, shown)? {
        lsetxattr(to, &name, &value, XattrFlags::empty())
            .map_err(failed("give its extended attributes to"))?;
    }
    if kind != Kind::Link {
        let mode = Mode::from_raw_mode(u32::from(found.stx_mode) & 0o7777);
        chmodat(CWD, to, mode, AtFlags::empty()).map_err(failed("give its permissions to"))?;
    }
    let time = |at: rustix::fs::StatxTimestamp| Timespec { tv_sec: at.tv_sec, tv_nsec: at.tv_nsec.into() };
    let times = Timestamps { last_access: time(found.stx_atime), last_modification: time(found.stx_mtime) };
    utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("give its times to"))
}
