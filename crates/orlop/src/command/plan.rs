//! What apply would do, shown before it is done: `orlop diff`, `apply --dry-run`, and the plan that
//! comes before `apply --prune` deletes something.

use std::collections::BTreeSet;

use orlop_api::{ApplyOptions, Client, VolumeFilter};
use orlop_model::{
    Error, ErrorKind, Result, VolumeName, WorkspaceName,
    resource::{How, Intention, Volume, VolumePlan, VolumeState},
};

use crate::{
    exit::Exit,
    grammar::resource::{DiffArgs, ManifestFiles, Pruning},
    output::Console,
    source::{self, Resource},
};

/// What would be done.
pub(super) struct Plan {
    volumes: Vec<VolumePlan>,
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

impl Plan {
    pub(super) async fn make(
        resources: &[Resource],
        pruning: &Pruning,
        set: Option<&str>,
        workspace: Option<&WorkspaceName>,
        client: &Client,
    ) -> Result<Self> {
        let mut volumes = Vec::new();
        let mut declared: BTreeSet<(&WorkspaceName, &VolumeName)> = BTreeSet::new();
        for resource in resources {
            if let Resource::Volume { workspace, manifest } = resource {
                declared.insert((workspace, &manifest.name));
                volumes.push(client.plan(workspace, manifest, &ApplyOptions::default()).await?);
            }
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
        Ok(Self { volumes, pruned })
    }

    pub(super) fn show(&self, console: &mut Console) {
        for plan in &self.volumes {
            show(plan, console);
        }
        for volume in &self.pruned {
            let title = volume.title();
            let data = if volume.manifest.volume.volume_type.retains() { "retained" } else { "destroyed" };
            let users: Vec<&str> =
                volume.status.attachments.iter().map(|attachment| attachment.consumer.as_str()).collect();
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

    /// Refusals go before changes: a script must not take them for what it can apply.
    pub(super) fn exit(&self) -> Exit {
        let has = |wanted| self.volumes.iter().any(|plan| plan.intention == wanted);
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

fn show(plan: &VolumePlan, console: &mut Console) {
    let title = format!("volume {}/{}", plan.workspace, plan.name);
    match plan.intention {
        Intention::Create => console.print(format!("{title}: would be created")),
        Intention::Unchanged => console.print(format!("{title}: unchanged")),
        Intention::Change => {
            let mut text = format!("{title}: would be changed\n");
            for change in &plan.changes {
                let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
                let how = match change.how {
                    How::InPlace => "in place",
                    How::WithCopy => "with a copy, while nobody uses it",
                };
                text.push_str(&format!(
                    "  {}: {} -> {} ({how})\n",
                    change.field,
                    said(&change.from),
                    said(&change.to)
                ));
            }
            console.print(text);
        }
        Intention::Refuse => console.print(format!("{title}: would be refused")),
    }
    if let Some(refusal) = &plan.refusal {
        console.error(refusal);
    }
    for warning in &plan.warnings {
        let (warning, hint) = warning.split_once("; ").unwrap_or((warning, ""));
        console.warning(warning, hint);
    }
}

/// Asks whether to go on with deleting. Where nobody can be asked, it has to be said beforehand.
pub(super) fn agreed(plan: &Plan, yes: bool, console: &mut Console) -> Result<bool> {
    use std::io::IsTerminal;
    if yes || plan.pruned.is_empty() {
        return Ok(true);
    }
    let count = plan.pruned.len();
    let volumes = if count == 1 { "1 volume" } else { &format!("{count} volumes") };
    if !std::io::stdin().is_terminal() || !console.is_attended() {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{volumes} would be deleted, and nobody can be asked; nothing was changed"),
        )
        .object("--prune")
        .hint("see that the plan above is right, and say --yes"));
    }
    console.confirm(&format!("apply this, and delete {volumes}?"))
}
