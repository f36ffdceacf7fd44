//! How full a volume is where it is used, and how it fares.

use std::path::PathBuf;

use orlop_engine::{NodeUsage, VolumeStatistics};
use orlop_model::{Error, ErrorKind, Result, VolumeId};

use super::ephemeral;
use crate::{
    describe::bytes,
    driver::{CALLER, Shared},
    error::Reply,
    protocol::{
        NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse, VolumeCondition, VolumeUsage,
        volume_usage::Unit,
    },
    request::{no_volume, path, said, volume_id},
};

/// See the specification of `NodeGetVolumeStats`.
pub(super) fn get(shared: &Shared, request: &NodeGetVolumeStatsRequest) -> Reply<NodeGetVolumeStatsResponse> {
    said("volume_id", &request.volume_id)?;
    said("volume_path", &request.volume_path)?;
    let id = find(shared, &request.volume_id)?;
    let at = place(&request.volume_path)?;
    let VolumeStatistics { usage, abnormal } = shared.engine.volume_statistics(&CALLER, id, &at)?;
    let condition = match abnormal {
        Some(message) => VolumeCondition { abnormal: true, message },
        None => VolumeCondition { abnormal: false, message: "the volume is in order".to_owned() },
    };
    Ok(NodeGetVolumeStatsResponse { usage: usages(&usage), volume_condition: Some(condition) })
}

/// The volume of that id, also of one that was written into a pod.
pub(super) fn find(shared: &Shared, id: &str) -> Result<VolumeId> {
    match volume_id("volume_id", id)? {
        Some(id) => Ok(crate::controller::find(shared, id)?.status.id),
        None => ephemeral::find(shared, id)?.map(|volume| volume.status.id).ok_or_else(|| no_volume(id)),
    }
}

/// Where it is used. No volume is at what is no path of this host.
pub(super) fn place(text: &str) -> Result<PathBuf> {
    path("volume_path", text).map_err(|error| Error { kind: ErrorKind::NotFound, ..error })
}

/// Of a block device only its size: what of its image is allocated says nothing of how full it is to its
/// users, and whoever watches `available` would be told of a full disk for ever.
fn usages(usage: &NodeUsage) -> Vec<VolumeUsage> {
    match usage {
        NodeUsage::Filesystem(seen) => vec![
            VolumeUsage {
                available: bytes(seen.available_bytes),
                total: bytes(seen.capacity_bytes),
                used: bytes(seen.used_bytes),
                unit: Unit::Bytes.into(),
            },
            VolumeUsage {
                available: bytes(seen.inodes_free()),
                total: bytes(seen.inodes),
                used: bytes(seen.inodes_used),
                unit: Unit::Inodes.into(),
            },
        ],
        NodeUsage::Block { capacity_bytes, allocated_bytes: _ } => {
            let total = bytes(*capacity_bytes);
            vec![VolumeUsage { total, unit: Unit::Bytes.into(), ..VolumeUsage::default() }]
        }
    }
}
