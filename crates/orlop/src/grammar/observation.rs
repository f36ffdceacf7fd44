//! The commands that show how things stand: events.

use clap::{Args, ValueEnum};
use orlop_model::{PoolName, VolumeName, WorkspaceName, resource::Severity};

use super::resource::Stream;

/// `orlop events`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop events                              the newest, of everything
  orlop events -f --severity warning        what goes wrong from now on, until Ctrl-C
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
