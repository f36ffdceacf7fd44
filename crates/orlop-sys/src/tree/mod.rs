//! Whole directory trees: a faithful copy, a checksum that tells whether it is one, and how much there
//! is to copy.
//!
//! Kept are names, contents with their holes, symbolic links, hard links within the tree, FIFOs,
//! sockets and device nodes, owners, all twelve permission bits, extended attributes (access control
//! lists and file capabilities are such), and times of access and change. Not kept are what the kernel
//! gives out itself (inode numbers, times of creation) and flags of `chattr`.
//!
//! A tree may hold names that somebody exchanges for links while it is read: every lookup stays
//! beneath the root's descriptor, follows no link and leaves no mount. The target of a copy must be
//! one that nobody else writes to.

mod attributes;
mod copy;
mod digest;
#[cfg(test)]
mod tests;
mod walk;

use std::os::fd::AsFd;

use crate::error::Unfinished;

pub use copy::copy;
pub use digest::checksum;

/// How much a tree holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files, directories and all else, the root not counted.
    pub entries: u64,
    /// Bytes of the files' data, holes not counted, hard links once.
    pub bytes: u64,
}

/// Counts what is beneath `root`, a directory. `advance` is called for each entry.
///
/// # Errors
/// See [`Unfinished`].
pub fn measure<E>(
    root: impl AsFd,
    mut advance: impl FnMut() -> Result<(), E>,
) -> Result<Tally, Unfinished<E>> {
    let mut tally = Tally::default();
    let mut links = walk::Links::default();
    walk::walk(root.as_fd(), |entry| {
        tally.entries += 1;
        if entry.kind() == walk::Kind::File && links.first(entry).is_none() {
            tally.bytes += (entry.found.stx_blocks * 512).min(entry.found.stx_size);
        }
        advance().map_err(Unfinished::Stopped)
    })?;
    Ok(tally)
}
