//! Store, disk and kernel that disagree: after a crash, after a reboot, and after somebody else's hand.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../harness/mod.rs"]
mod harness;

mod damage;
mod fronts;
mod holders;
mod host;
mod nodes;
mod restart;
mod unreadable;
