//! The one table from an error's kind to what Docker and Podman are told, and the line of text they show.

use orlop_model::{Error, ErrorKind};

/// What an error means to an engine beyond its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// Whether it denies that the volume exists. Anything else must not be heard as that.
    pub(crate) absent: bool,
    /// For what will succeed later: how that is said.
    pub(crate) retry: Option<&'static str>,
}

/// The table.
pub(crate) fn meaning(kind: ErrorKind) -> Meaning {
    let (absent, retry) = match kind {
        ErrorKind::NotFound => (true, None),
        // A name that can't be one, or another's volume: none that this front could use.
        ErrorKind::InvalidArgument | ErrorKind::InvalidManifest => (true, None),
        ErrorKind::Recovering => (false, Some("still recovering, retry")),
        ErrorKind::Unavailable => (false, Some("retry in a moment")),
        ErrorKind::PermissionDenied
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
        | ErrorKind::Interrupted
        | ErrorKind::Unreachable => (false, None),
    };
    Meaning { absent, retry }
}

/// What an engine shows: what it concerns, what happened, what to do, in one line.
pub fn line(error: &Error) -> String {
    let mut text = String::new();
    if let Some(object) = error.object.as_ref().filter(|object| !error.message.contains(object.as_str())) {
        text.push_str(object);
        text.push_str(": ");
    }
    text.push_str(&error.message);
    if let Some(retry) = meaning(error.kind).retry.filter(|retry| !text.contains(retry)) {
        text.push_str("; ");
        text.push_str(retry);
    }
    if let Some(hint) = &error.hint {
        text.push_str(" (");
        text.push_str(hint);
        text.push(')');
    }
    one_line(&text)
}

fn one_line(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix() {
        let rows: Vec<String> = ErrorKind::ALL
            .into_iter()
            .map(|kind| {
                let Meaning { absent, retry } = meaning(kind);
                let error = Error::new(kind, "it happened").object("volume public/data").hint("do this");
                format!("{kind:?}: absent {absent}, retry {}\n  {}", retry.is_some(), line(&error))
            })
            .collect();
        insta::assert_snapshot!(rows.join("\n"));
    }

    #[test]
    fn a_line_is_one_line_and_names_its_object_once() {
        let error = Error::new(ErrorKind::Host, "mount of volume public/a failed:\n\tEIO\r\n")
            .object("volume public/a")
            .hint("look at\nthe log");
        assert_eq!(line(&error), "mount of volume public/a failed: EIO (look at the log)");
    }
}
