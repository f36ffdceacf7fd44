//! What the user sees: standard output and error, tables, documents, details. What is shown is
//! decided in `command`.

pub(crate) mod chart;
pub(crate) mod console;
pub(crate) mod details;
pub(crate) mod document;
pub(crate) mod progress;
pub(crate) mod quantity;
pub(crate) mod table;

pub(crate) use console::Console;

/// A text of a user for another's terminal: control characters could move its cursor, rename its
/// window or hide what follows.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
