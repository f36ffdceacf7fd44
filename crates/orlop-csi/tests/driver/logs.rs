//! What is never written down.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use orlop_csi::protocol::{
    volume_capability::{AccessType, MountVolume, access_mode::Mode},
    *,
};
use orlop_testkit::{Part, require};

use crate::harness::*;

const SECRET: &str = "hunter2-very-secret";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_token_is_in_a_log_or_an_answer() {
    require!(Part::Loop);
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let mut world = World::new().await;
    let secrets = || map(&[("password", SECRET)]);
    let mut answers = Vec::new();
    let mut note = |answer: Result<String, tonic::Status>| match answer {
        Ok(text) => answers.push(text),
        Err(status) => answers.push(format!("{status:?}")),
    };
    let made = world.create(CreateVolumeRequest { secrets: secrets(), ..volume("data") }).await.unwrap();
    let id = made.volume_id.clone();
    note(Ok(format!("{made:?}")));
    // A flag that is not allowed may be one, and so may a value.
    let flags = MountVolume { mount_flags: vec![format!("password={SECRET}")], ..Default::default() };
    let flags = capability(Mode::SingleNodeWriter, AccessType::Mount(flags));
    let request = CreateVolumeRequest { volume_capabilities: vec![flags.clone()], ..volume("flags") };
    note(world.create(request).await.map(|made| format!("{made:?}")));
    let stage = NodeStageVolumeRequest {
        volume_id: id.clone(),
        staging_target_path: world.staging(&id),
        volume_capability: Some(flags),
        secrets: secrets(),
        publish_context: secrets(),
        ..Default::default()
    };
    note(world.node.node_stage_volume(stage.clone()).await.map(|_| String::new()));
    let capability = mount(Mode::SingleNodeMultiWriter);
    let stage = NodeStageVolumeRequest { volume_capability: Some(capability.clone()), ..stage };
    note(world.node.node_stage_volume(stage).await.map(|_| String::new()));
    let publish = NodePublishVolumeRequest {
        secrets: secrets(),
        volume_context: map(&[("csi.storage.k8s.io/serviceAccount.tokens", SECRET)]),
        ..world.publishing(&id, "pod", &capability)
    };
    let target = publish.target_path.clone();
    note(world.node.node_publish_volume(publish).await.map(|_| String::new()));
    assert!(std::path::Path::new(&target).is_dir());
    let inline = NodePublishVolumeRequest {
        volume_id: "csi-1".to_owned(),
        volume_context: map(&[
            ("csi.storage.k8s.io/ephemeral", "true"),
            ("csi.storage.k8s.io/serviceAccount.tokens", SECRET),
        ]),
        ..world.publishing(&id, "other", &capability)
    };
    note(world.node.node_publish_volume(inline).await.map(|_| String::new()));
    world.unpublish("csi-1", "other").await.unwrap();
    let snapshot = CreateSnapshotRequest {
        name: "s".to_owned(),
        source_volume_id: id.clone(),
        secrets: secrets(),
        ..Default::default()
    };
    note(world.controller.create_snapshot(snapshot).await.map(|answer| format!("{answer:?}")));
    let group = CreateVolumeGroupSnapshotRequest {
        name: "g".to_owned(),
        source_volume_ids: vec![id.clone()],
        secrets: secrets(),
        ..Default::default()
    };
    note(world.group.create_volume_group_snapshot(group).await.map(|answer| format!("{answer:?}")));
    let expand = ControllerExpandVolumeRequest {
        volume_id: "none".to_owned(),
        secrets: secrets(),
        capacity_range: Some(CapacityRange { required_bytes: 1, limit_bytes: 0 }),
        ..Default::default()
    };
    note(world.controller.controller_expand_volume(expand).await.map(|_| String::new()));
    world.destroy(&id, "pod").await;
    let events = format!("{:?}", world.engine().events(&ROOT, &Default::default()).unwrap());

    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.contains("NodePublishVolume"), "it logs something: {}", log.len());
    for (what, text) in [("the log", &log), ("an answer", &answers.join("\n")), ("an event", &events)] {
        let found = text.lines().find(|line| line.contains(SECRET));
        assert_eq!(found, None, "{what}");
    }
}
