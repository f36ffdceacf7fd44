//! Requests and answers beyond the resources of `orlop-model`, in the shape they have on the wire.

use orlop_model::{
    MountAccess, PoolName, Retain, Size, VolumeName, WorkspaceName,
    resource::{Deletion, Event, Front, Outcome, Pool, Severity, VolumeState},
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// What a PUT did, and to what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Applied{T}")]
pub struct Applied<T> {
    /// Created, configured or unchanged.
    pub outcome: Outcome,
    /// The fields that changed, such as `volume.uid`; empty unless configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// What is now.
    pub resource: T,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    /// What is on it, ordered by workspace, name and id.
    pub items: Vec<T>,
    /// Send it as `after` for the next page; none on the last one. It stays valid under change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A whole list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "{T}List")]
pub struct List<T> {
    /// What is in it, ordered by name.
    pub items: Vec<T>,
}

/// Which volumes, and which page of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VolumeFilter {
    /// Only of this workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceName>,
    /// Only of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<VolumeName>,
    /// Only owned by that uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_uid: Option<u32>,
    /// Only with this tag; said several times, with all of them.
    #[serde(rename = "tag", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Only in that state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<VolumeState>,
    /// Released volumes instead of live ones.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    /// Only in that pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// Only made by apply, and last applied with that set of manifests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_set: Option<String>,
    /// At most so many on a page; 1000 where nothing or more is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// How a volume is applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApplyOptions {
    /// Make the workspace if it is missing; else its absence is an error.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub create_workspace: bool,
    /// The set of manifests that this one is of, such as the path of a directory: what a later apply
    /// of that set goes by to find what is no longer in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
}

/// Where a volume is to move, and how large it is to be there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MigrateRequest {
    /// The pool; the one where it is if none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// The size. With one the files are copied into a new filesystem; without, the image as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
}

/// How a volume is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeleteOptions {
    /// Mark a volume in use, and delete it when its last holder has gone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// Which snapshots, and which page of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SnapshotFilter {
    /// Only of this workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceName>,
    /// Only of the volume of that name, dead ones of the same name included. Of a name of which nothing is
    /// known the list is empty, as with any filter: ask for the volume where that has to be told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeName>,
    /// At most so many on a page; 1000 where nothing or more is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// How a snapshot is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SnapshotOptions {
    /// Let the writers of a volume in use wait while all its data is copied, where its pool can't
    /// share blocks; else that is refused.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pause_writers: bool,
}

/// Snapshots of several volumes at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotGroupRequest {
    /// The volumes, each once and at most 32, in the workspace of the group.
    pub volumes: Vec<VolumeName>,
    /// How long the snapshots are kept. Where nothing is said those that are there stay as they are, and new
    /// ones are kept for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain: Option<Retain>,
}

/// How a volume's filesystem is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VolumeCheckOptions {
    /// Repair what is wrong, on a copy that takes the place of the image when it is whole; root only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repair: bool,
    /// Where the log of an XFS can't be replayed: give up what it holds.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub discard_log: bool,
}

/// What delete did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deleted {
    /// Whether the data is destroyed, retained, or still waits for its last holder.
    pub deletion: Deletion,
}

/// How a deleted volume is brought back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UndeleteRequest {
    /// Its new name; the one it had, where none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<VolumeName>,
}

/// Another name for a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RenameRequest {
    /// Its new name, in the same workspace.
    pub name: VolumeName,
    /// The engines that the client tells to forget the old name. One that knows it and is not
    /// among these is in the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forget: Vec<Front>,
}

/// A workspace, as asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkspaceRequest {
    /// The uids that may change, mount and delete all that is in it; where none are given, they stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<u32>>,
    /// The most that its volumes and snapshots may be in all, released ones counted; null for no
    /// limit. Only uid 0 may set it; where nothing is said, it stays.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    pub size_limit: Option<Option<Size>>,
    /// The most volumes it may have, released ones counted; as above.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    pub volume_limit: Option<Option<u32>>,
}

/// A field that is there, be it null.
fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// A pool, as asked for: in a directory, or on a device or in an image, which get an XFS with reflink.
/// Exactly one of `path`, `device` and `image` is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PoolRequest {
    /// An absolute path; made if missing, else an empty directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A block device, which must be blank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// With `device`: what is on it and may be lost, exactly as the device's `content` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erase: Option<String>,
    /// A file that is not there yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// With `image`: how long it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// With `image`: it takes its space as it is written, and the promises of the pool can fail.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sparse: bool,
    /// How much may be promised; the free space when it is made, where none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Size>,
    /// A factor of at least 1.0 by which promises may exceed the capacity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overcommit: Option<f64>,
}

/// A pool to be brought here with all that is in it. Exactly one of `path`, `device` and `image` is
/// given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ImportRequest {
    /// Its name here; `default` where none is given and that is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<PoolName>,
    /// The absolute path of a directory with a pool in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A block device with the filesystem of a pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// An image with the filesystem of a pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// How much may be promised; what it holds and what is free, where none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Size>,
    /// A factor of at least 1.0 by which promises may exceed the capacity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overcommit: Option<f64>,
}

/// A directory tree out of which a volume is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdoptRequest {
    /// The absolute path of the directory. It is only read, and stays.
    pub source: String,
    /// The volume's size; room for the tree and a quarter more, where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// The volume's pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
}

/// By how much a pool grows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GrowRequest {
    /// How long its image becomes. A device is as long as it is: it is made larger first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// How much may be promised then; what it gained more, where none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Size>,
}

/// How a pool is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CheckOptions {
    /// Mend what can be mended without deciding anything about somebody's data.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repair: bool,
}

/// Which device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceFilter {
    /// The absolute path of its node.
    pub path: String,
}

/// What a block device holds and who uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceReport {
    /// Its node, without symbolic links.
    pub device: String,
    /// How long it is.
    pub size: Size,
    /// What is on it; none when it is blank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Who uses it, in words; empty when nobody does.
    pub users: Vec<String>,
}

/// A pool that the node no longer knows, with all its data in place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolExported {
    /// The pool as it was.
    pub pool: Pool,
    /// Why its own filesystem is still mounted, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
}

/// A mount onto a directory of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MountRequest {
    /// The workspace of the volume; `public` where none is given.
    #[serde(default = "WorkspaceName::public")]
    pub workspace: WorkspaceName,
    /// The volume.
    pub name: VolumeName,
    /// An absolute path of an empty directory that the caller owns.
    pub target: String,
    /// Read-only, read-write, or what the access mode says.
    #[serde(default)]
    pub access: MountAccess,
}

/// A volume mounted on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mounted {
    /// Where.
    pub target: String,
    /// Whether it can only be read.
    pub read_only: bool,
}

/// Which host mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MountFilter {
    /// The absolute path that it was mounted onto.
    pub target: String,
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EventFilter {
    /// Only after this sequence, the oldest first; without it the newest, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only of this workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceName>,
    /// Only of the volume of that name, dead ones of the same name included. Of a name of which nothing is
    /// known the list is empty, as with any filter: ask for the volume where that has to be told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeName>,
    /// Only of that pool, its volumes included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// Only those that matter at least so much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// At most so many; 100 where nothing is said, never more than 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Events, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventList {
    /// What happened.
    pub items: Vec<Event>,
    /// Everything up to this sequence was looked at: go on with it as `after`, and nothing is
    /// missed and nothing comes twice.
    pub position: u64,
}

/// Which events to watch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WatchFilter {
    /// Only after this sequence; from now on, where none is given. A `Last-Event-ID` header
    /// goes before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only of this workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceName>,
    /// Only of the volume of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeName>,
    /// Only of that pool, its volumes included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// Only those that matter at least so much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

/// Whether the daemon may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessReport {
    /// Whether it may.
    pub ready: bool,
    /// Why not, one sentence a reason.
    pub problems: Vec<String>,
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionReport {
    /// The version of the daemon.
    pub version: String,
    /// The manifest version that it reads.
    pub manifest_version: String,
    /// The name of its node.
    pub node: String,
}
