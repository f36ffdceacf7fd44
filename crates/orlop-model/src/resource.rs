//! What exists: volumes, pools, workspaces and events as every front shows them. The engine fills these in.

mod snapshot;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    access::AccessMode,
    error::Error,
    filesystem::FilesystemKind,
    id::{AttachmentId, OperationId, PoolId, VolumeId},
    name::{PoolName, VolumeName, WorkspaceName},
    size::Size,
    spec::VolumeManifest,
    usage::VolumeUsage,
};

pub use snapshot::{Consistency, InGroup, Restored, Snapshot, SnapshotGroup, SnapshotState, SnapshotStatus};

/// A volume: the manifest's own shape plus `workspace` and `status`, so that it can be
/// applied again unchanged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// What was asked for.
    #[serde(flatten)]
    pub manifest: VolumeManifest,
    /// The namespace of its name.
    pub workspace: WorkspaceName,
    /// What is.
    pub status: VolumeStatus,
}

/// Where a volume is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VolumeState {
    /// Being made.
    Pending,
    /// Formatted, flushed and mountable.
    Active,
    /// Being deleted; waits for its last holder.
    Deleting,
    /// Deleted, with its data retained.
    Released,
    /// Not usable; the reason says why and what to do.
    Error,
}

impl VolumeState {
    /// The word of records and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Deleting => "deleting",
            Self::Released => "released",
            Self::Error => "error",
        }
    }
}

/// What apply would do with a volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumePlan {
    /// The namespace of its name.
    pub workspace: WorkspaceName,
    /// Its name.
    pub name: VolumeName,
    /// In one word.
    pub intention: Intention,
    /// The fields that would change; empty unless it would change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<PlannedChange>,
    /// What to know before, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why apply would refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Error>,
}

/// What apply would do, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Intention {
    /// Make it.
    Create,
    /// Change it.
    Change,
    /// Nothing.
    Unchanged,
    /// Refuse.
    Refuse,
}

/// A field that would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedChange {
    /// The field, such as `volume.size`.
    pub field: String,
    /// What is recorded; none where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How.
    pub how: How,
}

/// How a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum How {
    /// At once, whether the volume is in use or not.
    InPlace,
    /// On a copy, which takes the place of the volume's data after it was checked. Nobody can use the
    /// volume meanwhile.
    WithCopy,
}

/// The status of a volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    /// The volume, for ever.
    pub id: VolumeId,
    /// Where it is in its life.
    pub state: VolumeState,
    /// Why it is in that state and what to do, where that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Grows with every change of the record.
    pub generation: u64,
    /// The uid that owns it, from the kernel.
    pub owner_uid: u32,
    /// Through which front it was made.
    pub created_by: Front,
    /// Whether the kernel enforces the size and the disk can hold it.
    pub capacity: Capacity,
    /// The node it is on, whose daemon says this. Another node's daemon knows nothing of it.
    #[serde(default)]
    pub node: String,
    /// The pool it lives in.
    pub pool: PoolName,
    /// The filesystem inside; none of a volume that its users have as a block device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FilesystemKind>,
    /// Block size of the loop device, in bytes; kept with the image.
    pub block_size: u32,
    /// Bytes in use inside the filesystem, where known: live when attached, else as of the last detach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
    /// All that is known of its use, once it was mounted: live when attached, else as last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<VolumeUsage>,
    /// Bytes the image takes of the host's filesystem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocated_bytes: Option<u64>,
    /// Who uses it.
    pub attachments: Vec<Attachment>,
    /// What container engines call it, where that is not its own name: `project_data` of Compose, say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<Alias>,
    /// Whether it was made for one consumer, and is destroyed with that: a volume that is written into a
    /// pod.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
    /// What a user ought to know, such as that ReadWriteOnce is per host under Podman.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its record last changed.
    pub updated_at: Timestamp,
    /// When it was deleted, for a released or deleting one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// The uid that deleted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_by: Option<u32>,
    /// The name of that user on the daemon's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_by_name: Option<String>,
    /// When its data is wiped, for a `temp` volume whose data ever is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wipe: Option<Wipe>,
}

/// When the data of a `temp` volume is wiped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wipe {
    /// How long after its last user left, in seconds.
    pub after_seconds: u64,
    /// When that is, if the daemon runs until then; none while nothing is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// How many seconds are left; none while nothing is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_seconds: Option<u64>,
}

/// A name that a container engine has for a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alias {
    /// Whose name.
    pub front: Front,
    /// The name, verbatim.
    pub name: String,
}

/// Whether a volume's capacity is a promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Capacity {
    /// The kernel enforces it, and the disk below has the room.
    Hard,
    /// It could fail; `why` says how.
    Advisory { why: String },
}

/// Through which door a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Front {
    /// REST and the CLI: declared by a manifest.
    Manifest,
    /// Docker's volume plugin.
    Docker,
    /// Podman's volume plugin.
    Podman,
    /// `orlop mount` on the host.
    Host,
    /// The Container Storage Interface: Kubernetes and Nomad.
    Csi,
}

impl Front {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Manifest, Self::Docker, Self::Podman, Self::Host, Self::Csi];

    /// The word of records and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Host => "host",
            Self::Csi => "csi",
        }
    }
}

/// One consumer's use of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// The attachment.
    pub id: AttachmentId,
    /// Through which front.
    pub front: Front,
    /// What counts as one workload.
    pub scope: String,
    /// Who, in words for a user.
    pub consumer: String,
    /// Where it is mounted, for a mount of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether nobody has it there: an orchestrator only has it kept ready on the node, for consumers to
    /// come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub staged: bool,
    /// Whether it can only read.
    pub read_only: bool,
    /// The node it is on.
    pub node: String,
    /// Since when.
    pub since: Timestamp,
}

/// A pool and its room. All numbers are bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// The pool, wherever it is carried.
    pub id: PoolId,
    /// Its name.
    pub name: PoolName,
    /// What is in it.
    pub backend: Backend,
    /// Whether it can be used, and has room.
    pub state: PoolState,
    /// Why it is in that state and what to do, where that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What its directory is on.
    pub medium: Medium,
    /// Where it is.
    pub path: String,
    /// What it can do; none where it is not there to be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<PoolCapabilities>,
    /// What it was given, or the free space when it was made.
    pub capacity: Size,
    /// How much may be promised of it, as a factor.
    pub overcommit: f64,
    /// The sum of the sizes of its volumes, released ones included, and of what its snapshots can take.
    pub reserved: Size,
    /// What may still be promised.
    pub available: Size,
    /// What its images take of the host's filesystem now.
    pub allocated: Size,
    /// What is free in the host's filesystem now.
    pub host_free: Size,
    /// What admission leaves free in the host's filesystem.
    pub low_water: Size,
    /// The kind of the host's filesystem, such as `ext4`.
    pub host_filesystem: String,
    /// How many volumes it holds, released ones included.
    pub volumes: u64,
    /// How many snapshots it holds.
    #[serde(default)]
    pub snapshots: u64,
    /// Whether its promises can fail, and why.
    pub capacity_status: Capacity,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Pool {
    /// How far its promises may exceed its capacity.
    pub const OVERCOMMIT: std::ops::RangeInclusive<f64> = 1.0..=1000.0;
    /// The same in words.
    pub const OVERCOMMIT_IS: &str = "a factor from 1.0, which promises only what there is, to 1000";
}

/// Whether a pool can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PoolState {
    /// It is there, and has room.
    Ready,
    /// It is there, and less than a tenth of what it may promise is left.
    Low,
    /// It is there, and new volumes are refused.
    Full,
    /// Its disk is not there; its volumes wait for it.
    Missing,
}

impl PoolState {
    /// The word of tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Low => "low",
            Self::Full => "full",
            Self::Missing => "missing",
        }
    }
}

/// What the directory of a pool is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Medium {
    /// A directory of a filesystem that others may use too.
    Directory,
    /// A block device of its own, with an XFS whose UUID is the pool's id: found again by that,
    /// whatever the device is called.
    Device {
        /// What it was called when it was last seen.
        device: String,
    },
    /// An image file of its own, with an XFS whose UUID is the pool's id.
    Image {
        /// The file.
        file: String,
        /// Its length.
        size: Size,
        /// Whether it takes its space as it is written; else all of it was taken when it was made.
        sparse: bool,
    },
}

/// What a pool can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolCapabilities {
    /// Snapshots and clones take no time and no space of their own.
    pub reflink: bool,
    /// What is promised can be held to, as far as the filesystem is concerned.
    pub hard_capacity: bool,
    /// Blocks that a volume frees are free for others.
    pub discard: bool,
}

/// What a pool keeps its volumes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// One loop-mounted image file a volume.
    Image,
}

/// A namespace of volumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    /// Its name.
    pub name: WorkspaceName,
    /// The uid that owns it.
    pub owner_uid: u32,
    /// The uids that may change, mount and delete all that is in it.
    #[serde(default)]
    pub grants: Vec<u32>,
    /// How many volumes it holds, released ones not counted.
    pub volumes: u64,
    /// The sum of their sizes.
    #[serde(default = "nothing")]
    pub size: Size,
    /// How many deleted volumes have their data retained in it.
    #[serde(default)]
    pub released: u64,
    /// The sum of their sizes.
    #[serde(default = "nothing")]
    pub released_size: Size,
    /// How many snapshots it holds.
    #[serde(default)]
    pub snapshots: u64,
    /// What they can take in all.
    #[serde(default = "nothing")]
    pub snapshots_size: Size,
    /// The most that all of it may be together, where root set a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_limit: Option<Size>,
    /// The most volumes it may have, released ones counted, where root set a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_limit: Option<u64>,
    /// When it was made.
    pub created_at: Timestamp,
}

fn nothing() -> Size {
    Size::from_bytes(0)
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its position in the stream; grows, with no number used twice.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// How much it matters.
    pub severity: Severity,
    /// What happened, in one CamelCase word.
    pub reason: String,
    /// The same in a sentence.
    pub message: String,
    /// The workspace concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceName>,
    /// The volume concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeName>,
    /// The same, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_id: Option<VolumeId>,
    /// The pool concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// The uid that caused it; none for what the daemon did by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_uid: Option<u32>,
    /// The front it came through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub front: Option<Front>,
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As intended.
    Info,
    /// Look at it.
    Warning,
    /// Something does not work.
    Error,
}

/// Long work that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Its entry in the journal.
    pub id: OperationId,
    /// What is done, in one word, such as `migrate`.
    pub kind: String,
    /// What it is done to, such as `volume public/data`.
    pub object: String,
    /// The part of the work that is under way, such as `copying`.
    pub phase: String,
    /// How much of this part is done, in bytes.
    pub done_bytes: u64,
    /// How much there is to do in this part, in bytes, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// Whether it was told to stop.
    pub stopping: bool,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When this part of it was begun.
    pub phase_started_at: Timestamp,
    /// The uid that asked for it; none for what the daemon does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_uid: Option<u32>,
}

/// What apply did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was not there before.
    Created,
    /// It was there and changed.
    Configured,
    /// It was there, the same.
    Unchanged,
}

/// What a check of a volume's filesystem came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeCheck {
    /// How the filesystem is now.
    pub verdict: Verdict,
    /// The program that looked.
    pub program: String,
    /// The end of what it said; empty where it found nothing.
    pub said: String,
    /// The volume's state now.
    pub state: VolumeState,
}

/// How a filesystem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing is wrong.
    Clean,
    /// Something was wrong, and was repaired.
    Repaired,
    /// Something is wrong.
    Damaged,
}

/// What delete did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Deletion {
    /// The data is destroyed.
    Destroyed,
    /// The data is retained; the volume is released.
    Released,
    /// Consumers still hold it; it goes when the last one has left.
    Deleting,
}

impl Volume {
    /// `workspace/name`, as messages call it.
    pub fn title(&self) -> String {
        format!("{}/{}", self.workspace, self.manifest.name)
    }

    /// Its access mode.
    pub fn access_mode(&self) -> AccessMode {
        self.manifest.volume.access_mode
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_reads_back_what_it_writes() {
        let text = r#"{"name":"a","version":"v1beta","type":"volume","layer":"user",
            "volume":{"size":"1Gi","accessMode":"ReadWriteMany","type":"temp"},"workspace":"public",
            "status":{"id":"019a0000-0000-7000-8000-000000000000","state":"active","generation":1,"ownerUid":0,
            "createdBy":"manifest","capacity":{"kind":"hard"},"pool":"default","filesystem":"xfs","blockSize":4096,
            "attachments":[],"createdAt":"2026-11-22T08:00:00Z","updatedAt":"2026-11-22T08:00:00Z"}}"#;
        let volume: Volume = serde_json::from_str(text).unwrap();
        let again: Volume = serde_json::from_str(&serde_json::to_string(&volume).unwrap()).unwrap();
        assert_eq!(volume, again);
        assert_eq!(volume.title(), "public/a");
    }
}
