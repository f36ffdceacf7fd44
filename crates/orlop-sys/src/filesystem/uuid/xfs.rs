//! The UUID of an XFS with checksums. What users see is in the superblocks and in the log; all other
//! metadata has the UUID that the filesystem was made with, which then is kept beside the new one.
//! All numbers on disk are big-endian, but checksums.
//!
//! A log is clean when its last record says "unmounted" and nothing else. Of such a log the kernel
//! compares the UUID in that one record; the older ones are never looked at again.

use std::fs::File;

use super::{Patch, array, put, read};

const SUPERBLOCK: &[u8] = b"XFSB";
/// In the superblock.
const UUID: usize = 32;
const INCOMPATIBLE: usize = 216;
const CHECKSUM: usize = 224;
const META_UUID: usize = 248;
const HAS_META_UUID: u32 = 0x4;
const WITH_CHECKSUMS: u16 = 5;
/// No allocation group but the last is shorter, in bytes.
const LEAST_GROUP: u64 = 16 << 20;

/// The log counts in these, in bytes.
const BASIC_BLOCK: usize = 512;
const RECORD: u32 = 0xfeed_babe;
/// In the header of a record.
const RECORD_CHECKSUM: usize = 32;
const RECORD_UUID: usize = 304;
/// The header's own bytes that the checksum is of, and those of each further header.
const HEADER: usize = 328;
const FURTHER_HEADER: usize = 260;
/// A header has room for so many bytes of content.
const PER_HEADER: u32 = 32 * 1024;
/// No record is longer: 256 KiB and its headers.
const MOST_BLOCKS: u64 = 256 * 2 + 8;
/// The flag of an operation that says "unmounted".
const UNMOUNTED: u8 = 0x20;

/// Of an image that somebody else may have made: its numbers are believed as far as they make sense.
struct Superblock(Vec<u8>);

impl Superblock {
    fn read(file: &File, at: u64) -> std::io::Result<Option<Self>> {
        let Some(head) = read(file, at, BASIC_BLOCK)? else { return Ok(None) };
        let sector = usize::from(array(&head, 102).map_or(0, u16::from_be_bytes));
        if !head.starts_with(SUPERBLOCK) || !(512..=32768).contains(&sector) {
            return Ok(None);
        }
        let Some(bytes) = read(file, at, sector)? else { return Ok(None) };
        let found = Self(bytes);
        let version = array(&found.0, 100).map_or(0, u16::from_be_bytes) & 0xf;
        let checksum = array(&found.0, CHECKSUM).map_or(0, u32::from_le_bytes);
        Ok((version == WITH_CHECKSUMS && checksum == found.checksum()).then_some(found))
    }

    fn word(&self, at: usize) -> u32 {
        array(&self.0, at).map_or(0, u32::from_be_bytes)
    }

    fn block_size(&self) -> u64 {
        u64::from(self.word(4))
    }

    /// Of an allocation group, which begins with a copy of the superblock. None where they are shorter
    /// than any is, or longer than can be.
    fn group(&self, number: u32) -> Option<u64> {
        let length = u64::from(self.word(84)).checked_mul(self.block_size());
        length.filter(|length| *length >= LEAST_GROUP)?.checked_mul(number.into())
    }

    /// Where the log is, and how long; `None` where it is on another device, or nowhere.
    fn log(&self) -> Option<(u64, u64)> {
        let start = array(&self.0, 48).map_or(0, u64::from_be_bytes);
        let group_bits = u32::from(*self.0.get(124)?);
        let (group, block) =
            (u32::try_from(start.checked_shr(group_bits)?).ok()?, start & ((1 << group_bits.min(63)) - 1));
        let length = u64::from(self.word(96)).checked_mul(self.block_size())?;
        let begin = self.group(group)?.checked_add(block.checked_mul(self.block_size())?)?;
        (start != 0 && length >= 1 << 20 && begin.checked_add(length).is_some()).then_some((begin, length))
    }

    /// With the checksum's own place as zeros.
    fn checksum(&self) -> u32 {
        let (before, after) = (self.0.get(..CHECKSUM), self.0.get(CHECKSUM + 4..));
        let crc = crc32c::crc32c_append(crc32c::crc32c(before.unwrap_or_default()), &[0; 4]);
        crc32c::crc32c_append(crc, after.unwrap_or_default())
    }

    fn with(mut self, uuid: [u8; 16]) -> Vec<u8> {
        if self.word(INCOMPATIBLE) & HAS_META_UUID == 0 {
            let made_with: [u8; 16] = array(&self.0, UUID).unwrap_or_default();
            put(&mut self.0, META_UUID, &made_with);
            let features = self.word(INCOMPATIBLE) | HAS_META_UUID;
            put(&mut self.0, INCOMPATIBLE, &features.to_be_bytes());
        }
        put(&mut self.0, UUID, &uuid);
        let checksum = self.checksum();
        put(&mut self.0, CHECKSUM, &checksum.to_le_bytes());
        self.0
    }
}

/// The last record of a clean log: where it is, and its headers and content as they are on disk.
pub(super) struct LastRecord {
    at: u64,
    header: Vec<u8>,
    rest: Vec<u8>,
}

impl LastRecord {
    /// As the kernel computes it: the header without the checksum, the further ones, the content.
    fn checksum(&self) -> u32 {
        let zeroed = [
            self.header.get(..RECORD_CHECKSUM).unwrap_or_default(),
            &[0; 4],
            self.header.get(RECORD_CHECKSUM + 4..HEADER).unwrap_or_default(),
        ];
        let crc = zeroed.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
        let further = headers(&self.header) - 1;
        let (headers, content) = self.rest.split_at_checked(further * BASIC_BLOCK).unwrap_or_default();
        let crc = headers.chunks(BASIC_BLOCK).fold(crc, |crc, header| {
            crc32c::crc32c_append(crc, header.get(..FURTHER_HEADER).unwrap_or_default())
        });
        crc32c::crc32c_append(crc, content)
    }

    fn with(mut self, uuid: [u8; 16]) -> Patch {
        put(&mut self.header, RECORD_UUID, &uuid);
        // mkfs leaves the checksum of its one record out.
        if array(&self.header, RECORD_CHECKSUM) != Some([0; 4]) {
            let checksum = self.checksum();
            put(&mut self.header, RECORD_CHECKSUM, &checksum.to_le_bytes());
        }
        (self.at, self.header)
    }
}

fn headers(header: &[u8]) -> usize {
    let size = array(header, 320).map_or(0, u32::from_be_bytes);
    size.div_ceil(PER_HEADER).max(1) as usize
}

/// The record that says "unmounted", if it is the last one. A log whose last record goes round its
/// end is said not to be clean: it is replayed once more, and then it is.
pub(super) fn last_record(file: &File) -> std::io::Result<Option<LastRecord>> {
    let Some(superblock) = Superblock::read(file, 0)? else { return Ok(None) };
    let Some((start, length)) = superblock.log() else { return Ok(None) };
    let blocks = length / BASIC_BLOCK as u64;
    let block = |number: u64| start + number * BASIC_BLOCK as u64;
    let Some(head) = find_head(blocks, |number| cycle(file, block(number)))? else { return Ok(None) };
    let end = if head == 0 { blocks } else { head };
    for number in (end.saturating_sub(MOST_BLOCKS)..end).rev() {
        let Some(header) = read(file, block(number), BASIC_BLOCK)? else { return Ok(None) };
        if array(&header, 0).map(u32::from_be_bytes) != Some(RECORD) {
            continue;
        }
        let content =
            u64::from(array(&header, 12).map_or(0, u32::from_be_bytes)).div_ceil(BASIC_BLOCK as u64);
        let after = (headers(&header) - 1) as u64 + content;
        let one_operation = array(&header, 40).map(u32::from_be_bytes) == Some(1);
        if number + 1 + after != end || !one_operation {
            return Ok(None);
        }
        let length = usize::try_from(after).unwrap_or(0) * BASIC_BLOCK;
        let Some(rest) = read(file, block(number + 1), length)? else { return Ok(None) };
        let record = LastRecord { at: block(number), header, rest };
        let operation = record.rest.get((headers(&record.header) - 1) * BASIC_BLOCK..).unwrap_or_default();
        let says_unmounted = operation.get(9).is_some_and(|flags| flags & UNMOUNTED != 0);
        let checksum = array(&record.header, RECORD_CHECKSUM).map_or(0, u32::from_le_bytes);
        let whole = checksum == 0 || checksum == record.checksum();
        return Ok((says_unmounted && whole).then_some(record));
    }
    Ok(None)
}

/// Each block begins with the number of the round in which it was written, or with the mark of a
/// record and then that number.
fn cycle(file: &File, at: u64) -> std::io::Result<u32> {
    let word = |bytes: &[u8], at| array(bytes, at).map_or(0, u32::from_be_bytes);
    let bytes = read(file, at, 8)?.unwrap_or_default();
    Ok(if word(&bytes, 0) == RECORD { word(&bytes, 4) } else { word(&bytes, 0) })
}

/// The block that is written next: the first of the round before. `None` in a log that is none.
fn find_head(blocks: u64, cycle: impl Fn(u64) -> std::io::Result<u32>) -> std::io::Result<Option<u64>> {
    let (first, last) = (cycle(0)?, cycle(blocks - 1)?);
    if first == last {
        // All of one round: the next begins at the beginning.
        return Ok((first != 0).then_some(0));
    }
    if first == 0 || (last != 0 && last.checked_add(1) != Some(first)) {
        return Ok(None);
    }
    let (mut of_this, mut of_last) = (0, blocks - 1);
    while of_last - of_this > 1 {
        let middle = of_this + (of_last - of_this) / 2;
        if cycle(middle)? == first { of_this = middle } else { of_last = middle }
    }
    Ok(Some(of_last))
}

/// The superblocks and the record with another UUID, the first superblock last; `None` where it
/// can't be done so.
pub(super) fn patches(file: &File, uuid: [u8; 16]) -> std::io::Result<Option<Vec<Patch>>> {
    let Some(first) = Superblock::read(file, 0)? else { return Ok(None) };
    let Some(record) = last_record(file)? else { return Ok(None) };
    let mut patches = vec![record.with(uuid)];
    for group in 1..first.word(88) {
        let Some(at) = first.group(group) else { return Ok(None) };
        let Some(copy) = Superblock::read(file, at)? else { return Ok(None) };
        patches.push((at, copy.with(uuid)));
    }
    patches.push((0, first.with(uuid)));
    Ok(Some(patches))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{CHECKSUM, Superblock, find_head, last_record, patches, put};
    use crate::filesystem::{FsKind, XFS_MINIMUM};
    use crate::testing::{Scratch, Volume, may_mount};
    use proptest::prelude::*;
    use std::os::unix::fs::FileExt;

    /// Whoever writes a superblock can give it the right checksum too.
    #[test]
    fn a_superblock_that_leads_out_of_the_image_is_refused() {
        if !may_mount() {
            return;
        }
        let scratch = Scratch::new();
        let volume = Volume::new(&scratch, "image", FsKind::Xfs, XFS_MINIMUM);
        let file = crate::image::open_existing(&volume.image).unwrap();
        let whole = Superblock::read(&file, 0).unwrap().unwrap().0;
        assert!(patches(&file, [7; 16]).unwrap().is_some());
        // Where it is, and what it says then: the length of a group, how many there are, the length of
        // a block, where the log is, and how long.
        type Change<'a> = (usize, &'a [u8]);
        let lies: [(&str, &[Change<'_>]); 5] = [
            ("no length and many groups", &[(84, &[0; 4]), (88, &[0, 0, 4, 0])]),
            ("groups beyond the end", &[(84, &[0xff; 4]), (88, &[0xff; 4])]),
            ("numbers beyond 64 bits", &[(4, &[0xff; 4]), (84, &[0xff; 4]), (88, &[0xff; 4])]),
            ("a log beyond 64 bits", &[(4, &[0xff; 4]), (48, &[0x7f; 8]), (96, &[0xff; 4])]),
            ("a group of its own for the log", &[(124, &[63]), (48, &[0x7f; 8])]),
        ];
        for (what, changes) in lies {
            let mut lie = Superblock(whole.clone());
            changes.iter().for_each(|(at, bytes)| put(&mut lie.0, *at, bytes));
            let checksum = lie.checksum();
            put(&mut lie.0, CHECKSUM, &checksum.to_le_bytes());
            file.write_all_at(&lie.0, 0).unwrap();
            assert!(Superblock::read(&file, 0).unwrap().is_some(), "{what}: or this shows nothing");
            assert!(patches(&file, [7; 16]).unwrap().is_none(), "{what}");
            let _ = last_record(&file).unwrap();
        }
    }

    fn head(cycles: &[u32]) -> Option<u64> {
        find_head(cycles.len() as u64, |number| Ok(cycles[number as usize])).unwrap()
    }

    #[test]
    fn the_head_is_where_the_round_before_begins() {
        assert_eq!(head(&[1, 1, 1, 0, 0, 0]), Some(3), "never gone round");
        assert_eq!(head(&[7, 7, 6, 6]), Some(2));
        assert_eq!(head(&[7, 7, 7, 7]), Some(0));
        assert_eq!(head(&[0, 0]), None);
        assert_eq!(head(&[9, 4]), None);
    }

    proptest! {
        #[test]
        fn wherever_it_is(blocks in 2usize..300, at in 1usize..299, round in 2u32..1000) {
            let at = at.min(blocks - 1);
            let cycles: Vec<u32> = (0..blocks).map(|n| if n < at { round } else { round - 1 }).collect();
            prop_assert_eq!(head(&cycles), Some(at as u64));
        }
    }
}
