//! Structured logs on standard error: lines for people on a terminal, JSON for everything else.

use std::io::IsTerminal;

use orlop_model::{Error, ErrorKind, Result};
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Text, Self::Json];

    /// The word of the flag and of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl std::str::FromStr for LogFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or_else(|| {
            let words = Self::ALL.map(Self::as_str);
            Error::new(ErrorKind::InvalidArgument, format!("{text:?} is no log format"))
                .object("log format")
                .hint(orlop_model::error::expected(text, &words))
        })
    }
}

/// Begins to log. `filter` is a level, or levels by target as in `info,orlop_engine=debug`.
pub(crate) fn begin(format: LogFormat, filter: &str) -> Result<()> {
    let targets: Targets = filter.parse().map_err(|fault| {
        Error::new(ErrorKind::InvalidArgument, format!("the log filter {filter:?} is not valid: {fault}"))
            .object("log filter")
            .hint("use a level such as `info`, or levels by target such as `info,orlop_engine=debug`")
    })?;
    let terminal = std::io::stderr().is_terminal();
    let registry = tracing_subscriber::registry().with(targets);
    let layer = fmt::layer().with_writer(std::io::stderr);
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    // A second daemon in one process (as in tests) logs through the first one's subscriber.
    let _ = if json {
        registry
            .with(layer.json().flatten_event(true).with_current_span(true).with_span_list(false))
            .try_init()
    } else {
        registry.with(layer.with_ansi(terminal)).try_init()
    };
    Ok(())
}
