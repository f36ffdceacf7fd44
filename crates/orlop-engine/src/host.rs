//! What the host's failures mean for a user: `orlop-sys` errors in the words of the model.

use std::borrow::Cow;

use orlop_model::{Error, ErrorKind};
use orlop_sys::{SysError, error::TargetRefusal};

/// The error of a failed system call or program. `object` is what it concerned for the user, such as
/// `volume public/data`.
pub(crate) fn failure(error: &SysError, object: &str) -> Error {
    let (kind, hint) = judge(error);
    let failed = Error::new(kind, format!("{object}: {error}")).object(object);
    match hint {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

fn judge(error: &SysError) -> (ErrorKind, Option<Cow<'static, str>>) {
    let (kind, hint) = match error {
        SysError::ForeignLoop { number, .. } => {
            let hint = format!(
                "once nobody uses it: losetup -d /dev/loop{number}; until then nothing is attached beside it"
            );
            return (ErrorKind::InUse, Some(hint.into()));
        }
        SysError::Call { .. } if error.is_no_space() => (
            ErrorKind::LowSpace,
            Some("free space on that filesystem and try again; nothing was kept of the attempt"),
        ),
        SysError::Call { .. } if error.is_read_only() => (
            ErrorKind::Host,
            Some("that filesystem is read-only: see the kernel's log (dmesg), then remount it read-write"),
        ),
        SysError::Call { .. } if error.is_permission_denied() => {
            (ErrorKind::Host, Some("the daemon lacks a privilege: run it as root, with CAP_SYS_ADMIN"))
        }
        SysError::Call { .. } => (ErrorKind::Host, Some("see the kernel's log (dmesg)")),
        SysError::ProgramFailed { .. } => {
            (ErrorKind::Host, Some("see what it said, and the kernel's log (dmesg)"))
        }
        SysError::ProgramTimedOut { .. } => {
            (ErrorKind::Host, Some("the disk is very slow or hangs; try again"))
        }
        SysError::ProgramMissing { .. } => {
            (ErrorKind::Unsupported, Some("install that package and try again"))
        }
        SysError::NoLoopDevice { .. } => (
            ErrorKind::HostLimit,
            Some(
                "detach loop devices that are not needed (losetup -a), or load the module with more: modprobe loop max_loop=256",
            ),
        ),
        SysError::Busy { .. } => (ErrorKind::InUse, Some("end what uses it and try again")),
        SysError::NotFound { .. } => (
            ErrorKind::Host,
            Some("it is not there, or somebody else removed it; of a volume orlop get tells the state"),
        ),
        SysError::NotMounted { .. } => (ErrorKind::NotFound, None),
        SysError::TargetRefused { reason, .. } => match reason {
            TargetRefusal::NotOwner { .. } => {
                (ErrorKind::PermissionDenied, Some("name a directory of yours"))
            }
            TargetRefusal::AlreadyMounted { .. } => {
                (ErrorKind::InUse, Some("unmount it first, or name another directory"))
            }
            TargetRefusal::NotEmpty => (ErrorKind::InvalidArgument, Some("name an empty one")),
            TargetRefusal::Outside { .. } => (
                ErrorKind::InvalidArgument,
                Some("start the daemon with the orchestrator's own directory as --kubelet-root"),
            ),
            TargetRefusal::NotAbsolute
            | TargetRefusal::SymbolicLink
            | TargetRefusal::NotADirectory
            | TargetRefusal::NotAFile
            | TargetRefusal::Moved => (ErrorKind::InvalidArgument, Some("name one that is there and stays")),
        },
        SysError::StillFrozen { .. } => {
            (ErrorKind::Host, Some("it is tried again until it succeeds; by hand: fsfreeze --unfreeze"))
        }
        SysError::WrongDevice { .. } | SysError::DeviceRecycled { .. } => {
            (ErrorKind::Host, Some("something else was mounted or attached there meanwhile; try again"))
        }
        SysError::Invalid { .. } => (ErrorKind::Host, None),
    };
    (kind, hint.map(Cow::Borrowed))
}

/// Puts what a failure concerned to it: `sys_call().on("volume public/data")?`.
pub(crate) trait On<T> {
    /// See [`failure`].
    fn on(self, object: &str) -> Result<T, Error>;
}

impl<T> On<T> for orlop_sys::Result<T> {
    fn on(self, object: &str) -> Result<T, Error> {
        self.map_err(|error| failure(&error, object))
    }
}

/// The end of long work: what the kernel refused, or that it was stopped.
pub(crate) fn ended<T>(result: Result<T, orlop_sys::Unfinished<Error>>, object: &str) -> Result<T, Error> {
    result.map_err(|unfinished| match unfinished {
        orlop_sys::Unfinished::Failed(error) => failure(&error, object),
        orlop_sys::Unfinished::Stopped(error) => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn every_failure_says_what_it_concerned_and_the_known_ones_what_to_do() {
        let path = || PathBuf::from("/p");
        let call =
            |errno| SysError::Call { operation: "write", path: Some(path()), errno, detail: String::new() };
        for (error, kind) in [
            (call(orlop_sys::Errno::NOSPC), ErrorKind::LowSpace),
            (call(orlop_sys::Errno::ROFS), ErrorKind::Host),
            (call(orlop_sys::Errno::IO), ErrorKind::Host),
            (SysError::NoLoopDevice { detail: "none".into() }, ErrorKind::HostLimit),
            (SysError::ProgramMissing { program: "mke2fs", package: "e2fsprogs" }, ErrorKind::Unsupported),
            (SysError::Busy { path: path(), detail: "x".into() }, ErrorKind::InUse),
            (SysError::ForeignLoop { number: 1, difference: "x".into() }, ErrorKind::InUse),
            (
                SysError::TargetRefused {
                    path: path(),
                    reason: TargetRefusal::NotOwner { owner: 1, caller: 2 },
                },
                ErrorKind::PermissionDenied,
            ),
            (
                SysError::TargetRefused { path: path(), reason: TargetRefusal::NotEmpty },
                ErrorKind::InvalidArgument,
            ),
        ] {
            let failed = failure(&error, "volume public/a");
            assert_eq!(failed.kind, kind, "{failed}");
            assert!(failed.message.starts_with("volume public/a: ") && failed.hint.is_some(), "{failed}");
        }
    }
}
