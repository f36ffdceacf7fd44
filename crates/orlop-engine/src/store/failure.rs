//! SQLite's errors in the words of Orlop: what failed, on which file, and what to do.

use std::path::Path;

use orlop_model::{Error, ErrorKind};
use rusqlite::{Error as Sql, ErrorCode, ffi};

/// The error of a statement or call that failed on `file`. `what` completes "could not …".
pub(super) fn failed(file: &Path, what: &str, error: &Sql) -> Error {
    let file = file.display();
    let (kind, hint) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => (
            ErrorKind::LowSpace,
            "the filesystem of the state directory is full: free some space there and try again; nothing was changed",
        ),
        Some(ErrorCode::ReadOnly) => (
            ErrorKind::Store,
            "the state directory is read-only: remount it read-write or correct its permissions",
        ),
        Some(
            ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied,
        ) => (
            ErrorKind::Store,
            "check that the state directory exists, is writable and belongs to the daemon's user",
        ),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (ErrorKind::Store, RECOVERY),
        Some(ErrorCode::SystemIoFailure) => {
            (ErrorKind::Store, "the disk under the state directory failed: see the kernel's log (`dmesg`)")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            ErrorKind::Store,
            "another program holds the file open for writing, such as `sqlite3`: end it and try again",
        ),
        Some(ErrorCode::OutOfMemory) => (ErrorKind::HostLimit, "the host is out of memory"),
        // What is left are statements that break a rule of the schema and rows that cannot be read.
        _ if is_damaged_row(error) => (ErrorKind::Store, RECOVERY),
        _ => (ErrorKind::Store, "this is a fault of orlop: report it with the daemon's log"),
    };
    Error::new(kind, format!("could not {what} in {file}: {error}")).object(file.to_string()).hint(hint)
}

/// What to do about a damaged store.
pub(super) const RECOVERY: &str = "the store is damaged: stop the daemon, move orlop.db, orlop.db-wal and orlop.db-shm aside \
     together and keep them; the data in the pools is untouched, and the volume.json beside each image holds its record";

/// Whether a row holds what this build can't have written.
fn is_damaged_row(error: &Sql) -> bool {
    matches!(
        error,
        Sql::FromSqlConversionFailure(..)
            | Sql::IntegralValueOutOfRange(..)
            | Sql::InvalidColumnType(..)
            | Sql::Utf8Error(..)
    )
}

/// A unique index or primary key refused the row.
pub(super) fn is_duplicate(error: &Sql) -> bool {
    error.sqlite_error().is_some_and(|e| {
        matches!(e.extended_code, ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY)
    })
}

/// A row refers to something that is not there, or is still referred to.
pub(super) fn is_foreign_key(error: &Sql) -> bool {
    error.sqlite_error().is_some_and(|e| e.extended_code == ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
}
