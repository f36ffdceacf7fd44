//! Events: no number twice, no gap unsaid, pruned, and observed after they are durable.

use std::sync::{Arc, Mutex};

use orlop_model::{ErrorKind, resource::Event};

use super::*;
use crate::request::EventQuery;

fn append(f: &Fixture, message: &str) -> u64 {
    let event = event(message);
    f.store.write(move |tx| events::append(tx, &event)).unwrap()
}

fn after(f: &Fixture, after: u64) -> orlop_model::Result<Vec<u64>> {
    let query = EventQuery { after: Some(after), ..EventQuery::default() };
    Ok(f.store.read(|r| events::select(r, &query))?.iter().map(|event| event.sequence).collect())
}

#[test]
fn an_event_comes_back_as_it_was_appended() {
    let f = Fixture::new();
    let row = f.stored("data");
    let new = NewEvent {
        severity: Severity::Warning,
        workspace: Some(row.workspace.clone()),
        volume: Some(row.manifest.name.clone()),
        volume_id: Some(row.id),
        pool: Some(f.pool.name.clone()),
        actor_uid: Some(1000),
        front: Some(Front::Podman),
        ..event("something")
    };
    let NewEvent { at, severity, reason, message, workspace, volume, volume_id, pool, actor_uid, front } =
        new.clone();
    let sequence = f.store.write(move |tx| events::append(tx, &new)).unwrap();
    let expected = Event {
        sequence,
        at,
        severity,
        reason,
        message,
        workspace,
        volume,
        volume_id,
        pool,
        actor_uid,
        front,
    };
    assert_eq!(f.store.read(|r| events::select(r, &EventQuery::default())).unwrap(), [expected]);
}

#[test]
fn the_newest_and_those_after_a_position() {
    let f = Fixture::new();
    assert_eq!(f.store.newest_event(), 0);
    assert_eq!(after(&f, 0), Ok(vec![]));
    for n in 1..=5 {
        assert_eq!(append(&f, "x"), n);
    }
    assert_eq!(after(&f, 0), Ok(vec![1, 2, 3, 4, 5]));
    assert_eq!(after(&f, 3), Ok(vec![4, 5]));
    assert_eq!(after(&f, 5), Ok(vec![]));
    assert_eq!(after(&f, 6).unwrap_err().kind, ErrorKind::Expired, "of another stream");
    let limited = |after| {
        let query = EventQuery { after, limit: 2, ..EventQuery::default() };
        let events = f.store.read(|r| events::select(r, &query)).unwrap();
        events.iter().map(|event| event.sequence).collect::<Vec<_>>()
    };
    assert_eq!(limited(None), [4, 5]);
    assert_eq!(limited(Some(1)), [2, 3]);
}

#[test]
fn filters() {
    let f = Fixture::new();
    for (workspace, volume) in [("public", "a"), ("team", "a"), ("public", "b"), ("public", "a")] {
        let event = NewEvent {
            workspace: Some(workspace.parse().unwrap()),
            volume: Some(volume.parse().unwrap()),
            ..event("x")
        };
        f.store.write(move |tx| events::append(tx, &event)).unwrap();
    }
    append(&f, "of nothing");
    let of = |workspace: Option<&str>, volume: Option<&str>, after| {
        let query = EventQuery {
            workspace: workspace.map(|name| name.parse().unwrap()),
            volume: volume.map(|name| name.parse().unwrap()),
            after,
            ..EventQuery::default()
        };
        let events = f.store.read(|r| events::select(r, &query)).unwrap();
        events.iter().map(|event| event.sequence).collect::<Vec<_>>()
    };
    assert_eq!(of(Some("public"), Some("a"), None), [1, 4]);
    assert_eq!(of(Some("public"), Some("a"), Some(1)), [4]);
    assert_eq!(of(Some("public"), None, None), [1, 3, 4]);
    assert_eq!(of(None, Some("a"), None), [1, 2, 4]);
}

#[test]
fn pruning_keeps_the_newest_and_says_expired() {
    let f = Fixture::new();
    for _ in 0..100 {
        f.store.write(|tx| (0..30).try_for_each(|_| events::append(tx, &event("x")).map(drop))).unwrap();
    }
    let oldest =
        (1..=3000).find(|position| after(&f, *position).is_ok()).map(|position| position + 1).unwrap();
    let kept = 3000 - oldest + 1;
    // The limit, and what may pile up until the next pruning.
    assert!((1000..1000 + 256 + 30).contains(&kept), "{kept} events kept");
    assert_eq!(after(&f, oldest - 1).unwrap().len(), 1000, "all that fit an answer");
    assert_eq!(after(&f, oldest - 2).unwrap_err().kind, ErrorKind::Expired);
    assert_eq!(after(&f, 0).unwrap_err().kind, ErrorKind::Expired);
    assert_eq!(after(&f, 2999), Ok(vec![3000]));
}

#[test]
fn no_user_can_push_out_what_others_did() {
    let f = Fixture::new();
    let by = |actor_uid, message: &'static str, count: u64| {
        let event = NewEvent { actor_uid, ..event(message) };
        for _ in 0..count.div_ceil(100) {
            let event = event.clone();
            f.store.write(move |tx| (0..100).try_for_each(|_| events::append(tx, &event).map(drop))).unwrap();
        }
    };
    let messages = || {
        let all = "SELECT message, count(*) FROM events GROUP BY message ORDER BY message";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?));
        f.store.read(|r| r.all("read events", all, [], row)).unwrap()
    };
    by(None, "the daemon's", 200);
    by(Some(0), "root's", 300);
    by(Some(1001), "another's", 200);
    by(Some(1000), "a flood", 5000);
    let found = messages();
    let [(_, flood), another, root, daemon] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!([another.1, root.1, daemon.1], [200, 300, 200], "{found:?}");
    assert!((200..=200 + 256 + 100).contains(flood), "{found:?}");

    // What is between is missing: whoever follows the stream is told, not misled.
    assert_eq!(after(&f, 0).unwrap_err().kind, ErrorKind::Expired);
    assert_eq!(after(&f, 700).unwrap_err().kind, ErrorKind::Expired);
    assert_eq!(after(&f, 5690).unwrap().len(), 10);
    let f = f.reopened();
    assert_eq!(after(&f, 700).unwrap_err().kind, ErrorKind::Expired);
    assert_eq!(after(&f, 5690).unwrap().len(), 10);
}

#[test]
fn a_number_is_never_used_twice() {
    let f = Fixture::new();
    for _ in 0..3 {
        append(&f, "x");
    }
    // All of them pruned, the newest too.
    f.store.write(|tx| events::prune(tx, 0, 10)).unwrap();
    assert_eq!(after(&f, 3), Ok(vec![]));
    assert_eq!(after(&f, 2).unwrap_err().kind, ErrorKind::Expired);
    let f = f.reopened();
    assert_eq!(f.store.newest_event(), 3);
    assert_eq!(append(&f, "x"), 4);
    assert_eq!(after(&f, 3), Ok(vec![4]));
}

#[test]
fn pruning_goes_in_batches() {
    let f = Fixture::new();
    for _ in 0..10 {
        append(&f, "x");
    }
    assert_eq!(f.store.write(|tx| events::prune(tx, 4, 5)), Ok(5));
    assert_eq!(f.store.write(|tx| events::prune(tx, 4, 5)), Ok(1));
    assert_eq!(f.store.write(|tx| events::prune(tx, 4, 5)), Ok(0));
    assert_eq!(after(&f, 6), Ok(vec![7, 8, 9, 10]));
}

#[test]
fn observers_hear_of_durable_events_only_and_in_order() {
    let f = Fixture::new();
    let heard: Arc<Mutex<Vec<u64>>> = Arc::default();
    let (ear, file) = (Arc::clone(&heard), f.file());
    f.store.on_event(Box::new(move |newest| {
        // Another connection sees it: it is committed.
        let connection = rusqlite::Connection::open(&file).unwrap();
        let seen: u64 =
            connection.query_row("SELECT max(sequence) FROM events", [], |row| row.get(0)).unwrap();
        assert!(seen >= newest);
        ear.lock().unwrap().push(newest);
    }));
    append(&f, "x");
    f.store.write(|tx| meta::set(tx, "no", "event")).unwrap();
    let failed = f.store.write(|tx| {
        events::append(tx, &event("undone"))?;
        Err::<(), _>(orlop_model::Error::new(ErrorKind::Conflict, "no"))
    });
    assert!(failed.is_err());
    f.store.write(|tx| (0..3).try_for_each(|_| events::append(tx, &event("x")).map(drop))).unwrap();
    assert_eq!(f.store.newest_event(), 4, "what was undone used no number that anybody saw");
    f.store.close().unwrap();
    assert_eq!(*heard.lock().unwrap(), [1, 4]);
}
