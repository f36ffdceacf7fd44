//! SQLite's errors in the words of Orlop: what failed, on which file, and what to do.

use std::path::Path;

use orlop_model::{Error, ErrorKind};
use rusqlite::{Error as Sql, ErrorCode, ffi};

const FULL: &str =
    "the filesystem of the state directory is full: free some space there and try again; nothing was changed";
pub(super) const ACCESS: &str =
    "check that the state directory exists, is writable and belongs to the daemon's user";
const DISK: &str = "the disk under the state directory failed: see the kernel's log (`dmesg`)";
const BUSY: &str = "another program holds the file open for writing, such as `sqlite3`: end it and try again";
const OURS: &str = "this is a fault of orlop: report it with the daemon's log";

/// What to do where the store can't be written.
pub(super) const READ_ONLY: &str =
    "the state directory is read-only: remount it read-write or correct its permissions";

/// What to do about a damaged store.
pub(super) const RECOVERY: &str = "the store is damaged: stop the daemon, move orlop.db, orlop.db-wal and orlop.db-shm \
    aside together and keep them; the data in the pools is untouched, and the volume.json beside each image holds its record";

/// The error of a statement or call that failed on `file`. `what` completes "could not …".
pub(super) fn failed(file: &Path, what: &str, error: &Sql) -> Error {
    let (kind, hint) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => (ErrorKind::LowSpace, FULL),
        // SQLite says "can't open" where it can't make the log beside the file.
        Some(ErrorCode::CannotOpen) if is_read_only(file) => (ErrorKind::Store, READ_ONLY),
        Some(ErrorCode::ReadOnly) => (ErrorKind::Store, READ_ONLY),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => (ErrorKind::Store, ACCESS),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (ErrorKind::Store, RECOVERY),
        Some(ErrorCode::SystemIoFailure) => (ErrorKind::Store, DISK),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (ErrorKind::Store, BUSY),
        Some(ErrorCode::OutOfMemory) => (ErrorKind::HostLimit, "the host is out of memory"),
        _ if is_damaged_row(error) => (ErrorKind::Store, RECOVERY),
        // What is left are statements that break a rule of the schema.
        _ => (ErrorKind::Store, OURS),
    };
    let file = file.display().to_string();
    Error::new(kind, format!("could not {what} in {file}: {error}")).object(file).hint(hint)
}

/// Whether the filesystem of the file's directory is read-only.
fn is_read_only(file: &Path) -> bool {
    file.parent()
        .is_some_and(|directory| orlop_sys::space::usage(directory).is_ok_and(|space| space.read_only))
}

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
