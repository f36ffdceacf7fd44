//! Snapshots of several volumes at one moment: making them (`create`), those that an orchestrator asks for
//! (`take`), how users see them (`view`), deleting them (`delete`), and what becomes of one that was being
//! made when everything ended (`settle`).
//!
//! All of a group are there or none: they are made by one operation of the journal, recorded as active in
//! one write, and deleted by one operation. What is in them is of one moment, at which all filesystems
//! among them are frozen.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod settle;
pub(crate) mod take;
pub(crate) mod view;

use std::collections::BTreeSet;

use orlop_model::{Error, ErrorKind, Result, SnapshotGroupId};

use crate::{
    core::Core,
    request::SnapshotKey,
    store::{SnapshotGroupRow, snapshot_groups},
};

/// The most volumes that one is of. Their writers wait for each other's filesystems.
pub(crate) const MOST: usize = 32;

/// The group of that name.
///
/// # Errors
/// [`ErrorKind::NotFound`].
pub(crate) fn find(core: &Core, key: &SnapshotKey) -> Result<SnapshotGroupRow> {
    let found = core.store.read(|r| snapshot_groups::by_key(r, key))?;
    found.ok_or_else(|| missing(&format!("{}/{}", key.workspace, key.name)))
}

/// Any group by id.
///
/// # Errors
/// [`ErrorKind::NotFound`].
pub(crate) fn by_id(core: &Core, id: SnapshotGroupId) -> Result<SnapshotGroupRow> {
    core.store.read(|r| snapshot_groups::by_id(r, id))?.ok_or_else(|| missing(&id.to_string()))
}

fn missing(title: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no snapshot group {title}"))
        .object(format!("snapshot group {title}"))
        .hint("orlop snapshot list -a lists the snapshots with their groups")
}

/// What messages call a group.
pub(crate) fn object(row: &SnapshotGroupRow) -> String {
    format!("snapshot group {}", row.title())
}

/// Each volume once, and not too many.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`].
fn distinct<T: Ord + Clone + std::fmt::Display>(volumes: &[T]) -> Result<BTreeSet<T>> {
    let invalid = |message: String| Error::new(ErrorKind::InvalidArgument, message).object("volumes");
    let mut all = BTreeSet::new();
    for volume in volumes {
        if !all.insert(volume.clone()) {
            return Err(invalid(format!("volume {volume} is named twice")).hint("name each volume once"));
        }
    }
    match all.len() {
        0 => Err(invalid("a group of snapshots is of at least one volume".to_owned()).hint("name volumes")),
        1..=MOST => Ok(all),
        more => Err(invalid(format!(
            "a group of snapshots is of at most {MOST} volumes, and {more} are named: their writers wait for each other"
        ))
        .hint("make groups of those that need to be of one moment")),
    }
}
