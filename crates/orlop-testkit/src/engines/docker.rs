//! A real Docker daemon, private to one test.
//!
//! It has a data directory, a socket, a containerd and namespaces of its own (see
//! [`super::namespace`]), no bridge and no firewall rules: run containers with `--network none`,
//! which [`Docker::container`] adds.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::image;
use super::namespace::Namespace;
use super::{IMAGE, Listed, parse_listing};
use crate::command::{Ran, eventually, run};
use crate::process::{alive, kill9, signal};
use crate::{http, skip};

/// dockerd starts in half a second; after a crash it first stops the containers it finds, which
/// takes up to their stop timeout of 10 seconds each.
const START: Duration = Duration::from_secs(90);

/// How a [`Docker`] is to be started.
#[derive(Debug, Default)]
pub struct Builder {
    live_restore: bool,
    plugins: Vec<(String, PathBuf)>,
}

impl Builder {
    /// Containers survive the daemon (`--live-restore`).
    pub fn live_restore(mut self) -> Self {
        self.live_restore = true;
        self
    }

    /// A volume plugin `name` listens on `socket`.
    pub fn plugin(mut self, name: &str, socket: impl Into<PathBuf>) -> Self {
        self.plugins.push((name.to_owned(), socket.into()));
        self
    }

    /// Starts it and waits until it answers.
    #[track_caller]
    pub fn start(self) -> Docker {
        let mut namespace = Namespace::new("docker");
        let cgroup = namespace
            .scratch()
            .path()
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        namespace.scratch_mut().also_remove_cgroup(&cgroup);
        let mut docker = Docker { daemon: None, live_restore: self.live_restore, cgroup, namespace };
        for (name, socket) in &self.plugins {
            docker.add_plugin(name, socket);
        }
        docker.start_daemon();
        docker
    }
}

/// A running Docker daemon; all of it ends when this is dropped.
#[derive(Debug)]
pub struct Docker {
    daemon: Option<Child>,
    live_restore: bool,
    cgroup: String,
    namespace: Namespace,
}

impl Docker {
    /// Starts one with nothing special.
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Starts one with options.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Its API socket, for a client library.
    pub fn socket(&self) -> PathBuf {
        self.namespace.scratch().join("docker.sock")
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The namespaces it runs in: their `/etc`, `/run` and processes.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Writes a plugin's spec file into the private `/etc/docker/plugins`, where Docker finds it
    /// without restart.
    #[track_caller]
    pub fn add_plugin(&self, name: &str, socket: &Path) {
        let file = self.namespace.host_path("/etc/docker/plugins").join(format!("{name}.spec"));
        std::fs::write(&file, format!("unix://{}", socket.display()))
            .unwrap_or_else(|e| panic!("cannot write {}: {e}", file.display()));
    }

    /// Runs the client: `docker.run(["volume", "ls"])`.
    #[track_caller]
    pub fn run<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        run(&mut self.client(args))
    }

    /// The client's command, not yet started; for one that is to run beside the test.
    pub fn client<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        // The client that came with the daemon, where there are several.
        let program = ["/usr/bin/docker".into()].into_iter().find(|p: &PathBuf| p.exists());
        let mut command =
            Command::new(program.or_else(|| skip::program("docker")).unwrap_or_else(|| "docker".into()));
        command.args(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self.point(&mut command);
        command
    }

    /// Makes a client's command use this daemon.
    fn point(&self, command: &mut Command) {
        command
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
            .env("DOCKER_CONFIG", self.namespace.scratch().path())
            .env_remove("DOCKER_CONTEXT");
    }

    /// `docker run --network none OPTIONS… busybox ARGV…`. The options hold `-d` or `--rm`.
    #[track_caller]
    pub fn container(&self, options: &[&str], argv: &[&str]) -> Ran {
        let fixed = ["run", "--network", "none"];
        self.run(fixed.iter().chain(options).chain(&[IMAGE]).chain(argv))
    }

    /// Runs Compose on the project whose file, `compose.yaml` say, lies in `dir`; the project has the
    /// directory's name.
    #[track_caller]
    pub fn compose(&self, dir: &Path, args: &[&str]) -> Ran {
        let mut command = Command::new("docker-compose");
        self.point(&mut command);
        run(command.args(args).current_dir(dir))
    }

    /// Imports the image [`IMAGE`].
    #[track_caller]
    pub fn import_busybox(&self) {
        let tar = image::archive(self.namespace.scratch().path());
        self.run(["import", &tar.display().to_string(), IMAGE]).ok();
    }

    /// The volumes it knows, sorted.
    #[track_caller]
    pub fn volume_ls(&self) -> Vec<Listed> {
        let text = self.run(["volume", "ls", "--format", "{{.Driver}} {{.Name}}"]).ok();
        let mut rows = parse_listing(&text);
        rows.sort();
        rows
    }

    /// The id, on the host, of a container's first process.
    #[track_caller]
    pub fn container_pid(&self, container: &str) -> i32 {
        let id = self.run(["inspect", "--format", "{{.State.Pid}}", container]).ok();
        let pid = id.parse().ok().and_then(|id| self.namespace.host_pid(id));
        pid.unwrap_or_else(|| panic!("the container {container} has no process (id {id:?})"))
    }

    /// `kill -9` of dockerd and its containerd. Shims and containers stay.
    #[track_caller]
    pub fn crash(&mut self) {
        // containerd may die with dockerd or be left; take both, dockerd first so that it can't
        // start another.
        for name in ["dockerd", "containerd"] {
            self.namespace.pids_named(name).into_iter().for_each(kill9);
        }
        self.reap();
    }

    /// Stops the daemon as a service manager does (SIGTERM); containers end unless live-restore.
    #[track_caller]
    pub fn stop(&mut self) {
        let pids = self.namespace.pids_named("dockerd");
        for &pid in &pids {
            signal(pid, Signal::TERM);
        }
        let ended = eventually(Duration::from_secs(60), || pids.iter().all(|&pid| !alive(pid)));
        assert!(ended, "dockerd does not stop:\n{}", self.log_tail());
        self.reap();
    }

    /// Starts the daemon again after [`Self::crash`] or [`Self::stop`].
    #[track_caller]
    pub fn restart(&mut self) {
        if self.daemon.is_some() {
            self.stop();
        }
        self.start_daemon();
    }

    #[track_caller]
    fn start_daemon(&mut self) {
        let scratch = self.namespace.scratch();
        let (exec, pid_file) = (scratch.join("exec"), scratch.join("docker.pid"));
        // A crash leaves them, and their ids may be in use by others by now.
        for stale in [&pid_file, &exec.join("containerd/containerd.pid")] {
            let _ = std::fs::remove_file(stale);
        }
        let log = File::options().create(true).append(true).open(self.log_file());
        let log = log.unwrap_or_else(|e| panic!("cannot make dockerd's log: {e}"));
        let error_log = log.try_clone().unwrap_or_else(|e| panic!("cannot share a log: {e}"));
        let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let mut command = self.namespace.command("dockerd");
        command
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            .arg(flag("data-root", &scratch.join("data")))
            .arg(flag("exec-root", &exec))
            .arg(flag("pidfile", &pid_file))
            .arg(format!("--host=unix://{}", self.socket().display()))
            .arg(format!("--cgroup-parent=/{}", self.cgroup));
        if self.live_restore {
            command.arg("--live-restore");
        }
        command.stdin(Stdio::null()).stdout(log).stderr(error_log);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start nsenter for dockerd: {e}"));
        let mut exited = None;
        let answers = eventually(START, || {
            exited = child.try_wait().unwrap_or_default();
            exited.is_some() || http::get(&self.socket(), "/_ping").is_ok_and(|(s, _)| s == 200)
        });
        self.daemon = Some(child);
        if let Some(status) = exited {
            panic!("dockerd ended at start ({status}):\n{}", self.log_tail());
        }
        assert!(answers, "dockerd does not answer after {START:?}:\n{}", self.log_tail());
    }

    fn reap(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            let _ = child.wait();
        }
    }

    fn log_file(&self) -> PathBuf {
        self.namespace.scratch().join("dockerd.log")
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("dockerd's log ends with:\n{}", self.log_tail());
        }
        signal(self.namespace.first(), Signal::KILL);
        self.reap();
    }
}
