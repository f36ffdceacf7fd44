//! Copying an image, and the checksum that verifies the copy. Both go past the host's page cache where
//! it lets them, so that what is compared is what is on the disk.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rustix::fs::{Mode, OFlags, fadvise, open};
use rustix::io::Errno;

use super::space_of;
use crate::content::{self, Buffer, Checksum, Summing};
use crate::error::{Result, SysError, Unfinished};

/// One is read into, one summed, one written from, and one waits between.
const BUFFERS: usize = 4;

/// Where a chunk begins, and the buffer with so many bytes of it.
type Filled = (u64, Buffer, usize);

/// Copies the image at `from` into `to`, made by [`super::create`] with the same length, and flushes
/// it. Blocks of zeros become holes. Returns the checksum of what was read; `advance` is called with
/// the bytes of data since the last call.
///
/// # Errors
/// See [`Unfinished`]. What was copied until then stays.
pub fn copy<E>(
    from: &Path,
    to: &Path,
    mut advance: impl FnMut(u64) -> Result<(), E>,
) -> Result<Checksum, Unfinished<E>> {
    let source = open_uncached(from, OFlags::RDONLY)?;
    let target = open_uncached(to, OFlags::RDWR)?;
    // The last block of an image need not be whole, which direct I/O can't write.
    let tail = super::open_existing(to)?;
    let length = space_of(&source)?.length;
    let mut summing = Summing::new();
    let (written, empty) = buffers()?;
    std::thread::scope(|scope| {
        let (summed, to_write) = sync_channel(BUFFERS);
        let writer = scope.spawn(|| write(&target, &tail, to_write, written));
        let sums = &mut summing;
        let read = ahead(&source, length, empty, move |(at, mut buffer, length)| {
            content::add_chunk(sums, at, buffer.get(length));
            // A writer that failed says so below.
            summed.send((at, buffer, length)).map_err(|_| writer_ended())?;
            advance(length as u64).map_err(Unfinished::Stopped)
        });
        writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        read
    })?;
    summing.add_number(length);
    super::sync(&tail, to)?;
    Ok(summing.finish())
}

/// The checksum of an image, as [`copy`] returns it of what it read.
///
/// # Errors
/// See [`Unfinished`].
pub fn checksum<E>(
    image: &Path,
    mut advance: impl FnMut(u64) -> Result<(), E>,
) -> Result<Checksum, Unfinished<E>> {
    let file = open_uncached(image, OFlags::RDONLY)?;
    let length = space_of(&file)?.length;
    let mut summing = Summing::new();
    let (done, empty) = buffers()?;
    let sums = &mut summing;
    ahead(&file, length, empty, move |(at, mut buffer, length)| {
        content::add_chunk(sums, at, buffer.get(length));
        // Where nobody takes it any more, there is no more to read.
        let _ = done.send(buffer);
        advance(length as u64).map_err(Unfinished::Stopped)
    })?;
    summing.add_number(length);
    Ok(summing.finish())
}

/// All buffers of a copy, and the way back for those that are done with: it never makes anybody wait.
fn buffers() -> Result<(SyncSender<Buffer>, Receiver<Buffer>)> {
    let (done, empty) = sync_channel(BUFFERS);
    for _ in 0..BUFFERS {
        let _ = done.send(Buffer::new()?);
    }
    Ok((done, empty))
}

/// As [`content::each_chunk`], with the next chunks read while `chunk` has one: disk and processor wait
/// for one another less. All that gives buffers back must end with `chunk`, for the reader waits for them.
fn ahead<E>(
    source: &File,
    length: u64,
    empty: Receiver<Buffer>,
    chunk: impl FnMut(Filled) -> Result<(), Unfinished<E>>,
) -> Result<(), Unfinished<E>> {
    std::thread::scope(|scope| {
        let (filled, chunks) = sync_channel(BUFFERS);
        let reader = scope.spawn(|| read(source, length, filled, empty));
        let done = chunks.into_iter().try_for_each(chunk);
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        done
    })
}

/// Fills buffers for as long as somebody takes them.
fn read(source: &File, length: u64, filled: SyncSender<Filled>, empty: Receiver<Buffer>) -> Result<()> {
    /// Nobody does: why is theirs to say.
    struct Left;
    let Ok(mut buffer) = empty.recv() else { return Ok(()) };
    let read = content::each_chunk(source, length, &mut buffer, |at, buffer, length| {
        let next = empty.recv().map_err(|_| Unfinished::Stopped(Left))?;
        filled.send((at, std::mem::replace(buffer, next), length)).map_err(|_| Unfinished::Stopped(Left))
    });
    match read {
        Ok(()) | Err(Unfinished::Stopped(Left)) => Ok(()),
        Err(Unfinished::Failed(error)) => Err(error),
    }
}

/// Writes what it gets, and gives the buffers back.
fn write(target: &File, tail: &File, filled: Receiver<Filled>, empty: SyncSender<Buffer>) -> Result<()> {
    for (at, mut buffer, length) in filled {
        let file = if content::is_aligned(length) { target } else { tail };
        content::write_sparse(file, at, buffer.get(length))?;
        let _ = empty.send(buffer);
    }
    Ok(())
}

fn writer_ended() -> SysError {
    SysError::Invalid { what: "a copy", detail: "its writer ended".to_owned() }
}

fn open_uncached(path: &Path, access: OFlags) -> Result<File> {
    let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let failed = |errno| SysError::on("open the image", path, errno);
    match open(path, flags | OFlags::DIRECT, Mode::empty()) {
        Ok(file) => Ok(File::from(file)),
        Err(Errno::INVAL) => {
            let file = open(path, flags, Mode::empty()).map(File::from).map_err(failed)?;
            // What is cached and flushed already is read anew.
            let _ = fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
            Ok(file)
        }
        Err(errno) => Err(failed(errno)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::image::{create, space};
    use std::convert::Infallible;
    use std::os::unix::fs::FileExt;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_copy_has_the_same_checksum_and_its_holes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        // Neither the length nor the places of the data are those of blocks.
        let length = 32 * MIB + 777;
        let file = create(&from, length).unwrap();
        file.write_all_at(b"begin", 0).unwrap();
        file.write_all_at(&vec![7; 3 * MIB as usize + 11], 5 * MIB + 3).unwrap();
        file.write_all_at(&vec![0; 2 * MIB as usize], 20 * MIB).unwrap();
        file.write_all_at(b"end", length - 3).unwrap();
        file.sync_all().unwrap();
        drop(create(&to, length).unwrap());
        let mut seen = 0;
        let read = copy(&from, &to, |bytes| {
            seen += bytes;
            Ok::<_, Infallible>(())
        });
        let read = read.unwrap();
        assert!((3 * MIB..8 * MIB).contains(&seen), "{seen}");
        assert_eq!(std::fs::read(&from).unwrap(), std::fs::read(&to).unwrap());
        let copied = space(&to).unwrap();
        assert_eq!(copied.length, length);
        assert!(copied.allocated < 4 * MIB, "zeros were written: {copied:?}");
        assert_eq!(checksum(&to, |_| Ok::<_, Infallible>(())).unwrap(), read);

        create(&dir.path().join("new"), MIB).unwrap();
        let target = std::fs::OpenOptions::new().write(true).open(&to).unwrap();
        target.write_all_at(b"8", 6 * MIB).unwrap();
        target.sync_all().unwrap();
        assert_ne!(checksum(&to, |_| Ok::<_, Infallible>(())).unwrap(), read);
        target.write_all_at(&[7], 6 * MIB).unwrap();
        target.set_len(length + 1).unwrap();
        assert_ne!(checksum(&to, |_| Ok::<_, Infallible>(())).unwrap(), read);
    }

    #[test]
    fn a_disk_that_is_full_ends_it_with_the_reason() {
        if !crate::testing::may_mount() {
            return;
        }
        let scratch = crate::testing::Scratch::new();
        let mounted = scratch.directory("mount");
        let kind = crate::filesystem::FsKind::Ext4;
        crate::testing::Volume::new(&scratch, "small", kind, 16 * MIB).mount(&mounted);
        let from = scratch.directory("plain").join("from");
        create(&from, 64 * MIB).unwrap().write_all_at(&vec![7; 64 * MIB as usize], 0).unwrap();
        let to = mounted.join("to");
        drop(create(&to, 64 * MIB).unwrap());
        let Err(Unfinished::Failed(error)) = copy(&from, &to, |_| Ok::<_, Infallible>(())) else {
            panic!("64 MiB went into 16");
        };
        assert_eq!(error.errno(), Some(Errno::NOSPC), "{error}");
        drop(error);
        crate::mount::unmount(&mounted).unwrap();
    }

    #[test]
    fn it_stops_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        create(&from, 4 * MIB).unwrap().write_all_at(&vec![1; 4 * MIB as usize], 0).unwrap();
        drop(create(&to, 4 * MIB).unwrap());
        assert!(matches!(copy(&from, &to, |_| Err("enough")), Err(Unfinished::Stopped("enough"))));
    }
}
