//! Volumes that an orchestrator asks for by a name of its own. That name says for ever which volume is
//! meant, so that a request can be repeated; no other volume is ever found by it.

use orlop_model::{
    Error, ErrorKind, FilesystemChoice, FilesystemKind, Period, Result, Size, VolumeManifest, VolumeName,
    VolumeSource, VolumeSpec, WorkspaceName,
    resource::{Outcome, Volume, VolumeState},
};

use super::{
    aliased::{lock, made, unique},
    apply,
    create::{self, New},
    plan, view,
};
use crate::{
    alias, authority,
    core::{Core, object, rule, usable},
    locks::{Deadline, Lock},
    request::{Applied, Caller, ProvisionRequest, SizeRange, SourceId, VolumeKey, VolumeRef},
    snapshot,
    store::{VolumeRow, volumes},
};

/// Names with a random end are as good as unique; so often another is tried.
const ATTEMPTS: usize = 16;

/// Sizes are rounded up to whole blocks, where the bounds allow that.
const BLOCK: u64 = orlop_model::rules::BLOCK;

/// See [`crate::Engine::provisioned`].
pub(crate) fn find(core: &Core, caller: &Caller, external: &str) -> Result<Option<Volume>> {
    live(core, caller, external)?.map(|row| view::one(core, row)).transpose()
}

fn live(core: &Core, caller: &Caller, external: &str) -> Result<Option<VolumeRow>> {
    let found = core.store.read(|r| volumes::by_alias(r, caller.front, external))?;
    Ok(found.filter(|row| row.state != VolumeState::Released))
}

/// See [`crate::Engine::provision`].
pub(crate) fn provision(
    core: &Core,
    caller: &Caller,
    request: &ProvisionRequest,
    deadline: Deadline,
) -> Result<Applied<Volume>> {
    let _alias = core.locks.take(lock(caller.front, &request.external), deadline)?;
    if let Some(row) = made(core, live(core, caller, &request.external)?, deadline)? {
        return agree(core, request, row);
    }
    let manifest = decided(core, request)?;
    plan::check(&manifest.volume, core.node_root.is_some())?;
    let workspace = apply::workspace(core, caller, &request.workspace, true)?;
    authority::make_volume(caller, &rule(&workspace))?;
    let mut name = manifest.name.clone();
    for _ in 0..ATTEMPTS {
        let key = VolumeKey { workspace: request.workspace.clone(), name: name.clone() };
        let _name = core.locks.take(Lock::name(&key), deadline)?;
        let new = New {
            workspace: key.workspace,
            manifest: VolumeManifest { name, ..manifest.clone() },
            alias: Some(request.external.clone()),
            set: None,
            source: request.source,
            ephemeral: request.ephemeral,
        };
        match create::create(core, caller, new, deadline) {
            Ok(row) => {
                let resource = view::one(core, row)?;
                return Ok(Applied { outcome: Outcome::Created, changes: Vec::new(), resource });
            }
            Err(error) if error.kind == ErrorKind::AlreadyExists => {
                let another = alias::another(manifest.name.as_str(), &unique(), VolumeName::MAX_LENGTH);
                name = another.parse()?;
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(ErrorKind::Conflict, "no free name was found").object("volume name").hint("try again"))
}

/// Whether the volume that is there is what is asked for.
fn agree(core: &Core, request: &ProvisionRequest, row: VolumeRow) -> Result<Applied<Volume>> {
    usable(&row)?;
    let differences = differences(request, &row);
    if !differences.is_empty() {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!(
                "{:?} is volume {}, which has another {}",
                request.external,
                row.title(),
                differences.join(", another ")
            ),
        )
        .object(object(&row))
        .hint("ask for it as it is, or by another name"));
    }
    Ok(Applied { outcome: Outcome::Unchanged, changes: Vec::new(), resource: view::one(core, row)? })
}

/// What was asked for and is otherwise, as `size (2Gi, not at least 4Gi)`.
fn differences(request: &ProvisionRequest, row: &VolumeRow) -> Vec<String> {
    let mut found = Vec::new();
    let size = row.placement.size;
    let SizeRange { least, most } = request.size;
    if let Some(least) = least.filter(|least| size < *least) {
        found.push(format!("size ({size}, not at least {least})"));
    }
    if let Some(most) = most.filter(|most| size > *most) {
        found.push(format!("size ({size}, not at most {most})"));
    }
    if row.workspace != request.workspace {
        found.push(format!("workspace ({}, not {})", row.workspace, request.workspace));
    }
    if !may_be_from(row, request.source) {
        found.push("source".to_owned());
    }
    found.extend(differing(&row.manifest.volume, &request.manifest.volume).into_iter().map(str::to_owned));
    found
}

/// Whether the volume may have been made from that. What it was put back to since, or that it was wiped, says
/// nothing of how it was made.
fn may_be_from(row: &VolumeRow, source: Option<SourceId>) -> bool {
    let from = match &row.source {
        Some(origin) if origin.volume == row.id => return true,
        Some(origin) => Some(match origin.snapshot {
            Some(snapshot) => SourceId::Snapshot(snapshot),
            None => SourceId::Volume(origin.volume),
        }),
        None if may_be_wiped(row) => return true,
        None => None,
    };
    from == source
}

/// What is wiped has no source any more. What never is has the one that it was made with.
fn may_be_wiped(row: &VolumeRow) -> bool {
    !row.manifest.volume.volume_type.retains() && row.temp_grace != Period::Never
}

/// The fields that a request decides and that are otherwise. Size and source are compared by themselves.
fn differing(is: &VolumeSpec, wanted: &VolumeSpec) -> Vec<&'static str> {
    let VolumeSpec {
        size: _,
        access_mode,
        volume_type,
        volume_mode,
        pool,
        filesystem,
        uid,
        gid,
        mode,
        mount_options,
        preallocate,
        protection,
        temp_grace_period,
        source: _,
        snapshots,
    } = is;
    let fields = [
        ("accessMode", *access_mode != wanted.access_mode),
        ("type", *volume_type != wanted.volume_type),
        ("volumeMode", *volume_mode != wanted.volume_mode),
        ("pool", *pool != wanted.pool),
        ("filesystem", *filesystem != wanted.filesystem),
        ("uid", *uid != wanted.uid),
        ("gid", *gid != wanted.gid),
        ("mode", *mode != wanted.mode),
        ("mountOptions", *mount_options != wanted.mount_options),
        ("preallocate", *preallocate != wanted.preallocate),
        ("protection", *protection != wanted.protection),
        ("tempGracePeriod", *temp_grace_period != wanted.temp_grace_period),
        ("snapshots", *snapshots != wanted.snapshots),
    ];
    fields.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
}

/// The manifest with its size and its source.
fn decided(core: &Core, request: &ProvisionRequest) -> Result<VolumeManifest> {
    let mut manifest = request.manifest.clone();
    let source = request.source.map(|source| named(core, source)).transpose()?;
    let spec = &mut manifest.volume;
    let least = match spec.filesystem {
        FilesystemChoice::Xfs => FilesystemKind::XFS_LEAST,
        FilesystemChoice::Auto | FilesystemChoice::Ext4 => Size::LEAST,
    };
    let from = source.as_ref().map(|(size, ..)| *size);
    spec.size = size(request.size, least, from, core.config.default_size)?;
    // A manifest names what is of its own workspace.
    spec.source =
        source.and_then(|(_, workspace, source)| (workspace == request.workspace).then_some(source));
    Ok(manifest)
}

/// A source's size, its workspace, and what a manifest there calls it.
fn named(core: &Core, source: SourceId) -> Result<(Size, WorkspaceName, VolumeSource)> {
    Ok(match source {
        SourceId::Snapshot(id) => {
            let row = snapshot::by_id(core, id)?;
            (row.size, row.workspace, VolumeSource::Snapshot(row.manifest.name))
        }
        SourceId::Volume(id) => {
            let row = core.row(&VolumeRef::Id(id))?;
            (row.placement.size, row.workspace, VolumeSource::Volume(row.manifest.name))
        }
    })
}

/// The size within the bounds: as much as was asked for, and at least what can be made and what the
/// source has.
fn size(range: SizeRange, least: Size, source: Option<Size>, usual: Size) -> Result<Size> {
    let SizeRange { least: asked, most } = range;
    if let (Some(asked), Some(source)) = (asked, source)
        && asked < source
    {
        return Err(out_of_range(
            format!("the size {asked} is less than that of the source, {source}"),
            format!("ask for {source} or more"),
        ));
    }
    let floor = least.max(source.unwrap_or(least));
    let wanted = match (asked, source) {
        (Some(asked), _) => asked.max(floor),
        (None, Some(_)) => floor,
        (None, None) => usual.max(floor).min(most.map_or(usual, whole_within).max(floor)),
    };
    if let Some(most) = most.filter(|most| *most < wanted) {
        return Err(out_of_range(
            format!("at most {most} are allowed, and the volume has to have {wanted}"),
            format!("allow {wanted} or more"),
        ));
    }
    Ok(whole(wanted, most))
}

/// The whole blocks in a size.
fn whole_within(size: Size) -> Size {
    Size::from_bytes(size.bytes() - size.bytes() % BLOCK)
}

/// Whole blocks, where the bound allows that.
pub(super) fn whole(size: Size, most: Option<Size>) -> Size {
    let whole = size.bytes().checked_next_multiple_of(BLOCK).map(Size::from_bytes);
    whole.filter(|whole| most.is_none_or(|most| *whole <= most)).unwrap_or(size)
}

pub(super) fn out_of_range(message: String, hint: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message).object("volume.size").hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn mib(size: u64) -> Size {
        Size::from_bytes(size * MIB)
    }

    fn decide(asked: Option<u64>, most: Option<u64>, source: Option<u64>) -> Option<u64> {
        let range = SizeRange { least: asked.map(mib), most: most.map(mib) };
        size(range, mib(16), source.map(mib), mib(1024)).ok().map(|size| size.bytes() / MIB)
    }

    #[test]
    fn sizes_are_within_their_bounds() {
        for (asked, most, source, size) in [
            (None, None, None, Some(1024)),
            (None, Some(100), None, Some(100)),
            (None, Some(2000), None, Some(1024)),
            (Some(1), None, None, Some(16)),
            (Some(1), Some(8), None, None),
            (None, Some(8), None, None),
            (Some(100), Some(100), None, Some(100)),
            (Some(100), Some(99), None, None),
            (None, None, Some(64), Some(64)),
            (Some(64), None, Some(64), Some(64)),
            (Some(65), None, Some(64), Some(65)),
            (Some(63), None, Some(64), None),
            (None, Some(63), Some(64), None),
        ] {
            assert_eq!(decide(asked, most, source), size, "{asked:?} {most:?} {source:?}");
        }
        let odd = SizeRange { least: Some(Size::from_bytes(20 * MIB + 1)), most: None };
        assert_eq!(size(odd, mib(16), None, mib(1)).unwrap().bytes(), 20 * MIB + 4096);
        let bound = SizeRange { most: odd.least, ..odd };
        assert_eq!(size(bound, mib(16), None, mib(1)).unwrap().bytes(), 20 * MIB + 1);
        let any = SizeRange { least: None, ..bound };
        assert_eq!(size(any, mib(16), None, mib(1024)).unwrap().bytes(), 20 * MIB);
    }

    proptest! {
        #[test]
        fn no_bound_is_ever_broken(
            asked in proptest::option::of(0..u64::MAX), most in proptest::option::of(0..u64::MAX),
            source in proptest::option::of(16 * MIB..u64::MAX),
        ) {
            let bytes = |bytes: Option<u64>| bytes.map(Size::from_bytes);
            let range = SizeRange { least: bytes(asked), most: bytes(most) };
            if let Ok(size) = size(range, mib(16), bytes(source), mib(1024)) {
                prop_assert!(size >= mib(16) && size >= Size::from_bytes(source.unwrap_or(0)));
                prop_assert!(asked.is_none_or(|asked| size.bytes() >= asked));
                prop_assert!(most.is_none_or(|most| size.bytes() <= most));
            }
        }
    }
}
