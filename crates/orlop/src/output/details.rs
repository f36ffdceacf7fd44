//! Everything about one resource, for people: a line a fact.

use jiff::Timestamp;
use orlop_model::{
    Keep, MANIFEST_VERSION, SnapshotPolicy, VolumeUsage,
    pool_report::{Attention, ImportFate, PoolCheck, PoolImport},
    resource::{
        Alias, Attachment, Capacity, Consistency, Medium, Pool, PoolState, Snapshot, Volume, VolumeState,
        Workspace,
    },
    text,
};

use super::{plain, quantity, table};

/// The lines, their values in one column.
#[derive(Default)]
struct Facts(Vec<(&'static str, String)>);

impl Facts {
    fn add(&mut self, what: &'static str, value: impl Into<String>) {
        self.0.push((what, plain(&value.into())));
    }

    fn add_some(&mut self, what: &'static str, value: Option<impl Into<String>>) {
        if let Some(value) = value {
            self.add(what, value);
        }
    }

    fn lines(&self) -> String {
        let width = self.0.iter().map(|(what, _)| what.len() + 1).max().unwrap_or_default();
        let line = |(what, value): &(&str, String)| {
            let label = if what.is_empty() { String::new() } else { format!("{what}:") };
            format!("{label:<width$}  {value}").trim_end().to_owned() + "\n"
        };
        self.0.iter().map(line).collect()
    }
}

fn time(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({} ago)", at.strftime("%Y-%m-%dT%H:%M:%SZ"), quantity::age(at, now))
}

fn capacity(capacity: &Capacity) -> String {
    match capacity {
        Capacity::Hard => "hard: the kernel enforces it, and the disk has the room".to_owned(),
        Capacity::Advisory { why } => format!("advisory: {why}"),
    }
}

/// A volume, and the last snapshot that its schedule made.
pub(crate) fn volume(volume: &Volume, scheduled: Option<&Snapshot>, now: Timestamp) -> String {
    let (manifest, spec, status) = (&volume.manifest, &volume.manifest.volume, &volume.status);
    let mut facts = Facts::default();
    facts.add("Name", manifest.name.as_str());
    for (place, alias) in status.aliases.iter().enumerate() {
        let known = format!("{} ({})", alias.name, alias.front.as_str());
        facts.add(if place == 0 { "Known as" } else { "" }, known);
    }
    facts.add("Workspace", volume.workspace.as_str());
    facts.add("Type", format!("volume, {MANIFEST_VERSION}"));
    facts.add_some("Description", manifest.description.as_deref());
    if !manifest.tags.is_empty() {
        facts.add("Tags", manifest.tags.join(", "));
    }
    facts.add(
        "Owner",
        match &manifest.owner {
            Some(label) => format!("{label} ({} may act)", table::uid(status.owner_uid)),
            None => table::uid(status.owner_uid),
        },
    );
    facts.add("Status", status.state.as_str());
    facts.add_some("Reason", status.reason.as_deref());
    facts.add("Size", spec.size.to_string());
    facts.add("Capacity", capacity(&status.capacity));
    facts.add_some("Used", status.used_bytes.map(quantity::bytes));
    if let Some(usage) = &status.usage {
        facts.add("Available", quantity::bytes(usage.available_bytes));
        facts.add("Inodes", format!("{} used, {} free", usage.inodes_used, usage.inodes_free()));
        facts.add_some("Health", health(usage));
        if status.attachments.is_empty() {
            facts.add("Last seen", time(usage.seen_at, now));
        }
    }
    facts.add_some("On disk", status.allocated_bytes.map(quantity::bytes));
    facts.add("Access mode", spec.access_mode.as_str());
    let fate = if spec.volume_type.retains() { "retained" } else { "destroyed" };
    facts.add("Kind", format!("{}: on delete its data is {fate}", spec.volume_type));
    if spec.protection {
        facts.add("Protection", "it can't be deleted until that is taken out of its manifest");
    }
    if let Some(wipe) = status.wipe {
        let after = quantity::seconds(wipe.after_seconds);
        facts.add(
            "Wiped",
            match wipe.left_seconds {
                Some(left) => format!("in {}, unless somebody attaches it", quantity::seconds(left)),
                None => format!("{after} after its last user has left"),
            },
        );
    }
    facts.add("Pool", status.pool.as_str());
    match status.filesystem {
        Some(kind) => facts.add("Filesystem", format!("{kind}, {}-byte blocks", status.block_size)),
        None => facts.add("Block device", format!("{}-byte blocks", status.block_size)),
    }
    if !spec.mount_options.is_empty() {
        let options: Vec<&str> = spec.mount_options.iter().map(|option| option.as_str()).collect();
        facts.add("Mount options", options.join(","));
    }
    let root = [
        spec.uid.map(|uid| format!("uid {uid}")),
        spec.gid.map(|gid| format!("gid {gid}")),
        spec.mode.map(|mode| format!("mode {mode}")),
    ];
    let root: Vec<String> = root.into_iter().flatten().collect();
    if !root.is_empty() {
        facts.add("Root directory", root.join(", "));
    }
    if let Some(policy) = &spec.snapshots {
        schedule(&mut facts, policy, status.state, scheduled, now);
    }
    facts.add("Created", format!("{}, through {}", time(status.created_at, now), status.created_by.as_str()));
    facts.add("Changed", format!("{}, generation {}", time(status.updated_at, now), status.generation));
    if let Some(at) = status.deleted_at {
        let by = table::deleted_by(volume).map_or_else(String::new, |by| format!(", by {by}"));
        facts.add("Deleted", format!("{}{by}", time(at, now)));
    }
    facts.add("Id", status.id.to_string());
    if status.attachments.is_empty() {
        facts.add("Attached to", "nobody");
    }
    for (place, attachment) in status.attachments.iter().enumerate() {
        facts.add(if place == 0 { "Attached to" } else { "" }, attached(attachment, now));
    }
    for (place, note) in status.notes.iter().enumerate() {
        facts.add(if place == 0 { "Notes" } else { "" }, note.as_str());
    }
    facts.lines()
}

/// When snapshots are made by themselves, and which are kept.
fn schedule(
    facts: &mut Facts,
    policy: &SnapshotPolicy,
    state: VolumeState,
    last: Option<&Snapshot>,
    now: Timestamp,
) {
    facts.add("Snapshots", format!("by the schedule {}, in UTC", policy.schedule));
    facts.add("", format!("kept: {}", kept(&policy.keep)));
    let next = match state {
        VolumeState::Active => policy.schedule.next_after(now).map_or_else(
            || "never".to_owned(),
            |at| format!("{} (in {})", at.strftime("%Y-%m-%dT%H:%M:%SZ"), quantity::age(now, at)),
        ),
        state @ (VolumeState::Pending
        | VolumeState::Deleting
        | VolumeState::Released
        | VolumeState::Error) => {
            format!("none while it is {}", state.as_str())
        }
    };
    facts.add("", format!("next: {next}"));
    let last = last.map_or_else(
        || "none yet".to_owned(),
        |last| format!("{}, {}", last.manifest.name, time(last.status.created_at, now)),
    );
    facts.add("", format!("last: {last}"));
}

/// The rules of a schedule, each of which keeps its own.
fn kept(keep: &Keep) -> String {
    let one_each = [
        (keep.hourly, "hour"),
        (keep.daily, "day"),
        (keep.weekly, "week"),
        (keep.monthly, "month"),
        (keep.yearly, "year"),
    ];
    let last = (keep.last > 0).then(|| format!("the last {}", keep.last));
    let rules = one_each.into_iter().filter(|(count, _)| *count > 0).map(|(count, unit)| match count {
        1 => format!("the newest of the last {unit}"),
        count => format!("the newest of each of the last {count} {unit}s"),
    });
    last.into_iter().chain(rules).collect::<Vec<_>>().join("; ")
}

/// What is wrong with the filesystem, if something is.
fn health(usage: &VolumeUsage) -> Option<String> {
    let counted = |count: Option<u64>, what: &str| {
        count.filter(|count| *count > 0).map(|count| format!("{count} {what} of its filesystem"))
    };
    let faults = [
        usage.stopped.then(|| "it takes no more writes".to_owned()),
        counted(usage.filesystem_errors, "error(s)"),
        counted(usage.filesystem_warnings, "warning(s), such as writes that failed,"),
    ];
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

fn attached(attachment: &Attachment, now: Timestamp) -> String {
    let access = if attachment.read_only { "read-only" } else { "read-write" };
    let target = attachment.target.as_ref().map_or_else(String::new, |target| format!(" at {target}"));
    let age = quantity::age(attachment.since, now);
    if attachment.staged {
        return format!("{}{target}, kept ready, for {age}", attachment.consumer);
    }
    format!("{}{target}, {access}, for {age}, on {}", attachment.consumer, attachment.node)
}

/// A snapshot.
pub(crate) fn snapshot(snapshot: &Snapshot, now: Timestamp) -> String {
    let (manifest, status) = (&snapshot.manifest, &snapshot.status);
    let mut facts = Facts::default();
    facts.add("Name", manifest.name.as_str());
    facts.add("Workspace", snapshot.workspace.as_str());
    facts.add_some("Description", manifest.description.as_deref());
    if !manifest.tags.is_empty() {
        facts.add("Tags", manifest.tags.join(", "));
    }
    facts.add_some("Owner", manifest.owner.as_deref());
    facts.add("State", status.state.as_str());
    facts.add_some("Reason", status.reason.as_deref());
    facts.add("Volume", format!("{}, {}", manifest.snapshot.volume, status.volume_id));
    let moment = match status.consistency {
        Consistency::Detached => "the volume was not in use",
        Consistency::Filesystem => "the volume was in use, its filesystem frozen for a moment",
        Consistency::Crash => "the block device was in use: as after a crash of its users",
    };
    facts.add("Data", moment);
    if let Some(group) = &status.group {
        facts.add("Group", format!("{}, made at one moment and deleted together", group.name));
    }
    facts.add("Made", time(status.created_at, now));
    facts.add(
        "By",
        if status.scheduled { "its volume's schedule".to_owned() } else { table::uid(status.owner_uid) },
    );
    match status.expires_at {
        Some(at) => facts.add("Deleted by itself", format!("{at:.0}")),
        None => facts
            .add("Deleted by itself", if status.scheduled { "when its schedule says so" } else { "never" }),
    }
    facts.add("Size", quantity::size(status.size));
    facts.add("Reserved", format!("{}, what it can take at most", quantity::size(status.reserved)));
    facts.add("Own", format!("{}, shared with nothing else", quantity::size(status.exclusive)));
    facts.add("Pool", status.pool.as_str());
    facts.add("Filesystem", status.filesystem.map_or("none: of a block device", |kind| kind.as_str()));
    facts.add("Id", status.id.to_string());
    facts.lines()
}

/// A pool.
pub(crate) fn pool(pool: &Pool, now: Timestamp) -> String {
    let mut facts = Facts::default();
    facts.add("Name", pool.name.as_str());
    let reason = pool.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    facts.add("Status", format!("{}{reason}", pool.state.as_str()));
    match &pool.medium {
        Medium::Directory => {}
        Medium::Device { device } => facts.add("Device", device.as_str()),
        Medium::Image { file, size, sparse } => {
            let how = if *sparse { "sparse" } else { "all of it taken" };
            facts.add("Image", format!("{file}, {}, {how}", quantity::size(*size)));
        }
    }
    facts.add("Path", pool.path.as_str());
    if let Some(can) = pool.capabilities {
        let able = |can: bool, yes: &'static str, no: &'static str| if can { yes } else { no };
        let words = [
            able(can.reflink, "instant snapshots and clones", "no instant snapshots: they are copies"),
            able(can.hard_capacity, "hard capacity", "no hard capacity"),
            able(can.discard, "freed blocks given back", "freed blocks kept"),
        ];
        facts.add("Can do", words.join(", "));
    }
    facts.add("Capacity", format!("{}, overcommit {}", quantity::size(pool.capacity), pool.overcommit));
    facts.add("Reserved", format!("{} by {}", quantity::size(pool.reserved), held(pool)));
    match pool.state {
        PoolState::Ready | PoolState::Low | PoolState::Full => {
            facts.add("Available", quantity::size(pool.available));
            facts.add("On disk", quantity::size(pool.allocated));
            let (free, kept) = (quantity::size(pool.host_free), quantity::size(pool.low_water));
            let disk = &pool.host_filesystem;
            facts.add("Host disk", format!("{disk}, {free} free, of which {kept} are kept free"));
            facts.add("Promises", capacity(&pool.capacity_status));
        }
        // Nothing of its disk can be seen; what it holds is known from the records.
        PoolState::Missing => {
            facts.add("Available", "nothing, until it is there again");
            facts.add("On disk", format!("{}, as last seen", quantity::size(pool.allocated)));
            facts.add("Host disk", "not known, until it is there again");
        }
    }
    facts.add("Created", time(pool.created_at, now));
    facts.add("Id", pool.id.to_string());
    facts.lines()
}

/// What is in a pool that takes of what it may promise.
fn held(pool: &Pool) -> String {
    let volumes = text::count(pool.volumes, "volume");
    match pool.snapshots {
        0 => volumes,
        snapshots => format!("{volumes} and {}", text::count(snapshots, "snapshot")),
    }
}

/// What a check of a pool found: two lines a difference, and two a volume that needs attention.
pub(crate) fn pool_check(report: &PoolCheck) -> String {
    let left = report.findings.iter().filter(|finding| !finding.mended).count();
    let mut text = format!(
        "pool {}: {} and {} looked at, {}, {} mended",
        report.pool,
        text::count(report.volumes, "volume"),
        text::count(report.snapshots, "snapshot"),
        text::count(report.findings.len() as u64, "difference"),
        report.findings.len() - left
    );
    if !report.attention.is_empty() {
        text.push_str(&format!("; volumes that need attention: {}", report.attention.len()));
    }
    text.push('\n');
    if report.busy > 0 {
        text.push_str(&format!("  {} are being worked on and were not looked at\n", report.busy));
    }
    for finding in &report.findings {
        let (what, subject) = (finding.difference.as_str(), plain(&finding.subject));
        text.push_str(&format!("  {what}: {subject}: {}\n", plain(&finding.detail)));
        let what_to_do = if finding.mended { "mended" } else { &finding.remedy };
        text.push_str(&format!("    {}\n", plain(what_to_do)));
    }
    for Attention { name, condition, hint, .. } in &report.attention {
        text.push_str(&format!("  needs attention: volume {name}: {}\n", plain(condition)));
        text.push_str(&format!("    {}\n", plain(hint)));
    }
    text
}

/// What an import found: a line a volume, then a line a snapshot.
pub(crate) fn pool_import(done: &PoolImport) -> String {
    let mut text = format!("pool {}: imported, at {}\n", done.pool.name, done.pool.path);
    let mut line =
        |what: String, fate: ImportFate, owner: Option<u32>, names: &[Alias], detail: Option<&String>| {
            let owner = owner.map_or_else(String::new, |owner| format!(", of {}", table::uid(owner)));
            let known = |alias: &Alias| format!(", known to {} as {}", alias.front.as_str(), alias.name);
            let names: String = names.iter().map(known).collect();
            let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
            let (what, names, detail) = (plain(&what), plain(&names), plain(&detail));
            text.push_str(&format!("  {what}: {}{owner}{names}{detail}\n", fate.as_str()));
        };
    for volume in &done.volumes {
        let title = volume.title.clone().unwrap_or_else(|| volume.directory.clone());
        line(title, volume.fate, volume.owner_uid, &volume.aliases, volume.detail.as_ref());
    }
    for snapshot in &done.snapshots {
        let title = snapshot.title.as_deref().unwrap_or(&snapshot.directory);
        let of = snapshot.volume.as_ref().map_or_else(String::new, |volume| format!(" of volume {volume}"));
        let (fate, owner) = (snapshot.fate, snapshot.owner_uid);
        line(format!("snapshot {title}{of}"), fate, owner, &[], snapshot.detail.as_ref());
    }
    text
}

/// A workspace.
pub(crate) fn workspace(workspace: &Workspace, now: Timestamp) -> String {
    let mut facts = Facts::default();
    facts.add("Name", workspace.name.as_str());
    facts.add("Owner", table::uid(workspace.owner_uid));
    let grants: Vec<String> = workspace.grants.iter().map(|uid| table::uid(*uid)).collect();
    facts.add("Granted to", if grants.is_empty() { "nobody".to_owned() } else { grants.join(", ") });
    let held = |count: u64, size| format!("{count} with {}", quantity::size(size));
    facts.add("Volumes", held(workspace.volumes, workspace.size));
    facts.add("Released", held(workspace.released, workspace.released_size));
    let size_limit = workspace.size_limit.map_or_else(|| "any size".to_owned(), quantity::size);
    let volume_limit = workspace.volume_limit.map(|most| format!("at most {most}"));
    let volume_limit = volume_limit.unwrap_or_else(|| "any number of".to_owned());
    facts.add("May hold", format!("{size_limit} in {volume_limit} volumes, released ones counted"));
    facts.add("Created", time(workspace.created_at, now));
    facts.lines()
}
