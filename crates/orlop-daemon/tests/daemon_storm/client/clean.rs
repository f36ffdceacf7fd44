//! What a kubelet and its sidecars do with what they know of, and with what they find in lists, until
//! nothing is left: each call is answered OK, at most after something that was still under way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use orlop_csi::protocol::*;
use tonic::{Code, Response, Status};

use super::{Client, calls::inline};
use crate::volumes::{Kind, PODS};

const LANES: usize = 8;
/// How often a call is repeated that meets something under way.
const ATTEMPTS: usize = 50;

impl Client {
    pub(crate) async fn clean_up(&self) {
        let next = Arc::new(AtomicUsize::new(0));
        let lanes = (0..LANES).map(|_| {
            let (client, next) = (self.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let storm = Arc::clone(&client.storm);
                while let Some(slot) = storm.slots.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let ids = slot.known.lock().unwrap().ids.clone();
                    for id in ids {
                        client.take_back(slot.kind, &id).await;
                    }
                    client.unpublish_all(slot.kind, &inline(slot), 1).await;
                }
            })
        });
        for lane in lanes.collect::<Vec<_>>() {
            lane.await.unwrap();
        }
        // Made by calls that nobody waited for.
        for id in self.volumes().await {
            self.take_back(Kind::Ext4, &id).await;
        }
        for snapshot_id in self.snapshots().await {
            let request = DeleteSnapshotRequest { snapshot_id, ..Default::default() };
            until_done("DeleteSnapshot", || {
                let (mut controller, request) = (self.controller.clone(), request.clone());
                async move { controller.delete_snapshot(request).await }
            })
            .await;
        }
        assert_eq!((self.volumes().await, self.snapshots().await), (Vec::new(), Vec::new()));
    }

    /// From all pods, from the node, and for ever.
    async fn take_back(&self, kind: Kind, id: &str) {
        self.unpublish_all(kind, id, PODS).await;
        let staging_target_path = self.storm.staging(id);
        let request = NodeUnstageVolumeRequest { volume_id: id.to_owned(), staging_target_path };
        until_done("NodeUnstageVolume", || {
            let (mut node, request) = (self.node.clone(), request.clone());
            async move { node.node_unstage_volume(request).await }
        })
        .await;
        let request = DeleteVolumeRequest { volume_id: id.to_owned(), ..Default::default() };
        until_done("DeleteVolume", || {
            let (mut controller, request) = (self.controller.clone(), request.clone());
            async move { controller.delete_volume(request).await }
        })
        .await;
    }

    async fn unpublish_all(&self, kind: Kind, id: &str, pods: u64) {
        for pod in 0..pods {
            let target_path = self.storm.target(kind, id, pod);
            let request = NodeUnpublishVolumeRequest { volume_id: id.to_owned(), target_path };
            until_done("NodeUnpublishVolume", || {
                let (mut node, request) = (self.node.clone(), request.clone());
                async move { node.node_unpublish_volume(request).await }
            })
            .await;
        }
    }

    async fn volumes(&self) -> Vec<String> {
        let request = ListVolumesRequest::default();
        let page = self.controller.clone().list_volumes(request).await.unwrap().into_inner();
        assert_eq!(page.next_token, "");
        page.entries.into_iter().filter_map(|entry| entry.volume).map(|volume| volume.volume_id).collect()
    }

    async fn snapshots(&self) -> Vec<String> {
        let request = ListSnapshotsRequest::default();
        let page = self.controller.clone().list_snapshots(request).await.unwrap().into_inner();
        assert_eq!(page.next_token, "");
        let snapshots = page.entries.into_iter().filter_map(|entry| entry.snapshot);
        snapshots.map(|snapshot| snapshot.snapshot_id).collect()
    }
}

async fn until_done<T, F: Future<Output = Result<Response<T>, Status>>>(
    call: &str,
    mut attempt: impl FnMut() -> F,
) {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match attempt().await {
            Ok(_) => return,
            Err(status) if status.code() == Code::Aborted => last = Some(status),
            Err(status) => panic!("{call}: {status:?}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{call} is never done: {last:?}");
}
