//! The namespaces an engine lives in: mounts and process ids of its own.
//!
//! - `/run`, `/dev/shm`, `/etc` and `/var/lib` are private copies: several engines run side by
//!   side, and nothing is written to the host's. What an engine is to reach, a socket say, must
//!   lie elsewhere, in a [`Scratch`].
//! - Mounts are *slaves* of the host's: of mounts that the host makes later, the namespace receives
//!   those below a mount that was shared when the namespace was made. Where `/` is shared (systemd
//!   does that) this is everything. Where it isn't, a directory has to be made a shared mount
//!   first: a running Orlop daemon has done that with its mount directory, so start the daemon
//!   before the engine, or name the directory with the builder's `sees`.
//! - It all ends with the first process, which ends with the test.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::command::eventually;
use crate::process::{Process, alive, processes, signal};
use crate::scratch::Scratch;

/// Namespaces with nothing but their first process in them.
#[derive(Debug)]
pub struct Namespace {
    unshare: Child,
    first: i32,
    scratch: Scratch,
}

impl Namespace {
    /// Makes the namespaces. What is mounted later below a shared mount of the host, as the daemon's
    /// is, is seen in them.
    #[track_caller]
    pub fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let layers = scratch.mkdir("layers");
        let log_file = scratch.join("namespace.log");
        let log = File::create(&log_file).unwrap_or_else(|e| panic!("cannot make a namespace's log: {e}"));
        // A group of its own, so that a signal to the test's reaches the engine only through us.
        let mut unshare = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["--propagation", "slave"])
            .args(["sh", "-c", include_str!("namespace.sh"), "namespace"])
            .arg(&layers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start unshare: {e}"));
        let mut answer = String::new();
        if let Some(stdout) = unshare.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut answer);
        }
        let said = std::fs::read_to_string(&log_file).unwrap_or_default();
        assert_eq!(answer.trim(), "ready", "cannot make an engine's namespaces: {said}");
        let parent = i32::try_from(unshare.id()).unwrap_or_default();
        let first = processes()
            .into_iter()
            .find(|p| p.parent == parent)
            .unwrap_or_else(|| panic!("unshare {parent} has no child"));
        Self { unshare, first: first.pid, scratch }
    }

    /// A directory on the host's filesystem, seen in the namespaces at the same path.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// As [`Self::scratch`].
    pub fn scratch_mut(&mut self) -> &mut Scratch {
        &mut self.scratch
    }

    /// The id, on the host, of the first process.
    pub fn first(&self) -> i32 {
        self.first
    }

    /// Where the host finds a path of the namespace, `/etc/docker` say.
    pub fn host_path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.first)).join(inside.trim_start_matches('/'))
    }

    /// A command that runs in the namespaces, with a home directory of its own.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--mount", "--pid", "--wdns=/", "--target", &self.first.to_string(), "--"])
            .arg(program.as_ref())
            .env("HOME", self.scratch.path());
        for variable in ["DOCKER_HOST", "DOCKER_CONTEXT", "XDG_RUNTIME_DIR", "CONTAINER_HOST"] {
            command.env_remove(variable);
        }
        command
    }

    /// The processes of the namespaces and of those made in them (containers).
    pub fn processes(&self) -> Vec<Process> {
        let all = processes();
        let own = pid_namespace(self.first);
        if own.is_none() {
            return Vec::new();
        }
        // A container has a process-id namespace of its own, but a parent in ours.
        let inside = |p: &&Process| {
            let mut at = Some(*p);
            while let Some(process) = at {
                if pid_namespace(process.pid) == own {
                    return true;
                }
                at = all.iter().find(|q| q.pid == process.parent);
            }
            false
        };
        all.iter().filter(inside).cloned().collect()
    }

    /// The id, on the host, of the process that has `id` in the namespaces.
    pub fn host_pid(&self, id: i32) -> Option<i32> {
        let depth = processes().into_iter().find(|p| p.pid == self.first)?.ids.len();
        self.processes().into_iter().find(|p| p.ids.get(depth - 1) == Some(&id)).map(|p| p.pid)
    }

    /// The ids, on the host, of the processes of that name.
    pub fn pids_named(&self, name: &str) -> Vec<i32> {
        self.processes().into_iter().filter(|p| p.name == name).map(|p| p.pid).collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let inside = self.processes();
        signal(self.first, Signal::KILL);
        let _ = self.unshare.wait();
        // A process stuck in the kernel delays the end of the mounts.
        if !eventually(Duration::from_secs(10), || inside.iter().all(|p| !alive(p.pid))) {
            eprintln!("a process of {} does not end", self.scratch.path().display());
        }
    }
}

fn pid_namespace(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::run;
    use crate::mounts::{mounts_below_anywhere, share};
    use crate::{Part, require};

    #[test]
    fn writes_stay_inside_and_nothing_remains() {
        require!(Part::Root);
        let namespace = Namespace::new("ns");
        let write = "echo x | tee /etc/orlop-probe /run/orlop-probe /var/lib/orlop-probe";
        run(namespace.command("sh").args(["-c", write])).ok();
        for dir in ["/etc", "/run", "/var/lib"] {
            let file = format!("{dir}/orlop-probe");
            assert!(namespace.host_path(&file).exists(), "{file} inside");
            assert!(!Path::new(&file).exists(), "{file} on the host");
        }
        let base = namespace.scratch().path().to_owned();
        drop(namespace);
        assert_eq!(mounts_below_anywhere(&base), []);
        assert!(!base.exists());
    }

    #[test]
    fn sees_mounts_made_later_where_it_should() {
        require!(Part::Root);
        let mut host = Scratch::new("host");
        let (seen, unseen) = (host.mkdir("seen"), host.mkdir("private"));
        host.also_sweep(&seen);
        share(&seen);
        run(Command::new("mount").arg("--bind").args([&unseen, &unseen])).ok();
        run(Command::new("mount").arg("--make-private").arg(&unseen)).ok();
        let namespace = Namespace::new("ns");
        for dir in [&seen, &unseen] {
            let below = dir.join("later");
            std::fs::create_dir(&below).unwrap_or_else(|e| panic!("{e}"));
            run(Command::new("mount").args(["-t", "tmpfs", "later"]).arg(&below)).ok();
        }
        let inside = |dir: &Path| {
            let mounts = crate::mounts::mounts_of(&namespace.first().to_string());
            mounts.iter().any(|m| m.target == dir.join("later"))
        };
        assert_eq!((inside(&seen), inside(&unseen)), (true, false));
    }

    #[test]
    fn ids_are_translated() {
        require!(Part::Root);
        let namespace = Namespace::new("ns");
        let script = "sleep 60 & echo $!";
        let inner: i32 = run(namespace.command("sh").args(["-c", script]))
            .ok()
            .parse()
            .unwrap_or_else(|e| panic!("not a process id: {e}"));
        let outer = namespace.host_pid(inner).unwrap_or_else(|| panic!("{inner} is not found"));
        assert_eq!(namespace.pids_named("sleep"), [outer]);
        assert_eq!(namespace.host_pid(1), Some(namespace.first()));
        drop(namespace);
        assert!(!alive(outer));
    }
}
