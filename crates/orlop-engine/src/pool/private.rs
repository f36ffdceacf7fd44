//! A pool's directories are root's alone. Whoever may write to one of them could at any time put another
//! directory in the place of a volume's, and what is done to that volume would be done to what is there.

use std::{
    fs::{File, Permissions, metadata, symlink_metadata},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use orlop_model::{Error, ErrorKind, Result};
use orlop_sys::{
    beneath::{self, OFlags},
    mount, space,
};

use crate::{format::PoolPaths, host::On};

const ROOT: u32 = 0;
const MODE: u32 = 0o700;
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What is in the root of a pool, and holds what is ours.
fn parts(paths: &PoolPaths) -> [PathBuf; 3] {
    [paths.volumes(), paths.snapshots(), paths.blanks()]
}

/// Whom what belongs to that others may read or write, in words.
pub(super) fn open(paths: &PoolPaths) -> Option<String> {
    let is_open = |path: &Path| {
        let found = if path == paths.root() { metadata(path) } else { symlink_metadata(path) }.ok()?;
        let mode = found.mode() & 0o7777;
        let whose = match found.uid() {
            ROOT => String::new(),
            uid => format!(" and uid {uid} owns it"),
        };
        let name =
            if path == paths.root() { "it".to_owned() } else { path.file_name()?.display().to_string() };
        (!whose.is_empty() || mode & 0o077 != 0).then(|| format!("{name} has the mode {mode:04o}{whose}"))
    };
    let found: Vec<_> =
        [paths.root().to_owned()].iter().chain(&parts(paths)).filter_map(|path| is_open(path)).collect();
    (!found.is_empty()).then(|| found.join(", "))
}

/// Makes all of them root's alone, those that are there.
///
/// # Errors
/// [`ErrorKind::Damaged`] where one of them is no directory; [`ErrorKind::Host`].
pub(super) fn close(paths: &PoolPaths, object: &str) -> Result<()> {
    // From the root on: behind it nobody else can exchange anything any more.
    let root = mount::open_directory(paths.root()).on(object)?;
    take(&File::from(beneath::open(&root, Path::new("."), DIRECTORY).on(object)?), paths.root(), object)?;
    for path in parts(paths) {
        let name = path.file_name().unwrap_or_default();
        match beneath::open(&root, Path::new(name), DIRECTORY) {
            Ok(part) => take(&File::from(part), &path, object)?,
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                return Err(Error::new(
                    ErrorKind::Damaged,
                    format!("{object}: {} is no directory of a pool: {error}", path.display()),
                )
                .object(object)
                .hint("see what it is, and put the pool's own in its place; nothing was changed"));
            }
        }
    }
    Ok(())
}

fn take(directory: &File, path: &Path, object: &str) -> Result<()> {
    let taken = directory.metadata().and_then(|found| {
        if found.uid() != ROOT
            && let Err(error) = fchown(directory, Some(ROOT), Some(ROOT))
            && !(error.kind() == std::io::ErrorKind::PermissionDenied && is_nfs(path))
        {
            return Err(error);
        }
        directory.set_permissions(Permissions::from_mode(MODE))
    });
    taken.map_err(|error| {
        Error::new(
            ErrorKind::Host,
            format!("{object}: {} can't be made root's alone: {error}", path.display()),
        )
        .object(object)
        .hint("use a directory on a filesystem that keeps owners and modes")
    })
}

/// Its server may take root for nobody, and then gives nothing to root.
fn is_nfs(path: &Path) -> bool {
    space::filesystem_kind(path).is_ok_and(|kind| kind == "nfs")
}
