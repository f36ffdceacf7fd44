//! The whole life of volumes, each call repeated, and what is left in the end.

use std::fs;

use orlop_csi::protocol::{volume_capability::access_mode::Mode, volume_usage::Unit, *};
use orlop_testkit::{Part, require};
use tonic::Code;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn from_creation_to_deletion_with_every_call_repeated() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let capability = mount(Mode::SingleNodeMultiWriter);
    for fs_type in ["ext4", "xfs"] {
        let size = if fs_type == "xfs" { 300 * MIB } else { 20 * MIB };
        let request = CreateVolumeRequest {
            capacity_range: Some(CapacityRange { required_bytes: size, limit_bytes: size }),
            volume_capabilities: vec![filesystem(fs_type)],
            ..volume(fs_type)
        };
        let made = world.create(request.clone()).await.unwrap();
        assert_eq!(made.capacity_bytes, size);
        assert_eq!(made.accessible_topology[0].segments, map(&[(TOPOLOGY, NODE)]));
        assert_eq!(world.create(request).await.unwrap(), made);
        let id = made.volume_id.as_str();

        let mut targets = Vec::new();
        for _ in 0..2 {
            world.stage(id, &capability).await.unwrap();
            targets = vec![
                world.publish(id, "one", &capability).await.unwrap(),
                world.publish(id, "two", &capability).await.unwrap(),
            ];
        }
        fs::write(targets[0].join("file"), "cargo").unwrap();
        assert_eq!(fs::read_to_string(targets[1].join("file")).unwrap(), "cargo");
        assert_eq!(world.resource(id).unwrap().status.attachments.len(), 3, "a stage and two pods");

        let stats = NodeGetVolumeStatsRequest {
            volume_id: id.to_owned(),
            volume_path: targets[1].to_str().unwrap().to_owned(),
            ..Default::default()
        };
        let stats = world.node.node_get_volume_stats(stats).await.unwrap().into_inner();
        assert!(!stats.volume_condition.unwrap().abnormal);
        let bytes = stats.usage.iter().find(|usage| usage.unit() == Unit::Bytes).unwrap();
        assert_eq!(u64::try_from(bytes.total).unwrap(), capacity(&targets[1]));
        let inodes = stats.usage.iter().find(|usage| usage.unit() == Unit::Inodes).unwrap();
        assert!(inodes.used > 0 && inodes.total >= inodes.used + inodes.available - 1, "{inodes:?}");

        // In use it is not deleted, nor unstaged; and the data stays.
        assert_eq!(code(world.delete(id).await), Code::FailedPrecondition);
        assert_eq!(code(world.unstage(id).await), Code::FailedPrecondition);
        for _ in 0..2 {
            world.unpublish(id, "one").await.unwrap();
            world.unpublish(id, "two").await.unwrap();
            world.unstage(id).await.unwrap();
        }
        assert!(targets.iter().all(|target| !target.exists()), "targets go with what was on them");
        let again = world.have(id, "three").await;
        assert_eq!(fs::read_to_string(again.join("file")).unwrap(), "cargo");
        world.destroy(id, "three").await;
        world.delete(id).await.unwrap();
        assert!(world.resource(id).is_err());
    }
    world.assert_nothing_mounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_grows_under_its_consumers() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let request = CreateVolumeRequest {
        capacity_range: Some(CapacityRange { required_bytes: 300 * MIB, limit_bytes: 0 }),
        volume_capabilities: vec![filesystem("xfs")],
        ..volume("data")
    };
    let id = world.create(request).await.unwrap().volume_id;
    let target = world.have(&id, "pod").await;
    let before = capacity(&target);
    let expand = |required_bytes, limit_bytes| ControllerExpandVolumeRequest {
        volume_id: id.clone(),
        capacity_range: Some(CapacityRange { required_bytes, limit_bytes }),
        volume_capability: Some(mount(Mode::SingleNodeMultiWriter)),
        ..Default::default()
    };
    for _ in 0..2 {
        let answer =
            world.controller.controller_expand_volume(expand(400 * MIB, 0)).await.unwrap().into_inner();
        assert_eq!((answer.capacity_bytes, answer.node_expansion_required), (400 * MIB, false));
    }
    let grown = capacity(&target);
    assert!(grown > before + 90 * 1024 * 1024, "{before} {grown}");
    let on_node = NodeExpandVolumeRequest {
        volume_id: id.clone(),
        volume_path: target.to_str().unwrap().to_owned(),
        capacity_range: Some(CapacityRange { required_bytes: 500 * MIB, limit_bytes: 0 }),
        ..Default::default()
    };
    let answer = world.node.node_expand_volume(on_node.clone()).await.unwrap().into_inner();
    assert_eq!(answer.capacity_bytes, 500 * MIB);
    assert!(capacity(&target) > grown);
    // Less is what it has already; a bound below that can't be kept.
    let answer = world.controller.controller_expand_volume(expand(MIB, 0)).await.unwrap().into_inner();
    assert_eq!(answer.capacity_bytes, 500 * MIB);
    let refused = world.controller.controller_expand_volume(expand(MIB, 400 * MIB)).await;
    assert_eq!(code(refused), Code::OutOfRange);
    let elsewhere = NodeExpandVolumeRequest { volume_path: world.target("nobody"), ..on_node };
    assert_eq!(code(world.node.node_expand_volume(elsewhere).await), Code::NotFound);
    world.destroy(&id, "pod").await;
    world.assert_nothing_mounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_crashed_finds_what_is_published() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let id = world.make("data").await.volume_id;
    let target = world.have(&id, "pod").await;
    fs::write(target.join("file"), "cargo").unwrap();
    world.restart().await;
    assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "cargo");
    // The kubelet repeats what it doesn't know to be done.
    world.have(&id, "pod").await;
    assert_eq!(world.make("data").await.volume_id, id);
    world.destroy(&id, "pod").await;
    world.assert_nothing_mounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn at_once_they_get_in_nobodys_way() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let calls = (0..8).map(|_| {
        let mut controller = world.controller.clone();
        tokio::spawn(async move { controller.create_volume(volume("data")).await })
    });
    let mut ids = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        ids.push(call.await.unwrap().unwrap().into_inner().volume.unwrap().volume_id);
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let capability = mount(Mode::SingleNodeMultiWriter);
    world.stage(&ids[0], &capability).await.unwrap();
    let calls = (0..8).map(|pod| {
        let mut node = world.node.clone();
        let request = world.publishing(&ids[0], &format!("pod-{}", pod % 4), &capability);
        tokio::spawn(async move { node.node_publish_volume(request).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    assert_eq!(world.resource(&ids[0]).unwrap().status.attachments.len(), 5);
    for pod in 0..4 {
        world.unpublish(&ids[0], &format!("pod-{pod}")).await.unwrap();
    }
    world.unstage(&ids[0]).await.unwrap();
    world.delete(&ids[0]).await.unwrap();
    world.assert_nothing_mounted();
}
