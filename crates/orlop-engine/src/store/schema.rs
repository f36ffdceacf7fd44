//! The versions of the store. Migrations only go forward, each in one transaction; a released one
//! is never edited, and `tests/stores` keeps a store of every released version.

use std::{fs::File, io::Read, path::Path};

use orlop_model::{Error, ErrorKind, Result};
use rusqlite::{Connection, TransactionBehavior};

use super::failure::failed;

/// In the file's header, so that `file` and we can tell a store from any other SQLite file: "ORLP".
pub(super) const APPLICATION_ID: i32 = 0x4f52_4c50;

/// The migrations. The one at index `n` makes version `n + 1`.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
];

/// The version that this build reads and writes.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// Looks at the header of the file without SQLite, which would write beside it, and refuses what
/// is not ours or newer. Says whether there is a store already.
pub(super) fn check_header(file: &Path) -> Result<bool> {
    let unreadable = |error: std::io::Error| {
        Error::new(ErrorKind::Store, format!("could not read {}: {error}", file.display()))
            .object(file.display().to_string())
            .hint("check that the state directory is readable by the daemon's user")
    };
    // The offsets are those of SQLite's documented file format; numbers are big-endian.
    let mut header = [0_u8; 72];
    let mut opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(unreadable(error)),
    };
    let length = opened.metadata().map_err(unreadable)?.len();
    if length == 0 {
        // A crash between creation and first commit leaves an empty file.
        return Ok(false);
    }
    let long_enough = match opened.read_exact(&mut header) {
        Ok(()) => true,
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => false,
        Err(error) => return Err(unreadable(error)),
    };
    let [.., v0, v1, v2, v3, _, _, _, _, a0, a1, a2, a3] = header;
    if !long_enough || !header.starts_with(b"SQLite format 3\0") {
        return Err(foreign(file));
    }
    check(file, i32::from_be_bytes([a0, a1, a2, a3]), i32::from_be_bytes([v0, v1, v2, v3]))?;
    Ok(true)
}

/// Refuses a store that is not ours or newer.
fn check(file: &Path, application_id: i32, version: i32) -> Result<()> {
    // A file whose first migration is still in the write-ahead log has neither.
    if application_id == 0 && version == 0 {
        return Ok(());
    }
    if application_id != APPLICATION_ID {
        return Err(foreign(file));
    }
    match usize::try_from(version) {
        Ok(version) if version <= VERSION => Ok(()),
        Ok(_) | Err(_) => Err(Error::new(
            ErrorKind::NewerFormat,
            format!(
                "the store {} has version {version}, and this build knows versions up to {VERSION}",
                file.display()
            ),
        )
        .object(file.display().to_string())
        .hint("a newer orlop used this state directory: use that version, or a later one")),
    }
}

/// The version of the store as SQLite sees it: the header alone doesn't show what is still in the
/// write-ahead log. Refuses what is not ours or newer before anything is set.
pub(super) fn version(connection: &Connection, file: &Path) -> Result<usize> {
    let pragma = |connection: &Connection, name| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i32>(0))
            .map_err(|error| failed(file, "read the version of the store", &error))
    };
    let version = pragma(connection, "user_version")?;
    check(file, pragma(connection, "application_id")?, version)?;
    let version = usize::try_from(version).unwrap_or(0);
    if version == 0 && !is_empty(connection, file)? {
        return Err(foreign(file));
    }
    Ok(version)
}

/// Brings the store from `version` to [`VERSION`]. Says whether anything had to be done.
pub(super) fn migrate(connection: &mut Connection, file: &Path, version: usize) -> Result<bool> {
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        let number = index + 1;
        let mut run = || {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.execute_batch(migration)?;
            tx.pragma_update(None, "application_id", APPLICATION_ID)?;
            tx.pragma_update(None, "user_version", number)?;
            tx.commit()
        };
        run().map_err(|error| failed(file, &format!("migrate the store to version {number}"), &error))?;
        tracing::info!(version = number, file = %file.display(), "migrated the store");
    }
    Ok(version < VERSION)
}

fn is_empty(connection: &Connection, file: &Path) -> Result<bool> {
    connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, u64>(0))
        .map(|tables| tables == 0)
        .map_err(|error| failed(file, "read the store", &error))
}

fn foreign(file: &Path) -> Error {
    Error::new(ErrorKind::Store, format!("{} is not a store of orlop", file.display()))
        .object(file.display().to_string())
        .hint("name another state directory, or move the file aside; nothing was written to it")
}
