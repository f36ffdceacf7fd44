//! Snapshots of several volumes at one moment. A group is named where a snapshot is: names are of one or the
//! other.

use orlop_api::{Client, SnapshotGroupRequest};
use orlop_model::{
    Error, ErrorKind, Result, Retain, VolumeName,
    resource::{Outcome, Snapshot},
};

use crate::{
    grammar::snapshot::WhichSnapshot,
    output::{Console, progress},
};

/// Makes one or changes it, and says what was done.
pub(super) async fn create(
    which: &WhichSnapshot,
    volumes: Vec<VolumeName>,
    retain: Option<Retain>,
    pause_writers: bool,
    client: &Client,
    console: &mut Console,
) -> Result<()> {
    if pause_writers {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "a copy of all data takes too long to be of one moment with others",
        )
        .object("--pause-writers")
        .hint("leave it out; or make a snapshot of each volume"));
    }
    let object = format!("snapshot group {}/{}", which.workspace, which.name);
    let request = SnapshotGroupRequest { volumes, retain };
    let request = client.apply_snapshot_group(&which.workspace, &which.name, &request);
    let applied = progress::follow(client, console, &object, request).await?;
    let snapshots = &applied.resource.snapshots;
    let names = snapshots.iter().map(|one| one.manifest.name.as_str()).collect::<Vec<_>>().join(", ");
    console.print(match applied.outcome {
        Outcome::Created => {
            let paused = snapshots.iter().find_map(|one| one.status.paused_millis);
            let paused = paused.map(|millis| format!("; writers were paused for {millis} ms"));
            format!("{object}: created, of one moment: {names}{}", paused.unwrap_or_default())
        }
        Outcome::Configured => format!("{object}: configured ({})", applied.changes.join(", ")),
        Outcome::Unchanged => format!("{object}: unchanged"),
    });
    Ok(())
}

/// The snapshot of that name, or those of the group of that name; and whether it is one.
pub(super) async fn found(which: &WhichSnapshot, client: &Client) -> Result<(Vec<Snapshot>, bool)> {
    match client.snapshot(&which.workspace, &which.name).await {
        Ok(found) => Ok((vec![found], false)),
        Err(error) if error.kind == ErrorKind::NotFound => {
            let group = client.snapshot_group(&which.workspace, &which.name).await;
            group.map(|group| (group.snapshots, true)).map_err(|other| instead(error, other))
        }
        Err(error) => Err(error),
    }
}

/// Deletes the snapshot or the group of that name, and says which it was.
pub(super) async fn delete(which: &WhichSnapshot, client: &Client) -> Result<&'static str> {
    match client.delete_snapshot(&which.workspace, &which.name).await {
        Ok(()) => Ok("snapshot"),
        Err(error) if error.kind == ErrorKind::NotFound => {
            let deleted = client.delete_snapshot_group(&which.workspace, &which.name).await;
            deleted.map(|()| "snapshot group").map_err(|other| instead(error, other))
        }
        Err(error) => Err(error),
    }
}

/// Where there is neither, a snapshot was meant.
fn instead(snapshot: Error, group: Error) -> Error {
    if group.kind == ErrorKind::NotFound { snapshot } else { group }
}
