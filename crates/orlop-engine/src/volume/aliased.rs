//! Volumes by the names that container engines have for them.

use orlop_model::{
    AccessMode, Error, ErrorKind, FilesystemChoice, FilesystemKind, Result, VolumeId, VolumeManifest,
    VolumeMode, VolumeSpec, VolumeType,
    resource::{Deletion, Front, Outcome, Volume, VolumeState},
};
use uuid::Uuid;

use super::{
    change,
    create::{self, New},
    delete, plan, view,
};
use crate::{
    alias::{self, Meaning},
    attachment::attach::is_open,
    authority,
    core::{Core, object, rule},
    fault::{self, Point},
    format::Placement,
    locks::{Deadline, Lock},
    reconcile,
    request::{Aliased, AliasedManifest, AliasedRequest, Applied, Caller, VolumeKey, VolumeRef},
    store::{AliasRow, Intent, NameRow, Reader, VolumeRow, aliases, operations, volumes},
};

/// Slugs are as good as unique; so often another is tried.
const SLUGS: usize = 16;

/// See [`crate::Engine::resolve`].
pub(crate) fn resolve(core: &Core, caller: &Caller, external: &str) -> Result<Option<Volume>> {
    alias::check(external)?;
    let found = core.store.read(|r| find(r, caller.front, external))?;
    found.map(|row| view::one(core, row)).transpose()
}

/// The live volume of that name.
fn find(r: &Reader<'_>, front: Front, external: &str) -> Result<Option<VolumeRow>> {
    if let Some(row) = volumes::by_alias(r, front, external)?
        && row.state != VolumeState::Released
    {
        return Ok(Some(row));
    }
    match alias::meaning(external) {
        Meaning::Key(key) => volumes::by_key(r, &key),
        Meaning::AliasOnly => Ok(None),
    }
}

/// Whether the front would find another live volume by that name, if it were not an alias of this one:
/// an alias goes before a name, and would hide it.
pub(crate) fn hides(r: &Reader<'_>, front: Front, external: &str, volume: VolumeId) -> Result<bool> {
    let Meaning::Key(key) = alias::meaning(external) else { return Ok(false) };
    if !alias::is_own_name(front, external, &key) {
        return Ok(false);
    }
    Ok(volumes::by_key(r, &key)?.is_some_and(|own| own.id != volume))
}

/// The aliases that were set aside with a volume, and are its own again once it is live: those that
/// mean no other volume meanwhile.
pub(super) fn returning(r: &Reader<'_>, volume: VolumeId) -> Result<Vec<AliasRow>> {
    let mut free = Vec::new();
    for alias in aliases::aside(r, volume)? {
        let taken = aliases::find(r, alias.front, &alias.external)?.is_some()
            || hides(r, alias.front, &alias.external, volume)?;
        if !taken {
            free.push(alias);
        }
    }
    Ok(free)
}

/// See [`crate::Engine::create_aliased`].
pub(crate) fn create(
    core: &Core,
    caller: &Caller,
    request: &AliasedRequest,
    deadline: Deadline,
) -> Result<Applied<Volume>> {
    alias::check(&request.external)?;
    let _alias = core.locks.take(lock(caller.front, &request.external), deadline)?;
    let workspace = core.workspace(&request.workspace)?;
    let found = core.store.read(|r| {
        if let Some(row) = find(r, caller.front, &request.external)? {
            return Ok(Some(row));
        }
        match orlop_model::VolumeName::check(&request.external) {
            Ok(name) => volumes::by_key(r, &VolumeKey { workspace: request.workspace.clone(), name }),
            Err(_) => Ok(None),
        }
    })?;
    if let Some(row) = made(core, found, deadline)? {
        return agree(core, caller, request, row, deadline);
    }
    authority::make_volume(caller, &rule(&workspace))?;
    let manifest = manifest(core, request)?;
    plan::check(&manifest.volume, core.node_root.is_some())?;
    let mut last = None;
    for _ in 0..SLUGS {
        let name = alias::name(&request.external, &unique())?;
        let key = VolumeKey { workspace: request.workspace.clone(), name: name.clone() };
        let _name = core.locks.take(Lock::name(&key), deadline)?;
        // Another front, or an apply, made it while this waited for the name.
        if name.as_str() == request.external
            && let Some(row) = made(core, core.store.read(|r| volumes::by_key(r, &key))?, deadline)?
        {
            return agree(core, caller, request, row, deadline);
        }
        let new = New {
            workspace: key.workspace,
            manifest: VolumeManifest { name, ..manifest.clone() },
            alias: Some(request.external.clone()),
            set: None,
            source: None,
            ephemeral: false,
        };
        match create::create(core, caller, new, deadline) {
            Ok(row) => {
                let resource = view::one(core, row)?;
                return Ok(Applied { outcome: Outcome::Created, changes: Vec::new(), resource });
            }
            Err(error) if error.kind == ErrorKind::AlreadyExists => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last
        .unwrap_or_else(|| Error::new(ErrorKind::Conflict, "no free name was found").object("volume name")))
}

/// One that is being made is waited for; what a failed attempt left is finished or taken back.
pub(super) fn made(core: &Core, found: Option<VolumeRow>, deadline: Deadline) -> Result<Option<VolumeRow>> {
    let Some(row) = found else { return Ok(None) };
    if row.state != VolumeState::Pending {
        return Ok(Some(row));
    }
    let _held = core.locks.take(Lock::Volume(row.id), deadline)?;
    let now = core.store.read(|r| volumes::by_id(r, row.id))?;
    if now.as_ref().is_none_or(|now| now.state != VolumeState::Pending) {
        return Ok(now);
    }
    reconcile::leftovers::settle_volume(core, &row)?;
    core.store.read(|r| volumes::by_id(r, row.id))
}

/// Records the alias of a volume that is there, if it is what was asked for.
fn agree(
    core: &Core,
    caller: &Caller,
    request: &AliasedRequest,
    row: VolumeRow,
    deadline: Deadline,
) -> Result<Applied<Volume>> {
    if !is_open(row.state) {
        crate::core::usable(&row)?;
    }
    let mut differences = differences(&request.manifest, &row);
    // Whoever names no workspace asks for `public`, and means whichever volume has the name.
    let (said, is) = (&request.workspace, &row.workspace);
    if said != is && *said != orlop_model::WorkspaceName::public() {
        differences.insert(0, format!("workspace ({is}, not {said})"));
    }
    if !differences.is_empty() {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("volume {} exists with another {}", row.title(), differences.join(", another ")),
        )
        .object(object(&row))
        .hint("leave those options out to use it as it is, or choose another name"));
    }
    let known = core.store.read(|r| aliases::find(r, caller.front, &request.external))?;
    let mut row = row;
    if known.as_ref().map(|known| known.volume) != Some(row.id) {
        record(core, caller, &request.external, &row, known.is_some(), deadline)?;
    } else if let Some(_held) = core.locks.try_take(Lock::Volume(row.id)) {
        // An earlier attempt may have got no further.
        row = reconcile::leftovers::settled(core, row)?;
    }
    Ok(Applied { outcome: Outcome::Unchanged, changes: Vec::new(), resource: view::one(core, row)? })
}

/// Records the alias, and beside the data where it can't be told from the volume's own name. `known`:
/// it was another volume's, which is released, and is in the way of this one.
fn record(
    core: &Core,
    caller: &Caller,
    external: &str,
    row: &VolumeRow,
    known: bool,
    deadline: Deadline,
) -> Result<()> {
    let alias = create::alias(core, caller.front, external.to_owned(), row.id);
    let described = !alias::is_own_name(caller.front, external, &row.key());
    let _held = if described { Some(core.locks.take(Lock::Volume(row.id), deadline)?) } else { None };
    let operation = described.then(|| core.operation(Some(caller), Some(row.id), Intent::Configure));
    let operation_id = operation.as_ref().map(|operation| operation.id);
    let row = core.store.write(move |tx| {
        // It may have gone since it was looked at; an alias of a released one is worth nothing.
        let there = volumes::by_id(tx, alias.volume)?.filter(|row| row.state != VolumeState::Released);
        let row = there.ok_or_else(|| {
            Error::new(ErrorKind::Recovering, "the volume was deleted meanwhile")
                .object(format!("volume {}", alias.external))
                .hint("try again, and it is made anew")
        })?;
        if known {
            aliases::delete(tx, alias.front, &alias.external)?;
        }
        aliases::insert(tx, &alias)?;
        if let Some(operation) = &operation {
            operations::begin(tx, operation)?;
        }
        Ok(row)
    })?;
    let Some(operation) = operation_id else { return Ok(()) };
    fault::point(Point::ChangeRecorded)?;
    change::follow(core, &row, operation)
}

/// What was said and is otherwise, as `size (2Gi, not 1Gi)`.
fn differences(said: &AliasedManifest, row: &VolumeRow) -> Vec<String> {
    let spec = &row.manifest.volume;
    let Placement::Image(placement) = &row.placement.detail;
    let mut found = Vec::new();
    let mut compare = |field: &str, is: String, said: Option<String>| {
        if let Some(said) = said
            && said != is
        {
            found.push(format!("{field} ({is}, not {said})"));
        }
    };
    let shown = |value: Option<u32>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
    compare("size", row.placement.size.to_string(), said.size.map(|size| size.to_string()));
    compare("accessMode", spec.access_mode.to_string(), said.access_mode.map(|mode| mode.to_string()));
    compare("type", spec.volume_type.to_string(), said.volume_type.map(|kind| kind.to_string()));
    compare("pool", row.placement.pool_name.to_string(), said.pool.as_ref().map(ToString::to_string));
    let kind = |choice: FilesystemChoice| match choice {
        FilesystemChoice::Auto => None,
        FilesystemChoice::Ext4 => Some(FilesystemKind::Ext4.to_string()),
        FilesystemChoice::Xfs => Some(FilesystemKind::Xfs.to_string()),
    };
    let filesystem = placement.filesystem().map_or_else(|| "none".to_owned(), |it| it.kind.to_string());
    compare("filesystem", filesystem, said.filesystem.and_then(kind));
    compare("uid", shown(spec.uid), said.uid.map(|uid| uid.to_string()));
    compare("gid", shown(spec.gid), said.gid.map(|gid| gid.to_string()));
    let mode = spec.mode.map_or_else(|| "none".to_owned(), |mode| mode.to_string());
    compare("mode", mode, said.mode.map(|mode| mode.to_string()));
    let options = |options: &[orlop_model::MountOption]| {
        let mut words: Vec<_> = options.iter().map(ToString::to_string).collect();
        words.sort();
        words.dedup();
        if words.is_empty() { "none".to_owned() } else { words.join(",") }
    };
    compare("mountOptions", options(&spec.mount_options), said.mount_options.as_deref().map(options));
    compare("tempGracePeriod", row.temp_grace.to_string(), said.temp_grace_period.map(|it| it.to_string()));
    compare("preallocate", spec.preallocate.to_string(), said.preallocate.map(|it| it.to_string()));
    found
}

/// What a front asked for, with what it left unsaid.
fn manifest(core: &Core, request: &AliasedRequest) -> Result<VolumeManifest> {
    let said = &request.manifest;
    let anonymous = alias::is_anonymous(&request.external);
    let unsaid_type = if anonymous { VolumeType::Temp } else { VolumeType::Persistent };
    Ok(VolumeManifest {
        name: alias::name(&request.external, &unique())?,
        version: Default::default(),
        resource_type: Default::default(),
        tags: said.tags.clone(),
        description: None,
        owner: None,
        layer: Default::default(),
        volume: VolumeSpec {
            size: said.size.unwrap_or(core.config.default_size),
            access_mode: said.access_mode.unwrap_or(AccessMode::ReadWriteMany),
            volume_type: said.volume_type.unwrap_or(unsaid_type),
            volume_mode: VolumeMode::Filesystem,
            pool: said.pool.clone(),
            filesystem: said.filesystem.unwrap_or_default(),
            uid: said.uid,
            gid: said.gid,
            mode: said.mode,
            mount_options: said.mount_options.clone().unwrap_or_default(),
            preallocate: said.preallocate.unwrap_or_default(),
            protection: false,
            temp_grace_period: said.temp_grace_period,
            source: None,
            snapshots: None,
        },
    })
}

/// See [`crate::Engine::aliased`].
pub(crate) fn list(core: &Core, caller: &Caller) -> Result<Vec<Aliased>> {
    let (known, live) = core.store.read(|r| Ok((aliases::of_front(r, caller.front)?, volumes::names(r)?)))?;
    let mut names = std::collections::HashMap::new();
    let mut taken = std::collections::HashSet::new();
    for alias in known {
        taken.insert(alias.external.clone());
        names.entry(alias.volume).or_insert_with(Vec::new).push(alias.external);
    }
    let mut found = Vec::new();
    for NameRow { id, key, created_at } in live {
        let aliases = names.remove(&id).unwrap_or_else(|| {
            let name = alias::external(&key);
            // Where an alias of another volume has the name, this one goes by its full name.
            let name = if taken.contains(&name) { format!("{}.{}", key.workspace, key.name) } else { name };
            vec![name]
        });
        found.extend(aliases.into_iter().map(|external| Aliased { external, volume: id, created_at }));
    }
    Ok(found)
}

/// See [`crate::Engine::remove_aliased`].
pub(crate) fn remove(core: &Core, caller: &Caller, external: &str, deadline: Deadline) -> Result<()> {
    alias::check(external)?;
    let _alias = core.locks.take(lock(caller.front, external), deadline)?;
    let found = || core.store.read(|r| find(r, caller.front, external));
    let Some(row) = found()? else { return Ok(()) };
    // Whoever gives it another name meanwhile means to keep it.
    let _name = core.locks.take(Lock::name(&row.key()), deadline)?;
    let Some(row) = found()?.filter(|now| now.id == row.id) else { return Ok(()) };
    if row.created_by != caller.front {
        let who = match row.created_by {
            Front::Manifest => "declared by a manifest".to_owned(),
            Front::Docker | Front::Podman | Front::Host | Front::Csi => {
                format!("made through {}", row.created_by.as_str())
            }
        };
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            format!("volume {} is {who}: use orlop delete", row.title()),
        )
        .object(object(&row))
        .hint(format!("orlop delete -t volume -n {} -w {}", row.manifest.name, row.workspace)));
    }
    match delete::delete(core, caller, &VolumeRef::Id(row.id), false, deadline)? {
        Deletion::Destroyed | Deletion::Released | Deletion::Deleting => Ok(()),
    }
}

pub(super) fn lock(front: Front, external: &str) -> Lock {
    Lock::Alias(format!("{} volume {external}", front.as_str()))
}

/// Random letters and digits: the tail of an id, whose head is the time.
pub(crate) fn unique() -> String {
    let id = Uuid::now_v7().simple().to_string();
    id.chars().rev().collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn short_ids_are_not_the_time() {
        let ids: std::collections::HashSet<String> =
            (0..1000).map(|_| super::unique().chars().take(8).collect()).collect();
        assert!(ids.len() > 990, "{}", ids.len());
    }
}
