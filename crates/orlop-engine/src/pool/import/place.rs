//! The pool itself: where it is, what it is on, what it will be called here, and whether the filesystem
//! of its own that it may have is whole.

use std::path::{Path, PathBuf};

use orlop_model::{
    Error, ErrorKind, PoolId, PoolName, Result, Size,
    resource::{Backend, Medium},
};
use orlop_sys::{
    blockdev::BlockDevice,
    filesystem::{CheckMode, CheckOutcome, FsKind, check_while},
    image as host_image,
};

use super::CHECK_LIMIT;
use crate::{
    core::Core,
    directory::{read_short, unreadable},
    format::{PoolFile, PoolPaths},
    host::{On, ended},
    pool::{
        create::{checked, text},
        medium,
        medium_format::pool_on,
    },
    request::{ImportPlace, ImportRequest},
    running::Meter,
    store::{PoolRow, pools},
};

/// The pool that is there, where it is or will be mounted, and on what.
pub(super) fn locate(core: &Core, place: &ImportPlace) -> Result<(PoolId, PathBuf, Medium)> {
    let none = |path: &Path, what: &str| {
        Error::new(ErrorKind::NotFound, format!("there is no pool {what} {}", path.display()))
            .object("pool")
            .hint("a pool in a directory has a file orlop.pool; one on a device or in an image is an XFS with the pool's id as its UUID")
    };
    let of_medium = |path: &Path, what: &str, medium: Medium| {
        let id = pool_on(path).ok_or_else(|| none(path, what))?;
        Ok((id, medium::mount_point(core, id), medium))
    };
    match place {
        ImportPlace::Directory(path) => {
            let path = checked(path)?;
            let marker = PoolPaths::new(&path).marker();
            let bytes = read_short(&marker).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => none(&path, "in"),
                _ => unreadable(&marker, "it can't be read", &error),
            })?;
            Ok((PoolFile::decode(&bytes, &marker)?.id, path, Medium::Directory))
        }
        ImportPlace::Device(path) => {
            let device = BlockDevice::of_node(path).on("pool")?;
            let node = device.node().to_owned();
            of_medium(&node, "on", Medium::Device { device: node.display().to_string() })
        }
        ImportPlace::Image(file) => {
            let file = checked(file)?;
            let space = host_image::space(&file).on("pool")?;
            let sparse = space.allocated < space.length;
            let medium =
                Medium::Image { file: text(&file)?.to_owned(), size: Size::from_bytes(space.length), sparse };
            of_medium(&file, "in", medium)
        }
    }
}

/// The name that volumes without a pool mean, where it is free: as after the store was lost.
pub(super) fn default_name(core: &Core) -> Result<PoolName> {
    let name = PoolName::default_pool();
    if core.store.read(|r| pools::by_name(r, &name))?.is_none() {
        return Ok(name);
    }
    Err(Error::new(ErrorKind::InvalidArgument, "the pool needs a name: there is a pool default already")
        .object("name")
        .hint("give it one: --name NAME"))
}

/// Its record to be, without what is found out when it is there.
pub(super) fn new_row(
    core: &Core,
    id: PoolId,
    name: PoolName,
    path: &Path,
    on: &Medium,
    request: &ImportRequest,
) -> PoolRow {
    PoolRow {
        id,
        node: core.config.node.clone(),
        name,
        backend: Backend::Image,
        path: path.to_owned(),
        medium: on.clone(),
        capacity: Size::from_bytes(0),
        overcommit: request.overcommit.unwrap_or(1.0),
        created_at: Core::now(),
        reserved: Size::from_bytes(0),
        allocated: Size::from_bytes(0),
        volumes: 0,
        snapshots: 0,
    }
}

/// The filesystem that the pool is on comes from elsewhere too: it is checked before it is mounted.
pub(super) fn check_medium(row: &PoolRow, object: &str, meter: &Meter<'_>) -> Result<()> {
    let path = match &row.medium {
        Medium::Directory => return Ok(()),
        // The kernel has it, and a checker would see the half of it that is on the disk.
        _ if medium::is_mounted_somewhere(&row.medium, object)? => return Ok(()),
        Medium::Device { device } => device,
        Medium::Image { file, .. } => file,
    };
    let go_on = || meter.advance(0);
    let checked = check_while(Path::new(path), FsKind::Xfs, CheckMode::ReadOnly, CHECK_LIMIT, go_on);
    match ended(checked, object)? {
        CheckOutcome::Clean | CheckOutcome::LogDirty => Ok(()),
        CheckOutcome::Repaired { detail } | CheckOutcome::Damaged { detail } => Err(Error::new(
            ErrorKind::Damaged,
            format!("{object}: its filesystem is damaged; xfs_repair says: {detail}"),
        )
        .object(object)
        .hint(format!("copy it away first, then repair it: xfs_repair {path}; nothing was changed"))),
    }
}

/// What `orlop.pool` says, where it is of that pool.
pub(super) fn read_marker(row: &PoolRow, object: &str) -> Result<PoolFile> {
    let marker = PoolPaths::new(&row.path).marker();
    let bytes = read_short(&marker).map_err(|error| {
        Error::new(ErrorKind::Damaged, format!("{object}: {} can't be read: {error}", marker.display()))
            .object(object)
            .hint("it is no pool of orlop's, or it was never finished")
    })?;
    let file = PoolFile::decode(&bytes, &marker)?;
    if file.id == row.id {
        return Ok(file);
    }
    Err(Error::new(
        ErrorKind::Damaged,
        format!(
            "{object}: its filesystem has the UUID {}, and {} says {}",
            row.id,
            marker.display(),
            file.id
        ),
    )
    .object(object)
    .hint("the filesystem was given another UUID: give it back the pool's (xfs_admin -U)"))
}
