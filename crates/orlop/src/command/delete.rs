//! `orlop delete`: resources by name, or by the manifests that declared them.

use orlop_api::{Client, DeleteOptions};
use orlop_model::{Error, ErrorKind, Result, SnapshotName, VolumeName, WorkspaceName, resource::Deletion};

use super::flag_is_for_volumes;
use crate::{
    engines::Known,
    exit::Exit,
    grammar::{identifier::Target, resource::DeleteArgs},
    output::Console,
    source::{self, Resource},
};

pub(super) async fn run(args: DeleteArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    let files = &args.files;
    let mut forgotten = Vec::new();
    let volumes = if files.manifest_file.is_empty() {
        for (flag, given) in
            [("-R", files.recursive), ("--disable-interpolation", files.disable_interpolation)]
        {
            if given {
                return Err(Error::new(ErrorKind::InvalidArgument, format!("{flag} is for manifests"))
                    .object(flag)
                    .hint("leave it out, or name manifests with -f"));
            }
        }
        match args.selector.target()? {
            Target::Volume { workspace, name: Some(name) } => vec![(workspace, name)],
            Target::Workspace(Some(name)) => {
                if args.force {
                    return Err(flag_is_for_volumes("--force"));
                }
                client.delete_workspace(&name).await?;
                console.print(format!("workspace {name}: deleted"));
                return Ok(Exit::Success);
            }
            Target::Pool(Some(name)) => {
                if args.force {
                    return Err(flag_is_for_volumes("--force"));
                }
                client.delete_pool(&name).await?;
                console.print(format!("pool {name}: removed"));
                return Ok(Exit::Success);
            }
            Target::Volume { name: None, .. } | Target::Workspace(None) | Target::Pool(None) => {
                return Err(Error::new(ErrorKind::InvalidArgument, "nothing to delete was named")
                    .hint("name it with -n, -i, --id or -f"));
            }
        }
    } else {
        match source::read(files, args.selector.workspace.as_ref(), console)? {
            Ok(declared) => {
                let (volumes, snapshots) = named(declared.resources, console);
                forgotten = snapshots;
                volumes
            }
            Err(exit) => return Ok(exit),
        }
    };

    let mut exit = Exit::Success;
    for (workspace, name) in forgotten {
        match client.delete_snapshot(&workspace, &name).await {
            Ok(()) => console.print(format!("snapshot {workspace}/{name}: deleted")),
            Err(error) if error.kind == ErrorKind::Unreachable => return Err(error),
            Err(error) => {
                exit = exit.and(error.kind.into());
                console.error(&error);
            }
        }
    }
    Ok(exit.and(delete(volumes, args.force, !args.registration.no_register, client, console).await?))
}

/// Deletes volumes, and tells engines so.
pub(super) async fn delete(
    volumes: Vec<(WorkspaceName, VolumeName)>,
    force: bool,
    register: bool,
    client: &Client,
    console: &mut Console,
) -> Result<Exit> {
    let known = if register {
        // An engine whose plugin is away answers late; without the daemon it need not be asked.
        client.version().await?;
        Some(Known::of(client.socket(), &volumes).await)
    } else {
        None
    };
    let mut exit = Exit::Success;
    let (mut gone, mut going) = (Vec::new(), Vec::new());
    for (workspace, name) in volumes {
        match client.delete_volume(&workspace, &name, &DeleteOptions { force }).await {
            Ok(deleted) => {
                console.print(told(&workspace, &name, deleted.deletion));
                match deleted.deletion {
                    Deletion::Destroyed | Deletion::Released => gone.push((workspace, name)),
                    // Its users are containers of the engines: they still have to know it.
                    Deletion::Deleting => going.push((workspace, name)),
                }
            }
            Err(error) if error.kind == ErrorKind::Unreachable => return Err(error),
            Err(error) => {
                exit = exit.and(error.kind.into());
                console.error(&error);
            }
        }
    }
    if let Some(known) = known {
        known.deregister(&gone, console).await;
        known.warn_of_kept(&going, console);
    }
    Ok(exit)
}

type Named<T> = Vec<(WorkspaceName, T)>;

/// The volumes and the snapshots among the resources; the others are reported.
fn named(resources: Vec<Resource>, console: &mut Console) -> (Named<VolumeName>, Named<SnapshotName>) {
    let (mut volumes, mut snapshots) = (Vec::new(), Vec::new());
    for resource in resources {
        match resource {
            Resource::Volume { workspace, manifest } => volumes.push((workspace, manifest.name)),
            Resource::Snapshot { workspace, manifest } => snapshots.push((workspace, manifest.name)),
            Resource::Other(other) => console.print(other.to_string()),
        }
    }
    (volumes, snapshots)
}

fn told(workspace: &WorkspaceName, name: &VolumeName, deletion: Deletion) -> String {
    let title = format!("volume {workspace}/{name}");
    match deletion {
        Deletion::Destroyed => format!("{title}: deleted, its data is destroyed"),
        Deletion::Released => format!(
            "{title}: deleted, its data is retained: orlop undelete -n {name} -w {workspace} brings it back"
        ),
        Deletion::Deleting => format!(
            "{title}: deleting, it goes when its last user has gone: orlop get -t volume -n {name} -w {workspace} -d"
        ),
    }
}
