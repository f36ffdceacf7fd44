//! What every backend does: the same cases for each, on real filesystems. A backend comes in by the
//! pool that `harness::World` makes.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../harness/mod.rs"]
mod harness;

mod adopt;
mod aliases;
mod btrfs;
mod capacity;
mod carried;
mod changes;
mod devices;
mod foreign_loops;
mod fronts;
mod fsck;
mod groups;
mod groups_apart;
mod holds;
mod hooks;
mod host_mounts;
mod imports;
mod lifecycle;
mod media;
mod migration;
mod modes;
mod notify;
mod observation;
mod pool_checks;
mod pools;
mod provisioning;
mod published;
mod refusals;
mod released;
mod renames;
mod restores;
mod schedules;
mod sizes;
mod snapshot_groups;
mod snapshots;
mod stopped;
mod temp;
mod workspaces;
