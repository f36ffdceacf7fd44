//! Where volumes are mounted: `<mount-dir>/<volume id>/`, with `base` for the filesystem (or `node` for a
//! block device), and for each front that it is published to a mount of its own (`docker`, `podman-ro`, …), of which consumers
//! get `data`. Nothing here comes from user text.
//!
//! Mount points are mode 0000, so that a mount that is missing is not mistaken for an empty volume
//! by anybody but root; and before a path is handed out, the kernel is asked what is mounted there.

use std::{
    fs::{DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use orlop_model::{Error, ErrorKind, Result, VolumeId, resource::Front};
use orlop_sys::mount;

use crate::{directory::entries, format::PoolPaths, host::On};

const BASE: &str = "base";
const INCOMING: &str = "incoming";
const NODE: &str = "node";

/// The mount directory.
#[derive(Debug)]
pub(crate) struct Places {
    root: PathBuf,
    /// It was bound onto itself, to be a shared mount.
    own_mount: bool,
}

impl Places {
    /// Makes the mount directory and makes it pass on what is mounted in it.
    pub(crate) fn open(mount_dir: &Path) -> Result<Self> {
        let object = "mount directory";
        orlop_sys::durable::create_dir_all(mount_dir, 0o700).on(object)?;
        let own_mount = mount::make_shared_mount(mount_dir).on(object)?;
        let root = mount_dir.canonicalize().map_err(|error| {
            Error::new(ErrorKind::Host, format!("can't find {}: {error}", mount_dir.display())).object(object)
        })?;
        Ok(Self { root, own_mount })
    }

    /// Without symbolic links.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn volume(&self, id: VolumeId) -> PathBuf {
        self.root.join(id.to_string())
    }

    pub(crate) fn base(&self, id: VolumeId) -> PathBuf {
        self.volume(id).join(BASE)
    }

    /// The node of a volume that is had as a block device.
    pub(crate) fn node(&self, id: VolumeId) -> PathBuf {
        self.volume(id).join(NODE)
    }

    /// Where it is mounted for a front.
    pub(crate) fn published(&self, id: VolumeId, front: Front, read_only: bool) -> PathBuf {
        let suffix = if read_only { "-ro" } else { "" };
        self.volume(id).join(format!("{}{suffix}", front.as_str()))
    }

    /// All that is beside the base: mount points of fronts, of whatever build.
    ///
    /// # Errors
    /// [`ErrorKind::Host`] where that can't be told, as without a file descriptor left: taken for none, they
    /// would stay open to whom they were for.
    pub(crate) fn all_published(&self, id: VolumeId) -> Result<Vec<PathBuf>> {
        let own = [self.base(id), self.node(id)];
        let all = entries(&self.volume(id))?;
        Ok(all.into_iter().map(|(path, _)| path).filter(|path| !own.contains(path)).collect())
    }

    /// Where a new image is mounted while the volume's files are copied into it.
    pub(crate) fn incoming(&self, id: VolumeId) -> PathBuf {
        self.volume(id).join(INCOMING)
    }

    /// Makes the mount point of a new image.
    pub(crate) fn prepare_incoming(&self, id: VolumeId, object: &str) -> Result<()> {
        make(&self.volume(id), 0o700, object)?;
        make(&self.incoming(id), 0o000, object)
    }

    /// Makes the mount point of the filesystem.
    pub(crate) fn prepare(&self, id: VolumeId, object: &str) -> Result<()> {
        make(&self.volume(id), 0o700, object)?;
        make(&self.base(id), 0o000, object)
    }

    /// Makes the directory of a volume that is had as a block device.
    pub(crate) fn prepare_node(&self, id: VolumeId, object: &str) -> Result<()> {
        make(&self.volume(id), 0o700, object)
    }

    /// Removes the mount points of a volume after our own unmount.
    pub(crate) fn clear(&self, id: VolumeId) {
        remove(&self.incoming(id));
        remove(&self.base(id));
        remove(&self.volume(id));
    }

    /// The volume whose directory a path below the mount directory is in.
    pub(crate) fn volume_of(&self, path: &Path) -> Option<VolumeId> {
        let below = path.strip_prefix(&self.root).ok()?;
        PoolPaths::volume_of(below.components().next()?.as_os_str().to_str()?)
    }

    /// The volumes that have mount points.
    ///
    /// # Errors
    /// [`ErrorKind::Host`].
    pub(crate) fn volumes(&self) -> Result<Vec<VolumeId>> {
        let all = entries(&self.root)?;
        Ok(all.iter().filter_map(|(_, name)| PoolPaths::volume_of(name)).collect())
    }

    /// At a clean shutdown: the bind onto itself goes if nothing is mounted below.
    pub(crate) fn close(&self) {
        if !self.own_mount {
            return;
        }
        let below = orlop_sys::mountinfo::own().map(|mounts| {
            mounts.iter().any(|m| m.mount_point != self.root && m.mount_point.starts_with(&self.root))
        });
        if matches!(below, Ok(false))
            && let Err(error) = mount::unmount(&self.root)
        {
            tracing::debug!(%error, "the mount directory stays a mount");
        }
    }

    /// Whether a path is inside one of our own directories or the other way round.
    pub(crate) fn overlaps(path: &Path, own: &Path) -> bool {
        path.starts_with(own) || own.starts_with(path)
    }
}

/// Makes a directory of ours, if it is not there.
pub(crate) fn make(path: &Path, mode: u32, object: &str) -> Result<()> {
    let made = match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    made.map_err(|error| {
        Error::new(
            ErrorKind::Host,
            format!("{object}: can't make the mount point {}: {error}", path.display()),
        )
        .object(object)
        .hint("check that the mount directory is writable")
    })
}

/// Removes a mount point of ours after our own unmount; where something is still mounted on it here,
/// or lies in it, it stays. The kernel then also takes away the copies of our mount in other
/// namespaces (a sandbox that started meanwhile), which nobody works through and which would keep
/// the device busy; a file that is open in one keeps it all the same.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_dir(path)
        && !matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ResourceBusy)
    {
        tracing::warn!(path = %path.display(), %error, "a mount point stays");
    }
}

/// Sets the mode of a directory of ours.
pub(crate) fn restrict(path: &Path, mode: u32, object: &str) -> Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|error| {
        Error::new(ErrorKind::Host, format!("{object}: can't restrict {}: {error}", path.display()))
            .object(object)
    })
}
