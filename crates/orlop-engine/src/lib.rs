//! The engine: pools, volumes, attachments, the store and their reconciliation with the kernel.
//!
//! It knows no front. It is synchronous and thread-safe: every operation runs to its end on the
//! thread that called it, so that a client which hangs up leaves nothing half-done. Fronts call it
//! from blocking threads.
#![forbid(unsafe_code)]

mod admission;
mod alias;
mod attachment;
mod authority;
mod backend;
mod background;
mod blank;
mod core;
mod directory;
pub mod engine;
mod events;
mod expiry;
pub mod fault;
pub mod format;
mod host;
mod limits;
mod locks;
mod notify;
mod observation;
mod pool;
mod reconcile;
pub mod request;
mod running;
mod snapshot;
mod statistics;
pub mod store;
mod volume;
mod workspace;

pub use engine::Engine;
pub use request::*;
