//! The directory of an orchestrator, below which it names all directories it wants volumes on. It is
//! found once; what is named later is looked up beneath the descriptor, following no link, wherever
//! the path to it leads by then.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, open};

use super::{TargetPlace, refused_lookup, split_absolute};
use crate::beneath::resolved;
use crate::error::{Result, SysError, TargetRefusal};

/// See the module.
#[derive(Debug)]
pub struct TargetRoot {
    fd: OwnedFd,
    /// As it was given: what the orchestrator's paths begin with.
    given: PathBuf,
    path: PathBuf,
}

impl TargetRoot {
    /// Opens the directory. Links on the way to it are followed, this once.
    pub fn open(given: &Path) -> Result<Self> {
        let path = given.canonicalize().map_err(|error| SysError::io("find", given, &error))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = open(&path, flags, Mode::empty())
            .map_err(|errno| SysError::on("open the directory", &path, errno))?;
        Ok(Self { fd, given: given.components().collect(), path })
    }

    /// The directory without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of something below as it is called here, whether it is there or not: it begins with the
    /// root as it is. `path` is absolute, and begins with the root as it was given or as it is.
    ///
    /// # Errors
    /// [`SysError::TargetRefused`] with the reason.
    pub fn path_of(&self, path: &Path) -> Result<PathBuf> {
        self.split(path).map(|(directory, name)| self.path.join(directory).join(name))
    }

    /// The place of a directory or file below: the directory that it is in has to be there, itself
    /// need not. For its path see [`Self::path_of`].
    ///
    /// # Errors
    /// [`SysError::TargetRefused`] with the reason; [`SysError::NotFound`].
    pub fn place(&self, path: &Path) -> Result<TargetPlace> {
        let (directory, name) = self.split(path)?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let below = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
        let parent = resolved(&self.fd, below, flags, Mode::empty(), resolve)
            .map_err(|errno| refused_lookup(path, errno))?;
        Ok(TargetPlace { parent, path: self.path.join(directory).join(&name), name })
    }

    /// The directory below the root that it is in, and its name.
    fn split(&self, path: &Path) -> Result<(PathBuf, OsString)> {
        let refuse = |reason| SysError::TargetRefused { path: path.to_owned(), reason };
        let (directory, name) = split_absolute(path).ok_or_else(|| refuse(TargetRefusal::NotAbsolute))?;
        let below = [&self.given, &self.path].into_iter().find_map(|root| directory.strip_prefix(root).ok());
        let below = below.ok_or_else(|| refuse(TargetRefusal::Outside { root: self.path.clone() }))?;
        Ok((below.to_owned(), name))
    }
}
