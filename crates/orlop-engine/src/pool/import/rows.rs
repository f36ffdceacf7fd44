//! The records of what was found, under names that are free here.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use orlop_model::{
    Period, Result, Size, SnapshotName, VolumeId, VolumeName, WorkspaceName,
    pool_report::{ImportFate, ImportedSnapshot, ImportedVolume},
    resource::{Front, SnapshotState, VolumeState},
};
use orlop_sys::image as host_image;

use super::{
    aliases::{Aliases, SnapshotAliases},
    groups::Groups,
    look::{Found, Shown},
    naming::suffixed,
};
use crate::{
    core::Core,
    format::{PoolPaths, SnapshotFile, VolumeFile},
    request::SnapshotKey,
    store::{
        AliasRow, PlacementRow, PoolRow, SnapshotAliasRow, SnapshotGroupRow, SnapshotRow, VolumeRow,
        snapshot_groups, snapshots, volumes,
    },
};

/// A snapshot or released data whose time went by while the pool was away stays for so long: what was just
/// brought back is not deleted before anybody has looked at it.
const AT_LEAST: SignedDuration = SignedDuration::from_hours(24);

/// What becomes of what was found.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) volumes: Vec<VolumeRow>,
    /// Names of fronts; those of released volumes are set aside.
    pub(super) aliases: Vec<AliasRow>,
    /// Groups that the snapshots are of; some may be known already.
    pub(super) groups: Vec<SnapshotGroupRow>,
    pub(super) snapshots: Vec<SnapshotRow>,
    /// Names of orchestrators for them.
    pub(super) snapshot_aliases: Vec<SnapshotAliasRow>,
}

impl Rows {
    /// What they may grow to in all, in bytes.
    pub(super) fn reserved(&self) -> u64 {
        let sizes = self.volumes.iter().map(|row| row.placement.size.bytes());
        sum(sizes.chain(self.snapshots.iter().map(|row| row.reserved.bytes())))
    }

    /// What they are known to take, in bytes.
    pub(super) fn allocated(&self) -> u64 {
        sum(self.volumes.iter().map(|row| row.placement.allocated.bytes()))
    }
}

/// Who carries a pool here may claim sizes whose sum no number holds.
fn sum(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

/// The records, and what the report says of them.
pub(super) fn rows(core: &Core, pool: &PoolRow, found: Found, shown: &mut Shown) -> Result<Rows> {
    let (volumes, aliases) = volume_rows(core, pool, found.volumes, shown)?;
    let mut names = HashMap::new();
    for row in &volumes {
        names.insert(row.id, (row.workspace.clone(), row.manifest.name.clone()));
    }
    let mut rows = Rows { volumes, aliases, ..Rows::default() };
    snapshot_rows(core, pool, found.snapshots, &names, shown, &mut rows)?;
    Ok(rows)
}

fn volume_rows(
    core: &Core,
    pool: &PoolRow,
    found: Vec<VolumeFile>,
    shown: &mut Shown,
) -> Result<(Vec<VolumeRow>, Vec<AliasRow>)> {
    let mut taken = BTreeSet::new();
    let (mut rows, mut aliases) = (Vec::new(), Aliases::default());
    for file in found {
        let (known_as, released_at) = (file.aliases.clone(), file.state.released_at);
        let mut row = volume_row(core, pool, file);
        let key = row.key();
        let (mut fate, mut detail) = (ImportFate::Imported, Vec::new());
        if row.state == VolumeState::Released {
            fate = ImportFate::Released;
            if let (Some(said), Some(at)) = (released_at, row.released_at)
                && said < at
                && let Some(until) = kept(core).and_then(|kept| at.checked_add(kept).ok())
            {
                detail.push(format!("its time ended; it stays until {until:.0}"));
            }
        } else {
            let lives = core.store.read(|r| volumes::by_key(r, &key))?.is_some();
            if lives || taken.contains(&(key.workspace.clone(), key.name.clone())) {
                let name = suffixed(key.name.as_str(), row.id.0, VolumeName::MAX_LENGTH);
                row.manifest.name = name.parse()?;
                fate = ImportFate::Renamed;
                detail.push(format!("there is a volume {}/{} already", key.workspace, key.name));
            }
            taken.insert((row.workspace.clone(), row.manifest.name.clone()));
        }
        let names = aliases.give(core, &row, &known_as, &mut detail)?;
        shown.volumes.push(ImportedVolume {
            directory: row.id.to_string(),
            title: Some(row.title()),
            owner_uid: Some(row.owner_uid),
            fate,
            aliases: names,
            detail: joined(detail),
        });
        rows.push(row);
    }
    Ok((rows, aliases.given))
}

fn joined(detail: Vec<String>) -> Option<String> {
    (!detail.is_empty()).then(|| detail.join("; "))
}

fn snapshot_rows(
    core: &Core,
    pool: &PoolRow,
    found: Vec<SnapshotFile>,
    names: &HashMap<VolumeId, (WorkspaceName, VolumeName)>,
    shown: &mut Shown,
    made: &mut Rows,
) -> Result<()> {
    let (mut taken, mut groups) = (BTreeSet::new(), Groups::default());
    let (mut rows, mut aliases) = (Vec::new(), SnapshotAliases::default());
    for file in found {
        let (in_group, known_as) = (file.group.clone(), file.aliases.clone());
        let mut row = snapshot_row(core, pool, file);
        // Its volume may have another name here.
        let (known, in_pool) = match names.get(&row.volume) {
            Some(known) => (Some(known.clone()), true),
            None => {
                let there = core.store.read(|r| volumes::by_id(r, row.volume))?;
                let in_pool = there.as_ref().is_some_and(|there| there.placement.pool == pool.id);
                (there.map(|there| (there.workspace, there.manifest.name)), in_pool)
            }
        };
        // What a schedule made goes by when it was made, and has others deleted. Of a volume that is not in
        // this pool that is not believed: its own may come later.
        row.scheduled &= in_pool;
        if let Some((workspace, name)) = known
            && workspace == row.workspace
        {
            row.manifest.snapshot.volume = name;
        }
        let key = SnapshotKey { workspace: row.workspace.clone(), name: row.manifest.name.clone() };
        let (mut fate, mut detail) = (ImportFate::Imported, Vec::new());
        let there = core.store.read(|r| {
            Ok(snapshots::by_key(r, &key)?.is_some() || snapshot_groups::by_key(r, &key)?.is_some())
        })?;
        if there || taken.contains(&(key.workspace.clone(), key.name.clone())) {
            let name = suffixed(key.name.as_str(), row.id.0, SnapshotName::MAX_LENGTH);
            row.manifest.name = name.parse()?;
            fate = ImportFate::Renamed;
            detail.push(format!("there is a snapshot {}/{} already", key.workspace, key.name));
        }
        taken.insert((row.workspace.clone(), row.manifest.name.clone()));
        aliases.give(core, &row, &known_as, &mut detail)?;
        let said = row.manifest.snapshot.retain.until(row.created_at);
        if let (Some(said), Some(at)) = (said, row.expires_at)
            && said != at
        {
            detail.push(format!("its time ended at {said:.0}; it stays until {at:.0}"));
        }
        shown.snapshots.push(ImportedSnapshot {
            directory: row.id.to_string(),
            title: Some(row.title()),
            volume: Some(row.manifest.snapshot.volume.clone()),
            owner_uid: Some(row.owner_uid),
            fate,
            detail: joined(detail),
        });
        row.group = in_group.map(|said| groups.join(core, &row, said)).transpose()?.flatten();
        rows.push(row);
    }
    let groups = groups.named(core, &taken)?;
    for row in &mut rows {
        if let Some(group) = &mut row.group
            && let Some(now) = groups.iter().find(|now| now.id == group.id)
        {
            group.clone_from(now);
        }
    }
    (made.groups, made.snapshots, made.snapshot_aliases) = (groups, rows, aliases.given);
    Ok(())
}

/// For how long released data is kept, where that is not for ever.
fn kept(core: &Core) -> Option<SignedDuration> {
    let seconds = core.config.released_retention.seconds()?;
    i64::try_from(seconds).ok().map(SignedDuration::from_secs)
}

/// Since when data counts as released: from then on it is kept for as long as the configuration says.
fn released_at(core: &Core, said: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let least = kept(core).and_then(|kept| now.checked_sub(kept).ok()?.checked_add(AT_LEAST).ok());
    // It is not released later than now: where data is kept for less than that, it is kept in full.
    let said = said.unwrap_or(now);
    least.map_or(said, |least| said.max(least.min(now)))
}

fn volume_row(core: &Core, pool: &PoolRow, file: VolumeFile) -> VolumeRow {
    let paths = PoolPaths::new(&pool.path);
    let now = Core::now();
    // A deletion that was begun elsewhere does not go on here: what is left of it is retained.
    let state = match file.state.phase {
        VolumeState::Active | VolumeState::Error | VolumeState::Pending => VolumeState::Active,
        VolumeState::Released | VolumeState::Deleting => VolumeState::Released,
    };
    let released = state == VolumeState::Released;
    VolumeRow {
        id: file.id,
        node: core.config.node.clone(),
        workspace: file.workspace,
        manifest: file.manifest,
        state,
        reason: None,
        generation: file.generation.max(1),
        owner_uid: file.owner_uid,
        created_by: file.created_by,
        created_at: file.created_at,
        updated_at: now,
        deleted_at: if released { file.state.deleted_at.or(Some(now)) } else { None },
        deleted_by: if released { file.state.deleted_by } else { None },
        released_at: if released { Some(released_at(core, file.state.released_at, now)) } else { None },
        used_bytes: None,
        temp_grace: Period::from_seconds(file.state.temp_grace_seconds),
        vacated_at: None,
        created_size: Size::from_bytes(file.created_size_bytes.unwrap_or(file.size_bytes)),
        applied_set: None,
        source: file.source.clone(),
        // Only an orchestrator makes such.
        ephemeral: file.ephemeral && file.created_by == Front::Csi,
        placement: PlacementRow {
            pool: pool.id,
            pool_name: pool.name.clone(),
            size: Size::from_bytes(file.size_bytes),
            allocated: Size::from_bytes(match &file.source {
                // It may share blocks with others; what is its own is found out later.
                Some(_) => 0,
                None => host_image::space(&paths.image(file.id)).map_or(0, |space| space.allocated),
            }),
            initialised: true,
            detail: file.placement,
        },
    }
}

fn snapshot_row(core: &Core, pool: &PoolRow, file: SnapshotFile) -> SnapshotRow {
    let paths = PoolPaths::new(&pool.path);
    let now = Core::now();
    let taken = host_image::space(&paths.snapshot_image(file.id)).map(|space| space.allocated);
    let expires_at = file.manifest.snapshot.retain.until(file.created_at);
    SnapshotRow {
        id: file.id,
        node: core.config.node.clone(),
        workspace: file.workspace,
        volume: file.volume,
        // As above: a deletion that was begun elsewhere does not go on here.
        state: SnapshotState::Active,
        reason: None,
        generation: file.generation.max(1),
        owner_uid: file.owner_uid,
        created_by: file.created_by,
        created_at: file.created_at,
        updated_at: now,
        expires_at: expires_at.map(|at| at.max(now.saturating_add(AT_LEAST).unwrap_or(at))),
        manifest: file.manifest,
        scheduled: file.scheduled,
        group: None,
        consistency: file.consistency,
        source: file.source,
        pool: pool.id,
        pool_name: pool.name.clone(),
        size: Size::from_bytes(file.size_bytes),
        // Where its blocks can't be counted it may have all of them.
        reserved: Size::from_bytes(taken.unwrap_or(file.size_bytes)),
        exclusive: Size::from_bytes(0),
        detail: file.placement,
    }
}
