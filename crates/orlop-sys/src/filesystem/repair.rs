//! Repairing a filesystem in an image that is not mounted. What can't be repaired is removed, so this
//! is for copies, or for those who know.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::FsKind;
use crate::error::Unfinished;

/// So many lines of what the program says are kept.
const LINES: usize = 20;

/// How a repair ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepairOutcome {
    /// It says that nothing is left to repair.
    Done {
        /// The last lines of what it said.
        said: String,
    },
    /// An XFS whose log holds changes: mounting it replays them; where it does not mount, the log has
    /// to be discarded, and what it holds is lost.
    LogDirty,
    /// It could not repair it.
    Failed {
        /// The last lines of what it said.
        said: String,
    },
}

/// Repairs all that the program can. `discard_log` gives up what the log of an XFS holds.
///
/// # Errors
/// Where the program could not be run, or took longer than `limit`; and where `go_on`, asked some times a
/// second, fails. The image is half repaired then.
pub fn repair<E>(
    image: &Path,
    kind: FsKind,
    discard_log: bool,
    limit: Duration,
    go_on: impl FnMut() -> Result<(), E>,
) -> Result<RepairOutcome, Unfinished<E>> {
    let mut arguments = vec![OsStr::new(match kind {
        FsKind::Ext4 => "-fy",
        FsKind::Xfs => "-f",
    })];
    if kind == FsKind::Xfs && discard_log {
        arguments.push(OsStr::new("-L"));
    }
    arguments.push(image.as_os_str());
    let done = kind.check_program().run_while(&arguments, limit, go_on)?;
    let text = [done.stdout.as_str(), done.stderr.as_str()].concat();
    // It says so too of a log that it was told to discard.
    if kind == FsKind::Xfs && !discard_log && text.contains("valuable metadata changes in a log") {
        return Ok(RepairOutcome::LogDirty);
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let said = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n");
    Ok(match (kind, done.code()) {
        // 1 and 2: repaired. See `check`.
        (FsKind::Ext4, Some(0..=3)) | (FsKind::Xfs, Some(0)) => RepairOutcome::Done { said },
        (FsKind::Ext4 | FsKind::Xfs, Some(_) | None) => RepairOutcome::Failed { said },
    })
}
