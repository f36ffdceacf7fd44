//! What Kubernetes waits for: each call of the Container Storage Interface, and the whole life of a volume,
//! as the kubelet and its sidecars ask for it over the driver's socket.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use orlop_csi::protocol::{
    CapacityRange, CreateVolumeRequest, DeleteVolumeRequest, NodePublishVolumeRequest,
    NodeStageVolumeRequest, NodeUnpublishVolumeRequest, NodeUnstageVolumeRequest, VolumeCapability,
    controller_client::ControllerClient,
    node_client::NodeClient,
    volume_capability::{AccessMode, AccessType, MountVolume, access_mode::Mode},
};
use orlop_testkit::OrlopDaemon;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::{
    report::{Aim, Report},
    samples::Samples,
    subject::{counter, resident},
};

const SECTION: &str = "csi";
const LIVES: usize = 50;
const IN_FLIGHT: usize = 16;
const ATTACHED: usize = 100;
/// Half of what csi-driver-host-path takes on such a machine, for a bare directory without a capacity.
const LIFE: Aim = Aim::AtMost(60.0);
const SIZE: i64 = 1 << 30;
/// Between two lives, one at a time: a blank is made while nobody waits.
const PAUSE: Duration = Duration::from_millis(300);
const CALLS: [&str; 6] = ["create", "stage", "publish", "unpublish", "unstage", "delete"];

pub(crate) fn measure(report: &mut Report) {
    let kubelet = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
    let socket = kubelet.path().join("csi.sock");
    let config = format!(
        "csiEndpoint: unix://{}\nnodeId: bench\nkubeletRoot: {}\n",
        socket.display(),
        kubelet.path().display()
    );
    let daemon = OrlopDaemon::builder().config(config).start();
    // Room for what is only promised here.
    let path = daemon.scratch().join("many").display().to_string();
    daemon.cli(["pool", "create", "many", "--path", &path, "--overcommit", "100"]).ok();
    let runtime = tokio::runtime::Runtime::new().unwrap_or_else(|error| panic!("no runtime: {error}"));
    runtime.block_on(async {
        let orchestrator = Orchestrator::connect(&socket, kubelet.path()).await;
        one_at_a_time(report, &daemon, &orchestrator).await;
        let orchestrator = Orchestrator { pool: "many", ..orchestrator };
        in_flight(report, &daemon, &orchestrator).await;
        attached(report, &daemon, &orchestrator).await;
    });
}

async fn one_at_a_time(report: &mut Report, daemon: &OrlopDaemon, orchestrator: &Orchestrator) {
    orchestrator.clone().live("first").await;
    tokio::time::sleep(PAUSE * 3).await;
    let before = blanks(daemon);
    let mut lives = Lives::default();
    for number in 0..LIVES {
        lives.add(&orchestrator.clone().live(&format!("one-{number}")).await);
        tokio::time::sleep(PAUSE).await;
    }
    let used = blanks(daemon) - before;
    lives.report(report, "one at a time", LIFE, &format!("blank used {used:.0} of {LIVES}"));
}

async fn in_flight(report: &mut Report, daemon: &OrlopDaemon, orchestrator: &Orchestrator) {
    let before = blanks(daemon);
    let mut tasks = Vec::new();
    for lane in 0..IN_FLIGHT {
        let orchestrator = orchestrator.clone();
        tasks.push(tokio::spawn(async move {
            let mut took = Vec::new();
            for number in 0..LIVES / 5 {
                took.push(orchestrator.clone().live(&format!("lane-{lane}-{number}")).await);
            }
            took
        }));
    }
    let mut lives = Lives::default();
    for task in tasks {
        for life in task.await.unwrap_or_else(|error| panic!("a life ended early: {error}")) {
            lives.add(&life);
        }
    }
    let used = blanks(daemon) - before;
    let detail = format!("blank used {used:.0} of {}", lives.whole.count());
    lives.report(report, &format!("{IN_FLIGHT} in flight"), Aim::Told, &detail);
}

async fn attached(report: &mut Report, daemon: &OrlopDaemon, orchestrator: &Orchestrator) {
    let mut orchestrator = orchestrator.clone();
    let mut ids = Vec::new();
    for number in 0..ATTACHED {
        let id = orchestrator.create(&format!("kept-{number}")).await;
        orchestrator.stage(&id).await;
        orchestrator.publish(&id).await;
        ids.push(id);
    }
    let memory = resident(daemon);
    let detail = "resident, each staged and published";
    report.add(
        SECTION,
        format!("memory, {ATTACHED} volumes attached"),
        (memory, "MiB"),
        Aim::AtMost(80.0),
        detail,
    );
    for id in ids {
        orchestrator.unpublish(&id).await;
        orchestrator.unstage(&id).await;
        orchestrator.delete(&id).await;
    }
}

fn blanks(daemon: &OrlopDaemon) -> f64 {
    counter(daemon, "orlop_volumes_created_total{from=\"blank\"}")
}

/// How long the calls of many lives took, each kind by itself, and each life as a whole.
#[derive(Default)]
struct Lives {
    calls: [Samples; CALLS.len()],
    whole: Samples,
}

impl Lives {
    fn add(&mut self, life: &[Duration; CALLS.len()]) {
        for (samples, took) in self.calls.iter_mut().zip(life) {
            samples.push(*took);
        }
        self.whole.push(life.iter().sum());
    }

    fn report(&self, report: &mut Report, how: &str, aim: Aim, detail: &str) {
        for (call, samples) in CALLS.iter().zip(&self.calls) {
            report.add(
                SECTION,
                format!("{call}, {how}"),
                (samples.median(), "ms"),
                Aim::Told,
                samples.words(),
            );
        }
        let detail = format!("1Gi, p50, {}, {detail}", self.whole.words());
        report.add(SECTION, format!("whole life, {how}"), (self.whole.median(), "ms"), aim, detail);
    }
}

/// The kubelet and its sidecars.
#[derive(Clone)]
struct Orchestrator {
    controller: ControllerClient<Channel>,
    node: NodeClient<Channel>,
    root: PathBuf,
    pool: &'static str,
}

impl Orchestrator {
    async fn connect(socket: &Path, root: &Path) -> Self {
        let socket = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await;
        let channel = channel.unwrap_or_else(|error| panic!("the driver can't be reached: {error}"));
        let (controller, node) = (ControllerClient::new(channel.clone()), NodeClient::new(channel));
        Self { controller, node, root: root.to_owned(), pool: "default" }
    }

    /// How long each of the [`CALLS`] took.
    async fn live(&mut self, name: &str) -> [Duration; CALLS.len()] {
        let mut clock = std::time::Instant::now();
        let mut lap = || std::mem::replace(&mut clock, std::time::Instant::now()).elapsed();
        let id = self.create(name).await;
        let created = lap();
        self.stage(&id).await;
        let staged = lap();
        self.publish(&id).await;
        let published = lap();
        self.unpublish(&id).await;
        let unpublished = lap();
        self.unstage(&id).await;
        let unstaged = lap();
        self.delete(&id).await;
        [created, staged, published, unpublished, unstaged, lap()]
    }

    async fn create(&mut self, name: &str) -> String {
        let parameters = [("type", "temp"), ("pool", self.pool)];
        let request = CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: Some(CapacityRange { required_bytes: SIZE, limit_bytes: 0 }),
            volume_capabilities: vec![capability()],
            parameters: parameters.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..Default::default()
        };
        let made = self.controller.create_volume(request).await;
        let made = made.unwrap_or_else(|status| panic!("create: {status}")).into_inner();
        made.volume.map(|volume| volume.volume_id).unwrap_or_default()
    }

    async fn stage(&mut self, id: &str) {
        let staging_target_path = self.staging(id);
        make(Path::new(&staging_target_path));
        let request = NodeStageVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path,
            volume_capability: Some(capability()),
            ..Default::default()
        };
        self.node.node_stage_volume(request).await.unwrap_or_else(|status| panic!("stage: {status}"));
    }

    async fn publish(&mut self, id: &str) {
        let target_path = self.target(id);
        if let Some(parent) = Path::new(&target_path).parent() {
            make(parent);
        }
        let request = NodePublishVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: self.staging(id),
            target_path,
            volume_capability: Some(capability()),
            volume_context: BTreeMap::new(),
            ..Default::default()
        };
        self.node.node_publish_volume(request).await.unwrap_or_else(|status| panic!("publish: {status}"));
    }

    async fn unpublish(&mut self, id: &str) {
        let request = NodeUnpublishVolumeRequest { volume_id: id.to_owned(), target_path: self.target(id) };
        self.node.node_unpublish_volume(request).await.unwrap_or_else(|status| panic!("unpublish: {status}"));
    }

    async fn unstage(&mut self, id: &str) {
        let staging_target_path = self.staging(id);
        let request = NodeUnstageVolumeRequest { volume_id: id.to_owned(), staging_target_path };
        self.node.node_unstage_volume(request).await.unwrap_or_else(|status| panic!("unstage: {status}"));
    }

    async fn delete(&mut self, id: &str) {
        let request = DeleteVolumeRequest { volume_id: id.to_owned(), ..Default::default() };
        self.controller.delete_volume(request).await.unwrap_or_else(|status| panic!("delete: {status}"));
    }

    fn staging(&self, id: &str) -> String {
        self.root.join("plugins").join(id).join("globalmount").display().to_string()
    }

    fn target(&self, id: &str) -> String {
        self.root.join("pods").join(id).join("mount").display().to_string()
    }
}

fn capability() -> VolumeCapability {
    VolumeCapability {
        access_mode: Some(AccessMode { mode: Mode::SingleNodeMultiWriter.into() }),
        access_type: Some(AccessType::Mount(MountVolume::default())),
    }
}

/// A directory that the kubelet makes.
fn make(directory: &Path) {
    std::fs::create_dir_all(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
}
