//! The kernel's mount tables, of our own and of every other mount namespace.
//!
//! A mount namespace is seen through a process in it. One that no process is in (held only by a
//! descriptor or a bind mount of `ns/mnt`), or that only a single thread entered, is not seen, and
//! without CAP_SYS_PTRACE neither are those of processes with more privileges than ours. So, before
//! data is deleted, [`crate::loopdev::probe_exclusive`] asks the kernel itself.

mod parse;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::error::{Result, SysError};
use crate::identity::DeviceNumber;

pub use parse::{MountEntry, parse, parse_line};

/// The mounts of one mount namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceMounts {
    /// The namespace's inode number: its identity while it lives.
    pub namespace: u64,
    /// Whether it is the one this process is in.
    pub own: bool,
    /// A process in it.
    pub pid: u32,
    /// That process's command name.
    pub comm: String,
    /// Its whole mount table.
    pub mounts: Vec<MountEntry>,
}

/// One mount of a device, and where it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceMount {
    /// The device it is a mount of.
    pub device: DeviceNumber,
    /// The namespace's inode number.
    pub namespace: u64,
    /// Whether it is the one this process is in.
    pub own: bool,
    /// A process in that namespace, to name to the user. Not necessarily one that uses the mount.
    pub pid: u32,
    /// That process's command name.
    pub comm: String,
    /// Where it is mounted, as that process sees it.
    pub mount_point: PathBuf,
    /// Which directory of the filesystem is mounted there.
    pub root: PathBuf,
    /// This mount can't be written through.
    pub read_only: bool,
}

/// Our own mount table.
pub fn own() -> Result<Vec<MountEntry>> {
    parse(&read(Path::new("/proc/self/mountinfo"))?)
}

/// The mount table that a process sees.
///
/// # Errors
/// [`SysError::NotFound`] when the process is gone.
pub fn of_pid(pid: u32) -> Result<Vec<MountEntry>> {
    parse(&read(Path::new(&format!("/proc/{pid}/mountinfo")))?)
}

/// What is mounted on exactly this path in our namespace: the topmost mount there.
pub fn mounted_at(path: &Path) -> Result<Option<MountEntry>> {
    Ok(own()?.into_iter().rev().find(|entry| entry.mount_point == path))
}

/// The whole table of every mount namespace. On a busy host this is large; to look for devices use
/// [`mounts_of_devices`].
pub fn all_namespaces() -> Result<Vec<NamespaceMounts>> {
    let mut found = Vec::new();
    for_each_namespace(|seen, table| {
        found.push(NamespaceMounts {
            namespace: seen.namespace,
            own: seen.own,
            pid: seen.pid,
            comm: crate::host::process_name(seen.pid).unwrap_or_default(),
            mounts: parse(table)?,
        });
        Ok(())
    })?;
    Ok(found)
}

/// Every mount of one device in every mount namespace, ours first.
pub fn mounts_of_device(device: DeviceNumber) -> Result<Vec<DeviceMount>> {
    mounts_of_devices(|found| found == device)
}

/// Every mount of the devices that `wanted` picks, in one pass over every mount namespace, ours
/// first. Lines of other devices are skipped without being parsed.
pub fn mounts_of_devices(wanted: impl Fn(DeviceNumber) -> bool) -> Result<Vec<DeviceMount>> {
    let mut found = Vec::new();
    for_each_namespace(|seen, table| {
        let mut comm = None;
        for line in table.split(|byte| *byte == b'\n') {
            let Some(device) = parse::device_of_line(line).filter(|device| wanted(*device)) else {
                continue;
            };
            let entry = parse_line(line)?;
            let comm = comm.get_or_insert_with(|| crate::host::process_name(seen.pid).unwrap_or_default());
            found.push(DeviceMount {
                device,
                namespace: seen.namespace,
                own: seen.own,
                pid: seen.pid,
                comm: comm.clone(),
                mount_point: entry.mount_point,
                root: entry.root,
                read_only: entry.read_only,
            });
        }
        Ok(())
    })?;
    Ok(found)
}

/// A mount namespace, and the process it is seen through.
struct SeenNamespace {
    namespace: u64,
    own: bool,
    pid: u32,
}

/// Reads the table of each distinct mount namespace once. Processes that vanish meanwhile, or that
/// may not be looked into, are passed over; another process of the same namespace then serves.
fn for_each_namespace(mut visit: impl FnMut(&SeenNamespace, &[u8]) -> Result<()>) -> Result<()> {
    let own_pid = std::process::id();
    let own = namespace_of("self").ok_or_else(|| SysError::Invalid {
        what: "/proc/self/ns/mnt",
        detail: "it can't be read; is /proc mounted?".to_owned(),
    })?;
    let own_table = read(Path::new("/proc/self/mountinfo"))?;
    visit(&SeenNamespace { namespace: own, own: true, pid: own_pid }, &own_table)?;
    drop(own_table);

    let mut visited = HashSet::from([own]);
    let proc = Path::new("/proc");
    let entries = std::fs::read_dir(proc).map_err(|error| SysError::io("read", proc, &error))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some((text, pid)) = name.to_str().and_then(|text| Some((text, text.parse::<u32>().ok()?))) else {
            continue;
        };
        let Some(namespace) = namespace_of(text).filter(|found| !visited.contains(found)) else {
            continue;
        };
        let Ok(table) = std::fs::read(format!("/proc/{text}/mountinfo")) else {
            continue;
        };
        // A process that left the namespace, or ended, between the two reads shows another table or
        // an empty one.
        if table.is_empty() || namespace_of(text) != Some(namespace) {
            continue;
        }
        visited.insert(namespace);
        visit(&SeenNamespace { namespace, own: false, pid }, &table)?;
    }
    Ok(())
}

/// The inode in `mnt:[4026531841]`.
fn namespace_of(process: &str) -> Option<u64> {
    let link = std::fs::read_link(format!("/proc/{process}/ns/mnt")).ok()?;
    link.to_str()?.strip_prefix("mnt:[")?.strip_suffix(']')?.parse().ok()
}

/// The inode of the mount namespace that a process is in; `None` when it is gone or may not be
/// looked into.
pub fn namespace_of_pid(pid: u32) -> Option<u64> {
    namespace_of(&pid.to_string())
}

/// The inode of the mount namespace that this process is in.
pub fn own_namespace() -> Option<u64> {
    namespace_of("self")
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| SysError::io("read", path, &error))
}
