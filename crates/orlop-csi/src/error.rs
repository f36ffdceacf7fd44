//! The one table from an error's kind to the code that an orchestrator is answered with, and the line of
//! text that it shows.

use orlop_model::{Error, ErrorKind};
use tonic::{Code, Status};

/// What a call comes to.
pub(crate) type Reply<T> = Result<T, Refusal>;

/// An error with its code.
#[derive(Debug)]
pub(crate) struct Refusal {
    code: Code,
    error: Error,
}

impl Refusal {
    /// One whose code is the specification's for that very case, whatever the kind.
    pub(crate) fn coded(code: Code, error: Error) -> Self {
        Self { code, error }
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// What is shown: what it concerns, what happened, what to do, in one line.
    pub(crate) fn line(&self) -> String {
        let Error { kind: _, message, hint, object } = &self.error;
        let mut text = String::new();
        if let Some(object) = object.as_ref().filter(|object| !message.contains(object.as_str())) {
            text.push_str(object);
            text.push_str(": ");
        }
        text.push_str(message);
        if let Some(hint) = hint {
            text.push_str(" (");
            text.push_str(hint);
            text.push(')');
        }
        let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        spaced.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { code: code(&error), error }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code, refusal.line())
    }
}

/// The code of an error.
fn code(error: &Error) -> Code {
    match error.kind {
        // A size that can't be is told from everything else that can't.
        ErrorKind::InvalidArgument if error.object.as_deref() == Some(SIZE) => Code::OutOfRange,
        ErrorKind::InvalidArgument
        | ErrorKind::InvalidManifest
        | ErrorKind::Immutable
        | ErrorKind::Unsupported => Code::InvalidArgument,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::InUse | ErrorKind::AccessRefused | ErrorKind::Protected | ErrorKind::NewerFormat => {
            Code::FailedPrecondition
        }
        ErrorKind::PoolFull | ErrorKind::LowSpace | ErrorKind::WorkspaceFull | ErrorKind::HostLimit => {
            Code::ResourceExhausted
        }
        // Something else is under way with it, or was: the same call will find out what became of that.
        ErrorKind::Conflict | ErrorKind::Recovering | ErrorKind::Expired | ErrorKind::Interrupted => {
            Code::Aborted
        }
        ErrorKind::Unavailable | ErrorKind::Locked | ErrorKind::Unreachable => Code::Unavailable,
        ErrorKind::Damaged | ErrorKind::Host | ErrorKind::Store => Code::Internal,
    }
}

/// What the engine calls the size of a volume.
const SIZE: &str = "volume.size";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix() {
        let mut rows: Vec<String> = ErrorKind::ALL
            .into_iter()
            .map(|kind| {
                let error = Error::new(kind, "it happened").object("volume public/data").hint("do this");
                let refusal = Refusal::from(error);
                format!("{kind:?}: {:?}\n  {}", refusal.code(), refusal.line())
            })
            .collect();
        let size = Refusal::from(Error::new(ErrorKind::InvalidArgument, "too small").object(SIZE));
        rows.push(format!("InvalidArgument of {SIZE}: {:?}\n  {}", size.code(), size.line()));
        insta::assert_snapshot!(rows.join("\n"));
    }

    #[test]
    fn a_line_is_one_line_and_names_its_object_once() {
        let error = Error::new(ErrorKind::Host, "mount of volume public/a failed:\n\tEIO\r\n")
            .object("volume public/a")
            .hint("look at\nthe log");
        let status = Status::from(Refusal::from(error));
        assert_eq!(status.message(), "mount of volume public/a failed: EIO (look at the log)");
        assert_eq!(status.code(), Code::Internal);
    }
}
