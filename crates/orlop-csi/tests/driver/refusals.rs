//! The matrix of refusals: what is wrong with a call, and the code and words that it is answered with.

use orlop_csi::protocol::{volume_capability::access_mode::Mode, *};
use orlop_testkit::{Part, require};
use tonic::Status;

use crate::harness::*;

const UNKNOWN: &str = "01936f2e-6c3a-7c5b-8d1e-2f3a4b5c6d7e";

/// The rows of the matrix.
#[derive(Default)]
struct Matrix(Vec<String>);

impl Matrix {
    fn row<T>(&mut self, call: &str, case: &str, answer: Result<T, Status>) {
        let said = match answer {
            Ok(_) => "OK".to_owned(),
            Err(status) => format!("{:?}: {}", status.code(), status.message()),
        };
        self.0.push(format!("{call}, {case}\n  {said}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_matrix() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let mut matrix = Matrix::default();
    let id = world.make("data").await.volume_id;
    let busy = world.make("busy").await.volume_id;
    world.have(&busy, "pod").await;
    let mode = Mode::SingleNodeMultiWriter;
    let request = CreateVolumeRequest { volume_capabilities: vec![block(mode)], ..volume("disk") };
    let disk = world.create(request).await.unwrap().volume_id;
    world.stage(&disk, &block(mode)).await.unwrap();
    world.publish(&disk, "writer", &block(mode)).await.unwrap();

    let mut create = async |case: &str, change: &dyn Fn(&mut CreateVolumeRequest)| {
        let mut request = volume("new");
        change(&mut request);
        matrix.row("CreateVolume", case, world.create(request).await);
    };
    create("without a name", &|r| r.name.clear()).await;
    create("with a name of 129 bytes", &|r| r.name = "x".repeat(129)).await;
    create("with a control character in its name", &|r| r.name = "a\u{1}".to_owned()).await;
    create("without capabilities", &|r| r.volume_capabilities.clear()).await;
    create("with a capability that says nothing", &|r| r.volume_capabilities = vec![Default::default()])
        .await;
    create("as a block device with a filesystem", &|r| {
        r.volume_capabilities = vec![block(mode), mount(mode)];
    })
    .await;
    create("as a block device with a mode, which may change", &|r| {
        r.volume_capabilities = vec![block(mode)];
        r.mutable_parameters = map(&[("mode", "0700")]);
    })
    .await;
    create("as a block device that is no whole blocks", &|r| {
        r.volume_capabilities = vec![block(mode)];
        r.capacity_range = Some(CapacityRange { required_bytes: 20 * MIB + 1, limit_bytes: 20 * MIB + 4095 });
    })
    .await;
    create("as a block device from a filesystem", &|r| {
        r.volume_capabilities = vec![block(mode)];
        r.volume_content_source = of_volume(&id);
    })
    .await;
    create("from a block device", &|r| r.volume_content_source = of_volume(&disk)).await;
    create("as a block device for many nodes", &|r| {
        r.volume_capabilities = vec![block(Mode::MultiNodeMultiWriter)];
    })
    .await;
    create("again, as a block device", &|r| {
        r.name = "data".to_owned();
        r.volume_capabilities = vec![block(mode)];
    })
    .await;
    create("for many nodes", &|r| r.volume_capabilities = vec![mount(Mode::MultiNodeSingleWriter)]).await;
    create("with another filesystem", &|r| r.volume_capabilities = vec![filesystem("ntfs")]).await;
    create("with two filesystems", &|r| {
        r.volume_capabilities = vec![filesystem("xfs")];
        r.parameters = map(&[("filesystem", "ext4")]);
    })
    .await;
    create("with an unknown parameter", &|r| r.parameters = map(&[("typ", "temp")])).await;
    create("with a wrong parameter", &|r| r.parameters = map(&[("type", "tmp")])).await;
    create("in no pool", &|r| r.parameters = map(&[("pool", "fast")])).await;
    create("of a cloud type", &|r| r.parameters = map(&[("type", "CloudTemp")])).await;
    create("with an empty source", &|r| r.volume_content_source = Some(Default::default())).await;
    create("from no snapshot", &|r| r.volume_content_source = of_snapshot(UNKNOWN)).await;
    create("from no volume", &|r| r.volume_content_source = of_volume("none")).await;
    create("smaller than its source", &|r| {
        r.volume_content_source = of_volume(&id);
        r.capacity_range = Some(CapacityRange { required_bytes: MIB, limit_bytes: 0 });
    })
    .await;
    create("of a negative size", &|r| {
        r.capacity_range = Some(CapacityRange { required_bytes: -1, limit_bytes: 0 });
    })
    .await;
    create("at most too small", &|r| {
        r.capacity_range = Some(CapacityRange { required_bytes: 0, limit_bytes: MIB });
    })
    .await;
    create("again, larger", &|r| {
        r.name = "data".to_owned();
        r.capacity_range = Some(CapacityRange { required_bytes: 30 * MIB, limit_bytes: 0 });
    })
    .await;
    create("again, of another type", &|r| {
        r.name = "data".to_owned();
        r.parameters = map(&[("type", "persistent")]);
    })
    .await;
    create("on another node", &|r| {
        let there = Topology { segments: map(&[(TOPOLOGY, "node-2")]) };
        r.accessibility_requirements =
            Some(TopologyRequirement { requisite: vec![there], preferred: Vec::new() });
    })
    .await;

    for (case, volume) in
        [("without an id", ""), ("of no volume", UNKNOWN), ("of no id", "x"), ("in use", &busy)]
    {
        matrix.row("DeleteVolume", case, world.delete(volume).await);
    }
    let attach = ControllerPublishVolumeRequest { volume_id: id.clone(), ..Default::default() };
    matrix.row("ControllerPublishVolume", "ever", world.controller.controller_publish_volume(attach).await);
    let detach = ControllerUnpublishVolumeRequest { volume_id: id.clone(), ..Default::default() };
    matrix.row(
        "ControllerUnpublishVolume",
        "ever",
        world.controller.controller_unpublish_volume(detach).await,
    );

    for (case, volume_id, capabilities) in [
        ("without an id", "", vec![mount(mode)]),
        ("without capabilities", id.as_str(), Vec::new()),
        ("of no volume", UNKNOWN, vec![mount(mode)]),
    ] {
        let request = ValidateVolumeCapabilitiesRequest {
            volume_id: volume_id.to_owned(),
            volume_capabilities: capabilities,
            ..Default::default()
        };
        let answer = world.controller.validate_volume_capabilities(request).await;
        matrix.row("ValidateVolumeCapabilities", case, answer);
    }
    for (case, max_entries, token) in [("of fewer than none", -1, ""), ("after no token", 0, "x")] {
        let request = ListVolumesRequest { max_entries, starting_token: token.to_owned() };
        matrix.row("ListVolumes", case, world.controller.list_volumes(request).await);
        let request =
            ListSnapshotsRequest { max_entries, starting_token: token.to_owned(), ..Default::default() };
        matrix.row("ListSnapshots", case, world.controller.list_snapshots(request).await);
    }
    for (case, volume) in [("without an id", ""), ("of no volume", UNKNOWN), ("of no id", "x")] {
        let request = ControllerGetVolumeRequest { volume_id: volume.to_owned() };
        matrix.row("ControllerGetVolume", case, world.controller.controller_get_volume(request).await);
    }
    let capacity = GetCapacityRequest { parameters: map(&[("size", "1Gi")]), ..Default::default() };
    matrix.row("GetCapacity", "with an unknown parameter", world.controller.get_capacity(capacity).await);

    let size = |required_bytes, limit_bytes| Some(CapacityRange { required_bytes, limit_bytes });
    for (case, volume_id, capacity_range, capability) in [
        ("without an id", "", size(1, 0), None),
        ("without a size", id.as_str(), None, None),
        ("with an empty size", &id, size(0, 0), None),
        ("of no volume", UNKNOWN, size(1, 0), None),
        ("to less than it is", &id, size(0, MIB), None),
        ("to more than there is", &id, size(1 << 50, 0), None),
        ("as a block device", &id, size(1, 0), Some(block(mode))),
        ("of a block device as a filesystem", &disk, size(1, 0), Some(mount(mode))),
        ("of a block device to half a block", &disk, size(20 * MIB + 1, 20 * MIB + 1), None),
    ] {
        let request = ControllerExpandVolumeRequest {
            volume_id: volume_id.to_owned(),
            capacity_range,
            volume_capability: capability,
            ..Default::default()
        };
        matrix.row("ControllerExpandVolume", case, world.controller.controller_expand_volume(request).await);
    }
    for (case, volume_id, parameters) in [
        ("without an id", "", &[("gid", "1")][..]),
        ("of no volume", UNKNOWN, &[("gid", "1")]),
        ("without parameters", &id, &[]),
        ("with one that does not change", &id, &[("pool", "fast")]),
        ("with one that retained data has not", &busy, &[("type", "persistent"), ("tempGracePeriod", "1h")]),
        ("with one that a block device has not", &disk, &[("gid", "1")]),
        ("with mount options of a block device", &disk, &[("mountOptions", "noexec")]),
    ] {
        let request = ControllerModifyVolumeRequest {
            volume_id: volume_id.to_owned(),
            mutable_parameters: map(parameters),
            ..Default::default()
        };
        matrix.row("ControllerModifyVolume", case, world.controller.controller_modify_volume(request).await);
    }
    for (case, name, volume) in [
        ("without a name", "", id.as_str()),
        ("without a volume", "s", ""),
        ("of no volume", "s", UNKNOWN),
        ("of no id", "s", "x"),
    ] {
        let request = CreateSnapshotRequest {
            name: name.to_owned(),
            source_volume_id: volume.to_owned(),
            ..Default::default()
        };
        matrix.row("CreateSnapshot", case, world.controller.create_snapshot(request).await);
    }
    for (case, snapshot) in [("without an id", ""), ("of no snapshot", UNKNOWN), ("of no id", "x")] {
        let request = DeleteSnapshotRequest { snapshot_id: snapshot.to_owned(), ..Default::default() };
        matrix.row("DeleteSnapshot", case, world.controller.delete_snapshot(request).await);
        let request = GetSnapshotRequest { snapshot_id: snapshot.to_owned(), ..Default::default() };
        matrix.row("GetSnapshot", case, world.controller.get_snapshot(request).await);
    }

    let two = world.make("two").await.volume_id;
    let disk_2 = CreateVolumeRequest { volume_capabilities: vec![block(mode)], ..volume("disk-2") };
    let disk_2 = world.create(disk_2).await.unwrap().volume_id;
    world.stage(&disk_2, &block(mode)).await.unwrap();
    world.publish(&disk_2, "writer-2", &block(mode)).await.unwrap();
    let elsewhere = CreateVolumeRequest { parameters: map(&[("workspace", "team")]), ..volume("theirs") };
    let elsewhere = world.create(elsewhere).await.unwrap().volume_id;
    let of = |name: &str, volumes: &[&str]| CreateVolumeGroupSnapshotRequest {
        name: name.to_owned(),
        source_volume_ids: volumes.iter().map(|id| (*id).to_owned()).collect(),
        ..Default::default()
    };
    let group = world.group.create_volume_group_snapshot(of("group", &[&id, &two])).await.unwrap();
    let group = group.into_inner().group_snapshot.unwrap();
    let many: Vec<String> = (10..43).map(|n| format!("01936f2e-6c3a-7c5b-8d1e-2f3a4b5c6d{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (case, request) in [
        ("without a name", of("", &[&id])),
        ("without volumes", of("g", &[])),
        ("of no volume", of("g", &[&id, UNKNOWN])),
        ("of no id", of("g", &[&id, "x"])),
        ("of a volume twice", of("g", &[&id, &two, &id])),
        ("of too many", of("g", &many)),
        ("of two workspaces", of("g", &[&id, &elsewhere])),
        ("of two block devices in use", of("g", &[&id, &disk, &disk_2])),
        (
            "with an unknown parameter",
            CreateVolumeGroupSnapshotRequest { parameters: map(&[("retain", "7d")]), ..of("g", &[&id]) },
        ),
        ("again, of others", of("group", &[&id, &busy])),
    ] {
        matrix.row(
            "CreateVolumeGroupSnapshot",
            case,
            world.group.create_volume_group_snapshot(request).await,
        );
    }
    let [first, second] = [0, 1].map(|at: usize| group.snapshots[at].snapshot_id.clone());
    for (case, group, snapshots) in [
        ("without an id", "", vec![]),
        ("of no group", UNKNOWN, vec![]),
        ("of no id", "x", vec![]),
        ("without its snapshots", group.group_snapshot_id.as_str(), vec![]),
        ("without one of its snapshots", &group.group_snapshot_id, vec![first.clone()]),
        ("with what is no snapshot of it", &group.group_snapshot_id, vec![first.clone(), "x".to_owned()]),
    ] {
        let request = DeleteVolumeGroupSnapshotRequest {
            group_snapshot_id: group.to_owned(),
            snapshot_ids: snapshots.clone(),
            ..Default::default()
        };
        matrix.row(
            "DeleteVolumeGroupSnapshot",
            case,
            world.group.delete_volume_group_snapshot(request).await,
        );
        let request = GetVolumeGroupSnapshotRequest {
            group_snapshot_id: group.to_owned(),
            snapshot_ids: snapshots,
            ..Default::default()
        };
        matrix.row("GetVolumeGroupSnapshot", case, world.group.get_volume_group_snapshot(request).await);
    }
    let one = DeleteSnapshotRequest { snapshot_id: first, ..Default::default() };
    matrix.row("DeleteSnapshot", "of one of a group", world.controller.delete_snapshot(one).await);

    let mut stage = async |case: &str, change: &dyn Fn(&mut NodeStageVolumeRequest)| {
        let mut request = NodeStageVolumeRequest {
            volume_id: id.clone(),
            staging_target_path: world.staging(&id),
            volume_capability: Some(mount(mode)),
            ..Default::default()
        };
        change(&mut request);
        matrix.row("NodeStageVolume", case, world.node.node_stage_volume(request).await);
    };
    stage("without an id", &|r| r.volume_id.clear()).await;
    stage("of no volume", &|r| r.volume_id = UNKNOWN.to_owned()).await;
    stage("of no id", &|r| r.volume_id = "x".to_owned()).await;
    stage("without a path", &|r| r.staging_target_path.clear()).await;
    stage("on a relative path", &|r| r.staging_target_path = "a".to_owned()).await;
    stage("elsewhere on the host", &|r| r.staging_target_path = "/etc".to_owned()).await;
    stage("without a capability", &|r| r.volume_capability = None).await;
    stage("for many nodes", &|r| r.volume_capability = Some(mount(Mode::MultiNodeMultiWriter))).await;
    stage("as a block device", &|r| r.volume_capability = Some(block(mode))).await;
    stage("of a block device as a filesystem", &|r| r.volume_id.clone_from(&disk)).await;
    stage("with another filesystem", &|r| r.volume_capability = Some(filesystem("xfs"))).await;
    for (case, volume, path) in [
        ("without an id", "", "/a"),
        ("without a path", id.as_str(), ""),
        ("of no volume", UNKNOWN, "KUBELET/a"),
    ] {
        let path = path.replace("KUBELET", &world.kubelet("x"));
        let request = NodeUnstageVolumeRequest { volume_id: volume.to_owned(), staging_target_path: path };
        matrix.row("NodeUnstageVolume", case, world.node.node_unstage_volume(request).await);
    }
    matrix.row("NodeUnstageVolume", "while it is published", world.unstage(&busy).await);

    let paths = ["reader", "alone", "inline"].map(|pod| world.device(pod));
    let [reader, alone, inline] = &paths;
    let (directory, staged) = (world.kubelet("pods/other/mount"), world.staging(&disk));
    let mut publish = async |case: &str, change: &dyn Fn(&mut NodePublishVolumeRequest)| {
        let mut request = world.publishing(&busy, "pod", &mount(mode));
        change(&mut request);
        matrix.row("NodePublishVolume", case, world.node.node_publish_volume(request).await);
    };
    publish("without an id", &|r| r.volume_id.clear()).await;
    publish("of no volume", &|r| r.volume_id = UNKNOWN.to_owned()).await;
    publish("of no id", &|r| r.volume_id = "x".to_owned()).await;
    publish("without a target", &|r| r.target_path.clear()).await;
    publish("elsewhere on the host", &|r| r.target_path = "/mnt/orlop".to_owned()).await;
    publish("through a parent directory", &|r| r.target_path.push_str("/../../../../../../../mnt")).await;
    publish("without a capability", &|r| r.volume_capability = None).await;
    publish("without where it is staged", &|r| r.staging_target_path.clear()).await;
    publish("again, read-only", &|r| r.readonly = true).await;
    publish("of another volume where one is", &|r| r.volume_id.clone_from(&id)).await;
    publish("for one pod alone", &|r| {
        r.volume_capability = Some(mount(Mode::SingleNodeSingleWriter));
        r.target_path.push('2');
    })
    .await;
    publish("as a block device", &|r| r.volume_capability = Some(block(mode))).await;
    publish("of a block device as a filesystem", &|r| r.volume_id.clone_from(&disk)).await;
    publish("of a block device where a directory is", &|r| {
        r.volume_id.clone_from(&disk);
        r.volume_capability = Some(block(mode));
        (r.staging_target_path, r.target_path) = (staged.clone(), directory.clone());
    })
    .await;
    publish("of a block device that others write, read-only", &|r| {
        r.volume_id.clone_from(&disk);
        r.volume_capability = Some(block(mode));
        (r.staging_target_path, r.target_path) = (staged.clone(), reader.clone());
        r.readonly = true;
    })
    .await;
    publish("of a block device for one pod alone", &|r| {
        r.volume_id.clone_from(&disk);
        r.volume_capability = Some(block(Mode::SingleNodeSingleWriter));
        (r.staging_target_path, r.target_path) = (staged.clone(), alone.clone());
    })
    .await;
    publish("in a pod, as a block device with an owner", &|r| {
        r.volume_id = "csi-1".to_owned();
        r.volume_capability = Some(block(mode));
        r.target_path.clone_from(inline);
        r.volume_context = map(&[("csi.storage.k8s.io/ephemeral", "true"), ("uid", "1")]);
    })
    .await;
    for (case, volume, path) in [("without an id", "", "/a"), ("without a target", id.as_str(), "")] {
        let request =
            NodeUnpublishVolumeRequest { volume_id: volume.to_owned(), target_path: path.to_owned() };
        matrix.row("NodeUnpublishVolume", case, world.node.node_unpublish_volume(request).await);
    }
    matrix.row("NodeUnpublishVolume", "of no volume", world.unpublish(UNKNOWN, "other").await);
    matrix.row("NodeUnpublishVolume", "of no id", world.unpublish("x", "other").await);

    for (case, volume, path) in [
        ("without an id", "", "/a"),
        ("without a path", busy.as_str(), ""),
        ("of no volume", UNKNOWN, "/a"),
        ("on a relative path", &busy, "a"),
        ("elsewhere on the host", &busy, "/mnt/orlop"),
        ("where it is not", &busy, "KUBELET/a"),
    ] {
        let path = path.replace("KUBELET", &world.kubelet("x"));
        let request = NodeGetVolumeStatsRequest {
            volume_id: volume.to_owned(),
            volume_path: path.clone(),
            ..Default::default()
        };
        matrix.row("NodeGetVolumeStats", case, world.node.node_get_volume_stats(request).await);
        let request =
            NodeExpandVolumeRequest { volume_id: volume.to_owned(), volume_path: path, ..Default::default() };
        matrix.row("NodeExpandVolume", case, world.node.node_expand_volume(request).await);
    }
    let request = NodeExpandVolumeRequest {
        volume_id: disk.clone(),
        volume_path: world.device("writer"),
        volume_capability: Some(mount(mode)),
        ..Default::default()
    };
    let answer = world.node.node_expand_volume(request).await;
    matrix.row("NodeExpandVolume", "of a block device as a filesystem", answer);
    let text = matrix.0.join("\n");
    let text = text.replace(&id, "[data]").replace(&busy, "[busy]").replace(&disk, "[disk]");
    let text = text.replace(&second, "[second]");
    let text = text.replace(world.kubelet("").trim_end_matches('/'), "[kubelet]");
    insta::with_settings!({ filters => vec![
        (r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "since [time]"),
        (r"\d+(\.\d)?[GM]i are promised|\d+(\.\d)?[GM]i are left|of \d+(\.\d)?[GM]i it|at most \d+(\.\d)?[GM]i;", "[room]"),
        (r"has \d+(\.\d)?Gi free, \d+(\.\d)?[GM]i ", "has [room] free, [room] "),
    ] }, {
        insta::assert_snapshot!(text);
    });
}
