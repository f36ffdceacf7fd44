//! Volumes that are had as block devices, from their making to their end.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom},
    os::unix::fs::{FileExt, FileTypeExt},
    path::Path,
    process::Command,
};

use orlop_csi::protocol::{volume_capability::access_mode::Mode, volume_usage::Unit, *};
use orlop_model::{AccessMode, VolumeMode};
use orlop_testkit::{Part, mounts, require, run};
use tonic::Code;

use crate::harness::*;

const MANY: Mode = Mode::SingleNodeMultiWriter;

fn disk(name: &str) -> CreateVolumeRequest {
    CreateVolumeRequest { volume_capabilities: vec![block(MANY)], ..volume(name) }
}

fn length(device: &Path) -> i64 {
    let end = File::open(device).unwrap().seek(SeekFrom::End(0)).unwrap();
    i64::try_from(end).unwrap()
}

fn write(device: &Path, at: i64, word: &str) -> std::io::Result<()> {
    let file = File::options().write(true).open(device)?;
    file.write_all_at(word.as_bytes(), u64::try_from(at).unwrap())?;
    file.sync_all()
}

fn read(device: &Path, at: i64, length: usize) -> String {
    let mut found = vec![0; length];
    File::open(device).unwrap().read_exact_at(&mut found, u64::try_from(at).unwrap()).unwrap();
    String::from_utf8_lossy(&found).into_owned()
}

impl World {
    async fn release(&mut self, id: &str, pod: &str) {
        let device = self.device(pod);
        self.unpublish_at(id, device).await.unwrap();
    }

    async fn statistics(&mut self, id: &str, path: &Path) -> NodeGetVolumeStatsResponse {
        let request = NodeGetVolumeStatsRequest {
            volume_id: id.to_owned(),
            volume_path: path.to_str().unwrap().to_owned(),
            ..Default::default()
        };
        self.node.node_get_volume_stats(request).await.unwrap().into_inner()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_life_with_every_call_repeated_and_the_driver_ended_after_each() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let capability = block(MANY);
    let made = world.create(disk("data")).await.unwrap();
    assert_eq!(made.capacity_bytes, 20 * MIB);
    let id = made.volume_id.as_str();
    world.restart().await;
    assert_eq!(world.create(disk("data")).await.unwrap(), made);
    assert_eq!(world.resource(id).unwrap().manifest.volume.volume_mode, VolumeMode::Block);

    world.stage(id, &capability).await.unwrap();
    world.restart().await;
    world.stage(id, &capability).await.unwrap();
    let one = world.publish(id, "one", &capability).await.unwrap();
    world.restart().await;
    assert_eq!(world.publish(id, "one", &capability).await.unwrap(), one);
    assert!(fs::metadata(&one).unwrap().file_type().is_block_device());
    write(&one, 0, "cargo").unwrap();
    let two = world.publish(id, "two", &capability).await.unwrap();
    world.restart().await;
    assert_eq!((read(&two, 0, 5).as_str(), length(&two)), ("cargo", 20 * MIB));
    write(&two, 20 * MIB - 4096, "aft").unwrap();
    assert_eq!(read(&one, 20 * MIB - 4096, 3), "aft");
    let consumers: Vec<_> =
        world.resource(id).unwrap().status.attachments.iter().map(|had| had.consumer.clone()).collect();
    assert!(consumers.contains(&"pod one".to_owned()) && consumers.len() == 3, "{consumers:?}");

    // What of it is used is not for us to say.
    let staging = world.staging(id);
    for path in [one.as_path(), Path::new(&staging)] {
        let NodeGetVolumeStatsResponse { usage, volume_condition } = world.statistics(id, path).await;
        let [bytes] = &usage[..] else { panic!("{usage:?}") };
        let seen = (bytes.unit(), bytes.total, bytes.available, bytes.used);
        assert_eq!(seen, (Unit::Bytes, 20 * MIB, 0, 0));
        assert!(!volume_condition.unwrap().abnormal);
    }
    // The kubelet mounts the device once more at a path of its own, and asks for that one.
    let again = world.device("again");
    fs::write(&again, "").unwrap();
    run(Command::new("mount").arg("--bind").arg(&one).arg(&again)).ok();
    let seen = world.statistics(id, Path::new(&again)).await;
    assert_eq!(seen.usage[0].total, 20 * MIB);
    assert!(!seen.volume_condition.unwrap().abnormal);
    run(Command::new("umount").arg(&again)).ok();
    let request = NodeGetVolumeStatsRequest {
        volume_id: id.to_owned(),
        volume_path: again.clone(),
        ..Default::default()
    };
    assert_eq!(code(world.node.node_get_volume_stats(request).await), Code::NotFound);
    fs::remove_file(again).unwrap();
    assert_eq!(code(world.delete(id).await), Code::FailedPrecondition);
    assert_eq!(code(world.unstage(id).await), Code::FailedPrecondition);

    for _ in 0..2 {
        world.release(id, "one").await;
        world.restart().await;
    }
    assert!(!one.exists() && read(&two, 0, 5) == "cargo");
    for _ in 0..2 {
        world.release(id, "two").await;
        world.restart().await;
    }
    for _ in 0..2 {
        world.unstage(id).await.unwrap();
        world.restart().await;
    }
    world.assert_nothing_mounted();
    // Staged by nobody's call, it is so by the first that publishes.
    let one = world.publish(id, "one", &capability).await.unwrap();
    assert_eq!(read(&one, 0, 5), "cargo");
    world.release(id, "one").await;
    world.unstage(id).await.unwrap();
    for _ in 0..2 {
        world.delete(id).await.unwrap();
        world.restart().await;
    }
    assert!(world.resource(id).is_err());
    world.assert_nothing_mounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reboot_of_the_node_it_is_published_anew() {
    require!(Part::Loop, Part::Sqlite3);
    let mut world = World::new().await;
    let id = world.create(disk("data")).await.unwrap().volume_id;
    let capability = block(MANY);
    world.stage(&id, &capability).await.unwrap();
    for pod in ["one", "two"] {
        let device = world.publish(&id, pod, &capability).await.unwrap();
        write(&device, 0, "cargo").unwrap();
    }
    world.reboot().await;
    assert_eq!(mounts::loops_below(world.root()), []);
    // The kubelet knows what was staged, and publishes; the file of before is still there.
    let one = world.publish(&id, "one", &capability).await.unwrap();
    assert_eq!(read(&one, 0, 5), "cargo");
    // Of a pod that is gone it only cleans up.
    world.release(&id, "two").await;
    assert!(!Path::new(&world.device("two")).exists());
    world.release(&id, "one").await;
    world.unstage(&id).await.unwrap();
    world.delete(&id).await.unwrap();
    world.assert_nothing_mounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_grows_under_who_has_it_open() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let id = world.create(disk("data")).await.unwrap().volume_id;
    let capability = block(MANY);
    world.stage(&id, &capability).await.unwrap();
    let device = world.publish(&id, "pod", &capability).await.unwrap();
    let mut held = File::options().read(true).write(true).open(&device).unwrap();
    let size = |bytes| Some(CapacityRange { required_bytes: bytes, limit_bytes: 0 });
    for _ in 0..2 {
        let request = ControllerExpandVolumeRequest {
            volume_id: id.clone(),
            capacity_range: size(40 * MIB),
            volume_capability: Some(capability.clone()),
            ..Default::default()
        };
        let answer = world.controller.controller_expand_volume(request).await.unwrap().into_inner();
        assert_eq!((answer.capacity_bytes, answer.node_expansion_required), (40 * MIB, false));
    }
    assert_eq!(held.seek(SeekFrom::End(0)).unwrap(), 40 << 20);
    world.restart().await;
    for path in [device.to_str().unwrap().to_owned(), world.staging(&id)] {
        let request = NodeExpandVolumeRequest {
            volume_id: id.clone(),
            volume_path: path,
            capacity_range: size(60 * MIB),
            volume_capability: Some(capability.clone()),
            ..Default::default()
        };
        let answer = world.node.node_expand_volume(request).await.unwrap().into_inner();
        assert_eq!(answer.capacity_bytes, 60 * MIB);
    }
    assert_eq!(held.seek(SeekFrom::End(0)).unwrap(), 60 << 20);
    held.write_all_at(b"aft", (60 << 20) - 4096).unwrap();
    held.sync_all().unwrap();
    assert_eq!(world.statistics(&id, &device).await.usage[0].total, 60 * MIB);
    drop(held);
    world.release(&id, "pod").await;
    world.unstage(&id).await.unwrap();
    // Whom nobody has grows too.
    let request = ControllerExpandVolumeRequest {
        volume_id: id.clone(),
        capacity_range: size(64 * MIB + 1),
        ..Default::default()
    };
    let answer = world.controller.controller_expand_volume(request).await.unwrap().into_inner();
    assert_eq!(answer.capacity_bytes, 64 * MIB + 4096);
    let device = world.publish(&id, "pod", &capability).await.unwrap();
    assert_eq!((length(&device), read(&device, 60 * MIB - 4096, 3)), (64 * MIB + 4096, "aft".to_owned()));
    world.release(&id, "pod").await;
    world.unstage(&id).await.unwrap();
    world.delete(&id).await.unwrap();
    world.assert_nothing_mounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_clones_and_restores_are_devices() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let id = world.create(disk("data")).await.unwrap().volume_id;
    let capability = block(MANY);
    world.stage(&id, &capability).await.unwrap();
    let device = world.publish(&id, "pod", &capability).await.unwrap();
    write(&device, 0, "first").unwrap();
    let request = CreateSnapshotRequest {
        name: "before".to_owned(),
        source_volume_id: id.clone(),
        ..Default::default()
    };
    let taken = world.controller.create_snapshot(request).await.unwrap().into_inner().snapshot.unwrap();
    assert_eq!((taken.size_bytes, taken.ready_to_use), (20 * MIB, true));
    write(&device, 0, "later").unwrap();
    world.restart().await;

    let larger = Some(CapacityRange { required_bytes: 30 * MIB, limit_bytes: 0 });
    let restored = CreateVolumeRequest {
        volume_content_source: of_snapshot(&taken.snapshot_id),
        capacity_range: larger,
        ..disk("restored")
    };
    let cloned = CreateVolumeRequest { volume_content_source: of_volume(&id), ..disk("cloned") };
    for (request, size, word) in [(restored, 30 * MIB, "first"), (cloned, 20 * MIB, "later")] {
        let made = world.create(request.clone()).await.unwrap();
        assert_eq!((made.capacity_bytes, &made.content_source), (size, &request.volume_content_source));
        let name = request.name.clone();
        world.stage(&made.volume_id, &capability).await.unwrap();
        let copy = world.publish(&made.volume_id, &name, &capability).await.unwrap();
        assert_eq!((read(&copy, 0, 5).as_str(), length(&copy)), (word, size));
        write(&copy, 0, "other").unwrap();
        world.release(&made.volume_id, &name).await;
        world.unstage(&made.volume_id).await.unwrap();
        world.delete(&made.volume_id).await.unwrap();
        // Nothing made of a block device is ever mounted.
        let mounted = CreateVolumeRequest { volume_capabilities: vec![mount(MANY)], ..request };
        assert_eq!(code(world.create(mounted).await), Code::InvalidArgument);
    }
    assert_eq!(read(&device, 0, 5), "later");
    world.release(&id, "pod").await;
    world.unstage(&id).await.unwrap();
    world.delete(&id).await.unwrap();
    let request = DeleteSnapshotRequest { snapshot_id: taken.snapshot_id, ..Default::default() };
    world.controller.delete_snapshot(request).await.unwrap();
    world.assert_nothing_mounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_have_it_write_or_all_read_and_one_can_have_it_alone() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let id = world.create(disk("data")).await.unwrap().volume_id;
    let (capability, readers) = (block(MANY), block(Mode::SingleNodeReaderOnly));
    world.stage(&id, &capability).await.unwrap();
    let device = world.publish(&id, "writer", &capability).await.unwrap();
    write(&device, 0, "cargo").unwrap();
    let (code_, message) = refused(world.publish(&id, "reader", &readers).await);
    assert_eq!(code_, Code::FailedPrecondition);
    assert!(message.contains("pod writer"), "{message}");
    world.release(&id, "writer").await;
    let mut targets = Vec::new();
    for pod in ["one", "two"] {
        targets.push(world.publish(&id, pod, &readers).await.unwrap());
    }
    for target in &targets {
        assert_eq!(read(target, 0, 5), "cargo");
        assert!(write(target, 0, "never").is_err());
    }
    assert_eq!(code(world.publish(&id, "writer", &capability).await), Code::FailedPrecondition);
    for pod in ["one", "two"] {
        world.release(&id, pod).await;
    }
    let device = world.publish(&id, "writer", &capability).await.unwrap();
    write(&device, 0, "again").unwrap();
    world.release(&id, "writer").await;
    world.unstage(&id).await.unwrap();
    world.delete(&id).await.unwrap();

    let alone = block(Mode::SingleNodeSingleWriter);
    let request = CreateVolumeRequest { volume_capabilities: vec![alone.clone()], ..disk("alone") };
    let id = world.create(request).await.unwrap().volume_id;
    assert_eq!(world.resource(&id).unwrap().manifest.volume.access_mode, AccessMode::ReadWriteOncePod);
    world.stage(&id, &alone).await.unwrap();
    world.publish(&id, "one", &alone).await.unwrap();
    assert_eq!(code(world.publish(&id, "two", &alone).await), Code::FailedPrecondition);
    world.release(&id, "one").await;
    world.publish(&id, "two", &alone).await.unwrap();
    world.release(&id, "two").await;
    world.unstage(&id).await.unwrap();
    world.delete(&id).await.unwrap();
    world.assert_nothing_mounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_of_filesystems_makes_it_too_and_there_is_as_much_room_as_is_said() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let class = map(&[
        ("type", "temp"),
        ("filesystem", "xfs"),
        ("mountOptions", "noatime"),
        ("uid", "1000"),
        ("gid", "1000"),
        ("mode", "0770"),
        ("csi.storage.k8s.io/fstype", "xfs"),
    ]);
    let asked = GetCapacityRequest {
        volume_capabilities: vec![block(MANY)],
        parameters: class.clone(),
        ..Default::default()
    };
    let room = world.controller.get_capacity(asked.clone()).await.unwrap().into_inner();
    assert_eq!(room.minimum_volume_size, Some(16 * MIB), "no filesystem of a least size");
    assert_eq!(room.available_capacity % 4096, 0);
    let all = room.maximum_volume_size.unwrap();
    // The store is on the same disk, and takes some of it meanwhile.
    let (fits, more) = (all - 16 * MIB, all + 16 * MIB);
    let sized = |name: &str, bytes| CreateVolumeRequest {
        capacity_range: Some(CapacityRange { required_bytes: bytes, limit_bytes: bytes }),
        parameters: class.clone(),
        ..disk(name)
    };
    assert_eq!(code(world.create(sized("more", more)).await), Code::ResourceExhausted);
    let made = world.create(sized("all", fits)).await.unwrap();
    assert_eq!(world.create(sized("all", fits)).await.unwrap(), made);
    let none = world.controller.get_capacity(asked.clone()).await.unwrap().into_inner();
    assert!(none.available_capacity <= 16 * MIB, "{none:?}");
    world.delete(&made.volume_id).await.unwrap();
    let least = world.create(sized("least", 16 * MIB)).await.unwrap();
    world.delete(&least.volume_id).await.unwrap();
    // What no volume is, has no room; and CreateVolume refuses it.
    for capabilities in [vec![block(MANY), mount(MANY)], vec![block(Mode::MultiNodeMultiWriter)]] {
        let asked = GetCapacityRequest { volume_capabilities: capabilities.clone(), ..asked.clone() };
        assert_eq!(world.controller.get_capacity(asked).await.unwrap().into_inner().available_capacity, 0);
        let request = CreateVolumeRequest { volume_capabilities: capabilities, ..sized("none", 16 * MIB) };
        assert_eq!(code(world.create(request).await), Code::InvalidArgument);
    }
}
