//! The kernel's mount tables, of our own and of every other mount namespace.
//!
//! A mount namespace is seen through a process in it. One that no process is in (held only by a
//! descriptor or a bind mount of `ns/mnt`), or that only a single thread entered, is not seen. So,
//! before data is deleted or given to one user alone, [`crate::loopdev::probe_exclusive`] asks the
//! kernel itself.
//!
//! Which namespace a process is in can be hidden from us (it takes CAP_SYS_PTRACE to follow
//! `ns/mnt` of a process with more privileges than ours) where its table is not. A mount is in one
//! namespace only and its id is unique, so the id of a table's first mount tells namespaces apart.

mod enter;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Result, SysError};
use crate::identity::DeviceNumber;

pub use parse::{MountEntry, parse, parse_line};

/// The mounts of one mount namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceMounts {
    /// The id of the table's first mount, which no other namespace has while it lives.
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
    /// The namespace, as in [`NamespaceMounts`].
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
    /// The peer group it shares mounts with.
    pub shared: Option<u64>,
    /// The peer group it receives mounts from.
    pub master: Option<u64>,
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
                shared: entry.shared,
                master: entry.master,
            });
        }
        Ok(())
    })?;
    Ok(found)
}

/// Where in our own namespace mount namespaces are kept that no process is in: their `ns/mnt` is bound
/// there. What is mounted in them is not seen by the functions above.
pub fn unseen_namespaces() -> Result<Vec<PathBuf>> {
    let inode = |root: &Path| in_brackets(root.to_str()?);
    let mut kept: Vec<(u64, PathBuf)> = own()?
        .into_iter()
        .filter(|entry| entry.filesystem == "nsfs")
        .filter_map(|entry| Some((inode(&entry.root)?, entry.mount_point)))
        .collect();
    if !kept.is_empty() {
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let seen: HashSet<u64> =
            processes.filter_map(|process| namespace_of(process.file_name().to_str()?)).collect();
        kept.retain(|(namespace, _)| !seen.contains(namespace));
    }
    Ok(kept.into_iter().map(|(_, place)| place).collect())
}

/// A mount namespace, and the process it is seen through.
struct SeenNamespace {
    namespace: u64,
    own: bool,
    pid: u32,
}

/// Reads the table of each distinct mount namespace once. Processes that vanish meanwhile are passed
/// over; another process of the same namespace then serves.
fn for_each_namespace(mut visit: impl FnMut(&SeenNamespace, &[u8]) -> Result<()>) -> Result<()> {
    let own_table = read(Path::new("/proc/self/mountinfo"))?;
    let own = first_mount(&own_table).ok_or_else(|| SysError::Invalid {
        what: "/proc/self/mountinfo",
        detail: "it has no mount; is /proc mounted?".to_owned(),
    })?;
    visit(&SeenNamespace { namespace: own, own: true, pid: std::process::id() }, &own_table)?;
    drop(own_table);

    let mut visited = HashSet::from([own]);
    // Most processes share few namespaces: where the link can be read, it saves reading the table.
    let mut links: HashSet<u64> = namespace_of("self").into_iter().collect();
    let mut partial: HashMap<u64, (u32, Vec<u8>)> = HashMap::new();
    let proc = Path::new("/proc");
    let entries = std::fs::read_dir(proc).map_err(|error| SysError::io("read", proc, &error))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some((text, pid)) = name.to_str().and_then(|text| Some((text, text.parse::<u32>().ok()?))) else {
            continue;
        };
        let link = namespace_of(text);
        if link.is_some_and(|link| links.contains(&link)) {
            continue;
        }
        let path = format!("/proc/{text}/mountinfo");
        if link.is_none() && first_mount_of(&path).is_none_or(|first| visited.contains(&first)) {
            continue;
        }
        let Ok(mut table) = std::fs::read(&path) else { continue };
        // A process that gave up its root directory sees only what is below the new one, and in a
        // container it may be the only process there is.
        if let Some(link) = link.filter(|_| !parse::shows_root(&table)) {
            match enter::whole_table(pid, link) {
                Some(whole) => table = whole,
                None => {
                    partial.entry(link).or_insert((pid, table));
                    continue;
                }
            }
        }
        // A process that ends shows an empty table.
        let Some(namespace) = first_mount(&table) else { continue };
        // Not where it went elsewhere between the two: the link's namespace was not seen then.
        if link == namespace_of(text) {
            links.extend(link);
        }
        if visited.insert(namespace) {
            visit(&SeenNamespace { namespace, own: false, pid }, &table)?;
        }
    }
    // Of those that could not be entered and have no other process, what there is to see.
    for (link, (pid, table)) in partial {
        if let Some(namespace) = first_mount(&table).filter(|_| !links.contains(&link))
            && visited.insert(namespace)
        {
            visit(&SeenNamespace { namespace, own: false, pid }, &table)?;
        }
    }
    Ok(())
}

/// The id of the first mount of a table.
fn first_mount(table: &[u8]) -> Option<u64> {
    std::str::from_utf8(table.split(|byte| *byte == b' ').next()?).ok()?.parse().ok()
}

/// The same of a file, of which only the beginning is made and read.
fn first_mount_of(path: &str) -> Option<u64> {
    let mut beginning = [0_u8; 64];
    let length = File::open(path).and_then(|mut file| file.read(&mut beginning)).ok()?;
    first_mount(beginning.get(..length)?)
}

/// Whether two tables are of the same mount namespace.
pub fn same_namespace(one: &[MountEntry], other: &[MountEntry]) -> bool {
    one.iter().any(|mount| other.iter().any(|found| found.id == mount.id))
}

/// The mount namespace of a process.
fn namespace_of(process: &str) -> Option<u64> {
    in_brackets(std::fs::read_link(format!("/proc/{process}/ns/mnt")).ok()?.to_str()?)
}

/// The inode in `mnt:[4026531841]`.
fn in_brackets(text: &str) -> Option<u64> {
    text.strip_prefix("mnt:[")?.strip_suffix(']')?.parse().ok()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| SysError::io("read", path, &error))
}
