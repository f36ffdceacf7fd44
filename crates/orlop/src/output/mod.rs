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

/// A text of a user for another's terminal, on one line.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c == '\t' { ' ' } else { orlop_model::text::safe(c) }).collect()
}

/// The same for a text of ours that quotes those of users, and may have several lines.
pub(crate) fn plain_lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}
