//! A file that an orchestrator wants a block device on: the node of the device is mounted there. The
//! rules for the path are those of directories.
//!
//! What is mounted is the node, not the device: the kernel's table shows the filesystem that the node
//! is in, and does not count the device as used.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxAttributes, mknodat, open, openat, statat,
    unlinkat,
};
use rustix::io::Errno;

use super::{TargetPlace, refused_lookup};
use crate::beneath::resolved;
use crate::error::{Result, SysError, TargetRefusal};
use crate::identity::DeviceNumber;
use crate::mount;

/// The node of a block device that is mounted somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountedNode {
    /// The block device.
    pub device: DeviceNumber,
    /// The filesystem that the node is in.
    pub holder: DeviceNumber,
}

/// An empty file that was opened and may be mounted on.
#[derive(Debug)]
pub struct FileTarget {
    fd: OwnedFd,
    path: PathBuf,
}

impl TargetPlace {
    /// Makes the file, empty and with this mode; says whether it was missing.
    pub fn make_file(&self, mode: u32) -> Result<bool> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.parent, &self.name, flags, Mode::from_raw_mode(mode)) {
            Ok(_) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(SysError::on("make the file", &self.path, errno)),
        }
    }

    /// Opens the file to mount on it: a regular one, empty, with nothing mounted on it.
    ///
    /// # Errors
    /// [`SysError::TargetRefused`] with the reason; [`SysError::NotFound`].
    pub fn open_file(&self) -> Result<FileTarget> {
        let refuse = |reason| SysError::TargetRefused { path: self.path.clone(), reason };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        // Only as a place: opening a device or a FIFO would do something.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = resolved(&self.parent, Path::new(&self.name), flags, Mode::empty(), resolve)
            .map_err(|errno| refused_lookup(&self.path, errno))?;
        let found = mount::look(&fd)?;
        if found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Err(refuse(TargetRefusal::AlreadyMounted { device: mount::from_statx(&found).device }));
        }
        match FileType::from_raw_mode(u32::from(found.stx_mode)) {
            FileType::RegularFile => {}
            FileType::Symlink => return Err(refuse(TargetRefusal::SymbolicLink)),
            _ => return Err(refuse(TargetRefusal::NotAFile)),
        }
        if found.stx_size > 0 {
            return Err(refuse(TargetRefusal::NotEmpty));
        }
        Ok(FileTarget { fd, path: self.path.clone() })
    }

    /// Removes the file, which has to be empty; says whether there was one.
    ///
    /// # Errors
    /// [`TargetRefusal::NotEmpty`], [`TargetRefusal::NotAFile`], [`SysError::Busy`] while something is
    /// mounted on it.
    pub fn remove_file(&self) -> Result<bool> {
        let refuse = |reason| SysError::TargetRefused { path: self.path.clone(), reason };
        let found = match statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(SysError::on("look at", &self.path, errno)),
        };
        // What is mounted there is looked at, not the file below, which can't be removed then anyway.
        let kind = FileType::from_raw_mode(found.st_mode);
        match kind {
            FileType::RegularFile if found.st_size > 0 => return Err(refuse(TargetRefusal::NotEmpty)),
            FileType::RegularFile | FileType::BlockDevice => {}
            _ => return Err(refuse(TargetRefusal::NotAFile)),
        }
        let busy =
            || SysError::Busy { path: self.path.clone(), detail: "something is mounted on it".to_owned() };
        if kind == FileType::BlockDevice && self.mounted_node()?.is_none() {
            return Err(refuse(TargetRefusal::NotAFile));
        }
        match unlinkat(&self.parent, &self.name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(Errno::BUSY) => Err(busy()),
            Err(errno) => Err(SysError::on("remove the file", &self.path, errno)),
        }
    }

    /// The node of a block device that is mounted here: of the topmost mount.
    pub fn mounted_node(&self) -> Result<Option<MountedNode>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match openat(&self.parent, &self.name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(SysError::on("look at", &self.path, errno)),
        };
        let found = mount::look(&fd)?;
        if !found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Ok(None);
        }
        let node = DeviceNumber::of_block_node(&found);
        Ok(node.map(|device| MountedNode { device, holder: mount::from_statx(&found).device }))
    }

    /// Unmounts a node that is mounted here, if it is that one. The device itself is not touched.
    ///
    /// # Errors
    /// [`SysError::Busy`] while somebody has the device open by this very mount;
    /// [`SysError::NotMounted`], [`SysError::WrongDevice`].
    pub fn unmount_node(&self, expected: MountedNode) -> Result<()> {
        match self.mounted_node()? {
            Some(found) if found == expected => {}
            Some(found) => {
                return Err(SysError::WrongDevice {
                    path: self.path.clone(),
                    expected: expected.device,
                    found: found.device,
                });
            }
            None => return Err(SysError::NotMounted { path: self.path.clone() }),
        }
        // The node's own mount is of the filesystem that holds it.
        mount::unmount_below(&self.parent, &self.name, expected.holder)
    }
}

impl FileTarget {
    /// The path, absolute and without `.` or doubled slashes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Mounts the node of a block device here. Nothing else can be opened through it, and nobody can
    /// execute it.
    ///
    /// # Errors
    /// [`SysError::WrongDevice`] where the node is not of that device.
    pub fn bind_node(&self, node: &Path, device: DeviceNumber) -> Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source =
            open(node, flags, Mode::empty()).map_err(|errno| SysError::on("look at", node, errno))?;
        let found = DeviceNumber::of_block_node(&mount::look(&source)?);
        if found != Some(device) {
            return Err(SysError::WrongDevice {
                path: node.to_owned(),
                expected: device,
                found: found.unwrap_or(DeviceNumber { major: 0, minor: 0 }),
            });
        }
        mount::bind_node(&source, &self.fd)
    }
}

/// Makes the node of a block device at a path of ours, in place of whatever file is there. Only root
/// can open it.
pub fn make_node(path: &Path, device: DeviceNumber) -> Result<()> {
    if DeviceNumber::of_node(path).is_ok_and(|found| found == Some(device)) {
        return Ok(());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(SysError::io("replace", path, &error));
        }
        Ok(()) | Err(_) => {}
    }
    let mode = Mode::from_raw_mode(0o600);
    mknodat(CWD, path, FileType::BlockDevice, mode, device.to_raw())
        .map_err(|errno| SysError::on("make the node", path, errno))
}
