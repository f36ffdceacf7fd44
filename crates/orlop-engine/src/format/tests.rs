//! Tests of the layout on disk.
