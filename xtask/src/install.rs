//! What a task needs of the machine: rights, kernel features, Debian packages, cargo's tools.
//!
//! Where all is there it takes a few milliseconds and changes nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::step::{cargo, root, show};

/// A Debian package, and the programs we want it for. Machines that got those from elsewhere
/// (Docker's own packages, say) don't get the package; no programs means that it must be this one.
struct Package {
    name: &'static str,
    programs: &'static [&'static str],
}

/// What the tests need. Podman wants catatonit for pods, the fuzzer is C++.
const FOR_TESTS: &[Package] = &[
    Package { name: "docker.io", programs: &["docker", "dockerd", "containerd"] },
    Package { name: "docker-compose", programs: &["docker-compose"] },
    Package { name: "podman", programs: &["podman", "conmon"] },
    Package { name: "catatonit", programs: &["catatonit"] },
    Package { name: "runc", programs: &["runc"] },
    Package { name: "busybox-static", programs: &[] },
    Package { name: "e2fsprogs", programs: &["mkfs.ext4", "fsck.ext4"] },
    Package { name: "xfsprogs", programs: &["mkfs.xfs", "xfs_repair"] },
    Package { name: "btrfs-progs", programs: &["mkfs.btrfs"] },
    Package { name: "util-linux", programs: &["nsenter", "unshare", "losetup"] },
    Package { name: "mount", programs: &["mount", "umount"] },
    Package { name: "sqlite3", programs: &["sqlite3"] },
    Package { name: "kubernetes-client", programs: &["kubectl"] },
    Package { name: "curl", programs: &["curl"] },
    Package { name: "g++", programs: &["g++"] },
];

/// What the benchmark needs beyond the tests.
const FOR_BENCH: &[Package] = &[Package { name: "fio", programs: &["fio"] }];

/// What the test in a virtual machine needs beyond the tests.
const FOR_VM: &[Package] = &[
    Package { name: "qemu-system-x86", programs: &["qemu-system-x86_64"] },
    Package { name: "cpio", programs: &["cpio"] },
];

/// A program of a Debian package that is not installed, as it would start a service: it is only unpacked.
struct Unpacked {
    package: &'static str,
    program: &'static str,
    /// Where it is in the package.
    file: &'static str,
}

const UNPACKED: &[Unpacked] =
    &[Unpacked { package: "prometheus", program: "promtool", file: "usr/bin/promtool" }];

/// A program of cargo's, in the version that was tried out.
struct Tool {
    program: &'static str,
    version: &'static str,
    options: &'static [&'static str],
}

const TOOLS: &[Tool] = &[
    Tool {
        program: "cargo-nextest",
        version: "0.9.143",
        // Without what it updates itself with: half the crates.
        options: &["--no-default-features", "--features", "default-no-update"],
    },
    Tool { program: "cargo-deny", version: "0.20.2", options: &[] },
];

/// Makes sure that everything the tests need is there, and installs what is missing.
pub(crate) fn for_tests() -> Result<(), String> {
    rights()?;
    packages(FOR_TESTS)?;
    unpack(UNPACKED)?;
    tools(TOOLS)
}

/// What the demo needs: the packages, but none of the tools that tests need.
pub(crate) fn for_demo() -> Result<(), String> {
    rights()?;
    packages(FOR_TESTS)
}

/// What the benchmark needs.
pub(crate) fn for_bench() -> Result<(), String> {
    for_demo()?;
    packages(FOR_BENCH)
}

/// What the test in a virtual machine needs.
pub(crate) fn for_vm() -> Result<(), String> {
    for_demo()?;
    packages(FOR_VM)
}

/// Where cargo's tools are installed to; goes in front of PATH.
pub(crate) fn tools_dir() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root().join(target.unwrap_or_else(|| "target".into())).join("tools")
}

/// PATH with our tools in front.
pub(crate) fn path() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(tools_dir().join("bin")).chain(std::env::split_paths(&path));
    std::env::join_paths(dirs).unwrap_or(path)
}

fn rights() -> Result<(), String> {
    if effective_user() != Some(0) {
        return Err("This needs root, for it mounts filesystems and runs container engines: run it \
                    with `sudo env \"PATH=$PATH\" cargo xtask …`, on a machine meant for tests."
            .to_owned());
    }
    let control = Path::new("/dev/loop-control");
    let free = || Command::new("losetup").arg("--find").output().is_ok_and(|o| o.status.success());
    if !control.exists() || !free() {
        return Err("This machine gives no loop device: run `modprobe loop`; in a container, start \
                    it with `--privileged -v /dev:/dev`."
            .to_owned());
    }
    Ok(())
}

fn effective_user() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_whitespace().nth(1)?.parse().ok()
}

fn packages(wanted: &[Package]) -> Result<(), String> {
    let missing = missing(wanted, has_program, is_installed);
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !has_program("apt-get") {
        return Err(format!(
            "These Debian packages are missing, and there is no apt-get: {list}. Install what \
             they hold in your system's way."
        ));
    }
    println!("installing the packages {list}");
    apt(&["update", "-qq"])?;
    let mut words = vec!["install", "-y", "-qq", "--no-install-recommends"];
    words.extend(missing);
    apt(&words)
}

fn missing(
    wanted: &[Package],
    has: impl Fn(&str) -> bool,
    installed: impl Fn(&str) -> bool,
) -> Vec<&'static str> {
    let there = |package: &Package| {
        let programs = package.programs;
        (!programs.is_empty() && programs.iter().all(|name| has(name))) || installed(package.name)
    };
    wanted.iter().filter(|package| !there(package)).map(|package| package.name).collect()
}

fn apt(words: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    show(command.args(words).env("DEBIAN_FRONTEND", "noninteractive"))
        .map_err(|e| format!("{e}: look at its message above; the network may be missing"))
}

fn unpack(wanted: &[Unpacked]) -> Result<(), String> {
    for Unpacked { package, program, file } in wanted {
        let ours = tools_dir().join("bin").join(program);
        if ours.is_file() || has_program(program) {
            continue;
        }
        println!("unpacking {program} from the package {package}");
        apt(&["update", "-qq"])?;
        let place = tools_dir().join("unpacked");
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).map_err(|e| format!("cannot make {}: {e}", place.display()))?;
        let mut download = Command::new("apt-get");
        // What root downloads into a directory of his own, no other user can write there.
        let as_root = ["-o", "APT::Sandbox::User=root"];
        show(download.args(as_root).args(["download", "-qq", package]).current_dir(&place))
            .map_err(|e| format!("{e}: look at its message above; the network may be missing"))?;
        let entries = fs::read_dir(&place).map_err(|e| format!("cannot read {}: {e}", place.display()))?;
        let archive = entries.flatten().map(|entry| entry.path()).next();
        let archive = archive.ok_or_else(|| format!("apt-get downloaded no package {package}"))?;
        show(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(place.join("content")))?;
        let _ = fs::create_dir_all(tools_dir().join("bin"));
        let unpacked = place.join("content").join(file);
        fs::rename(&unpacked, &ours).map_err(|e| format!("the package {package} has no {file}: {e}"))?;
        let _ = fs::remove_dir_all(&place);
    }
    Ok(())
}

fn tools(wanted: &[Tool]) -> Result<(), String> {
    for tool in wanted {
        let ours = tools_dir().join("bin").join(tool.program);
        if ours.is_file() || has_program(tool.program) {
            continue;
        }
        println!("building {} {}: takes some minutes, once", tool.program, tool.version);
        show(
            cargo()
                .args(["install", "--quiet", "--locked", "--root"])
                .arg(tools_dir())
                .args([tool.program, "--version", tool.version])
                .args(tool.options)
                // Its own build directory goes away when it is done.
                .env_remove("CARGO_TARGET_DIR"),
        )?;
    }
    Ok(())
}

fn is_installed(package: &str) -> bool {
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output();
    query.is_ok_and(|output| output.stdout == b"installed")
}

fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).any(|dir| dir.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_there_by_its_programs_or_by_name() {
        let wanted = [
            Package { name: "a", programs: &["a1", "a2"] },
            Package { name: "b", programs: &[] },
            Package { name: "c", programs: &["c1"] },
        ];
        let all = |_: &str| true;
        let none = |_: &str| false;
        assert_eq!(missing(&wanted, all, none), ["b"]);
        assert_eq!(missing(&wanted, |p| p == "a1", none), ["a", "b", "c"]);
        assert_eq!(missing(&wanted, none, |p| p == "c"), ["a", "b"]);
    }

    #[test]
    fn this_machine_has_a_shell_and_a_user() {
        assert!(has_program("sh") && !has_program("no-such-program"));
        assert!(effective_user().is_some());
        assert!(!is_installed("no-such-package"));
    }
}
