//! Filesystems inside an image, and the mount options a manifest may ask for. How they are made lives in `orlop-sys`.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    access::word,
    error::{Error, ErrorKind},
};

/// What a manifest asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FilesystemChoice {
    /// By size: XFS from 512Mi, ext4 below.
    #[default]
    Auto,
    /// ext4, whatever the size.
    Ext4,
    /// XFS, from 300Mi up.
    Xfs,
}

impl FilesystemChoice {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Ext4, Self::Xfs];

    /// The word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// The filesystem that a new volume of `size` gets. This rule is fixed for a format
    /// version; what it chose is recorded with the volume and never derived again.
    pub fn resolve(self, size: crate::Size) -> FilesystemKind {
        match self {
            Self::Ext4 => FilesystemKind::Ext4,
            Self::Xfs => FilesystemKind::Xfs,
            Self::Auto if size >= FilesystemKind::XFS_FROM => FilesystemKind::Xfs,
            Self::Auto => FilesystemKind::Ext4,
        }
    }
}

/// What a volume has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FilesystemKind {
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
}

impl FilesystemKind {
    /// `auto` means XFS from here up.
    pub const XFS_FROM: crate::Size = crate::Size::from_bytes(512 << 20);
    /// mkfs.xfs makes nothing smaller.
    pub const XFS_LEAST: crate::Size = crate::Size::from_bytes(300 << 20);
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Ext4, Self::Xfs];

    /// The word of records and of the kernel.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }
}

/// A mount option a manifest may ask for. `suid` and `dev` are not among them: every
/// volume is mounted `nosuid,nodev`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MountOption {
    /// Access times are not written.
    Noatime,
    /// Access times of directories are not written.
    Nodiratime,
    /// Nothing on the volume can be executed.
    Noexec,
    /// Every write reaches the disk before it returns.
    Sync,
}

impl MountOption {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Noatime, Self::Nodiratime, Self::Noexec, Self::Sync];

    /// The word of the manifest and of the kernel.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Noatime => "noatime",
            Self::Nodiratime => "nodiratime",
            Self::Noexec => "noexec",
            Self::Sync => "sync",
        }
    }
}

word!(FilesystemChoice, "filesystem");
word!(FilesystemKind, "filesystem");
word!(MountOption, "mount option");
