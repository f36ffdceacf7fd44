//! The UUID of an ext4. With `metadata_csum_seed`, which ours have, it is in the superblocks alone.
//! All numbers on disk are little-endian.

use std::fs::File;

use super::{Patch, array, put, read};

const AT: u64 = 1024;
const LENGTH: usize = 1024;
const CHECKSUM: usize = 0x3fc;
const UUID: usize = 0x68;
/// `incompat`: the log must be replayed; the checksums have a seed of their own.
const NEEDS_RECOVERY: u32 = 0x4;
const CHECKSUM_SEED: u32 = 0x2000;
/// `ro_compat`: every third, fifth and seventh power has a copy; metadata has checksums.
const SPARSE_SUPER: u32 = 0x1;
const METADATA_CHECKSUMS: u32 = 0x400;
const MOST_COPIES: usize = 64;

struct Superblock(Vec<u8>);

impl Superblock {
    /// One that is whole, with the checksum that proves it.
    fn read(file: &File, at: u64) -> std::io::Result<Option<Self>> {
        let Some(bytes) = read(file, at, LENGTH)? else { return Ok(None) };
        let found = Self(bytes);
        let whole = found.half(0x38) == 0xef53
            && found.word(0x64) & METADATA_CHECKSUMS != 0
            && found.word(CHECKSUM) == found.checksum();
        Ok(whole.then_some(found))
    }

    fn word(&self, at: usize) -> u32 {
        array(&self.0, at).map_or(0, u32::from_le_bytes)
    }

    fn half(&self, at: usize) -> u16 {
        array(&self.0, at).map_or(0, u16::from_le_bytes)
    }

    /// The kernel leaves out the inversion at the end.
    fn checksum(&self) -> u32 {
        !crc32c::crc32c(self.0.get(..CHECKSUM).unwrap_or_default())
    }

    fn with(mut self, uuid: [u8; 16]) -> Vec<u8> {
        put(&mut self.0, UUID, &uuid);
        let checksum = self.checksum();
        put(&mut self.0, CHECKSUM, &checksum.to_le_bytes());
        self.0
    }
}

pub(super) fn is_clean(file: &File) -> std::io::Result<bool> {
    Ok(Superblock::read(file, AT)?.is_some_and(|found| found.word(0x60) & NEEDS_RECOVERY == 0))
}

/// The superblocks with another UUID, the first one last; `None` where that alone would not do.
pub(super) fn patches(file: &File, uuid: [u8; 16]) -> std::io::Result<Option<Vec<Patch>>> {
    let Some(first) = Superblock::read(file, AT)? else { return Ok(None) };
    if first.word(0x60) & (CHECKSUM_SEED | NEEDS_RECOVERY) != CHECKSUM_SEED
        || first.word(0x64) & SPARSE_SUPER == 0
    {
        return Ok(None);
    }
    let block_size = 1024_u64 << first.word(0x18).min(6);
    let (first_block, per_group) = (u64::from(first.word(0x14)), u64::from(first.word(0x20)));
    let length = file.metadata()?.len();
    let mut patches = Vec::new();
    for group in copies() {
        let at = (first_block + group * per_group) * block_size;
        if at >= length || patches.len() >= MOST_COPIES {
            break;
        }
        // One that is not whole is of no use as it is: whoever checks the filesystem writes it anew.
        if let Some(copy) = Superblock::read(file, at)? {
            patches.push((at, copy.with(uuid)));
        }
    }
    patches.push((AT, first.with(uuid)));
    Ok(Some(patches))
}

/// The block groups with a copy, in order: 1 and the powers of 3, 5 and 7.
fn copies() -> impl Iterator<Item = u64> {
    let powers = |of: u64| std::iter::successors(Some(of), move |power| power.checked_mul(of)).take(20);
    let mut groups: Vec<u64> = [3, 5, 7].into_iter().flat_map(powers).chain([1]).collect();
    groups.sort_unstable();
    groups.into_iter()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_groups_with_copies_are_those_of_the_format() {
        let first: Vec<u64> = super::copies().take(9).collect();
        assert_eq!(first, [1, 3, 5, 7, 9, 25, 27, 49, 81]);
    }
}
