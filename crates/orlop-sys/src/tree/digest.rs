//! The checksum of a tree: over all that a copy keeps, but the times of access, which reading changes.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Statx, readlinkat};

use super::attributes::{extended, path_of};
use super::copy::open_file;
use super::walk::{self, Kind, Links, look};
use crate::content::{self, Buffer, Checksum, Summing};
use crate::error::{Result, SysError, Unfinished};

/// The checksum of the tree beneath `root`, and of the root itself. `advance` is called with the bytes
/// of data that were read since the last call, 0 for what has none.
///
/// # Errors
/// See [`Unfinished`].
pub fn checksum<E>(
    root: impl AsFd,
    mut advance: impl FnMut(u64) -> Result<(), E>,
) -> Result<Checksum, Unfinished<E>> {
    let mut summing = Summing::new();
    let mut links = Links::default();
    let mut buffer = Buffer::new()?;
    let here = std::ffi::OsStr::new(".");
    let opened = walk::open_directory(root.as_fd(), Path::new(""))?;
    let found = look(opened.as_fd(), here, Path::new("."))?;
    add(&mut summing, &path_of(opened.as_fd(), here), &found, Path::new("."))?;
    walk::walk(root.as_fd(), |entry| {
        summing.add(entry.path.as_os_str().as_bytes());
        if let Some(first) = links.first(entry) {
            summing.add(first.as_os_str().as_bytes());
            return advance(0).map_err(Unfinished::Stopped);
        }
        add(&mut summing, &path_of(entry.directory, entry.name), entry.found, entry.path)?;
        match entry.kind() {
            Kind::File => {
                let file = open_file(entry)?;
                content::sum(&file, entry.found.stx_size, &mut buffer, &mut summing, &mut advance)?;
            }
            Kind::Link => {
                let text = readlinkat(entry.directory, entry.name, Vec::new())
                    .map_err(|errno| SysError::on("read the symbolic link", entry.path, errno))?;
                summing.add(text.to_bytes());
            }
            Kind::Special(_) => {
                summing.add_number(entry.found.stx_rdev_major.into());
                summing.add_number(entry.found.stx_rdev_minor.into());
            }
            Kind::Directory => {}
        }
        advance(0).map_err(Unfinished::Stopped)
    })?;
    Ok(summing.finish())
}

fn add(summing: &mut Summing, entry: &Path, found: &Statx, shown: &Path) -> Result<()> {
    for number in [u32::from(found.stx_mode), found.stx_uid, found.stx_gid, found.stx_mtime.tv_nsec] {
        summing.add_number(number.into());
    }
    summing.add_number(found.stx_mtime.tv_sec.cast_unsigned());
    let extended = extended(entry, shown)?;
    summing.add_number(extended.len() as u64);
    for (name, value) in extended {
        summing.add(name.as_bytes());
        summing.add(&value);
    }
    Ok(())
}
