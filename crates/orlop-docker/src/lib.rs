//! The volume plugin protocol of Docker and Podman in front of the engine: requests in, answers out.
//!
//! Nothing here calls a container engine: Docker waits for its plugins while it holds locks, so a
//! handler that asked Docker anything would wait for itself. Sockets, peers and shutdown are the
//! daemon's; what a volume is and who may use it is the engine's.
#![forbid(unsafe_code)]

mod answer;
mod error;
mod flavour;
mod handler;
mod mounting;
mod options;
mod request;
mod work;

pub use error::line;
pub use flavour::Flavour;
pub use handler::router;
pub use request::{BODY_LIMIT, Request, decode};
pub use work::THREADS;

#[cfg(test)]
mod tests;
