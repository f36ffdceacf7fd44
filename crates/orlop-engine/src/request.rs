//! What fronts ask of the engine, and what it answers beyond the resources of `orlop-model`.

mod node;
mod provision;
mod snapshot_group;

use std::{path::PathBuf, time::Duration};

pub use node::{Form, NodeAccess, NodeUsage, PublishRequest, StageRequest, VolumeStatistics};
pub use provision::{Amendment, ProvisionRequest, SizeRange, SourceId, TakeRequest};
pub use snapshot_group::{SnapshotGroupRequest, TakeGroupRequest};

pub use orlop_model::MountAccess;
use orlop_model::{
    Period, PoolName, Size, SnapshotManifest, SnapshotName, VolumeId, VolumeManifest, VolumeName,
    VolumeUsage, WorkspaceName,
    notify::Notify,
    resource::{Front, Outcome, Severity, VolumeState},
};

/// Where the engine keeps things, and its limits.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The store, the lock and the pool `default` live here; 0700.
    pub state_dir: PathBuf,
    /// Base mounts live here; made a shared mount where it is none.
    pub mount_dir: PathBuf,
    /// The name of this node, recorded with every row.
    pub node: String,
    /// Where an orchestrator of this node has the directories it wants volumes on; `None` where none
    /// is served. It has to be there, and is found once, when the engine is opened.
    pub kubelet_root: Option<PathBuf>,
    /// The size of a volume that an engine makes without saying one.
    pub default_size: Size,
    /// Bytes left free in the host's filesystem by admission; `None` means the smaller of 5 % and 1Gi.
    pub low_water: Option<Size>,
    /// How many prepared blanks are kept per filesystem and size; 0 keeps none.
    pub blanks: u32,
    /// After how long an attachment id that no mount namespace backs is stale.
    pub stale_after: Duration,
    /// How many volumes are recovered at once at start.
    pub recovery_parallelism: usize,
    /// How many events are kept.
    pub events_kept: u64,
    /// After how long the data of a temp volume is wiped, for those made without a word about it.
    pub temp_grace: Period,
    /// How long the data of deleted volumes is kept.
    pub released_retention: Period,
    /// A warning is told when released data is more than this share of a pool, in percent; 0: never.
    pub released_warn_percent: u32,
    /// How often it is looked at how full volumes and pools are.
    pub observe_every: Duration,
    /// Who is told of events.
    pub notify: Vec<Notify>,
    /// What is run around each snapshot.
    pub hooks: SnapshotHooks,
}

/// Who asks: the peer's uid, from the kernel, and the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The uid of the peer; 0 may do everything.
    pub uid: u32,
    /// The door.
    pub front: Front,
}

/// A volume as its users name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VolumeKey {
    /// Its workspace.
    pub workspace: WorkspaceName,
    /// Its name.
    pub name: VolumeName,
}

/// How a request addresses a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeRef {
    /// A live volume by name.
    Key(VolumeKey),
    /// Any volume by id, released ones included.
    Id(VolumeId),
}

/// What apply did, and to what.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied<T> {
    /// Created, configured or unchanged.
    pub outcome: Outcome,
    /// The fields that changed, as `volume.size`; empty unless configured.
    pub changes: Vec<String>,
    /// What is now.
    pub resource: T,
}

/// Which volumes, and which page of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeQuery {
    /// Only of this workspace.
    pub workspace: Option<WorkspaceName>,
    /// Only of that name.
    pub name: Option<VolumeName>,
    /// Only owned by that uid.
    pub owner_uid: Option<u32>,
    /// Only with all of these tags.
    pub tags: Vec<String>,
    /// Only in that state.
    pub state: Option<VolumeState>,
    /// Released volumes instead of live ones.
    pub released: bool,
    /// Only in that pool.
    pub pool: Option<PoolName>,
    /// Only made by apply, and last applied with that set of manifests.
    pub applied_set: Option<String>,
    /// In which order.
    pub order: Order,
    /// At most so many; the engine caps it at 1000, and 0 means the cap.
    pub limit: usize,
    /// The token of the page before.
    pub after: Option<String>,
}

/// The order of a list. Pages of one order don't go on with a token of the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// By workspace, name and id.
    #[default]
    ByName,
    /// By id, which is by age: what is new comes last, and nothing moves when it is renamed.
    ById,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// The token of the next page; stays valid under change.
    pub next: Option<String>,
}

/// A consumer wants a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachRequest {
    /// Which volume.
    pub volume: VolumeRef,
    /// What counts as one workload; the same scope again is the same attachment.
    pub scope: Scope,
    /// Who, in words for a user, such as `docker mount 3f2a…`.
    pub consumer: String,
    /// Whether the consumer asked to read only.
    pub read_only: bool,
    /// The name by which the front asked for it, verbatim; remembered as one that it knows.
    pub known_as: Option<String>,
}

/// What counts as one workload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The word that is compared.
    pub id: String,
    /// Whether one scope may stand for many workloads, so that a mode which allows one pod only
    /// can't be kept (Podman mounts once for all its containers).
    pub shared: bool,
    /// Whether the id may go stale without a word from its front (Docker after a crash).
    pub may_go_stale: bool,
}

/// An attached volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The directory to bind into the consumer.
    pub path: PathBuf,
    /// Whether it is read-only.
    pub read_only: bool,
}

/// A mount of the host, for `orlop mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountRequest {
    /// Which volume.
    pub volume: VolumeRef,
    /// An absolute path of an empty directory that the caller owns.
    pub target: PathBuf,
    /// Read-only, read-write, or what the access mode says.
    pub access: MountAccess,
}

/// A deleted volume to be brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndeleteRequest {
    /// The released volume of that name, if there is one only, or the one of that id.
    pub volume: VolumeRef,
    /// Its new name; the one it had, where none is given.
    pub name: Option<VolumeName>,
}

/// Another name for a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenameRequest {
    /// The live volume.
    pub volume: VolumeKey,
    /// Its new name, in the same workspace.
    pub name: VolumeName,
    /// The fronts whose engines are told to forget the old name by whoever asks. One that knows it
    /// and is not among these is in the way.
    pub forget: Vec<Front>,
}

/// A workspace, as asked for; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkspaceRequest {
    /// The uids that may change, mount and delete all that is in it.
    pub grants: Option<Vec<u32>>,
    /// The most that its volumes and snapshots may be in all, released ones counted; root only.
    pub size_limit: Option<Option<Size>>,
    /// The most volumes it may have, released ones counted; root only.
    pub volume_limit: Option<Option<u64>>,
}

/// Where a volume is to move, and how large it is to be there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrateRequest {
    /// The pool; the one where it is if there is none.
    pub pool: Option<PoolName>,
    /// The size. With one the files are copied into a new filesystem; without, the image as it is.
    pub size: Option<Size>,
}

/// A snapshot as its users name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotKey {
    /// Its workspace.
    pub workspace: WorkspaceName,
    /// Its name.
    pub name: SnapshotName,
}

/// A whole manifest of a snapshot for a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// Where.
    pub workspace: WorkspaceName,
    /// What.
    pub manifest: SnapshotManifest,
    /// Whether writers of a volume in use may be made to wait for a copy of all its data, where
    /// its pool can't share blocks.
    pub pause_writers: bool,
}

/// Which snapshots, and which page of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotQuery {
    /// Only of this workspace.
    pub workspace: Option<WorkspaceName>,
    /// Only of the volume of that name, dead ones of the same name included.
    pub volume: Option<VolumeName>,
    /// Only of that volume.
    pub volume_id: Option<VolumeId>,
    /// In which order.
    pub order: Order,
    /// At most so many; the engine caps it at 1000, and 0 means the cap.
    pub limit: usize,
    /// The token of the page before.
    pub after: Option<String>,
}

/// Commands that are run around each snapshot, from root's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotHooks {
    /// The program and its arguments that is run before; it ends with 0 when all is well.
    pub before: Vec<String>,
    /// The same after, whatever became of the snapshot.
    pub after: Vec<String>,
    /// How long each may take; then it is killed.
    pub timeout: Duration,
    /// Whether the snapshot is made although the one before failed.
    pub go_on: bool,
}

impl Default for SnapshotHooks {
    fn default() -> Self {
        Self { before: Vec::new(), after: Vec::new(), timeout: Duration::from_secs(30), go_on: false }
    }
}

/// A pool to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolRequest {
    /// Its name.
    pub name: PoolName,
    /// Where it keeps its volumes.
    pub place: PoolPlace,
    /// How much may be promised; the free space when it is made, where none is given.
    pub capacity: Option<Size>,
    /// A factor of at least 1.0 by which promises may exceed the capacity.
    pub overcommit: Option<f64>,
}

/// Where a pool is to be made. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolPlace {
    /// A directory; made if missing, else empty.
    Directory(PathBuf),
    /// A block device, which gets an XFS with reflink.
    Device {
        /// Its node.
        device: PathBuf,
        /// What is on it and may be lost, exactly as [`DeviceReport::content`] said it.
        erase: Option<String>,
    },
    /// An image file that is not there yet, which gets an XFS with reflink.
    Image {
        /// The file.
        file: PathBuf,
        /// How long it is made.
        size: Size,
        /// Takes its space as it is written, so that the promises of the pool can fail.
        sparse: bool,
    },
}

/// A directory tree out of which a volume is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptRequest {
    /// The absolute path of the directory. It is only read.
    pub source: PathBuf,
    /// The volume's workspace.
    pub workspace: WorkspaceName,
    /// The volume's name.
    pub name: VolumeName,
    /// The volume's size; room for the tree and a quarter more, where none is given.
    pub size: Option<Size>,
    /// The volume's pool.
    pub pool: Option<PoolName>,
}

/// Where a pool is that is to be brought here. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportPlace {
    /// A directory with a pool in it.
    Directory(PathBuf),
    /// A block device with the filesystem of a pool.
    Device(PathBuf),
    /// An image with the filesystem of a pool.
    Image(PathBuf),
}

/// A pool to be brought here.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportRequest {
    /// Its name here; `default` where none is given and that is free. A pool that is known here
    /// already keeps its own.
    pub name: Option<PoolName>,
    /// Where it is.
    pub place: ImportPlace,
    /// How much may be promised; what it holds and what is free, where none is given.
    pub capacity: Option<Size>,
    /// A factor of at least 1.0 by which promises may exceed the capacity.
    pub overcommit: Option<f64>,
}

/// By how much a pool grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GrowRequest {
    /// How long its image becomes. A device is as long as it is: it is made larger first.
    pub size: Option<Size>,
    /// How much may be promised then; what it gained more, where none is given.
    pub capacity: Option<Size>,
}

/// What a block device holds and who uses it, before it is given to a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceReport {
    /// Its node, without symbolic links.
    pub device: PathBuf,
    /// How long it is.
    pub size: Size,
    /// What is on it; `None` when it is blank.
    pub content: Option<String>,
    /// Who uses it; empty when nobody does.
    pub users: Vec<String>,
}

/// A pool that this node no longer knows, with all its data.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The pool as it was.
    pub pool: orlop_model::resource::Pool,
    /// Why its filesystem is still mounted, where it is.
    pub held: Option<String>,
}

/// A volume that an engine asks for: a manifest, and the engine's own name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasedRequest {
    /// The name verbatim, as the engine says it.
    pub external: String,
    /// The volume's workspace.
    pub workspace: WorkspaceName,
    /// What is asked for. Where the alias is no legal name the engine derives one from it.
    pub manifest: AliasedManifest,
}

/// A front's name for a volume: all of it that can be listed by the thousand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aliased {
    /// The name verbatim, as the engine says it.
    pub external: String,
    /// The volume.
    pub volume: VolumeId,
    /// When it was made.
    pub created_at: jiff::Timestamp,
}

/// A manifest whose name is still to be found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AliasedManifest {
    /// What was asked for; fields that were not said are `None`, and match anything that exists.
    pub size: Option<Size>,
    /// As in the manifest.
    pub access_mode: Option<orlop_model::AccessMode>,
    /// As in the manifest.
    pub volume_type: Option<orlop_model::VolumeType>,
    /// As in the manifest.
    pub pool: Option<PoolName>,
    /// As in the manifest.
    pub filesystem: Option<orlop_model::FilesystemChoice>,
    /// As in the manifest.
    pub uid: Option<u32>,
    /// As in the manifest.
    pub gid: Option<u32>,
    /// As in the manifest.
    pub mode: Option<orlop_model::spec::DirectoryMode>,
    /// As in the manifest.
    pub mount_options: Option<Vec<orlop_model::MountOption>>,
    /// As in the manifest.
    pub preallocate: Option<bool>,
    /// As in the manifest.
    pub temp_grace_period: Option<Period>,
    /// Labels, kept as tags.
    pub tags: Vec<String>,
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Only after this sequence.
    pub after: Option<u64>,
    /// Only of this workspace.
    pub workspace: Option<WorkspaceName>,
    /// Only of the volume of that name, dead ones of the same name included.
    pub volume: Option<VolumeName>,
    /// Only of that pool, its volumes included.
    pub pool: Option<PoolName>,
    /// Only those that matter at least so much.
    pub severity: Option<Severity>,
    /// At most so many; the oldest first after `after`, else the newest so many, in order.
    pub limit: usize,
}

/// Whether the daemon may be used, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Empty when ready; else one sentence a reason.
    pub problems: Vec<String>,
    /// Recovery has not ended, which takes care of itself.
    pub recovering: bool,
}

impl Readiness {
    /// No problem stands in the way.
    pub fn is_ready(&self) -> bool {
        self.problems.is_empty()
    }
}

/// What recovery at start found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Operations of the journal that were finished.
    pub finished: u64,
    /// Operations of the journal that were undone.
    pub undone: u64,
    /// Volumes whose mounts were still in use, and were taken over.
    pub adopted: u64,
    /// Attachments that nothing backs any more.
    pub dropped: u64,
    /// Filesystems that a snapshot had frozen, and that were thawed.
    pub thawed: u64,
    /// Directories in pools that no record explains; they are left alone and reported.
    pub unaccounted: Vec<PathBuf>,
}

/// Numbers for `/metrics`, read without walking a tree.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statistics {
    /// Live volumes by state.
    pub volumes: Vec<(VolumeState, u64)>,
    /// Attachments in all.
    pub attachments: u64,
    /// How full each volume is that somebody uses, and how its filesystem fares.
    pub usage: Vec<(VolumeKey, PoolName, VolumeUsage)>,
    /// Operations done, by name and by the error kind's word or `ok`.
    pub operations: Vec<(String, String, u64)>,
    /// How long they took, by name.
    pub latencies: Vec<(String, Latency)>,
    /// Events told to others: how, the outcome, and how often.
    pub notifications: Vec<(&'static str, &'static str, u64)>,
    /// Volumes made from a prepared blank, and formatted from scratch.
    pub created_from_blank: u64,
    /// The latter.
    pub created_from_scratch: u64,
}

/// How long operations of one kind took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many took at most so long as the bound of the same place in [`Self::BOUNDS`] and longer
    /// than the one before it. What took longer than the last is only in the count and the sum.
    pub buckets: [u64; Self::BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// How long they took together.
    pub sum: Duration,
}

impl Latency {
    /// Upper bounds: from a change of a record to a copy of a large volume.
    pub const BOUNDS: [Duration; 12] = [
        Duration::from_millis(1),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(250),
        Duration::from_secs(1),
        Duration::from_secs(5),
        Duration::from_secs(30),
        Duration::from_secs(300),
        Duration::from_secs(1800),
    ];
}

/// How a filesystem is checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckRequest {
    /// Repair what is wrong.
    pub repair: bool,
    /// Where the log of an XFS can't be replayed: give up what it holds.
    pub discard_log: bool,
}

/// A whole manifest for a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyRequest {
    /// Where.
    pub workspace: WorkspaceName,
    /// What.
    pub manifest: VolumeManifest,
    /// Whether the workspace is made if it is missing (only `public` exists by itself).
    pub create_workspace: bool,
    /// The set of manifests that this one is of, where it is of one.
    pub set: Option<String>,
}
