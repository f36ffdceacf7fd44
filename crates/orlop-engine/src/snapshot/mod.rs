//! Snapshots: making one (`create`), what is changed of it in place and how users see it (`view`),
//! deleting (`delete`), putting a volume back to one (`restore`), what a new volume is made from
//! (`source`), those that an orchestrator asks for (`take`), and those that are made by a schedule
//! (`schedule`, `retention`). Those of several volumes at one moment are in `group`.
//!
//! An image is copied by sharing its blocks where the pool's filesystem can, which takes no longer for
//! a larger one; else byte by byte (`copy`). What others do around it is in `hooks`, the file beside
//! the image in `describe`, the room that is asked for in `room`, and what images take for themselves in
//! `shared`.

pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod describe;
pub(crate) mod group;
pub(crate) mod hooks;
pub(crate) mod naming;
pub(crate) mod restore;
pub(crate) mod retention;
mod room;
pub(crate) mod schedule;
pub(crate) mod shared;
pub(crate) mod source;
pub(crate) mod take;
pub(crate) mod view;

use orlop_model::{Error, ErrorKind, Result, SnapshotId, SnapshotName, resource::SnapshotState};

use crate::{
    core::{Core, similar},
    request::SnapshotKey,
    store::{SnapshotRow, snapshot_groups, snapshots},
};

/// The snapshot of that name.
///
/// # Errors
/// [`ErrorKind::NotFound`].
pub(crate) fn find(core: &Core, key: &SnapshotKey) -> Result<SnapshotRow> {
    if let Some(found) = core.store.read(|r| snapshots::by_key(r, key))? {
        return Ok(found);
    }
    let error = missing(&format!("{}/{}", key.workspace, key.name));
    let Some(group) = core.store.read(|r| snapshot_groups::by_key(r, key))? else {
        let names = core.store.read(|r| snapshots::names(r, &key.workspace))?;
        return Err(similar(error, key.name.as_str(), names.iter().map(SnapshotName::as_str)));
    };
    let rows = core.store.read(|r| snapshots::of_group(r, group.id))?;
    let names: Vec<_> = rows.iter().map(|row| row.manifest.name.as_str()).collect();
    Err(error.hint(format!("it is a group of snapshots; name one of them: {}", names.join(", "))))
}

/// Any snapshot by id.
///
/// # Errors
/// [`ErrorKind::NotFound`].
pub(crate) fn by_id(core: &Core, id: SnapshotId) -> Result<SnapshotRow> {
    core.store.read(|r| snapshots::by_id(r, id))?.ok_or_else(|| missing(&id.to_string()))
}

/// The same again, after its lock was taken: it may have gone meanwhile.
pub(crate) fn again(core: &Core, row: &SnapshotRow) -> Result<SnapshotRow> {
    core.store.read(|r| snapshots::by_id(r, row.id))?.ok_or_else(|| missing(&row.title()))
}

fn missing(title: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no snapshot {title}"))
        .object(format!("snapshot {title}"))
        .hint("orlop snapshot list -a lists the snapshots")
}

/// What has that name, if anything has: a snapshot and a group of them have none in common.
///
/// # Errors
/// [`ErrorKind::Store`].
pub(crate) fn holder(core: &Core, key: &SnapshotKey) -> Result<Option<&'static str>> {
    core.store.read(|r| {
        Ok(if snapshots::by_key(r, key)?.is_some() {
            Some("snapshot")
        } else {
            snapshot_groups::by_key(r, key)?.map(|_| "group of snapshots")
        })
    })
}

/// Refuses a name that something has, before anybody is made to wait for what is made under it. The caller holds
/// the lock of the name; `object` is what is made.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`].
pub(crate) fn require_free(core: &Core, key: &SnapshotKey, object: &str) -> Result<()> {
    let Some(holder) = holder(core, key)? else { return Ok(()) };
    let message = format!("there is already a {holder} {}/{}", key.workspace, key.name);
    Err(Error::new(ErrorKind::AlreadyExists, message).object(object).hint("choose another name"))
}

/// What messages call a snapshot.
pub(crate) fn object(row: &SnapshotRow) -> String {
    format!("snapshot {}", row.title())
}

/// Refuses a snapshot that nothing can be made from now.
pub(crate) fn usable(row: &SnapshotRow) -> Result<()> {
    let title = row.title();
    let refused = |kind, what: &str| Error::new(kind, format!("snapshot {title} {what}")).object(object(row));
    match row.state {
        SnapshotState::Active => Ok(()),
        SnapshotState::Pending => {
            Err(refused(ErrorKind::Recovering, "is still being made")
                .hint("retry: the work goes on meanwhile"))
        }
        SnapshotState::Deleting => {
            Err(refused(ErrorKind::Conflict, "is being deleted").hint("orlop snapshot list shows the others"))
        }
        SnapshotState::Error => {
            let why = row.reason.as_deref().unwrap_or("something is wrong with it");
            Err(refused(ErrorKind::Damaged, &format!("is not usable: {why}")))
        }
    }
}
