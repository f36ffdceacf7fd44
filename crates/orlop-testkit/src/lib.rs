//! What the tests of Orlop stand on: scratch filesystems, a private daemon, and private real engines.
//!
//! Everything here talks to the real thing and is private to one test: its own directories, its own
//! processes, its own mounts. Two mechanisms keep the machine clean:
//!
//! - [`Scratch`] is a directory with a janitor, a process that outlives the test and sweeps up
//!   (processes, mounts, loop devices, cgroups, files) when the test ends, however it ends.
//! - an engine lives in a mount and process-id namespace of its own, so that one kill ends all of it.
//!
//! A test against the whole says what it needs of the machine, and declares the daemon before the
//! engine, which is thereby dropped first:
//!
//! ```no_run
//! use orlop_testkit::{Docker, OrlopDaemon, Part, require};
//!
//! # fn test() {
//! require!(Part::Loop, Part::Docker);
//! let mut daemon = OrlopDaemon::start();
//! let docker = Docker::builder().plugin("orlop", daemon.docker_socket()).start();
//! docker.import_busybox();
//! docker.run(["volume", "create", "-d", "orlop", "-o", "size=64Mi", "hold"]).ok();
//! docker.container(&["--rm", "-v", "hold:/hold"], &["sh", "-c", "echo cargo > /hold/file"]).ok();
//! daemon.kill9();
//! daemon.restart();
//! assert_eq!(docker.container(&["--rm", "-v", "hold:/hold"], &["cat", "/hold/file"]).ok(), "cargo");
//! docker.run(["volume", "rm", "hold"]).ok();
//! daemon.assert_nothing_left();
//! # }
//! ```
//!
//! Functions panic with a message that says what was run and what came back: a test that can't set
//! up its world has failed, and should say why in one place.
#![forbid(unsafe_code)]

pub mod command;
pub mod daemon;
pub mod engines;
pub mod http;
pub mod json_schema;
pub mod mounts;
pub mod process;
pub mod scratch;
pub mod skip;
pub mod webhook;

pub use command::{Ran, run};
pub use daemon::OrlopDaemon;
pub use engines::{docker::Docker, podman::Podman};
pub use scratch::{Scratch, ScratchFs};
pub use skip::Part;
