//! What a test needs of the machine, and what happens where that is missing.
//!
//! A skip names its reason and is counted. Where `CI` is set, a part that CI can have must be
//! there: its absence fails the test.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Names the file that skips are written to, one line each; the test runner reads it.
pub const SKIPS_FILE: &str = "ORLOP_SKIPS_FILE";

/// A part of the machine that a test may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// User id 0.
    Root,
    /// Loop devices, the right to mount, and ext4's tools. Implies root.
    Loop,
    /// XFS in the kernel, and its tools.
    Xfs,
    /// btrfs in the kernel, and its tools.
    Btrfs,
    /// Docker's daemon and client, and a static busybox. Implies root.
    Docker,
    /// Docker, and Compose as a program of its own.
    Compose,
    /// Podman, runc, and a static busybox. Implies root.
    Podman,
    /// The `sqlite3` shell.
    Sqlite3,
    /// `kubectl`, which needs no cluster for what it is asked.
    Kubectl,
    /// Prometheus's `promtool`, which needs no server for what it is asked.
    Promtool,
    /// A kernel that can run a virtual machine.
    Kvm,
}

impl Part {
    /// Why it is missing, and what to do about it; none where it is there.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Root => {
                (!rustix::process::geteuid().is_root()).then(|| "not root: run the tests as root".to_owned())
            }
            Self::Loop => Self::Root
                .missing()
                .or_else(|| missing_file("/dev/loop-control", "load the module `loop`"))
                .or_else(|| missing_program("mkfs.ext4", "e2fsprogs")),
            Self::Xfs => missing_program("mkfs.xfs", "xfsprogs"),
            Self::Btrfs => missing_program("mkfs.btrfs", "btrfs-progs"),
            Self::Docker => Self::Root
                .missing()
                .or_else(|| missing_program("dockerd", "docker.io"))
                .or_else(|| missing_program("docker", "docker.io"))
                .or_else(missing_busybox),
            Self::Compose => {
                Self::Docker.missing().or_else(|| missing_program("docker-compose", "docker-compose"))
            }
            Self::Podman => Self::Root
                .missing()
                .or_else(|| missing_program("podman", "podman"))
                .or_else(|| missing_program("runc", "runc"))
                .or_else(missing_busybox),
            Self::Sqlite3 => missing_program("sqlite3", "sqlite3"),
            Self::Kubectl => missing_program("kubectl", "kubernetes-client"),
            Self::Promtool => missing_program("promtool", "prometheus"),
            Self::Kvm => missing_file("/dev/kvm", "use a machine with virtualisation"),
        }
    }

    /// Whether CI can have it, so that its absence there is a failure and not a skip.
    pub fn ci_has(self) -> bool {
        match self {
            Self::Root
            | Self::Loop
            | Self::Xfs
            | Self::Btrfs
            | Self::Docker
            | Self::Compose
            | Self::Podman
            | Self::Sqlite3
            | Self::Kubectl
            | Self::Promtool => true,
            Self::Kvm => false,
        }
    }
}

/// Ends the test here, as skipped, unless the machine has every [`Part`] named.
///
/// With `CI` set it panics instead, if CI can have the part.
#[macro_export]
macro_rules! require {
    ($($part:expr),+ $(,)?) => {
        $(if let Some(reason) = $crate::Part::missing($part) {
            $crate::skip::skipped(&reason, $crate::Part::ci_has($part));
            return;
        })+
    };
}

/// Ends the test here, as skipped, for a reason that no [`Part`] names and that CI may have too.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        $crate::skip::skipped(&format!($($reason)+), false);
        return;
    }};
}

/// Records a skip of the current test. Panics where `CI` is set and CI can have what is missing.
#[track_caller]
pub fn skipped(reason: &str, ci_has_it: bool) {
    let ci = std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false");
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    if let Some(fault) = decide(&name, reason, ci, ci_has_it) {
        panic!("{fault}");
    }
    let line = format!("{name}: {reason}\n");
    eprint!("skipped: {line}");
    if let Some(file) = std::env::var_os(SKIPS_FILE) {
        // One write in append mode: tests run at the same time.
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&file)
            .and_then(|mut f| f.write_all(line.as_bytes()))
            .unwrap_or_else(|e| panic!("cannot note a skip in {}: {e}", Path::new(&file).display()));
    }
}

fn decide(name: &str, reason: &str, ci: bool, ci_has_it: bool) -> Option<String> {
    (ci && ci_has_it).then(|| format!("{name} may not be skipped in CI: {reason}"))
}

/// Where a program is, by PATH and the directories of system programs.
pub fn program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(Into::into);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn missing_program(name: &str, package: &str) -> Option<String> {
    program(name).is_none().then(|| format!("no {name}: install the package {package}"))
}

fn missing_file(path: &str, remedy: &str) -> Option<String> {
    (!Path::new(path).exists()).then(|| format!("no {path}: {remedy}"))
}

/// Containers get this one file: it must need no other, so no dynamic loader.
fn missing_busybox() -> Option<String> {
    let remedy = "install the package busybox-static";
    match program("busybox").and_then(|file| std::fs::read(file).ok()) {
        None => Some(format!("no busybox: {remedy}")),
        Some(bytes) => {
            let head = &bytes[..bytes.len().min(4096)];
            let dynamic = head.windows(3).any(|w| w == b"ld-");
            dynamic.then(|| format!("busybox is not a static program: {remedy}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_may_skip_only_what_it_cannot_have() {
        assert_eq!(decide("t", "no x", false, true), None);
        assert_eq!(decide("t", "no x", true, false), None);
        assert_eq!(decide("t", "no x", true, true).as_deref(), Some("t may not be skipped in CI: no x"));
    }

    #[test]
    fn what_is_missing_names_the_package() {
        assert_eq!(missing_program("sh", "dash"), None);
        assert_eq!(
            missing_program("no-such-program", "thing").as_deref(),
            Some("no no-such-program: install the package thing")
        );
    }
}
