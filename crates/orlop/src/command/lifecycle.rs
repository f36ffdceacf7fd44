//! `orlop undelete`, `orlop purge` and `orlop rename`.

use jiff::{SignedDuration, Timestamp};
use orlop_api::{Client, RenameRequest, UndeleteRequest, VolumeFilter};
use orlop_model::{
    Error, ErrorKind, Period, Result,
    resource::{Deletion, Outcome, Volume, VolumeState},
};

use crate::{
    engines::Known,
    exit::Exit,
    grammar::lifecycle::{PurgeArgs, RenameArgs, UndeleteArgs},
    output::{
        Console, quantity,
        table::{self, Columns},
    },
};

/// `orlop undelete`.
pub(super) async fn undelete(args: UndeleteArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    let request = UndeleteRequest { name: args.new_name };
    let done = match (&args.id, &args.name) {
        (Some(id), _) => client.undelete_by_id(*id, &request).await?,
        (None, Some(name)) => client.undelete(&args.workspace, name, &request).await?,
        (None, None) => return Err(nothing_named("undelete")),
    };
    let volume = done.resource;
    let title = volume.title();
    console.print(match done.outcome {
        Outcome::Created | Outcome::Configured => format!("volume {title}: back, with the data it had"),
        Outcome::Unchanged => format!("volume {title}: not deleted, nothing to do"),
    });
    if !args.registration.no_register {
        let key = [(volume.workspace, volume.manifest.name)];
        Known::of(client.socket(), &key).await.register(&key, console).await;
    }
    Ok(Exit::Success)
}

/// `orlop purge`.
pub(super) async fn purge(args: PurgeArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    let now = Timestamp::now();
    let found = doomed(&args, client, now).await?;
    if found.is_empty() {
        console.note("nothing that was deleted matches: nothing is destroyed");
        return Ok(Exit::Success);
    }
    if !args.yes {
        let columns = Columns { released: true, ..Columns::default() };
        let table = table::volumes(console, &found, columns, now);
        console.print(table);
        let size =
            found.iter().map(|volume| volume.manifest.volume.size.bytes()).fold(0, u64::saturating_add);
        let (count, size) = (found.len(), quantity::bytes(size));
        let what = if count == 1 { "this volume" } else { "these volumes" };
        if !console.confirm(&format!("destroy the data of {what} ({count}, {size}), for good?"))? {
            console.note("nothing was destroyed");
            return Ok(Exit::Interrupted);
        }
    }
    let mut exit = Exit::Success;
    for volume in found {
        let title = format!("released volume {} ({})", volume.title(), volume.status.id);
        match client.purge(volume.status.id).await {
            Ok(purged) => console.print(match purged.deletion {
                Deletion::Destroyed | Deletion::Released => format!("{title}: purged, its data is destroyed"),
                Deletion::Deleting => format!("{title}: goes when nobody holds it any more"),
            }),
            Err(error) if error.kind == ErrorKind::Unreachable => return Err(error),
            // Somebody else was faster, or its retention was over.
            Err(error) if error.kind == ErrorKind::NotFound => {
                console.print(format!("{title}: already gone"));
            }
            Err(error) => {
                exit = exit.and(error.kind.into());
                console.error(&error);
            }
        }
    }
    Ok(exit)
}

/// What is to be destroyed.
async fn doomed(args: &PurgeArgs, client: &Client, now: Timestamp) -> Result<Vec<Volume>> {
    if let Some(id) = args.id {
        let volume = client.volume_by_id(id).await?;
        return match volume.status.state {
            VolumeState::Released | VolumeState::Deleting => Ok(vec![volume]),
            VolumeState::Pending | VolumeState::Active | VolumeState::Error => Err(Error::new(
                ErrorKind::Conflict,
                format!("volume {} is not deleted: only what was deleted is purged", volume.title()),
            )
            .hint(format!("orlop delete -n {} -w {}", volume.manifest.name, volume.workspace))),
        };
    }
    let own = rustix::process::geteuid().as_raw();
    let filter = VolumeFilter {
        workspace: Some(args.workspace.clone()),
        name: args.name.clone(),
        owner_uid: (args.all && own != 0).then_some(own),
        released: true,
        ..VolumeFilter::default()
    };
    let mut found = client.all_volumes(&filter).await?;
    if found.is_empty() {
        // A workspace that is not there is an error, not an empty one.
        client.workspace(&args.workspace).await?;
    }
    match args.older_than {
        None => {}
        Some(Period::Never) => found.clear(),
        Some(Period::After(seconds)) => {
            let age = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            found.retain(|volume| volume.status.deleted_at.is_some_and(|at| now.duration_since(at) >= age));
        }
    }
    Ok(found)
}

/// `orlop rename`.
pub(super) async fn rename(args: RenameArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    let old = [(args.workspace.clone(), args.name.clone())];
    let mut forget: Vec<_> = args.forget.iter().map(|engine| engine.front()).collect();
    let known = if args.registration.no_register {
        None
    } else {
        // An engine whose plugin is away answers late; without the daemon it need not be asked.
        client.version().await?;
        let known = Known::of(client.socket(), &old).await;
        let users = known.containers(&old[0]).await?;
        if !users.is_empty() {
            return Err(Error::new(
                ErrorKind::InUse,
                format!(
                    "volume {}/{} is known by its name to {}",
                    args.workspace,
                    args.name,
                    users.join(", ")
                ),
            )
            .object(format!("volume {}/{}", args.workspace, args.name))
            .hint("remove those containers, also the stopped ones, and make them anew with the new name"));
        }
        forget.extend(known.answering());
        Some(known)
    };
    let request = RenameRequest { name: args.to, forget };
    let done = client.rename(&args.workspace, &args.name, &request).await?;
    let volume = done.resource;
    console.print(match done.outcome {
        Outcome::Created | Outcome::Configured => {
            format!("volume {}/{}: renamed to {}", args.workspace, args.name, volume.manifest.name)
        }
        Outcome::Unchanged => format!("volume {}: unchanged", volume.title()),
    });
    if let Some(known) = known.filter(|_| done.outcome != Outcome::Unchanged) {
        known.deregister(&old, console).await;
        let new = [(volume.workspace, volume.manifest.name)];
        Known::of(client.socket(), &new).await.register(&new, console).await;
    }
    Ok(Exit::Success)
}

fn nothing_named(verb: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("nothing to {verb} was named"))
        .hint("name it with -n or --id")
}
