//! What the import and the check of a pool found, as every front shows it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    id::{SnapshotId, VolumeId},
    name::{PoolName, VolumeName},
    resource::{Alias, Pool},
};

/// What became of a pool that was brought here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolImport {
    /// The pool as it is now.
    pub pool: Pool,
    /// Whether it was exported before: else another machine, or a store that was lost, may have used
    /// it until the end.
    pub exported: bool,
    /// What was found in it, a volume each.
    pub volumes: Vec<ImportedVolume>,
    /// The snapshots that were found in it.
    #[serde(default)]
    pub snapshots: Vec<ImportedSnapshot>,
}

impl PoolImport {
    /// Whether it was here before, with all that is in it; not told of one without anything.
    pub fn was_known(&self) -> bool {
        let mut fates = self.fates().peekable();
        fates.peek().is_some() && fates.all(|fate| fate == ImportFate::Known)
    }

    /// Whether something is wrong with anything that was found, and it was left alone.
    pub fn left_any(&self) -> bool {
        self.fates().any(|fate| fate == ImportFate::Refused)
    }

    fn fates(&self) -> impl Iterator<Item = ImportFate> {
        let volumes = self.volumes.iter().map(|volume| volume.fate);
        volumes.chain(self.snapshots.iter().map(|snapshot| snapshot.fate))
    }
}

/// One volume of an imported pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportedVolume {
    /// The name of its directory: its id, where it is one.
    pub directory: String,
    /// `workspace/name`, as it is known now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The uid that owns it, kept from where it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_uid: Option<u32>,
    /// What became of it.
    pub fate: ImportFate,
    /// What engines call it, here as where it comes from, where that is not its own name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<Alias>,
    /// Why, and what to do, where that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// One snapshot of an imported pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportedSnapshot {
    /// The name of its directory: its id, where it is one.
    pub directory: String,
    /// `workspace/name`, as it is known now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The volume it is of, as that is known now; it may be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeName>,
    /// The uid that owns it, kept from where it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_uid: Option<u32>,
    /// What became of it. A snapshot is never released.
    pub fate: ImportFate,
    /// Why, and what to do, where that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What became of a volume or a snapshot at an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ImportFate {
    /// It is there as it was.
    Imported,
    /// Its name was taken here: it is there under another.
    Renamed,
    /// Its data is retained as that of a deleted volume.
    Released,
    /// It was known here already.
    Known,
    /// Something is wrong with it, and it was left alone.
    Refused,
}

impl ImportFate {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::Renamed => "imported under another name",
            Self::Released => "imported as released",
            Self::Known => "known already",
            Self::Refused => "left alone",
        }
    }
}

/// What a check of a pool found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolCheck {
    /// The pool.
    pub pool: PoolName,
    /// How many volumes were looked at.
    pub volumes: u64,
    /// How many snapshots were looked at.
    #[serde(default)]
    pub snapshots: u64,
    /// How many volumes and snapshots were being worked on and not looked at.
    pub busy: u64,
    /// Every difference between the store, the disk, the loop devices and the mounts.
    pub findings: Vec<Finding>,
    /// The volumes in state `error`. What is wrong with them is recorded, and so is no difference; a repair
    /// of the pool does not mend it.
    #[serde(default)]
    pub attention: Vec<Attention>,
}

/// A volume that somebody has to see to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attention {
    /// The volume.
    pub volume: VolumeId,
    /// Its workspace and name: `public/data`.
    pub name: String,
    /// What is wrong with it.
    pub condition: String,
    /// What to do.
    pub hint: String,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What kind of difference.
    pub difference: Difference,
    /// What it concerns: a path, a volume or a snapshot.
    pub subject: String,
    /// The volume, where it is one that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeId>,
    /// The snapshot, where it is one that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
    /// What is different.
    pub detail: String,
    /// What to do.
    pub remedy: String,
    /// It was mended.
    pub mended: bool,
}

/// What can differ between what is recorded and what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Difference {
    /// The pool's own directory or filesystem is not there.
    PoolMissing,
    /// Others could look into the pool's directory.
    PoolOpen,
    /// The sums that admission decides by are not the sums.
    WrongSums,
    /// The image of a recorded volume or snapshot is missing, too short or too long, or no file.
    BadImage,
    /// `volume.json` or `snapshot.json` is missing, damaged or not what the record says.
    StaleDescription,
    /// A whole volume is in the pool and no record knows it.
    UnrecordedVolume,
    /// A whole snapshot is in the pool and no record knows it.
    UnrecordedSnapshot,
    /// Something else is in the pool and no record explains it.
    Unaccounted,
    /// What a crash left of something that was being written or made.
    Leftover,
    /// An image has more than one loop device.
    TwoLoopDevices,
    /// An image has a loop device and nobody is recorded as its user.
    HeldImage,
    /// A volume is mounted and nobody is recorded as its user.
    LingeringMount,
    /// Somebody is recorded as a user, and the volume is not mounted.
    MissingMount,
    /// Something that is not the volume is mounted in its place.
    ForeignMount,
}

impl Difference {
    /// The words for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PoolMissing => "pool missing",
            Self::PoolOpen => "pool open to others",
            Self::WrongSums => "wrong sums",
            Self::BadImage => "bad image",
            Self::StaleDescription => "stale description",
            Self::UnrecordedVolume => "unrecorded volume",
            Self::UnrecordedSnapshot => "unrecorded snapshot",
            Self::Unaccounted => "unaccounted",
            Self::Leftover => "leftover",
            Self::TwoLoopDevices => "two loop devices",
            Self::HeldImage => "held image",
            Self::LingeringMount => "lingering mount",
            Self::MissingMount => "missing mount",
            Self::ForeignMount => "foreign mount",
        }
    }

    /// Whether it can be mended without deciding anything about somebody's data.
    pub fn is_safe_to_mend(self) -> bool {
        match self {
            Self::PoolOpen
            | Self::WrongSums
            | Self::StaleDescription
            | Self::Leftover
            | Self::LingeringMount => true,
            Self::PoolMissing
            | Self::BadImage
            | Self::UnrecordedVolume
            | Self::UnrecordedSnapshot
            | Self::Unaccounted
            | Self::TwoLoopDevices
            | Self::HeldImage
            | Self::MissingMount
            | Self::ForeignMount => false,
        }
    }
}
