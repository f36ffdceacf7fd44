//! Every call of the interface, by a client over a socket, against the real engine on real loop devices.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod harness;

mod access;
mod block;
mod ephemeral;
mod groups;
mod identity;
mod life;
mod logs;
mod provisioning;
mod refusals;
mod snapshots;
mod volumes;
