//! Mounting and unmounting.
//!
//! Everything goes through the kernel's descriptor interface (`fsopen`, `fsmount`, `open_tree`,
//! `move_mount`): options are passed one by one and never parsed from a string, attributes are set
//! before a mount becomes visible, and a target is a descriptor, not a path that could be exchanged.
//!
//! Every mount made here is `nosuid,nodev`; there is no way to ask for anything else.

mod condition;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use linux_raw_sys::general::{
    MOUNT_ATTR__ATIME, MOUNT_ATTR_IDMAP, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, MS_PRIVATE, mount_attr,
};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxAttributes, StatxFlags, open, openat, statx};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change,
    move_mount, open_tree, unmount as umount2,
};

use crate::beneath;
use crate::error::{Result, SysError};
use crate::filesystem::FsKind;
use crate::identity::DeviceNumber;
use crate::idmap::IdMap;
use crate::syscall;

pub use condition::{Condition, condition};

/// The longest pause, and so half of the time, in which what is busy is tried again.
const BUSY_MOMENT: Duration = Duration::from_millis(32);

/// What one mount allows, beyond `nosuid,nodev`, which always hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountAttributes {
    /// Nothing can be written through this mount.
    pub read_only: bool,
    /// No program can be executed from it.
    pub no_exec: bool,
    /// Reading does not update access times.
    pub no_atime: bool,
    /// Reading directories does not update their access times.
    pub no_dir_atime: bool,
}

impl MountAttributes {
    fn bits(self) -> u32 {
        let mut bits = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
        for (wanted, bit) in [
            (self.read_only, MOUNT_ATTR_RDONLY),
            (self.no_exec, MOUNT_ATTR_NOEXEC),
            (self.no_atime, MOUNT_ATTR_NOATIME),
            (self.no_dir_atime, MOUNT_ATTR_NODIRATIME),
        ] {
            if wanted {
                bits |= bit;
            }
        }
        bits
    }
}

/// A filesystem on a block device, and how it is to be mounted.
#[derive(Debug, Clone, Copy)]
pub struct FilesystemMount<'a> {
    /// The device node. The caller holds the device open, so that it can't be recycled meanwhile.
    pub device: &'a Path,
    /// Its filesystem.
    pub kind: FsKind,
    /// Give freed blocks back to the device at once.
    pub discard: bool,
    /// Every write goes to the device before it returns.
    pub synchronous: bool,
    /// The filesystem itself is read-only: nothing is written, not even by replaying its log where
    /// the device is read-only. For a read-only view of a filesystem that others write, use the
    /// attributes of a bind mount instead.
    pub read_only: bool,
    /// What the mount allows.
    pub attributes: MountAttributes,
}

/// A mount that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mounted {
    /// The device of the filesystem.
    pub device: DeviceNumber,
    /// The mount's id, as in mountinfo; reused after it is gone.
    pub mount_id: u64,
}

/// Mounts a filesystem on a directory of ours. `target` must be a directory, not a symbolic link;
/// components before the last are trusted.
///
/// A log that was not written back (after a crash) is replayed by this, which can take seconds.
///
/// # Errors
/// [`SysError::Call`] with what the kernel logged about the filesystem in `detail`;
/// [`SysError::Busy`] when the device is mounted otherwise or claimed by another program.
pub fn mount_filesystem(mount: FilesystemMount<'_>, target: &Path) -> Result<Mounted> {
    let target_fd = open_directory(target)?;
    let tree = mount_detached(mount, false)?;
    let mounted = describe(&tree)?;
    attach(&tree, &target_fd).map_err(|errno| SysError::on("mount on", target, errno))?;
    Ok(mounted)
}

/// Mounts a filesystem nowhere: nobody sees it, and it is unmounted when the descriptor of its root
/// is closed, by a crash as well. It may have the UUID of another one that is mounted.
pub(crate) fn mount_unseen(mount: FilesystemMount<'_>) -> Result<OwnedFd> {
    mount_detached(mount, true)
}

fn mount_detached(mount: FilesystemMount<'_>, any_uuid: bool) -> Result<OwnedFd> {
    let context = fsopen(mount.kind.name(), FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|errno| with_hint(errno, mount.kind))?;
    let configured = configure(&context, mount, any_uuid).and_then(|()| {
        let attributes = MountAttrFlags::from_bits_retain(mount.attributes.bits());
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    });
    configured.map_err(|errno| {
        let log = kernel_log(&context);
        if errno == Errno::BUSY {
            return SysError::Busy {
                path: mount.device.to_owned(),
                detail: if log.is_empty() {
                    "it is mounted or claimed by another program".to_owned()
                } else {
                    log
                },
            };
        }
        SysError::Call {
            operation: "mount the filesystem on",
            path: Some(mount.device.to_owned()),
            errno,
            detail: log,
        }
    })
}

fn configure(context: &OwnedFd, mount: FilesystemMount<'_>, any_uuid: bool) -> rustix::io::Result<()> {
    fsconfig_set_string(context, "source", mount.device)?;
    // Only XFS minds.
    if any_uuid && mount.kind == FsKind::Xfs {
        fsconfig_set_flag(context, "nouuid")?;
    }
    if mount.read_only {
        fsconfig_set_flag(context, "ro")?;
    }
    if mount.synchronous {
        fsconfig_set_flag(context, "sync")?;
    }
    if mount.discard {
        fsconfig_set_flag(context, "discard")?;
    }
    fsconfig_create(context)
}

fn with_hint(errno: Errno, kind: FsKind) -> SysError {
    SysError::Call {
        operation: "use the filesystem",
        path: None,
        errno,
        detail: if errno == Errno::NODEV {
            format!("this kernel has no {}; is its module there?", kind.name())
        } else {
            kind.name().to_owned()
        },
    }
}

/// What the kernel has to say about a filesystem that would not mount: the lines queued on the
/// context's descriptor, each with `e`, `w` or `i` for error, warning and information.
fn kernel_log(context: &OwnedFd) -> String {
    const MOST: usize = 16;
    let mut lines = Vec::new();
    let mut buffer = [0_u8; 1024];
    while lines.len() < MOST {
        match rustix::io::read(context, &mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => {
                let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
                let text = text.trim();
                let text =
                    ["e ", "w ", "i "].iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
                lines.push(text.to_owned());
            }
        }
    }
    lines.join("; ")
}

/// Mounts a directory of a mounted filesystem on a target, both given by descriptors.
///
/// `directory` is looked up beneath `source`, following no symbolic link; `.` is `source` itself.
/// The attributes hold before the mount can be seen. The new mount is not a peer of its source:
/// what others mount inside it later does not show up in the source and keep that busy.
pub fn bind(
    source: impl AsFd,
    directory: &Path,
    attributes: MountAttributes,
    target: impl AsFd,
) -> Result<Mounted> {
    bind_tree(source, directory, attributes, None, target).map(|(mounted, _tree)| mounted)
}

/// As [`bind`], and hands out the mount itself, by which it can be taken away again wherever it is.
pub(crate) fn bind_tree(
    source: impl AsFd,
    directory: &Path,
    attributes: MountAttributes,
    ids: Option<&IdMap>,
    target: impl AsFd,
) -> Result<(Mounted, OwnedFd)> {
    let from = beneath::open_directory(&source, directory)?;
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree =
        open_tree(&from, c"", flags).map_err(|errno| SysError::on("clone the mount of", directory, errno))?;
    // Without the time bits the clone keeps how its source updates access times.
    let sets_times = attributes.no_atime;
    let maps_ids = if ids.is_some() { MOUNT_ATTR_IDMAP } else { 0 };
    let request = mount_attr {
        attr_set: u64::from(attributes.bits() | maps_ids),
        attr_clr: if sets_times { u64::from(MOUNT_ATTR__ATIME) } else { 0 },
        propagation: u64::from(MS_PRIVATE),
        userns_fd: ids.map_or(0, |ids| u64::from(ids.as_fd().as_raw_fd().unsigned_abs())),
    };
    syscall::mount_setattr(tree.as_fd(), &request).map_err(|errno| SysError::Call {
        operation: "set the attributes of a mount",
        path: None,
        errno,
        detail: match errno {
            Errno::NOSYS => "Linux 5.12 or later is needed".to_owned(),
            Errno::INVAL if ids.is_some() => "its filesystem can't show other ids".to_owned(),
            _ => String::new(),
        },
    })?;
    let mounted = describe(&tree)?;
    attach(&tree, target).map_err(|errno| SysError::call("mount on the target", errno))?;
    Ok((mounted, tree))
}

/// Mounts a device node on a file, both given by descriptors. The filesystem that the node is in may
/// forbid devices, as that under `/run` does: this one mount allows them, and nothing else.
pub(crate) fn bind_node(node: &OwnedFd, target: &OwnedFd) -> Result<()> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree =
        open_tree(node, c"", flags).map_err(|errno| SysError::call("clone the mount of a node", errno))?;
    let request = mount_attr {
        attr_set: u64::from(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC),
        attr_clr: u64::from(MOUNT_ATTR_NODEV),
        propagation: u64::from(MS_PRIVATE),
        userns_fd: 0,
    };
    syscall::mount_setattr(tree.as_fd(), &request)
        .map_err(|errno| SysError::call("set the attributes of the mount of a node", errno))?;
    attach(&tree, target).map_err(|errno| SysError::call("mount on the target", errno))
}

/// Unmounts the mount that a descriptor of its root refers to. The descriptor itself keeps it busy,
/// so it leaves the namespace now and is gone when the descriptor is closed.
pub(crate) fn take_away(tree: &OwnedFd) -> Result<()> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", tree.as_raw_fd()));
    umount2(&path, UnmountFlags::DETACH).map_err(|errno| SysError::call("undo a mount", errno))
}

/// Puts a detached mount onto exactly the directory that `target` refers to.
pub(crate) fn attach(tree: &OwnedFd, target: impl AsFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", target, c"", flags)
}

/// Unmounts what is mounted on a path of ours; only the topmost mount if there are several. The
/// last component is not followed if it is a symbolic link.
///
/// # Errors
/// [`SysError::Busy`] while files on it are open or other mounts are inside; [`SysError::NotMounted`].
pub fn unmount(path: &Path) -> Result<()> {
    // Whoever looks at a mount keeps it busy while he looks: `df`, or our own list of volumes. And a
    // child of ours has copies of our descriptors, one on this mount perhaps, from fork to exec. What
    // is busy for such a reason is free a moment later.
    let mut pause = Duration::from_millis(1);
    loop {
        match umount2(path, UnmountFlags::NOFOLLOW) {
            Ok(()) => return Ok(()),
            Err(Errno::BUSY) if pause <= BUSY_MOMENT => {
                std::thread::sleep(pause);
                pause *= 2;
            }
            Err(Errno::INVAL) => return Err(SysError::NotMounted { path: path.to_owned() }),
            Err(Errno::BUSY) => {
                return Err(SysError::Busy {
                    path: path.to_owned(),
                    detail: "files on it are open, or something is mounted inside".to_owned(),
                });
            }
            Err(errno) => return Err(SysError::on("unmount", path, errno)),
        }
    }
}

/// Unmounts what is mounted on `name` in the directory `parent`, if it is of the expected device.
///
/// Made for targets of users: the lookup starts at a descriptor and follows no link. Between the
/// check and the unmount nobody can exchange the mount point by a rename, as the kernel refuses to
/// rename what is mounted on, and the mount was made sure of after every earlier rename had ended.
///
/// # Errors
/// [`SysError::NotMounted`], [`SysError::WrongDevice`], [`SysError::Busy`].
pub fn unmount_below(parent: impl AsFd, name: &OsStr, expected: DeviceNumber) -> Result<()> {
    let parent = parent.as_fd();
    let path = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name);
    let shown = || shown_path(parent, name);
    match mounted_below(parent, name)? {
        Some(found) if found.device == expected => {}
        Some(found) => {
            return Err(SysError::WrongDevice { path: shown(), expected, found: found.device });
        }
        None => return Err(SysError::NotMounted { path: shown() }),
    }
    unmount(&path).map_err(|error| match error {
        SysError::Busy { detail, .. } => SysError::Busy { path: shown(), detail },
        SysError::NotMounted { .. } => SysError::NotMounted { path: shown() },
        other => other,
    })
}

/// What is mounted on `name` in the directory `parent`: the topmost mount, or nothing.
///
/// Holds no descriptor on the mount afterwards: one would keep it busy.
pub fn mounted_below(parent: impl AsFd, name: &OsStr) -> Result<Option<Mounted>> {
    let parent = parent.as_fd();
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(parent, name, flags, Mode::empty())
        .map_err(|errno| SysError::on("look at", &shown_path(parent, name), errno))?;
    mounted_on(&fd)
}

/// The same for an absolute path of ours, whose components before the last are trusted.
pub fn mounted_at(path: &Path) -> Result<Option<Mounted>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(CWD, path, flags, Mode::empty()).map_err(|errno| SysError::on("look at", path, errno))?;
    mounted_on(&fd)
}

fn mounted_on(fd: &OwnedFd) -> Result<Option<Mounted>> {
    let found = match look(fd) {
        // An XFS that shut down answers so for its root too, and still has to be unmounted.
        Err(error) if error.errno() == Some(Errno::IO) => return mounted_by_table(fd),
        other => other?,
    };
    if !found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(None);
    }
    Ok(Some(from_statx(&found)))
}

/// The same by the mount table, which asks no filesystem.
fn mounted_by_table(fd: &OwnedFd) -> Result<Option<Mounted>> {
    let link = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let path = std::fs::read_link(&link).map_err(|error| SysError::io("look at", &link, &error))?;
    let entry = crate::mountinfo::mounted_at(&path)?;
    Ok(entry.map(|entry| Mounted { device: entry.device, mount_id: entry.id }))
}

fn describe(tree: &OwnedFd) -> Result<Mounted> {
    look(tree).map(|found| from_statx(&found))
}

pub(crate) fn look(fd: impl AsFd) -> Result<Statx> {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    statx(fd, c"", AtFlags::EMPTY_PATH, mask).map_err(|errno| SysError::call("look at a mount", errno))
}

pub(crate) fn from_statx(found: &Statx) -> Mounted {
    Mounted {
        device: DeviceNumber { major: found.stx_dev_major, minor: found.stx_dev_minor },
        mount_id: found.stx_mnt_id,
    }
}

/// For messages: where `parent` is now, and `name` in it.
fn shown_path(parent: impl AsFd, name: &OsStr) -> PathBuf {
    let link = format!("/proc/self/fd/{}", parent.as_fd().as_raw_fd());
    std::fs::read_link(link).map_or_else(|_| PathBuf::from(name), |path| path.join(name))
}

/// Opens a directory to be mounted on, or to bind from.
pub fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).map_err(|errno| SysError::on("open the directory", path, errno))
}

/// Whether mounts made on a mount appear in other namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropagationType {
    /// In both directions between its peers.
    Shared,
    /// Not at all.
    Private,
    /// Only from its master to it.
    Slave,
}

/// Sets the propagation of the mount on exactly this path.
pub fn set_propagation(path: &Path, propagation: PropagationType) -> Result<()> {
    let flags = match propagation {
        PropagationType::Shared => MountPropagationFlags::SHARED,
        PropagationType::Private => MountPropagationFlags::PRIVATE,
        PropagationType::Slave => MountPropagationFlags::DOWNSTREAM,
    };
    mount_change(path, flags).map_err(|errno| {
        if errno == Errno::INVAL {
            SysError::NotMounted { path: path.to_owned() }
        } else {
            SysError::on("set the propagation of", path, errno)
        }
    })
}

/// Makes sure that mounts made below `directory` are shared with namespaces that copy ours: where
/// the directory isn't on a shared mount it is bound onto itself and that mount made shared.
///
/// Idempotent, also after a crash between the two steps. Returns whether the directory is a mount
/// point of its own now: that stays until it is unmounted.
pub fn make_shared_mount(directory: &Path) -> Result<bool> {
    let directory = directory.canonicalize().map_err(|error| SysError::io("find", directory, &error))?;
    let mounts = crate::mountinfo::own()?;
    let exact = mounts.iter().rev().find(|entry| entry.mount_point == directory);
    if let Some(entry) = exact {
        if entry.shared.is_none() {
            set_propagation(&directory, PropagationType::Shared)?;
        }
        return Ok(true);
    }
    let fd = open_directory(&directory)?;
    let holder = look(&fd)?.stx_mnt_id;
    if mounts.iter().any(|entry| entry.id == holder && entry.shared.is_some()) {
        return Ok(false);
    }
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(&fd, c"", flags)
        .and_then(|tree| attach(&tree, &fd))
        .map_err(|errno| SysError::on("bind onto itself", &directory, errno))?;
    set_propagation(&directory, PropagationType::Shared)?;
    Ok(true)
}
