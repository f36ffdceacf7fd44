//! Who may have a volume at the same time, and as what.

use std::{fs, os::unix::fs::MetadataExt};

use orlop_csi::protocol::{
    volume_capability::{AccessType, MountVolume, access_mode::Mode},
    *,
};
use orlop_model::AccessMode;
use orlop_testkit::{Part, require};
use tonic::Code;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn one_pod_alone_or_all_of_the_node() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let alone = mount(Mode::SingleNodeSingleWriter);
    let request = CreateVolumeRequest { volume_capabilities: vec![alone.clone()], ..volume("alone") };
    let id = world.create(request).await.unwrap().volume_id;
    assert_eq!(world.resource(&id).unwrap().manifest.volume.access_mode, AccessMode::ReadWriteOncePod);
    world.stage(&id, &alone).await.unwrap();
    world.publish(&id, "one", &alone).await.unwrap();
    let (code_, message) = refused(world.publish(&id, "two", &alone).await);
    assert_eq!(code_, Code::FailedPrecondition);
    assert!(message.contains("pod one"), "{message}");
    world.unpublish(&id, "one").await.unwrap();
    world.publish(&id, "two", &alone).await.unwrap();
    world.destroy(&id, "two").await;

    // Any pod of the node, but one that wants it alone.
    let id = world.make("shared").await.volume_id;
    assert_eq!(world.resource(&id).unwrap().manifest.volume.access_mode, AccessMode::ReadWriteOnce);
    world.have(&id, "one").await;
    assert_eq!(code(world.publish(&id, "two", &alone).await), Code::FailedPrecondition);
    world.publish(&id, "two", &mount(Mode::SingleNodeWriter)).await.unwrap();
    world.unpublish(&id, "one").await.unwrap();
    world.destroy(&id, "two").await;
    world.assert_nothing_mounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_of_many_nodes_hold_for_one_where_that_is_said() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let many = mount(Mode::MultiNodeMultiWriter);
    let request = CreateVolumeRequest { volume_capabilities: vec![many.clone()], ..volume("many") };
    let (code_, message) = refused(world.create(request.clone()).await);
    assert_eq!(code_, Code::InvalidArgument);
    assert!(message.contains("accessScope: node"), "{message}");
    let parameters = map(&[("type", "temp"), ("accessScope", "node")]);
    let id = world.create(CreateVolumeRequest { parameters, ..request }).await.unwrap().volume_id;
    world.stage(&id, &many).await.unwrap();
    world.publish(&id, "one", &many).await.unwrap();
    world.destroy(&id, "one").await;
    // One that was not made so does not have it either.
    let id = world.make("one-node").await.volume_id;
    assert_eq!(code(world.stage(&id, &many).await), Code::FailedPrecondition);
    world.delete(&id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_reads_can_not_write() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let id = world.make("data").await.volume_id;
    let target = world.have(&id, "writer").await;
    fs::write(target.join("file"), "cargo").unwrap();
    let capability = mount(Mode::SingleNodeMultiWriter);
    let mut request = world.publishing(&id, "reader", &capability);
    request.readonly = true;
    world.node.node_publish_volume(request.clone()).await.unwrap();
    let reader = std::path::PathBuf::from(&request.target_path);
    assert_eq!(fs::read_to_string(reader.join("file")).unwrap(), "cargo");
    assert_eq!(
        fs::write(reader.join("file"), "x").unwrap_err().kind(),
        std::io::ErrorKind::ReadOnlyFilesystem
    );
    // The same target in another way.
    request.readonly = false;
    assert_eq!(code(world.node.node_publish_volume(request).await), Code::AlreadyExists);
    world.unpublish(&id, "reader").await.unwrap();
    world.destroy(&id, "writer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_and_flags_are_the_consumers_own() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let id = world.make("data").await.volume_id;
    world.stage(&id, &mount(Mode::SingleNodeMultiWriter)).await.unwrap();
    let flags = MountVolume {
        mount_flags: vec!["noexec".to_owned()],
        volume_mount_group: "4000".to_owned(),
        ..Default::default()
    };
    let own = capability(Mode::SingleNodeMultiWriter, AccessType::Mount(flags));
    let target = world.publish(&id, "one", &own).await.unwrap();
    let root = fs::metadata(&target).unwrap();
    assert_eq!((root.gid(), root.mode() & 0o2070), (4000, 0o2070));
    let options = orlop_testkit::run(
        std::process::Command::new("findmnt").args(["-n", "-o", "OPTIONS", "--mountpoint"]).arg(&target),
    )
    .ok();
    for option in ["nosuid", "nodev", "noexec"] {
        assert!(options.contains(option), "{options}");
    }
    world.destroy(&id, "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_confirmed_where_it_has_what_is_asked() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let id = world.make("data").await.volume_id;
    let mut validate = async |capabilities: Vec<VolumeCapability>, parameters: &[(&str, &str)]| {
        let request = ValidateVolumeCapabilitiesRequest {
            volume_id: id.clone(),
            volume_capabilities: capabilities,
            parameters: map(parameters),
            ..Default::default()
        };
        world.controller.validate_volume_capabilities(request).await.map(tonic::Response::into_inner)
    };
    let asked = vec![mount(Mode::SingleNodeWriter), mount(Mode::SingleNodeReaderOnly)];
    let confirmed = validate(asked.clone(), &[("type", "temp")]).await.unwrap().confirmed.unwrap();
    assert_eq!(confirmed.volume_capabilities, asked);
    // They were read, and not compared.
    assert_eq!(confirmed.parameters, map(&[]));
    for capability in [mount(Mode::MultiNodeMultiWriter), block(Mode::SingleNodeWriter), filesystem("xfs")] {
        let answer = validate(vec![mount(Mode::SingleNodeWriter), capability], &[]).await.unwrap();
        assert!(answer.confirmed.is_none() && !answer.message.is_empty(), "{answer:?}");
    }
    assert_eq!(code(validate(asked, &[("typ", "temp")]).await), Code::InvalidArgument);
}
