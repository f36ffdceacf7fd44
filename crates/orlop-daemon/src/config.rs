//! Where the daemon keeps things and what its limits are: defaults, the configuration file, flags;
//! the latter go before the former.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use orlop_csi::Settings;
use orlop_engine::{EngineConfig, SnapshotHooks};
use orlop_model::{
    Error, ErrorKind, Period, Result, Size,
    configuration::{Configuration, HookFailure},
    notify::NotifyTo,
};

use crate::logs::LogFormat;

/// Everything a daemon is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the engine is started with: the state and mount directories are here.
    pub engine: EngineConfig,
    /// The sockets and the lock on them live here.
    pub run_dir: PathBuf,
    /// The group whose members may open the REST socket, where it exists.
    pub group: String,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// What is logged: a level, or levels by target.
    pub log_filter: String,
    /// How long work that was begun may take after the daemon was told to stop.
    pub drain: Duration,
    /// The orchestrator that is served, where one is.
    pub csi: Option<Csi>,
}

/// How an orchestrator is served through the Container Storage Interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csi {
    /// The path of the socket.
    pub socket: PathBuf,
    /// What the driver is told.
    pub driver: Settings,
}

/// What flags say; `None` leaves it to the configuration file, then to the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--config`; must exist where it is given.
    pub config: Option<PathBuf>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// `--run-dir`.
    pub run_dir: Option<PathBuf>,
    /// `--mount-dir`.
    pub mount_dir: Option<PathBuf>,
    /// `--csi-endpoint`, or the variable `CSI_ENDPOINT`.
    pub csi_endpoint: Option<String>,
    /// `--csi-expand-on-node`.
    pub csi_expand_on_node: bool,
    /// `--node-id`.
    pub node_id: Option<String>,
    /// `--kubelet-root`.
    pub kubelet_root: Option<PathBuf>,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
    /// `--log`, or the variable `ORLOP_LOG`.
    pub log_filter: Option<String>,
}

impl Config {
    /// The store, the lock and the pool `default`.
    pub const STATE_DIR: &str = "/var/lib/orlop";
    /// The sockets; and below it the mounts.
    pub const RUN_DIR: &str = "/run/orlop";
    /// Where the kubelet has the directories of pods.
    pub const KUBELET_ROOT: &str = "/var/lib/kubelet";
    /// The configuration file; may be missing.
    pub const FILE: &str = "/etc/orlop/orlop.yaml";

    /// Reads the configuration file and lays the flags over it. All paths come out absolute.
    ///
    /// # Errors
    /// `InvalidArgument`: a fault of the file with its line and column, a file that was named and
    /// can't be read, a path that is none.
    pub fn load(flags: Overrides) -> Result<Self> {
        let named = flags.config.is_some();
        let file = flags.config.clone().unwrap_or_else(|| Self::FILE.into());
        let said = Configuration::read(&file.display().to_string(), bytes_of(&file, named)?)?;
        let hooks = said.before_snapshot.is_some() || said.after_snapshot.is_some();
        if hooks || said.notify.iter().any(|notify| matches!(notify.to, NotifyTo::Command { .. })) {
            owned_by_root(&file)?;
        }
        Self::combine(flags, said)
    }

    fn combine(flags: Overrides, said: Configuration) -> Result<Self> {
        let path = |flag: Option<PathBuf>, said: Option<PathBuf>, usual: PathBuf| {
            absolute(flag.or(said).unwrap_or(usual))
        };
        let run_dir = path(flags.run_dir, said.run_dir, Self::RUN_DIR.into())?;
        // Below the run directory: it is gone after a reboot, as all mounts are, and it stays
        // when the daemon is stopped, as they do.
        let mount_dir = path(flags.mount_dir, said.mount_dir, run_dir.join("mounts"))?;
        let log_format = match (flags.log_format, said.log_format) {
            (Some(format), _) => format,
            (None, Some(word)) => word.parse()?,
            (None, None) => LogFormat::default(),
        };
        let csi = flags.csi_endpoint.or(said.csi_endpoint);
        let node = flags.node_id.or(said.node_id);
        let expand_on_node = flags.csi_expand_on_node || said.csi_expand_on_node.unwrap_or_default();
        let csi = csi.map(|endpoint| Csi::new(&endpoint, node.as_deref(), expand_on_node)).transpose()?;
        // Only an orchestrator names directories in it.
        let kubelet_root = path(flags.kubelet_root, said.kubelet_root, Self::KUBELET_ROOT.into())?;
        let kubelet_root = csi.as_ref().map(|_| kubelet_root);
        let parallelism = said.recovery_parallelism.map(|number| usize::try_from(number).unwrap_or(1));
        Ok(Self {
            engine: EngineConfig {
                state_dir: path(flags.state_dir, said.state_dir, Self::STATE_DIR.into())?,
                mount_dir,
                node: node.unwrap_or_else(host_name),
                kubelet_root,
                default_size: said.default_size.unwrap_or(Size::from_bytes(1 << 30)),
                low_water: said.low_water,
                blanks: said.blanks.unwrap_or(2),
                stale_after: said.stale_after.unwrap_or(Duration::from_secs(30)),
                recovery_parallelism: parallelism.unwrap_or(4),
                events_kept: said.events_kept.map_or(50_000, u64::from),
                temp_grace: said.temp_grace_period.unwrap_or(Period::After(600)),
                released_retention: said.released_retention.unwrap_or(Period::Never),
                released_warn_percent: said.released_warn_percent.unwrap_or(20),
                observe_every: said.observe_every.unwrap_or(Duration::from_secs(10)),
                notify: said.notify,
                hooks: SnapshotHooks {
                    before: said.before_snapshot.unwrap_or_default(),
                    after: said.after_snapshot.unwrap_or_default(),
                    timeout: said.snapshot_hook_timeout.unwrap_or(SnapshotHooks::default().timeout),
                    go_on: said.snapshot_hook_failure == Some(HookFailure::GoOn),
                },
            },
            run_dir,
            group: said.group.unwrap_or_else(|| "orlop".to_owned()),
            log_format,
            log_filter: flags.log_filter.or(said.log).unwrap_or_else(|| "info".to_owned()),
            drain: said.drain.unwrap_or(Duration::from_secs(30)),
            csi,
        })
    }
}

impl Csi {
    /// The name of the host is no substitute for a node's: in a container it is the pod's.
    fn new(endpoint: &str, node: Option<&str>, expand_on_node: bool) -> Result<Self> {
        let node = node.ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, "a CSI endpoint is given, and the node has no name")
                .object("--node-id")
                .hint("give --node-id the name that the orchestrator has for this node")
        })?;
        let driver = Settings::new(node.to_owned(), expand_on_node)?;
        Ok(Self { socket: orlop_csi::socket(endpoint)?, driver })
    }
}

/// Commands are run as root, so nobody else may choose them.
fn owned_by_root(file: &Path) -> Result<()> {
    let found = fs::metadata(file)
        .map_err(|fault| Error::new(ErrorKind::Host, format!("can't look at {}: {fault}", file.display())))?;
    if found.uid() == 0 && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    let message = format!("{} names commands to run, and others than root may change it", file.display());
    Err(Error::new(ErrorKind::PermissionDenied, message)
        .object(format!("configuration {}", file.display()))
        .hint(format!("chown root {0} && chmod go-w {0}", file.display())))
}

fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path).map_err(|fault| {
        Error::new(ErrorKind::InvalidArgument, format!("{} is no path: {fault}", path.display()))
            .hint("give an absolute path")
    })
}

/// The node's name: what the kernel calls this host.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

/// The configuration file's bytes; one that nobody named may be missing.
fn bytes_of(path: &Path, named: bool) -> Result<Vec<u8>> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound && !named => Ok(Vec::new()),
        Err(fault) => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("the configuration {} can't be read: {fault}", path.display()),
        )
        .object(format!("configuration {}", path.display()))
        .hint("name a file that can be read with --config")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_as_documented() {
        let config = Config::combine(Overrides::default(), Configuration::default()).unwrap();
        assert_eq!(config.engine.state_dir, Path::new("/var/lib/orlop"));
        assert_eq!(config.run_dir, Path::new("/run/orlop"));
        assert_eq!(config.engine.mount_dir, Path::new("/run/orlop/mounts"));
        assert_eq!(config.engine.stale_after, Duration::from_secs(30));
        assert_eq!(config.engine.temp_grace, Period::After(10 * 60));
        assert_eq!(config.engine.released_retention, Period::Never);
        assert_eq!(config.engine.released_warn_percent, 20);
        assert!(!config.engine.node.is_empty());
    }

    #[test]
    fn an_orchestrator_is_served_where_an_endpoint_is_given() {
        let said = |text: &str| Configuration::read("orlop.yaml", text.as_bytes().to_vec()).unwrap();
        let combine = |flags, text| Config::combine(flags, said(text));
        let none = combine(Overrides::default(), "nodeId: a\nkubeletRoot: /k\n").unwrap();
        assert_eq!((none.csi, none.engine.kubelet_root, none.engine.node.as_str()), (None, None, "a"));

        let file = "csiEndpoint: unix:///a/csi.sock\nnodeId: a\ncsiExpandOnNode: true\n";
        let config =
            combine(Overrides { node_id: Some("b".to_owned()), ..Default::default() }, file).unwrap();
        let csi = config.csi.unwrap();
        assert_eq!(csi.socket, Path::new("/a/csi.sock"));
        assert_eq!(csi.driver, Settings { node: "b".to_owned(), expand_on_node: true });
        assert_eq!(config.engine.node, "b");
        assert_eq!(config.engine.kubelet_root.as_deref(), Some(Path::new("/var/lib/kubelet")));

        for (file, object) in [
            ("csiEndpoint: unix:///a/csi.sock\n", "--node-id"),
            ("csiEndpoint: tcp://127.0.0.1:1\nnodeId: a\n", "CSI endpoint"),
            ("csiEndpoint: unix:///a/csi.sock\nnodeId: a/b\n", "node id"),
        ] {
            let error = combine(Overrides::default(), file).unwrap_err();
            assert_eq!((error.kind, error.object.as_deref()), (ErrorKind::InvalidArgument, Some(object)));
        }
    }

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("orlop.yaml");
        fs::write(&file, "stateDir: /file/state\nrunDir: /file/run\nlogFormat: json\nblanks: 0\n").unwrap();
        let flags = Overrides {
            config: Some(file.clone()),
            state_dir: Some("/flag/state".into()),
            ..Overrides::default()
        };
        let config = Config::load(flags.clone()).unwrap();
        assert_eq!(config.engine.state_dir, Path::new("/flag/state"));
        assert_eq!(config.run_dir, Path::new("/file/run"));
        assert_eq!(config.engine.mount_dir, Path::new("/file/run/mounts"));
        assert_eq!(config.log_format, LogFormat::Json);
        assert_eq!(config.engine.blanks, 0);

        // Commands are root's to name.
        fs::write(&file, "beforeSnapshot: [/bin/true]\nsnapshotHookFailure: goOn\n").unwrap();
        use std::os::unix::fs::PermissionsExt;
        let open = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        open(0o666);
        assert_eq!(Config::load(flags.clone()).unwrap_err().kind, ErrorKind::PermissionDenied);
        open(0o644);
        if fs::metadata(&file).unwrap().uid() == 0 {
            let hooks = Config::load(flags.clone()).unwrap().engine.hooks;
            assert_eq!((hooks.before, hooks.go_on), (vec!["/bin/true".to_owned()], true));
        }

        fs::write(&file, "stateDirs: /a\n").unwrap();
        let error = Config::load(flags.clone()).unwrap_err();
        assert!(error.message.contains("orlop.yaml:1:1"), "{error}");
        fs::remove_file(&file).unwrap();
        let error = Config::load(flags).unwrap_err();
        assert!(error.message.contains("can't be read"), "{error}");
    }

    #[test]
    fn commands_come_only_from_a_file_that_root_alone_may_change() {
        use std::os::unix::fs::PermissionsExt;
        orlop_testkit::require!(orlop_testkit::Part::Root);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("orlop.yaml");
        fs::write(&file, "notify: [{command: /bin/true}]\n").unwrap();
        let load = || Config::load(Overrides { config: Some(file.clone()), ..Overrides::default() });
        assert_eq!(load().unwrap().engine.notify.len(), 1);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
        assert_eq!(load().unwrap_err().kind, ErrorKind::PermissionDenied);
        fs::write(&file, "notify: [{webhook: 'http://localhost/'}]\n").unwrap();
        assert_eq!(load().unwrap().engine.notify.len(), 1, "a webhook runs nothing");
    }
}
