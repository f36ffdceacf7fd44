//! Snapshots of several volumes at one moment.

use std::fs;

use orlop_csi::protocol::{
    group_controller_service_capability::{Type, rpc},
    volume_capability::access_mode::Mode,
    *,
};
use orlop_testkit::{Part, require};
use tonic::{Code, Status};

use crate::harness::*;

fn take(name: &str, volumes: &[&str]) -> CreateVolumeGroupSnapshotRequest {
    CreateVolumeGroupSnapshotRequest {
        name: name.to_owned(),
        source_volume_ids: volumes.iter().map(|id| (*id).to_owned()).collect(),
        ..Default::default()
    }
}

fn ids(group: &VolumeGroupSnapshot) -> Vec<String> {
    group.snapshots.iter().map(|snapshot| snapshot.snapshot_id.clone()).collect()
}

impl World {
    async fn group(
        &mut self,
        request: CreateVolumeGroupSnapshotRequest,
    ) -> Result<VolumeGroupSnapshot, Status> {
        Ok(self.group.create_volume_group_snapshot(request).await?.into_inner().group_snapshot.unwrap())
    }

    async fn get_group(&mut self, id: &str, snapshots: &[String]) -> Result<VolumeGroupSnapshot, Status> {
        let request = GetVolumeGroupSnapshotRequest {
            group_snapshot_id: id.to_owned(),
            snapshot_ids: snapshots.to_vec(),
            ..Default::default()
        };
        Ok(self.group.get_volume_group_snapshot(request).await?.into_inner().group_snapshot.unwrap())
    }

    async fn delete_group(&mut self, id: &str, snapshots: &[String]) -> Result<(), Status> {
        let request = DeleteVolumeGroupSnapshotRequest {
            group_snapshot_id: id.to_owned(),
            snapshot_ids: snapshots.to_vec(),
            ..Default::default()
        };
        self.group.delete_volume_group_snapshot(request).await.map(drop)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_volumes_are_had_again_as_they_were_at_one_moment() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let answer =
        world.group.group_controller_get_capabilities(GroupControllerGetCapabilitiesRequest {}).await;
    let claimed = answer.unwrap().into_inner().capabilities;
    let Some(Type::Rpc(claimed)) = claimed[0].r#type else { panic!("{claimed:?}") };
    assert_eq!(claimed.r#type(), rpc::Type::CreateDeleteGetVolumeGroupSnapshot);

    let [data, log] = [world.make("data").await.volume_id, world.make("log").await.volume_id];
    let request = CreateVolumeRequest {
        volume_capabilities: vec![block(Mode::SingleNodeMultiWriter)],
        ..volume("disk")
    };
    let disk = world.create(request).await.unwrap().volume_id;
    let target = world.have(&data, "pod").await;
    fs::write(target.join("file"), "first").unwrap();
    // One is in use, one is not, and one is a block device.
    let made = world.group(take("Nightly", &[&log, &data, &disk])).await.unwrap();
    assert!(made.ready_to_use && made.creation_time.is_some());
    let mut sources: Vec<_> = made.snapshots.iter().map(|one| one.source_volume_id.clone()).collect();
    sources.sort();
    let mut wanted = [data.clone(), log.clone(), disk.clone()];
    wanted.sort();
    assert_eq!(sources, wanted);
    for snapshot in &made.snapshots {
        assert_eq!(snapshot.group_snapshot_id, made.group_snapshot_id);
        assert!(snapshot.ready_to_use && snapshot.creation_time == made.creation_time);
    }
    fs::write(target.join("file"), "second").unwrap();

    // Asked again, in any order, it is the same one; of others it is not.
    assert_eq!(world.group(take("Nightly", &[&disk, &log, &data])).await.unwrap(), made);
    assert_eq!(code(world.group(take("Nightly", &[&log, &data])).await), Code::AlreadyExists);
    // Of those and of more: what is missing may be in a pool that is not here.
    let more = world.make("more").await.volume_id;
    let (code_, message) = refused(world.group(take("Nightly", &[&log, &data, &disk, &more])).await);
    assert_eq!(code_, Code::AlreadyExists);
    assert!(message.contains("pool"), "{message}");
    world.restart().await;
    assert_eq!(world.group(take("Nightly", &[&data, &log, &disk])).await.unwrap(), made);

    // Each is listed with its group, and can be had alone.
    let list = world.controller.list_snapshots(ListSnapshotsRequest::default()).await.unwrap().into_inner();
    let listed: Vec<_> = list.entries.into_iter().map(|entry| entry.snapshot.unwrap()).collect();
    assert_eq!(listed, made.snapshots);
    let of_data = made.snapshots.iter().find(|one| one.source_volume_id == data).unwrap();
    let get = GetSnapshotRequest { snapshot_id: of_data.snapshot_id.clone(), ..Default::default() };
    let found = world.controller.get_snapshot(get).await.unwrap().into_inner().snapshot;
    assert_eq!(found.as_ref(), Some(of_data));
    let source = of_snapshot(&of_data.snapshot_id);
    let restored =
        world.create(CreateVolumeRequest { volume_content_source: source, ..volume("restored") }).await;
    let restored = restored.unwrap().volume_id;
    let there = world.have(&restored, "other").await;
    assert_eq!(fs::read_to_string(there.join("file")).unwrap(), "first");

    // It goes as a whole.
    let alone = DeleteSnapshotRequest { snapshot_id: of_data.snapshot_id.clone(), ..Default::default() };
    assert_eq!(code(world.controller.delete_snapshot(alone.clone()).await), Code::InvalidArgument);
    let (group, all) = (made.group_snapshot_id.clone(), ids(&made));
    assert_eq!(world.get_group(&group, &all).await.unwrap(), made);
    for _ in 0..2 {
        world.delete_group(&group, &all).await.unwrap();
    }
    assert_eq!(code(world.get_group(&group, &all).await), Code::NotFound);
    world.controller.delete_snapshot(alone).await.unwrap();
    let list = world.controller.list_snapshots(ListSnapshotsRequest::default()).await.unwrap().into_inner();
    assert!(list.entries.is_empty());
    world.destroy(&restored, "other").await;
    world.destroy(&data, "pod").await;
    world.assert_nothing_mounted();
}

/// What a controller that lost track would name.
#[tokio::test(flavor = "multi_thread")]
async fn the_snapshots_of_a_group_are_named_as_they_are() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let [a, b] = [world.make("a").await.volume_id, world.make("b").await.volume_id];
    let made = world.group(take("one", &[&a, &b])).await.unwrap();
    let other = world.group(take("two", &[&a, &b])).await.unwrap();
    let (all, others) = (ids(&made), ids(&other));
    let none = "01936f2e-6c3a-7c5b-8d1e-2f3a4b5c6d7e".to_owned();
    let mixed = vec![all[0].clone(), all[1].clone(), others[0].clone()];
    for wrong in [vec![], vec![all[0].clone()], others.clone(), mixed, vec!["x".to_owned(), all[0].clone()]] {
        assert_eq!(code(world.get_group(&made.group_snapshot_id, &wrong).await), Code::InvalidArgument);
        assert_eq!(code(world.delete_group(&made.group_snapshot_id, &wrong).await), Code::InvalidArgument);
    }
    let turned = [all[1].clone(), all[0].clone()];
    assert_eq!(world.get_group(&made.group_snapshot_id, &turned).await.unwrap(), made);
    // One that is nowhere may be in a pool that is not here: half a group is not ready, and can go.
    let more = vec![all[1].clone(), none.clone(), all[0].clone()];
    let (code_, message) = refused(world.get_group(&made.group_snapshot_id, &more).await);
    assert_eq!(code_, Code::InvalidArgument);
    assert!(message.contains("is not in group") && message.contains("pool"), "{message}");
    world.delete_group(&made.group_snapshot_id, &more).await.unwrap();
    world.delete_group(&none, &[]).await.unwrap();
    world.delete_group(&other.group_snapshot_id, &others).await.unwrap();
}

/// The same request at the same time is one group.
#[tokio::test(flavor = "multi_thread")]
async fn asked_by_many_at_once_it_is_made_once() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let [a, b] = [world.make("a").await.volume_id, world.make("b").await.volume_id];
    world.have(&a, "pod").await;
    let mut asked = tokio::task::JoinSet::new();
    for turn in 0..8 {
        let mut client = world.group.clone();
        let request = if turn % 2 == 0 { take("one", &[&a, &b]) } else { take("one", &[&b, &a]) };
        asked.spawn(async move { client.create_volume_group_snapshot(request).await });
    }
    let mut groups = std::collections::BTreeSet::new();
    while let Some(answer) = asked.join_next().await {
        match answer.unwrap() {
            Ok(made) => drop(groups.insert(made.into_inner().group_snapshot.unwrap().group_snapshot_id)),
            Err(status) => assert_eq!(status.code(), Code::Aborted, "{status}"),
        }
    }
    assert_eq!(groups.len(), 1, "{groups:?}");
    assert_eq!(world.engine().snapshots(&ROOT, &Default::default()).unwrap().items.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_the_names_of_its_cluster() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let [a, b] = [world.make("a").await.volume_id, world.make("b").await.volume_id];
    let request = CreateVolumeGroupSnapshotRequest {
        parameters: map(&[
            ("csi.storage.k8s.io/volumegroupsnapshot/name", "nightly"),
            ("csi.storage.k8s.io/volumegroupsnapshot/namespace", "shop"),
            ("csi.storage.k8s.io/volumegroupsnapshotcontent/name", "groupsnapcontent-1"),
        ]),
        ..take("groupsnapshot-01936f2e-6c3a-7c5b-8d1e-2f3a4b5c6d7e", &[&a, &b])
    };
    world.group(request).await.unwrap();
    let found = world.engine().snapshots(&ROOT, &Default::default()).unwrap().items;
    let names: Vec<_> = found.iter().map(|one| one.manifest.name.as_str()).collect();
    assert_eq!(names, ["nightly-a", "nightly-b"]);
    for snapshot in &found {
        assert_eq!(snapshot.status.group.as_ref().unwrap().name.as_str(), "nightly");
        assert_eq!(snapshot.manifest.tags, ["volumegroupsnapshot:shop/nightly"]);
    }
    // Without them it is called like the request.
    let plain = world.group(take("groupsnapshot-01936f2e-6c3a-7c5b-8d1e-2f3a4b5c6d7f", &[&a, &b])).await;
    assert!(plain.unwrap().ready_to_use);
}
