//! The text of `/proc/PID/mountinfo`, purely.
//!
//! Mount points are chosen by users and hold any byte: the kernel writes space, tab, newline and
//! backslash as octal escapes, so a line is a mount and a space ends a field, whatever the names.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::error::{Result, SysError};
use crate::identity::DeviceNumber;

/// One line of a mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// The mount's id; reused after it is gone.
    pub id: u64,
    /// The id of the mount it is on.
    pub parent: u64,
    /// The device of the filesystem.
    pub device: DeviceNumber,
    /// Which directory of the filesystem is mounted.
    pub root: PathBuf,
    /// Where, seen from the root directory of the process asked about.
    pub mount_point: PathBuf,
    /// This mount can't be written through, be it the mount or the filesystem that forbids it.
    pub read_only: bool,
    /// The mount's options, comma-separated.
    pub options: String,
    /// The peer group that mounts made on it are shared with.
    pub shared: Option<u64>,
    /// The peer group that it receives mounts from.
    pub master: Option<u64>,
    /// The filesystem's type.
    pub filesystem: String,
    /// What was mounted: a device node, or any text.
    pub source: PathBuf,
    /// The filesystem's own options, comma-separated.
    pub filesystem_options: String,
    /// The filesystem itself is read-only, whatever the mount says: asked for at the mount, or the
    /// kernel's answer to damaged metadata.
    pub filesystem_read_only: bool,
}

/// Parses a whole table.
pub fn parse(text: &[u8]) -> Result<Vec<MountEntry>> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse_line).collect()
}

/// Parses one line, without its newline.
pub fn parse_line(line: &[u8]) -> Result<MountEntry> {
    fields(line).ok_or_else(|| SysError::Invalid {
        what: "a line of mountinfo",
        detail: String::from_utf8_lossy(line).into_owned(),
    })
}

/// Whether the table has a mount on the root directory. One without was asked of a process whose root
/// directory is somewhere inside a mount.
pub(super) fn shows_root(table: &[u8]) -> bool {
    table.split(|byte| *byte == b'\n').any(|line| line.split(|byte| *byte == b' ').nth(4) == Some(b"/"))
}

/// Only the third field: what a search by device needs of most lines.
pub(super) fn device_of_line(line: &[u8]) -> Option<DeviceNumber> {
    device(line.split(|byte| *byte == b' ').nth(2)?)
}

fn fields(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = device(fields.next()?)?;
    let root = path(fields.next()?);
    let mount_point = path(fields.next()?);
    let options = text(fields.next()?);
    let (mut shared, mut master) = (None, None);
    // Any number of optional fields, of which later kernels may know more, up to a lone hyphen.
    loop {
        let field = fields.next()?;
        if field == b"-" {
            break;
        }
        if let Some(group) = field.strip_prefix(b"shared:") {
            shared = Some(number(group)?);
        } else if let Some(group) = field.strip_prefix(b"master:") {
            master = Some(number(group)?);
        }
    }
    let filesystem = text(fields.next()?);
    let source = path(fields.next()?);
    let filesystem_options = text(fields.next()?);
    let filesystem_read_only =
        ["ro", "emergency_ro"].iter().any(|option| has_option(&filesystem_options, option));
    Some(MountEntry {
        id,
        parent,
        device,
        root,
        mount_point,
        read_only: has_option(&options, "ro") || filesystem_read_only,
        options,
        shared,
        master,
        filesystem,
        source,
        filesystem_options,
        filesystem_read_only,
    })
}

fn has_option(options: &str, wanted: &str) -> bool {
    options.split(',').any(|option| option == wanted)
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn device(field: &[u8]) -> Option<DeviceNumber> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(field)))
}

/// `\040` and the like back to bytes; what isn't three octal digits stays as it is.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        if *first == b'\\'
            && let Some((digits, beyond)) = after.split_first_chunk::<3>()
            && let Some(byte) = octal(*digits)
        {
            bytes.push(byte);
            rest = beyond;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
}

fn octal(digits: [u8; 3]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value.checked_mul(8)?.checked_add(digit)
    })
}
