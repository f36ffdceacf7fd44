//! The Container Storage Interface in front of the engine: what Kubernetes (its kubelet and its sidecars)
//! and Nomad speak. It translates, and decides nothing about volumes; those are the engine's.
//!
//! One driver serves one node: what it makes can be used there and nowhere else.
#![forbid(unsafe_code)]

mod access;
mod controller;
#[cfg(test)]
mod deployed;
mod describe;
mod driver;
mod error;
mod group;
mod identity;
mod node;
mod parameters;
pub mod protocol;
mod request;
mod server;
mod settings;
mod token;
mod topology;
mod understand;
mod work;

pub use driver::Driver;
pub use server::serve;
pub use settings::{Settings, socket};
pub use understand::understand;
pub use work::THREADS;

/// What orchestrators call the driver.
pub const NAME: &str = "csi.orlop.dev";
