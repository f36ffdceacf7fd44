//! The last snapshots that the schedules of volumes made, for the views that show everything.

use std::collections::{BTreeSet, HashMap};

use orlop_api::{Client, SnapshotFilter};
use orlop_model::{
    Result, VolumeId,
    resource::{Snapshot, SnapshotState, Volume},
};

/// Of those volumes that have a schedule: one question a workspace, and none where there is no schedule.
pub(super) async fn last(volumes: &[Volume], client: &Client) -> Result<HashMap<VolumeId, Snapshot>> {
    let scheduled: Vec<&Volume> =
        volumes.iter().filter(|volume| volume.manifest.volume.snapshots.is_some()).collect();
    let workspaces: BTreeSet<_> = scheduled.iter().map(|volume| &volume.workspace).collect();
    let only = match scheduled.as_slice() {
        [one] => Some(one.manifest.name.clone()),
        _ => None,
    };
    let mut last: HashMap<VolumeId, Snapshot> = HashMap::new();
    for workspace in workspaces {
        let filter = SnapshotFilter {
            workspace: Some(workspace.clone()),
            volume: only.clone(),
            ..SnapshotFilter::default()
        };
        let made =
            client.all_snapshots(&filter).await?.into_iter().filter(|snapshot| {
                snapshot.status.scheduled && snapshot.status.state == SnapshotState::Active
            });
        for snapshot in made {
            let volume = snapshot.status.volume_id;
            if last.get(&volume).is_none_or(|before| before.status.created_at < snapshot.status.created_at) {
                last.insert(volume, snapshot);
            }
        }
    }
    Ok(last)
}
