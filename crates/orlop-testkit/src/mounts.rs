//! What the kernel says about mounts and loop devices, for assertions.
//!
//! Own code on purpose: a test must not ask the code it tests what the truth is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::run;

/// A line of a `mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Device as `major:minor`.
    pub device: String,
    /// What of the filesystem is mounted.
    pub root: PathBuf,
    /// Where it is mounted.
    pub target: PathBuf,
    /// Options of the mount, comma separated.
    pub options: String,
    /// Whether mounts made below it are passed on to other namespaces.
    pub shared: bool,
    /// The filesystem's type.
    pub filesystem: String,
    /// The filesystem's source.
    pub source: String,
}

/// The mounts of the test's own namespace, in the order they were made.
pub fn mounts() -> Vec<Mount> {
    mounts_of("self")
}

/// The mounts that a process (`self` or an id) sees; empty if it is gone.
pub fn mounts_of(process: &str) -> Vec<Mount> {
    let text = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default();
    text.lines().filter_map(parse).collect()
}

/// The mounts strictly below `dir` in any mount namespace of the machine, each once.
pub fn mounts_below_anywhere(dir: &Path) -> Vec<Mount> {
    let mut namespaces = BTreeSet::new();
    let mut found: Vec<Mount> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        let Ok(namespace) = fs::read_link(entry.path().join("ns/mnt")) else { continue };
        if pid.parse::<i32>().is_ok() && namespaces.insert(namespace) {
            for mount in mounts_of(&pid) {
                if mount.target != dir && mount.target.starts_with(dir) && !found.contains(&mount) {
                    found.push(mount);
                }
            }
        }
    }
    found
}

/// The loop devices whose backing file lies below `dir` (also if it has been unlinked), with it.
pub fn loops_below(dir: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        if let Ok(file) = fs::read_to_string(entry.path().join("loop/backing_file")) {
            let file = PathBuf::from(file.trim_end());
            if file.starts_with(dir) {
                found.push((Path::new("/dev").join(entry.file_name()), file));
            }
        }
    }
    found
}

/// Makes `dir` a mount point of its own that passes on what is mounted below it, as `/` is on a
/// machine run by systemd. Does nothing where it is one already. The caller's [`Scratch`] undoes it.
///
/// [`Scratch`]: crate::Scratch
#[track_caller]
pub fn share(dir: &Path) {
    if mounts().iter().any(|m| m.target == dir && m.shared) {
        return;
    }
    run(Command::new("mount").arg("--bind").args([dir, dir])).ok();
    run(Command::new("mount").arg("--make-shared").arg(dir)).ok();
}

fn parse(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    Some(Mount {
        device: (*left.get(2)?).to_owned(),
        root: unescape(left.get(3)?),
        target: unescape(left.get(4)?),
        options: (*left.get(5)?).to_owned(),
        shared: left.iter().skip(6).any(|tag| tag.starts_with("shared:")),
        filesystem: (*right.first()?).to_owned(),
        source: (*right.get(1)?).to_owned(),
    })
}

/// The kernel writes blanks, tabs, line ends and backslashes as three octal digits.
fn unescape(field: &str) -> PathBuf {
    let plain = field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n");
    PathBuf::from(plain.replace("\\134", "\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_parsed() {
        let line = r"36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 shared:2 - ext3 /dev/root rw";
        let mount = parse(line).unwrap_or_else(|| panic!("not parsed"));
        assert_eq!(mount.device, "98:0");
        assert_eq!(mount.target, Path::new("/mnt 2"));
        assert_eq!((mount.shared, mount.filesystem.as_str()), (true, "ext3"));
        assert!(parse("garbage").is_none());
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(mounts().iter().any(|m| m.target == Path::new("/")));
    }
}
