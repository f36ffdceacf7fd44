//! What mkfs copies into a new filesystem, and its configuration: a few files in a tmpfs that is
//! mounted nowhere. It lives as long as its descriptor, so nothing is left behind by a crash, and
//! nobody can change it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags, chmodat, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};

use super::{DATA_DIRECTORY, OWN_DIRECTORY};
use crate::error::{Result, SysError};

const ROOT: &str = "root";
const MKE2FS_CONFIG: &str = "mke2fs.conf";
const XFS_PROTOTYPE: &str = "prototype";

/// The template of this process, made when first asked for.
pub(super) struct Template {
    tree: OwnedFd,
}

static TEMPLATE: OnceLock<Template> = OnceLock::new();

impl Template {
    pub(super) fn get() -> Result<&'static Self> {
        if let Some(template) = TEMPLATE.get() {
            return Ok(template);
        }
        let made =
            Self::make().map_err(|errno| SysError::call("prepare the template of new filesystems", errno))?;
        // Where another thread was faster, ours goes.
        Ok(TEMPLATE.get_or_init(|| made))
    }

    fn make() -> Result<Self, Errno> {
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in [("source", "orlop-template"), ("size", "64k"), ("mode", "0700")] {
            fsconfig_set_string(&context, key, value)?;
        }
        fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let tree = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        make_directory(&tree, ROOT, 0o755)?;
        make_directory(&tree, &format!("{ROOT}/{DATA_DIRECTORY}"), 0o755)?;
        make_directory(&tree, &format!("{ROOT}/{OWN_DIRECTORY}"), 0o700)?;
        // All that mke2fs wants of its configuration is that the type is known.
        write(&tree, MKE2FS_CONFIG, "[fs_types]\n\text4 = {\n\t}\n")?;
        // Mode, owner and group of each directory; `$` ends one.
        let prototype =
            format!("/\n0 0\nd--755 0 0\n{DATA_DIRECTORY} d--755 0 0\n$\n{OWN_DIRECTORY} d--700 0 0\n$\n$\n");
        write(&tree, XFS_PROTOTYPE, &prototype)?;
        Ok(Self { tree })
    }

    /// The directory that holds what the root of a new filesystem is to hold.
    pub(super) fn root(&self) -> PathBuf {
        self.path(ROOT)
    }

    pub(super) fn mke2fs_config(&self) -> PathBuf {
        self.path(MKE2FS_CONFIG)
    }

    pub(super) fn xfs_prototype(&self) -> PathBuf {
        self.path(XFS_PROTOTYPE)
    }

    /// A path that works in a child process too, which does not have the descriptor.
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}/{name}", std::process::id(), self.tree.as_raw_fd()))
    }
}

fn make_directory(tree: impl AsFd, path: &str, mode: u32) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(mode);
    mkdirat(&tree, path, mode)?;
    // The umask took bits away.
    chmodat(&tree, path, mode, rustix::fs::AtFlags::empty())
}

fn write(tree: impl AsFd, path: &str, content: &str) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(tree, path, flags, Mode::RUSR | Mode::WUSR)?;
    let mut rest = content.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}
