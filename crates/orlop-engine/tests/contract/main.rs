//! What every backend does: the same cases for each, on real filesystems.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../harness/mod.rs"]
mod harness;

mod lifecycle;
