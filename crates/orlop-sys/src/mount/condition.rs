//! How the kernel says a mounted filesystem fares. What follows from that is the engine's.
//!
//! Reads no mount table where the filesystem answers: asked of each mount of many, that would cost
//! the square of their number.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::{look, mounted_on};
use crate::error::{Result, SysError};
use crate::identity::DeviceNumber;
use crate::space::{self, SpaceUse};

/// What the kernel knows of a mounted filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// How full it is.
    pub space: SpaceUse,
    /// It takes no more writes: read-only by itself after an error, or shut down. The mount itself
    /// is one that can be written.
    pub stopped: bool,
    /// Errors found in its metadata since it was last checked. Only ext4 counts them.
    pub errors: Option<u64>,
    /// Warnings since it was mounted. Every write of data that failed on the device is one, also
    /// where the program that wrote never asked. Only ext4 counts them.
    pub warnings: Option<u64>,
}

/// How the filesystem fares that is mounted on exactly this path; `None` when nothing is mounted there.
pub fn condition(path: &Path) -> Result<Option<Condition>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = open(path, flags, Mode::empty()).map_err(|errno| SysError::on("look at", path, errno))?;
    let Some(mounted) = mounted_on(&fd)? else { return Ok(None) };
    // An XFS that shut down says so of its root directory, and nowhere else.
    let shut_down = matches!(look(&fd), Err(error) if error.errno() == Some(Errno::IO));
    drop(fd);
    let space = space::usage(path)?;
    let stopped = space.read_only || shut_down;
    let Some(name) = name_of(mounted.device) else {
        return Ok(Some(Condition { space, stopped, errors: None, warnings: None }));
    };
    let ext4 = Path::new("/sys/fs/ext4").join(&name);
    Ok(Some(Condition {
        space,
        stopped: stopped || ext4_has_stopped(&name),
        errors: number(&ext4.join("errors_count")),
        warnings: number(&ext4.join("warning_count")),
    }))
}

/// The kernel's name of a block device, such as `loop3`.
fn name_of(device: DeviceNumber) -> Option<OsString> {
    let link = format!("/sys/dev/block/{}:{}", device.major, device.minor);
    std::fs::read_link(link).ok()?.file_name().map(OsStr::to_owned)
}

/// Since Linux 6.15 an ext4 that met an error no longer becomes read-only for all the world to see:
/// only its options tell.
fn ext4_has_stopped(name: &OsStr) -> bool {
    let options = Path::new("/proc/fs/ext4").join(name).join("options");
    std::fs::read_to_string(options)
        .is_ok_and(|options| options.lines().any(|word| matches!(word, "emergency_ro" | "shutdown")))
}

fn number(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}
