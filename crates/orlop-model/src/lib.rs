//! The words of Orlop: names, sizes, modes, types, ids, errors, resources, the manifest and the configuration.
//!
//! Everything here is pure: no I/O, no async, no clock, no randomness. What acts on these
//! words lives in `orlop-engine`; what speaks them over a socket lives in the fronts.
#![forbid(unsafe_code)]

pub mod access;
pub mod configuration;
pub mod error;
pub mod filesystem;
pub mod id;
pub mod json;
pub mod manifest;
pub mod name;
pub mod notify;
pub mod period;
pub mod pool_report;
pub mod resource;
pub mod rules;
pub mod size;
pub mod snapshot;
pub mod spec;
pub mod text;
pub mod usage;
pub mod volume_type;

pub use access::{AccessMode, MountAccess, VolumeMode};
pub use error::{Error, ErrorKind};
pub use filesystem::{FilesystemChoice, FilesystemKind, MountOption};
pub use id::{AttachmentId, OperationId, PoolId, SnapshotGroupId, SnapshotId, VolumeId};
pub use name::{PoolName, SnapshotName, VolumeName, WorkspaceName};
pub use period::Period;
pub use size::Size;
pub use snapshot::{Keep, Retain, Schedule, SnapshotManifest, SnapshotPolicy, SnapshotSpec, VolumeSource};
pub use spec::{Layer, VolumeManifest, VolumeSpec};
pub use usage::{UsageSample, VolumeUsage};
pub use volume_type::VolumeType;

/// The one manifest version this build reads and writes.
pub const MANIFEST_VERSION: &str = "v1beta";

/// What a fallible function of Orlop returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
