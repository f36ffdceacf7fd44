//! A driver over a private engine, and short words for what an orchestrator asks of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use hyper_util::rt::TokioIo;
use orlop_csi::{
    Driver, Settings,
    protocol::{
        controller_client::ControllerClient,
        group_controller_client::GroupControllerClient,
        identity_client::IdentityClient,
        node_client::NodeClient,
        volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume, access_mode::Mode},
        *,
    },
};
use orlop_engine::{Caller, Engine, EngineConfig, SnapshotHooks, VolumeRef};
use orlop_model::{
    Period, Size,
    resource::{Front, Volume as Resource},
};
use orlop_testkit::{ScratchFs, command::eventually, mounts, run};
use tokio::{net::UnixStream, task::JoinHandle};
use tonic::{Code, Status, transport::Channel};

pub const MIB: i64 = 1 << 20;
pub const ROOT: Caller = Caller { uid: 0, front: Front::Manifest };
pub const CSI: Caller = Caller { uid: 0, front: Front::Csi };
pub const NODE: &str = "node-1";
pub const TOPOLOGY: &str = "topology.orlop.dev/node";

/// A driver on a pool that shares blocks, and its clients. A world that ends sweeps its filesystem.
pub struct World {
    pub identity: IdentityClient<Channel>,
    pub controller: ControllerClient<Channel>,
    pub group: GroupControllerClient<Channel>,
    pub node: NodeClient<Channel>,
    engine: Option<Engine>,
    config: EngineConfig,
    socket: PathBuf,
    server: JoinHandle<()>,
    scratch: ScratchFs,
}

/// The clients of a driver that serves now.
struct Served {
    engine: Engine,
    server: JoinHandle<()>,
    channel: Channel,
}

impl World {
    pub async fn new() -> Self {
        let world = Self::unrecovered(|_| ()).await;
        world.recover().await;
        world
    }

    /// One whose engine has not recovered yet.
    pub async fn unrecovered(change: impl FnOnce(&mut Settings)) -> Self {
        let scratch = ScratchFs::xfs(3 << 30);
        let config = config(scratch.path());
        std::fs::create_dir_all(config.kubelet_root.as_ref().unwrap()).unwrap();
        let socket = scratch.join("csi.sock");
        let mut settings = Settings::new(NODE.to_owned(), false).unwrap();
        change(&mut settings);
        let Served { engine, server, channel } = serve(&config, &socket, settings).await;
        Self {
            identity: IdentityClient::new(channel.clone()),
            controller: ControllerClient::new(channel.clone()),
            group: GroupControllerClient::new(channel.clone()),
            node: NodeClient::new(channel),
            engine: Some(engine),
            config,
            socket,
            server,
            scratch,
        }
    }

    /// Ends driver and engine as a crash would, and starts others; mounts stay.
    pub async fn restart(&mut self) {
        self.end().await;
        self.begin().await;
    }

    /// The same, with the host rebooted in between: no mount and no loop device is left, and what the
    /// kubelet made on its disk is.
    pub async fn reboot(&mut self) {
        self.end().await;
        let kubelet = self.config.kubelet_root.clone().unwrap();
        let ours = |target: &Path| {
            target.starts_with(&kubelet)
                || (target.starts_with(&self.config.mount_dir) && *target != self.config.mount_dir)
        };
        for mount in mounts::mounts().into_iter().rev().filter(|mount| ours(&mount.target)) {
            run(Command::new("umount").arg(mount.target)).ok();
        }
        for (device, _) in mounts::loops_below(self.scratch.path()) {
            run(Command::new("losetup").arg("-d").arg(device)).ok();
        }
        let sql = "UPDATE meta SET value = 'another boot' WHERE key = 'boot_id'; UPDATE attachments SET boot_id = 'another boot';";
        run(Command::new("sqlite3").arg(self.config.state_dir.join("orlop.db")).arg(sql)).ok();
        self.begin().await;
    }

    async fn end(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
        self.engine = None;
        std::fs::remove_file(&self.socket).unwrap();
    }

    async fn begin(&mut self) {
        let settings = Settings::new(NODE.to_owned(), false).unwrap();
        let Served { engine, server, channel } = serve(&self.config, &self.socket, settings).await;
        (self.engine, self.server) = (Some(engine), server);
        self.identity = IdentityClient::new(channel.clone());
        self.controller = ControllerClient::new(channel.clone());
        self.group = GroupControllerClient::new(channel.clone());
        self.node = NodeClient::new(channel);
        self.recover().await;
    }

    pub async fn recover(&self) {
        let engine = self.engine().clone();
        tokio::task::spawn_blocking(move || engine.recover()).await.unwrap().unwrap();
    }

    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    /// The filesystem that all of it is on.
    pub fn root(&self) -> &Path {
        self.scratch.path()
    }

    /// A directory of the kubelet that it makes itself.
    pub fn kubelet(&self, below: &str) -> String {
        let path = self.config.kubelet_root.as_ref().unwrap().join(below);
        std::fs::create_dir_all(&path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn staging(&self, volume: &str) -> String {
        self.kubelet(&format!("plugins/kubernetes.io/csi/csi.orlop.dev/{volume}/globalmount"))
    }

    /// Where a pod wants a volume: the directory that this is in is there.
    pub fn target(&self, pod: &str) -> String {
        format!("{}/mount", self.kubelet(&format!("pods/{pod}/volumes/kubernetes.io~csi/data")))
    }

    /// Where a pod wants a block device.
    pub fn device(&self, pod: &str) -> String {
        format!("{}/{pod}", self.kubelet("plugins/kubernetes.io/csi/volumeDevices/publish/pvc"))
    }

    pub async fn create(&mut self, request: CreateVolumeRequest) -> Result<Volume, Status> {
        Ok(self.controller.create_volume(request).await?.into_inner().volume.unwrap())
    }

    /// A small volume of that name.
    pub async fn make(&mut self, name: &str) -> Volume {
        self.create(volume(name)).await.unwrap()
    }

    pub async fn delete(&mut self, id: &str) -> Result<(), Status> {
        let request = DeleteVolumeRequest { volume_id: id.to_owned(), ..Default::default() };
        self.controller.delete_volume(request).await.map(drop)
    }

    pub async fn stage(&mut self, id: &str, capability: &VolumeCapability) -> Result<(), Status> {
        let request = NodeStageVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: self.staging(id),
            volume_capability: Some(capability.clone()),
            ..Default::default()
        };
        self.node.node_stage_volume(request).await.map(drop)
    }

    pub async fn unstage(&mut self, id: &str) -> Result<(), Status> {
        let staging_target_path = self.staging(id);
        let request = NodeUnstageVolumeRequest { volume_id: id.to_owned(), staging_target_path };
        self.node.node_unstage_volume(request).await.map(drop)
    }

    pub fn publishing(&self, id: &str, pod: &str, capability: &VolumeCapability) -> NodePublishVolumeRequest {
        let target_path = match capability.access_type {
            Some(AccessType::Block(_)) => self.device(pod),
            Some(AccessType::Mount(_)) | None => self.target(pod),
        };
        NodePublishVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: self.staging(id),
            target_path,
            volume_capability: Some(capability.clone()),
            ..Default::default()
        }
    }

    /// Publishes, and says where.
    pub async fn publish(
        &mut self,
        id: &str,
        pod: &str,
        capability: &VolumeCapability,
    ) -> Result<PathBuf, Status> {
        let request = self.publishing(id, pod, capability);
        let target = PathBuf::from(&request.target_path);
        self.node.node_publish_volume(request).await.map(|_| target)
    }

    pub async fn unpublish(&mut self, id: &str, pod: &str) -> Result<(), Status> {
        self.unpublish_at(id, self.target(pod)).await
    }

    pub async fn unpublish_at(&mut self, id: &str, target_path: String) -> Result<(), Status> {
        let request = NodeUnpublishVolumeRequest { volume_id: id.to_owned(), target_path };
        self.node.node_unpublish_volume(request).await.map(drop)
    }

    /// Stages and publishes for one pod.
    pub async fn have(&mut self, id: &str, pod: &str) -> PathBuf {
        let capability = mount(Mode::SingleNodeMultiWriter);
        self.stage(id, &capability).await.unwrap();
        self.publish(id, pod, &capability).await.unwrap()
    }

    /// Takes it back from that pod, and deletes it.
    pub async fn destroy(&mut self, id: &str, pod: &str) {
        self.unpublish(id, pod).await.unwrap();
        self.unstage(id).await.unwrap();
        self.delete(id).await.unwrap();
    }

    /// What the engine says of a volume.
    pub fn resource(&self, id: &str) -> orlop_model::Result<Resource> {
        self.engine().volume(&ROOT, &VolumeRef::Id(id.parse().unwrap()))
    }

    #[track_caller]
    pub fn assert_nothing_mounted(&self) {
        let left = || {
            let kubelet = mounts::mounts_below_anywhere(self.config.kubelet_root.as_ref().unwrap());
            let base = mounts::mounts_below_anywhere(&self.config.mount_dir);
            (kubelet, base, mounts::loops_below(self.scratch.path()))
        };
        let gone = || {
            let (kubelet, base, loops) = left();
            kubelet.is_empty() && base.is_empty() && loops.is_empty()
        };
        assert!(eventually(Duration::from_secs(60), gone), "left behind: {:?}", left());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
        self.engine().shutdown();
    }
}

async fn serve(config: &EngineConfig, socket: &Path, settings: Settings) -> Served {
    let engine = Engine::open(config.clone()).unwrap();
    let listener = tokio::net::UnixListener::bind(socket).unwrap();
    let driver = Driver::new(engine.clone(), settings);
    let server = tokio::spawn(async move {
        orlop_csi::serve(driver, listener, std::future::pending()).await.unwrap();
    });
    Served { engine, server, channel: connect(socket).await }
}

/// A client of the socket.
pub async fn connect(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = tonic::transport::Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await.unwrap()
}

fn config(base: &Path) -> EngineConfig {
    EngineConfig {
        state_dir: base.join("state"),
        mount_dir: base.join("mounts"),
        node: NODE.to_owned(),
        kubelet_root: Some(base.join("kubelet")),
        default_size: Size::from_bytes(64 << 20),
        low_water: Some(Size::from_bytes(1 << 20)),
        blanks: 0,
        stale_after: Duration::from_millis(300),
        recovery_parallelism: 4,
        events_kept: 10_000,
        temp_grace: Period::After(600),
        released_retention: Period::Never,
        released_warn_percent: 20,
        observe_every: Duration::from_millis(200),
        notify: Vec::new(),
        hooks: SnapshotHooks::default(),
    }
}

pub fn capability(mode: Mode, kind: AccessType) -> VolumeCapability {
    VolumeCapability { access_mode: Some(AccessMode { mode: mode.into() }), access_type: Some(kind) }
}

/// A filesystem.
pub fn mount(mode: Mode) -> VolumeCapability {
    capability(mode, AccessType::Mount(MountVolume::default()))
}

/// A block device.
pub fn block(mode: Mode) -> VolumeCapability {
    capability(mode, AccessType::Block(BlockVolume {}))
}

/// A filesystem of that kind.
pub fn filesystem(kind: &str) -> VolumeCapability {
    let mount = MountVolume { fs_type: kind.to_owned(), ..Default::default() };
    capability(Mode::SingleNodeMultiWriter, AccessType::Mount(mount))
}

pub fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A request for a volume of 20 MiB that goes when it is deleted.
pub fn volume(name: &str) -> CreateVolumeRequest {
    CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: Some(CapacityRange { required_bytes: 20 * MIB, limit_bytes: 0 }),
        volume_capabilities: vec![mount(Mode::SingleNodeMultiWriter)],
        parameters: map(&[("type", "temp")]),
        ..Default::default()
    }
}

pub fn of_snapshot(id: &str) -> Option<VolumeContentSource> {
    use volume_content_source::{SnapshotSource, Type};
    Some(VolumeContentSource { r#type: Some(Type::Snapshot(SnapshotSource { snapshot_id: id.to_owned() })) })
}

pub fn of_volume(id: &str) -> Option<VolumeContentSource> {
    use volume_content_source::{Type, VolumeSource};
    Some(VolumeContentSource { r#type: Some(Type::Volume(VolumeSource { volume_id: id.to_owned() })) })
}

/// The code of a refusal, whose text has to say something.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    assert!(!status.message().is_empty() && status.details().is_empty(), "{status:?}");
    (status.code(), status.message().to_owned())
}

#[track_caller]
pub fn code<T: std::fmt::Debug>(answer: Result<T, Status>) -> Code {
    refused(answer).0
}

/// How large the filesystem at that path is.
pub fn capacity(path: &Path) -> u64 {
    let text = run(Command::new("df").args(["-B1", "--output=size"]).arg(path)).ok();
    text.lines().last().unwrap().trim().parse().unwrap()
}
