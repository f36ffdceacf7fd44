//! Watching over a real socket: nothing missed, nothing twice, expired told apart, the slow let go.
#![allow(clippy::unwrap_used)]

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use orlop_api::{Client, EventFilter, WatchFilter};
use orlop_model::{
    ErrorKind, WorkspaceName,
    resource::{Event, Front},
};
use orlop_testkit::{Part, Scratch, require};
use tokio::net::UnixListener;

use super::*;
use crate::{
    connection::{Peer, Peers},
    rest::{router, tests::engine_that_keeps},
    service::Phase,
};

/// A served router, with the engine behind it.
struct Served {
    service: Service,
    socket: PathBuf,
    client: Client,
    scratch: Scratch,
}

impl Served {
    fn start(events_kept: u64, patience: Duration) -> Self {
        let (scratch, engine) = engine_that_keeps(events_kept);
        engine.recover().unwrap();
        let service = Service::new(engine);
        service.enter(Phase::Running);
        let socket = scratch.join("s");
        let peers = Peers::new(UnixListener::bind(&socket).unwrap(), patience);
        let make = router(service.clone()).into_make_service_with_connect_info::<Peer>();
        let serve = axum::serve(peers, make).with_graceful_shutdown(service.stopping());
        tokio::spawn(async move { serve.await.unwrap() });
        Self { client: Client::new(&socket), service, socket, scratch }
    }

    /// Makes things happen: so many workspaces whose names begin with `prefix`.
    async fn happen(&self, prefix: &'static str, count: usize) {
        let engine = self.service.engine().clone();
        let work = move || {
            let root = Caller { uid: 0, front: Front::Manifest };
            for number in 0..count {
                let name: WorkspaceName = format!("{prefix}-{number}").parse().unwrap();
                engine.put_workspace(&root, &name, &Default::default()).unwrap();
            }
        };
        tokio::task::spawn_blocking(work).await.unwrap();
    }

    /// Everything that has happened.
    async fn all(&self) -> Vec<Event> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let filter = EventFilter { after: Some(after), limit: Some(1000), ..EventFilter::default() };
            let list = self.client.events(&filter).await.unwrap();
            if list.items.is_empty() {
                return all;
            }
            after = list.position;
            all.extend(list.items);
        }
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumed_watches_miss_nothing_and_see_nothing_twice() {
    require!(Part::Root);
    let served = Served::start(50_000, Duration::from_secs(10));
    served.happen("before", 3).await;
    let start = served.service.engine().newest_event();
    const MADE: usize = 900;
    // Each watcher hangs up after another number of events, and goes on from where it was.
    let watchers: Vec<_> = [1, 3, 7, 50, MADE]
        .into_iter()
        .map(|stay| {
            let client = served.client.clone();
            tokio::spawn(async move {
                let mut seen: Vec<u64> = Vec::new();
                let mut after = start;
                while seen.len() < MADE {
                    let filter = WatchFilter { after: Some(after), ..WatchFilter::default() };
                    let mut watch = client.watch(&filter).await.unwrap();
                    for _ in 0..stay.min(MADE - seen.len()) {
                        seen.push(watch.next().await.unwrap().sequence);
                    }
                    after = watch.position().unwrap();
                }
                seen
            })
        })
        .collect();
    served.happen("during", MADE).await;
    let expected: Vec<u64> =
        served.all().await.into_iter().map(|event| event.sequence).filter(|s| *s > start).collect();
    assert_eq!(expected.len(), MADE);
    for watcher in watchers {
        assert_eq!(soon(watcher).await.unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_position_it_begins_now_and_a_filter_moves_on_without_events() {
    require!(Part::Root);
    let served = Served::start(50_000, Duration::from_secs(10));
    served.happen("before", 3).await;
    let filter = WatchFilter { workspace: Some("wanted-1".parse().unwrap()), ..WatchFilter::default() };
    let mut watch = served.client.watch(&filter).await.unwrap();
    served.happen("other", 20).await;
    served.happen("wanted", 3).await;
    let event = soon(watch.next()).await.unwrap();
    assert_eq!(event.workspace.unwrap().as_str(), "wanted-1");
    // Behind all that was passed over, though nothing of it was sent.
    let before = served.all().await.iter().filter(|e| e.sequence < event.sequence).count() as u64;
    assert!(before >= 23);
    let engine = served.service.engine().clone();
    let last = engine.newest_event();
    served.happen("quiet", 1).await;
    let reached = async {
        while watch.position() < Some(last) {
            let _ = tokio::time::timeout(Duration::from_millis(100), watch.next()).await;
        }
    };
    soon(reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_position_is_told_before_and_during() {
    require!(Part::Root);
    let served = Served::start(100, Duration::from_secs(10));
    served.happen("first", 2).await;
    let old = WatchFilter { after: Some(1), ..WatchFilter::default() };

    // A watcher whose client takes nothing: it holds two batches at most, far less than is pruned.
    let mut lagging = Watcher {
        service: served.service.clone(),
        caller: Caller { uid: 0, front: Front::Manifest },
        query: EventQuery { after: Some(1), limit: BATCH, ..EventQuery::default() },
        newest: served.service.newest_event(),
    };
    let first = lagging.read().await.unwrap();
    let (sender, mut chunks) = mpsc::channel(1);
    tokio::spawn(lagging.feed(first, sender));
    served.happen("many", 3000).await;

    let refused = served.client.watch(&old).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Expired, "{refused}");
    let refused = served.client.events(&EventFilter { after: Some(1), ..EventFilter::default() }).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Expired);
    let future = WatchFilter { after: Some(1_000_000), ..WatchFilter::default() };
    assert_eq!(served.client.watch(&future).await.unwrap_err().kind, ErrorKind::Expired);

    // What it held comes without a gap, then the reason, then the end.
    let mut text = String::new();
    while let Some(chunk) = soon(chunks.recv()).await {
        text += std::str::from_utf8(&chunk).unwrap();
    }
    let told: Vec<u64> = text
        .split("\n\n")
        .filter(|message| message.contains("\ndata: ") && message.starts_with("id: "))
        .map(|message| message.lines().next().unwrap()[4..].parse().unwrap())
        .collect();
    assert!(told.iter().zip(2..).all(|(got, expected)| *got == expected), "{told:?}");
    let (_, end) = text.rsplit_once("event: expired\ndata: ").unwrap();
    assert_eq!(serde_json::from_str::<Error>(end.trim()).unwrap().kind, ErrorKind::Expired);
}

/// A watch whose client does not read.
fn raw_watch(socket: &std::path::Path, path: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: orlop\r\n\r\n").unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_is_dropped_and_others_go_on() {
    require!(Part::Root);
    let served = Served::start(50_000, Duration::from_millis(300));
    let start = served.service.engine().newest_event();
    let mut slow = raw_watch(&served.socket, &format!("/v1/watch?after={start}"));
    let mut quick =
        served.client.watch(&WatchFilter { after: Some(start), ..WatchFilter::default() }).await.unwrap();
    // More than the buffers of the socket and of the connection hold.
    const MADE: usize = 4000;
    served.happen("many", MADE).await;
    let reading = async {
        for _ in 0..MADE {
            quick.next().await.unwrap();
        }
    };
    soon(reading).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let read = tokio::task::spawn_blocking(move || {
        slow.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut text = Vec::new();
        slow.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).matches("\ndata: ").count())
    });
    // The end, and not all of it: what was buffered, then nothing.
    let got = soon(read).await.unwrap().unwrap();
    assert!(got < MADE, "{got}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_end_when_the_daemon_stops() {
    require!(Part::Root);
    let served = Served::start(50_000, Duration::from_secs(10));
    let raw = raw_watch(&served.socket, "/v1/watch");
    let read = tokio::task::spawn_blocking(move || {
        let mut raw = raw;
        raw.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut text = String::new();
        raw.read_to_string(&mut text).map(|_| text)
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    served.service.enter(Phase::Stopping);
    let text = soon(read).await.unwrap().unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(text.ends_with("0\r\n\r\n"), "the stream is brought to its proper end: {text}");
    drop(served.scratch);
}
