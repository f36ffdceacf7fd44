//! Pools with a filesystem of their own, on a device or in an image file: found by the filesystem's
//! UUID, which is the pool's id, and mounted on `<state-dir>/pools/<pool id>`. Making that filesystem
//! is in `medium_format`.
//!
//! As with volumes, the mount outlives the daemon and is taken over at the next start. The loop
//! device of an image is held by the mount alone.

use std::path::{Path, PathBuf};

use orlop_model::{Error, ErrorKind, PoolId, Result, resource::Medium};
use orlop_sys::{
    FileIdentity, SysError,
    blockdev::{self, BlockDevice},
    durable,
    filesystem::{FsKind, superblock},
    image,
    loopdev::{self, LoopDevice, LoopOptions},
    mount::{self, FilesystemMount, MountAttributes},
};

use super::{Pools, confirm};
use crate::{
    attachment::place::restrict,
    core::Core,
    directory::entries,
    events::{event, note},
    host::{On, failure},
    store::{PoolRow, operations, pools},
};

/// Below the state directory.
const DIRECTORY: &str = "pools";
/// The sector size that the filesystem is made with.
const BLOCK: u32 = 4096;

/// Where the filesystem of a pool is mounted.
pub(crate) fn mount_point(core: &Core, id: PoolId) -> PathBuf {
    core.state_dir.join(DIRECTORY).join(id.to_string())
}

/// Mounts what is not mounted, of all pools, and takes away what belongs to none any more. A pool
/// whose disk is missing is told of, once, and keeps nobody from anything else.
pub(crate) fn bring_all(core: &Core) -> Result<()> {
    for row in core.store.read(pools::all)? {
        if row.medium == Medium::Directory {
            continue;
        }
        let Some(_held) = core.locks.try_take(crate::locks::Lock::Pool(row.name.clone())) else { continue };
        let object = format!("pool {}", row.name);
        let before = is_mounted(&row.path, &object);
        let mounted = bring(core, &row).and_then(|()| confirm(core, row.id, &row.name).map(drop));
        // What another daemon uses is in its way here when it takes the disk off.
        if before == Ok(false)
            && mounted.as_ref().is_err_and(|error| error.kind == ErrorKind::Locked)
            && let Err(left) = release(&row.path, &row.medium, &object)
        {
            tracing::warn!(%left, "the filesystem of a pool that another daemon uses stays mounted");
        }
        let news = core.pools.settle(row.id, mounted.as_ref().err().cloned());
        match (mounted, news) {
            (Ok(()), true) => {
                note(core, event("PoolFound", format!("pool {} is back", row.name)).in_pool(&row.name));
            }
            (Err(error), true) if core.is_recovered() => {
                note(core, event("PoolMissing", error.to_string()).in_pool(&row.name).error());
            }
            (Ok(()) | Err(_), _) => {}
        }
    }
    sweep(core)
}

/// Mounts the pool's filesystem on its path; that it is mounted already is no error.
///
/// # Errors
/// [`ErrorKind::Unavailable`] where its device or image is not there; [`ErrorKind::Damaged`].
pub(crate) fn bring(core: &Core, row: &PoolRow) -> Result<()> {
    let object = format!("pool {}", row.name);
    let (device, held) = match &row.medium {
        Medium::Directory => return Ok(()),
        _ if is_mounted(&row.path, &object)? => return Ok(()),
        Medium::Device { device } => (find(&core.pools, row.id, device, &object)?.node().to_owned(), None),
        Medium::Image { file, .. } => {
            let held = attach(Path::new(file), row.id, &object)?;
            (held.node(), Some(held))
        }
    };
    durable::create_dir_all(&row.path, 0o700).on(&object)?;
    let mount = FilesystemMount {
        device: &device,
        kind: FsKind::Xfs,
        discard: matches!(row.medium, Medium::Image { sparse: true, .. }),
        synchronous: false,
        read_only: false,
        attributes: MountAttributes { no_exec: true, no_atime: true, ..MountAttributes::default() },
    };
    let mounted =
        mount::mount_filesystem(mount, &row.path).map_err(|error| unmountable(&error, &device, &object));
    drop(held);
    mounted?;
    restrict(&row.path, 0o700, &object)
}

/// Whether its filesystem is mounted anywhere on this host: by another daemon, or since one that died.
pub(crate) fn is_mounted_somewhere(medium: &Medium, object: &str) -> Result<bool> {
    let device = match medium {
        Medium::Directory => return Ok(true),
        Medium::Device { device } => Some(BlockDevice::of_node(Path::new(device)).on(object)?.number()),
        Medium::Image { file, .. } => {
            let identity = FileIdentity::of_path(Path::new(file)).on(object)?;
            loopdev::find_by_backing(identity).on(object)?.map(|device| device.device())
        }
    };
    let Some(device) = device else { return Ok(false) };
    Ok(!orlop_sys::mountinfo::mounts_of_device(device).on(object)?.is_empty())
}

fn is_mounted(path: &Path, object: &str) -> Result<bool> {
    match mount::mounted_at(path) {
        Ok(mounted) => Ok(mounted.is_some()),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(failure(&error, object)),
    }
}

/// The device with the pool's filesystem, whatever it is called now. `last` is what it was called.
///
/// # Errors
/// [`ErrorKind::Unavailable`] where there is none; [`ErrorKind::Conflict`] where there are two.
pub(crate) fn find(known: &Pools, id: PoolId, last: &str, object: &str) -> Result<BlockDevice> {
    let roots = known.roots();
    // The content of a volume is its user's to write, the superblock of a pool too.
    let wanted = |backing: &Path| !roots.iter().any(|root| backing.starts_with(root));
    let mut found = blockdev::with_filesystem(FsKind::Xfs, *id.0.as_bytes(), wanted).on(object)?;
    match (found.pop(), found.as_slice()) {
        (Some(device), []) => Ok(device),
        (Some(one), [other, ..]) => Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "{object}: its filesystem is there twice, on {} and on {}",
                one.node().display(),
                other.node().display()
            ),
        )
        .object(object)
        .hint("one is a copy: detach it, or give it another UUID (xfs_admin -U generate); nothing is used until then")),
        (None, _) => Err(Error::new(
            ErrorKind::Unavailable,
            format!("{object}: no disk has the filesystem with the UUID {id}; it was last seen on {last}"),
        )
        .object(object)
        .hint("connect the disk: it is used within seconds, whatever its name is then; its volumes wait")),
    }
}

/// The image's loop device, found or made.
pub(crate) fn attach(file: &Path, id: PoolId, object: &str) -> Result<LoopDevice> {
    let absent = |why: String| {
        Error::new(ErrorKind::Unavailable, format!("{object}: {why}"))
            .object(object)
            .hint("put the image back, or mount the disk that holds it: it is used within seconds; its volumes wait")
    };
    let identity = match FileIdentity::of_path(file) {
        Ok(identity) => identity,
        Err(error) if error.is_not_found() => {
            return Err(absent(format!("its image {} is missing", file.display())));
        }
        Err(error) => return Err(failure(&error, object)),
    };
    let found = superblock(file).on(object)?.filter(|found| found.kind == FsKind::Xfs);
    let Some(found) = found.filter(|found| found.uuid == *id.0.as_bytes()) else {
        return Err(absent(format!("{} does not hold its filesystem, with the UUID {id}", file.display())));
    };
    let length = image::space(file).on(object)?.length;
    if length < found.size {
        return Err(Error::new(
            ErrorKind::Damaged,
            format!(
                "{object}: its image {} was truncated: it has {length} bytes, and its filesystem {}",
                file.display(),
                found.size
            ),
        )
        .object(object)
        .hint("put the image back from a copy; nothing of its volumes is changed meanwhile"));
    }
    if let Some(device) = loopdev::find_by_backing(identity).on(object)? {
        device.confirm_block_size(BLOCK).on(object)?;
        return Ok(device);
    }
    let options = LoopOptions { block_size: BLOCK, direct_io: true, read_only: false };
    loopdev::attach(file, options).on(object)
}

fn unmountable(error: &SysError, device: &Path, object: &str) -> Error {
    if error.is_busy() {
        return failure(error, object);
    }
    Error::new(ErrorKind::Damaged, format!("{object}: its filesystem can't be mounted: {error}"))
        .object(object)
        .hint(format!(
            "see the kernel's log (dmesg); copy the disk away first, then check it: xfs_repair -n {}",
            device.display()
        ))
}

/// Unmounts a pool that has a filesystem of its own. Says who still holds it, in another namespace.
///
/// # Errors
/// [`ErrorKind::InUse`] while files in it are open here.
pub(crate) fn release(path: &Path, medium: &Medium, object: &str) -> Result<Option<String>> {
    if *medium == Medium::Directory {
        return Ok(None);
    }
    let mounted = mount::mounted_at(path);
    let device = match mounted {
        Ok(mounted) => mounted.map(|mounted| mounted.device),
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(failure(&error, object)),
    };
    match mount::unmount(path) {
        Ok(()) | Err(SysError::NotMounted { .. }) => {}
        Err(error) => return Err(failure(&error, object)),
    }
    // The kernel then also takes away copies of the mount in other namespaces.
    durable::remove_dir(path).on(object)?;
    let Some(device) = device else { return Ok(None) };
    let held = orlop_sys::mountinfo::mounts_of_device(device).on(object)?;
    Ok(held.first().map(|mount| {
        format!("{} (process {}) still has it at {}", mount.comm, mount.pid, mount.mount_point.display())
    }))
}

/// Takes away mounts of pools that no record has any more: what a crash left of a removal.
fn sweep(core: &Core) -> Result<()> {
    // In this order: whoever makes a mount point has recorded before what for.
    let there: Vec<PathBuf> =
        entries(&core.state_dir.join(DIRECTORY))?.into_iter().map(|(path, _)| path).collect();
    if there.is_empty() {
        return Ok(());
    }
    let (rows, begun) = core.store.read(|r| Ok((pools::all(r)?, operations::unfinished(r)?)))?;
    for path in there {
        let Some(id) = path.file_name().and_then(|name| name.to_str()?.parse::<PoolId>().ok()) else {
            continue;
        };
        if rows.iter().any(|row| row.path == path)
            || begun.iter().any(|operation| operation.intent.pool() == Some(id))
        {
            continue;
        }
        let object = format!("a pool that is gone, at {}", path.display());
        let medium = Medium::Device { device: String::new() };
        match release(&path, &medium, &object) {
            // A mount point without a mount.
            Ok(_) if path.exists() => durable::remove_dir(&path).on(&object)?,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "a mount stays for now"),
        }
    }
    Ok(())
}
