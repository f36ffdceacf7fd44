//! What an image says of itself, read without mounting it and without any program.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

use super::FsKind;
use crate::error::{Result, SysError};

/// Of both filesystems all that is read lies in the first bytes.
const HEAD: usize = 2048;
const EXT4_AT: usize = 1024;
const EXT4_NEEDS_RECOVERY: u32 = 0x4;
const EXT4_ERROR_STATE: u16 = 0x2;
const EXT4_64BIT: u32 = 0x80;

/// The main facts of a filesystem's superblock. Untrusted: the user of the volume can write any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Which filesystem.
    pub kind: FsKind,
    /// Its UUID.
    pub uuid: [u8; 16],
    /// Its block size, in bytes.
    pub block_size: u32,
    /// How long the filesystem believes to be, in bytes. An image shorter than this was truncated.
    pub size: u64,
    /// The log holds changes that the next mount replays. Only ext4 says so in its superblock;
    /// `None` for XFS.
    pub needs_recovery: Option<bool>,
    /// It met an error and was not checked since. Only ext4 says so; `None` for XFS.
    pub met_error: Option<bool>,
}

/// Reads the superblock of an image; `None` when it holds neither filesystem.
pub fn superblock(image: &Path) -> Result<Option<Superblock>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = open(image, flags, Mode::empty())
        .map(File::from)
        .map_err(|errno| SysError::on("open the image", image, errno))?;
    let mut head = [0; HEAD];
    let mut filled = 0;
    while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SysError::io("read the image", image, &error)),
        }
    }
    Ok(parse(head.get(..filled).unwrap_or_default()))
}

pub(super) fn parse(head: &[u8]) -> Option<Superblock> {
    parse_xfs(head).or_else(|| parse_ext4(head))
}

/// Big-endian.
fn parse_xfs(head: &[u8]) -> Option<Superblock> {
    if head.get(..4)? != b"XFSB" {
        return None;
    }
    let block_size = u32::from_be_bytes(array(head, 4)?);
    let blocks = u64::from_be_bytes(array(head, 8)?);
    Some(Superblock {
        kind: FsKind::Xfs,
        uuid: array(head, 32)?,
        block_size,
        size: blocks.checked_mul(u64::from(block_size))?,
        needs_recovery: None,
        met_error: None,
    })
}

/// Little-endian.
fn parse_ext4(head: &[u8]) -> Option<Superblock> {
    let block = head.get(EXT4_AT..)?;
    if array(block, 0x38)? != [0x53, 0xef] {
        return None;
    }
    let low = u32::from_le_bytes(array(block, 0x4)?);
    let block_size = 1024_u64.checked_shl(u32::from_le_bytes(array(block, 0x18)?))?;
    let incompatible = u32::from_le_bytes(array(block, 0x60)?);
    let high = if incompatible & EXT4_64BIT != 0 { u32::from_le_bytes(array(block, 0x150)?) } else { 0 };
    let blocks = u64::from(high) << 32 | u64::from(low);
    Some(Superblock {
        kind: FsKind::Ext4,
        uuid: array(block, 0x68)?,
        block_size: u32::try_from(block_size).ok()?,
        size: blocks.checked_mul(block_size)?,
        needs_recovery: Some(incompatible & EXT4_NEEDS_RECOVERY != 0),
        met_error: Some(u16::from_le_bytes(array(block, 0x3a)?) & EXT4_ERROR_STATE != 0),
    })
}

fn array<const LENGTH: usize>(bytes: &[u8], at: usize) -> Option<[u8; LENGTH]> {
    bytes.get(at..)?.first_chunk().copied()
}
