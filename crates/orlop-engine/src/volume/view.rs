//! Volumes as users see them: the record, who uses it, and what it takes now.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use orlop_model::{
    AccessMode, Error, ErrorKind, PoolId, Result, VolumeId, VolumeUsage,
    resource::{Alias, Capacity, Front, Volume, VolumeState, VolumeStatus, Wipe},
};
use orlop_sys::image::{self as host_image, ImageSpace};

use super::{health, mounted::Mounted, temp};
use crate::{
    admission::Room,
    alias,
    core::Core,
    format::Placement,
    observation::{device, usage},
    pool,
    request::{Page, VolumeQuery},
    store::{self, AliasRow, AttachmentRow, VolumeRow, aliases, attachments, pools, volumes},
};

/// Of a volume that was preallocated, and is no more what that promises.
const SHARES: &str = "its space was taken beforehand, but not all of it is its own: blocks that snapshots or clones have too are written to a new place, for which the pool keeps room as for other volumes";

/// One volume, with all that is known of it. An image that looks wrong is looked at now.
pub(crate) fn one(core: &Core, row: VolumeRow) -> Result<Volume> {
    let row = if looks_wrong(&row, space_of(core, &row)) {
        health::look(core, &row);
        // Where it was deleted meanwhile, this is how it was.
        core.store.read(|r| volumes::by_id(r, row.id))?.unwrap_or(row)
    } else {
        row
    };
    let earlier = earlier(core, &row)?;
    let mut volume =
        many(core, vec![row])?.pop().ok_or_else(|| Error::new(ErrorKind::NotFound, "the volume is gone"))?;
    volume.status.notes.extend(earlier);
    Ok(volume)
}

/// A page of volumes.
pub(crate) fn page(core: &Core, query: &VolumeQuery) -> Result<Page<Volume>> {
    let page = core.store.read(|r| volumes::page(r, query))?;
    Ok(Page { items: many(core, page.items)?, next: page.next })
}

/// Many, with one question to the store for all.
pub(crate) fn many(core: &Core, rows: Vec<VolumeRow>) -> Result<Vec<Volume>> {
    let ids: Vec<VolumeId> = rows.iter().map(|row| row.id).collect();
    let preallocated: Vec<VolumeId> =
        rows.iter().filter(|row| is_preallocated(row)).map(|row| row.id).collect();
    let (shared, mut attached, mut named, mut seen, pools) = core.store.read(|r| {
        Ok((
            store::shared::of_volumes(r, &preallocated)?,
            attachments::of_volumes(r, &ids)?,
            aliases::of_volumes(r, &ids)?,
            store::usage::of_volumes(r, &ids)?,
            pools::all(r)?,
        ))
    })?;
    let rooms: HashMap<PoolId, Result<Room>> =
        pools.iter().map(|pool| (pool.id, core.rooms.current(core, pool))).collect();
    let mounted = Mounted::look(core, &attached)?;
    let views = rows.into_iter().map(|row| {
        let attachments = attached.remove(&row.id).unwrap_or_default();
        let seen = seen.remove(&row.id);
        let room = rooms.get(&row.placement.pool);
        let space = space_of(core, &row);
        let own = is_preallocated(&row) && has_own_blocks(&row, space, shared.get(&row.id).copied());
        let capacity = capacity(room, &row, own);
        let missing = room.and_then(|room| room.as_ref().err());
        let aliases = named.remove(&row.id).unwrap_or_default();
        let other_options = mounted.note(&row, &attachments);
        let taken = is_preallocated(&row) && !own;
        let row = lost(core, unreachable(row, missing), &attachments);
        let mut volume = view(core, row, space, &attachments, aliases, seen, capacity);
        volume.status.notes.extend(other_options);
        volume.status.notes.extend(taken.then(|| SHARES.to_owned()));
        volume
    });
    Ok(views.collect())
}

/// A volume whose pool is not there is shown as not usable for as long as that lasts. Nothing is
/// recorded of it: nothing is known of the volume itself.
fn unreachable(mut row: VolumeRow, missing: Option<&Error>) -> VolumeRow {
    if let (VolumeState::Active | VolumeState::Error, Some(missing)) = (row.state, missing)
        && pool::is_away(missing.kind)
    {
        row.state = VolumeState::Error;
        row.reason = Some(missing.to_string());
    }
    row
}

/// The same of a block device that somebody took away from its users.
fn lost(core: &Core, mut row: VolumeRow, attachments: &[AttachmentRow]) -> VolumeRow {
    if is_lost(core, &row) {
        row.state = VolumeState::Error;
        row.reason = Some(device::lost_by(&row, attachments));
    }
    row
}

fn is_lost(core: &Core, row: &VolumeRow) -> bool {
    row.state == VolumeState::Active && core.image(row).is_ok_and(|image| device::is_lost(core, &image))
}

/// Why a block device is shown as not usable, where somebody took it away from its users.
pub(crate) fn lost_reason(core: &Core, row: &VolumeRow) -> Result<Option<String>> {
    if !is_lost(core, row) {
        return Ok(None);
    }
    let users = core.store.read(|r| attachments::of_volume(r, row.id))?;
    Ok(Some(device::lost_by(row, &users)))
}

fn view(
    core: &Core,
    row: VolumeRow,
    space: Option<ImageSpace>,
    attachments: &[AttachmentRow],
    aliases: Vec<AliasRow>,
    seen: Option<VolumeUsage>,
    capacity: Capacity,
) -> Volume {
    let Placement::Image(placement) = &row.placement.detail;
    if looks_wrong(&row, space) {
        core.signal.suspect(row.id);
    }
    let live = if attachments.is_empty() { None } else { usage::live(core, row.id) };
    let usage = live.or(seen);
    let notes = notes(&row, attachments);
    let wipe = wipe(core, &row);
    let own = alias::external(&row.key());
    let aliases = aliases.into_iter().filter(|alias| alias.external != own);
    Volume {
        status: VolumeStatus {
            id: row.id,
            state: row.state,
            reason: row.reason,
            generation: row.generation,
            owner_uid: row.owner_uid,
            created_by: row.created_by,
            capacity,
            node: core.config.node.clone(),
            pool: row.placement.pool_name,
            filesystem: placement.filesystem().map(|filesystem| filesystem.kind),
            block_size: placement.loop_block_size,
            used_bytes: usage.as_ref().map(|usage| usage.used_bytes).or(row.used_bytes),
            usage,
            allocated_bytes: space.map(|space| space.allocated),
            attachments: attachments.iter().map(AttachmentRow::resource).collect(),
            aliases: aliases.map(|alias| Alias { front: alias.front, name: alias.external }).collect(),
            ephemeral: row.ephemeral,
            notes,
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
            deleted_by_name: row.deleted_by.and_then(orlop_sys::user::user_name),
            deleted_by: row.deleted_by,
            wipe,
        },
        manifest: row.manifest,
        workspace: row.workspace,
    }
}

/// When its data is wiped, for one whose data ever is.
fn wipe(core: &Core, row: &VolumeRow) -> Option<Wipe> {
    let grace = temp::grace(row)?;
    let left = row.vacated_at.map(|at| core.countdowns.left(row.id, at, grace, Instant::now()));
    let left = left.map(|left| left.as_secs());
    let at = left.and_then(|left| {
        Core::now().checked_add(SignedDuration::try_from(Duration::from_secs(left)).ok()?).ok()
    });
    Some(Wipe { after_seconds: grace.as_secs(), at, left_seconds: left })
}

/// What messages call a user of this host.
pub(crate) fn user(uid: u32) -> String {
    orlop_sys::user::user_name(uid).unwrap_or_else(|| format!("uid {uid}"))
}

fn space_of(core: &Core, row: &VolumeRow) -> Option<ImageSpace> {
    host_image::space(core.image(row).ok()?.path()).ok()
}

/// It is said to be usable, and its image is not there or not as long as it should be.
fn looks_wrong(row: &VolumeRow, space: Option<ImageSpace>) -> bool {
    row.state == VolumeState::Active && space.map(|space| space.length) != Some(row.placement.size.bytes())
}

fn is_preallocated(row: &VolumeRow) -> bool {
    let Placement::Image(placement) = &row.placement.detail;
    placement.preallocated
}

/// Whether a preallocated image takes as much as it is long, and nobody has blocks of it too who took
/// them over at `shared`. What it was put back to is a copy: what is older has none of its blocks.
fn has_own_blocks(row: &VolumeRow, space: Option<ImageSpace>, shared: Option<Timestamp>) -> bool {
    let older = |at: Timestamp| row.source.as_ref().is_some_and(|origin| at <= origin.at);
    if !shared.is_none_or(older) {
        return false;
    }
    let taken = match &row.source {
        Some(_) => Some(row.placement.allocated.bytes()),
        None => space.map(|space| space.allocated),
    };
    taken.is_some_and(|taken| taken >= row.placement.size.bytes())
}

/// `own`: all the room that it can take is its own already.
fn capacity(room: Option<&Result<Room>>, row: &VolumeRow, own: bool) -> Capacity {
    match room {
        Some(Ok(room)) => room.status_of(own),
        Some(Err(error)) => Capacity::Advisory { why: error.message.clone() },
        None => Capacity::Advisory { why: format!("pool {} is not known", row.placement.pool_name) },
    }
}

fn notes(row: &VolumeRow, attachments: &[AttachmentRow]) -> Vec<String> {
    let mut notes = Vec::new();
    let podman = row.created_by == Front::Podman || attachments.iter().any(|attachment| attachment.shared);
    if row.manifest.volume.access_mode == AccessMode::ReadWriteOnce && podman {
        notes.push(
            "ReadWriteOnce holds per host under Podman: it mounts a volume once for all its containers"
                .to_owned(),
        );
    }
    if let Some(origin) = &row.source {
        notes.push(format!("its data was taken over from {} on {:.0}", origin.named, origin.at));
    }
    if row.manifest.volume.access_mode == AccessMode::ReadOnlyMany
        && let Some(filler) = attachments.iter().find(|attachment| !attachment.read_only)
    {
        notes.push(format!("it is being filled by {}; others can attach it after that", filler.consumer));
    }
    notes
}

/// Whether data of an earlier volume of that name is retained.
fn earlier(core: &Core, row: &VolumeRow) -> Result<Option<String>> {
    if row.state == VolumeState::Released {
        return Ok(None);
    }
    let query = VolumeQuery {
        workspace: Some(row.workspace.clone()),
        name: Some(row.manifest.name.clone()),
        released: true,
        limit: 20,
        ..VolumeQuery::default()
    };
    let released = core.store.read(|r| volumes::page(r, &query))?.items;
    Ok(match released.as_slice() {
        [] => None,
        [.., last] => Some(format!(
            "it is not the volume that had this name before: {} deleted {} of this name {}, the last as {}: orlop undelete --id {} --as NAME brings it back",
            released.len(),
            if released.len() == 1 { "volume" } else { "volumes" },
            if released.len() == 1 { "is retained" } else { "are retained" },
            last.id,
            last.id
        )),
    })
}
