//! Snapshots, and volumes made from them and from volumes.

use std::{collections::BTreeSet, fs};

use orlop_csi::protocol::*;
use orlop_testkit::{Part, require};
use tonic::Code;

use crate::harness::*;

fn take(name: &str, volume: &str) -> CreateSnapshotRequest {
    CreateSnapshotRequest { name: name.to_owned(), source_volume_id: volume.to_owned(), ..Default::default() }
}

impl World {
    async fn take(&mut self, name: &str, volume: &str) -> Snapshot {
        self.controller.create_snapshot(take(name, volume)).await.unwrap().into_inner().snapshot.unwrap()
    }

    async fn snapshots(&mut self, change: impl FnOnce(&mut ListSnapshotsRequest)) -> (Vec<String>, String) {
        let mut request = ListSnapshotsRequest::default();
        change(&mut request);
        let answer = self.controller.list_snapshots(request).await.unwrap().into_inner();
        let ids = answer.entries.into_iter().map(|entry| entry.snapshot.unwrap().snapshot_id);
        (ids.collect(), answer.next_token)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_is_had_again_in_any_size() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let id = world.make("data").await.volume_id;
    let target = world.have(&id, "pod").await;
    fs::write(target.join("file"), "first").unwrap();
    let snapshot = world.take("snap", &id).await;
    assert!(snapshot.ready_to_use && snapshot.creation_time.is_some());
    assert_eq!((snapshot.source_volume_id.as_str(), snapshot.size_bytes), (id.as_str(), 20 * MIB));
    assert_eq!(world.take("snap", &id).await, snapshot);
    let other = world.make("other").await.volume_id;
    assert_eq!(code(world.controller.create_snapshot(take("snap", &other)).await), Code::AlreadyExists);
    fs::write(target.join("file"), "second").unwrap();

    let from = |name: &str, source, mib: i64| CreateVolumeRequest {
        volume_content_source: source,
        capacity_range: Some(CapacityRange { required_bytes: mib * MIB, limit_bytes: 0 }),
        ..volume(name)
    };
    for (name, source, mib, content) in [
        ("restored", of_snapshot(&snapshot.snapshot_id), 20, "first"),
        ("larger", of_snapshot(&snapshot.snapshot_id), 100, "first"),
        ("clone", of_volume(&id), 40, "second"),
    ] {
        let made = world.create(from(name, source.clone(), mib)).await.unwrap();
        assert_eq!((made.capacity_bytes, &made.content_source), (mib * MIB, &source));
        assert_eq!(world.create(from(name, source, mib)).await.unwrap(), made);
        let target = world.have(&made.volume_id, name).await;
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), content);
        assert!(capacity(&target) > u64::try_from(mib * MIB * 7 / 10).unwrap());
        world.destroy(&made.volume_id, name).await;
    }
    let small = from("small", of_volume(&id), 19);
    assert_eq!(code(world.create(small).await), Code::OutOfRange);
    world.make("plain").await;
    assert_eq!(code(world.create(from("plain", of_volume(&id), 20)).await), Code::AlreadyExists);
    let gone = "01936f2e-6c3a-7c5b-8d1e-2f3a4b5c6d7e";
    for source in [of_volume(gone), of_snapshot(gone), of_volume("x"), of_snapshot("x")] {
        assert_eq!(code(world.create(from("gone", source, 20)).await), Code::NotFound);
    }

    // It outlives its volume.
    world.destroy(&id, "pod").await;
    let get = GetSnapshotRequest { snapshot_id: snapshot.snapshot_id.clone(), ..Default::default() };
    let found = world.controller.get_snapshot(get.clone()).await.unwrap().into_inner().snapshot.unwrap();
    assert_eq!(found, snapshot);
    // Who missed the answer asks again, and may never hear that the volume is gone.
    assert_eq!(world.take("snap", &id).await, snapshot);
    assert_eq!(code(world.controller.create_snapshot(take("another", &id)).await), Code::NotFound);
    let late = world.create(from("late", of_snapshot(&snapshot.snapshot_id), 20)).await.unwrap();
    let delete = DeleteSnapshotRequest { snapshot_id: snapshot.snapshot_id.clone(), ..Default::default() };
    for _ in 0..2 {
        world.controller.delete_snapshot(delete.clone()).await.unwrap();
    }
    assert_eq!(code(world.controller.get_snapshot(get).await), Code::NotFound);
    let target = world.have(&late.volume_id, "late").await;
    assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "first");
    world.destroy(&late.volume_id, "late").await;
    world.assert_nothing_mounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_where_they_were() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let (one, two) = (world.make("one").await.volume_id, world.make("two").await.volume_id);
    let mut made = Vec::new();
    for index in 0..5 {
        let of = if index % 2 == 0 { &one } else { &two };
        made.push(world.take(&format!("snap-{index}"), of).await.snapshot_id);
    }
    assert_eq!(world.snapshots(|_| ()).await, (made.clone(), String::new()));
    assert_eq!(
        world.snapshots(|list| list.source_volume_id = two.clone()).await.0,
        [made[1].clone(), made[3].clone()]
    );
    assert_eq!(world.snapshots(|list| list.snapshot_id = made[2].clone()).await.0, [made[2].clone()]);
    let both = world.snapshots(|list| {
        list.snapshot_id = made[2].clone();
        list.source_volume_id = two.clone();
    });
    assert_eq!(both.await.0, [""; 0]);
    for unknown in ["x", "01936f2e-6c3a-7c5b-8d1e-2f3a4b5c6d7e"] {
        assert_eq!(world.snapshots(|list| list.snapshot_id = unknown.to_owned()).await.0, [""; 0]);
        assert_eq!(world.snapshots(|list| list.source_volume_id = unknown.to_owned()).await.0, [""; 0]);
    }
    let (first, token) = world.snapshots(|list| list.max_entries = 2).await;
    assert_eq!(first, made[..2]);
    // The last of the page goes, and a new one comes.
    let delete = DeleteSnapshotRequest { snapshot_id: made[1].clone(), ..Default::default() };
    world.controller.delete_snapshot(delete).await.unwrap();
    made.push(world.take("snap-5", &one).await.snapshot_id);
    let (rest, end) = world.snapshots(|list| list.starting_token = token).await;
    assert_eq!((rest, end.as_str()), (made[2..].to_vec(), ""));
    let wrong = ListSnapshotsRequest { starting_token: "public.snap-1".to_owned(), ..Default::default() };
    assert_eq!(code(world.controller.list_snapshots(wrong).await), Code::Aborted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_known_by_its_own_name() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let id = world.make("data").await.volume_id;
    let named = |name: &str| CreateSnapshotRequest {
        parameters: map(&[
            ("csi.storage.k8s.io/volumesnapshot/name", "nightly"),
            ("csi.storage.k8s.io/volumesnapshot/namespace", "shop"),
            ("csi.storage.k8s.io/volumesnapshotcontent/name", "snapcontent-1"),
        ]),
        ..take(name, &id)
    };
    for name in ["snapshot-1", "snapshot-2"] {
        world.controller.create_snapshot(named(name)).await.unwrap();
    }
    let found = world.engine().snapshots(&ROOT, &Default::default()).unwrap().items;
    let names: BTreeSet<_> = found.iter().map(|snapshot| snapshot.manifest.name.to_string()).collect();
    assert!(names.contains("nightly") && names.iter().all(|name| name.starts_with("nightly")), "{names:?}");
    assert!(found.iter().all(|snapshot| snapshot.manifest.tags == ["volumesnapshot:shop/nightly"]));
    let wrong = CreateSnapshotRequest { parameters: map(&[("a", "b")]), ..take("snapshot-3", &id) };
    assert_eq!(code(world.controller.create_snapshot(wrong).await), Code::InvalidArgument);
}
