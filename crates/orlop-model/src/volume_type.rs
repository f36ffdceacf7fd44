//! The type of a volume: what becomes of its data when it is deleted. The engine acts on it.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    access::{AccessMode, word},
    error::{Error, ErrorKind},
};

/// What becomes of the data of a volume on delete, and where a copy is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
pub enum VolumeType {
    /// Scratch: the data is destroyed on delete.
    #[serde(rename = "temp")]
    Temp,
    /// The data is retained on delete: the volume is released.
    #[serde(rename = "persistent")]
    Persistent,
    /// One workload, with a copy in object storage that is destroyed on delete. A valid manifest, but
    /// this build has no object store: apply refuses it.
    CloudTemp,
    /// One workload, with a copy in object storage that stays on delete. A valid manifest, but this
    /// build has no object store: apply refuses it.
    CloudPersistent,
}

impl VolumeType {
    /// All of them, in the order of the reference.
    pub const ALL: [Self; 4] = [Self::Temp, Self::Persistent, Self::CloudTemp, Self::CloudPersistent];

    /// The word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Temp => "temp",
            Self::Persistent => "persistent",
            Self::CloudTemp => "CloudTemp",
            Self::CloudPersistent => "CloudPersistent",
        }
    }

    /// Whether delete keeps the data.
    pub fn retains(self) -> bool {
        match self {
            Self::Temp | Self::CloudTemp => false,
            Self::Persistent | Self::CloudPersistent => true,
        }
    }

    /// Whether a copy of the data belongs into an object store.
    pub fn is_cloud(self) -> bool {
        match self {
            Self::Temp | Self::Persistent => false,
            Self::CloudTemp | Self::CloudPersistent => true,
        }
    }

    /// Whether a volume of this type may have that access mode.
    pub fn allows(self, mode: AccessMode) -> bool {
        !self.is_cloud() || mode == AccessMode::ReadWriteOnce
    }
}

word!(VolumeType, "volume type");
