//! What apply would do, shown before it is done: `orlop diff`, `apply --dry-run`, and the plan that
//! comes before `apply --prune` deletes something.

use std::collections::BTreeSet;

use orlop_api::{ApplyOptions, Client, VolumeFilter};
use orlop_model::{
    Error, ErrorKind, Result, SnapshotManifest, VolumeManifest, VolumeName, VolumeSource, WorkspaceName,
    resource::{How, Intention, PlannedChange, Volume, VolumePlan, VolumeState},
};

use crate::{
    exit::Exit,
    grammar::resource::{DiffArgs, ManifestFiles, Pruning},
    output::{Console, plain},
    source::{self, Resource},
};

/// What would be done.
pub(super) struct Plan {
    /// What is declared, in the order of the files.
    steps: Vec<Step>,
    /// What is no longer among the manifests.
    pub(super) pruned: Vec<Volume>,
}

/// `orlop diff`.
pub(super) async fn diff(args: DiffArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    let declared = match source::read(&args.files, args.workspace.as_ref(), console)? {
        Ok(declared) => declared,
        Err(exit) => return Ok(exit),
    };
    let set = set(&args.files, &args.pruning)?;
    let plan =
        Plan::make(&declared.resources, &args.pruning, set.as_deref(), args.workspace.as_ref(), client);
    let plan = plan.await?;
    plan.show(console);
    Ok(plan.exit())
}

/// The set that the manifests are, where they are one: as it was named, else the one directory that
/// they are of, with those below it or without.
pub(super) fn set(files: &ManifestFiles, pruning: &Pruning) -> Result<Option<String>> {
    if let Some(name) = &pruning.set {
        return Ok(Some(name.clone()));
    }
    if let [path] = files.manifest_file.as_slice()
        && let Ok(path) = path.canonicalize()
        && path.is_dir()
    {
        let below = if files.recursive { "/**" } else { "" };
        return Ok(Some(format!("{}{below}", path.display())));
    }
    if !pruning.prune {
        return Ok(None);
    }
    Err(Error::new(ErrorKind::InvalidArgument, "--prune has no set of manifests to go by")
        .object("--prune")
        .hint("name one directory with -f, which has all manifests; or give the set a name with --set"))
}

/// What would be done with one resource.
enum Step {
    Volume(VolumePlan),
    Snapshot {
        title: String,
        /// The fields that would change; none where it would be created.
        changes: Result<Option<Vec<String>>>,
    },
    /// Of another type: the words for it.
    Skipped(String),
}

impl Step {
    /// Whether it makes what has that title, such as `volume public/data`, which is not there yet.
    fn makes(&self, title: &str) -> bool {
        let is_it = match self {
            Self::Volume(plan) => self::title("volume", &plan.workspace, &plan.name) == title,
            Self::Snapshot { title: own, .. } => own == title,
            Self::Skipped(_) => false,
        };
        is_it && self.intention() == Intention::Create
    }

    fn intention(&self) -> Intention {
        match self {
            Self::Volume(plan) => plan.intention,
            Self::Snapshot { changes: Ok(None), .. } => Intention::Create,
            Self::Snapshot { changes: Ok(Some(changes)), .. } if changes.is_empty() => Intention::Unchanged,
            Self::Snapshot { changes: Ok(Some(_)), .. } => Intention::Change,
            Self::Snapshot { changes: Err(_), .. } => Intention::Refuse,
            Self::Skipped(_) => Intention::Unchanged,
        }
    }

    fn show(&self, console: &mut Console) {
        match self {
            Self::Volume(plan) => {
                let title = title("volume", &plan.workspace, &plan.name);
                console.print(format!("{title}: {}", would(plan.intention)));
                for change in &plan.changes {
                    console.print(format!("  {}", described(change)));
                }
                if let Some(refusal) = &plan.refusal {
                    console.error(refusal);
                }
                for warning in &plan.warnings {
                    let (warning, hint) = warning.split_once("; ").unwrap_or((warning, ""));
                    console.warning(warning, hint);
                }
            }
            Self::Snapshot { title, changes } => {
                let fields = match changes {
                    Ok(Some(changes)) if !changes.is_empty() => format!(" ({})", changes.join(", ")),
                    _ => String::new(),
                };
                console.print(format!("{title}: {}{fields}", would(self.intention())));
                if let Err(refusal) = changes {
                    console.error(refusal);
                }
            }
            Self::Skipped(words) => console.print(words),
        }
    }
}

fn would(intention: Intention) -> &'static str {
    match intention {
        Intention::Create => "would be created",
        Intention::Change => "would be changed",
        Intention::Unchanged => "unchanged",
        Intention::Refuse => "would be refused",
    }
}

fn described(change: &PlannedChange) -> String {
    let said = |value: &Option<String>| value.as_deref().map_or_else(|| "none".to_owned(), plain);
    let how = match change.how {
        How::InPlace => "in place",
        How::WithCopy => "with a copy, while nobody uses it",
    };
    format!("{}: {} -> {} ({how})", change.field, said(&change.from), said(&change.to))
}

fn title(kind: &str, workspace: &WorkspaceName, name: impl std::fmt::Display) -> String {
    format!("{kind} {workspace}/{name}")
}

/// What would become of a volume. Its source may be made by one of the steps `before` it.
async fn volume(
    workspace: &WorkspaceName,
    manifest: &VolumeManifest,
    before: &[Step],
    client: &Client,
) -> Result<VolumePlan> {
    let mut plan = client.plan(workspace, manifest, &ApplyOptions::default()).await?;
    let source = manifest.volume.source.as_ref().map(|source| match source {
        VolumeSource::Snapshot(name) => title("snapshot", workspace, name),
        VolumeSource::Volume(name) => title("volume", workspace, name),
    });
    let missing = plan.refusal.as_ref().is_some_and(|refusal| refusal.kind == ErrorKind::NotFound);
    if missing && source.is_some_and(|source| before.iter().any(|step| step.makes(&source))) {
        plan.intention = Intention::Create;
        plan.refusal = None;
    }
    Ok(plan)
}

/// What would change of a snapshot: none where it would be made. Its volume may be made by one of the
/// steps `before` it.
async fn snapshot(
    workspace: &WorkspaceName,
    manifest: &SnapshotManifest,
    before: &[Step],
    client: &Client,
) -> Result<Option<Vec<String>>> {
    match client.snapshot(workspace, &manifest.name).await {
        Ok(found) => found.manifest.changes_to(manifest, workspace).map(Some),
        Err(error) if error.kind == ErrorKind::NotFound => {
            let name = &manifest.snapshot.volume;
            let volume = title("volume", workspace, name);
            if !before.iter().any(|step| step.makes(&volume)) {
                client.volume(workspace, name).await?;
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Plan {
    pub(super) async fn make(
        resources: &[Resource],
        pruning: &Pruning,
        set: Option<&str>,
        workspace: Option<&WorkspaceName>,
        client: &Client,
    ) -> Result<Self> {
        let mut steps = Vec::new();
        let mut declared: BTreeSet<(&WorkspaceName, &VolumeName)> = BTreeSet::new();
        for resource in resources {
            steps.push(match resource {
                Resource::Volume { workspace, manifest } => {
                    declared.insert((workspace, &manifest.name));
                    Step::Volume(volume(workspace, manifest, &steps, client).await?)
                }
                Resource::Snapshot { workspace, manifest } => {
                    let title = title("snapshot", workspace, &manifest.name);
                    let changes = snapshot(workspace, manifest, &steps, client).await;
                    if let Err(error) = &changes
                        && error.kind == ErrorKind::Unreachable
                    {
                        return Err(error.clone());
                    }
                    Step::Snapshot { title, changes }
                }
                Resource::Other(other) => Step::Skipped(other.to_string()),
            });
        }
        let mut pruned = Vec::new();
        if let Some(set) = set.filter(|_| pruning.prune) {
            // Only where the manifests are for: the same directory may be applied to others too.
            let mut places: BTreeSet<&WorkspaceName> = declared.iter().map(|(place, _)| *place).collect();
            places.extend(workspace);
            for place in places {
                let filter = VolumeFilter {
                    workspace: Some(place.clone()),
                    applied_set: Some(set.to_owned()),
                    ..VolumeFilter::default()
                };
                let found = client.all_volumes(&filter).await?;
                pruned.extend(found.into_iter().filter(|volume| {
                    volume.status.state != VolumeState::Deleting
                        && !declared.contains(&(&volume.workspace, &volume.manifest.name))
                }));
            }
        }
        Ok(Self { steps, pruned })
    }

    pub(super) fn show(&self, console: &mut Console) {
        for step in &self.steps {
            step.show(console);
        }
        for volume in &self.pruned {
            let title = volume.title();
            let data = if volume.manifest.volume.volume_type.retains() { "retained" } else { "destroyed" };
            let users: Vec<String> =
                volume.status.attachments.iter().map(|attachment| plain(&attachment.consumer)).collect();
            if users.is_empty() {
                console.print(format!("volume {title}: would be deleted, its data {data}"));
            } else {
                console.print(format!(
                    "volume {title}: would not be deleted, it is in use by {}",
                    users.join(", ")
                ));
            }
        }
    }

    /// Asks whether to go on, where something would be deleted.
    pub(super) fn agreed(&self, yes: bool, console: &mut Console) -> Result<bool> {
        if yes || self.pruned.is_empty() {
            return Ok(true);
        }
        let count = self.pruned.len();
        let volumes = if count == 1 { "1 volume" } else { &format!("{count} volumes") };
        console.confirm(&format!("apply this, and delete {volumes}?"))
    }

    /// Refusals go before changes: a script must not take them for what it can apply.
    pub(super) fn exit(&self) -> Exit {
        let has = |wanted| self.steps.iter().any(|step| step.intention() == wanted);
        let in_use = |volume: &Volume| !volume.status.attachments.is_empty();
        if has(Intention::Refuse) || self.pruned.iter().any(in_use) {
            Exit::Refused
        } else if has(Intention::Create) || has(Intention::Change) || !self.pruned.is_empty() {
            Exit::Changes
        } else {
            Exit::Success
        }
    }
}
