//! The four verbs of resources (`apply`, `get`, `delete`, `log`), offered at the top and under
//! `orlop resource` from this one definition.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use orlop_model::{Error, WorkspaceName};

use super::{
    identifier::{ColonIdentifier, Identifier, ResourceType, Target},
    observation::Stream,
};

const APPLY: &str = "\
Examples:
  orlop apply -f volume.yaml
  orlop apply -f volume.yaml -w team        into the workspace team
  orlop apply -R -f manifests/              every manifest below a directory
  SIZE=2Gi orlop apply -f volume.yaml       with ${SIZE} in the manifest
  orlop apply --lint -f volume.yaml         check only; needs no daemon
  orlop apply --dry-run -f volume.yaml      say what would change, as orlop diff does
  orlop apply -f manifests/ --prune         and delete what is no longer in the directory

Every manifest is read and checked before the first one is applied: a fault in one file stops the
run before anything has changed. Each resource is then reported as created, configured (with what
changed), unchanged or skipped, and a refused one does not stop the others.

--prune goes by sets. What is applied from a directory is remembered as of that directory (with -R as
of the whole tree), or as of the set that --set names. Pruned are volumes that apply itself made, that
were last applied with that set, are in a workspace that the manifests are for, and are no longer among
them; snapshots and released data never. The plan is shown first, and then there is a question, or
--yes.";

const DIFF: &str = "\
Examples:
  orlop diff -f volume.yaml
  orlop diff -R -f manifests/ --prune       with what apply --prune would delete

Each change is shown with how it is made: in place, or with a copy. It ends with 0 when nothing would
change, with 11 when something would, and with 6 when something would be refused.";

const GET: &str = "\
Examples:
  orlop get -t volume                       what you own in the workspace public
  orlop get -t volume -w team -a            what anybody owns in the workspace team
  orlop get -t volume -A -a                 every volume of this node
  orlop get -t volume -n data -d            all there is to know about one volume
  orlop get -i \"data | v1beta | volume | public\" -o yaml
  orlop get -t volume -a -o wide -r         live, until Ctrl-C
  orlop get -t volume --released            deleted ones whose data is retained
  orlop get -t pool

What you own is decided by your user id, root's too; -a shows everybody's. A resource that is named
is shown whoever owns it. What -o json and -o yaml print can be applied again unchanged.";

const DELETE: &str = "\
Examples:
  orlop delete -t volume -n data
  orlop delete -i \"data | v1beta | volume | team\"
  orlop delete -f volume.yaml               what the manifest names
  orlop delete -t volume -n data --force    in use: delete when the last user has gone

The data of a volume of type temp is destroyed. The data of a persistent one is retained: see it with
`orlop get -t volume --released`. A volume in use is refused, and its users are named.";

const LOG: &str = "\
Examples:
  orlop log -t volume -n data               what happened to one volume
  orlop log -t volume -n data -f            the last ones, and what happens from now on
  orlop log -t volume -n data --since 2h    what happened in the last two hours
  orlop log -t volume -w team --tail 20     the newest events of a workspace
  orlop log -t volume -n data -o json | jq  with every field";

/// What is done to resources.
#[derive(Debug, Subcommand)]
pub(crate) enum ResourceCommand {
    /// Make or change resources as manifests say
    #[command(after_help = APPLY, override_usage = "orlop apply [OPTIONS] -f <PATH>...")]
    Apply(ApplyArgs),
    /// Show what apply would change, and how
    #[command(after_help = DIFF, override_usage = "orlop diff [OPTIONS] -f <PATH>...")]
    Diff(DiffArgs),
    /// Show resources
    #[command(after_help = GET)]
    Get(GetArgs),
    /// Delete resources
    #[command(
        after_help = DELETE,
        override_usage = "orlop delete [OPTIONS] <-n <NAME> | -i <IDENTIFIER> | --id <ID> | -f <PATH>...>"
    )]
    Delete(DeleteArgs),
    /// Show what happened to resources
    #[command(after_help = LOG)]
    Log(LogArgs),
}

/// Which resources.
#[derive(Debug, Args)]
pub(crate) struct Selector {
    /// The type of the resources
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "volume")]
    pub(crate) kind: ResourceType,
    /// The name of the resource
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The workspace of the resources [default: public]
    #[arg(short, long, value_name = "WORKSPACE")]
    pub(crate) workspace: Option<WorkspaceName>,
    /// The resource as the table prints it: "NAME | VERSION | TYPE | WORKSPACE"
    #[arg(short, long, value_name = "IDENTIFIER", conflicts_with_all = ["kind", "name", "workspace", "id"])]
    pub(crate) identifier: Option<Identifier>,
    /// The resource in one word: TYPE:VERSION:NAME:WORKSPACE
    #[arg(long, value_name = "ID", conflicts_with_all = ["kind", "name", "workspace"])]
    pub(crate) id: Option<ColonIdentifier>,
}

impl Selector {
    /// What is addressed, whichever way it was written.
    pub(crate) fn target(&self) -> Result<Target, Error> {
        match (&self.identifier, &self.id) {
            (Some(Identifier(target)), _) | (None, Some(ColonIdentifier(target))) => Ok(target.clone()),
            (None, None) => Target::new(self.kind, self.name.as_deref(), self.workspace.clone()),
        }
    }
}

/// Where manifests come from.
#[derive(Debug, Args)]
pub(crate) struct ManifestFiles {
    /// A manifest: a file, a directory, or - for standard input; may be repeated
    #[arg(
        short = 'f',
        long = "manifestFile",
        visible_alias = "manifest-file",
        value_name = "PATH",
        value_hint = clap::ValueHint::AnyPath
    )]
    pub(crate) manifest_file: Vec<PathBuf>,
    /// Read the directories below a directory too
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Leave $VAR and ${VAR} in manifests as they are
    #[arg(long)]
    pub(crate) disable_interpolation: bool,
}

/// Whether container engines are told.
#[derive(Debug, Args)]
pub(crate) struct Registration {
    /// Do not tell Docker and Podman on this host about the change
    #[arg(long)]
    pub(crate) no_register: bool,
}

/// `orlop apply`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("manifests").args(["manifest_file"]).multiple(true).required(true))]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) files: ManifestFiles,
    /// The workspace of the resources [default: what the manifest says, else public]
    #[arg(short, long, value_name = "WORKSPACE")]
    pub(crate) workspace: Option<WorkspaceName>,
    /// Only check the manifests; needs no daemon
    #[arg(short, long, conflicts_with_all = ["dry_run", "prune"])]
    pub(crate) lint: bool,
    /// Only say what would change, and how
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) pruning: Pruning,
    /// Delete what --prune shows without asking
    #[arg(long, requires = "prune")]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) registration: Registration,
}

/// What is done about volumes that are no longer among the manifests.
#[derive(Debug, Args)]
pub(crate) struct Pruning {
    /// Delete volumes that were applied with this set of manifests and are no longer in it
    #[arg(long)]
    pub(crate) prune: bool,
    /// The name of the set [default: the path of the directory given with -f]
    #[arg(long, value_name = "NAME")]
    pub(crate) set: Option<String>,
}

/// `orlop diff`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("compared").args(["manifest_file"]).multiple(true).required(true))]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    pub(crate) files: ManifestFiles,
    /// The workspace of the resources [default: what the manifest says, else public]
    #[arg(short, long, value_name = "WORKSPACE")]
    pub(crate) workspace: Option<WorkspaceName>,
    #[command(flatten)]
    pub(crate) pruning: Pruning,
}

/// How resources are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// One line a resource
    #[default]
    Table,
    /// One line a resource, with more columns
    Wide,
    /// JSON: an object for a named resource, else an array
    Json,
    /// YAML, a document a resource
    Yaml,
}

impl Output {
    /// Whether it is read by people, and not by programs.
    pub(crate) fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// How the answer is printed.
#[derive(Debug, Args)]
pub(crate) struct Format {
    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Output,
}

/// `orlop get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(crate) selector: Selector,
    /// Show the resources of all owners
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Show the volumes of all workspaces
    #[arg(short = 'A', long, conflicts_with_all = ["workspace", "name", "identifier", "id"])]
    pub(crate) all_workspaces: bool,
    #[command(flatten)]
    pub(crate) format: Format,
    /// Show every detail of each resource
    #[arg(short, long, conflicts_with = "output")]
    pub(crate) details: bool,
    /// Show the column TAGS
    #[arg(long)]
    pub(crate) tags: bool,
    /// Only resources with this tag; repeated, with all of them
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// Show changes live, until Ctrl-C
    #[arg(short, long)]
    pub(crate) refresh: bool,
    /// Show deleted volumes whose data is retained
    #[arg(long)]
    pub(crate) released: bool,
}

/// `orlop delete`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").args(["name", "identifier", "id", "manifest_file"]).required(true))]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub(crate) selector: Selector,
    #[command(flatten)]
    pub(crate) files: ManifestFiles,
    /// Delete a volume in use as soon as its last user has gone; refuse new users now
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) registration: Registration,
}

/// `orlop log`.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    #[command(flatten)]
    pub(crate) selector: Selector,
    #[command(flatten)]
    pub(crate) stream: Stream,
}
