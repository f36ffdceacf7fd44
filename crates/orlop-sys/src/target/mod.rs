//! A directory that a user wants a volume mounted on.
//!
//! The user may exchange any part of the path at any moment, for a symbolic link to somebody
//! else's directory above all. So the path is resolved once, following no link, and everything after
//! that (checks, mount, undo) is done to what the descriptor refers to.

mod device;
mod root;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, StatxAttributes, mkdirat, openat, statat,
    unlinkat,
};
use rustix::io::Errno;

use crate::beneath::resolved;
use crate::error::{Result, SysError, TargetRefusal};
use crate::identity::{DeviceNumber, FileIdentity};
use crate::idmap::IdMap;
use crate::mount;

pub use device::{FileTarget, MountedNode, make_node};
pub use root::TargetRoot;

/// A directory that was opened and may be mounted on.
#[derive(Debug)]
pub struct Target {
    fd: OwnedFd,
    parent: OwnedFd,
    name: OsString,
    path: PathBuf,
    identity: FileIdentity,
}

/// The place of a target: the directory it is in, opened, and its name there. Enough to unmount, and
/// to make and remove the directory.
#[derive(Debug)]
pub struct TargetPlace {
    parent: OwnedFd,
    name: OsString,
    path: PathBuf,
}

impl AsFd for Target {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens a directory to mount on. `path` is absolute, and none of its components is a symbolic
/// link; the directory is empty, nothing is mounted on it, and `owner_uid` owns it (`None`: whoever
/// asks may use any directory, which is root's right).
///
/// # Errors
/// [`SysError::TargetRefused`] with the reason; [`SysError::NotFound`].
pub fn open_target(path: &Path, owner_uid: Option<u32>) -> Result<Target> {
    open_place(path)?.open(owner_uid)
}

/// Opens the place of a directory that may be mounted on already, to ask what is there or to
/// unmount it. The rules for the path are the same; the directory itself is not opened.
pub fn open_place(path: &Path) -> Result<TargetPlace> {
    let refuse = |reason| SysError::TargetRefused { path: path.to_owned(), reason };
    let (directory, name) = split_absolute(path).ok_or_else(|| refuse(TargetRefusal::NotAbsolute))?;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = resolved(CWD, &directory, flags, Mode::empty(), resolve)
        .map_err(|errno| refused_lookup(path, errno))?;
    Ok(TargetPlace { parent, path: directory.join(&name), name })
}

impl TargetPlace {
    /// The path, absolute and without `.` or doubled slashes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is mounted there: the topmost mount, or nothing.
    pub fn mounted(&self) -> Result<Option<mount::Mounted>> {
        mount::mounted_below(&self.parent, &self.name)
    }

    /// Makes the directory with this mode; says whether it was missing.
    pub fn make_directory(&self, mode: u32) -> Result<bool> {
        match mkdirat(&self.parent, &self.name, Mode::from_raw_mode(mode)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(SysError::on("make the directory", &self.path, errno)),
        }
    }

    /// Whether there is a directory. What a symbolic link leads to is none.
    pub fn is_directory(&self) -> Result<bool> {
        match statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(FileType::from_raw_mode(found.st_mode) == FileType::Directory),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(SysError::on("look at", &self.path, errno)),
        }
    }

    /// Removes the directory, which has to be empty; says whether there was one.
    ///
    /// # Errors
    /// [`TargetRefusal::NotEmpty`], [`TargetRefusal::NotADirectory`], [`SysError::Busy`] while
    /// something is mounted on it.
    pub fn remove_directory(&self) -> Result<bool> {
        let refuse = |reason| SysError::TargetRefused { path: self.path.clone(), reason };
        match unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(refuse(TargetRefusal::NotEmpty)),
            Err(Errno::NOTDIR) => Err(refuse(TargetRefusal::NotADirectory)),
            Err(Errno::BUSY) => Err(SysError::Busy {
                path: self.path.clone(),
                detail: "something is mounted on it".to_owned(),
            }),
            Err(errno) => Err(SysError::on("remove the directory", &self.path, errno)),
        }
    }

    /// Opens the directory to mount on it; for the rules see [`open_target`].
    pub fn open(self, owner_uid: Option<u32>) -> Result<Target> {
        let Self { parent, name, path } = self;
        let refuse = |reason| SysError::TargetRefused { path: path.clone(), reason };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        // Not O_PATH: its content is looked at through this very descriptor.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = resolved(&parent, Path::new(&name), flags, Mode::empty(), resolve)
            .map_err(|errno| refused_lookup(&path, errno))?;

        let found = mount::look(&fd)?;
        if found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Err(refuse(TargetRefusal::AlreadyMounted { device: mount::from_statx(&found).device }));
        }
        if let Some(caller) = owner_uid
            && found.stx_uid != caller
        {
            return Err(refuse(TargetRefusal::NotOwner { owner: found.stx_uid, caller }));
        }
        if !is_empty(&fd, &path)? {
            return Err(refuse(TargetRefusal::NotEmpty));
        }
        Ok(Target { identity: FileIdentity::of_statx(&found), fd, parent, name, path })
    }

    /// Comes back when every rename that had begun in the directory has ended.
    ///
    /// The kernel refuses to rename what is mounted on, but looks before it renames, and a mount waits
    /// for no rename of a directory: one that begins before the mount can end after it, and takes
    /// the mount along. A rename holds the lock of the directory all the time, and so does whoever
    /// reads it.
    fn wait_for_renames(&self) -> Result<()> {
        let failed = |errno| SysError::on("read the directory of", &self.path, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match openat(&self.parent, ".", flags, Mode::empty()) {
            // A network filesystem may let root pass only. There a rename is another machine's too, and
            // no lock would help.
            Err(Errno::ACCESS) => return Ok(()),
            other => other.map_err(failed)?,
        };
        Dir::new(directory).map_err(failed)?.next().transpose().map_err(failed)?;
        Ok(())
    }

    /// Unmounts what is mounted there if it is of this device. See [`mount::unmount_below`].
    pub fn unmount(&self, expected: DeviceNumber) -> Result<()> {
        mount::unmount_below(&self.parent, &self.name, expected)
    }
}

impl Target {
    /// The path, absolute and without `.` or doubled slashes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory itself, beneath whatever is mounted on it.
    pub fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Mounts a directory of a mounted filesystem here, with `ids` in place of those on disk where a
    /// table is given, and makes sure that it is found at the path afterwards; where it isn't, as the
    /// directory was moved meanwhile, the mount is undone.
    ///
    /// # Errors
    /// As [`mount::bind`], and [`TargetRefusal::Moved`].
    pub fn bind(
        &self,
        source: impl AsFd,
        directory: &Path,
        attributes: mount::MountAttributes,
        ids: Option<&IdMap>,
    ) -> Result<mount::Mounted> {
        let (mounted, tree) = mount::bind_tree(source, directory, attributes, ids, &self.fd)
            .map_err(|error| self.name_target(error))?;
        if self.shows(mounted) {
            return Ok(mounted);
        }
        mount::take_away(&tree)?;
        Err(SysError::TargetRefused { path: self.path.clone(), reason: TargetRefusal::Moved })
    }

    /// Whether a fresh, equally strict lookup of the path finds this mount, for good: nobody can move
    /// the directory afterwards.
    fn shows(&self, mounted: mount::Mounted) -> bool {
        open_place(&self.path)
            .and_then(|place| {
                place.wait_for_renames()?;
                place.mounted()
            })
            .is_ok_and(|found| found == Some(mounted))
    }

    /// The place of this target, for a later unmount.
    pub fn into_place(self) -> TargetPlace {
        TargetPlace { parent: self.parent, name: self.name, path: self.path }
    }

    fn name_target(&self, error: SysError) -> SysError {
        match error {
            SysError::Call {
                operation,
                path: None,
                // The directory was removed after it was opened.
                errno: Errno::NOENT,
                ..
            } => SysError::NotFound { operation, path: self.path.clone() },
            SysError::Call { operation, path: None, errno, detail } => {
                SysError::Call { operation, path: Some(self.path.clone()), errno, detail }
            }
            other => other,
        }
    }
}

fn refused_lookup(path: &Path, errno: Errno) -> SysError {
    let reason = match errno {
        Errno::LOOP => TargetRefusal::SymbolicLink,
        Errno::NOTDIR => TargetRefusal::NotADirectory,
        other => return SysError::on("open the target", path, other),
    };
    SysError::TargetRefused { path: path.to_owned(), reason }
}

/// An absolute path without `..` as its directory and its last name, both without `.` and
/// doubled slashes.
fn split_absolute(path: &Path) -> Option<(PathBuf, OsString)> {
    let mut names: Vec<&OsStr> = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name),
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    let last = names.pop().filter(|_| path.is_absolute())?;
    let mut directory = PathBuf::from("/");
    directory.extend(names);
    Some((directory, last.to_owned()))
}

fn is_empty(directory: &OwnedFd, path: &Path) -> Result<bool> {
    let failed = |errno| SysError::on("read the directory", path, errno);
    for entry in Dir::read_from(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}
