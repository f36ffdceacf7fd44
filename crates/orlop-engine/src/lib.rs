//! The engine: pools, volumes, attachments, the store and their reconciliation with the kernel.
//!
//! It knows no front. It is synchronous and thread-safe: every operation runs to its end on the
//! thread that called it, so that a client which hangs up leaves nothing half-done. Fronts call it
//! from blocking threads.
#![forbid(unsafe_code)]

pub mod engine;
pub mod format;
pub mod request;
pub mod store;

pub use engine::Engine;
pub use request::*;
