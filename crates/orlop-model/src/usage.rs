//! How full a volume is, how its filesystem fares, and how that was over time.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How full a volume is and how its filesystem fares, as `df` and the kernel say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeUsage {
    /// When it was seen: now where the volume is mounted, else when it last was.
    pub seen_at: Timestamp,
    /// Bytes the filesystem can hold, its own metadata not counted.
    pub capacity_bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes that can still be written.
    pub available_bytes: u64,
    /// How many files and directories it can hold; XFS makes room for them of free space.
    pub inodes: u64,
    /// How many it holds.
    pub inodes_used: u64,
    /// The filesystem takes no more writes: it met an error, or shut down.
    #[serde(default)]
    pub stopped: bool,
    /// Errors found in its metadata since it was last checked. Only ext4 counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem_errors: Option<u64>,
    /// Warnings since it was mounted; each write of data that failed on the disk is one. Only ext4
    /// counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem_warnings: Option<u64>,
}

impl VolumeUsage {
    /// What `df -i` calls free.
    pub fn inodes_free(&self) -> u64 {
        self.inodes.saturating_sub(self.inodes_used)
    }

    /// Whether the filesystem needs a check.
    pub fn is_abnormal(&self) -> bool {
        self.stopped || self.filesystem_errors.is_some_and(|errors| errors > 0)
    }
}

/// The use of a volume at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageSample {
    /// When.
    pub at: Timestamp,
    /// Bytes in use inside.
    pub used_bytes: u64,
    /// Bytes the filesystem could hold.
    pub capacity_bytes: u64,
}
