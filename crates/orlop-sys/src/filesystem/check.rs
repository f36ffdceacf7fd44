//! Checking the filesystem in an image that is not mounted.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::{FsKind, superblock};
use crate::error::{Result, SysError, Unfinished};
use crate::process::Finished;

/// Whether a check may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckMode {
    /// Reads everything, writes nothing.
    ReadOnly,
    /// ext4: replays the journal and repairs what can be repaired without losing anything; quick
    /// when the filesystem was left clean. XFS repairs itself when it is mounted, so this is the
    /// same as [`CheckMode::ReadOnly`].
    Safe,
    /// The same, and of ext4 all metadata, however it was left: what comes before a resize.
    Full,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckOutcome {
    /// Nothing is wrong.
    Clean,
    /// The log holds changes that the next mount replays. This is the state after a crash, and no
    /// damage; what else there is can't be told before.
    LogDirty,
    /// Something was wrong and is repaired, with nothing lost.
    Repaired {
        /// What the program said.
        detail: String,
    },
    /// Something is wrong and is not repaired: it should not be mounted for writing.
    Damaged {
        /// What the program said.
        detail: String,
    },
}

/// Checks the filesystem. The image must not be attached: a mounted filesystem looks damaged, and
/// repairing it would damage it.
///
/// A full check reads all metadata: seconds for a large, full volume.
///
/// # Errors
/// Where the program could not do its work; [`crate::SysError::ProgramTimedOut`].
pub fn check(image: &Path, kind: FsKind, mode: CheckMode, limit: Duration) -> Result<CheckOutcome> {
    check_while(image, kind, mode, limit, || Ok::<(), Infallible>(())).map_err(
        |unfinished| match unfinished {
            Unfinished::Failed(error) => error,
            Unfinished::Stopped(never) => match never {},
        },
    )
}

/// The same, which ends when `go_on`, asked some times a second, fails. A check that only reads has then
/// changed nothing.
///
/// # Errors
/// See [`Unfinished`], and [`check`].
pub fn check_while<E>(
    image: &Path,
    kind: FsKind,
    mode: CheckMode,
    limit: Duration,
    go_on: impl FnMut() -> Result<(), E>,
) -> Result<CheckOutcome, Unfinished<E>> {
    let Some(found) = superblock(image)?.filter(|found| found.kind == kind) else {
        return Ok(CheckOutcome::Damaged {
            detail: format!("the image holds no {kind} filesystem any more"),
        });
    };
    // e2fsck calls a truncated image clean.
    let length = match crate::blockdev::BlockDevice::of_node(image) {
        Ok(device) => device.size()?,
        Err(SysError::Invalid { .. }) => crate::image::space(image)?.length,
        Err(error) => return Err(error.into()),
    };
    if length < found.size {
        return Ok(CheckOutcome::Damaged {
            detail: format!(
                "the image was truncated: the filesystem has {} bytes, the image {length}",
                found.size
            ),
        });
    }
    match kind {
        FsKind::Ext4 => {
            let dirty = found.needs_recovery == Some(true);
            // Without replaying the journal e2fsck would report what is not wrong.
            if dirty && mode == CheckMode::ReadOnly {
                return Ok(CheckOutcome::LogDirty);
            }
            let how = match mode {
                CheckMode::ReadOnly => "-fn",
                CheckMode::Safe => "-p",
                CheckMode::Full => "-fp",
            };
            let done = kind.check_program().run_while(&[OsStr::new(how), image.as_os_str()], limit, go_on)?;
            Ok(ext4_outcome(&done, dirty)?)
        }
        FsKind::Xfs => {
            let arguments = [OsStr::new("-n"), OsStr::new("-f"), image.as_os_str()];
            let done = kind.check_program().run_while(&arguments, limit, go_on)?;
            Ok(xfs_outcome(&done)?)
        }
    }
}

/// The exit status of e2fsck is a sum: 1 repaired, 2 repaired and "reboot" (of a mounted one), 4 not
/// repaired, 8 and above: it could not do its work.
fn ext4_outcome(done: &Finished, journal_was_dirty: bool) -> Result<CheckOutcome> {
    match done.code() {
        // Replaying a journal alone is what every mount after a crash does.
        Some(0) => Ok(CheckOutcome::Clean),
        Some(1) if journal_was_dirty && only_replayed(&done.stdout) => Ok(CheckOutcome::Clean),
        Some(1..=3) => Ok(CheckOutcome::Repaired { detail: done.last_lines() }),
        Some(4..=7) => Ok(CheckOutcome::Damaged { detail: done.last_lines() }),
        // A superblock that e2fsck can't even read is damage, not a failure of the program.
        Some(8..=15) if done.stdout.contains("superblock") || done.stderr.contains("superblock") => {
            Ok(CheckOutcome::Damaged { detail: done.last_lines() })
        }
        Some(_) | None => Err(done.failure()),
    }
}

fn only_replayed(output: &str) -> bool {
    output.lines().all(|line| line.contains("recovering journal") || line.contains(": clean,"))
}

/// With `-n`, xfs_repair ends with 1 where it would repair something, and so it does with a dirty
/// log, which it must ignore then.
fn xfs_outcome(done: &Finished) -> Result<CheckOutcome> {
    let text = [done.stdout.as_str(), done.stderr.as_str()].concat();
    if text.contains("valuable metadata changes in a log") {
        return Ok(CheckOutcome::LogDirty);
    }
    match done.code() {
        Some(0) => Ok(CheckOutcome::Clean),
        Some(1 | 2) => Ok(CheckOutcome::Damaged { detail: done.last_lines() }),
        Some(_) | None => Err(done.failure()),
    }
}
