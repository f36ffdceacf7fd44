//! Copies of image files: by sharing their blocks where the host's filesystem can, else one by one,
//! and how much of a file is its own.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use linux_raw_sys::ioctl::{FIEMAP_EXTENT_LAST, FIEMAP_EXTENT_SHARED, FIEMAP_FLAG_SYNC, FS_IOC_FIEMAP};
use rustix::fs::{SeekFrom, ioctl_ficlone, seek};
use rustix::io::Errno;
use rustix::ioctl::{Updater, ioctl};

use crate::error::{Result, SysError};
use crate::image;

/// So much is read and written at once, and told of.
const CHUNK: usize = 1 << 20;
/// So many extents are asked for at once.
const EXTENTS: usize = 256;

/// Makes `to`, an empty file, share all blocks of `from`, and takes its length: no later for a larger
/// file, only for a more scattered one. Says whether the filesystem can; where it can't, nothing has
/// happened.
pub fn share(from: &File, to: &File, path: &Path) -> Result<bool> {
    match ioctl_ficlone(to, from) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::XDEV | Errno::NOSYS) => Ok(false),
        Err(errno) => Err(SysError::on("share the blocks of the image with", path, errno)),
    }
}

/// Copies what is written in `from` to `to`, an empty file, and leaves the holes. `told` learns of every
/// few bytes more, and ends the copy with its error.
pub fn copy_sparse<E: From<SysError>>(
    from: &File,
    to: &File,
    path: &Path,
    mut told: impl FnMut(u64) -> Result<(), E>,
) -> Result<(), E> {
    let length = image::space_of(from)?.length;
    to.set_len(length).map_err(|error| SysError::io("give its length to", path, &error))?;
    let mut buffer = vec![0; CHUNK];
    let mut position = 0;
    while position < length {
        let data = next(from, SeekFrom::Data(position), length)?;
        let end = next(from, SeekFrom::Hole(data), length)?;
        position = data;
        while position < end {
            let most = usize::try_from(end - position).unwrap_or(CHUNK).min(CHUNK);
            let failed = |error: std::io::Error| SysError::io("copy the image to", path, &error);
            let part = buffer.get_mut(..most).unwrap_or_default();
            let read = from.read_at(part, position).map_err(failed)?;
            if read == 0 {
                let detail = format!("it became shorter while it was copied to {}", path.display());
                return Err(SysError::Invalid { what: "an image", detail }.into());
            }
            to.write_all_at(part.get(..read).unwrap_or_default(), position).map_err(failed)?;
            position += read as u64;
            told(read as u64)?;
        }
        position = end;
    }
    Ok(())
}

fn next(file: &File, to: SeekFrom, end: u64) -> Result<u64> {
    match seek(file, to) {
        Ok(found) => Ok(found.min(end)),
        Err(Errno::NXIO) => Ok(end),
        Err(errno) => Err(SysError::call("look for holes in the image", errno)),
    }
}

/// As the kernel lays them out: `struct fiemap_extent` and `struct fiemap` with room for some.
#[repr(C)]
#[derive(Clone, Copy)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

#[repr(C)]
struct Map {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
    extents: [Extent; EXTENTS],
}

/// The bytes of the host's blocks that belong to this file and to no other. Flushes the file first.
///
/// Costs the number of its extents, not its length.
pub fn exclusive(file: impl AsFd) -> Result<u64> {
    let none = Extent { logical: 0, physical: 0, length: 0, reserved64: [0; 2], flags: 0, reserved: [0; 3] };
    let mut map = Box::new(Map {
        start: 0,
        length: u64::MAX,
        flags: FIEMAP_FLAG_SYNC,
        mapped: 0,
        count: EXTENTS as u32,
        reserved: 0,
        extents: [none; EXTENTS],
    });
    let mut own = 0;
    loop {
        (map.length, map.mapped) = (u64::MAX - map.start, 0);
        // SAFETY: FS_IOC_FIEMAP reads and writes one `struct fiemap` with as many extents as `count`
        // says, which is what `Map` is.
        unsafe { ioctl(&file, Updater::<FS_IOC_FIEMAP, Map>::new(&mut map)) }
            .map_err(|errno| SysError::call("ask for the blocks of the image", errno))?;
        let found = map.extents.get(..map.mapped as usize).unwrap_or_default();
        own += found.iter().filter(|e| e.flags & FIEMAP_EXTENT_SHARED == 0).map(|e| e.length).sum::<u64>();
        match found.last() {
            Some(last) if last.flags & FIEMAP_EXTENT_LAST == 0 => map.start = last.logical + last.length,
            Some(_) | None => return Ok(own),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{MIB, Scratch, may_mount};
    use std::process::Command;

    fn run(program: &str, arguments: &[&std::ffi::OsStr]) {
        assert!(Command::new(program).args(arguments).status().unwrap().success(), "{program}");
    }

    #[test]
    fn blocks_are_shared_until_one_of_the_two_is_written() {
        if !may_mount() {
            return;
        }
        let scratch = Scratch::new();
        let (image, root) = (scratch.path("image"), scratch.directory("mount"));
        drop(image::create(&image, 320 * MIB).unwrap());
        run("mkfs.xfs", &["-q".as_ref(), "-m".as_ref(), "reflink=1".as_ref(), image.as_ref()]);
        run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_ref(), root.as_ref()]);
        let (a, b) = (root.join("a"), root.join("b"));
        let from = image::create(&a, 16 * MIB).unwrap();
        from.write_all_at(&vec![7; 4 << 20], 2 * MIB).unwrap();
        assert_eq!(exclusive(&from).unwrap(), 4 * MIB);
        let to = image::create(&b, 0).unwrap();
        assert!(share(&from, &to, &b).unwrap());
        assert_eq!(to.metadata().unwrap().len(), 16 * MIB);
        assert_eq!((exclusive(&from).unwrap(), exclusive(&to).unwrap()), (0, 0));
        to.write_all_at(&vec![8; 1 << 20], 2 * MIB).unwrap();
        // Until it is flushed, the new blocks are nobody's and the old ones still of both.
        to.sync_all().unwrap();
        assert_eq!((exclusive(&from).unwrap(), exclusive(&to).unwrap()), (MIB, MIB));
        let mut byte = [0];
        from.read_exact_at(&mut byte, 2 * MIB).unwrap();
        assert_eq!(byte, [7]);
    }

    #[test]
    fn a_file_in_many_pieces_is_counted_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = image::create(&dir.path().join("a"), 64 * MIB).unwrap();
        for piece in 0..(EXTENTS as u64 + 50) {
            file.write_all_at(&[1; 4096], piece * 65536).unwrap();
        }
        assert_eq!(exclusive(&file).unwrap(), (EXTENTS as u64 + 50) * 4096);
    }

    #[test]
    fn a_copy_has_the_same_content_and_the_same_holes() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let from = image::create(&a, 64 * MIB).unwrap();
        from.write_all_at(b"begin", 0).unwrap();
        from.write_all_at(&vec![9; 3 << 20], 32 * MIB + 12_288).unwrap();
        from.write_all_at(b"end", 64 * MIB - 3).unwrap();
        let to = image::create(&b, 64 * MIB).unwrap();
        let mut copied = 0;
        copy_sparse(&from, &to, &b, |bytes| {
            copied += bytes;
            Ok::<_, SysError>(())
        })
        .unwrap();
        assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
        let (held, space) = (image::space(&a).unwrap(), image::space(&b).unwrap());
        assert_eq!(held, space);
        assert_eq!(copied, held.allocated);
    }

    #[test]
    fn a_source_that_becomes_shorter_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b");
        let from = image::create(&dir.path().join("a"), 8 * MIB).unwrap();
        from.write_all_at(&vec![1; 8 << 20], 0).unwrap();
        let to = image::create(&path, 0).unwrap();
        let ended = copy_sparse(&from, &to, &path, |_| {
            image::set_length(&from, 3 * MIB)?;
            Ok::<_, SysError>(())
        });
        let error = ended.unwrap_err();
        assert!(error.to_string().contains("became shorter"), "{error}");
    }

    #[test]
    fn a_copy_ends_when_told_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b");
        let from = image::create(&dir.path().join("a"), 8 * MIB).unwrap();
        from.write_all_at(&vec![1; 8 << 20], 0).unwrap();
        let to = image::create(&path, 8 * MIB).unwrap();
        let stop = || SysError::Invalid { what: "stop", detail: String::new() };
        let mut left = 3;
        let ended = copy_sparse(&from, &to, &path, |_| {
            left -= 1;
            if left == 0 { Err(stop()) } else { Ok(()) }
        });
        assert!(ended.is_err());
        assert!(image::space_of(&to).unwrap().allocated <= 3 * MIB);
    }
}
