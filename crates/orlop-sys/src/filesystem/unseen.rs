//! What only the kernel can do to a filesystem, done to an image that nobody uses: it is mounted where
//! nobody sees it, for as long as that takes. A crash leaves nothing behind. The filesystem may have
//! the UUID of another one that is mounted.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

use super::{FsKind, grow_mounted};
use crate::beneath;
use crate::error::{Result, SysError};
use crate::loopdev::{self, LoopOptions};
use crate::mount::{self, FilesystemMount, MountAttributes};

/// After the last unmount the kernel frees the device a moment later.
const FREED_WITHIN: Duration = Duration::from_secs(5);

/// Replays the log of an image that is not attached.
///
/// # Errors
/// As [`mount::mount_filesystem`].
pub fn replay_log(path: &Path, kind: FsKind, loop_block_size: u32) -> Result<()> {
    mounted(path, kind, loop_block_size, |_| Ok(()))
}

/// Grows the filesystem of an image that is not attached to the whole blocks of `size` bytes, which is
/// how long the image is. That it has that size already is no error. Not flushed.
///
/// # Errors
/// As [`mount::mount_filesystem`] and [`grow_mounted`]. A failure leaves the old size or the new.
pub fn grow_unmounted(
    path: &Path,
    kind: FsKind,
    block_size: u32,
    loop_block_size: u32,
    size: u64,
) -> Result<()> {
    mounted(path, kind, loop_block_size, |tree| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = beneath::open(tree, Path::new("."), flags)?;
        grow_mounted(&root, kind, block_size, size)
    })
}

fn mounted(
    path: &Path,
    kind: FsKind,
    loop_block_size: u32,
    work: impl FnOnce(&OwnedFd) -> Result<()>,
) -> Result<()> {
    let options = LoopOptions { block_size: loop_block_size, direct_io: true, read_only: false };
    let device = loopdev::attach(path, options)?;
    let (node, identity) = (device.node(), device.identity());
    let tree = mount::mount_unseen(FilesystemMount {
        device: &node,
        kind,
        discard: false,
        synchronous: false,
        read_only: false,
        attributes: MountAttributes::default(),
    })?;
    let done = work(&tree);
    drop(tree);
    drop(device);
    // Whoever opens the image next must not meet a device that still writes to it.
    let gone = loopdev::wait_gone(identity, FREED_WITHIN)?;
    done?;
    if gone {
        return Ok(());
    }
    Err(SysError::Busy { path: path.to_owned(), detail: "its loop device does not go".to_owned() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::filesystem::{CheckMode, CheckOutcome, check, superblock};
    use crate::host::{Capability, has_capability};
    use crate::testing::{MIB, PATIENCE, Scratch, Volume, may_mount};
    use crate::{identity::FileIdentity, image};

    #[test]
    fn a_copy_grows_beside_the_one_that_is_mounted() {
        if !may_mount() {
            return;
        }
        for (kind, before, after) in
            [(FsKind::Xfs, 300 * MIB, 700 * MIB + 4097), (FsKind::Ext4, 64 * MIB, 700 * MIB + 4097)]
        {
            let scratch = Scratch::new();
            let volume = Volume::new(&scratch, "data.img", kind, before);
            let place = scratch.directory("place");
            volume.mount(&place);
            std::fs::write(place.join("data/file"), vec![7; MIB as usize]).unwrap();
            // With a log that is to be replayed.
            rustix::fs::syncfs(std::fs::File::open(&place).unwrap()).unwrap();
            let copy = scratch.path("copy.img");
            let frozen = crate::freeze::freeze(&place, PATIENCE).unwrap();
            std::fs::copy(&volume.image, &copy).unwrap();
            frozen.thaw().unwrap();
            image::set_length(image::open_existing(&copy).unwrap(), after).unwrap();
            let parameters = &volume.parameters;
            let (block_size, loop_block_size) = (parameters.block_size, parameters.loop_block_size);
            let grown = grow_unmounted(&copy, kind, block_size, loop_block_size, after);
            let identity = FileIdentity::of_path(&copy).unwrap();
            assert!(loopdev::find_by_backing(identity).unwrap().is_none());
            if kind == FsKind::Ext4 && !has_capability(Capability::SysResource).unwrap() {
                assert!(grown.unwrap_err().is_permission_denied());
                assert_eq!(superblock(&copy).unwrap().unwrap().size, before);
                continue;
            }
            grown.unwrap();
            assert_eq!(superblock(&copy).unwrap().unwrap().size, after - after % u64::from(block_size));
            assert_eq!(superblock(&volume.image).unwrap().unwrap().size, before, "the other is as it was");
            grow_unmounted(&copy, kind, block_size, loop_block_size, after).unwrap();
            assert_eq!(check(&copy, kind, CheckMode::ReadOnly, PATIENCE).unwrap(), CheckOutcome::Clean);
        }
    }
}
