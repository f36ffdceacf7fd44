//! The one error of Orlop: what happened, what it concerns, what to do. Each front has a table of its own for it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of thing went wrong. Fronts match it without a `_` arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ErrorKind {
    /// A request, flag or field has a value it can't have.
    InvalidArgument,
    /// A manifest has faults; the message holds the diagnostics.
    InvalidManifest,
    /// The caller may not do this.
    PermissionDenied,
    /// There is nothing of that name or id.
    NotFound,
    /// The name is taken by something with other parameters, or made by somebody else.
    AlreadyExists,
    /// The change can't be made in place.
    Immutable,
    /// The object changed since the caller read it.
    Conflict,
    /// Consumers still use it.
    InUse,
    /// The access mode refuses another consumer.
    AccessRefused,
    /// The pool has no room for the reservation.
    PoolFull,
    /// The filesystem under the pool lacks the room now.
    LowSpace,
    /// The workspace's limits leave no room for it.
    WorkspaceFull,
    /// It is protected from being deleted.
    Protected,
    /// This build, front, pool or kernel can't do it.
    Unsupported,
    /// Work on the object still goes on; the same request will succeed later.
    Recovering,
    /// The daemon is not ready, or is stopping.
    Unavailable,
    /// The data or its filesystem is missing or damaged.
    Damaged,
    /// The host ran out of something that is not disk space, such as loop devices.
    HostLimit,
    /// A system call or program failed on the host.
    Host,
    /// The store failed.
    Store,
    /// A position in the event stream is no longer kept.
    Expired,
    /// Something on disk was made by a newer Orlop.
    NewerFormat,
    /// Another daemon has it.
    Locked,
    /// It was stopped before its end, because somebody asked or the daemon ended.
    Interrupted,
    /// No daemon answers. Only clients say this.
    Unreachable,
}

impl ErrorKind {
    /// All kinds, for the golden matrix.
    pub const ALL: [Self; 25] = [
        Self::InvalidArgument,
        Self::InvalidManifest,
        Self::PermissionDenied,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Immutable,
        Self::Conflict,
        Self::InUse,
        Self::AccessRefused,
        Self::PoolFull,
        Self::LowSpace,
        Self::WorkspaceFull,
        Self::Protected,
        Self::Unsupported,
        Self::Recovering,
        Self::Unavailable,
        Self::Damaged,
        Self::HostLimit,
        Self::Host,
        Self::Store,
        Self::Expired,
        Self::NewerFormat,
        Self::Locked,
        Self::Interrupted,
        Self::Unreachable,
    ];
}

/// An error with all that a user needs to act on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Error {
    /// What kind of thing went wrong.
    pub kind: ErrorKind,
    /// What happened, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The field or object concerned, such as `volume public/data` or `volume.size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

impl Error {
    /// An error without hint and object; add them with [`Self::hint`] and [`Self::object`].
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, object: None }
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what it concerns.
    #[must_use]
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// "expected one of …", with the nearest word first where one is near.
pub fn expected(text: &str, words: &[&str]) -> String {
    match nearest(text, words) {
        Some(word) => format!("did you mean {word}? Expected one of: {}", words.join(", ")),
        None => format!("expected one of: {}", words.join(", ")),
    }
}

/// The word most like `text`, if one is near enough to be meant.
pub fn nearest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    // Nothing so long was meant to be one of our words, and comparing takes its time.
    if text.len() > 100 {
        return None;
    }
    let text = text.to_lowercase();
    words
        .iter()
        .map(|word| (strsim::jaro_winkler(&text, &word.to_lowercase()), *word))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}
