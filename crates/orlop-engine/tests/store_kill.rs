//! `kill -9` of a process that writes: every change that it was told is durable is there, whole.
//!
//! The process is this test program itself, started anew with the path of a store in its
//! environment.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use jiff::Timestamp;
use orlop_engine::EventQuery;
use orlop_engine::store::{NewEvent, PreviousRun, Store, StoreOptions, WorkspaceRow, events, workspaces};
use orlop_model::resource::Severity;

const STORE: &str = "ORLOP_TEST_STORE_TO_WRITE";

fn open(file: &Path) -> Store {
    let options =
        StoreOptions { node: "node-a".to_owned(), boot_id: "boot-1".to_owned(), events_kept: 1 << 40 };
    Store::open(file, options).unwrap()
}

/// One change of two tables: a workspace, and the event that tells of it.
fn add(store: &Store, name: &str) {
    let row = WorkspaceRow {
        name: name.parse().unwrap(),
        node: String::new(),
        owner_uid: 0,
        grants: vec![1, 2],
        size_limit: None,
        volume_limit: None,
        created_at: Timestamp::now(),
    };
    let event = NewEvent {
        at: Timestamp::now(),
        severity: Severity::Info,
        reason: "Created".to_owned(),
        message: name.to_owned(),
        workspace: Some(row.name.clone()),
        volume: None,
        volume_id: None,
        pool: None,
        actor_uid: None,
        front: None,
    };
    store
        .write(move |tx| {
            workspaces::insert(tx, &row)?;
            events::append(tx, &event)
        })
        .unwrap();
}

/// The names of the workspaces, and of those that events tell of.
fn contents(store: &Store) -> (BTreeSet<String>, Vec<String>) {
    store
        .read(|r| {
            let rows = workspaces::all(r)?;
            assert!(rows.iter().all(|row| row.grants == [1, 2]), "half a change");
            let names = rows.into_iter().map(|row| row.name.to_string()).collect();
            let (mut told, mut after) = (Vec::new(), 0);
            loop {
                let page = events::select(r, &EventQuery { after: Some(after), ..EventQuery::default() })?;
                let Some(last) = page.last() else { return Ok((names, told)) };
                // A gap would be an event that was told of and is gone.
                assert_eq!(last.sequence, after + page.len() as u64);
                after = last.sequence;
                told.extend(page.into_iter().map(|event| event.message));
            }
        })
        .unwrap()
}

/// Four threads write; each prints a name when its change is acknowledged. Ends after `most`.
fn write_and_print(file: &Path, run: &str, most: usize) -> Vec<String> {
    let store = open(file);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|t| {
                let store = &store;
                scope.spawn(move || {
                    let mut names = Vec::new();
                    for n in 0..most {
                        let name = format!("run-{run}-{t}-{n}");
                        add(store, &name);
                        writeln!(std::io::stdout().lock(), "\nacknowledged {name}").unwrap();
                        names.push(name);
                    }
                    names
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// By itself, a plain test; started by the other one, the process that is killed.
#[test]
fn four_threads_write() {
    if let Some(file) = std::env::var_os(STORE) {
        let run = std::env::var("RUN").unwrap();
        write_and_print(&PathBuf::from(file), &run, usize::MAX);
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orlop.db");
    let written: BTreeSet<String> = write_and_print(&file, "alone", 25).into_iter().collect();
    let (there, told) = contents(&open(&file));
    assert_eq!(written.len(), 100);
    assert_eq!(there, written);
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), written);
}

#[test]
fn what_was_acknowledged_survives_kill_nine() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orlop.db");
    let mut acknowledged = BTreeSet::new();
    for run in 0..12_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "four_threads_write", "--nocapture"])
            .env(STORE, &file)
            .env("RUN", run.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut names =
            lines.filter_map(|line| line.unwrap().strip_prefix("acknowledged ").map(str::to_owned));
        // Another number each time, so that it dies at other places: in a commit, a checkpoint, between.
        let before = 10 + run * run * 17;
        acknowledged.extend(names.by_ref().take(before));
        child.kill().unwrap();
        child.wait().unwrap();
        // It wrote on until it died.
        acknowledged.extend(names);

        let store = open(&file);
        assert_eq!(*store.previous_run(), PreviousRun::Killed);
        let (there, told) = contents(&store);
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        assert!(lost.is_empty(), "run {run}: acknowledged and lost: {lost:?}");
        // Each change is whole; what was under way when it died may be there or not.
        assert_eq!(told.len(), there.len());
        assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), there);
        assert!(there.len() - acknowledged.len() <= 4 * (run + 1), "more than was under way");
        // Let it look like a killed one for the next run too.
        drop(store);
    }
    assert!(acknowledged.len() > 1000, "{} writes in all", acknowledged.len());
}

#[test]
fn sixteen_threads_share_commits() {
    const THREADS: usize = 16;
    const EACH: usize = 100;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orlop.db");
    let store = open(&file);
    let heard = Arc::new(AtomicUsize::new(0));
    let ear = Arc::clone(&heard);
    store.on_event(Box::new(move |_| {
        ear.fetch_add(1, Ordering::Relaxed);
    }));
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for t in 0..THREADS {
            let (store, start) = (&store, &start);
            scope.spawn(move || {
                start.wait();
                for n in 0..EACH {
                    let name = format!("w-{t}-{n}");
                    add(store, &name);
                    let found = store.read(|r| workspaces::by_name(r, &name.parse().unwrap())).unwrap();
                    assert!(found.is_some(), "{name} was acknowledged and is not seen");
                }
            });
        }
    });
    let done = store.commits();
    assert_eq!(done.changes, (THREADS * EACH) as u64);
    // Alone each would take its own. While one commit is flushed the others queue up.
    assert!(done.commits * 2 < done.changes, "{done:?}");
    assert_eq!(store.newest_event(), done.changes);
    store.close().unwrap();
    assert_eq!(heard.load(Ordering::Relaxed) as u64, done.commits, "one call a commit");
    let (there, told) = contents(&open(&file));
    assert_eq!((there.len(), told.len()), (THREADS * EACH, THREADS * EACH));
}
