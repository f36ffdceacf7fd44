//! `orlop apply`: manifests, checked as a whole, then made one by one.

use orlop_api::{ApplyOptions, Client};
use orlop_model::{Error, ErrorKind, Result, VolumeManifest, WorkspaceName, resource::Outcome};

use super::{
    delete,
    live::until_interrupted,
    plan::{self, Plan},
    snapshot,
};
use crate::{
    engines::Known,
    exit::Exit,
    grammar::resource::ApplyArgs,
    output::{Console, plain, progress},
    source::{self, Resource},
};

pub(super) async fn run(args: ApplyArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    let declared = match source::read(&args.files, args.workspace.as_ref(), console)? {
        Ok(declared) => declared,
        Err(exit) => return Ok(exit),
    };
    let set = plan::set(&args.files, &args.pruning)?;
    let mut pruned = Vec::new();
    if args.dry_run || args.pruning.prune {
        let (pruning, workspace) = (&args.pruning, args.workspace.as_ref());
        let plan = Plan::make(&declared.resources, pruning, set.as_deref(), workspace, client).await?;
        plan.show(console);
        if args.dry_run {
            return Ok(plan.exit());
        }
        if !plan.agreed(args.yes, console)? {
            console.note("nothing was changed");
            return Ok(Exit::Interrupted);
        }
        pruned = plan.pruned;
    }
    let options = ApplyOptions { create_workspace: false, set };
    let mut exit = Exit::Success;
    let mut applied = Vec::new();
    let mut interrupted = None;
    for resource in declared.resources {
        let title = match &resource {
            Resource::Other(other) => {
                console.print(other.to_string());
                continue;
            }
            Resource::Volume { workspace, manifest } => format!("volume {workspace}/{}", manifest.name),
            Resource::Snapshot { workspace, manifest } => format!("snapshot {workspace}/{}", manifest.name),
        };
        if args.lint {
            console.print(format!("{title}: valid"));
            continue;
        }
        let done = match resource {
            Resource::Other(_) => Ok(()),
            Resource::Snapshot { workspace, manifest } => {
                snapshot::apply(&workspace, &manifest, false, client, console).await
            }
            Resource::Volume { workspace, manifest } => {
                volume(&workspace, &manifest, &options, client, console)
                    .await
                    .map(|()| applied.push((workspace, manifest.name)))
            }
        };
        match done {
            Ok(()) => {}
            // The others would hear the same; engines too.
            Err(error) if error.kind == ErrorKind::Unreachable => return Err(error),
            Err(error) if error.kind == ErrorKind::Interrupted => {
                interrupted = Some(error);
                break;
            }
            Err(error) => {
                exit = exit.and(error.kind.into());
                console.error(&refused(title, error));
            }
        }
    }
    let register = !args.registration.no_register;
    if register {
        let registered =
            async { Known::of(client.socket(), &applied).await.register(&applied, console).await };
        until_interrupted(registered).await.ok_or_else(left)?;
    }
    if let Some(error) = interrupted {
        return Err(error);
    }
    if !pruned.is_empty() && exit != Exit::Success {
        console.warning("nothing was pruned, as not all was applied", "mend that, and apply again");
        return Ok(exit);
    }
    let pruned: Vec<_> = pruned.into_iter().map(|volume| (volume.workspace, volume.manifest.name)).collect();
    if pruned.is_empty() {
        return Ok(exit);
    }
    until_interrupted(delete::delete(pruned, false, register, client, console)).await.ok_or_else(left)?
}

fn left() -> Error {
    Error::new(ErrorKind::Interrupted, "not all was done: interrupted")
        .hint("apply again; what is done stays")
}

async fn volume(
    workspace: &WorkspaceName,
    manifest: &VolumeManifest,
    options: &ApplyOptions,
    client: &Client,
    console: &mut Console,
) -> Result<()> {
    let object = format!("volume {workspace}/{}", manifest.name);
    let applied =
        progress::follow(client, console, &object, client.apply(workspace, manifest, options)).await?;
    let title = applied.resource.title();
    console.print(match applied.outcome {
        Outcome::Created => format!("volume {title}: created"),
        Outcome::Configured => format!("volume {title}: configured ({})", applied.changes.join(", ")),
        Outcome::Unchanged => format!("volume {title}: unchanged"),
    });
    if applied.outcome != Outcome::Unchanged {
        for note in &applied.resource.status.notes {
            console.print(format!("  note: {}", plain(note)));
        }
    }
    Ok(())
}

/// The error, with the name of the resource where it doesn't say it.
fn refused(title: String, mut error: Error) -> Error {
    error.message = format!("{title} was not applied: {}", error.message);
    if error.object.as_ref() == Some(&title) {
        error.object = None;
    }
    error
}
