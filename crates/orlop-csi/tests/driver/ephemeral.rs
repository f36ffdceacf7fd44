//! Volumes that are written into a pod.

use std::{collections::BTreeMap, fs, path::PathBuf};

use orlop_csi::protocol::{volume_capability::access_mode::Mode, *};
use orlop_model::resource::Volume as Resource;
use orlop_testkit::{Part, require};
use tonic::Code;

use crate::harness::*;

/// As a kubelet makes it up.
const ID: &str = "csi-9b1f7c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8b";

fn context(attributes: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut context = map(&[
        ("csi.storage.k8s.io/ephemeral", "true"),
        ("csi.storage.k8s.io/pod.name", "worker"),
        ("csi.storage.k8s.io/pod.namespace", "batch"),
        ("csi.storage.k8s.io/pod.uid", "1234"),
        ("csi.storage.k8s.io/serviceAccount.name", "default"),
    ]);
    context.extend(map(attributes));
    context
}

impl World {
    fn inline(&self, attributes: &[(&str, &str)]) -> NodePublishVolumeRequest {
        NodePublishVolumeRequest {
            staging_target_path: String::new(),
            volume_context: context(attributes),
            ..self.publishing(ID, "worker", &mount(Mode::SingleNodeWriter))
        }
    }

    fn all(&self) -> Vec<Resource> {
        self.engine().volumes(&ROOT, &Default::default()).unwrap().items
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_and_goes_with_its_pod() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let request = world.inline(&[("size", "24Mi"), ("mode", "0777")]);
    let target = PathBuf::from(&request.target_path);
    for _ in 0..2 {
        world.node.node_publish_volume(request.clone()).await.unwrap();
    }
    fs::write(target.join("file"), "cargo").unwrap();
    let [made] = &world.all()[..] else { panic!("one is made: {:?}", world.all()) };
    assert_eq!((made.workspace.as_str(), made.manifest.name.as_str()), ("batch", "worker"));
    assert_eq!(made.manifest.volume.size.bytes(), 24 << 20);
    assert!(made.status.ephemeral);
    assert_eq!(made.status.attachments[0].consumer, "pod batch/worker");
    let stats = NodeGetVolumeStatsRequest {
        volume_id: ID.to_owned(),
        volume_path: request.target_path.clone(),
        ..Default::default()
    };
    assert_eq!(world.node.node_get_volume_stats(stats).await.unwrap().into_inner().usage.len(), 2);
    for _ in 0..2 {
        world.unpublish(ID, "worker").await.unwrap();
    }
    assert!(!target.exists());
    assert_eq!(world.all(), []);
    world.assert_nothing_mounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_published_is_not_left_behind() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let mut request = world.inline(&[]);
    request.target_path = world.kubelet("nowhere") + "/a/b/mount";
    assert_eq!(code(world.node.node_publish_volume(request).await), Code::InvalidArgument);
    assert_eq!(world.all(), []);
    for (attributes, field) in [
        (&[("pool", "default")][..], "volume_context.pool"),
        (&[("type", "persistent")], "volume_context.type"),
        (&[("size", "many")], "volume_context.size"),
    ] {
        let (code_, message) = refused(world.node.node_publish_volume(world.inline(attributes)).await);
        assert_eq!(code_, Code::InvalidArgument);
        assert!(message.contains(field), "{message}");
    }
    let mut block_device = world.inline(&[]);
    block_device.volume_capability = Some(mount(Mode::MultiNodeMultiWriter));
    assert_eq!(code(world.node.node_publish_volume(block_device).await), Code::InvalidArgument);
    assert_eq!(world.all(), []);
    // Made by a driver that ended before it published.
    world.node.node_publish_volume(world.inline(&[])).await.unwrap();
    let id = world.all()[0].status.id;
    let target = PathBuf::from(world.target("worker"));
    world.engine().unpublish(&CSI, id, &target, std::time::Duration::from_secs(5)).unwrap();
    assert_eq!(world.all().len(), 1);
    let mut request = world.inline(&[]);
    request.target_path = world.kubelet("nowhere") + "/a/b/mount";
    assert_eq!(code(world.node.node_publish_volume(request.clone()).await), Code::InvalidArgument);
    assert_eq!(world.all(), []);
    // What its pod has stays where another path can't be had.
    world.node.node_publish_volume(world.inline(&[])).await.unwrap();
    assert_eq!(code(world.node.node_publish_volume(request).await), Code::InvalidArgument);
    assert_eq!(world.all().len(), 1);
    world.unpublish(ID, "worker").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_crashed_still_takes_it_away() {
    require!(Part::Loop);
    let mut world = World::new().await;
    world.node.node_publish_volume(world.inline(&[])).await.unwrap();
    world.restart().await;
    world.unpublish(ID, "worker").await.unwrap();
    assert_eq!(world.all(), []);
    world.assert_nothing_mounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pod_wrote_stays_where_it_can_not_be_published_at_once_after_a_reboot() {
    require!(Part::Loop, Part::Sqlite3);
    let mut world = World::new().await;
    let target = PathBuf::from(world.target("worker"));
    world.node.node_publish_volume(world.inline(&[])).await.unwrap();
    fs::write(target.join("file"), "cargo").unwrap();
    world.reboot().await;
    fs::write(target.join("beside"), "").unwrap();
    assert_eq!(code(world.node.node_publish_volume(world.inline(&[])).await), Code::InvalidArgument);
    fs::remove_file(target.join("beside")).unwrap();
    world.node.node_publish_volume(world.inline(&[])).await.unwrap();
    assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "cargo");
    world.unpublish(ID, "worker").await.unwrap();
    assert_eq!(world.all(), []);
}

/// The name that a claim's volume was asked for by is no id of one.
#[tokio::test(flavor = "multi_thread")]
async fn the_volume_of_a_claim_is_no_pods() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let id = world.make(ID).await.volume_id;
    let target = world.have(&id, "worker").await;
    world.unpublish(ID, "worker").await.unwrap();
    assert!(target.join(".").exists() && world.resource(&id).is_ok());
    assert_eq!(code(world.node.node_publish_volume(world.inline(&[])).await), Code::AlreadyExists);
    assert_eq!(world.all().len(), 1);
    world.destroy(&id, "worker").await;
}
