//! Telling others of events: a thread for each who is to be told, which reads the event log after a
//! position of its own. The position is stored after each event that was told, so nothing is missed
//! by a restart and the last one may come twice.
//!
//! Operations never wait for it, and what fails here is logged and counted but makes no event: that
//! would have to be told in turn.

mod send;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use orlop_model::{
    ErrorKind, Result,
    notify::{Notify, NotifyTo},
    resource::Event,
};

use crate::{
    core::Core,
    request::EventQuery,
    store::{events, notifications},
};
use send::{Failure, send};

/// The first pause after a failure; each further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// So many events are read at once.
const BATCH: usize = 100;
/// Where none of them is to be told, the position is stored after so many.
const STRIDE: u64 = 500;
/// Without an event the log is looked at so often all the same.
const IDLE: Duration = Duration::from_secs(60);

/// Has the threads woken by every event, and forgets those who are no longer told: one that comes
/// back must not be told of all that happened meanwhile. Whoever is new is told from here on: not from
/// when its thread runs, which may be after the first events.
pub(crate) fn begin(core: &Arc<Core>) -> Result<()> {
    let keys: Vec<String> = core.config.notify.iter().map(key).collect();
    let newest = core.store.newest_event();
    core.store.write(move |tx| {
        notifications::keep_only(tx, &keys)?;
        for key in &keys {
            if notifications::position(tx, key)?.is_none() {
                notifications::set_position(tx, key, newest)?;
            }
        }
        Ok(())
    })?;
    if !core.config.notify.is_empty() {
        let weak = Arc::downgrade(core);
        core.store.on_event(Box::new(move |_| {
            if let Some(core) = Weak::upgrade(&weak) {
                core.signal.told();
            }
        }));
    }
    Ok(())
}

/// Tells one of them, until the engine stops.
pub(crate) fn tell(core: &Core, notify: &Notify) {
    let key = key(notify);
    let position = match core.store.read(|r| notifications::position(r, &key)) {
        Ok(position) => {
            let newest = core.store.newest_event();
            position.map_or(newest, |position| position.min(newest))
        }
        Err(error) => {
            tracing::error!(kind = notify.to.kind(), %error, "nobody is told of events");
            return;
        }
    };
    let mut teller = Teller { core, notify, key, position, stored: position };
    while core.signal.sleep_until(IDLE, || core.store.newest_event() > teller.position) {
        if !teller.round() {
            return;
        }
    }
}

struct Teller<'a> {
    core: &'a Core,
    notify: &'a Notify,
    key: String,
    /// Everything up to it was told, or is not to be.
    position: u64,
    stored: u64,
}

impl Teller<'_> {
    /// Tells what is new. Says whether to go on.
    fn round(&mut self) -> bool {
        // Read before the events: what comes in between is found next time.
        let newest = self.core.store.newest_event();
        let query = EventQuery {
            after: Some(self.position),
            severity: Some(self.notify.severity),
            limit: BATCH,
            ..EventQuery::default()
        };
        let events = match self.core.store.read(|r| events::select(r, &query)) {
            Err(error) if error.kind == ErrorKind::Expired => {
                tracing::warn!(kind = self.notify.to.kind(), %error, "events went by untold");
                self.core.tally.notified(self.notify.to.kind(), "expired");
                // Somebody may have had his own pushed out: what others caused before those is there, and told.
                self.core.store.read(|r| events::kept(r, &query))
            }
            read => read,
        };
        let events = match events {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(kind = self.notify.to.kind(), %error, "events can't be read");
                return self.core.signal.sleep_until(FIRST_PAUSE, || false);
            }
        };
        let all = events.len() < BATCH;
        for event in &events {
            if !self.until_told(event) {
                return false;
            }
            self.position = event.sequence;
            self.store_position();
        }
        if all {
            self.position = self.position.max(newest);
            if self.position - self.stored >= STRIDE {
                self.store_position();
            }
        }
        true
    }

    /// Tries until it is told, or refused for good. Says whether to go on.
    fn until_told(&self, event: &Event) -> bool {
        let kind = self.notify.to.kind();
        let mut pause = FIRST_PAUSE;
        loop {
            let outcome = send(self.core, self.notify, event);
            let word = match &outcome {
                Ok(()) => "sent",
                Err(Failure::Passing(_)) => "retried",
                Err(Failure::ForGood(_)) => "refused",
            };
            self.core.tally.notified(kind, word);
            match outcome {
                Ok(()) => return true,
                Err(Failure::ForGood(why)) => {
                    tracing::warn!(kind, event = event.sequence, why, "an event was refused");
                    return true;
                }
                Err(Failure::Passing(why)) => {
                    tracing::warn!(kind, event = event.sequence, why, ?pause, "an event is told again later");
                    if !self.core.signal.sleep_until(pause, || false) {
                        return false;
                    }
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn store_position(&mut self) {
        let (key, position) = (self.key.clone(), self.position);
        match self.core.store.write(move |tx| notifications::set_position(tx, &key, position)) {
            Ok(()) => self.stored = position,
            // It comes again after a restart.
            Err(error) => tracing::warn!(%error, "could not record what was told"),
        }
    }
}

/// By what one is known in the store.
fn key(notify: &Notify) -> String {
    match &notify.to {
        NotifyTo::Webhook(url) => format!("webhook {url}"),
        NotifyTo::Command { executable, arguments } => {
            format!("command {} {}", executable.display(), arguments.join(" "))
        }
    }
}
