//! Events: what happened, in one sequence that never repeats a number. They are appended in the
//! write that makes them true, and pruned in batches by the writer.

use jiff::Timestamp;
use orlop_model::{
    Error, ErrorKind, PoolName, Result, VolumeId, VolumeName, WorkspaceName,
    resource::{Event, Front, Severity},
};
use rusqlite::{Row, ToSql, params, params_from_iter};

use super::{
    Reader, Tx, meta,
    value::{At, Word},
};
use crate::request::EventQuery;

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

/// No answer is longer.
const LONGEST: usize = 1000;
/// Once the log is full, what one user other than root caused takes at most this part of it: a quarter.
const SHARES: u64 = 4;
/// The setting with the last sequence that was pruned.
const PRUNED: &str = "events_pruned";

const SELECT: &str = "SELECT sequence, at, severity, reason, message, workspace, volume, volume_id, pool,
    actor_uid, front FROM events";

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

/// The names that a volume had in the last `most` events of a kind, newest first.
pub fn names_told(r: &Reader<'_>, volume: VolumeId, reason: &str, most: usize) -> Result<Vec<VolumeName>> {
    let sql = "SELECT volume FROM events WHERE volume_id = ?1 AND reason = ?2 AND volume IS NOT NULL
        ORDER BY sequence DESC LIMIT ?3";
    r.all("read events", sql, params![Word(&volume), reason, most], |row| Ok(row.get::<_, Word<_>>(0)?.0))
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
pub(super) fn newest(r: &Reader<'_>) -> Result<u64> {
    // Not max(sequence): the newest event may have been pruned.
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'events'";
    Ok(r.one("read events", sql, [], |row| row.get(0))?.unwrap_or(0))
}

/// Up to which sequence something may be missing: all events after it are kept.
fn complete_after(r: &Reader<'_>) -> Result<u64> {
    if let Some(last) = meta::get(r, PRUNED)?.and_then(|last| last.parse().ok()) {
        return Ok(last);
    }
    // Nothing was pruned since this is recorded; before that, only what is oldest.
    Ok(oldest(r)?.map_or(newest(r)?, |oldest| oldest.saturating_sub(1)))
}

/// The oldest sequence that is there.
fn oldest(r: &Reader<'_>) -> Result<Option<u64>> {
    Ok(r.one("read events", "SELECT min(sequence) FROM events", [], |row| row.get(0))?.flatten())
}

/// The events that `query` asks for, oldest first, at most 1000: those right after its position, or
/// without one the newest. [`ErrorKind::Expired`] where some of those right after the position are
/// no longer kept, or it is no position of this stream.
pub fn select(r: &Reader<'_>, query: &EventQuery) -> Result<Vec<Event>> {
    if let Some(after) = query.after {
        check_kept(r, after)?;
    }
    kept(r, query)
}

/// The same, without those that are no longer kept.
pub fn kept(r: &Reader<'_>, query: &EventQuery) -> Result<Vec<Event>> {
    let limit = if query.limit == 0 { LONGEST } else { query.limit.min(LONGEST) };
    // Only fixed fragments become SQL; what was asked for becomes values.
    let mut terms = vec!["TRUE"];
    let mut values: Vec<Box<dyn ToSql + '_>> = Vec::new();
    if let Some(after) = query.after {
        terms.push("sequence > ?");
        values.push(Box::new(after));
    }
    if let Some(workspace) = &query.workspace {
        terms.push("workspace = ?");
        values.push(Box::new(workspace.as_str()));
    }
    if let Some(volume) = &query.volume {
        terms.push("volume = ?");
        values.push(Box::new(volume.as_str()));
    }
    if let Some(pool) = &query.pool {
        terms.push("pool = ?");
        values.push(Box::new(pool.as_str()));
    }
    match query.severity {
        None | Some(Severity::Info) => {}
        Some(Severity::Warning) => terms.push("severity != 'info'"),
        Some(Severity::Error) => terms.push("severity = 'error'"),
    }
    values.push(Box::new(limit));
    let order = if query.after.is_some() { "ASC" } else { "DESC" };
    let sql = format!("{SELECT} WHERE {} ORDER BY sequence {order} LIMIT ?", terms.join(" AND "));
    let mut events = r.all("read events", &sql, params_from_iter(values), row)?;
    if query.after.is_none() {
        events.reverse();
    }
    Ok(events)
}

/// Whether all events after that position are still there.
fn check_kept(r: &Reader<'_>, after: u64) -> Result<()> {
    let (newest, complete) = (newest(r)?, complete_after(r)?);
    if (complete..=newest).contains(&after) {
        return Ok(());
    }
    let message = format!(
        "the events after {after} are not kept: they are complete after {complete}, and the newest is {newest}"
    );
    Err(Error::new(ErrorKind::Expired, message)
        .object(format!("event {after}"))
        .hint("list the volumes anew, then watch from the newest event"))
}

/// Deletes at most `batch` of the events beyond `kept`, and says how many. First goes what one user
/// caused beyond his share, so that nobody can push out the history of others; then what is oldest.
pub(super) fn prune(tx: &Tx<'_>, kept: u64, batch: u64) -> Result<usize> {
    // Counting reads all of them, and there can't be more than there are numbers.
    let Some(oldest) = oldest(tx)? else { return Ok(0) };
    if newest(tx)?.saturating_sub(oldest) < kept {
        return Ok(0);
    }
    let sql = "SELECT actor_uid, count(*) FROM events GROUP BY actor_uid";
    let counts: Vec<(Option<u32>, u64)> =
        tx.all("count events", sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    let mut excess = total.saturating_sub(kept).min(batch);
    let mut pruned = 0;
    for (actor, count) in counts.into_iter().filter(|(actor, _)| actor.is_some_and(|uid| uid != 0)) {
        let most = excess.min(count.saturating_sub(kept / SHARES));
        excess -= most;
        pruned += delete_oldest(tx, "actor_uid = ?1", actor, most)?;
    }
    Ok(pruned + delete_oldest(tx, "?1 IS NULL", None, excess)?)
}

fn delete_oldest(tx: &Tx<'_>, term: &str, actor: Option<u32>, most: u64) -> Result<usize> {
    if most == 0 {
        return Ok(0);
    }
    let oldest = format!("SELECT sequence FROM events WHERE {term} ORDER BY sequence LIMIT ?2");
    let last = format!("SELECT max(sequence) FROM ({oldest})");
    let last: Option<u64> = tx.one("prune events", &last, params![actor, most], |row| row.get(0))?.flatten();
    if let Some(last) = last
        && last > complete_after(tx)?
    {
        meta::set(tx, PRUNED, &last.to_string())?;
    }
    let sql = format!("DELETE FROM events WHERE sequence IN ({oldest})");
    tx.execute("prune events", &sql, params![actor, most])
}
