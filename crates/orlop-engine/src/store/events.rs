//! Events: what happened, in one sequence that never repeats a number. They are appended in the
//! write that makes them true, and pruned in batches by the writer.

use jiff::Timestamp;
use orlop_model::{
    Error, ErrorKind, PoolName, Result, VolumeId, VolumeName, WorkspaceName,
    resource::{Event, Front, Severity},
};
use rusqlite::{Row, params};

use super::{
    Reader, Tx,
    value::{At, Word},
};

/// An event to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// When.
    pub at: Timestamp,
    /// How much it matters.
    pub severity: Severity,
    /// What happened, in one CamelCase word.
    pub reason: String,
    /// The same in a sentence.
    pub message: String,
    /// The workspace concerned.
    pub workspace: Option<WorkspaceName>,
    /// The volume concerned.
    pub volume: Option<VolumeName>,
    /// The same, by id.
    pub volume_id: Option<VolumeId>,
    /// The pool concerned.
    pub pool: Option<PoolName>,
    /// The uid that caused it; none for what the daemon did by itself.
    pub actor_uid: Option<u32>,
    /// The front it came through.
    pub front: Option<Front>,
}

/// Which events to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only of this workspace.
    pub workspace: Option<WorkspaceName>,
    /// Only of volumes of that name, dead ones included.
    pub volume: Option<VolumeName>,
}

const COLUMNS: &str =
    "sequence, at, severity, reason, message, workspace, volume, volume_id, pool, actor_uid, front";
// One statement whatever the filter: an absent one is NULL and matches all.
const MATCHES: &str = "(?2 IS NULL OR workspace = ?2) AND (?3 IS NULL OR volume = ?3)";

fn row(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        sequence: row.get(0)?,
        at: row.get::<_, At>(1)?.0,
        severity: row.get::<_, Word<_>>(2)?.0,
        reason: row.get(3)?,
        message: row.get(4)?,
        workspace: row.get::<_, Option<Word<_>>>(5)?.map(|word| word.0),
        volume: row.get::<_, Option<Word<_>>>(6)?.map(|word| word.0),
        volume_id: row.get::<_, Option<Word<_>>>(7)?.map(|word| word.0),
        pool: row.get::<_, Option<Word<_>>>(8)?.map(|word| word.0),
        actor_uid: row.get(9)?,
        front: row.get::<_, Option<Word<_>>>(10)?.map(|word| word.0),
    })
}

/// Appends an event and returns its sequence. Nobody sees it before the commit.
pub fn append(tx: &Tx<'_>, event: &NewEvent) -> Result<u64> {
    let sql = "INSERT INTO events (node, at, severity, reason, message, workspace, volume, volume_id, pool, actor_uid, front)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let params = params![
        tx.node(),
        At(event.at),
        Word(&event.severity),
        event.reason,
        event.message,
        event.workspace.as_ref().map(WorkspaceName::as_str),
        event.volume.as_ref().map(VolumeName::as_str),
        event.volume_id.as_ref().map(Word),
        event.pool.as_ref().map(PoolName::as_str),
        event.actor_uid,
        event.front.as_ref().map(Word)
    ];
    tx.execute("append an event", sql, params)?;
    let sequence = tx.last_rowid().unsigned_abs();
    tx.set_newest_event(sequence);
    Ok(sequence)
}

/// The newest sequence ever used; 0 where there was none.
pub fn newest(r: &Reader<'_>) -> Result<u64> {
    // Not max(sequence): the newest event may have been pruned.
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'events'";
    Ok(r.one("read events", sql, [], |row| row.get(0))?.unwrap_or(0))
}

/// At most `limit` events right after `after`, oldest first. [`ErrorKind::Expired`] where some of
/// those are no longer kept, or `after` is no position of this stream.
pub fn since(r: &Reader<'_>, after: u64, filter: &EventFilter, limit: usize) -> Result<Vec<Event>> {
    let newest = newest(r)?;
    let oldest =
        r.one("read events", "SELECT min(sequence) FROM events", [], |row| row.get::<_, Option<u64>>(0))?;
    let oldest = oldest.flatten().unwrap_or(newest.saturating_add(1));
    if after > newest || after.saturating_add(1) < oldest {
        let message =
            format!("the events after {after} are not kept: the oldest is {oldest}, the newest {newest}");
        return Err(Error::new(ErrorKind::Expired, message)
            .object(format!("event {after}"))
            .hint("list the volumes anew, then watch from the newest event"));
    }
    let sql =
        format!("SELECT {COLUMNS} FROM events WHERE sequence > ?1 AND {MATCHES} ORDER BY sequence LIMIT ?4");
    r.all("read events", &sql, params![after, workspace(filter), volume(filter), limit], row)
}

/// The newest `limit` events, oldest first.
pub fn latest(r: &Reader<'_>, filter: &EventFilter, limit: usize) -> Result<Vec<Event>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE sequence > ?1 AND {MATCHES} ORDER BY sequence DESC LIMIT ?4"
    );
    let mut events = r.all("read events", &sql, params![0, workspace(filter), volume(filter), limit], row)?;
    events.reverse();
    Ok(events)
}

/// Deletes at most `batch` of the events older than the newest `kept`, and says how many.
pub(super) fn prune(tx: &Tx<'_>, kept: u64, batch: u64) -> Result<usize> {
    let last = newest(tx)?.saturating_sub(kept);
    let sql = "DELETE FROM events WHERE sequence <= min(?1, (SELECT min(sequence) FROM events) + ?2 - 1)";
    tx.execute("prune events", sql, params![last, batch])
}

fn workspace(filter: &EventFilter) -> Option<&str> {
    filter.workspace.as_ref().map(WorkspaceName::as_str)
}

fn volume(filter: &EventFilter) -> Option<&str> {
    filter.volume.as_ref().map(VolumeName::as_str)
}
