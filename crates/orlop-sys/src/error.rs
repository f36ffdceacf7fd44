//! What can go wrong when the kernel or a program is asked for something.
//!
//! The variants are those a caller must tell apart; everything else is [`SysError::Call`] with the
//! kernel's error number. What it means for a volume, and what the user can do, is the engine's.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use crate::identity::DeviceNumber;

/// The result of everything in this crate.
pub type Result<T, E = SysError> = std::result::Result<T, E>;

/// A failed request to the kernel or to a program.
#[derive(Debug, thiserror::Error)]
pub enum SysError {
    /// A system call failed.
    #[error("{}", describe_call(operation, path.as_deref(), *errno, detail))]
    Call {
        /// What was attempted, as a verb: `create the image`.
        operation: &'static str,
        /// The file it concerned, where there was one.
        path: Option<PathBuf>,
        /// The kernel's error number.
        errno: Errno,
        /// More from the kernel (its mount log, say); may be empty.
        detail: String,
    },
    /// A program ran and did not succeed.
    #[error("{program} {outcome}{}", if last_lines.is_empty() { String::new() } else { format!(": {last_lines}") })]
    ProgramFailed {
        /// Its name.
        program: &'static str,
        /// How it ended.
        outcome: ProgramOutcome,
        /// The last lines it wrote, standard error first.
        last_lines: String,
    },
    /// A program was killed because it took too long.
    #[error("{program} did not end within {} s and was stopped", limit.as_secs_f32())]
    ProgramTimedOut {
        /// Its name.
        program: &'static str,
        /// The time it was given.
        limit: Duration,
    },
    /// A program that is needed isn't installed.
    #[error("{program} is not installed; on Debian it is in the package {package}")]
    ProgramMissing {
        /// Its name.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// No loop device could be had.
    #[error("no loop device could be had: {detail}")]
    NoLoopDevice {
        /// Why, as far as it is known.
        detail: String,
    },
    /// Something else uses it now.
    #[error("{} is in use: {detail}", path.display())]
    Busy {
        /// The file, directory, mount point or device.
        path: PathBuf,
        /// Who or what uses it, as far as it is known.
        detail: String,
    },
    /// It does not exist.
    #[error("{} does not exist ({operation})", path.display())]
    NotFound {
        /// What was attempted.
        operation: &'static str,
        /// What is missing.
        path: PathBuf,
    },
    /// Nothing is mounted there.
    #[error("nothing is mounted on {}", path.display())]
    NotMounted {
        /// The mount point asked about.
        path: PathBuf,
    },
    /// A directory given by a user can't be mounted on.
    #[error("{} can't be mounted on: {reason}", path.display())]
    TargetRefused {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: TargetRefusal,
    },
    /// The kernel refused to thaw it: whoever writes to it waits.
    #[error("the filesystem on {} is still frozen: could not thaw it: {}", path.display(), std::io::Error::from(*errno))]
    StillFrozen {
        /// The mount point.
        path: PathBuf,
        /// The kernel's error number.
        errno: Errno,
    },
    /// What is there isn't what was expected there.
    #[error("{} is on device {found}, not on {expected}", path.display())]
    WrongDevice {
        /// The mount point or device node.
        path: PathBuf,
        /// The device that was expected.
        expected: DeviceNumber,
        /// The device that was found.
        found: DeviceNumber,
    },
    /// A loop device no longer belongs to the image it was opened for.
    #[error("/dev/loop{number} no longer belongs to this image")]
    DeviceRecycled {
        /// The number of the loop device.
        number: u32,
    },
    /// A loop device that somebody else made is on the image, and the image can't be had through it. A
    /// second one beside it would be a second writer.
    #[error("/dev/loop{number} is on this image, and {difference}: somebody else made it")]
    ForeignLoop {
        /// The number of the loop device.
        number: u32,
        /// In what it is not as ours are.
        difference: String,
    },
    /// The kernel or a program answered something that could not be understood, or a parameter is
    /// out of range.
    #[error("{what}: {detail}")]
    Invalid {
        /// What was read or given.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

/// Why long work, which tells of its progress, did not come to its end.
#[derive(Debug)]
pub enum Unfinished<E> {
    /// The kernel or a program failed.
    Failed(SysError),
    /// Whoever is told of the progress wants it to stop.
    Stopped(E),
}

impl<E> From<SysError> for Unfinished<E> {
    fn from(error: SysError) -> Self {
        Self::Failed(error)
    }
}

/// How a program ended that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProgramOutcome {
    /// It ended with this exit status.
    #[error("failed with exit status {0}")]
    Status(i32),
    /// A signal ended it.
    #[error("was ended by signal {0}")]
    Signal(i32),
}

/// Why a directory given by a user is not mounted on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetRefusal {
    /// Relative, the root directory, or with `..` in it.
    #[error("it must be an absolute path without `..`, and not the root directory")]
    NotAbsolute,
    /// It is not below the directory that all targets have to be in.
    #[error("it is not below {}", root.display())]
    Outside {
        /// That directory.
        root: PathBuf,
    },
    /// A component is a symbolic link, which could be exchanged at any moment.
    #[error("it is, or goes through, a symbolic link; give the real path")]
    SymbolicLink,
    /// It is a file or something else.
    #[error("it is not a directory")]
    NotADirectory,
    /// It is a directory or something else, and a block device is mounted on a file.
    #[error("it is not a file, which a block device is mounted on")]
    NotAFile,
    /// Mounting would hide what is in it.
    #[error("it is not empty, and what is in it would be hidden")]
    NotEmpty,
    /// It belongs to someone else.
    #[error("it belongs to uid {owner}, not to uid {caller}")]
    NotOwner {
        /// Who owns the directory.
        owner: u32,
        /// Who asked.
        caller: u32,
    },
    /// Something is mounted on it already.
    #[error("a filesystem (device {device}) is mounted on it already")]
    AlreadyMounted {
        /// The device of what is mounted there.
        device: DeviceNumber,
    },
    /// Between opening and mounting somebody moved it; the mount was not made or was undone.
    #[error("it was moved or replaced while it was being mounted on")]
    Moved,
}

impl SysError {
    /// A failed system call that concerned no file.
    pub(crate) fn call(operation: &'static str, errno: Errno) -> Self {
        Self::Call { operation, path: None, errno, detail: String::new() }
    }

    /// A failed system call on a file; ENOENT becomes [`SysError::NotFound`].
    pub(crate) fn on(operation: &'static str, path: &Path, errno: Errno) -> Self {
        if errno == Errno::NOENT {
            return Self::NotFound { operation, path: path.to_owned() };
        }
        Self::Call { operation, path: Some(path.to_owned()), errno, detail: String::new() }
    }

    /// The same from the standard library's error.
    pub(crate) fn io(operation: &'static str, path: &Path, error: &std::io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(errno) => Self::on(operation, path, errno),
            None => Self::Invalid { what: operation, detail: format!("{}: {error}", path.display()) },
        }
    }

    /// The kernel's error number, where a system call failed.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { errno, .. } | Self::StillFrozen { errno, .. } => Some(*errno),
            Self::NotFound { .. } => Some(Errno::NOENT),
            Self::Busy { .. } | Self::ForeignLoop { .. } => Some(Errno::BUSY),
            Self::ProgramFailed { .. }
            | Self::ProgramTimedOut { .. }
            | Self::ProgramMissing { .. }
            | Self::NoLoopDevice { .. }
            | Self::NotMounted { .. }
            | Self::TargetRefused { .. }
            | Self::WrongDevice { .. }
            | Self::DeviceRecycled { .. }
            | Self::Invalid { .. } => None,
        }
    }

    /// The file, directory or device does not exist.
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(Errno::NOENT)
    }

    /// The filesystem below, or the quota on it, has no room left.
    pub fn is_no_space(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOSPC | Errno::DQUOT))
    }

    /// The filesystem below is read-only.
    pub fn is_read_only(&self) -> bool {
        self.errno() == Some(Errno::ROFS)
    }

    /// Somebody else uses it; trying again later can succeed.
    pub fn is_busy(&self) -> bool {
        self.errno() == Some(Errno::BUSY)
    }

    /// The process lacks a privilege (EPERM or EACCES).
    pub fn is_permission_denied(&self) -> bool {
        matches!(self.errno(), Some(Errno::PERM | Errno::ACCESS))
    }

    /// Something by that name exists already.
    pub fn already_exists(&self) -> bool {
        self.errno() == Some(Errno::EXIST)
    }
}

fn describe_call(operation: &str, path: Option<&Path>, errno: Errno, detail: &str) -> String {
    let mut text = format!("could not {operation}");
    if let Some(path) = path {
        let _ = write!(text, " {}", path.display());
    }
    let _ = write!(text, ": {}", std::io::Error::from(errno));
    if !detail.is_empty() {
        let _ = write!(text, " ({detail})");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_what_was_done_to_what_and_why() {
        let error = SysError::Call {
            operation: "mount",
            path: Some(PathBuf::from("/dev/loop3")),
            errno: Errno::INVAL,
            detail: "e EXT4-fs: bad superblock".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "could not mount /dev/loop3: Invalid argument (os error 22) (e EXT4-fs: bad superblock)"
        );
        assert_eq!(error.errno(), Some(Errno::INVAL));
    }

    #[test]
    fn a_missing_file_is_told_apart_from_other_failures() {
        let missing = SysError::on("open", Path::new("/nowhere"), Errno::NOENT);
        assert!(missing.is_not_found());
        let full = SysError::on("write", Path::new("/full"), Errno::NOSPC);
        assert!(full.is_no_space() && !full.is_not_found());
        assert!(SysError::on("write", Path::new("/ro"), Errno::ROFS).is_read_only());
    }
}
