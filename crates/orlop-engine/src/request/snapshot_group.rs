//! Snapshots of several volumes at one moment, as users and orchestrators ask for them.

use orlop_model::{Retain, SnapshotName, VolumeId, VolumeName, WorkspaceName};

/// Snapshots to be made together, or how long those that are there are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotGroupRequest {
    /// The workspace of the volumes, and of what is made of them.
    pub workspace: WorkspaceName,
    /// The name of the group.
    pub name: SnapshotName,
    /// What it is of.
    pub volumes: Vec<VolumeName>,
    /// How long its snapshots are kept. Where nothing is said those that are there stay as they are, and
    /// new ones are kept until somebody deletes them.
    pub retain: Option<Retain>,
}

/// Snapshots to be made together, or found again: the same name of other volumes is
/// [`orlop_model::ErrorKind::AlreadyExists`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeGroupRequest {
    /// The orchestrator's name, verbatim.
    pub external: String,
    /// What it is of: volumes of one workspace, which is the group's.
    pub volumes: Vec<VolumeId>,
    /// Its name, where that is free; else another like it.
    pub name: SnapshotName,
    /// Words to find the snapshots by.
    pub tags: Vec<String>,
}
