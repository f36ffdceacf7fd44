//! Which loop devices have a file now.
//!
//! The kernel's list of partitions has every device with a size, and so no free loop device. It is one
//! read, where a look at each device of `/sys/block` is several calls for each that was ever used: a node
//! that once had a thousand volumes attached keeps a thousand free ones.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read, Seek},
    path::Path,
};

use super::MAJOR;
use crate::error::{Result, SysError};

const LIST: &str = "/proc/partitions";
/// More than the kernel gives in one piece, which is a page.
const PIECE: usize = 1 << 16;

/// The numbers of the devices that have a backing file, ascending. One whose file is empty is not among
/// them.
pub(super) fn numbers() -> Result<BTreeSet<u32>> {
    let failed = |error| SysError::io("read", Path::new(LIST), &error);
    let mut list = File::open(LIST).map_err(failed)?;
    let (mut found, in_one) = read(&mut list).map_err(failed)?;
    if !in_one {
        // A piece begins after as many devices as those before it had. Where another one was removed in
        // between, one is left out; in both reads it is not.
        list.rewind().map_err(failed)?;
        found.extend(read(&mut list).map_err(failed)?.0);
    }
    Ok(found)
}

/// The numbers, and whether the kernel gave all of the list at once.
fn read(list: &mut impl Read) -> std::io::Result<(BTreeSet<u32>, bool)> {
    let (mut text, mut pieces) = (Vec::new(), 0);
    let mut piece = vec![0; PIECE];
    loop {
        let length = list.read(&mut piece)?;
        let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else { break };
        text.extend_from_slice(read);
        pieces += 1;
    }
    Ok((parse(&String::from_utf8_lossy(&text)), pieces <= 1))
}

/// Lines are `major minor blocks name`. Partitions of a loop device have another major number.
fn parse(text: &str) -> BTreeSet<u32> {
    let numbers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let major: u32 = words.next()?.parse().ok()?;
        let name = words.nth(2).filter(|_| major == MAJOR)?;
        name.strip_prefix("loop")?.parse().ok()
    });
    numbers.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn loop_devices_are_told_from_other_devices() {
        let text = "major minor  #blocks  name\n\n   7        0    2097152 loop0\n   7       12      16384 loop12\n \
             259        0     102400 loop3p1\n 254        0  264241152 vda\n   7        1          4 loopback\n";
        assert_eq!(parse(text), BTreeSet::from([0, 12]));
        assert!(parse("").is_empty());
    }

    /// Gives one piece after the other, as the kernel does.
    struct Pieces(Vec<&'static str>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let Some(piece) = (!self.0.is_empty()).then(|| self.0.remove(0)) else { return Ok(0) };
            buffer[..piece.len()].copy_from_slice(piece.as_bytes());
            Ok(piece.len())
        }
    }

    #[test]
    fn a_list_in_pieces_is_known_as_such() {
        let one = " 7 1 16384 loop1\n 7 2 16384 loop2\n";
        assert_eq!(read(&mut Pieces(vec![one])).unwrap(), (BTreeSet::from([1, 2]), true));
        let two = vec![" 7 1 16384 loop1\n 7 2 163", "84 loop2\n"];
        assert_eq!(read(&mut Pieces(two)).unwrap(), (BTreeSet::from([1, 2]), false));
    }
}
