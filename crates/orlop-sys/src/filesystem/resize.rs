//! Making the filesystem in an image larger or smaller.
//!
//! A mounted one is grown by the kernel, in a transaction of its own journal: writers go on, and a
//! crash leaves the old size or the new. `resize2fs` on an image that is not mounted has no journal:
//! what it is let work on should be a copy.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, Updater, ioctl, opcode};

use super::{FsKind, superblock};
use crate::error::{Result, SysError, Unfinished};
use crate::process::Program;

const RESIZE2FS: Program = Program { name: "resize2fs", package: "e2fsprogs" };

/// `struct xfs_fsop_geom_v1` of the kernel's xfs_fs.h.
#[repr(C)]
#[derive(Default)]
struct Geometry {
    block_size: u32,
    rt_extent_size: u32,
    group_blocks: u32,
    groups: u32,
    log_blocks: u32,
    sector_size: u32,
    inode_size: u32,
    inode_percent: u32,
    data_blocks: u64,
    rt_blocks: u64,
    rt_extents: u64,
    log_start: u64,
    uuid: [u8; 16],
    stripe_unit: u32,
    stripe_width: u32,
    version: i32,
    flags: u32,
    log_sector_size: u32,
    rt_sector_size: u32,
    directory_block_size: u32,
}

/// `struct xfs_growfs_data` of the same header.
#[repr(C)]
struct Growth {
    blocks: u64,
    inode_percent: u32,
}

const XFS_GEOMETRY: Opcode = opcode::read::<Geometry>(b'X', 100);
const XFS_GROW: Opcode = opcode::write::<Growth>(b'X', 110);
const EXT4_RESIZE: Opcode = opcode::write::<u64>(b'f', 16);

/// Grows the mounted filesystem that `directory` is on (open to read, not `O_PATH`) to the whole blocks
/// of `size` bytes. That it has that size already is no error.
///
/// # Errors
/// EPERM where the kernel does not let us: ext4 asks for CAP_SYS_RESOURCE in the first user namespace.
pub fn grow_mounted(directory: impl AsFd, kind: FsKind, block_size: u32, size: u64) -> Result<()> {
    let blocks = size / u64::from(block_size.max(1));
    let failed = |errno| SysError::call("grow the filesystem", errno);
    match kind {
        FsKind::Ext4 => {
            // SAFETY: EXT4_IOC_RESIZE_FS reads one 64-bit number, which `Setter` passes by reference.
            unsafe { ioctl(&directory, Setter::<EXT4_RESIZE, u64>::new(blocks)) }.map_err(failed)
        }
        FsKind::Xfs => {
            let geometry = geometry(&directory).map_err(failed)?;
            if blocks <= geometry.data_blocks {
                return Ok(());
            }
            let growth = Growth { blocks, inode_percent: geometry.inode_percent };
            // SAFETY: XFS_IOC_FSGROWFSDATA reads one `xfs_growfs_data`, passed by reference.
            unsafe { ioctl(&directory, Setter::<XFS_GROW, Growth>::new(growth)) }.map_err(failed)
        }
    }
}

/// How long the mounted filesystem that `directory` is on believes to be, in bytes. `node` is the
/// block device that it is mounted from.
pub fn mounted_size(directory: impl AsFd, kind: FsKind, node: &Path) -> Result<u64> {
    match kind {
        // The kernel keeps the superblock in the device's page cache, where this reads it.
        FsKind::Ext4 => {
            let found = superblock(node)?.filter(|found| found.kind == kind);
            found.map(|found| found.size).ok_or_else(|| SysError::Invalid {
                what: "a mounted filesystem",
                detail: format!("{} holds no {kind}", node.display()),
            })
        }
        FsKind::Xfs => {
            let geometry = geometry(directory)
                .map_err(|errno| SysError::call("ask for the size of the filesystem", errno))?;
            Ok(geometry.data_blocks.saturating_mul(u64::from(geometry.block_size)))
        }
    }
}

fn geometry(directory: impl AsFd) -> Result<Geometry, Errno> {
    let mut geometry = Geometry::default();
    // SAFETY: XFS_IOC_FSGEOMETRY_V1 writes one `xfs_fsop_geom_v1` to the address passed, which is ours.
    unsafe {
        ioctl(directory, Updater::<XFS_GEOMETRY, Geometry>::new(&mut geometry))?;
    }
    Ok(geometry)
}

/// Makes the ext4 in an image `size` bytes long. The image is as long as the longer of both sizes,
/// not attached, and was checked in full right before.
///
/// # Errors
/// [`SysError::ProgramFailed`], among others where what is in it does not fit. The image's content is
/// undefined then, as it is where `go_on`, asked some times a second, fails.
pub fn resize_ext4<E>(
    image: &Path,
    size: u64,
    limit: Duration,
    go_on: impl FnMut() -> Result<(), E>,
) -> Result<(), Unfinished<E>> {
    // Sectors of 512 bytes; the program rounds down to whole blocks.
    let size = format!("{}s", size / 512);
    RESIZE2FS.run_while(&[image.as_os_str(), OsStr::new(&size)], limit, go_on)?.success()?;
    Ok(())
}

/// How small the ext4 in an image could be made, in bytes, as `resize2fs` estimates it.
pub fn least_ext4(image: &Path, limit: Duration) -> Result<u64> {
    let done = RESIZE2FS.run(&[OsStr::new("-P"), image.as_os_str()], &[], limit)?.success()?;
    let blocks = done.stdout.rsplit(' ').next().and_then(|word| word.trim().parse::<u64>().ok());
    let block_size = superblock(image)?.map(|found| u64::from(found.block_size));
    match (blocks, block_size) {
        (Some(blocks), Some(block_size)) => Ok(blocks.saturating_mul(block_size)),
        (Some(_) | None, Some(_) | None) => {
            Err(SysError::Invalid { what: "the answer of resize2fs -P", detail: done.stdout })
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::filesystem::{CheckMode, CheckOutcome, check};
    use crate::host::{Capability, has_capability};
    use crate::testing::{MIB, PATIENCE, Scratch, Volume, may_mount};
    use crate::{image, loopdev, mount, space};
    use std::fs::File;

    fn lengthen(volume: &Volume, size: u64) {
        let file = image::open_existing(&volume.image).unwrap();
        image::set_length(&file, size).unwrap();
        image::sync(&file, &volume.image).unwrap();
    }

    #[test]
    fn a_mounted_filesystem_grows_under_open_files() {
        if !may_mount() {
            return;
        }
        for (kind, before, after) in
            [(FsKind::Xfs, 300 * MIB, 1000 * MIB + 4097), (FsKind::Ext4, 64 * MIB, 700 * MIB + 4097)]
        {
            let scratch = Scratch::new();
            let volume = Volume::new(&scratch, "data.img", kind, before);
            let place = scratch.directory("place");
            let device = volume.attach();
            let node = device.node();
            mount::mount_filesystem(crate::testing::plain_mount(&node, kind), &place).unwrap();
            let root = File::open(&place).unwrap();
            let block_size = volume.parameters.block_size;
            assert_eq!(mounted_size(&root, kind, &node).unwrap(), before);
            lengthen(&volume, after);
            device.set_capacity().unwrap();
            let grown = grow_mounted(&root, kind, block_size, after);
            if kind == FsKind::Ext4 && !has_capability(Capability::SysResource).unwrap() {
                assert!(grown.unwrap_err().is_permission_denied());
                assert_eq!(mounted_size(&root, kind, &node).unwrap(), before);
                continue;
            }
            grown.unwrap();
            assert_eq!(mounted_size(&root, kind, &node).unwrap(), after - after % 4096);
            assert!(space::usage(&place).unwrap().capacity > after * 8 / 10);
            grow_mounted(&root, kind, block_size, after).unwrap();
            let identity = device.identity();
            drop((root, device));
            mount::unmount(&place).unwrap();
            assert!(loopdev::wait_gone(identity, PATIENCE).unwrap());
            let found = check(&volume.image, kind, CheckMode::ReadOnly, PATIENCE).unwrap();
            assert_eq!(found, CheckOutcome::Clean);
        }
    }

    #[test]
    fn an_ext4_that_is_not_mounted_becomes_larger_and_smaller() {
        if !may_mount() {
            return;
        }
        let scratch = Scratch::new();
        let volume = Volume::new(&scratch, "data.img", FsKind::Ext4, 64 * MIB);
        let place = scratch.directory("place");
        let mounted = volume.mount(&place);
        std::fs::write(place.join("data/file"), vec![7; 20 * MIB as usize]).unwrap();
        mount::unmount(&place).unwrap();
        let _ = mounted;
        crate::testing::wait_until("it is free", || {
            let identity = crate::FileIdentity::of_path(&volume.image).unwrap();
            loopdev::find_by_backing(identity).unwrap().is_none()
        });
        let least = least_ext4(&volume.image, PATIENCE).unwrap();
        assert!((20 * MIB..40 * MIB).contains(&least), "{least}");
        for size in [48 * MIB, 3 << 30] {
            if size > 64 * MIB {
                lengthen(&volume, size);
            }
            let found = check(&volume.image, FsKind::Ext4, CheckMode::Full, PATIENCE).unwrap();
            assert!(!matches!(found, CheckOutcome::Damaged { .. }), "{found:?}");
            resize_ext4(&volume.image, size, PATIENCE, || Ok::<(), ()>(())).unwrap();
            lengthen(&volume, size);
            assert_eq!(superblock(&volume.image).unwrap().unwrap().size, size);
            let found = check(&volume.image, FsKind::Ext4, CheckMode::ReadOnly, PATIENCE).unwrap();
            assert_eq!(found, CheckOutcome::Clean);
        }
        let found = check(&volume.image, FsKind::Ext4, CheckMode::Full, PATIENCE).unwrap();
        assert_eq!(found, CheckOutcome::Clean);
        let too_small = resize_ext4(&volume.image, 18 * MIB, PATIENCE, || Ok::<(), ()>(()));
        assert!(matches!(too_small, Err(Unfinished::Failed(_))), "what is in it does not fit");
    }
}
