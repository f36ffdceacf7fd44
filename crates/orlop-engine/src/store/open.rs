//! Opening the file: what is checked, set and recorded before the first query.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use orlop_model::{Error, ErrorKind, Result};
use rusqlite::{Connection, OpenFlags};

use super::{
    StoreOptions, Tx, events,
    failure::{ACCESS, READ_ONLY, RECOVERY, failed},
    meta, schema,
};

/// How the run before this one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreviousRun {
    /// There was none: the store is new.
    None,
    /// It was closed.
    Closed,
    /// It was killed, and the host has run on since.
    Killed,
    /// The host was rebooted since it was last seen, and it was not closed before.
    Rebooted {
        /// Whether it had been closed before the reboot.
        closed: bool,
    },
}

/// What the writer begins with.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) previous: PreviousRun,
    pub(super) newest_event: u64,
}

/// How long a statement waits for another program that holds the file, such as `sqlite3`.
const PATIENCE: Duration = Duration::from_secs(5);

const BOOT_ID: &str = "boot_id";
const CLOSED: &str = "closed";

pub(super) fn open(file: &Path, options: &StoreOptions) -> Result<Opened> {
    if !schema::check_header(file)? {
        create(file)?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(file, flags).map_err(|error| failed(file, "open the store", &error))?;
    // A whole commit of 10,000 rows touches less than 2 MiB of pages; more would only cost memory.
    configure(&connection, 2048).map_err(|error| failed(file, "open the store", &error))?;
    let version = schema::version(&connection, file)?;
    let set = || {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // The writer checkpoints after its replies, never within a commit that somebody waits for.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", 16 << 20)
    };
    set().map_err(|error| failed(file, "open the store", &error))?;
    if schema::migrate(&mut connection, file, version)? {
        // Into the file itself, where an older build looks for the version before it opens it.
        checkpoint(&connection, "TRUNCATE").map_err(|error| failed(file, "write the store", &error))?;
    }
    let (previous, newest_event) = begin_run(&mut connection, file, options)?;
    Ok(Opened { connection, previous, newest_event })
}

/// Settings that all connections share. `cache` is in KiB.
pub(super) fn configure(connection: &Connection, cache: i64) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "cache_size", -cache)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    // What undoes a large change is kept in memory: in a container there may be no directory for
    // temporary files, and a change must not fail because another disk is full.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Moves what is in the write-ahead log into the file, as far as readers allow.
pub(super) fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}

/// Makes the empty file before SQLite does, which would make it readable for others. The log and
/// the shared memory beside it get the same permissions.
fn create(file: &Path) -> Result<()> {
    let run = || {
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file)?.sync_all()?;
        match file.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    };
    run().map_err(|error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::ReadOnlyFilesystem => READ_ONLY,
            _ => ACCESS,
        };
        Error::new(ErrorKind::Store, format!("could not create {}: {error}", file.display()))
            .object(file.display().to_string())
            .hint(hint)
    })
}

/// Learns how the last run ended and records that this one began.
fn begin_run(connection: &mut Connection, file: &Path, options: &StoreOptions) -> Result<(PreviousRun, u64)> {
    let what = "record the start of the daemon";
    let transaction = connection.transaction().map_err(|error| failed(file, what, &error))?;
    let tx = Tx::new(&transaction, file, &options.node);
    let closed = meta::get(&tx, CLOSED)?.as_deref() == Some("true");
    let previous = match meta::get(&tx, BOOT_ID)? {
        None => PreviousRun::None,
        Some(boot) if boot != options.boot_id => PreviousRun::Rebooted { closed },
        Some(_) if closed => PreviousRun::Closed,
        Some(_) => PreviousRun::Killed,
    };
    if previous == (PreviousRun::Rebooted { closed: false }) {
        quick_check(&tx, file)?;
    }
    meta::set(&tx, BOOT_ID, &options.boot_id)?;
    meta::set(&tx, "node", &options.node)?;
    meta::set(&tx, CLOSED, "false")?;
    let newest_event = events::newest(&tx)?;
    transaction.commit().map_err(|error| failed(file, what, &error))?;
    Ok((previous, newest_event))
}

/// Records that the run ends.
pub(super) fn end_run(tx: &Tx<'_>) -> Result<()> {
    meta::set(tx, CLOSED, "true")
}

/// Reads the whole file for damage. Only after a crash of the host: a killed daemon leaves its
/// writes in the kernel's page cache, and SQLite's log makes them whole.
fn quick_check(tx: &Tx<'_>, file: &Path) -> Result<()> {
    let found = tx.one("check the store", "PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))?;
    match found.as_deref() {
        Some("ok") => Ok(()),
        found => Err(Error::new(
            ErrorKind::Store,
            format!("{} is damaged: {}", file.display(), found.unwrap_or("no answer")),
        )
        .object(file.display().to_string())
        .hint(RECOVERY)),
    }
}
