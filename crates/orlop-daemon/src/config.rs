//! Where the daemon keeps things and what its limits are: defaults, the configuration file, flags;
//! the latter go before the former.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use orlop_engine::EngineConfig;
use orlop_model::{Error, ErrorKind, Result, Size};

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
    /// The configuration file; may be missing.
    pub const FILE: &str = "/etc/orlop/orlop.yaml";

    /// Reads the configuration file and lays the flags over it. All paths come out absolute.
    pub fn load(overrides: Overrides) -> Result<Self> {
        Self::combine(overrides)
    }

    fn combine(flags: Overrides) -> Result<Self> {
        let run_dir = absolute(flags.run_dir.unwrap_or_else(|| Self::RUN_DIR.into()))?;
        // Below the run directory: it is gone after a reboot, as all mounts are, and it stays
        // when the daemon is stopped, as they do.
        let mount_dir = absolute(flags.mount_dir.unwrap_or_else(|| run_dir.join("mounts")))?;
        Ok(Self {
            engine: EngineConfig {
                state_dir: absolute(flags.state_dir.unwrap_or_else(|| Self::STATE_DIR.into()))?,
                mount_dir,
                node: host_name(),
                default_size: Size::from_bytes(1 << 30),
                low_water: None,
                blanks: 2,
                stale_after: Duration::from_secs(30),
                recovery_parallelism: 4,
                events_kept: 50_000,
            },
            run_dir,
            group: "orlop".to_owned(),
            log_format: flags.log_format.unwrap_or_default(),
            log_filter: flags.log_filter.unwrap_or_else(|| "info".to_owned()),
            drain: Duration::from_secs(30),
        })
    }
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

/// The text of the configuration file; one that nobody named may be missing.
#[allow(dead_code)]
fn text_of(path: &Path, named: bool) -> Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound && !named => Ok(String::new()),
        Err(fault) => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("the configuration {} can't be read: {fault}", path.display()),
        )
        .object(format!("configuration {}", path.display()))
        .hint("name a file that can be read with --config")),
    }
}
