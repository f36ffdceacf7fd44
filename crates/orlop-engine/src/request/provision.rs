//! What an orchestrator asks for by names and ids of its own: volumes and snapshots to be made, and
//! single fields of a volume to be changed.

use orlop_model::{
    MountOption, Period, Size, SnapshotId, SnapshotName, VolumeId, VolumeManifest, VolumeType, WorkspaceName,
    spec::DirectoryMode,
};

/// A volume to be made, or found again: the same name with other wishes is
/// [`orlop_model::ErrorKind::AlreadyExists`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisionRequest {
    /// The orchestrator's name, verbatim.
    pub external: String,
    /// The volume's workspace; made where it is missing.
    pub workspace: WorkspaceName,
    /// What is asked for. Its name is taken where it is free, else another like it is; size and source
    /// are what the fields beside it say.
    pub manifest: VolumeManifest,
    /// How large it may be.
    pub size: SizeRange,
    /// What it begins with.
    pub source: Option<SourceId>,
    /// Whether it is made for one consumer, and goes with it.
    pub ephemeral: bool,
}

/// Bounds of a size, both included. A size that nobody bounds is that of the source, else the usual one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SizeRange {
    /// At least this.
    pub least: Option<Size>,
    /// At most this.
    pub most: Option<Size>,
}

/// What a volume begins with, by id. It may be of another workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceId {
    /// A snapshot.
    Snapshot(SnapshotId),
    /// A volume, as it is at that moment.
    Volume(VolumeId),
}

/// Fields of a volume that change; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amendment {
    /// It grows into these bounds; where it is in them already, nothing happens. It never shrinks.
    pub size: Option<SizeRange>,
    /// As in the manifest.
    pub volume_type: Option<VolumeType>,
    /// As in the manifest. A type that retains its data drops it.
    pub temp_grace_period: Option<Period>,
    /// As in the manifest.
    pub mount_options: Option<Vec<MountOption>>,
    /// As in the manifest.
    pub protection: Option<bool>,
    /// As in the manifest.
    pub uid: Option<u32>,
    /// As in the manifest.
    pub gid: Option<u32>,
    /// As in the manifest.
    pub mode: Option<DirectoryMode>,
}

/// A snapshot to be made, or found again: the same name of another volume is
/// [`orlop_model::ErrorKind::AlreadyExists`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeRequest {
    /// The orchestrator's name, verbatim.
    pub external: String,
    /// What it is of. Its workspace is the snapshot's.
    pub volume: VolumeId,
    /// Its name, where that is free; else another like it.
    pub name: SnapshotName,
    /// Words to find it by.
    pub tags: Vec<String>,
}
