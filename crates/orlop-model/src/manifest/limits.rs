//! What one manifest file may cost. All of them are far above any honest file, and each has a diagnostic.

/// Bytes of a file. A caller that reads one need not read more than this and one.
pub const MAX_BYTES: usize = 1 << 20;
/// Documents in a file.
pub const MAX_DOCUMENTS: usize = 1000;
/// Mappings and lists inside each other, aliases expanded.
pub const MAX_DEPTH: usize = 64;
/// Keys, values, lists and mappings of a file, aliases expanded: an alias bomb ends here.
pub const MAX_NODES: usize = 100_000;
/// Bytes of all scalars of a file, aliases and variables expanded.
pub const MAX_TEXT: usize = 4 << 20;
/// Diagnostics of a file; those after it are counted, not shown.
pub const MAX_DIAGNOSTICS: usize = 100;
