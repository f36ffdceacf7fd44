//! Going through a tree: each directory's entries together, in the order of their names, parents
//! before what is in them. Descriptors are held for one directory at a time, so that no depth is too
//! deep.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, OFlags, Statx, StatxAttributes, StatxFlags, statx};
use rustix::io::Errno;

use crate::beneath;
use crate::error::{Result, SysError, Unfinished};
use crate::identity::FileIdentity;

/// The kernel takes no longer path at once.
const LONGEST_PATH: usize = 4000;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Link,
    /// FIFO, socket or device node.
    Special(FileType),
}

/// One entry of a tree.
pub(super) struct Entry<'a> {
    /// The directory it is in.
    pub(super) directory: BorrowedFd<'a>,
    pub(super) name: &'a OsStr,
    /// Beneath the root.
    pub(super) path: &'a Path,
    pub(super) found: &'a Statx,
}

impl Entry<'_> {
    pub(super) fn kind(&self) -> Kind {
        match FileType::from_raw_mode(self.found.stx_mode.into()) {
            FileType::Directory => Kind::Directory,
            FileType::RegularFile => Kind::File,
            FileType::Symlink => Kind::Link,
            other => Kind::Special(other),
        }
    }
}

/// Which files have been seen that have several names.
#[derive(Default)]
pub(super) struct Links(HashMap<FileIdentity, PathBuf>);

impl Links {
    /// The name under which that file was seen first; `None` where this is the first.
    pub(super) fn first(&mut self, entry: &Entry<'_>) -> Option<&Path> {
        if entry.found.stx_nlink < 2 || entry.kind() == Kind::Directory {
            return None;
        }
        let identity = FileIdentity::of_statx(entry.found);
        if self.0.contains_key(&identity) {
            return self.0.get(&identity).map(PathBuf::as_path);
        }
        self.0.insert(identity, entry.path.to_owned());
        None
    }
}

/// Calls back for each entry beneath `root`.
pub(super) fn walk<E>(
    root: BorrowedFd<'_>,
    mut visit: impl FnMut(&Entry<'_>) -> Result<(), Unfinished<E>>,
) -> Result<(), Unfinished<E>> {
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        let directory = open_directory(root, &path)?;
        let mut below = Vec::new();
        for name in names(&directory, &path)? {
            let path = path.join(&name);
            let found = look(directory.as_fd(), &name, &path)?;
            // A directory says so itself when it is opened.
            if found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
                return Err(covered(&path).into());
            }
            let entry = Entry { directory: directory.as_fd(), name: &name, path: &path, found: &found };
            visit(&entry)?;
            if entry.kind() == Kind::Directory {
                below.push(path);
            }
        }
        pending.extend(below.into_iter().rev());
    }
    Ok(())
}

/// Opens a directory of the tree; the empty path is the root.
pub(super) fn open_directory(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
    let mut opened: Option<OwnedFd> = None;
    let mut rest = path.components().as_path();
    loop {
        let mut part = PathBuf::new();
        let mut components = rest.components();
        while let Some(component) = components.clone().next() {
            if part.as_os_str().len() + component.as_os_str().len() >= LONGEST_PATH {
                break;
            }
            part.push(component);
            components.next();
        }
        rest = components.as_path();
        let from = opened.as_ref().map_or(root, |fd| fd.as_fd());
        let part = if part.as_os_str().is_empty() { Path::new(".") } else { &part };
        let next = beneath::open(from, part, FLAGS).map_err(|error| crossed(error, path))?;
        if rest.as_os_str().is_empty() {
            return Ok(next);
        }
        opened = Some(next);
    }
}

fn crossed(error: SysError, path: &Path) -> SysError {
    if error.errno() == Some(Errno::XDEV) {
        return covered(path);
    }
    error
}

fn covered(path: &Path) -> SysError {
    SysError::Busy {
        path: path.to_owned(),
        detail: "something else is mounted on it: unmount that first".to_owned(),
    }
}

fn names(directory: &OwnedFd, path: &Path) -> Result<Vec<OsString>> {
    let failed = |errno| SysError::on("read the directory", path, errno);
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    names.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    Ok(names)
}

pub(super) fn look(directory: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    statx(directory, name, flags, StatxFlags::BASIC_STATS)
        .map_err(|errno| SysError::on("look at", path, errno))
}
