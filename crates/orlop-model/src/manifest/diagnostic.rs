//! A fault of a manifest, with what it points at. How it looks on a terminal is in `render`.

use super::{
    limits::MAX_DIAGNOSTICS,
    source::{At, Place, Source},
};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing is refused for it.
    Warning,
    /// The manifest can't be used.
    Error,
}

/// A place and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub at: At,
    /// A few words beside it.
    pub text: String,
}

/// What is wrong with a manifest, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The kind of fault in one stable word, such as `unknown-key`.
    pub code: &'static str,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What was expected, or what to do.
    pub help: Option<String>,
    /// The file it is in. The first label, if there is one, is in this file.
    pub file: String,
    /// What it points at, the main place first. None where it is about a file as a whole.
    pub labels: Vec<Label>,
}

impl Diagnostic {
    /// An error that points nowhere yet: add [`Self::at`] or [`Self::file`].
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message.into())
    }

    /// A warning that points nowhere yet.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message.into())
    }

    fn new(severity: Severity, code: &'static str, message: String) -> Self {
        Self { severity, code, message, help: None, file: String::new(), labels: Vec::new() }
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Names the file of a fault that is about the whole of it.
    #[must_use]
    pub fn file(mut self, file: impl Into<String>) -> Self {
        self.file = file.into();
        self
    }

    /// Points at a place. The first one called is the main one.
    #[must_use]
    pub fn at(mut self, at: &At, text: impl Into<String>) -> Self {
        if self.labels.is_empty() {
            self.file = at.source.name().to_owned();
        }
        self.labels.push(Label { at: at.clone(), text: text.into() });
        self
    }

    /// Line and column of the main place.
    pub fn place(&self) -> Option<Place> {
        self.labels.first().map(|label| label.at.place())
    }

    fn offset(&self) -> usize {
        self.labels.first().map_or(0, |label| label.at.span.start)
    }
}

/// Faults as they are found. What is beyond ten times the limit is only counted: a file made of faults
/// costs no more than that.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    kept: Vec<Diagnostic>,
    more: usize,
}

impl Faults {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if self.kept.len() < 10 * MAX_DIAGNOSTICS {
            self.kept.push(diagnostic);
        } else {
            self.more += 1;
        }
    }

    /// How many were found.
    pub(crate) fn found(&self) -> usize {
        self.kept.len() + self.more
    }

    /// The first [`MAX_DIAGNOSTICS`] by their place, and one that says how many more there are.
    pub(crate) fn into_diagnostics(mut self, source: &Source) -> Vec<Diagnostic> {
        let found = self.found();
        self.kept.sort_by_key(Diagnostic::offset);
        self.kept.truncate(MAX_DIAGNOSTICS);
        let more = found - self.kept.len();
        if more > 0 {
            let last = Diagnostic::error("too-many-faults", format!("there are {more} more faults"));
            self.kept.push(last.file(source.name()).help("mend those above first"));
        }
        self.kept
    }
}
