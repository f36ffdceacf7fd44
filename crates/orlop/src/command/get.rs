//! `orlop get`: resources as a table, in detail, or as documents; once or live.

use std::collections::HashMap;

use jiff::Timestamp;
use orlop_api::{Client, VolumeFilter, WatchFilter};
use orlop_model::{Error, ErrorKind, Result, VolumeName, WorkspaceName, manifest, resource::Volume};
use serde::Serialize;

use super::{
    flag_is_for_volumes,
    live::{Changes, until_interrupted},
    schedule,
};
use crate::{
    engines::Known,
    exit::Exit,
    grammar::{
        identifier::Target,
        resource::{GetArgs, Output},
    },
    output::{
        Console, details,
        document::{self, Notation},
        table::{self, Columns},
    },
};

pub(super) async fn run(args: GetArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    let target = args.selector.target()?;
    if !matches!(target, Target::Volume { .. }) {
        for (flag, given) in [
            ("--released", args.released),
            ("--tag", !args.tag.is_empty()),
            ("--tags", args.tags),
            ("--all-workspaces", args.all_workspaces),
        ] {
            if given {
                return Err(flag_is_for_volumes(flag));
            }
        }
    }
    if !args.refresh {
        let view = view(&args, &target, client, console).await?;
        console.print(view.text);
        if let Some(note) = view.note {
            console.note(&note);
        }
        if args.format.output == Output::Wide {
            Known::of(client.socket(), &view.volumes).await.warn_of_others(&view.volumes, console);
        }
        return Ok(Exit::Success);
    }
    match args.format.output {
        Output::Table | Output::Wide => {}
        Output::Json | Output::Yaml => {
            return Err(Error::new(ErrorKind::InvalidArgument, "a live view is a table or details")
                .object("--refresh")
                .hint("for programs, follow `orlop log -o json -f`"));
        }
    }
    until_interrupted(live(&args, &target, client, console)).await.unwrap_or(Ok(()))?;
    Ok(Exit::Success)
}

/// Draws it anew with every change, until nobody reads it any more.
async fn live(args: &GetArgs, target: &Target, client: &Client, console: &mut Console) -> Result<()> {
    let workspace = match target {
        Target::Volume { workspace, .. } if !args.all_workspaces => Some(workspace.clone()),
        Target::Volume { .. } | Target::Workspace(_) | Target::Pool(_) => None,
    };
    let filter = WatchFilter { workspace, ..WatchFilter::default() };
    let mut changes = Changes::open(client, filter).await?;
    let mut first = true;
    loop {
        let view = view(args, target, client, console).await?;
        let text = if view.text.is_empty() { view.note.unwrap_or_default() } else { view.text };
        console.redraw(&text, first);
        first = false;
        if console.closed() {
            return Ok(());
        }
        changes.wait().await?;
    }
}

/// What there is to show.
#[derive(Default)]
struct View {
    text: String,
    /// Why there is nothing, if so.
    note: Option<String>,
    /// The volumes shown.
    volumes: Vec<(WorkspaceName, VolumeName)>,
}

async fn view(args: &GetArgs, target: &Target, client: &Client, console: &Console) -> Result<View> {
    let now = Timestamp::now();
    let shape = Shape { output: args.format.output, details: args.details };
    let wide = args.format.output == Output::Wide;
    match target {
        Target::Volume { workspace, name } => {
            let found = volumes(args, workspace, name.as_ref(), client).await?;
            if found.is_empty() {
                return nothing(args, workspace, name.as_ref(), shape, client).await;
            }
            // A released name may have been used more than once.
            let single = name.is_some() && found.len() == 1;
            let columns = Columns { wide, tags: args.tags, released: args.released };
            let last = if args.details { schedule::last(&found, client).await? } else { HashMap::new() };
            let text = match shape.output {
                Output::Table | Output::Wide => shape.people(
                    &found,
                    |all| table::volumes(console, all, columns, now),
                    |one| details::volume(one, last.get(&one.status.id), now),
                ),
                Output::Json | Output::Yaml => {
                    let escaped: Vec<Volume> = found.iter().cloned().map(appliable).collect();
                    shape.programs(&escaped, single)?
                }
            };
            let live = found.into_iter().filter(|_| !args.released);
            let volumes = live.map(|volume| (volume.workspace, volume.manifest.name)).collect();
            Ok(View { text, note: None, volumes })
        }
        Target::Workspace(name) => {
            let found = match name {
                Some(name) => vec![client.workspace(name).await?],
                None => client.workspaces().await?,
            };
            let text = shape.show(
                &found,
                name.is_some(),
                |all| table::workspaces(console, all, wide, now),
                |one| details::workspace(one, now),
            )?;
            Ok(View { text, ..View::default() })
        }
        Target::Pool(name) => {
            let found = match name {
                Some(name) => vec![client.pool(name).await?],
                None => client.pools().await?,
            };
            let text = shape.show(
                &found,
                name.is_some(),
                |all| table::pools(console, all, wide, now),
                |one| details::pool(one, now),
            )?;
            Ok(View { text, ..View::default() })
        }
    }
}

async fn volumes(
    args: &GetArgs,
    workspace: &WorkspaceName,
    name: Option<&VolumeName>,
    client: &Client,
) -> Result<Vec<Volume>> {
    if let Some(name) = name
        && !args.released
        && args.tag.is_empty()
    {
        return Ok(vec![client.volume(workspace, name).await?]);
    }
    let own = rustix::process::geteuid().as_raw();
    let filter = VolumeFilter {
        workspace: (!args.all_workspaces).then(|| workspace.clone()),
        name: name.cloned(),
        owner_uid: if args.all || name.is_some() { None } else { Some(own) },
        tags: args.tag.clone(),
        released: args.released,
        ..VolumeFilter::default()
    };
    client.all_volumes(&filter).await
}

/// An empty list, and why it is empty.
async fn nothing(
    args: &GetArgs,
    workspace: &WorkspaceName,
    name: Option<&VolumeName>,
    shape: Shape,
    client: &Client,
) -> Result<View> {
    if !args.all_workspaces {
        // A workspace that is not there is an error, not an empty one.
        client.workspace(workspace).await?;
    }
    let (kind, flag) = if args.released { ("released volume", " --released") } else { ("volume", "") };
    let tagged =
        if args.tag.is_empty() { String::new() } else { format!(" with tag {}", args.tag.join(", ")) };
    if let Some(name) = name {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("there is no {kind} {workspace}/{name}{tagged}"),
        )
        .hint(format!("see them all with `orlop get -t volume -w {workspace} -a{flag}`")));
    }
    let whose = if args.all { "" } else { " of yours" };
    let hint = if args.all { "" } else { "; -a shows those of all owners" };
    let text = match shape.output {
        Output::Table | Output::Wide | Output::Yaml => String::new(),
        Output::Json => document::many::<Volume>(&[], Notation::Json)?,
    };
    let place = if args.all_workspaces { String::new() } else { format!(" in workspace {workspace}") };
    let note = format!("no {kind}s{whose}{tagged}{place}{hint}");
    Ok(View { text, note: Some(note), volumes: Vec::new() })
}

/// The volume in the form in which apply reads it back: with `$` written so that it stays one.
pub(super) fn appliable(mut volume: Volume) -> Volume {
    let manifest = &mut volume.manifest;
    escaped(&mut manifest.description, &mut manifest.owner, &mut manifest.tags);
    volume
}

/// The free texts of a manifest with `$` written so that it stays one.
pub(super) fn escaped(description: &mut Option<String>, owner: &mut Option<String>, tags: &mut [String]) {
    for text in [description, owner].into_iter().flatten().chain(tags) {
        *text = manifest::escape(text);
    }
}

/// How resources of any type are shown.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) output: Output,
    pub(super) details: bool,
}

impl Shape {
    /// Them, in the shape asked for. `single` says that one was named.
    pub(super) fn show<T: Serialize>(
        self,
        found: &[T],
        single: bool,
        table: impl Fn(&[T]) -> String,
        details: impl Fn(&T) -> String,
    ) -> Result<String> {
        match self.output {
            Output::Table | Output::Wide => Ok(self.people(found, table, details)),
            Output::Json | Output::Yaml => self.programs(found, single),
        }
    }

    fn people<T>(
        self,
        found: &[T],
        table: impl Fn(&[T]) -> String,
        details: impl Fn(&T) -> String,
    ) -> String {
        if self.details {
            return found.iter().map(details).collect::<Vec<_>>().join("\n");
        }
        table(found)
    }

    pub(super) fn programs<T: Serialize>(self, found: &[T], single: bool) -> Result<String> {
        let notation = if self.output == Output::Yaml { Notation::Yaml } else { Notation::Json };
        match found {
            [one] if single => document::one(one, notation),
            all => document::many(all, notation),
        }
    }
}
