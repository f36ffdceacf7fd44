//! The REST interface of Orlop: its types, its routes as data, the OpenAPI document made from
//! them, and the typed client. The daemon serves it; the CLI and tools speak it.
//!
//! # Talking to a daemon
//!
//! ```no_run
//! # async fn example() -> orlop_model::Result<()> {
//! use orlop_api::{Client, VolumeFilter};
//!
//! let client = Client::new("/run/orlop/orlop.sock");
//! let mut volumes = client.volumes(&VolumeFilter::default()).await?;   // one page
//! let all = client.all_volumes(&VolumeFilter::default()).await?;       // every page
//! # Ok(()) }
//! ```
//!
//! - Every call returns [`orlop_model::Error`] as the daemon said it: kind, message, hint and
//!   object arrive as they were sent. What goes wrong on the way has the kind `Unreachable`.
//! - Every change may be sent again after a failure: the daemon does it once.
//! - [`Client::watch`] yields events for ever; it connects again by itself after a restart of
//!   the daemon and goes on behind the last event, with none missing and none twice.
//! - To list what happened and then follow: [`Client::events`], then [`Client::watch`] with
//!   `after` set to [`EventList::position`].
#![forbid(unsafe_code)]

pub mod body;
pub mod client;
pub mod openapi;
pub mod query;
pub mod route;
pub mod status;
pub mod types;

pub use client::{Client, Watch};
pub use route::{Answer, Method, Operation, Route};
pub use status::status;
pub use types::*;

/// A request body of more bytes is refused.
pub const MAX_REQUEST_BYTES: usize = 1 << 20;
