//! JSON and YAML: one object for a resource that was named, else all of them.

use orlop_model::{Error, ErrorKind, Result};
use serde::Serialize;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    /// JSON, indented.
    Json,
    /// YAML; several are documents of one stream.
    Yaml,
}

/// One resource.
pub(crate) fn one<T: Serialize>(resource: &T, notation: Notation) -> Result<String> {
    match notation {
        Notation::Json => serde_json::to_string_pretty(resource).map_err(unwritable),
        Notation::Yaml => serde_saphyr::to_string(resource).map_err(unwritable),
    }
}

/// Several resources: an array, or a stream of documents.
pub(crate) fn many<T: Serialize>(resources: &[T], notation: Notation) -> Result<String> {
    match notation {
        Notation::Json => one(&resources, notation),
        Notation::Yaml => {
            let documents: Vec<String> =
                resources.iter().map(|resource| one(resource, notation)).collect::<Result<_>>()?;
            Ok(documents.join("---\n"))
        }
    }
}

fn unwritable(fault: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Host, format!("the answer can't be written: {fault}"))
}

/// One resource on one line, for a stream of them.
pub(crate) fn line<T: Serialize>(resource: &T) -> Result<String> {
    serde_json::to_string(resource).map_err(unwritable)
}
