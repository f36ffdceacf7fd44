//! The filesystem of a pool's own: made on a device or in an image file, and given back. Nothing that
//! is not known to be ours is ever written to or removed. What lies in a pool is described in
//! [`crate::format`].

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use orlop_model::{Error, ErrorKind, PoolId, Result, Size, resource::Medium};
use orlop_sys::{
    FileIdentity,
    blockdev::{BlockDevice, Content},
    durable,
    filesystem::{FsKind, XFS_MINIMUM, mkfs_bare, superblock},
    image, loopdev, space,
};

use super::medium;
use crate::{
    admission::{human, usual_low_water},
    core::Core,
    host::{On, failure},
    request::DeviceReport,
    store::pools,
};

/// The block size of the filesystem.
const BLOCK: u64 = 4096;
/// mkfs discards the whole device first, where it can.
const MKFS_LIMIT: Duration = Duration::from_secs(600);
/// After the last unmount the kernel frees the loop device a moment later.
const FREED_WITHIN: Duration = Duration::from_secs(5);

/// See [`crate::Engine::device`].
pub(crate) fn look_at(path: &Path) -> Result<DeviceReport> {
    let (device, object) = open(path)?;
    let content = match device.content().on(&object)? {
        Content::Blank => None,
        Content::Something(what) => Some(what),
    };
    Ok(DeviceReport {
        device: device.node().to_owned(),
        size: Size::from_bytes(device.size().on(&object)?),
        content,
        users: device.users().on(&object)?,
    })
}

fn open(path: &Path) -> Result<(BlockDevice, String)> {
    let object = format!("device {}", path.display());
    let refused = |why: String| {
        Error::new(ErrorKind::InvalidArgument, why)
            .object(&object)
            .hint("name a block device, such as /dev/nvme1n1 or a link in /dev/disk/by-id (lsblk lists them)")
    };
    match BlockDevice::of_node(path) {
        Ok(device) => Ok((device, object)),
        Err(error @ orlop_sys::SysError::Invalid { .. }) => Err(refused(error.to_string())),
        Err(error) if error.is_not_found() => Err(refused(format!("{} does not exist", path.display()))),
        Err(error) => Err(failure(&error, &object)),
    }
}

/// Whether the device may be formatted: large enough, used by nobody, of no pool, and blank, or
/// holding exactly what may be lost.
pub(crate) fn check_device(core: &Core, path: &Path, erase: Option<&str>) -> Result<Medium> {
    let found = look_at(path)?;
    let node = found.device.display().to_string();
    let object = format!("device {node}");
    check_size(found.size.bytes(), "device")?;
    if let Some(user) = found.users.first() {
        return Err(Error::new(ErrorKind::InUse, format!("{node} is in use: {user}"))
            .object(object)
            .hint("end that use first, or name another device; --erase does not help against it"));
    }
    if let Some(id) = pool_on(&found.device)
        && let Some(row) = core.store.read(|r| pools::by_id(r, id))?
    {
        return Err(Error::new(ErrorKind::InUse, format!("{node} holds pool {}", row.name))
            .object(object)
            .hint(format!("that pool is known here: orlop pool show {}", row.name)));
    }
    match (&found.content, erase) {
        (None, _) => Ok(Medium::Device { device: node }),
        (Some(content), Some(erase)) if content == erase => Ok(Medium::Device { device: node }),
        (Some(content), erase) => {
            let meant =
                erase.map_or_else(String::new, |erase| format!(", and not {erase:?}, which may be lost"));
            Err(Error::new(ErrorKind::Conflict, format!("{node} is not empty: it holds {content}{meant}"))
                .object(object)
                .hint("to give up what is on it, for good: the same with --erase"))
        }
    }
}

/// The pool whose filesystem is on that device or in that image.
pub(crate) fn pool_on(path: &Path) -> Option<PoolId> {
    let found = superblock(path).ok()??;
    (found.kind == FsKind::Xfs).then(|| PoolId(uuid::Uuid::from_bytes(found.uuid)))
}

/// Whether the image can be made there: nothing is in its place, and its disk has the room.
pub(crate) fn check_image(core: &Core, file: &Path, size: Size, sparse: bool) -> Result<Medium> {
    let object = format!("image {}", file.display());
    let refused = |kind, what: String| Error::new(kind, what).object(&object);
    check_size(size.bytes(), "image")?;
    if !size.bytes().is_multiple_of(BLOCK) {
        let what = format!("{size} are not whole blocks of {BLOCK} bytes");
        return Err(refused(ErrorKind::InvalidArgument, what).object("size").hint("round it up"));
    }
    let text = file
        .to_str()
        .ok_or_else(|| refused(ErrorKind::InvalidArgument, format!("{} is not UTF-8", file.display())))?;
    if std::fs::symlink_metadata(file).is_ok() {
        return Err(refused(ErrorKind::AlreadyExists, format!("{} is there already", file.display()))
            .hint("name a file that is not there yet; to use a pool that is in it: orlop pool import"));
    }
    let directory = file.parent().filter(|directory| directory.is_dir()).ok_or_else(|| {
        refused(ErrorKind::InvalidArgument, format!("there is no directory for {}", file.display()))
            .hint("make the directory first")
    })?;
    if !sparse {
        let host = space::usage(directory).on(&object)?;
        let low_water = core
            .config
            .low_water
            .map_or_else(|| usual_low_water(host.used + host.available), |size| size.bytes());
        if size.bytes().saturating_add(low_water) > host.available {
            return Err(refused(
                ErrorKind::LowSpace,
                format!(
                    "{size} for {} do not fit on its disk: {} are free, and {} are kept as a reserve",
                    file.display(),
                    human(host.available),
                    human(low_water)
                ),
            )
            .hint(
                "ask for less, or take the space as it is written, with promises that can fail: --sparse",
            ));
        }
    }
    Ok(Medium::Image { file: text.to_owned(), size, sparse })
}

fn check_size(size: u64, what: &str) -> Result<()> {
    if size >= XFS_MINIMUM {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!("the {what} of a pool has at least {}, and not {}", human(XFS_MINIMUM), human(size)),
    )
    .object("size")
    .hint("make it larger"))
}

/// Makes the filesystem, with the pool's id as its UUID. The intent is recorded.
pub(crate) fn make(id: PoolId, medium: &Medium, object: &str) -> Result<()> {
    match medium {
        Medium::Directory => Ok(()),
        Medium::Device { device } => {
            let device = BlockDevice::of_node(Path::new(device)).on(object)?;
            device.wipe().on(object)?;
            mkfs_bare(device.node(), device.size().on(object)?, *id.0.as_bytes(), MKFS_LIMIT).on(object)
        }
        Medium::Image { file, size, sparse } => {
            let file = Path::new(file);
            // Under a name with our id in it, so that whatever a crash leaves is known to be ours.
            let unfinished = unfinished(file, id);
            durable::remove_file(&unfinished).on(object)?;
            let made = image::create(&unfinished, size.bytes()).on(object)?;
            if !sparse {
                image::preallocate(&made, size.bytes()).map_err(|error| unallocated(&error, object))?;
            }
            mkfs_bare(&unfinished, size.bytes(), *id.0.as_bytes(), MKFS_LIMIT).on(object)?;
            image::sync(&made, &unfinished).on(object)?;
            durable::rename_noreplace(&unfinished, file).on(object)?;
            Ok(())
        }
    }
}

fn unallocated(error: &orlop_sys::SysError, object: &str) -> Error {
    if matches!(error.errno(), Some(orlop_sys::Errno::OPNOTSUPP)) {
        return Error::new(
            ErrorKind::Unsupported,
            format!("{object}: its disk can't take space ahead of use: {error}"),
        )
        .object(object)
        .hint("take the space as it is written, with promises that can fail: --sparse");
    }
    failure(error, object)
}

fn unfinished(file: &Path, id: PoolId) -> PathBuf {
    file.with_file_name(format!(".orlop-{id}.new"))
}

/// Gives back what the filesystem was on, after it was unmounted: the image is removed, the device
/// blank again. What no longer holds that pool is left alone.
///
/// # Errors
/// [`ErrorKind::InUse`] where another mount namespace still has it.
pub(crate) fn take_back(core: &Core, id: PoolId, medium: &Medium, object: &str) -> Result<()> {
    match medium {
        Medium::Directory => Ok(()),
        Medium::Device { device } => match medium::find(&core.pools, id, device, object) {
            Ok(device) => device.wipe().on(object),
            // Not there, or never made.
            Err(error) if error.kind == ErrorKind::Unavailable => Ok(()),
            Err(error) => Err(error),
        },
        Medium::Image { file, .. } => {
            let file = Path::new(file);
            durable::remove_file(&unfinished(file, id)).on(object)?;
            if pool_on(file) != Some(id) {
                return Ok(());
            }
            let identity = FileIdentity::of_path(file).on(object)?;
            if !loopdev::wait_gone(identity, FREED_WITHIN).on(object)? {
                return Err(Error::new(
                    ErrorKind::InUse,
                    format!(
                        "{object}: its image {} is still attached: another mount namespace has it",
                        file.display()
                    ),
                )
                .object(object)
                .hint(
                    "end the sandbox or container that has it, and try again (losetup -j shows the device)",
                ));
            }
            durable::remove_file(file).on(object)
        }
    }
}
