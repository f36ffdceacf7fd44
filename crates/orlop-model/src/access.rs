//! Access modes and volume modes: who may use a volume at once, and as what. They are enforced in the engine.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::Serialize;

use crate::error::{Error, ErrorKind};

/// Who may use a volume at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
pub enum AccessMode {
    /// One workload, reading and writing.
    ReadWriteOnce,
    /// Many workloads, reading only; its owner fills it with `orlop mount --read-write`.
    ReadOnlyMany,
    /// Many workloads, reading and writing.
    ReadWriteMany,
    /// One mount of one workload, reading and writing.
    ReadWriteOncePod,
}

impl AccessMode {
    /// All of them, in the order of the reference.
    pub const ALL: [Self; 4] =
        [Self::ReadWriteOnce, Self::ReadOnlyMany, Self::ReadWriteMany, Self::ReadWriteOncePod];

    /// The word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadWriteOnce => "ReadWriteOnce",
            Self::ReadOnlyMany => "ReadOnlyMany",
            Self::ReadWriteMany => "ReadWriteMany",
            Self::ReadWriteOncePod => "ReadWriteOncePod",
        }
    }

    /// The abbreviation of wide tables.
    pub fn short(self) -> &'static str {
        match self {
            Self::ReadWriteOnce => "RWO",
            Self::ReadOnlyMany => "ROX",
            Self::ReadWriteMany => "RWX",
            Self::ReadWriteOncePod => "RWOP",
        }
    }
}

/// What a consumer sees: a directory or a block device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
pub enum VolumeMode {
    /// A directory.
    #[default]
    Filesystem,
    /// A raw block device, for pods through CSI; refused where that is not served.
    Block,
}

impl VolumeMode {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Filesystem, Self::Block];

    /// The word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Filesystem => "Filesystem",
            Self::Block => "Block",
        }
    }
}

/// How a mount onto a directory of the host may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MountAccess {
    /// Read-only for ReadOnlyMany, else read-write.
    #[default]
    ByMode,
    /// Read-only.
    ReadOnly,
    /// Read-write, which fills a ReadOnlyMany volume; only its owner, and while nobody else is attached.
    ReadWrite,
}

impl MountAccess {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ByMode, Self::ReadOnly, Self::ReadWrite];

    /// The word of a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ByMode => "byMode",
            Self::ReadOnly => "readOnly",
            Self::ReadWrite => "readWrite",
        }
    }
}

macro_rules! word {
    ($type:ty, $what:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Self::ALL.into_iter().find(|word| word.as_str() == text).ok_or_else(|| {
                    let words = Self::ALL.map(|word| word.as_str());
                    Error::new(ErrorKind::InvalidArgument, format!("{text:?} is no {}", $what))
                        .object($what)
                        .hint(crate::error::expected(text, &words))
                })
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::json::word(deserializer)
            }
        }
    };
}
pub(crate) use word;

word!(AccessMode, "access mode");
word!(VolumeMode, "volume mode");
word!(MountAccess, "mount access");
