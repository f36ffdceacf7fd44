//! `orlop snapshot`: making, showing and deleting snapshots, and putting a volume back to one. Those of
//! several volumes at one moment are in `group`.

mod group;

use jiff::Timestamp;
use orlop_api::{Client, SnapshotFilter, SnapshotOptions, VolumeFilter};
use orlop_model::{
    Error, ErrorKind, Result, Retain, SnapshotManifest, VolumeName, WorkspaceName,
    resource::{Consistency, Outcome, Snapshot},
};

use super::get::{Shape, escaped};
use crate::{
    exit::Exit,
    grammar::{
        resource::Output,
        snapshot::{SnapshotCommand, WhichSnapshot},
    },
    output::{Console, details, progress, table},
};

pub(super) async fn run(command: SnapshotCommand, client: &Client, console: &mut Console) -> Result<Exit> {
    let now = Timestamp::now();
    match command {
        SnapshotCommand::Create { which, volume, retain, pause_writers } => {
            match <[_; 1]>::try_from(volume) {
                Ok([volume]) => match group::found(&which, client).await {
                    // Of one volume, since the pools of the others were exported.
                    Ok((_, true)) => {
                        group::create(&which, vec![volume], retain, pause_writers, client, console).await?;
                    }
                    found => {
                        let manifest = manifest(&which, volume, retain, found)?;
                        apply(&which.workspace, &manifest, pause_writers, client, console).await?;
                    }
                },
                Err(volumes) => {
                    group::create(&which, volumes, retain, pause_writers, client, console).await?
                }
            }
        }
        SnapshotCommand::List { workspace, all, volume, format } => {
            let filter = SnapshotFilter {
                workspace: (!all).then(|| workspace.clone()),
                volume,
                ..SnapshotFilter::default()
            };
            let found = client.all_snapshots(&filter).await?;
            if found.is_empty() && !all {
                // A workspace that is not there is an error, not an empty one.
                client.workspace(&workspace).await?;
            }
            if found.is_empty()
                && let Some(volume) = &filter.volume
            {
                require_volume((!all).then_some(&workspace), volume, client).await?;
            }
            let people = format.output.is_for_people();
            if found.is_empty() && people {
                let of = filter.volume.as_ref().map_or_else(String::new, |name| format!(" of volume {name}"));
                let place = if all { String::new() } else { format!(" in workspace {workspace}") };
                console.note(&format!("no snapshots{of}{place}"));
                return Ok(Exit::Success);
            }
            let wide = format.output == Output::Wide;
            let shape = Shape { output: format.output, details: false };
            let text = shape.show(
                &shown(found, people),
                false,
                |all| table::snapshots(console, all, wide, now),
                |one| details::snapshot(one, now),
            )?;
            console.print(text);
        }
        SnapshotCommand::Show { which, format } => {
            let (found, group) = group::found(&which, client).await?;
            let people = format.output.is_for_people();
            let wide = format.output == Output::Wide;
            let text = Shape { output: format.output, details: !wide && !group }.show(
                &shown(found, people),
                !group,
                |all| table::snapshots(console, all, wide, now),
                |one| details::snapshot(one, now),
            )?;
            console.print(text);
        }
        SnapshotCommand::Delete { which } => {
            let what = group::delete(&which, client).await?;
            console.print(format!("{what} {}/{}: deleted", which.workspace, which.name));
        }
        SnapshotCommand::Restore { which } => {
            let snapshot = client.snapshot(&which.workspace, &which.name).await?;
            let object = format!("volume {}/{}", which.workspace, snapshot.manifest.snapshot.volume);
            let request = client.restore(&which.workspace, &which.name);
            let restored = progress::follow(client, console, &object, request).await?;
            console.print(format!("{object}: put back to snapshot {}", snapshot.title()));
            console.note(&format!(
                "what was in it is kept: orlop snapshot restore -n {0} -w {1} takes it back, orlop snapshot delete -n {0} -w {1} drops it",
                restored.before, which.workspace
            ));
            for note in &restored.notes {
                console.note(note);
            }
        }
    }
    Ok(Exit::Success)
}

/// A volume that is not there is an error, not one without snapshots.
async fn require_volume(workspace: Option<&WorkspaceName>, name: &VolumeName, client: &Client) -> Result<()> {
    let Some(workspace) = workspace else {
        let filter = VolumeFilter { name: Some(name.clone()), ..VolumeFilter::default() };
        if client.all_volumes(&filter).await?.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no volume {name} in any workspace"),
            )
            .object(format!("volume {name}"))
            .hint("orlop get -t volume -A -a lists the volumes"));
        }
        return Ok(());
    };
    client.volume(workspace, name).await.map(drop)
}

/// What a command line says; of a snapshot that is there, the rest stays.
fn manifest(
    which: &WhichSnapshot,
    volume: VolumeName,
    retain: Option<Retain>,
    found: Result<(Vec<Snapshot>, bool)>,
) -> Result<SnapshotManifest> {
    let found = match found {
        Ok((mut found, _)) => found.pop().map(|found| found.manifest),
        Err(error) if error.kind == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut manifest =
        found.unwrap_or_else(|| SnapshotManifest::new(which.name.clone(), volume.clone(), Retain::Forever));
    manifest.snapshot.volume = volume;
    if let Some(retain) = retain {
        manifest.snapshot.retain = retain;
    }
    Ok(manifest)
}

/// Makes a snapshot or changes it, and says what was done.
pub(super) async fn apply(
    workspace: &WorkspaceName,
    manifest: &SnapshotManifest,
    pause_writers: bool,
    client: &Client,
    console: &mut Console,
) -> Result<()> {
    let object = format!("snapshot {workspace}/{}", manifest.name);
    let options = SnapshotOptions { pause_writers };
    let request = client.apply_snapshot(workspace, manifest, &options);
    let applied = progress::follow(client, console, &object, request).await?;
    console.print(match applied.outcome {
        Outcome::Created => {
            let how = match applied.resource.status.consistency {
                Consistency::Detached => "which was not in use",
                Consistency::Filesystem => "which is in use",
                Consistency::Crash => "which is in use as a block device",
            };
            let paused = paused(&applied.resource);
            format!("{object}: created of volume {}, {how}{paused}", manifest.snapshot.volume)
        }
        Outcome::Configured => format!("{object}: configured ({})", applied.changes.join(", ")),
        Outcome::Unchanged => format!("{object}: unchanged"),
    });
    Ok(())
}

/// For how long writers were paused, where they were.
fn paused(made: &Snapshot) -> String {
    let words = |millis| format!("; its writers were paused for {millis} ms");
    made.status.paused_millis.map(words).unwrap_or_default()
}

/// For programs, in the form in which apply reads them back.
fn shown(mut snapshots: Vec<Snapshot>, people: bool) -> Vec<Snapshot> {
    for Snapshot { manifest, .. } in snapshots.iter_mut().filter(|_| !people) {
        escaped(&mut manifest.description, &mut manifest.owner, &mut manifest.tags);
    }
    snapshots
}
