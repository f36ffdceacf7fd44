//! `orlop log`: what happened, and what happens.

use orlop_api::{Client, EventFilter, WatchFilter};
use orlop_model::{Error, ErrorKind, PoolName, Result, resource::Event};

use super::live::interrupted;
use crate::{
    exit::Exit,
    grammar::{
        identifier::Target,
        resource::{LogArgs, Output},
    },
    output::{
        Console,
        document::{self, Notation},
        table,
    },
};

/// As many events as the daemon gives at once.
const MOST: usize = 1000;

pub(super) async fn run(args: LogArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    let (workspace, volume, pool) = match args.selector.target()? {
        Target::Volume { workspace, name } => (Some(workspace), name, None),
        Target::Workspace(name) => (name, None, None),
        Target::Pool(name) => (None, None, Some(name)),
    };
    if args.tail > MOST {
        let message = format!("--tail {} is more than the {MOST} events a log begins with", args.tail);
        return Err(Error::new(ErrorKind::InvalidArgument, message).hint("say a smaller number"));
    }
    // The daemon can't choose by pool: all its newest events are looked through.
    let limit = if pool.is_some() { MOST } else { args.tail };
    let filter = EventFilter {
        after: None,
        workspace: workspace.clone(),
        volume: volume.clone(),
        limit: Some(u32::try_from(limit).unwrap_or(u32::MAX)),
    };
    let past = client.events(&filter).await?;
    let mut printer = Printer { output: args.format.output, first: true };
    let shown: Vec<&Event> = past.items.iter().filter(|event| concerns(event, pool.as_ref())).collect();
    for event in shown.iter().skip(shown.len().saturating_sub(args.tail)) {
        printer.print(event, console)?;
    }
    if !args.follow {
        if shown.is_empty() {
            console.note("nothing has happened to it yet, or nothing that is still kept");
        }
        return Ok(Exit::Success);
    }
    let filter = WatchFilter { after: Some(past.position), workspace, volume };
    let mut watch = client.watch(&filter).await?;
    while !console.closed() {
        tokio::select! {
            event = watch.next() => {
                let event = event?;
                if concerns(&event, pool.as_ref()) {
                    printer.print(&event, console)?;
                }
            }
            () = interrupted() => break,
        }
    }
    Ok(Exit::Success)
}

/// Whether it is shown: for pools, only theirs.
fn concerns(event: &Event, pool: Option<&Option<PoolName>>) -> bool {
    match pool {
        None => true,
        Some(None) => event.pool.is_some(),
        Some(Some(name)) => event.pool.as_ref() == Some(name),
    }
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
