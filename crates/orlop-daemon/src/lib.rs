//! The daemon: one engine, its fronts, and what keeps a process in order. Configuration, sockets,
//! REST, metrics, readiness, shutdown. No rule about volumes is here; those are the engine's.
#![forbid(unsafe_code)]

mod config;
mod connection;
mod logs;
mod metrics;
mod rest;
mod serve;
mod service;
mod sockets;
mod units;

pub use config::{Config, Overrides};
pub use logs::LogFormat;
pub use serve::serve;
pub use units::{Unit, units};
