//! With which parameters a filesystem is made: a pure function of its kind and size.
//!
//! Nothing is left to the defaults of the programs or to their configuration files: a newer mkfs
//! would otherwise turn on features that an older kernel can't mount. Changing a value here changes
//! new volumes only; what a volume was made with is recorded with it.

use super::FsKind;
use crate::error::{Result, SysError};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// The smallest XFS that its own tools still make: they refuse less than 300 MB.
pub const XFS_MINIMUM: u64 = 300 * MIB;
/// Below this ext4 has 1024-byte blocks: its journal has at least 1024 of them, which at 4096
/// bytes is 4 MiB, a quarter of the smallest volume.
const EXT4_LARGE_BLOCKS_FROM: u64 = 64 * MIB;
/// Room that is left in the block group descriptors for growing the filesystem while mounted.
/// Beyond it the kernel can still grow it, with descriptors elsewhere.
const EXT4_GROWTH: u64 = 16;
/// Of ext4, what every kernel since 4.4 mounts.
const EXT4_FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,\
     sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum,metadata_csum_seed";

/// How a filesystem is made. Recorded with the volume it is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatParameters {
    /// Which filesystem.
    pub kind: FsKind,
    /// The filesystem's block size in bytes.
    pub block_size: u32,
    /// The logical block size, in bytes, that the loop device must have for it to be mounted.
    pub loop_block_size: u32,
    /// The arguments of the program that makes it, without the image, its UUID and the template.
    pub arguments: Vec<String>,
}

/// The parameters for a filesystem of `size` bytes.
///
/// # Errors
/// [`SysError::Invalid`] where the size is too small for the filesystem (ext4: 16 MiB; XFS:
/// [`XFS_MINIMUM`]).
pub fn format_parameters(kind: FsKind, size: u64) -> Result<FormatParameters> {
    match kind {
        FsKind::Ext4 => ext4(size),
        FsKind::Xfs => xfs(size),
    }
}

fn ext4(size: u64) -> Result<FormatParameters> {
    require(FsKind::Ext4, size, 16 * MIB)?;
    let block_size = if size < EXT4_LARGE_BLOCKS_FROM { 1024 } else { 4096 };
    // A journal as large as a 32nd of the volume, within what is useful: the smallest has 1024
    // blocks, and beyond 128 MiB only allocates host blocks that hold old transactions.
    let journal = (size / 32).clamp(1024 * u64::from(block_size), 128 * MIB) / MIB;
    // One inode for so many bytes: small volumes hold small files more often.
    let bytes_per_inode = if size < 512 * MIB { 8 * KIB } else { 16 * KIB };
    let grown_blocks = size
        .saturating_mul(EXT4_GROWTH)
        .div_euclid(u64::from(block_size))
        // 32-bit block numbers are what the reserved descriptors can address.
        .min(u64::from(u32::MAX));
    let mut extended = "nodiscard,lazy_itable_init=1,lazy_journal_init=1,assume_storage_prezeroed=1,\
         root_owner=0:0"
        .to_owned();
    if grown_blocks > size / u64::from(block_size) {
        extended.push_str(&format!(",resize={grown_blocks}"));
    }
    Ok(FormatParameters {
        kind: FsKind::Ext4,
        block_size,
        loop_block_size: block_size,
        arguments: arguments(&[
            ("-t", "ext4"),
            ("-O", EXT4_FEATURES),
            ("-b", &block_size.to_string()),
            ("-I", "256"),
            ("-i", &bytes_per_inode.to_string()),
            ("-G", "16"),
            ("-m", "0"),
            ("-J", &format!("size={journal}")),
            // Damaged metadata must stop writes, not be written over.
            ("-e", "remount-ro"),
            ("-E", &extended),
        ]),
    })
}

fn xfs(size: u64) -> Result<FormatParameters> {
    require(FsKind::Xfs, size, XFS_MINIMUM)?;
    // 64 MiB is the least that mkfs makes; a larger log only helps large volumes.
    let log = (size / 2048).clamp(64 * MIB, 1024 * MIB) / MIB;
    // At most 1 TiB each; four let four writers allocate at once.
    let groups = (size / TIB + 1).max(4);
    Ok(FormatParameters {
        kind: FsKind::Xfs,
        block_size: 4096,
        loop_block_size: 4096,
        arguments: arguments(&[
            ("-b", "size=4096"),
            ("-s", "size=4096"),
            ("-m", "crc=1,finobt=1,reflink=1,rmapbt=0,bigtime=1,inobtcount=1"),
            ("-i", "size=512,sparse=1,projid32bit=1,nrext64=0,maxpct=25"),
            ("-n", "size=4096,version=2,ftype=1"),
            ("-d", &format!("agcount={groups}")),
            ("-l", &format!("size={log}m,internal=1,version=2,lazy-count=1")),
        ]),
    })
}

fn require(kind: FsKind, size: u64, least: u64) -> Result<()> {
    if size >= least {
        return Ok(());
    }
    Err(SysError::Invalid {
        what: "size of the filesystem",
        detail: format!("{kind} needs at least {} MiB, not {size} bytes", least / MIB),
    })
}

fn arguments(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().flat_map(|(option, value)| [(*option).to_owned(), (*value).to_owned()]).collect()
}
