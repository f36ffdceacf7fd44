//! Whether what we mount is seen by the host, and so by containers started later.
//!
//! A daemon in a mount namespace of its own (most sandboxing options of systemd make one) mounts
//! volumes that nobody else sees: containers would write into the plain directory beneath. So it is
//! tried out, with a real mount, before the daemon calls itself ready.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen, unmount,
};
use rustix::process::getpid;

use crate::error::{Result, SysError};
use crate::identity::DeviceNumber;
use crate::mount;
use crate::mountinfo::{self, MountEntry};

/// The process whose mount namespace is the host's.
const INIT: u32 = 1;
/// How the names of trial mounts begin; the process id follows.
const NAME: &str = ".probe.";

/// Whether mounts made below a directory are seen by the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Propagation {
    /// They are.
    Seen {
        /// How that is known.
        reason: String,
    },
    /// They are not: containers would not get the volumes.
    NotSeen {
        /// Why, and what to do.
        reason: String,
    },
    /// It can't be proved either way from here.
    Unknown {
        /// Why, and what speaks for and against it.
        reason: String,
    },
}

impl Propagation {
    /// Whether it was proved that mounts are seen.
    pub fn is_seen(&self) -> bool {
        match self {
            Self::Seen { .. } => true,
            Self::NotSeen { .. } | Self::Unknown { .. } => false,
        }
    }

    /// The reason, in plain words.
    pub fn reason(&self) -> &str {
        match self {
            Self::Seen { reason } | Self::NotSeen { reason } | Self::Unknown { reason } => reason,
        }
    }
}

/// Makes a tiny mount in a fresh directory below `mount_dir`, looks for it in the mount table of
/// process 1, and removes both again.
///
/// # Errors
/// Where the mount can't be made at all.
pub fn probe(mount_dir: &Path) -> Result<Propagation> {
    let probe = Probe::mount(mount_dir)?;
    let verdict = probe.judge();
    probe.remove()?;
    verdict
}

/// A mount that is removed again, whatever happens.
struct Probe {
    path: PathBuf,
    device: DeviceNumber,
    removed: bool,
}

impl Probe {
    fn mount(mount_dir: &Path) -> Result<Self> {
        let (pid, thread) = (std::process::id(), std::thread::current().id());
        let path = mount_dir.join(format!("{NAME}{pid}.{thread:?}"));
        // The same name was of a process with our id that is no more.
        take_away(&path);
        sweep(mount_dir);
        std::fs::create_dir(&path).map_err(|error| SysError::io("make the directory", &path, &error))?;
        let mut probe = Self { path, device: DeviceNumber { major: 0, minor: 0 }, removed: false };
        probe.device = mount_tiny(&probe.path)?;
        Ok(probe)
    }

    fn judge(&self) -> Result<Propagation> {
        if getpid().is_init() {
            return Ok(Propagation::Unknown {
                reason: "this process is the first of a process-id namespace of its own, from which neither \
                         the host's mounts are seen nor who uses a volume. Run it with the host's process \
                         ids (in Kubernetes: hostPID; in a container: --pid=host)"
                    .to_owned(),
            });
        }
        let own = mountinfo::own()?;
        let ours = own
            .iter()
            .find(|entry| entry.device == self.device)
            .ok_or_else(|| SysError::NotMounted { path: self.path.clone() })?;
        // What is shared with whom is a matter of the mount that the trial was mounted on.
        let below = own.iter().find(|entry| entry.id == ours.parent).unwrap_or(ours);
        // Whose namespace it is may be hidden where the table is not.
        Ok(match mountinfo::of_pid(INIT) {
            Ok(init) if mountinfo::same_namespace(&own, &init) => {
                Propagation::Seen { reason: "this process is in the host's own mount namespace".to_owned() }
            }
            Ok(init) if !init.is_empty() => from_other_table(&init, self.device, below),
            Ok(_) | Err(_) => Propagation::Unknown {
                reason: format!(
                    "the mounts of process 1 can't be looked at, and {}",
                    describe_sharing(below)
                ),
            },
        })
    }

    fn remove(mut self) -> Result<()> {
        self.removed = true;
        self.clean()
    }

    fn clean(&self) -> Result<()> {
        match mount::unmount(&self.path) {
            Ok(()) | Err(SysError::NotMounted { .. }) => {}
            Err(error) => return Err(error),
        }
        std::fs::remove_dir(&self.path)
            .map_err(|error| SysError::io("remove the directory", &self.path, &error))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if !self.removed {
            let _ = self.clean();
        }
    }
}

/// Takes away what processes left that were killed while they probed.
fn sweep(mount_dir: &Path) {
    for entry in std::fs::read_dir(mount_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(NAME)?.split('.').next()?.parse().ok());
        if pid.is_some_and(|pid: u32| !Path::new(&format!("/proc/{pid}")).exists()) {
            take_away(&entry.path());
        }
    }
}

fn take_away(path: &Path) {
    let _ = unmount(path, UnmountFlags::NOFOLLOW);
    let _ = std::fs::remove_dir(path);
}

/// A tmpfs has a device number of its own, by which it is found in any mount table.
fn mount_tiny(target: &Path) -> Result<DeviceNumber> {
    let failed = |errno| SysError::on("make a trial mount on", target, errno);
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed)?;
    for (key, value) in [("source", "orlop-probe"), ("size", "4096"), ("mode", "0")] {
        fsconfig_set_string(&context, key, value).map_err(failed)?;
    }
    fsconfig_create(&context).map_err(failed)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let tree = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed)?;
    let device = mount::from_statx(&mount::look(&tree)?).device;
    let directory = mount::open_directory(target)?;
    mount::attach(&tree, &directory).map_err(failed)?;
    Ok(device)
}

/// The verdict when process 1 is in another mount namespace.
fn from_other_table(init: &[MountEntry], device: DeviceNumber, below: &MountEntry) -> Propagation {
    if init.iter().any(|entry| entry.device == device) {
        return Propagation::Seen {
            reason: "a trial mount appeared in the host's mount namespace".to_owned(),
        };
    }
    Propagation::NotSeen {
        reason: format!(
            "this process has a mount namespace of its own, and a trial mount did not appear in \
             the host's: {}. Run it in the host's mount namespace (with systemd: without \
             PrivateTmp, ProtectSystem, ProtectHome, ReadOnlyPaths and the like; in a container: \
             with the mount directory bound rshared)",
            describe_sharing(below)
        ),
    }
}

fn describe_sharing(below: &MountEntry) -> &'static str {
    match (below.shared, below.master) {
        (Some(_), None) => "its mounts are shared, but not with that namespace",
        (Some(_), Some(_)) => {
            "its mounts are shared, but it only receives from the host's and sends it nothing"
        }
        (None, Some(_)) => "its mounts only receive from the host's",
        (None, None) => "its mounts are private",
    }
}
