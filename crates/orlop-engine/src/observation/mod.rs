//! What is seen of volumes and pools while they are used: how full they are, how their filesystems
//! fare, and how that was over the last day. Only what is mounted is looked at, by asking its
//! filesystem; no tree is ever walked. What becomes of a damaged one is `volume::health`. Of block devices
//! it is seen that they are there.

pub(crate) mod device;
mod threshold;
pub(crate) mod usage;
pub(crate) mod watch;
