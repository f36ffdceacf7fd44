//! Real containers on real volumes: private Docker and Podman engines against a private daemon.
//!
//! One file a subject; `world` sets up what they share.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod compose;
mod docker_access;
mod docker_volumes;
mod fallthrough;
mod podman_access;
mod podman_volumes;
mod prune;
mod recovery;
mod registration;
mod renames;
mod temp;
mod world;
