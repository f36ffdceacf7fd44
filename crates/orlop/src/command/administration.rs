//! Workspaces, mounts of the host, and the state of the daemon.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use orlop_api::{Client, MountRequest, WorkspaceRequest};
use orlop_model::{Error, ErrorKind, MountAccess, Result, WorkspaceName, resource::Outcome};

use super::get::Shape;
use crate::{
    exit::Exit,
    grammar::{
        administration::{MountArgs, UnmountArgs, WorkspaceArg, WorkspaceCommand},
        resource::{Format, Output},
    },
    output::{Console, details, table},
};

/// `orlop workspace …`.
pub(super) async fn workspace(
    command: WorkspaceCommand,
    client: &Client,
    console: &mut Console,
) -> Result<Exit> {
    match command {
        WorkspaceCommand::Create { name, grant, size_limit, volume_limit } => {
            let users: Vec<u32> = grant.iter().filter_map(|user| user.0).collect();
            if !users.is_empty() && users.len() < grant.len() {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    "it can't be granted to users and to none",
                )
                .object("--grant")
                .hint("say --grant none alone, or leave it out"));
            }
            let request = WorkspaceRequest {
                grants: (!grant.is_empty()).then_some(users),
                size_limit: size_limit.map(|limit| limit.0),
                volume_limit: volume_limit.map(|limit| limit.0),
            };
            let applied = client.put_workspace(required(&name)?, &request).await?;
            let name = applied.resource.name;
            console.print(format!(
                "workspace {name}: {}",
                match applied.outcome {
                    Outcome::Created => "created".to_owned(),
                    Outcome::Configured => format!("configured ({})", applied.changes.join(", ")),
                    Outcome::Unchanged => "unchanged".to_owned(),
                }
            ));
        }
        WorkspaceCommand::Get { name, format } => {
            let found = match name.name() {
                Some(name) => vec![client.workspace(name).await?],
                None => client.workspaces().await?,
            };
            let (now, wide) = (Timestamp::now(), format.output == Output::Wide);
            let text = shape(&format, false).show(
                &found,
                name.name().is_some(),
                |all| table::workspaces(console, all, wide, now),
                |one| details::workspace(one, now),
            )?;
            console.print(text);
        }
        WorkspaceCommand::Delete { name } => {
            let name = required(&name)?;
            client.delete_workspace(name).await?;
            console.print(format!("workspace {name}: deleted"));
        }
    }
    Ok(Exit::Success)
}

fn required(name: &WorkspaceArg) -> Result<&WorkspaceName> {
    name.name().ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, "no workspace was named")
            .hint("name it, as in `orlop workspace create team`")
    })
}

pub(super) fn shape(format: &Format, details: bool) -> Shape {
    Shape { output: format.output, details }
}

/// `orlop mount`.
pub(super) async fn mount(args: MountArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    let access = match (args.read_only, args.read_write) {
        (true, _) => MountAccess::ReadOnly,
        (false, true) => MountAccess::ReadWrite,
        (false, false) => MountAccess::ByMode,
    };
    let title = format!("{}/{}", args.workspace, args.name);
    let target = absolute(&args.dir)?;
    let request = MountRequest { workspace: args.workspace, name: args.name, target, access };
    let mounted = client.mount(&request).await?;
    let how = if mounted.read_only { "read-only" } else { "read-write" };
    console.print(format!("volume {title}: mounted on {}, {how}", mounted.target));
    Ok(Exit::Success)
}

/// `orlop unmount`.
pub(super) async fn unmount(args: UnmountArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    let target = absolute(&args.dir)?;
    // Where this program was started in the volume, it would be a user of it by itself.
    let _ = std::env::set_current_dir("/");
    client.unmount(target.as_str()).await?;
    console.print(format!("{target}: unmounted"));
    Ok(Exit::Success)
}

/// The path from the root, by words alone: whether a part of it is a link is for the daemon to see.
pub(super) fn absolute(path: &Path) -> Result<String> {
    let invalid = |why: &str| {
        Error::new(ErrorKind::InvalidArgument, format!("the path {} {why}", path.display()))
            .hint("name an existing directory")
    };
    let absolute = std::path::absolute(path).map_err(|fault| invalid(&format!("can't be used: {fault}")))?;
    // The daemon opens it without `..`, which would be a way around its checks.
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    let text = plain.to_str().ok_or_else(|| invalid("is not UTF-8"))?;
    Ok(text.to_owned())
}

/// `orlop status`.
pub(super) async fn status(client: &Client, console: &mut Console) -> Result<Exit> {
    let version = client.version().await?;
    let readiness = client.readiness().await?;
    console.print(format!("daemon:  {} on {}", version.version, client.socket().display()));
    console.print(format!("node:    {}", version.node));
    console.print(format!("ready:   {}", if readiness.ready { "yes" } else { "no" }));
    for problem in &readiness.problems {
        console.print(format!("         {problem}"));
    }
    if version.version != env!("CARGO_PKG_VERSION") {
        console.warning(
            format!("this program is {}, the daemon {}", env!("CARGO_PKG_VERSION"), version.version),
            "restart the daemon, which unmounts nothing: systemctl restart orlop",
        );
    }
    Ok(if readiness.ready { Exit::Success } else { Exit::NotReady })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_by_words() {
        let here = std::env::current_dir().unwrap();
        for (path, expected) in [
            ("/mnt/data", "/mnt/data".to_owned()),
            ("/mnt//data/", "/mnt/data".to_owned()),
            ("/mnt/./x/../data", "/mnt/data".to_owned()),
            ("data", here.join("data").display().to_string()),
        ] {
            assert_eq!(absolute(Path::new(path)).unwrap(), expected, "{path}");
        }
        assert!(absolute(Path::new("")).is_err());
    }
}
