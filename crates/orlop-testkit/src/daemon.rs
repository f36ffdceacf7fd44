//! A real Orlop daemon, private to one test: the built `orlop` binary on directories of its own.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::command::{Ran, eventually, run};
use crate::engines::namespace::Namespace;
use crate::http;
use crate::mounts::{loops_below, mounts_below_anywhere, share};
use crate::process::{kill9, signal};
use crate::scratch::Scratch;

/// Recovery of volumes that were in use comes before readiness, so this is generous.
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);

/// How an [`OrlopDaemon`] is to be started.
#[derive(Debug, Default)]
pub struct Builder {
    state_dir: Option<PathBuf>,
    config: Option<String>,
    env: Vec<(OsString, OsString)>,
    wrapper: Vec<OsString>,
    below_shared_mount: bool,
}

impl Builder {
    /// The state directory lies here, on a [`crate::ScratchFs`] say, and not in the daemon's
    /// scratch directory.
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(dir.into());
        self
    }

    /// The text of the configuration file.
    pub fn config(mut self, text: impl Into<String>) -> Self {
        self.config = Some(text.into());
        self
    }

    /// An environment variable of the daemon.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// A program, with arguments, that is to become the daemon: `unshare -m`, `setpriv …`. It must
    /// not fork, for the daemon is signalled by its id.
    pub fn wrapper<S: Into<OsString>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.wrapper = words.into_iter().map(Into::into).collect();
        self
    }

    /// The mount directory lies below a shared mount, as any directory does where systemd made one
    /// of `/`: an engine goes on seeing what the daemon mounts after a restart.
    pub fn below_shared_mount(mut self) -> Self {
        self.below_shared_mount = true;
        self
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> OrlopDaemon {
        let mut daemon = self.start_unready();
        daemon.wait_ready();
        daemon
    }

    /// Starts it and doesn't wait.
    #[track_caller]
    pub fn start_unready(self) -> OrlopDaemon {
        let mut scratch = Scratch::new("daemon");
        let state_dir = self.state_dir.unwrap_or_else(|| scratch.mkdir("state"));
        scratch.also_sweep(&state_dir);
        let config = self.config.map(|text| {
            let file = scratch.join("orlop.yaml");
            std::fs::write(&file, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", file.display()));
            file
        });
        let mut daemon = OrlopDaemon {
            child: None,
            binary: binary(),
            state_dir,
            config,
            env: self.env,
            wrapper: self.wrapper,
            scratch,
        };
        if self.below_shared_mount {
            share(daemon.scratch.path());
        }
        daemon.spawn();
        daemon
    }
}

/// A daemon. When it is dropped it is killed, and what it mounted and attached is taken away; an
/// engine that uses its volumes has to be dropped before, so declare that after.
#[derive(Debug)]
pub struct OrlopDaemon {
    child: Option<Child>,
    binary: PathBuf,
    state_dir: PathBuf,
    config: Option<PathBuf>,
    env: Vec<(OsString, OsString)>,
    wrapper: Vec<OsString>,
    scratch: Scratch,
}

impl OrlopDaemon {
    /// Starts one with an empty state directory and waits until it is ready.
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Starts one with options.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where the store and the default pool are.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Where the sockets are.
    pub fn run_dir(&self) -> PathBuf {
        self.scratch.join("run")
    }

    /// Where volumes are mounted.
    pub fn mount_dir(&self) -> PathBuf {
        self.scratch.join("mnt")
    }

    /// The socket of the REST interface.
    pub fn socket(&self) -> PathBuf {
        self.run_dir().join("orlop.sock")
    }

    /// The socket of the Docker plugin.
    pub fn docker_socket(&self) -> PathBuf {
        self.run_dir().join("docker.sock")
    }

    /// The socket of the Podman plugin.
    pub fn podman_socket(&self) -> PathBuf {
        self.run_dir().join("podman.sock")
    }

    /// A directory for the test's own files; it goes with the daemon.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The process id; panics while it doesn't run.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let id = self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok());
        id.unwrap_or_else(|| panic!("the daemon does not run"))
    }

    /// All it has logged, over all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Runs the command line program against it: `daemon.cli(["get", "-t", "volume"])`.
    #[track_caller]
    pub fn cli<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        run(&mut self.client(args))
    }

    /// The command line program's command, not yet started.
    pub fn client<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args.into_iter().map(|arg| arg.as_ref().to_owned())).env("ORLOP_SOCKET", self.socket());
        command
    }

    /// As [`Self::client`], in an engine's namespaces, where it finds the engine's program working.
    pub fn client_within<S: AsRef<str>>(
        &self,
        namespace: &Namespace,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = namespace.command(&self.binary);
        command.args(args.into_iter().map(|arg| arg.as_ref().to_owned())).env("ORLOP_SOCKET", self.socket());
        command
    }

    /// Writes the manifest to a file and applies it.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> Ran {
        let file = self.scratch.join("manifest.yaml");
        std::fs::write(&file, manifest).unwrap_or_else(|e| panic!("cannot write {}: {e}", file.display()));
        self.cli(["apply", "-f", &file.display().to_string()])
    }

    /// GETs a path of the REST interface: status and body.
    #[track_caller]
    pub fn get(&self, path: &str) -> (u16, String) {
        http::get(&self.socket(), path).unwrap_or_else(|e| panic!("GET {path}: {e}\n{}", self.tail()))
    }

    /// Waits until `/readyz` says 200.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        let mut last = String::from("no answer");
        let mut exited = None;
        let ready = eventually(START, || {
            exited = self.exited();
            match http::get(&self.socket(), "/readyz") {
                Ok((200, _)) => return true,
                Ok((status, body)) => last = format!("{status} {body}"),
                Err(e) => last = e.to_string(),
            }
            exited.is_some()
        });
        if let Some(status) = exited {
            panic!("the daemon ended at start ({status}):\n{}", self.tail());
        }
        assert!(ready, "the daemon is not ready after {START:?} ({last}):\n{}", self.tail());
    }

    /// `kill -9`.
    #[track_caller]
    pub fn kill9(&mut self) {
        kill9(self.pid());
        self.reap();
    }

    /// SIGTERM; the daemon must end in time and with success.
    #[track_caller]
    pub fn stop(&mut self) {
        signal(self.pid(), Signal::TERM);
        let mut status = None;
        eventually(STOP, || {
            status = self.exited();
            status.is_some()
        });
        match status {
            Some(status) if status.success() => self.child = None,
            Some(status) => panic!("the daemon stopped with {status}:\n{}", self.tail()),
            None => panic!("the daemon does not stop within {STOP:?}:\n{}", self.tail()),
        }
    }

    /// Starts it on the same directories, after stopping it if it runs, and waits until it is ready.
    #[track_caller]
    pub fn restart(&mut self) {
        if self.child.is_some() {
            self.stop();
        }
        self.spawn();
        self.wait_ready();
    }

    /// Panics if a volume is still mounted in any namespace, or a loop device has one of its files.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let (mut mounts, mut loops) = (Vec::new(), Vec::new());
        // The kernel takes a namespace apart a moment after its last process.
        let clean = eventually(Duration::from_secs(5), || {
            mounts = mounts_below_anywhere(&self.mount_dir());
            loops = loops_below(&self.state_dir);
            mounts.is_empty() && loops.is_empty()
        });
        assert!(clean, "left behind:\nmounts {mounts:#?}\nloop devices {loops:#?}");
    }

    #[track_caller]
    fn spawn(&mut self) {
        let mut words = self.wrapper.clone();
        words.push(self.binary.clone().into());
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).arg("serve");
        for (flag, dir) in [
            ("--state-dir", self.state_dir.clone()),
            ("--run-dir", self.run_dir()),
            ("--mount-dir", self.mount_dir()),
        ] {
            command.arg(flag).arg(dir);
        }
        // Always given: the host's own configuration must not reach a test.
        let config = self.config.clone().unwrap_or_else(|| {
            let empty = self.scratch.join("orlop.yaml");
            let _ = File::create(&empty);
            empty
        });
        command.arg("--config").arg(config).envs(self.env.iter().cloned());
        let log = File::options().create(true).append(true).open(self.log_file());
        let log = log.unwrap_or_else(|e| panic!("cannot make the daemon's log: {e}"));
        let error_log = log.try_clone().unwrap_or_else(|e| panic!("cannot share a log: {e}"));
        command.stdin(Stdio::null()).stdout(log).stderr(error_log);
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot start the daemon: {e}"));
        self.child = Some(child);
        let pid = self.pid();
        self.scratch.also_kill(pid);
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().unwrap_or_default())
    }

    fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    fn log_file(&self) -> PathBuf {
        self.scratch.join("daemon.log")
    }

    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for OrlopDaemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon's log ends with:\n{}", self.tail());
        }
        if let Some(child) = &mut self.child {
            let _ = child.kill();
        }
        self.reap();
    }
}

/// The binary under test: `ORLOP_BIN`, else the one that was built beside the test.
#[track_caller]
pub fn binary() -> PathBuf {
    if let Some(file) = std::env::var_os("ORLOP_BIN") {
        return file.into();
    }
    // target/debug/deps/test-0123 → target/debug/orlop
    let test = std::env::current_exe().unwrap_or_default();
    let file = test.ancestors().nth(2).unwrap_or(&test).join("orlop");
    assert!(file.is_file(), "no {}: run `cargo build -p orlop` first", file.display());
    file
}
