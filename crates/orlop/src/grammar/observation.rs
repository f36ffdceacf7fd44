//! The commands that show what happens: `events`, and the part of a stream of events that `log` shows too.

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use orlop_model::{Period, PoolName, VolumeName, WorkspaceName, resource::Severity};

use super::resource::Format;

/// `orlop events`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop events                              the newest, of everything
  orlop events -f                           the last 10, and what happens from now on, until Ctrl-C
  orlop events -f --tail 0 --severity warning   only what goes wrong from now on
  orlop events --since 2h                   of the last two hours
  orlop events -n data                      of one volume in the workspace public
  orlop events -w team --tail 20            of a workspace
  orlop events --pool default -o json | jq  of a pool and what is in it, with every field

Every change of state has an event, and so have refusals, filesystems that fail and recover, and the
thresholds of use: 80, 90 and 95 percent, and back. `orlop log` shows the same for one resource.")]
pub(crate) struct EventsArgs {
    /// Only of this volume
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: Option<VolumeName>,
    /// Only of this workspace [default: all of them; with --name: public]
    #[arg(short, long, value_name = "WORKSPACE")]
    pub(crate) workspace: Option<WorkspaceName>,
    /// Only of this pool, its volumes included
    #[arg(long, value_name = "POOL")]
    pub(crate) pool: Option<PoolName>,
    /// Only those that matter at least so much
    #[arg(long, value_name = "SEVERITY")]
    pub(crate) severity: Option<Least>,
    #[command(flatten)]
    pub(crate) stream: Stream,
}

/// How much an event has to matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Least {
    /// Everything
    Info,
    /// What should be looked at
    Warning,
    /// What does not work
    Error,
}

impl From<Least> for Severity {
    fn from(least: Least) -> Self {
        match least {
            Least::Info => Self::Info,
            Least::Warning => Self::Warning,
            Least::Error => Self::Error,
        }
    }
}

/// Which part of a stream of events, and how it is printed.
#[derive(Debug, Args)]
pub(crate) struct Stream {
    /// Go on with what happens from now on, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How many of the newest events to begin with [default: 100; 10 with --follow; 1000 with --since]
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<usize>,
    /// Only what happened since then: a time such as 2026-11-22T12:00:00Z, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<Since>,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// So long ago.
    Ago(SignedDuration),
    /// At that moment.
    At(Timestamp),
}

impl Since {
    /// The moment.
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(span) => now - span,
            Self::At(at) => at,
        }
    }
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(at) = text.parse() {
        return Ok(Since::At(at));
    }
    match text.parse() {
        Ok(Period::After(seconds)) => {
            Ok(Since::Ago(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))))
        }
        Ok(Period::Never) | Err(_) => Err(
            "it is a time in UTC such as 2026-11-22T12:00:00Z, or how long ago, such as 90s, 15m, 2h or 7d"
                .to_owned(),
        ),
    }
}
