//! Volumes for an orchestrator of this node (CSI), which names every directory itself: `stage` keeps a
//! volume ready, `publish` mounts it where one consumer gets it (a block device as in `device`), `group`
//! shows that consumer's group in place of the volume's own, and `statistics` tells how it stands.
//!
//! All directories are below one root, found once. What is recorded of them begins with that root as
//! it is, so that it can be compared with the mount table.

pub(crate) mod device;
pub(crate) mod group;
pub(crate) mod publish;
pub(crate) mod stage;
pub(crate) mod statistics;

use std::path::{Path, PathBuf};

use orlop_model::{Error, ErrorKind, MountOption, Result};
use orlop_sys::{
    SysError,
    target::{TargetPlace, TargetRoot},
};

use crate::{
    core::{Core, object},
    host,
    request::{Form, NodeAccess},
    store::VolumeRow,
};

/// What counts as one workload: each target, or all of this node.
fn scope(core: &Core, row: &VolumeRow, access: NodeAccess, target: &Path) -> String {
    let alone = row.manifest.volume.access_mode == orlop_model::AccessMode::ReadWriteOncePod;
    match access {
        NodeAccess::ManyTargets if !alone => node_scope(core),
        NodeAccess::ManyTargets | NodeAccess::OneTarget => format!("{TARGET_SCOPE}{}", target.display()),
    }
}

/// All consumers of this node.
fn node_scope(core: &Core) -> String {
    format!("csi-node:{}", core.config.node)
}

const TARGET_SCOPE: &str = "csi-target:";

/// Whether who has that scope is to have the volume alone on this node.
pub(crate) fn is_alone(scope: &str) -> bool {
    scope.starts_with(TARGET_SCOPE)
}

/// Whether the directory that stands for a staged volume is no longer there: then nobody comes to end
/// it. Where no orchestrator is served, nothing is known of its directories.
pub(crate) fn is_gone(core: &Core, staging: &Path) -> bool {
    let Some(root) = &core.node_root else { return false };
    match root.place(staging).and_then(|place| place.is_directory()) {
        Ok(there) => !there,
        Err(error) => error.is_not_found(),
    }
}

/// The orchestrator's directory.
fn root(core: &Core) -> Result<&TargetRoot> {
    core.node_root.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "this daemon serves no orchestrator")
            .hint("start it with --csi-endpoint, and --kubelet-root where that is elsewhere")
    })
}

/// A path as it is recorded, whether it is there or not.
fn path_of(core: &Core, path: &Path) -> Result<PathBuf> {
    root(core)?.path_of(path).map_err(|error| unusable(&error, path))
}

/// A place whose parent directory has to be there.
fn place(core: &Core, path: &Path) -> Result<TargetPlace> {
    root(core)?.place(path).map_err(|error| unusable(&error, path))
}

/// The error for a directory of the orchestrator that can't be used.
fn unusable(error: &SysError, path: &Path) -> Error {
    let shown = path.display().to_string();
    if error.is_not_found() {
        return Error::new(ErrorKind::InvalidArgument, format!("the directory of {shown} is not there"))
            .object(shown)
            .hint("the orchestrator makes it first");
    }
    let mut failed = host::failure(error, &shown);
    failed.message = error.to_string();
    failed
}

/// The form with its options each once and in order, as it is recorded and compared.
fn settled(row: &VolumeRow, form: &Form) -> Result<Form> {
    let (group, options) = match form {
        Form::Block => return Ok(Form::Block),
        Form::Filesystem { group, options } => (*group, options),
    };
    let mut options = options.clone();
    options.sort_unstable();
    options.dedup();
    let own = &row.manifest.volume.mount_options;
    if options.contains(&MountOption::Sync) && !own.contains(&MountOption::Sync) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("volume {} can't be mounted with sync for one consumer alone", row.title()),
        )
        .object(object(row))
        .hint("sync holds for a whole filesystem: give it in the StorageClass or the volume's manifest"));
    }
    if group == Some(u32::MAX) {
        return Err(Error::new(ErrorKind::InvalidArgument, format!("{} is not a valid gid", u32::MAX))
            .object(object(row))
            .hint("give a gid from 0 to 4294967294"));
    }
    Ok(Form::Filesystem { group, options })
}
