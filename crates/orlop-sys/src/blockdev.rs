//! Block devices that hold, or are to hold, one whole filesystem: what is on them, who uses them, and
//! which of them has the filesystem of a known UUID.
//!
//! The name of a device means nothing after a reboot, and its number neither: a device is known again
//! by what is on it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;

use crate::error::{Result, SysError};
use crate::filesystem::{FsKind, superblock};
use crate::identity::DeviceNumber;
use crate::process::Program;

const MIB: u64 = 1 << 20;
/// A device is blank when so much at its beginning holds nothing but zeros ...
const LOOKED_AT: u64 = 16 * MIB;
/// ... and so much at its end, where partition tables and RAID members leave their copies.
const EDGE: u64 = MIB;
/// sysfs counts in these, whatever the device's block size.
const SECTOR: u64 = 512;
const BLKID: Program = Program { name: "blkid", package: "util-linux" };
const BLKID_LIMIT: Duration = Duration::from_secs(30);

/// A block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDevice {
    node: PathBuf,
    number: DeviceNumber,
}

/// What is on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing but zeros where anything would begin or end.
    Blank,
    /// Something, in words for the user.
    Something(String),
}

impl BlockDevice {
    /// The device of a node; symbolic links, such as those in `/dev/disk/by-id`, are followed.
    ///
    /// # Errors
    /// [`SysError::NotFound`]; [`SysError::Invalid`] where it is something else.
    pub fn of_node(node: &Path) -> Result<Self> {
        let node = node.canonicalize().map_err(|error| SysError::io("find", node, &error))?;
        let (_file, number) = open_device(&node, OFlags::RDONLY)?;
        Ok(Self { node, number })
    }

    /// The node, without symbolic links.
    pub fn node(&self) -> &Path {
        &self.node
    }

    /// Its number, which is also that of a filesystem mounted from it.
    pub fn number(&self) -> DeviceNumber {
        self.number
    }

    /// How long it is, in bytes.
    pub fn size(&self) -> Result<u64> {
        let file = sysfs(self.number).join("size");
        let text = std::fs::read_to_string(&file).map_err(|error| SysError::io("read", &file, &error))?;
        let sectors: u64 = text.trim().parse().map_err(|_| SysError::Invalid {
            what: "size of the device",
            detail: format!("{}: {}", file.display(), text.trim()),
        })?;
        Ok(sectors.saturating_mul(SECTOR))
    }

    /// Who uses it, in words for the user; empty when nobody does. Partitions of it count, and what
    /// the kernel only says by refusing an exclusive open: swap, RAID members, mounts elsewhere.
    pub fn users(&self) -> Result<Vec<String>> {
        let mut users = Vec::new();
        for name in names_in(&sysfs(self.number)) {
            if sysfs(self.number).join(&name).join("partition").exists() {
                users.push(format!("it has the partition {name}"));
            }
        }
        for holder in names_in(&sysfs(self.number).join("holders")) {
            users.push(format!("{holder} is made of it"));
        }
        for mount in crate::mountinfo::mounts_of_device(self.number)? {
            users.push(format!("mounted on {} (process {})", mount.mount_point.display(), mount.pid));
        }
        match open_device(&self.node, OFlags::RDONLY | OFlags::EXCL) {
            Ok(_) => {}
            Err(SysError::Call { errno: Errno::BUSY, .. }) if !users.is_empty() => {}
            Err(SysError::Call { errno: Errno::BUSY, .. }) => {
                users.push("the kernel says that it is in use, as swap, in a RAID or elsewhere".to_owned());
            }
            Err(error) => return Err(error),
        }
        Ok(users)
    }

    /// What is on it. Reads its beginning and its end; what is known by a signature is named.
    pub fn content(&self) -> Result<Content> {
        let (file, _) = open_device(&self.node, OFlags::RDONLY)?;
        let size = self.size()?;
        let tail = size.saturating_sub(EDGE);
        if self.is_zero(&file, 0, LOOKED_AT.min(size))? && self.is_zero(&file, tail, size)? {
            return Ok(Content::Blank);
        }
        let unknown = || Content::Something("data without a known signature".to_owned());
        let arguments = ["-p", "-o", "export"].map(OsStr::new);
        let arguments = [&arguments[..], &[self.node.as_os_str()]].concat();
        match BLKID.run(&arguments, &[], BLKID_LIMIT) {
            Ok(done) if done.code() == Some(0) => {
                Ok(named(&done.stdout).map_or_else(unknown, Content::Something))
            }
            Ok(_) | Err(SysError::ProgramMissing { .. }) => Ok(unknown()),
            Err(error) => Err(error),
        }
    }

    /// Zeros its beginning and its end, and so every signature that could be found there.
    ///
    /// # Errors
    /// [`SysError::Busy`] where somebody uses it.
    pub fn wipe(&self) -> Result<()> {
        let (file, _) =
            open_device(&self.node, OFlags::RDWR | OFlags::EXCL).map_err(|error| match error {
                SysError::Call { errno: Errno::BUSY, .. } => {
                    SysError::Busy { path: self.node.clone(), detail: "it is mounted or claimed".to_owned() }
                }
                other => other,
            })?;
        let size = self.size()?;
        let failed = |error: std::io::Error| SysError::io("wipe", &self.node, &error);
        let zeros = vec![0; usize::try_from(EDGE.min(size)).unwrap_or(0)];
        // As much as is looked at: who formats it next finds it blank.
        for at in (0..LOOKED_AT.min(size)).step_by(zeros.len().max(1)) {
            let length = usize::try_from(size - at).map_or(zeros.len(), |left| left.min(zeros.len()));
            file.write_all_at(zeros.get(..length).unwrap_or_default(), at).map_err(failed)?;
        }
        file.write_all_at(&zeros, size - zeros.len() as u64).map_err(failed)?;
        file.sync_all().map_err(failed)
    }

    fn is_zero(&self, file: &File, from: u64, to: u64) -> Result<bool> {
        let mut buffer = vec![0; 1 << 18];
        let mut at = from;
        while at < to {
            let most = usize::try_from((to - at).min(buffer.len() as u64)).unwrap_or(buffer.len());
            let part = buffer.get_mut(..most).unwrap_or_default();
            match file.read_at(part, at) {
                Ok(0) => break,
                Ok(length) if part.iter().take(length).all(|byte| *byte == 0) => at += length as u64,
                Ok(_) => return Ok(false),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SysError::io("read", &self.node, &error)),
            }
        }
        Ok(true)
    }
}

/// The devices that hold a filesystem of that kind and UUID and that nothing else is made of. More
/// than one is a copy: the caller must not guess. Loop devices are looked at where `wanted` says so
/// of their backing file's path.
///
/// Opens every block device of the machine; those that can't be read are passed over.
pub fn with_filesystem(
    kind: FsKind,
    uuid: [u8; 16],
    wanted: impl Fn(&Path) -> bool,
) -> Result<Vec<BlockDevice>> {
    let mut found = Vec::new();
    for name in names_in(Path::new("/sys/class/block")) {
        let about = Path::new("/sys/class/block").join(&name);
        // A member of a RAID can show the filesystem of the whole.
        if !names_in(&about.join("holders")).is_empty() {
            continue;
        }
        if let Ok(backing) = std::fs::read_to_string(about.join("loop/backing_file"))
            && !wanted(Path::new(backing.trim_end()))
        {
            continue;
        }
        let empty = std::fs::read_to_string(about.join("size")).map_or(true, |size| size.trim() == "0");
        // The kernel writes the slashes of a name as exclamation marks.
        let node = Path::new("/dev").join(name.replace('!', "/"));
        if empty || !matches!(superblock(&node), Ok(Some(sb)) if sb.kind == kind && sb.uuid == uuid) {
            continue;
        }
        if let Ok(device) = BlockDevice::of_node(&node) {
            found.push(device);
        }
    }
    Ok(found)
}

fn open_device(node: &Path, access: OFlags) -> Result<(File, DeviceNumber)> {
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fd =
        open(node, flags, Mode::empty()).map_err(|errno| SysError::on("open the device", node, errno))?;
    let about = fstat(&fd).map_err(|errno| SysError::on("look at", node, errno))?;
    if FileType::from_raw_mode(about.st_mode) != FileType::BlockDevice {
        return Err(SysError::Invalid {
            what: "device",
            detail: format!("{} is no block device", node.display()),
        });
    }
    Ok((File::from(fd), DeviceNumber::from_raw(about.st_rdev)))
}

fn sysfs(number: DeviceNumber) -> PathBuf {
    PathBuf::from(format!("/sys/dev/block/{number}"))
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

/// What blkid says, in words: `ext4 labelled "data"`, `a gpt partition table`.
fn named(export: &str) -> Option<String> {
    let value = |key: &str| {
        export.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
    };
    let table = value("PTTYPE").map(|kind| format!("a {kind} partition table"));
    let content = value("TYPE").map(|kind| match (value("LABEL"), value("UUID")) {
        (Some(label), _) => format!("{kind} labelled {label:?}"),
        (None, Some(uuid)) => format!("{kind} with the UUID {uuid}"),
        (None, None) => kind,
    });
    match (content, table) {
        (Some(content), Some(table)) => Some(format!("{content}, and {table}")),
        (found, None) | (None, found) => found,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::filesystem::mkfs_bare;
    use crate::loopdev::{LoopDevice, LoopOptions, attach};
    use crate::testing::{Scratch, may_mount};

    const UUID: [u8; 16] = *b"orlop-blockdev-0";

    fn device(scratch: &Scratch, name: &str) -> (LoopDevice, BlockDevice) {
        let image = scratch.path(name);
        drop(crate::image::create(&image, 320 * MIB).unwrap());
        let options = LoopOptions { block_size: 512, direct_io: false, read_only: false };
        let held = attach(&image, options).unwrap();
        let device = BlockDevice::of_node(&held.node()).unwrap();
        (held, device)
    }

    #[test]
    fn a_device_is_blank_until_something_is_on_it_and_again_after_a_wipe() {
        if !may_mount() {
            return;
        }
        let scratch = Scratch::new();
        let (_held, device) = device(&scratch, "disk");
        assert_eq!((device.size().unwrap(), device.content().unwrap()), (320 * MIB, Content::Blank));
        assert_eq!(device.users().unwrap(), Vec::<String>::new());
        let file = std::fs::OpenOptions::new().write(true).open(device.node()).unwrap();
        file.write_all_at(b"end", 320 * MIB - 512).unwrap();
        let said = device.content().unwrap();
        assert_eq!(said, Content::Something("data without a known signature".to_owned()));
        mkfs_bare(device.node(), 320 * MIB, UUID, Duration::from_secs(60)).unwrap();
        let Content::Something(said) = device.content().unwrap() else { panic!("a filesystem is on it") };
        assert!(said.starts_with("xfs with the UUID 6f726c6f-"), "{said}");
        file.write_all_at(b"in what is looked at", 5 * MIB).unwrap();
        device.wipe().unwrap();
        assert_eq!((superblock(device.node()).unwrap(), device.content().unwrap()), (None, Content::Blank));
    }

    #[test]
    fn a_device_is_found_by_what_is_on_it_and_its_users_are_named() {
        if !may_mount() {
            return;
        }
        let scratch = Scratch::new();
        let (_held, one) = device(&scratch, "one");
        let mut uuid = UUID;
        uuid[..4].copy_from_slice(&std::process::id().to_be_bytes());
        mkfs_bare(one.node(), 320 * MIB, uuid, Duration::from_secs(60)).unwrap();
        assert_eq!(with_filesystem(FsKind::Xfs, uuid, |_| true).unwrap(), std::slice::from_ref(&one));
        assert_eq!(with_filesystem(FsKind::Xfs, uuid, |_| false).unwrap(), []);
        let place = scratch.directory("mnt");
        let mount = crate::mount::FilesystemMount {
            device: one.node(),
            kind: FsKind::Xfs,
            discard: false,
            synchronous: false,
            read_only: false,
            attributes: crate::mount::MountAttributes::default(),
        };
        crate::mount::mount_filesystem(mount, &place).unwrap();
        let users = one.users().unwrap();
        assert!(users.iter().any(|user| user.contains(&place.display().to_string())), "{users:?}");
        assert!(one.wipe().unwrap_err().is_busy());
        crate::mount::unmount(&place).unwrap();
    }

    #[test]
    fn what_blkid_says_is_put_in_words() {
        for (said, words) in [
            ("DEVNAME=/dev/sda\nLABEL=data\nUUID=1\nTYPE=ext4\n", Some(r#"ext4 labelled "data""#)),
            ("TYPE=LVM2_member\nUUID=x-y\n", Some("LVM2_member with the UUID x-y")),
            ("PTUUID=1\nPTTYPE=gpt\n", Some("a gpt partition table")),
            ("TYPE=vfat\nPTTYPE=dos\n", Some("vfat, and a dos partition table")),
            ("DEVNAME=/dev/sda\n", None),
        ] {
            assert_eq!(named(said).as_deref(), words, "{said}");
        }
    }
}
