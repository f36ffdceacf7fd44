//! What Orlop asks of the Linux kernel and of the programs that make and check filesystems.
//!
//! Every module is one concern, every function is synchronous and keeps no state between calls.
//! This is the only crate of the workspace with `unsafe` code and the only one that starts
//! processes. It knows no volumes, no policy and no records: the engine decides, this crate does.
//!
//! Rules that hold throughout:
//! - Paths given by a user are resolved once, by [`target`], and used through descriptors.
//! - Paths inside a volume are untrusted and resolved by [`beneath`].
//! - A loop device is only touched after its backing file was confirmed on an open descriptor.
//! - Sizes are bytes; times are [`std::time::Duration`].

pub mod beneath;
pub mod blockdev;
pub mod capability;
mod content;
pub mod durable;
pub mod error;
pub mod filesystem;
pub mod freeze;
mod grace;
pub mod host;
pub mod identity;
pub mod idmap;
pub mod image;
pub mod loopdev;
pub mod mount;
pub mod mountinfo;
pub mod ownership;
pub mod process;
pub mod propagation;
pub mod reflink;
pub mod space;
mod syscall;
pub mod target;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod user;
mod writeback;

pub use content::Checksum;
pub use error::{Result, SysError, Unfinished};
pub use identity::{DeviceNumber, FileIdentity};
pub use rustix::io::Errno;
