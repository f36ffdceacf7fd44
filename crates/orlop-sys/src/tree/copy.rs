//! Copying a tree.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ftruncate, linkat, mkdirat, mknodat, openat, readlinkat, symlinkat,
    syncfs,
};
use rustix::io::Errno;

use super::Tally;
use super::attributes::{self, path_of};
use super::walk::{self, Entry, Kind, Links, look};
use crate::content::{self, Buffer};
use crate::error::{Result, SysError, Unfinished};
use crate::identity::{DeviceNumber, FileIdentity};

/// Copies what is in the directory `from` into the empty directory `to`, which also gets its owner,
/// permissions, extended attributes and times; and flushes the filesystem of `to`. `advance` is
/// called with the bytes that were copied since the last call, 0 for what has none.
///
/// # Errors
/// See [`Unfinished`]. What was copied until then stays.
pub fn copy<E>(
    from: impl AsFd,
    to: impl AsFd,
    mut advance: impl FnMut(u64) -> Result<(), E>,
) -> Result<Tally, Unfinished<E>> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let mut copying = Copying {
        to,
        target: None,
        links: Links::default(),
        directories: vec![PathBuf::new()],
        buffer: Buffer::new()?,
        tally: Tally::default(),
    };
    walk::walk(from, |entry| copying.entry(entry, &mut advance))?;
    // What is put into a directory changes its times, and its permissions may forbid to: they come
    // last, and parents after what is in them.
    let here = std::ffi::OsStr::new(".");
    for path in copying.directories.iter().rev() {
        let (source, target) = (walk::open_directory(from, path)?, walk::open_directory(to, path)?);
        let found = look(source.as_fd(), here, path)?;
        let (source, target) = (path_of(source.as_fd(), here), path_of(target.as_fd(), here));
        attributes::apply(&source, &found, Kind::Directory, &target, path)?;
    }
    let root = walk::open_directory(to, Path::new(""))?;
    syncfs(&root).map_err(|errno| SysError::call("flush a copied tree", errno))?;
    Ok(copying.tally)
}

struct Copying<'a> {
    to: BorrowedFd<'a>,
    /// The directory that is being filled, by its path.
    target: Option<(PathBuf, OwnedFd)>,
    links: Links,
    directories: Vec<PathBuf>,
    buffer: Buffer,
    tally: Tally,
}

impl Copying<'_> {
    fn entry<E>(
        &mut self,
        entry: &Entry<'_>,
        advance: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), Unfinished<E>> {
        self.tally.entries += 1;
        let target = self.target_of(entry.path)?;
        let failed = |operation| move |errno| SysError::on(operation, entry.path, errno);
        if let Some(first) = self.links.first(entry) {
            let parent = walk::open_directory(self.to, first.parent().unwrap_or(Path::new("")))?;
            let name = first.file_name().unwrap_or_default();
            linkat(parent, name, &target, entry.name, AtFlags::empty()).map_err(failed("link"))?;
            return advance(0).map_err(Unfinished::Stopped);
        }
        match entry.kind() {
            Kind::Directory => {
                mkdirat(&target, entry.name, Mode::RWXU).map_err(failed("make the directory"))?;
                self.directories.push(entry.path.to_owned());
            }
            Kind::File => self.file(entry, &target, advance)?,
            Kind::Link => {
                let text = readlinkat(entry.directory, entry.name, Vec::new())
                    .map_err(failed("read the symbolic link"))?;
                symlinkat(text, &target, entry.name).map_err(failed("make the symbolic link"))?;
            }
            Kind::Special(kind) => special(entry, kind, &target)?,
        }
        if entry.kind() != Kind::Directory {
            let (source, made) = (path_of(entry.directory, entry.name), path_of(target.as_fd(), entry.name));
            attributes::apply(&source, entry.found, entry.kind(), &made, entry.path)?;
        }
        self.target = entry.path.parent().map(|parent| (parent.to_owned(), target));
        advance(0).map_err(Unfinished::Stopped)
    }

    /// The directory of the copy that this entry belongs into. Entries of one come one after another.
    fn target_of(&mut self, path: &Path) -> Result<OwnedFd> {
        let parent = path.parent().unwrap_or(Path::new(""));
        match self.target.take() {
            Some((held, target)) if held == parent => Ok(target),
            Some(_) | None => walk::open_directory(self.to, parent),
        }
    }

    fn file<E>(
        &mut self,
        entry: &Entry<'_>,
        target: &OwnedFd,
        advance: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), Unfinished<E>> {
        let source = open_file(entry)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(target, entry.name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| SysError::on("create", entry.path, errno))?;
        let length = entry.found.stx_size;
        ftruncate(&made, length).map_err(|errno| SysError::on("give its length to", entry.path, errno))?;
        let tally = &mut self.tally;
        content::each_chunk(&source, length, &mut self.buffer, |at, buffer, read| {
            content::write_sparse(&made, at, buffer.get(read)).map_err(|error| match error.errno() {
                Some(errno) => SysError::on("write", entry.path, errno),
                None => error,
            })?;
            tally.bytes += read as u64;
            advance(read as u64).map_err(Unfinished::Stopped)
        })
    }
}

/// Opens a file of the tree to read, and makes sure that it still is the one that was looked at.
pub(super) fn open_file(entry: &Entry<'_>) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = match openat(entry.directory, entry.name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only its owner, and who has the capability, may read it without a trace.
        Err(Errno::PERM) => openat(entry.directory, entry.name, flags, Mode::empty()),
        other => other,
    };
    let opened = opened.map_err(|errno| SysError::on("open", entry.path, errno))?;
    if FileIdentity::of_fd(&opened)? != FileIdentity::of_statx(entry.found) {
        return Err(SysError::Busy {
            path: entry.path.to_owned(),
            detail: "it was replaced while it was read".to_owned(),
        });
    }
    Ok(opened)
}

fn special(entry: &Entry<'_>, kind: FileType, target: &OwnedFd) -> Result<()> {
    let device = DeviceNumber { major: entry.found.stx_rdev_major, minor: entry.found.stx_rdev_minor };
    mknodat(target, entry.name, kind, Mode::RUSR | Mode::WUSR, device.to_raw())
        .map_err(|errno| SysError::on("make the node", entry.path, errno))
}
