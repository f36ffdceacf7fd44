//! A real Podman, private to one test.
//!
//! Podman has no daemon: every command is a process of its own that finds its state in files.
//! All of them run in the same namespaces (see [`super::namespace`]), with storage, locks and
//! configuration of their own, all of it in the private `/etc/containers`: a plain `podman` in the
//! namespaces, called by a program under test say, is the same Podman.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::image;
use super::namespace::Namespace;
use super::{IMAGE, Listed, parse_listing};
use crate::command::{Ran, run};
use crate::process::kill9;

/// `f_type` of overlayfs, on which Podman can't stack another.
const OVERLAYFS_MAGIC: i64 = 0x794c_7630;

/// How a [`Podman`] is to be set up.
#[derive(Debug, Default)]
pub struct Builder {
    plugins: Vec<(String, PathBuf)>,
}

impl Builder {
    /// A volume plugin `name` listens on `socket`.
    pub fn plugin(mut self, name: &str, socket: impl Into<PathBuf>) -> Self {
        self.plugins.push((name.to_owned(), socket.into()));
        self
    }

    /// Sets it up.
    #[track_caller]
    pub fn start(self) -> Podman {
        let mut namespace = Namespace::new("podman");
        let cgroup = namespace
            .scratch()
            .path()
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        namespace.scratch_mut().also_remove_cgroup(&cgroup);
        let podman = Podman { cgroup, namespace };
        podman.configure(&self.plugins);
        podman
    }
}

/// A private Podman; its containers end when this is dropped.
#[derive(Debug)]
pub struct Podman {
    cgroup: String,
    namespace: Namespace,
}

impl Podman {
    /// Sets one up with nothing special.
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Sets one up with options.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The namespaces it runs in: their `/etc`, `/run` and processes.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Replaces the list of volume plugins in the private `containers.conf`.
    #[track_caller]
    pub fn set_plugins(&self, plugins: &[(&str, &Path)]) {
        let owned: Vec<_> = plugins.iter().map(|&(n, s)| (n.to_owned(), s.to_owned())).collect();
        self.configure(&owned);
    }

    /// Runs Podman: `podman.run(["volume", "ls"])`. `run`, `create` and `pod create` get a control
    /// group that is cleaned up later.
    #[track_caller]
    pub fn run<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        run(&mut self.client(args))
    }

    /// The command, not yet started; for one that is to run beside the test.
    pub fn client<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.namespace.command("podman");
        let args: Vec<String> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        command.args(with_cgroup(args, &self.cgroup));
        command
    }

    /// `podman run OPTIONS… busybox ARGV…`, without network unless it is a pod's to say. The options
    /// hold `-d` or `--rm`.
    #[track_caller]
    pub fn container(&self, options: &[&str], argv: &[&str]) -> Ran {
        let network: &[&str] = if options.contains(&"--pod") { &[] } else { &["--network", "none"] };
        self.run(["run"].iter().chain(network).chain(options).chain(&[IMAGE]).chain(argv))
    }

    /// Imports the image [`IMAGE`].
    #[track_caller]
    pub fn import_busybox(&self) {
        let tar = image::archive(self.namespace.scratch().path());
        self.run(["import", "--quiet", &tar.display().to_string(), IMAGE]).ok();
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
        self.state_pid(container, "{{.State.Pid}}")
    }

    /// `kill -9` of a container's monitor. The container's processes stay, and nobody tells Podman
    /// when they end.
    #[track_caller]
    pub fn kill_conmon(&self, container: &str) {
        kill9(self.state_pid(container, "{{.State.ConmonPid}}"));
    }

    #[track_caller]
    fn state_pid(&self, container: &str, field: &str) -> i32 {
        let id = self.run(["inspect", "--type", "container", "--format", field, container]).ok();
        let pid = id.parse().ok().and_then(|id| self.namespace.host_pid(id));
        pid.unwrap_or_else(|| panic!("the container {container} has no {field} (id {id:?})"))
    }

    #[track_caller]
    fn configure(&self, plugins: &[(String, PathBuf)]) {
        let etc = self.namespace.host_path("/etc/containers");
        let scratch = self.namespace.scratch().path();
        let overlay = rustix::fs::statfs(scratch).is_ok_and(|fs| fs.f_type != OVERLAYFS_MAGIC);
        let files = [
            ("containers.conf", containers_conf(plugins)),
            ("storage.conf", storage_conf(scratch, if overlay { "overlay" } else { "vfs" })),
            ("policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#.to_owned()),
        ];
        for (name, text) in files {
            std::fs::write(etc.join(name), text)
                .unwrap_or_else(|e| panic!("cannot write the private {name}: {e}"));
        }
    }
}

/// Debian's Podman prefers crun, and sets limits for containers that a host with lower ones refuses.
fn containers_conf(plugins: &[(String, PathBuf)]) -> String {
    let mut text = String::from(
        "[containers]\n\
         default_ulimits = [\"nofile=20000:20000\", \"nproc=1000:1000\"]\n\
         [engine]\n\
         cgroup_manager = \"cgroupfs\"\n\
         events_logger = \"file\"\n\
         runtime = \"runc\"\n\
         [engine.volume_plugins]\n",
    );
    for (name, socket) in plugins {
        text.push_str(&format!("{name} = \"{}\"\n", socket.display()));
    }
    text
}

fn storage_conf(scratch: &Path, driver: &str) -> String {
    let (root, runroot) = (scratch.join("root"), scratch.join("runroot"));
    format!(
        "[storage]\ndriver = \"{driver}\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
        root.display(),
        runroot.display()
    )
}

/// There is no setting for it, only an option of the commands that make something. A container in a
/// pod gets the pod's.
fn with_cgroup(mut args: Vec<String>, cgroup: &str) -> Vec<String> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let at = match words.as_slice() {
        ["run" | "create", ..] => 1,
        ["container", "run" | "create", ..] | ["pod", "create", ..] => 2,
        _ => return args,
    };
    let in_pod = at == 1 && words.iter().any(|w| *w == "--pod" || w.starts_with("--pod="));
    if !in_pod {
        args.insert(at, format!("--cgroup-parent=/{cgroup}"));
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn what_makes_containers_gets_a_cgroup() {
        let given = |line| with_cgroup(words(line), "g").join(" ");
        assert_eq!(given("run -d x"), "run --cgroup-parent=/g -d x");
        assert_eq!(given("pod create p"), "pod create --cgroup-parent=/g p");
        assert_eq!(given("run --pod p x"), "run --pod p x");
        assert_eq!(given("volume ls"), "volume ls");
    }

    #[test]
    fn plugins_are_named_in_the_configuration() {
        let text = containers_conf(&[("orlop".into(), "/x/podman.sock".into())]);
        assert!(text.ends_with("[engine.volume_plugins]\norlop = \"/x/podman.sock\"\n"), "{text}");
    }
}
