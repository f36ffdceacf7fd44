//! Bytes of sparse files: going through the data between the holes, copying it, and the checksum by
//! which a copy is verified.
//!
//! A checksum speaks of what a reader sees. Where the holes are does not matter to it: a hole, and a
//! block that was written with zeros, are the same.

use std::os::fd::AsFd;

use memmap2::{Advice, MmapMut};
use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, pread, pwrite};
use twox_hash::XxHash3_128;

use crate::error::{Result, SysError, Unfinished};

/// What is skipped when it is all zeros, and hashed as one. Part of what a checksum means.
const PIECE: usize = 64 << 10;
/// How much is read at once: many pieces, and enough for a disk to work on several parts of it.
const CHUNK: usize = 4 << 20;
/// A huge page, where they are smallest.
const HUGE: usize = 2 << 20;
/// What direct I/O asks of memory and offsets, on any disk.
const ALIGNMENT: usize = 4096;

/// A checksum of content. It tells accidents apart, not forgeries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum(u128);

impl std::fmt::Display for Checksum {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// A checksum in the making.
pub(crate) struct Summing(Box<XxHash3_128>);

impl Summing {
    pub(crate) fn new() -> Self {
        Self(Box::new(XxHash3_128::new()))
    }

    /// Adds something with its length, so that no two sequences of things look alike.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.write(&(bytes.len() as u64).to_le_bytes());
        self.0.write(bytes);
    }

    pub(crate) fn add_number(&mut self, number: u64) {
        self.0.write(&number.to_le_bytes());
    }

    pub(crate) fn finish(&self) -> Checksum {
        Checksum(self.0.finish_128())
    }
}

/// Memory for reading, aligned for direct I/O, in huge pages where the kernel has them to give. A
/// request of direct I/O lists the pieces of memory that it goes to, and can list only so many: with
/// pages of 4 KiB a chunk is many requests, and some disks read three times as fast with few.
pub(crate) struct Buffer {
    memory: MmapMut,
    begin: usize,
}

impl Buffer {
    pub(crate) fn new() -> Result<Self> {
        let failed = |error: std::io::Error| {
            SysError::call("get memory for a copy", Errno::from_io_error(&error).unwrap_or(Errno::NOMEM))
        };
        let memory = MmapMut::map_anon(CHUNK + HUGE).map_err(failed)?;
        // Without, it is slower.
        let _ = memory.advise(Advice::HugePage);
        let begin = memory.as_ptr().align_offset(HUGE).min(HUGE);
        Ok(Self { memory, begin })
    }

    /// The first so many bytes, and never more than a chunk.
    pub(crate) fn get(&mut self, length: usize) -> &mut [u8] {
        self.memory.get_mut(self.begin..self.begin + length.min(CHUNK)).unwrap_or_default()
    }
}

/// Reads the data of `file`, up to `length`, and calls back with where each chunk begins, the buffer
/// and how much of it is the chunk. The buffer may be taken, for another. What chunks leave out is
/// holes.
pub(crate) fn each_chunk<E>(
    file: impl AsFd,
    length: u64,
    buffer: &mut Buffer,
    mut chunk: impl FnMut(u64, &mut Buffer, usize) -> Result<(), Unfinished<E>>,
) -> Result<(), Unfinished<E>> {
    let mut at = 0;
    while at < length {
        let Some(data) = data_from(&file, at)?.filter(|data| *data < length) else { break };
        let end = hole_from(&file, data)?.min(length);
        // Pieces begin at multiples of their length, wherever the data does.
        at = at.max(data - data % PIECE as u64);
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(CHUNK).next_multiple_of(PIECE);
            let read = read_full(&file, buffer.get(wanted), at)?;
            let read = usize::try_from(length - at).map_or(read, |left| read.min(left));
            if read == 0 {
                return Err(SysError::Invalid {
                    what: "a file that is copied",
                    detail: "it became shorter meanwhile".to_owned(),
                }
                .into());
            }
            chunk(at, buffer, read)?;
            at += read as u64;
        }
    }
    Ok(())
}

/// The pieces of a chunk that are not all zeros, and where they begin.
fn pieces(at: u64, chunk: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let placed =
        chunk.chunks(PIECE).enumerate().map(move |(index, bytes)| (at + (index * PIECE) as u64, bytes));
    placed.filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0))
}

/// Writes a chunk, but for the pieces that are all zeros: those are holes of the new file.
pub(crate) fn write_sparse(file: impl AsFd, at: u64, chunk: &[u8]) -> Result<()> {
    // What belongs together is written at once.
    let mut run: Option<(u64, usize)> = None;
    let write = |(begin, length): (u64, usize)| {
        let from = usize::try_from(begin - at).unwrap_or(usize::MAX);
        write_all(&file, chunk.get(from..from.saturating_add(length)).unwrap_or_default(), begin)
    };
    for (begin, bytes) in pieces(at, chunk) {
        run = match run {
            Some((first, length)) if first + length as u64 == begin => Some((first, length + bytes.len())),
            Some(ended) => {
                write(ended)?;
                Some((begin, bytes.len()))
            }
            None => Some((begin, bytes.len())),
        };
    }
    run.map_or(Ok(()), write)
}

/// Adds a chunk to a checksum.
pub(crate) fn add_chunk(summing: &mut Summing, at: u64, chunk: &[u8]) {
    for (at, bytes) in pieces(at, chunk) {
        summing.add_number(at);
        summing.add(bytes);
    }
}

/// Adds the content of a file of that length.
pub(crate) fn sum<E>(
    file: impl AsFd,
    length: u64,
    buffer: &mut Buffer,
    summing: &mut Summing,
    mut advance: impl FnMut(u64) -> Result<(), E>,
) -> Result<(), Unfinished<E>> {
    each_chunk(file, length, buffer, |at, buffer, read| {
        add_chunk(summing, at, buffer.get(read));
        advance(read as u64).map_err(Unfinished::Stopped)
    })?;
    summing.add_number(length);
    Ok(())
}

/// Writes all bytes at that place.
fn write_all(file: impl AsFd, mut bytes: &[u8], mut at: u64) -> Result<()> {
    while !bytes.is_empty() {
        match pwrite(&file, bytes, at) {
            Ok(0) => return Err(SysError::call("write a copy", Errno::IO)),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                at += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(SysError::call("write a copy", errno)),
        }
    }
    Ok(())
}

/// How many bytes were read: fewer than asked for only at the end of the file.
fn read_full(file: impl AsFd, buffer: &mut [u8], at: u64) -> Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match pread(&file, rest, at + filled as u64) {
            Ok(0) => break,
            Ok(read) => {
                filled += read;
                // With direct I/O only the end of the file is not aligned, and nothing is behind it.
                if read % ALIGNMENT != 0 {
                    break;
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(SysError::call("read what is copied", errno)),
        }
    }
    Ok(filled)
}

/// Where the next data begins; none up to the end.
fn data_from(file: impl AsFd, at: u64) -> Result<Option<u64>> {
    match seek(file, SeekFrom::Data(at)) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NXIO) => Ok(None),
        // Without SEEK_DATA all is data.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(at)),
        Err(errno) => Err(SysError::call("look for data", errno)),
    }
}

fn hole_from(file: impl AsFd, at: u64) -> Result<u64> {
    match seek(file, SeekFrom::Hole(at)) {
        Ok(found) => Ok(found),
        Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => Ok(u64::MAX),
        Err(errno) => Err(SysError::call("look for holes", errno)),
    }
}

/// Whether direct I/O can write so many bytes.
pub(crate) fn is_aligned(length: usize) -> bool {
    length.is_multiple_of(ALIGNMENT)
}
