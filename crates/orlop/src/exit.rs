//! What the exit status of `orlop` means: one row an [`ErrorKind`], with no catch-all.

use std::process::ExitCode;

use orlop_model::ErrorKind;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Success = 0,
    Failure = 1,
    Usage = 2,
    InvalidManifest = 3,
    NotFound = 4,
    Conflict = 5,
    Refused = 6,
    Permission = 7,
    Unreachable = 8,
    NotReady = 9,
    Interrupted = 10,
    Changes = 11,
    Differences = 12,
}

impl Exit {
    /// All of them, in order.
    pub(crate) const ALL: [Self; 13] = [
        Self::Success,
        Self::Failure,
        Self::Usage,
        Self::InvalidManifest,
        Self::NotFound,
        Self::Conflict,
        Self::Refused,
        Self::Permission,
        Self::Unreachable,
        Self::NotReady,
        Self::Interrupted,
        Self::Changes,
        Self::Differences,
    ];

    /// What it means, for help and the reference.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure: the host, the store or the data; or failures of several kinds",
            Self::Usage => "wrong usage: a flag, a name or a value",
            Self::InvalidManifest => "a manifest has faults; nothing was changed",
            Self::NotFound => "there is nothing of that name",
            Self::Conflict => "conflict: it exists otherwise, can't be changed in place, or has changed",
            Self::Refused => "refused: in use, protected, access mode, no room, or not supported",
            Self::Permission => "permission denied",
            Self::Unreachable => "no daemon answers",
            Self::NotReady => "the daemon is not ready, or still works on it: try again",
            Self::Interrupted => "stopped before its end, as with Ctrl-C; nothing is lost",
            Self::Changes => "diff or --dry-run: something would change",
            Self::Differences => {
                "done, and differences are left: what a check found, or an import left alone"
            }
        }
    }

    /// The section of the help.
    pub(crate) fn help() -> String {
        let rows: Vec<String> =
            Self::ALL.iter().map(|exit| format!("  {}  {}", *exit as u8, exit.meaning())).collect();
        format!("Exit codes:\n{}", rows.join("\n"))
    }

    /// The status of a run in which several things ended in different ways: the one of the failures
    /// where they agree, else [`Self::Failure`].
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Success, other) => other,
            (this, Self::Success) => this,
            (this, other) if this == other => this,
            _ => Self::Failure,
        }
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidArgument => Self::Usage,
            ErrorKind::InvalidManifest => Self::InvalidManifest,
            ErrorKind::PermissionDenied => Self::Permission,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::AlreadyExists | ErrorKind::Immutable | ErrorKind::Conflict => Self::Conflict,
            ErrorKind::InUse
            | ErrorKind::AccessRefused
            | ErrorKind::PoolFull
            | ErrorKind::LowSpace
            | ErrorKind::WorkspaceFull
            | ErrorKind::Protected
            | ErrorKind::Unsupported => Self::Refused,
            ErrorKind::Recovering | ErrorKind::Unavailable => Self::NotReady,
            ErrorKind::Unreachable => Self::Unreachable,
            ErrorKind::Interrupted => Self::Interrupted,
            ErrorKind::Damaged
            | ErrorKind::HostLimit
            | ErrorKind::Host
            | ErrorKind::Store
            | ErrorKind::Expired
            | ErrorKind::NewerFormat
            | ErrorKind::Locked => Self::Failure,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_exit_code() {
        let rows: Vec<String> =
            ErrorKind::ALL.iter().map(|kind| format!("{kind:?} {}", Exit::from(*kind) as u8)).collect();
        insta::assert_snapshot!(rows.join("\n"), @"
        InvalidArgument 2
        InvalidManifest 3
        PermissionDenied 7
        NotFound 4
        AlreadyExists 5
        Immutable 5
        Conflict 5
        InUse 6
        AccessRefused 6
        PoolFull 6
        LowSpace 6
        WorkspaceFull 6
        Protected 6
        Unsupported 6
        Recovering 9
        Unavailable 9
        Damaged 1
        HostLimit 1
        Host 1
        Store 1
        Expired 1
        NewerFormat 1
        Locked 1
        Interrupted 10
        Unreachable 8
        ");
    }

    #[test]
    fn several_ends_make_one() {
        assert_eq!(Exit::Success.and(Exit::Refused), Exit::Refused);
        assert_eq!(Exit::Refused.and(Exit::Success), Exit::Refused);
        assert_eq!(Exit::Refused.and(Exit::Refused), Exit::Refused);
        assert_eq!(Exit::Refused.and(Exit::NotFound), Exit::Failure);
    }
}
