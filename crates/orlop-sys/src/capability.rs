//! What the filesystem of a directory can do, found out by doing it to a file that has no name.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, ioctl_ficlone, open};
use rustix::io::Errno;

use crate::error::{Result, SysError};

const BLOCK: u64 = 4096;

/// What a filesystem can do, beyond files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Files can share blocks: a clone takes no time and no space.
    pub reflink: bool,
    /// Blocks inside a file can be given back.
    pub punch_hole: bool,
}

/// Tries it out in `directory`. Leaves nothing there, also after a crash.
pub fn probe(directory: &Path) -> Result<Capabilities> {
    let Some(source) = unnamed(directory)? else {
        return Ok(Capabilities { reflink: false, punch_hole: false });
    };
    let Some(clone) = unnamed(directory)? else {
        return Ok(Capabilities { reflink: false, punch_hole: false });
    };
    let failed = |errno| SysError::on("try out the filesystem of", directory, errno);
    let content = [1; BLOCK as usize];
    rustix::io::write(&source, &content).map_err(failed)?;
    let reflink = able(ioctl_ficlone(&clone, &source)).map_err(failed)?;
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let punch_hole = able(fallocate(&source, punch, 0, BLOCK)).map_err(failed)?;
    Ok(Capabilities { reflink, punch_hole })
}

/// A file without a name; `None` where the filesystem has none.
fn unnamed(directory: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    match open(directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => Ok(None),
        Err(errno) => Err(SysError::on("make a file in", directory, errno)),
    }
}

fn able(tried: rustix::io::Result<()>) -> rustix::io::Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::NOSYS | Errno::XDEV) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::filesystem::FsKind;
    use crate::testing::{MIB, Scratch, Volume, may_mount};

    #[test]
    fn what_a_filesystem_can_is_found_out_and_nothing_stays() {
        if !may_mount() {
            return;
        }
        let scratch = Scratch::new();
        for (kind, size, reflink) in [(FsKind::Ext4, 32 * MIB, false), (FsKind::Xfs, 320 * MIB, true)] {
            let volume = Volume::new(&scratch, kind.name(), kind, size);
            let place = scratch.directory(&format!("mnt-{kind}"));
            volume.mount(&place);
            assert_eq!(probe(&place).unwrap(), Capabilities { reflink, punch_hole: true }, "{kind}");
            assert_eq!(std::fs::read_dir(place.join("data")).unwrap().count(), 0);
        }
        assert!(probe(Path::new("/no/such/place")).unwrap_err().is_not_found());
    }
}
