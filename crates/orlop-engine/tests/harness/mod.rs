//! A private engine on scratch directories, and short words for what tests ask of it.
#![allow(dead_code, clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use orlop_engine::*;
use orlop_model::{
    Error, ErrorKind, Period, PoolName, Result, Size, SnapshotManifest, VolumeManifest, VolumeMode,
    resource::{Event, Front, Restored, Snapshot, SnapshotGroup, Volume, VolumeState},
};
use orlop_testkit::{Scratch, mounts};

pub const PATIENCE: Duration = Duration::from_secs(20);
pub const MIB: u64 = 1 << 20;
pub const ROOT: Caller = Caller { uid: 0, front: Front::Manifest };
pub const DOCKER: Caller = Caller { uid: 0, front: Front::Docker };
pub const CSI: Caller = Caller { uid: 0, front: Front::Csi };
pub const PODMAN: Caller = Caller { uid: 0, front: Front::Podman };

/// One engine and its directories. Dropping it is a clean stop; [`World::crash`] is not.
pub struct World {
    engine: Option<Engine>,
    pub config: EngineConfig,
    directory: PathBuf,
    scratch: Option<Scratch>,
}

impl World {
    /// A recovered engine with small reserves, no blanks and a short time until ids are stale.
    pub fn new(name: &str) -> Self {
        Self::with(name, |_| ())
    }

    pub fn with(name: &str, change: impl FnOnce(&mut EngineConfig)) -> Self {
        let scratch = Scratch::new(name);
        let mut world = Self::stopped(scratch.path(), change);
        world.scratch = Some(scratch);
        world.start();
        world
    }

    /// One in a directory that somebody else sweeps.
    pub fn over(directory: &Path, change: impl FnOnce(&mut EngineConfig)) -> Self {
        let mut world = Self::stopped(directory, change);
        world.start();
        world
    }

    /// The same, not started.
    pub fn stopped(directory: &Path, change: impl FnOnce(&mut EngineConfig)) -> Self {
        let mut config = config(directory);
        change(&mut config);
        Self { engine: None, config, directory: directory.to_owned(), scratch: None }
    }

    /// Ends it as a crash would, without a clean stop.
    pub fn forget(mut self) {
        self.crash();
    }

    /// Where all of it is.
    pub fn scratch(&self) -> &Path {
        &self.directory
    }

    /// A path below that; nothing is made there.
    pub fn join(&self, below: &str) -> PathBuf {
        self.directory.join(below)
    }

    /// Makes a directory below that.
    pub fn mkdir(&self, below: &str) -> PathBuf {
        let path = self.join(below);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub fn start(&mut self) -> Recovery {
        let engine = Engine::open(self.config.clone()).unwrap();
        let recovery = engine.recover().unwrap();
        self.engine = Some(engine);
        recovery
    }

    /// Ends the engine without telling the store, as far as one process can; mounts stay.
    pub fn crash(&mut self) {
        self.engine = None;
    }

    pub fn restart(&mut self) -> Recovery {
        self.crash();
        self.start()
    }

    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    pub fn apply(&self, name: &str, spec: &str) -> Result<Applied<Volume>> {
        self.apply_as(&ROOT, name, spec)
    }

    pub fn apply_as(&self, caller: &Caller, name: &str, spec: &str) -> Result<Applied<Volume>> {
        let request = ApplyRequest {
            workspace: "public".parse().unwrap(),
            manifest: manifest(name, spec),
            create_workspace: false,
            set: None,
        };
        self.engine().apply(caller, &request)
    }

    /// A small volume of that access mode and type.
    pub fn make(&self, name: &str, mode: &str, kind: &str) -> Volume {
        self.apply(name, &format!("size: 16Mi, accessMode: {mode}, type: {kind}")).unwrap().resource
    }

    pub fn attach(&self, name: &str, scope: &str) -> Result<Attached> {
        self.attach_as(&DOCKER, name, scope, false)
    }

    pub fn attach_as(&self, caller: &Caller, name: &str, scope: &str, read_only: bool) -> Result<Attached> {
        let request = AttachRequest {
            volume: key(name),
            scope: Scope {
                id: scope.to_owned(),
                shared: caller.front == Front::Podman,
                may_go_stale: matches!(caller.front, Front::Docker | Front::Podman),
            },
            consumer: format!("{} mount {scope}", caller.front.as_str()),
            read_only,
            known_as: None,
        };
        self.engine().attach(caller, &request, PATIENCE)
    }

    pub fn detach(&self, name: &str, scope: &str) -> Result<()> {
        self.detach_as(&DOCKER, name, scope)
    }

    pub fn detach_as(&self, caller: &Caller, name: &str, scope: &str) -> Result<()> {
        self.engine().detach(caller, &key(name), scope, PATIENCE)
    }

    /// Waits until ids of now may be stale.
    pub fn let_ids_go_stale(&self) {
        std::thread::sleep(self.config.stale_after + Duration::from_millis(100));
    }

    pub fn mount(&self, name: &str, target: &Path, access: MountAccess) -> Result<Attached> {
        let request = MountRequest { volume: key(name), target: target.to_owned(), access };
        self.engine().mount(&ROOT, &request)
    }

    /// A directory of the orchestrator, made with all that it is in.
    pub fn staging(&self, name: &str) -> PathBuf {
        self.mkdir(&format!("{KUBELET}/plugins/{name}"))
    }

    /// Where the orchestrator wants a volume for that pod; the directory that this is in is made.
    pub fn target(&self, pod: &str) -> PathBuf {
        self.mkdir(&format!("{KUBELET}/pods/{pod}")).join("mount")
    }

    pub fn stage(&self, volume: &Volume) -> Result<()> {
        let staging = self.staging(volume.manifest.name.as_str());
        self.engine().stage(&CSI, &stage(volume, staging), PATIENCE)
    }

    pub fn unstage(&self, volume: &Volume) -> Result<()> {
        let staging = self.staging(volume.manifest.name.as_str());
        self.engine().unstage(&CSI, volume.status.id, &staging, PATIENCE)
    }

    /// Publishes for a pod, after changing the usual request.
    pub fn publish_as(
        &self,
        volume: &Volume,
        pod: &str,
        change: impl FnOnce(&mut PublishRequest),
    ) -> Result<PathBuf> {
        let mut request = PublishRequest {
            volume: volume.status.id,
            staging: Some(self.staging(volume.manifest.name.as_str())),
            target: self.target(pod),
            form: stage(volume, PathBuf::new()).form,
            access: NodeAccess::ManyTargets,
            read_only: false,
            consumer: format!("pod {pod}"),
        };
        change(&mut request);
        self.engine().publish(&CSI, &request, PATIENCE)?;
        Ok(request.target)
    }

    pub fn publish(&self, volume: &Volume, pod: &str) -> Result<PathBuf> {
        self.publish_as(volume, pod, |_| ())
    }

    pub fn unpublish(&self, volume: &Volume, pod: &str) -> Result<()> {
        self.engine().unpublish(&CSI, volume.status.id, &self.target(pod), PATIENCE)
    }

    /// Makes a snapshot of a volume.
    pub fn snapshot(&self, name: &str, volume: &str) -> Result<Applied<Snapshot>> {
        self.snapshot_as(&ROOT, name, volume, "forever", false)
    }

    pub fn snapshot_as(
        &self,
        caller: &Caller,
        name: &str,
        volume: &str,
        retain: &str,
        pause_writers: bool,
    ) -> Result<Applied<Snapshot>> {
        let manifest =
            SnapshotManifest::new(name.parse().unwrap(), volume.parse().unwrap(), retain.parse().unwrap());
        let workspace = "public".parse().unwrap();
        self.engine().apply_snapshot(caller, &SnapshotRequest { workspace, manifest, pause_writers })
    }

    pub fn snapshot_group(&self, name: &str, volumes: &[&str]) -> Result<Applied<SnapshotGroup>> {
        self.snapshot_group_for(name, volumes, None)
    }

    pub fn snapshot_group_for(
        &self,
        name: &str,
        volumes: &[&str],
        retain: Option<&str>,
    ) -> Result<Applied<SnapshotGroup>> {
        let request = SnapshotGroupRequest {
            workspace: "public".parse().unwrap(),
            name: name.parse().unwrap(),
            volumes: volumes.iter().map(|volume| volume.parse().unwrap()).collect(),
            retain: retain.map(|retain| retain.parse().unwrap()),
        };
        self.engine().apply_snapshot_group(&ROOT, &request)
    }

    pub fn delete_snapshot_group(&self, name: &str) -> Result<()> {
        self.engine().delete_snapshot_group(&ROOT, &snapshot_key(name))
    }

    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.engine().snapshots(&ROOT, &SnapshotQuery::default()).unwrap().items
    }

    pub fn snapshot_names(&self) -> Vec<String> {
        self.snapshots().iter().map(|snapshot| snapshot.manifest.name.to_string()).collect()
    }

    pub fn restore(&self, name: &str) -> Result<Restored> {
        self.engine().restore(&ROOT, &snapshot_key(name))
    }

    pub fn delete_snapshot(&self, name: &str) -> Result<()> {
        self.engine().delete_snapshot(&ROOT, &snapshot_key(name))
    }

    /// Attaches a volume, runs `work` in it, and detaches it.
    pub fn inside<T>(&self, name: &str, work: impl FnOnce(&Path) -> T) -> T {
        let path = self.attach(name, "inside").unwrap().path;
        let done = work(&path);
        self.detach(name, "inside").unwrap();
        done
    }

    pub fn volume(&self, name: &str) -> Volume {
        self.engine().volume(&ROOT, &key(name)).unwrap()
    }

    pub fn by_id(&self, volume: &Volume) -> Result<Volume> {
        self.engine().volume(&ROOT, &VolumeRef::Id(volume.status.id))
    }

    pub fn delete(&self, name: &str) -> Result<orlop_model::resource::Deletion> {
        self.engine().delete(&ROOT, &key(name), false)
    }

    pub fn state(&self, name: &str) -> VolumeState {
        self.volume(name).status.state
    }

    pub fn events(&self) -> Vec<Event> {
        self.engine().events(&ROOT, &EventQuery::default()).unwrap()
    }

    pub fn told(&self, reason: &str) -> bool {
        self.events().iter().any(|event| event.reason == reason)
    }

    pub fn pool_path(&self) -> PathBuf {
        let pool = self.engine().pool(&ROOT, &PoolName::default_pool()).unwrap();
        PathBuf::from(pool.path)
    }

    pub fn image(&self, volume: &Volume) -> PathBuf {
        self.directory(volume).join("data.img")
    }

    pub fn directory(&self, volume: &Volume) -> PathBuf {
        let pool = self.engine().pool(&ROOT, &volume.status.pool).unwrap();
        Path::new(&pool.path).join("volumes").join(volume.status.id.to_string())
    }

    /// What the kernel still has of this world.
    pub fn leftovers(&self) -> (Vec<mounts::Mount>, Vec<(PathBuf, PathBuf)>) {
        let mounted = mounts::mounts_below_anywhere(&self.config.mount_dir);
        (mounted, mounts::loops_below(&self.directory))
    }

    /// Deletes a volume that nobody uses. A namespace that some other test on this machine made while
    /// a host mount was there has a copy of it for as long as it lives.
    #[track_caller]
    pub fn destroy(&self, name: &str) {
        let mut last = self.delete(name);
        orlop_testkit::command::eventually(Duration::from_secs(60), || {
            if matches!(&last, Err(error) if error.kind == ErrorKind::InUse) {
                last = self.delete(name);
            }
            last.is_ok()
        });
        assert_eq!(last.unwrap(), orlop_model::resource::Deletion::Destroyed);
    }

    #[track_caller]
    pub fn assert_nothing_mounted(&self) {
        let done = orlop_testkit::command::eventually(Duration::from_secs(60), || {
            let (mounts, loops) = self.leftovers();
            mounts.is_empty() && loops.is_empty()
        });
        assert!(done, "left behind: {:?}", self.leftovers());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.shutdown();
        }
    }
}

pub fn config(base: &Path) -> EngineConfig {
    EngineConfig {
        state_dir: base.join("state"),
        mount_dir: base.join("mounts"),
        node: "test".to_owned(),
        kubelet_root: None,
        default_size: Size::from_bytes(64 * MIB),
        low_water: Some(Size::from_bytes(MIB)),
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

/// Where the orchestrator has its directories, below the world's.
pub const KUBELET: &str = "kubelet";

/// Has the engine serve an orchestrator.
pub fn serve(config: &mut EngineConfig) {
    let root = config.state_dir.with_file_name(KUBELET);
    std::fs::create_dir_all(&root).unwrap();
    config.kubelet_root = Some(root);
}

/// A volume that is had as a block device, in the manifest's short form.
pub const DEVICE: &str = "size: 64Mi, accessMode: ReadWriteMany, type: temp, volumeMode: Block";

/// Writes through a block device, to its image.
pub fn write_at(path: &Path, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().write(true).open(path)?;
    file.write_all_at(bytes, offset)?;
    file.sync_all()
}

/// What the device, or the image, has there.
pub fn read_at(path: &Path, offset: u64, length: usize) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut read = vec![0; length];
    std::fs::File::open(path).unwrap().read_exact_at(&mut read, offset).unwrap();
    read
}

/// What the orchestrator says to have a volume made ready.
pub fn stage(volume: &Volume, staging: PathBuf) -> StageRequest {
    let form = match volume.manifest.volume.volume_mode {
        VolumeMode::Filesystem => Form::default(),
        VolumeMode::Block => Form::Block,
    };
    StageRequest { volume: volume.status.id, staging, form, access: NodeAccess::ManyTargets }
}

/// A manifest whose section `volume` is `spec` in YAML's short form: `size: 16Mi, type: temp, …`.
pub fn manifest(name: &str, spec: &str) -> VolumeManifest {
    let fields: serde_json::Map<String, serde_json::Value> = spec
        .split(", ")
        .map(|field| {
            let (name, value) = field.split_once(": ").unwrap();
            let text = || serde_json::Value::String(value.to_owned());
            let value = match name {
                "mountOptions" => serde_json::json!(value.split('+').collect::<Vec<_>>()),
                "size" | "mode" => text(),
                // `snapshot NAME` or `volume NAME`.
                "source" => {
                    let (kind, name) = value.split_once(' ').unwrap();
                    serde_json::json!({ kind: name })
                }
                // `SCHEDULE|LAST`.
                "snapshots" => {
                    let (schedule, last) = value.split_once('|').unwrap();
                    serde_json::json!({ "schedule": schedule, "keep": { "last": last.parse::<u32>().unwrap() } })
                }
                _ => value
                    .parse::<u64>()
                    .map(Into::into)
                    .or_else(|_| value.parse::<bool>().map(Into::into))
                    .unwrap_or_else(|_| text()),
            };
            (name.to_owned(), value)
        })
        .collect();
    let manifest =
        serde_json::json!({ "name": name, "version": "v1beta", "type": "volume", "volume": fields });
    serde_json::from_value(manifest).unwrap()
}

pub fn key(name: &str) -> VolumeRef {
    VolumeRef::Key(VolumeKey { workspace: "public".parse().unwrap(), name: name.parse().unwrap() })
}

pub fn snapshot_key(name: &str) -> SnapshotKey {
    SnapshotKey { workspace: "public".parse().unwrap(), name: name.parse().unwrap() }
}

#[track_caller]
pub fn fails<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind) -> Error {
    let error = result.expect_err("it should have failed");
    assert_eq!(error.kind, kind, "{error}");
    error
}

/// A process in a mount namespace of its own that has `source` bound somewhere there, as a container
/// has; ended when dropped. Where its writer saw an error, the end of it is one of the test.
pub struct Container {
    child: std::process::Child,
    input: Option<std::process::ChildStdin>,
}

impl Container {
    /// Binds `source` on `place` in the new namespace and unmounts everything of `hidden` there, as a
    /// runtime's pivot_root does. The process appends a line to `data/ticks` every 20 ms if asked to,
    /// until it is told to stop or that fails.
    pub fn start(source: &Path, place: &Path, hidden: &Path, ticks: bool) -> Self {
        use std::io::{BufRead, Write};
        let (tick, stop) = if ticks {
            let tick = "(while echo tick >> $1/ticks; do sleep 0.02; done; exit 1) &";
            // Killed it ends with 128 and the signal, and else with what it says itself.
            (tick, "kill $! 2>/dev/null; wait $! 2>/dev/null; [ $? = 143 ]")
        } else {
            ("", "true")
        };
        let script = format!(
            "mount --make-rprivate / && mount --bind \"$0\" \"$1\" && \
             for m in $(awk -v h=\"$2/\" 'index($5,h)==1 {{print $5}}' /proc/self/mountinfo | sort -r); do umount $m; done; \
             {tick} echo ready; read line; {stop}"
        );
        let mut child = std::process::Command::new("unshare")
            .args(["-m", "sh", "-c", &script])
            .arg(source)
            .arg(place)
            .arg(hidden)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let mut input = child.stdin.take();
        input.as_mut().unwrap().flush().unwrap();
        Self { child, input }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether one of its processes is named: of those that share a namespace the engine takes that with
    /// the lowest number, which is a child's once the numbers have begun anew.
    pub fn is_named_in(&self, message: &str) -> bool {
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        let own = namespace(&self.pid().to_string());
        assert!(own.is_some(), "it ended");
        let named = message.split("process ").skip(1);
        named
            .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
            .any(|pid| namespace(pid) == own)
    }

    pub fn end(mut self) {
        self.stop();
    }

    #[track_caller]
    fn stop(&mut self) {
        drop(self.input.take());
        let status = self.child.wait().unwrap();
        assert!(std::thread::panicking() || status.success(), "its writer saw an error: {status}");
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.stop();
    }
}
