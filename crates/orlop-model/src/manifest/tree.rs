//! A YAML document as a tree in which every key and value knows its place. `reader` makes it.
//!
//! Scalars stay text: what `no`, `0123` or `1.10` mean is decided by the field they are given to.

use std::sync::Arc;

use super::source::Span;

/// A value.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
    /// A tag such as `!custom`, other than those of the core schema.
    pub(crate) tag: Option<String>,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Scalar(Scalar),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A scalar as it was written, quotes and escapes resolved.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) text: Arc<str>,
    /// Written without quotes, so that it can mean a number, a truth or nothing.
    pub(crate) plain: bool,
    /// A variable was filled in.
    pub(crate) interpolated: bool,
    /// Already reported: to be passed over in silence.
    pub(crate) faulty: bool,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) value: Node,
}

/// A key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: Arc<str>,
    pub(crate) span: Span,
}

impl Node {
    /// What to call it in a message.
    pub(crate) fn what(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(scalar) if scalar.is_null() => "nothing",
            Kind::Scalar(_) => "a single value",
            Kind::List(_) => "a list",
            Kind::Mapping(_) => "a mapping",
        }
    }
}

impl Scalar {
    /// Whether it is no value at all: nothing, `~` or `null` without quotes.
    pub(crate) fn is_null(&self) -> bool {
        self.plain && !self.interpolated && matches!(&*self.text, "" | "~" | "null" | "Null" | "NULL")
    }
}

/// A document's root.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) node: Node,
    /// No fault was found in its keys. Where one was, the document is read for its other faults only.
    pub(crate) sound: bool,
}
