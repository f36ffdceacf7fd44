//! Files inside a volume. Its content is untrusted: whoever writes there can make any name a
//! symbolic link at any moment, so every lookup stays beneath a descriptor and follows no link.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

pub use rustix::fs::OFlags;
use rustix::fs::{Mode, ResolveFlags, fsync, mkdirat, openat2};
use rustix::io::Errno;

use crate::error::{Result, SysError};

/// A lookup that raced with a rename is repeated this often (the kernel answers EAGAIN).
const ATTEMPTS: u32 = 128;
/// NONBLOCK: a FIFO put there instead of the file must not hang us.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Opens `path` beneath `root`: no absolute path, no `..` out of it, no symbolic link on the way,
/// no other mount.
///
/// # Errors
/// ELOOP where a component is a symbolic link, EXDEV where the path leaves `root` or its mount.
pub fn open(root: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    create(root, path, flags, Mode::empty())
}

fn create(root: impl AsFd, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    resolved(root, path, flags, mode, resolve)
        .map_err(|errno| SysError::on("open inside the volume", path, errno))
}

/// Opens a directory inside the volume as a place (`O_PATH`), to bind from it or look below it.
pub fn open_directory(root: impl AsFd, path: &Path) -> Result<OwnedFd> {
    open(root, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)
}

/// Reads a small file inside the volume; `limit` is in bytes and a longer file is an error.
pub fn read_file(root: impl AsFd, path: &Path, limit: usize) -> Result<Vec<u8>> {
    content(open(root, path, READ)?, path, limit)
}

/// The same of a file outside, such as one that lies in a pool: its last name may be no symbolic link.
///
/// # Errors
/// ELOOP where it is one; [`SysError::Invalid`] where it is no file, or a longer one.
pub fn read_file_at(path: &Path, limit: usize) -> Result<Vec<u8>> {
    let opened = rustix::fs::open(path, READ | OFlags::NOFOLLOW, Mode::empty());
    content(opened.map_err(|errno| SysError::on("open", path, errno))?, path, limit)
}

fn content(file: OwnedFd, path: &Path, limit: usize) -> Result<Vec<u8>> {
    let file = std::fs::File::from(file);
    let is_file = file.metadata().map_err(|error| SysError::io("look at", path, &error))?.is_file();
    if is_file {
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(&file, limit as u64 + 1), &mut content)
            .map_err(|error| SysError::io("read", path, &error))?;
        if content.len() <= limit {
            return Ok(content);
        }
    }
    Err(SysError::Invalid {
        what: "a short file",
        detail: format!("{} is not a file of at most {limit} bytes", path.display()),
    })
}

/// Creates a file inside the volume with exactly these bytes and flushes it and its directory; a
/// file of that name is overwritten in place, so that one no longer than before needs no new space.
/// Not atomic: a reader can see a part of it, and after a crash the rest of a longer one may follow.
pub fn write_file(root: impl AsFd, path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let root = root.as_fd();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut file = std::fs::File::from(create(root, path, flags, Mode::from_raw_mode(mode))?);
    std::io::Write::write_all(&mut file, content)
        .and_then(|()| file.set_len(content.len() as u64))
        .and_then(|()| file.sync_all())
        .map_err(|error| SysError::io("write", path, &error))?;
    sync_parent(root, path)
}

/// Makes a directory inside the volume with this mode; one that exists is left as it is.
pub fn make_directory(root: impl AsFd, path: &Path, mode: u32) -> Result<()> {
    let root = root.as_fd();
    let (parent, name) = parent_of(root, path)?;
    match mkdirat(&parent, name, Mode::from_raw_mode(mode)) {
        Ok(()) => sync_parent(root, path),
        Err(Errno::EXIST) => open_directory(root, path).map(drop),
        Err(errno) => Err(SysError::on("make the directory", path, errno)),
    }
}

/// openat2 with the given rules, again while it races with renames.
pub(crate) fn resolved(
    root: impl AsFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let root = root.as_fd();
    let mut attempt = 0;
    loop {
        match openat2(root, path, flags, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) if attempt < ATTEMPTS => attempt += 1,
            other => return other,
        }
    }
}

fn parent_of(root: impl AsFd, path: &Path) -> Result<(OwnedFd, &std::ffi::OsStr)> {
    let name = path.file_name().ok_or_else(|| SysError::Invalid {
        what: "a path inside the volume",
        detail: format!("{} has no last name", path.display()),
    })?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok((open(root, parent, flags)?, name))
}

fn sync_parent(root: impl AsFd, path: &Path) -> Result<()> {
    let (parent, _) = parent_of(root, path)?;
    fsync(&parent).map_err(|errno| SysError::on("flush the directory of", path, errno))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn volume() -> (tempfile::TempDir, std::fs::File) {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::File::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn files_are_written_and_read_beneath_the_root() {
        let (_dir, root) = volume();
        make_directory(&root, Path::new(".orlop"), 0o700).unwrap();
        make_directory(&root, Path::new(".orlop"), 0o700).unwrap();
        let path = Path::new(".orlop/volume");
        write_file(&root, path, b"first, and longer", 0o600).unwrap();
        write_file(&root, path, b"second", 0o600).unwrap();
        assert_eq!(read_file(&root, path, 64).unwrap(), b"second");
        assert!(read_file(&root, path, 5).is_err(), "longer than the limit");
    }

    #[test]
    fn links_and_paths_that_leave_the_volume_are_refused() {
        let (dir, root) = volume();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), b"s").unwrap();
        symlink(outside.path(), dir.path().join("link")).unwrap();
        symlink(outside.path().join("secret"), dir.path().join("file")).unwrap();
        for path in ["link/secret", "file", "../x", "/etc/passwd", "link"] {
            assert!(read_file(&root, Path::new(path), 64).is_err(), "{path}");
        }
        assert!(write_file(&root, Path::new("link/new"), b"x", 0o600).is_err());
        assert!(write_file(&root, Path::new("file"), b"x", 0o600).is_err());
        assert!(make_directory(&root, Path::new("link/dir"), 0o700).is_err());
        assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"s");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_fifo_in_place_of_a_file_does_not_hang() {
        let (dir, root) = volume();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("fifo"),
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(read_file(&root, Path::new("fifo"), 64).is_err());
        assert!(write_file(&root, Path::new("fifo"), b"x", 0o600).is_err());
    }
}
