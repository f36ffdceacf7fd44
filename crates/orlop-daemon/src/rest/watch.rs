//! Following events as `text/event-stream`: read from the store by sequence, woken by the engine.
//!
//! Each watcher is one task that holds its position and at most two batches. It sends when the
//! connection takes it: a client that reads nothing is dropped by the connection, and one that
//! falls so far behind that its position expires is told so and let go.

#[cfg(test)]
mod tests;

use std::{fmt::Write, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use orlop_api::WatchFilter;
use orlop_engine::{Caller, EventQuery};
use orlop_model::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, watch};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{
    events::position,
    extract::{By, Query},
    reply::Reply,
};
use crate::service::Service;

/// Events that are read from the store at once.
const BATCH: usize = 256;
/// So often something is sent, for the client to know that the daemon is there.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub(super) async fn watch(
    State(service): State<Service>,
    By(caller): By,
    Query(filter): Query<WatchFilter>,
    headers: HeaderMap,
) -> Reply<Response> {
    let newest = service.newest_event();
    let after = last_event_id(&headers)?.or(filter.after);
    let mut watcher = Watcher {
        query: EventQuery {
            after,
            workspace: filter.workspace,
            volume: filter.volume,
            pool: filter.pool,
            severity: filter.severity,
            limit: BATCH,
        },
        newest,
        caller,
        service,
    };
    // Read before the answer begins: a position that has expired is answered with a status.
    let first = watcher.read().await?;
    let (sender, chunks) = mpsc::channel(1);
    tokio::spawn(watcher.feed(first, sender));
    let body = Body::from_stream(ReceiverStream::new(chunks).map(Ok::<_, std::convert::Infallible>));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}

/// The position that a client which connects again says it has.
fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let sequence = value.to_str().ok().and_then(|text| text.parse().ok());
    sequence.map(Some).ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, format!("the Last-Event-ID {value:?} is no sequence"))
            .object("Last-Event-ID")
            .hint("send the id of the last event as it came, or none")
    })
}

struct Watcher {
    service: Service,
    caller: Caller,
    query: EventQuery,
    newest: watch::Receiver<u64>,
}

/// What one read of the store found, as the stream says it.
struct Batch {
    text: String,
    /// There may be more right behind it.
    full: bool,
}

impl Watcher {
    async fn feed(mut self, first: Batch, sender: mpsc::Sender<Bytes>) {
        let stopping = self.service.stopping();
        tokio::pin!(stopping);
        let mut batch = first;
        loop {
            let full = batch.full;
            tokio::select! {
                sent = sender.send(batch.text.into()) => if sent.is_err() { return },
                () = &mut stopping => return,
            }
            if !full {
                tokio::select! {
                    changed = self.newest.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep(HEARTBEAT) => {}
                    () = sender.closed() => return,
                    () = &mut stopping => return,
                }
            }
            batch = match self.read().await {
                Ok(batch) => batch,
                Err(error) => {
                    if error.kind == ErrorKind::Expired {
                        let data = serde_json::to_string(&error).unwrap_or_default();
                        let _ = sender.send(format!("event: expired\ndata: {data}\n\n").into()).await;
                    }
                    // Whatever else it is, the client finds out when it connects again.
                    return;
                }
            };
        }
    }

    /// Reads what is new, and moves on. A batch is never empty: it says at least the position.
    async fn read(&mut self) -> Result<Batch> {
        // Marked as seen before the store is read, so that what comes in between wakes us again.
        let newest = *self.newest.borrow_and_update();
        let after = *self.query.after.get_or_insert(newest);
        let (caller, query) = (self.caller.clone(), self.query.clone());
        let events = if after == newest {
            Vec::new()
        } else {
            self.service.read(move |engine| engine.events(&caller, &query)).await?
        };
        let full = events.len() >= BATCH;
        let mut text = String::new();
        for event in &events {
            let data = serde_json::to_string(event).map_err(|fault| {
                Error::new(ErrorKind::Host, format!("an event can't be written as JSON: {fault}"))
            })?;
            // Writing to a string can't fail.
            let _ = write!(text, "id: {}\ndata: {data}\n\n", event.sequence);
        }
        let position = position(&events, after, newest, full);
        if events.last().map(|event| event.sequence) != Some(position) {
            let _ = write!(text, "id: {position}\n\n");
        }
        self.query.after = Some(position);
        Ok(Batch { text, full })
    }
}
