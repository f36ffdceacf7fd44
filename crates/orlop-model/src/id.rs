//! Ids: what directories, rows and protocols use instead of names. They are made in the engine, from a clock.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::{Uuid, fmt::Hyphenated};

use crate::error::{Error, ErrorKind};

macro_rules! id {
    ($(#[$doc:meta])* $type:ident, $what:literal, $shown:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $type(pub Uuid);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                // Other spellings of a UUID are shorter or longer than the hyphenated one.
                let id = if text.len() == Hyphenated::LENGTH { text.parse().ok() } else { None };
                id.map(Self).ok_or_else(|| {
                    Error::new(ErrorKind::InvalidArgument, format!("{text:?} is no {} id", $what))
                        .object(concat!($what, " id"))
                        .hint(concat!("an id is a UUID, as `", $shown, "` shows it"))
                })
            }
        }
    };
}

id!(
    /// A volume, for ever.
    VolumeId, "volume", "orlop get -d"
);
id!(
    /// A snapshot, for ever.
    SnapshotId, "snapshot", "orlop snapshot show"
);
id!(
    /// Snapshots of several volumes at one moment, for ever.
    SnapshotGroupId, "snapshot group", "orlop snapshot show"
);
id!(
    /// A pool, wherever it is carried.
    PoolId, "pool", "orlop pool show"
);
id!(
    /// One consumer's use of a volume.
    AttachmentId, "attachment", "orlop get -o json"
);
id!(
    /// One entry of the intent journal.
    OperationId, "operation", "orlop operation list"
);
