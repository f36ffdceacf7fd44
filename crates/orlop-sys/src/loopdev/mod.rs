//! Loop devices: an image file as a block device.
//!
//! Every device made here has the autoclear flag: the kernel frees it when the last descriptor is
//! closed and the last mount, in any mount namespace, is gone. A crash between attaching and
//! mounting therefore leaks nothing. The price is that the [`LoopDevice`] must be kept until the
//! filesystem on it is mounted. What is had as a device has no mount: [`LoopDevice::keep`] takes the
//! flag away for as long as somebody may come for it, and [`LoopDevice::let_go`] gives it back.
//!
//! A loop device is recycled for another file as soon as it is free, so a number or a path proves
//! nothing: the backing file is confirmed on an open descriptor before a device is used or changed.

mod attached;
mod ioctl;
mod last;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use linux_raw_sys::loop_device::{_bindgen_ty_1 as Flags, loop_config, loop_info64};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mknodat, open};
use rustix::io::Errno;

use crate::error::{Result, SysError};
use crate::identity::{DeviceNumber, FileIdentity};
use crate::writeback;

const CONTROL: &str = "/dev/loop-control";
/// The kernel's number of the loop driver.
pub const MAJOR: u32 = 7;
/// Between asking for a free device and taking it, others take it: so often it is tried again.
const ATTACH_ATTEMPTS: u32 = 64;
const POLL: Duration = Duration::from_millis(2);

/// How an image is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopOptions {
    /// The logical block size in bytes: 512, 1024, 2048 or 4096. Fixed by the filesystem inside.
    pub block_size: u32,
    /// Go past the host's page cache, so that data isn't cached twice. Where the host filesystem
    /// can't, the device is attached without; see [`LoopDevice::direct_io`].
    pub direct_io: bool,
    /// No write reaches the image.
    pub read_only: bool,
}

/// An attached loop device, held open. Dropping it lets the kernel free the device, unless a
/// mount or another process holds it.
#[derive(Debug)]
pub struct LoopDevice {
    number: u32,
    identity: FileIdentity,
    direct_io: bool,
    read_only: bool,
    fd: OwnedFd,
}

/// A loop device as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopInfo {
    /// `/dev/loopN`.
    pub number: u32,
    /// The backing file's path as the kernel shows it, for messages only: it is the path as seen
    /// from the root of the mount, and may be of a file long renamed.
    pub backing_file: PathBuf,
    /// The backing file was unlinked.
    pub deleted: bool,
    /// The backing file.
    pub identity: FileIdentity,
    /// The block device that it is on, where the backing file is the node of one.
    pub backing_device: Option<DeviceNumber>,
    /// Where in the backing file the device begins, in bytes.
    pub offset: u64,
    /// How many bytes of it the device has; 0 for all.
    pub size_limit: u64,
    /// The kernel frees it with its last user.
    pub autoclear: bool,
    /// It goes past the host's page cache.
    pub direct_io: bool,
    /// It can't be written.
    pub read_only: bool,
}

/// Whether a filesystem on a loop device is mounted, in whichever mount namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusivity {
    /// Nobody has it mounted or claimed.
    Free,
    /// Some mount namespace still mounts it, or a process claims it exclusively.
    Claimed,
    /// The device is no longer that image's: nothing holds it.
    Gone,
}

impl LoopInfo {
    /// The device node.
    pub fn node(&self) -> PathBuf {
        node_path(self.number)
    }

    /// The device's number: what mounts of it show in mountinfo.
    pub fn device(&self) -> DeviceNumber {
        device_of(self.number)
    }

    /// The device is the whole backing file, as those that are made here are.
    pub fn is_whole(&self) -> bool {
        self.offset == 0 && self.size_limit == 0
    }
}

impl LoopDevice {
    /// The number in `/dev/loopN`.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The device node.
    pub fn node(&self) -> PathBuf {
        node_path(self.number)
    }

    /// The device's number: what mounts of it show in mountinfo.
    pub fn device(&self) -> DeviceNumber {
        device_of(self.number)
    }

    /// The image behind it.
    pub fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Whether direct I/O was asked for and got.
    pub fn direct_io(&self) -> bool {
        self.direct_io
    }

    /// Whether no write reaches the image. It is so for as long as the device has that image: the
    /// kernel's other switch (`blockdev --setro`) would outlast it, and hit whoever gets the device next.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// Confirms that its logical block size is that many bytes: one that was found may be somebody else's.
    ///
    /// # Errors
    /// [`SysError::ForeignLoop`] where it is another.
    pub fn confirm_block_size(&self, expected: u32) -> Result<()> {
        let found = rustix::fs::ioctl_blksszget(&self.fd)
            .map_err(|errno| SysError::on("look at", &self.node(), errno))?;
        if found == expected {
            return Ok(());
        }
        let difference = format!("has sectors of {found} bytes instead of {expected}");
        Err(SysError::ForeignLoop { number: self.number, difference })
    }

    /// Confirms that the device still belongs to the image it was opened for.
    ///
    /// # Errors
    /// [`SysError::DeviceRecycled`] when it doesn't.
    pub fn confirm(&self) -> Result<()> {
        match identity_on(&self.fd) {
            Ok(found) if found == self.identity => Ok(()),
            Ok(_) | Err(Errno::NXIO) => Err(SysError::DeviceRecycled { number: self.number }),
            Err(errno) => Err(SysError::on("look at", &self.node(), errno)),
        }
    }

    /// Asks the kernel whether any mount namespace still mounts it. See [`probe_exclusive`].
    pub fn probe_exclusive(&self) -> Result<Exclusivity> {
        probe_exclusive(self.number, self.identity)
    }

    /// Takes the image from the device; where others hold it open, the kernel does so when they
    /// close it. Mounts are not undone by this: unmount first.
    pub fn detach(self) -> Result<()> {
        match self.confirm() {
            Ok(()) => {}
            Err(SysError::DeviceRecycled { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        match ioctl::clear(&self.fd) {
            Ok(()) | Err(Errno::NXIO) => Ok(()),
            Err(errno) => Err(SysError::on("detach", &self.node(), errno)),
        }
    }

    /// Has the device stay when nobody has it open or mounted.
    pub fn keep(&self) -> Result<()> {
        self.set_autoclear(false)
    }

    /// Has the kernel free the device when nobody has it open or mounted any more: at once, when this
    /// is dropped and was the last.
    pub fn let_go(&self) -> Result<()> {
        self.set_autoclear(true)
    }

    fn set_autoclear(&self, wanted: bool) -> Result<()> {
        self.confirm()?;
        let failed = |errno| SysError::on("change the flags of", &self.node(), errno);
        let mut info = ioctl::status(&self.fd).map_err(failed)?;
        if has_flag(&info, Flags::LO_FLAGS_AUTOCLEAR) == wanted {
            return Ok(());
        }
        info.lo_flags ^= Flags::LO_FLAGS_AUTOCLEAR as u32;
        ioctl::set_status(&self.fd, info).map_err(failed)
    }

    /// Brings to the image what was written to the device, by whomever and through whichever cache.
    pub fn flush(&self) -> Result<()> {
        self.confirm()?;
        rustix::fs::fsync(&self.fd).map_err(|errno| SysError::on("flush", &self.node(), errno))
    }

    /// Makes the device as long as the image is now, after the image grew.
    pub fn set_capacity(&self) -> Result<()> {
        self.confirm()?;
        ioctl::set_capacity(&self.fd).map_err(|errno| SysError::on("resize", &self.node(), errno))
    }
}

impl AsFd for LoopDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Attaches an image to a free loop device, always with autoclear.
///
/// Does not look whether the image has a device already: see [`find_by_backing`]. Two devices for
/// one image would corrupt the filesystem inside.
///
/// # Errors
/// [`SysError::NoLoopDevice`] when the kernel has none or they are taken faster than they come;
/// [`SysError::NotFound`] without the image.
pub fn attach(image: &Path, options: LoopOptions) -> Result<LoopDevice> {
    let access = if options.read_only { OFlags::RDONLY } else { OFlags::RDWR };
    let backing = open(image, access | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
        .map_err(|errno| SysError::on("open the image", image, errno))?;
    attach_fd(backing.as_fd(), image, options)
}

fn attach_fd(backing: BorrowedFd<'_>, image: &Path, options: LoopOptions) -> Result<LoopDevice> {
    let identity = FileIdentity::of_fd(backing)?;
    let control = open(CONTROL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
        SysError::NoLoopDevice {
            detail: format!(
                "{CONTROL}: {}; is the kernel module `loop` there, and may this process use it?",
                std::io::Error::from(errno)
            ),
        }
    })?;
    let config = configuration(backing, options);
    let mut last = Errno::BUSY;
    for attempt in 0..ATTACH_ATTEMPTS {
        let number = ioctl::get_free(&control).map_err(|errno| SysError::NoLoopDevice {
            detail: format!("the kernel gives none: {}", std::io::Error::from(errno)),
        })?;
        let taken =
            open_node(number, options.read_only).and_then(|fd| ioctl::configure(&fd, config).map(|()| fd));
        match taken {
            Ok(fd) => {
                let info =
                    ioctl::status(&fd).map_err(|errno| SysError::on("look at", &node_path(number), errno))?;
                last::note(identity, Some(number));
                writeback::release(device_of(number));
                return Ok(LoopDevice {
                    number,
                    identity,
                    direct_io: has_flag(&info, Flags::LO_FLAGS_DIRECT_IO),
                    read_only: has_flag(&info, Flags::LO_FLAGS_READ_ONLY),
                    fd,
                });
            }
            // Taken by somebody else, or removed, between the two requests.
            Err(errno @ (Errno::BUSY | Errno::NXIO | Errno::NODEV | Errno::NOENT)) => last = errno,
            Err(errno @ (Errno::PERM | Errno::ACCESS)) => {
                return Err(SysError::NoLoopDevice {
                    detail: format!(
                        "{}: {}; the process needs CAP_SYS_ADMIN and access to the device",
                        node_path(number).display(),
                        std::io::Error::from(errno)
                    ),
                });
            }
            Err(errno) => return Err(SysError::on("attach the image", image, errno)),
        }
        // Contention grows with the number of those who try: step out of each other's way.
        std::thread::sleep(Duration::from_micros(50 * u64::from(attempt.min(40))));
    }
    Err(SysError::NoLoopDevice {
        detail: format!("{ATTACH_ATTEMPTS} attempts failed, the last with: {}", std::io::Error::from(last)),
    })
}

fn configuration(backing: BorrowedFd<'_>, options: LoopOptions) -> loop_config {
    let mut info = ioctl::empty_info();
    info.lo_flags = Flags::LO_FLAGS_AUTOCLEAR as u32;
    if options.direct_io {
        info.lo_flags |= Flags::LO_FLAGS_DIRECT_IO as u32;
    }
    if options.read_only {
        info.lo_flags |= Flags::LO_FLAGS_READ_ONLY as u32;
    }
    loop_config {
        fd: std::os::fd::AsRawFd::as_raw_fd(&backing).unsigned_abs(),
        block_size: options.block_size,
        info,
        __reserved: [0; 8],
    }
}

/// The loop device of an image, if it has one, opened and confirmed.
///
/// Finds it by the file itself, so also after the image was renamed or unlinked. Costs a few system
/// calls where it has the device that it had last, and otherwise as many for each attached loop device of
/// the machine.
///
/// # Errors
/// [`SysError::ForeignLoop`] where the only one is of a part of the image: nobody may take it for the
/// image's, nor make another beside it.
pub fn find_by_backing(identity: FileIdentity) -> Result<Option<LoopDevice>> {
    if let Some(number) = last::known(identity)
        && let Of::Whole(device) = open_of(number, identity)?
    {
        return Ok(Some(device));
    }
    let mut foreign = None;
    for number in attached::numbers()? {
        match open_of(number, identity)? {
            Of::Whole(device) => {
                last::note(identity, Some(number));
                return Ok(Some(device));
            }
            Of::Part { difference } => {
                foreign.get_or_insert(SysError::ForeignLoop { number, difference });
            }
            Of::Another => {}
        }
    }
    last::note(identity, None);
    foreign.map_or(Ok(None), Err)
}

/// Makes sure that no loop device has a part of the image alone, whatever else it has.
///
/// # Errors
/// [`SysError::ForeignLoop`] where one has.
pub fn only_whole(identity: FileIdentity) -> Result<()> {
    for number in attached::numbers()? {
        if let Of::Part { difference } = open_of(number, identity)? {
            return Err(SysError::ForeignLoop { number, difference });
        }
    }
    Ok(())
}

/// What a loop device has of an image.
enum Of {
    Whole(LoopDevice),
    Part { difference: String },
    Another,
}

fn open_of(number: u32, identity: FileIdentity) -> Result<Of> {
    let found = open_configured(number)?.filter(|(_, info)| identity_of(info) == identity);
    let Some((fd, info)) = found else { return Ok(Of::Another) };
    if info.lo_offset != 0 {
        return Ok(Of::Part { difference: format!("begins at byte {} of it", info.lo_offset) });
    }
    if info.lo_sizelimit != 0 {
        return Ok(Of::Part { difference: format!("is limited to {} bytes of it", info.lo_sizelimit) });
    }
    Ok(Of::Whole(LoopDevice {
        number,
        identity,
        direct_io: has_flag(&info, Flags::LO_FLAGS_DIRECT_IO),
        read_only: has_flag(&info, Flags::LO_FLAGS_READ_ONLY),
        fd,
    }))
}

/// All attached loop devices, ours and others', in the order of their numbers.
pub fn list() -> Result<Vec<LoopInfo>> {
    let mut devices = Vec::new();
    for number in attached::numbers()? {
        let Some(shown) = shown_backing_file(number) else {
            continue;
        };
        let Some((_fd, info)) = open_configured(number)? else {
            continue;
        };
        let (backing_file, deleted) = match shown.strip_suffix(b" (deleted)") {
            Some(path) => (path, true),
            None => (shown.as_slice(), false),
        };
        devices.push(LoopInfo {
            number,
            backing_file: path_from(backing_file),
            deleted,
            identity: identity_of(&info),
            backing_device: (info.lo_rdevice != 0).then(|| DeviceNumber::from_raw(info.lo_rdevice)),
            offset: info.lo_offset,
            size_limit: info.lo_sizelimit,
            autoclear: has_flag(&info, Flags::LO_FLAGS_AUTOCLEAR),
            direct_io: has_flag(&info, Flags::LO_FLAGS_DIRECT_IO),
            read_only: has_flag(&info, Flags::LO_FLAGS_READ_ONLY),
        });
    }
    Ok(devices)
}

/// Asks the kernel whether any mount namespace still mounts the device, by an exclusive open that
/// mounts exclude. It is the only question that namespaces without a visible process answer too.
///
/// The answer is of this moment; who prevents new mounts must be known by other means. A probe by
/// somebody else at the same moment also looks like a claim: ask again before acting on it.
pub fn probe_exclusive(number: u32, identity: FileIdentity) -> Result<Exclusivity> {
    let node = node_path(number);
    match open_with(number, OFlags::RDONLY | OFlags::EXCL) {
        Ok(fd) => Ok(match identity_on(&fd) {
            Ok(found) if found == identity => Exclusivity::Free,
            Ok(_) | Err(Errno::NXIO) => Exclusivity::Gone,
            Err(errno) => return Err(SysError::on("look at", &node, errno)),
        }),
        Err(Errno::BUSY) => match open_configured(number)? {
            Some((_fd, info)) if identity_of(&info) == identity => Ok(Exclusivity::Claimed),
            Some(_) | None => Ok(Exclusivity::Gone),
        },
        Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => Ok(Exclusivity::Gone),
        Err(errno) => Err(SysError::on("claim", &node, errno)),
    }
}

/// Waits until no loop device has the image: after the last unmount the kernel frees the device a
/// moment later. Says whether it happened within the limit.
///
/// # Errors
/// As [`find_by_backing`]: one of a part of the image is not ours, and is not waited for.
pub fn wait_gone(identity: FileIdentity, limit: Duration) -> Result<bool> {
    let begin = Instant::now();
    loop {
        // The search itself opens the device; it is closed again before the next look.
        if find_by_backing(identity)?.is_none() {
            return Ok(true);
        }
        if begin.elapsed() >= limit {
            return Ok(false);
        }
        std::thread::sleep(POLL);
    }
}

fn node_path(number: u32) -> PathBuf {
    PathBuf::from(format!("/dev/loop{number}"))
}

fn device_of(number: u32) -> DeviceNumber {
    DeviceNumber { major: MAJOR, minor: number }
}

fn open_node(number: u32, read_only: bool) -> rustix::io::Result<OwnedFd> {
    let access = if read_only { OFlags::RDONLY } else { OFlags::RDWR };
    match open_with(number, access) {
        Err(Errno::NOENT) => {
            make_node(number)?;
            open_with(number, access)
        }
        other => other,
    }
}

/// Opens the node and makes sure that it is the loop device of that number: in a container's
/// `/dev` it may be anything.
fn open_with(number: u32, access: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fd = open(node_path(number), flags, Mode::empty())?;
    let found = fstat(&fd)?;
    let is_block = FileType::from_raw_mode(found.st_mode) == FileType::BlockDevice;
    if !is_block || DeviceNumber::from_raw(found.st_rdev) != device_of(number) {
        return Err(Errno::NOTBLK);
    }
    Ok(fd)
}

/// `/dev` is not kept by the kernel everywhere (containers, chroots): make what is missing.
fn make_node(number: u32) -> rustix::io::Result<()> {
    let made = mknodat(
        CWD,
        node_path(number),
        FileType::BlockDevice,
        Mode::from_raw_mode(0o600),
        device_of(number).to_raw(),
    );
    match made {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Opens an attached device and asks what it is bound to; `None` when it no longer is.
fn open_configured(number: u32) -> Result<Option<(OwnedFd, loop_info64)>> {
    let opened = open_node(number, true).and_then(|fd| {
        let info = ioctl::status(&fd)?;
        Ok((fd, info))
    });
    match opened {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NXIO | Errno::NOENT | Errno::NODEV) => Ok(None),
        Err(errno) => Err(SysError::on("look at", &node_path(number), errno)),
    }
}

fn identity_on(fd: impl AsFd) -> rustix::io::Result<FileIdentity> {
    ioctl::status(fd).map(|info| identity_of(&info))
}

fn identity_of(info: &loop_info64) -> FileIdentity {
    FileIdentity { device: DeviceNumber::from_raw(info.lo_device), inode: info.lo_inode }
}

fn has_flag(info: &loop_info64, flag: Flags) -> bool {
    info.lo_flags & flag as u32 != 0
}

fn shown_backing_file(number: u32) -> Option<Vec<u8>> {
    let mut file = File::open(format!("/sys/block/loop{number}/loop/backing_file")).ok()?;
    let mut shown = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut shown).ok()?;
    if shown.last() == Some(&b'\n') {
        shown.pop();
    }
    Some(shown)
}

fn path_from(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::os::unix::ffi::OsStrExt::from_bytes(bytes) as &std::ffi::OsStr)
}
