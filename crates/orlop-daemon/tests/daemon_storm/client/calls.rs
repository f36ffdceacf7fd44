//! Calls in any order, also such as make no sense just then.

use std::collections::BTreeMap;

use orlop_csi::protocol::{
    volume_capability::access_mode::Mode,
    volume_content_source::{SnapshotSource, Type, VolumeSource},
    *,
};
use tonic::Code::{
    self, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, OutOfRange, ResourceExhausted,
};

use super::Client;
use crate::volumes::{Kind, MIB, PODS, Slot};

const MODES: [Mode; 5] = [
    Mode::SingleNodeMultiWriter,
    Mode::SingleNodeMultiWriter,
    Mode::SingleNodeWriter,
    Mode::SingleNodeSingleWriter,
    Mode::SingleNodeReaderOnly,
];

/// A daemon without `CAP_SYS_RESOURCE` does not grow an ext4 in use.
const GROWN: [Code; 3] = [NotFound, ResourceExhausted, FailedPrecondition];

impl Client {
    /// Asks for something, once or twice.
    pub(crate) async fn ask(&mut self) {
        let storm = self.storm.clone();
        let slot = storm.slot(&mut self.dice);
        let unknown = slot.known.lock().unwrap().ids.is_empty();
        let what = if unknown && !self.dice.one_in(4) { 3 + self.dice.roll(3) } else { self.dice.roll(30) };
        let times = 1 + u64::from(self.dice.one_in(4));
        for _ in 0..times {
            match what {
                0..=4 => self.create(slot).await,
                5 => self.copy(slot).await,
                6..=7 => self.delete(slot).await,
                8..=10 => self.stage(slot).await,
                11..=14 => self.publish(slot).await,
                15..=17 => self.unpublish(slot).await,
                18..=19 => self.unstage(slot).await,
                20 => self.expand(slot).await,
                21 => self.expand_on_node(slot).await,
                22 => self.statistics(slot).await,
                23 => self.snapshot(slot).await,
                24 => self.delete_snapshot(slot).await,
                25 => self.look(slot).await,
                26 => self.list().await,
                27 => self.modify(slot).await,
                28 => self.publish_inline(slot).await,
                _ => self.unpublish_inline(slot).await,
            }
        }
    }

    async fn create(&mut self, slot: &Slot) {
        let mut request = slot.request();
        if self.dice.one_in(10) {
            request.capacity_range =
                Some(CapacityRange { required_bytes: slot.size() + 4 * MIB, limit_bytes: 0 });
        }
        let mut controller = self.controller.clone();
        let allowed = [AlreadyExists, ResourceExhausted];
        let made = self.judged("CreateVolume", &allowed, controller.create_volume(request)).await;
        if let Some(volume) = made.and_then(|made| made.volume) {
            slot.has(&volume.volume_id);
        }
    }

    /// The same from what another one has, or is.
    async fn copy(&mut self, slot: &Slot) {
        let storm = self.storm.clone();
        let other = storm.slot(&mut self.dice);
        let snapshots: Vec<_> = other.known.lock().unwrap().snapshots.iter().cloned().collect();
        let source = if snapshots.is_empty() {
            Type::Volume(VolumeSource { volume_id: other.id(&mut self.dice) })
        } else {
            Type::Snapshot(SnapshotSource { snapshot_id: self.dice.pick(&snapshots).clone() })
        };
        let request = CreateVolumeRequest {
            volume_content_source: Some(VolumeContentSource { r#type: Some(source) }),
            ..slot.request()
        };
        let mut controller = self.controller.clone();
        // A source of another kind or size is none for it.
        let allowed = [AlreadyExists, ResourceExhausted, NotFound, InvalidArgument, OutOfRange];
        let made = self.judged("CreateVolume of a source", &allowed, controller.create_volume(request)).await;
        if let Some(volume) = made.and_then(|made| made.volume) {
            slot.has(&volume.volume_id);
        }
    }

    async fn delete(&mut self, slot: &Slot) {
        let request = DeleteVolumeRequest { volume_id: slot.id(&mut self.dice), ..Default::default() };
        let mut controller = self.controller.clone();
        self.judged("DeleteVolume", &[FailedPrecondition], controller.delete_volume(request)).await;
    }

    async fn stage(&mut self, slot: &Slot) {
        let id = slot.id(&mut self.dice);
        let storm = self.storm.clone();
        // As what it is not, now and then.
        let form = if self.dice.one_in(8) { storm.slot(&mut self.dice) } else { slot };
        let request = NodeStageVolumeRequest {
            staging_target_path: storm.staging(&id),
            volume_id: id,
            volume_capability: Some(form.capability(*self.dice.pick(&MODES))),
            ..Default::default()
        };
        let mut node = self.node.clone();
        let allowed = [NotFound, FailedPrecondition, AlreadyExists];
        self.judged("NodeStageVolume", &allowed, node.node_stage_volume(request)).await;
    }

    async fn publish(&mut self, slot: &Slot) {
        let id = slot.id(&mut self.dice);
        let pod = self.dice.roll(PODS);
        let request = NodePublishVolumeRequest {
            staging_target_path: self.storm.staging(&id),
            target_path: self.storm.target(slot.kind, &id, pod),
            volume_id: id,
            volume_capability: Some(slot.capability(*self.dice.pick(&MODES))),
            readonly: self.dice.one_in(4),
            ..Default::default()
        };
        let mut node = self.node.clone();
        let allowed = [NotFound, FailedPrecondition, AlreadyExists];
        self.judged("NodePublishVolume", &allowed, node.node_publish_volume(request)).await;
    }

    async fn unpublish(&mut self, slot: &Slot) {
        let id = slot.id(&mut self.dice);
        let pod = self.dice.roll(PODS);
        let target_path = self.storm.target(slot.kind, &id, pod);
        let request = NodeUnpublishVolumeRequest { volume_id: id, target_path };
        let mut node = self.node.clone();
        self.judged("NodeUnpublishVolume", &[], node.node_unpublish_volume(request)).await;
    }

    async fn unstage(&mut self, slot: &Slot) {
        let id = slot.id(&mut self.dice);
        let staging_target_path = self.storm.staging(&id);
        let request = NodeUnstageVolumeRequest { volume_id: id, staging_target_path };
        let mut node = self.node.clone();
        self.judged("NodeUnstageVolume", &[FailedPrecondition], node.node_unstage_volume(request)).await;
    }

    async fn expand(&mut self, slot: &Slot) {
        let more = i64::try_from(self.dice.roll(3)).unwrap();
        let request = ControllerExpandVolumeRequest {
            volume_id: slot.id(&mut self.dice),
            capacity_range: Some(CapacityRange { required_bytes: slot.size() + more * MIB, limit_bytes: 0 }),
            ..Default::default()
        };
        let mut controller = self.controller.clone();
        let answer = controller.controller_expand_volume(request);
        self.judged("ControllerExpandVolume", &GROWN, answer).await;
    }

    async fn expand_on_node(&mut self, slot: &Slot) {
        let id = slot.id(&mut self.dice);
        let pod = self.dice.roll(PODS);
        let request = NodeExpandVolumeRequest {
            volume_path: self.storm.target(slot.kind, &id, pod),
            volume_id: id,
            capacity_range: Some(CapacityRange { required_bytes: slot.size() + MIB, limit_bytes: 0 }),
            ..Default::default()
        };
        let mut node = self.node.clone();
        self.judged("NodeExpandVolume", &GROWN, node.node_expand_volume(request)).await;
    }

    async fn statistics(&mut self, slot: &Slot) {
        let id = slot.id(&mut self.dice);
        let staged = self.dice.one_in(2);
        let pod = self.dice.roll(PODS);
        let volume_path =
            if staged { self.storm.staging(&id) } else { self.storm.target(slot.kind, &id, pod) };
        let request = NodeGetVolumeStatsRequest { volume_id: id, volume_path, ..Default::default() };
        let mut node = self.node.clone();
        self.judged("NodeGetVolumeStats", &[NotFound], node.node_get_volume_stats(request)).await;
    }

    async fn snapshot(&mut self, slot: &Slot) {
        let request = CreateSnapshotRequest {
            name: format!("{}-{}", slot.name, self.dice.roll(2)),
            source_volume_id: slot.id(&mut self.dice),
            ..Default::default()
        };
        let mut controller = self.controller.clone();
        let allowed = [NotFound, AlreadyExists, ResourceExhausted];
        let taken = self.judged("CreateSnapshot", &allowed, controller.create_snapshot(request)).await;
        if let Some(snapshot) = taken.and_then(|taken| taken.snapshot) {
            slot.known.lock().unwrap().snapshots.insert(snapshot.snapshot_id);
        }
    }

    async fn delete_snapshot(&mut self, slot: &Slot) {
        let Some(snapshot_id) = slot.known.lock().unwrap().snapshots.first().cloned() else { return };
        let request = DeleteSnapshotRequest { snapshot_id: snapshot_id.clone(), ..Default::default() };
        let mut controller = self.controller.clone();
        let gone = self.judged("DeleteSnapshot", &[], controller.delete_snapshot(request)).await;
        if gone.is_some() {
            slot.known.lock().unwrap().snapshots.remove(&snapshot_id);
        }
    }

    async fn look(&mut self, slot: &Slot) {
        let mut controller = self.controller.clone();
        let volume_id = slot.id(&mut self.dice);
        if self.dice.one_in(2) {
            let request = ControllerGetVolumeRequest { volume_id };
            let answer = controller.controller_get_volume(request);
            self.judged("ControllerGetVolume", &[NotFound], answer).await;
        } else {
            let request = ValidateVolumeCapabilitiesRequest {
                volume_id,
                volume_capabilities: vec![slot.capability(*self.dice.pick(&MODES))],
                ..Default::default()
            };
            let answer = controller.validate_volume_capabilities(request);
            self.judged("ValidateVolumeCapabilities", &[NotFound], answer).await;
        }
    }

    /// Some pages.
    async fn list(&mut self) {
        let mut controller = self.controller.clone();
        let max_entries = i32::try_from(1 + self.dice.roll(40)).unwrap();
        let mut starting_token = String::new();
        for _ in 0..3 {
            let request = ListVolumesRequest { max_entries, starting_token };
            let page = self.judged("ListVolumes", &[], controller.list_volumes(request)).await;
            let Some(page) = page.filter(|page| !page.next_token.is_empty()) else { break };
            starting_token = page.next_token;
        }
        let request = ListSnapshotsRequest { max_entries, ..Default::default() };
        self.judged("ListSnapshots", &[], controller.list_snapshots(request)).await;
        let request = GetCapacityRequest::default();
        self.judged("GetCapacity", &[], controller.get_capacity(request)).await;
    }

    async fn modify(&mut self, slot: &Slot) {
        let gid = self.dice.roll(3).to_string();
        let request = ControllerModifyVolumeRequest {
            volume_id: slot.id(&mut self.dice),
            mutable_parameters: BTreeMap::from([("gid".to_owned(), gid)]),
            ..Default::default()
        };
        let mut controller = self.controller.clone();
        let allowed: &[_] = match slot.kind {
            // It has no owner.
            Kind::Block => &[NotFound, InvalidArgument],
            Kind::Ext4 | Kind::Xfs => &[NotFound],
        };
        let answer = controller.controller_modify_volume(request);
        self.judged("ControllerModifyVolume", allowed, answer).await;
    }

    async fn publish_inline(&mut self, slot: &Slot) {
        let id = inline(slot);
        let context = [("csi.storage.k8s.io/ephemeral", "true"), ("size", "16Mi")];
        let request = NodePublishVolumeRequest {
            target_path: self.storm.target(slot.kind, &id, 0),
            volume_id: id,
            volume_capability: Some(slot.capability(Mode::SingleNodeWriter)),
            volume_context: context.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..Default::default()
        };
        let mut node = self.node.clone();
        let allowed = [ResourceExhausted];
        self.judged("NodePublishVolume in a pod", &allowed, node.node_publish_volume(request)).await;
    }

    async fn unpublish_inline(&mut self, slot: &Slot) {
        let id = inline(slot);
        let target_path = self.storm.target(slot.kind, &id, 0);
        let request = NodeUnpublishVolumeRequest { volume_id: id, target_path };
        let mut node = self.node.clone();
        self.judged("NodeUnpublishVolume in a pod", &[], node.node_unpublish_volume(request)).await;
    }
}

/// The id that the kubelet makes up for a volume that is written into a pod.
pub(super) fn inline(slot: &Slot) -> String {
    format!("csi-{}", slot.name)
}
