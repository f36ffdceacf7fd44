//! `orlop events` and `orlop log`: what happened, and what happens.

use jiff::Timestamp;
use orlop_api::{Client, EventFilter, VolumeFilter, WatchFilter};
use orlop_model::{
    Error, ErrorKind, PoolName, Result, VolumeName, WorkspaceName,
    resource::{Event, Severity},
};

use super::live::until_interrupted;
use crate::{
    exit::Exit,
    grammar::{
        identifier::Target,
        observation::{EventsArgs, Stream},
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
/// How many are shown where nothing is said.
const USUAL: usize = 100;
/// The same where what comes is shown behind them, as `tail -f` does.
const BEFORE: usize = 10;

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

impl Scope {
    /// What is asked of the daemon.
    fn filter(&self, limit: usize) -> EventFilter {
        EventFilter {
            after: None,
            workspace: self.workspace.clone(),
            volume: self.volume.clone(),
            pool: self.pool.clone(),
            severity: self.severity,
            limit: Some(u32::try_from(limit).unwrap_or(u32::MAX)),
        }
    }

    /// Of a name of which nothing is known there is no empty log. What is gone may have events still,
    /// also where none of them was asked for.
    async fn require_known(&self, client: &Client) -> Result<()> {
        if let (Some(workspace), Some(name)) = (&self.workspace, &self.volume) {
            let told =
                Self { workspace: Some(workspace.clone()), volume: Some(name.clone()), ..Self::default() };
            let there = client.volume(workspace, name).await.map(drop);
            let there = told.or_told(there, client).await;
            or_released(there, workspace, name, client).await?;
        } else if let Some(workspace) = &self.workspace {
            let told = Self { workspace: Some(workspace.clone()), ..Self::default() };
            told.or_told(client.workspace(workspace).await.map(drop), client).await?;
        }
        if let Some(pool) = &self.pool {
            let told = Self { pool: Some(pool.clone()), ..Self::default() };
            told.or_told(client.pool(pool).await.map(drop), client).await?;
        }
        Ok(())
    }

    /// Forgives that it is not there where it has an event.
    async fn or_told(&self, there: Result<()>, client: &Client) -> Result<()> {
        match there {
            Err(error) if error.kind == ErrorKind::NotFound => {
                let told = client.events(&self.filter(1)).await?;
                if told.items.is_empty() { Err(error) } else { Ok(()) }
            }
            there => there,
        }
    }
}

/// Forgives that a volume is not there where its data is.
async fn or_released(
    there: Result<()>,
    workspace: &WorkspaceName,
    name: &VolumeName,
    client: &Client,
) -> Result<()> {
    match there {
        Err(error) if error.kind == ErrorKind::NotFound => {
            let filter = VolumeFilter {
                workspace: Some(workspace.clone()),
                name: Some(name.clone()),
                released: true,
                ..VolumeFilter::default()
            };
            if client.all_volumes(&filter).await?.is_empty() { Err(error) } else { Ok(()) }
        }
        there => there,
    }
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
    let tail = match (stream.tail, stream.since, stream.follow) {
        (Some(tail), _, _) => tail,
        (None, Some(_), _) => MOST,
        (None, None, true) => BEFORE,
        (None, None, false) => USUAL,
    };
    if tail > MOST {
        let message = format!("--tail {tail} is more than the {MOST} events a log begins with");
        return Err(Error::new(ErrorKind::InvalidArgument, message).hint("say a smaller number"));
    }
    let since = stream.since.map(|since| since.before(Timestamp::now()));
    // The daemon can't choose those: all its newest events are looked through.
    let chosen_here = scope.any_pool || since.is_some();
    let past = client.events(&scope.filter(if chosen_here { MOST } else { tail })).await?;
    if past.items.is_empty() {
        scope.require_known(client).await?;
    }
    let Scope { workspace, volume, pool, severity, any_pool } = scope;
    let concerns = |event: &Event| !any_pool || event.pool.is_some();
    let mut printer = Printer { output: stream.format.output, first: true };
    let is_recent = |event: &Event| since.is_none_or(|since| event.at >= since);
    let shown: Vec<&Event> = past.items.iter().filter(|event| concerns(event) && is_recent(event)).collect();
    for event in shown.iter().skip(shown.len().saturating_sub(tail)) {
        printer.print(event, console)?;
    }
    if since.is_some() && past.items.len() >= MOST && past.items.first().is_some_and(is_recent) {
        console.note(&format!("only the newest {MOST} events were looked at"));
    }
    if !stream.follow {
        if shown.is_empty() {
            console.note(nothing(since.is_some(), severity));
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

/// Why there is nothing to show.
fn nothing(since: bool, severity: Option<Severity>) -> &'static str {
    match (since, severity) {
        (true, _) => "nothing has happened since then, or nothing that is still kept",
        (false, Some(_)) => "nothing that matters so much has happened, or nothing that is still kept",
        (false, None) => "nothing has happened yet, or nothing that is still kept",
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
