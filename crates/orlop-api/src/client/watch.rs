//! Following events: reads the stream, remembers the position, connects again when it breaks.

use std::{collections::VecDeque, time::Duration};

use http_body_util::BodyExt;
use hyper::{body::Incoming, header::HeaderName};
use orlop_model::{Error, ErrorKind, Result, resource::Event};
use tokio::time::Instant;

use super::{
    Client, EMPTY,
    stream::{Message, Reader},
};
use crate::{route::Operation, types::WatchFilter};

/// The daemon says something every 15 seconds; after so long a silence the connection is dead.
const SILENCE: Duration = Duration::from_secs(60);
/// So long a stream that broke is tried again before the watch gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// A stream of events, in order, with none missing and none twice. Made by [`Client::watch`].
#[derive(Debug)]
pub struct Watch {
    client: Client,
    filter: WatchFilter,
    connection: Option<(Incoming, Reader)>,
    messages: VecDeque<Message>,
}

impl Watch {
    pub(super) async fn open(client: Client, filter: WatchFilter) -> Result<Self> {
        let mut watch = Self { client, filter, connection: None, messages: VecDeque::new() };
        watch.connect().await?;
        Ok(watch)
    }

    /// The sequence up to which everything was seen; none before the daemon has said it.
    pub fn position(&self) -> Option<u64> {
        self.filter.after
    }

    /// The next event. Waits for ever while nothing happens; may be dropped and called again.
    ///
    /// [`ErrorKind::Expired`] when events were missed because this side was too slow or away for
    /// too long; [`ErrorKind::Unreachable`] when the daemon stays away for 30 seconds.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            while let Some(message) = self.messages.pop_front() {
                if let Some(event) = self.take(message)? {
                    return Ok(event);
                }
            }
            if self.connection.is_none() {
                self.connect_again().await?;
            }
            self.receive().await;
        }
    }

    fn take(&mut self, message: Message) -> Result<Option<Event>> {
        if message.event == "expired" {
            self.connection = None;
            return Err(serde_json::from_str(&message.data).unwrap_or_else(|_| self.malformed()));
        }
        if let Some(id) = message.id {
            self.filter.after = Some(id.parse().map_err(|_| self.malformed())?);
        }
        if message.data.is_empty() {
            return Ok(None);
        }
        serde_json::from_str(&message.data).map(Some).map_err(|_| self.malformed())
    }

    /// Reads once. A broken connection is let go; the position stays.
    async fn receive(&mut self) {
        let Some((body, reader)) = &mut self.connection else { return };
        let whole = match tokio::time::timeout(SILENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => reader.push(&data, &mut self.messages).is_ok(),
                Err(_trailers) => true,
            },
            Ok(Some(Err(_)) | None) | Err(_) => false,
        };
        if !whole {
            self.connection = None;
        }
    }

    async fn connect(&mut self) -> Result<()> {
        // The position is in the header: it goes before the query's `after`, which stays as it was said.
        let position = self.filter.after.map(|id| (HeaderName::from_static("last-event-id"), id.to_string()));
        let headers: Vec<_> = position.into_iter().collect();
        let response = self.client.send(Operation::Watch, &[], &self.filter, EMPTY, &headers).await?;
        let status = response.status();
        if !status.is_success() {
            let body = self.client.read(response).await?;
            return Err(self.client.refusal(status, &body));
        }
        self.connection = Some((response.into_body(), Reader::default()));
        Ok(())
    }

    async fn connect_again(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.connect().await {
                Ok(()) => return Ok(()),
                Err(error) if is_passing(error.kind) && Instant::now() < end => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn malformed(&self) -> Error {
        self.client.garbage(hyper::StatusCode::OK, b"an event that can't be read")
    }
}

/// Whether a restart of the daemon can explain it.
fn is_passing(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Unreachable | ErrorKind::Unavailable | ErrorKind::Recovering => true,
        ErrorKind::InvalidArgument
        | ErrorKind::InvalidManifest
        | ErrorKind::PermissionDenied
        | ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::Immutable
        | ErrorKind::Conflict
        | ErrorKind::InUse
        | ErrorKind::AccessRefused
        | ErrorKind::PoolFull
        | ErrorKind::LowSpace
        | ErrorKind::WorkspaceFull
        | ErrorKind::Protected
        | ErrorKind::Unsupported
        | ErrorKind::Damaged
        | ErrorKind::HostLimit
        | ErrorKind::Host
        | ErrorKind::Store
        | ErrorKind::Expired
        | ErrorKind::NewerFormat
        | ErrorKind::Locked
        | ErrorKind::Interrupted => false,
    }
}
