//! What the engine says of volumes and snapshots, in the interface's words.

use orlop_engine::SourceId;
use orlop_model::resource::{Capacity, Snapshot, SnapshotGroup, SnapshotState, Volume, VolumeState};

use crate::{
    protocol::{self, VolumeCondition, VolumeContentSource, VolumeGroupSnapshot, volume_content_source},
    topology::Node,
};

/// A volume. What it was made from is said where that is known.
pub(crate) fn volume(node: &Node, volume: &Volume, source: Option<SourceId>) -> protocol::Volume {
    protocol::Volume {
        capacity_bytes: bytes(volume.manifest.volume.size.bytes()),
        volume_id: volume.status.id.to_string(),
        volume_context: Default::default(),
        content_source: source.map(content_source),
        accessible_topology: vec![node.topology()],
    }
}

fn content_source(source: SourceId) -> VolumeContentSource {
    use volume_content_source::{SnapshotSource, Type, VolumeSource};
    let kind = match source {
        SourceId::Snapshot(id) => Type::Snapshot(SnapshotSource { snapshot_id: id.to_string() }),
        SourceId::Volume(id) => Type::Volume(VolumeSource { volume_id: id.to_string() }),
    };
    VolumeContentSource { r#type: Some(kind) }
}

/// Whether a volume can be used as it should be, as its records and its filesystem say.
pub(crate) fn condition(volume: &Volume) -> VolumeCondition {
    let status = &volume.status;
    let unhealthy = status.usage.as_ref().is_some_and(orlop_model::VolumeUsage::is_abnormal);
    let abnormal = |message: String| VolumeCondition { abnormal: true, message };
    let reason =
        || status.reason.clone().unwrap_or_else(|| format!("the volume is {}", status.state.as_str()));
    match status.state {
        VolumeState::Error | VolumeState::Pending | VolumeState::Deleting | VolumeState::Released => {
            abnormal(reason())
        }
        VolumeState::Active if unhealthy => abnormal(
            "its filesystem met errors: stop what uses the volume, then check it with orlop volume fsck"
                .to_owned(),
        ),
        VolumeState::Active => VolumeCondition {
            abnormal: false,
            message: match &status.capacity {
                Capacity::Hard => "the volume is active".to_owned(),
                Capacity::Advisory { why } => {
                    format!("the volume is active; its capacity is advisory: {why}")
                }
            },
        },
    }
}

/// A snapshot.
pub(crate) fn snapshot(snapshot: &Snapshot) -> protocol::Snapshot {
    let status = &snapshot.status;
    protocol::Snapshot {
        size_bytes: bytes(status.size.bytes()),
        snapshot_id: status.id.to_string(),
        source_volume_id: status.volume_id.to_string(),
        creation_time: Some(time(status.created_at.as_second(), status.created_at.subsec_nanosecond())),
        ready_to_use: is_cut(snapshot) && status.state == SnapshotState::Active,
        group_snapshot_id: status.group.as_ref().map(|group| group.id.to_string()).unwrap_or_default(),
    }
}

/// Snapshots of one moment.
pub(crate) fn group(group: &SnapshotGroup) -> VolumeGroupSnapshot {
    VolumeGroupSnapshot {
        group_snapshot_id: group.id.to_string(),
        snapshots: group.snapshots.iter().map(snapshot).collect(),
        creation_time: Some(time(group.created_at.as_second(), group.created_at.subsec_nanosecond())),
        ready_to_use: group.state == SnapshotState::Active,
    }
}

fn time(seconds: i64, nanos: i32) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos }
}

/// Whether the data of a snapshot is there.
pub(crate) fn is_cut(snapshot: &Snapshot) -> bool {
    match snapshot.status.state {
        SnapshotState::Active | SnapshotState::Error => true,
        SnapshotState::Pending | SnapshotState::Deleting => false,
    }
}

/// Sizes on the wire are signed.
pub(crate) fn bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
