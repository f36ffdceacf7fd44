//! `orlop events` and `orlop log`: what happened, and what happens.

use orlop_api::{Client, EventFilter, WatchFilter};
use orlop_model::{
    Error, ErrorKind, PoolName, Result, VolumeName, WorkspaceName,
    resource::{Event, Severity},
};

use super::live::until_interrupted;
use crate::{
    exit::Exit,
    grammar::{
        identifier::Target,
        observation::EventsArgs,
        resource::{LogArgs, Output, Stream},
    },
    output::{
        Console,
        document::{self, Notation},
        table,
    },
};

/// As many events as the daemon gives at once.
const MOST: usize = 1000;

/// What events are to be about.
#[derive(Default)]
struct Scope {
    workspace: Option<WorkspaceName>,
    volume: Option<VolumeName>,
    pool: Option<PoolName>,
    severity: Option<Severity>,
    /// Only those of some pool, whichever it is.
    any_pool: bool,
}

/// `orlop events`: everything, unless less is asked for.
pub(super) async fn events(args: EventsArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    // A volume's name means nothing without a workspace.
    let usual = args.name.is_some().then(WorkspaceName::public);
    let scope = Scope {
        workspace: args.workspace.or(usual),
        volume: args.name,
        pool: args.pool,
        severity: args.severity.map(Into::into),
        any_pool: false,
    };
    show(scope, &args.stream, client, console).await
}

/// `orlop log`: of one resource, or of those of one type.
pub(super) async fn log(args: LogArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    let scope = match args.selector.target()? {
        Target::Volume { workspace, name } => {
            Scope { workspace: Some(workspace), volume: name, ..Scope::default() }
        }
        Target::Workspace(name) => Scope { workspace: name, ..Scope::default() },
        Target::Pool(name) => Scope { any_pool: name.is_none(), pool: name, ..Scope::default() },
    };
    show(scope, &args.stream, client, console).await
}

async fn show(scope: Scope, stream: &Stream, client: &Client, console: &mut Console) -> Result<Exit> {
    if stream.tail > MOST {
        let message = format!("--tail {} is more than the {MOST} events a log begins with", stream.tail);
        return Err(Error::new(ErrorKind::InvalidArgument, message).hint("say a smaller number"));
    }
    let Scope { workspace, volume, pool, severity, any_pool } = scope;
    // The daemon can't choose those: all its newest events are looked through.
    let limit = if any_pool { MOST } else { stream.tail };
    let filter = EventFilter {
        after: None,
        workspace: workspace.clone(),
        volume: volume.clone(),
        pool: pool.clone(),
        severity,
        limit: Some(u32::try_from(limit).unwrap_or(u32::MAX)),
    };
    let past = client.events(&filter).await?;
    let concerns = |event: &Event| !any_pool || event.pool.is_some();
    let mut printer = Printer { output: stream.format.output, first: true };
    let shown: Vec<&Event> = past.items.iter().filter(|event| concerns(event)).collect();
    for event in shown.iter().skip(shown.len().saturating_sub(stream.tail)) {
        printer.print(event, console)?;
    }
    if !stream.follow {
        if shown.is_empty() {
            console.note("nothing has happened to it yet, or nothing that is still kept");
        }
        return Ok(Exit::Success);
    }
    let filter = WatchFilter { after: Some(past.position), workspace, volume, pool, severity };
    let live = async {
        let mut watch = client.watch(&filter).await?;
        while !console.closed() {
            let event = watch.next().await?;
            if concerns(&event) {
                printer.print(&event, console)?;
            }
        }
        Ok(Exit::Success)
    };
    until_interrupted(live).await.unwrap_or(Ok(Exit::Success))
}

struct Printer {
    output: Output,
    first: bool,
}

impl Printer {
    fn print(&mut self, event: &Event, console: &mut Console) -> Result<()> {
        let first = std::mem::take(&mut self.first);
        console.print(match self.output {
            Output::Table => table::event(event, false),
            Output::Wide => table::event(event, true),
            // A line an event: they have no end.
            Output::Json => document::line(event)?,
            Output::Yaml if first => document::one(event, Notation::Yaml)?,
            Output::Yaml => format!("---\n{}", document::one(event, Notation::Yaml)?),
        });
        Ok(())
    }
}
