//! A volume made out of a directory tree that is there already. The tree is copied into the new volume
//! and both are read again and compared before the volume is there for anybody; the source is only
//! read, and stays.

use std::{os::fd::OwnedFd, path::Path};

use orlop_model::{
    AccessMode, Error, ErrorKind, OperationId, Result, Size, VolumeManifest, VolumeType,
    resource::{Outcome, Volume},
};
use orlop_sys::{Unfinished, filesystem::DATA_DIRECTORY, mount, tree};
use uuid::Uuid;

use super::{
    create::{self, New},
    view,
};
use crate::{
    admission::human,
    attachment::{
        attach,
        detach::{self, Released},
    },
    authority,
    backend::image::Image,
    core::Core,
    fault::{self, Point},
    host::{On, failure},
    locks::{Deadline, Lock},
    pool::create::{apart, checked},
    request::{AdoptRequest, Applied, Caller, VolumeKey},
    running::Meter,
    store::{VolumeRow, volumes},
};

/// What a filesystem takes for itself: so much, and a part of the data.
const OWN: u64 = 64 << 20;
/// Where no size is given, a volume has room for so many times its data, in percent.
const ROOM: u64 = 125;
/// A small ext4 has an inode for so many bytes at most.
const BYTES_PER_ENTRY: u64 = 16 << 10;

/// See [`crate::Engine::adopt`].
pub(crate) fn adopt(core: &Core, caller: &Caller, request: &AdoptRequest) -> Result<Applied<Volume>> {
    authority::rule_host(caller, "make volumes out of directories")?;
    let object = format!("volume {}/{}", request.workspace, request.name);
    let source = checked(&request.source)?;
    apart(core, &source)?;
    let from = mount::open_directory(&source).map_err(|error| {
        Error::new(ErrorKind::InvalidArgument, format!("{} can't be read: {error}", source.display()))
            .object("source")
            .hint("name a directory that is there")
    })?;
    core.workspace(&request.workspace)?;
    let key = VolumeKey { workspace: request.workspace.clone(), name: request.name.clone() };
    let _held = core.locks.take(Lock::name(&key), Deadline::usual())?;
    if core.store.read(|r| volumes::by_key(r, &key))?.is_some() {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("there is already a {object}"))
            .object(object)
            .hint("name another volume; nothing was copied"));
    }
    let meter = core.running.begin(OperationId(Uuid::now_v7()), "adopt", &object, Some(caller));
    meter.phase("counting", None);
    let there = tree::measure(&from, || meter.advance(0)).map_err(|error| ended(error, &object))?;
    let least = there.bytes.max(there.entries.saturating_mul(BYTES_PER_ENTRY)).saturating_add(OWN);
    let size = request.size.unwrap_or_else(|| roomy(least));
    if size.bytes() < there.bytes {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!(
                "{} holds {} in {} entries, which do not fit in {size}",
                source.display(),
                human(there.bytes),
                there.entries
            ),
        )
        .object("size")
        .hint(format!("ask for {} or more, or leave the size out", roomy(least))));
    }
    let new = New {
        workspace: request.workspace.clone(),
        manifest: manifest(request, size)?,
        alias: None,
        set: None,
        source: None,
        ephemeral: false,
    };
    let row = create::create_filled(core, caller, new, Deadline::usual(), &|row, image| {
        fill(core, row, image, &source, &from, there.bytes, &meter)
    })?;
    Ok(Applied { outcome: Outcome::Created, changes: Vec::new(), resource: view::one(core, row)? })
}

/// With room to grow, in whole mebibytes.
fn roomy(bytes: u64) -> Size {
    const MIB: u64 = 1 << 20;
    Size::from_bytes((bytes / 100).saturating_mul(ROOM).max(OWN).next_multiple_of(MIB))
}

/// Persistent, and for all who may use it; everything else is as where a manifest says nothing.
fn manifest(request: &AdoptRequest, size: Size) -> Result<VolumeManifest> {
    let mut manifest = serde_json::json!({
        "name": request.name,
        "version": "v1beta",
        "type": "volume",
        "volume": { "size": size, "accessMode": AccessMode::ReadWriteMany, "type": VolumeType::Persistent },
    });
    if let (Some(pool), Some(volume)) = (&request.pool, manifest.get_mut("volume")) {
        volume["pool"] = pool.as_str().into();
    }
    let manifest: VolumeManifest = serde_json::from_value(manifest).map_err(|error| {
        Error::new(ErrorKind::InvalidArgument, format!("no manifest can be made of it: {error}"))
            .object("manifest")
    })?;
    manifest.volume.check()?;
    Ok(manifest)
}

/// Copies the tree and compares it. The volume is mounted for this alone, and nobody knows it yet.
fn fill(
    core: &Core,
    row: &VolumeRow,
    image: &Image,
    source: &Path,
    from: &OwnedFd,
    bytes: u64,
    meter: &Meter<'_>,
) -> Result<()> {
    let object = &image.object;
    meter.phase("copying", Some(bytes));
    let data = mounted(core, row, image)?;
    tree::copy(from, &data, |bytes| meter.advance(bytes)).map_err(|error| ended(error, object))?;
    fault::point(Point::AdoptCopied)?;
    // What is read back comes from the disk, and not from what was cached when it was written.
    drop(data);
    unmount(core, row, image)?;
    let data = mounted(core, row, image)?;
    meter.phase("verifying", Some(bytes.saturating_mul(2)));
    let before = tree::checksum(from, |bytes| meter.advance(bytes)).map_err(|error| ended(error, object))?;
    let after = tree::checksum(&data, |bytes| meter.advance(bytes)).map_err(|error| ended(error, object))?;
    if before != after {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("{} changed while it was copied: the copy is not what is there now", source.display()),
        )
        .object(object)
        .hint("stop what writes to it, and try again; what was begun is taken back"));
    }
    drop(data);
    unmount(core, row, image)?;
    fault::point(Point::AdoptVerified)
}

/// The directory of the volume's files.
fn mounted(core: &Core, row: &VolumeRow, image: &Image) -> Result<OwnedFd> {
    attach::stage(core, row, image)?;
    let base = mount::open_directory(&core.places.base(row.id)).on(&image.object)?;
    orlop_sys::beneath::open_directory(&base, Path::new(DATA_DIRECTORY)).on(&image.object)
}

fn unmount(core: &Core, row: &VolumeRow, image: &Image) -> Result<()> {
    let object = &image.object;
    match detach::take_down_patiently(core, row, image)? {
        Released::Free => Ok(()),
        Released::Held(who) => Err(Error::new(ErrorKind::InUse, format!("{object} is still held: {who}"))
            .object(object)
            .hint("end that use, and try again")),
    }
}

fn ended(error: Unfinished<Error>, object: &str) -> Error {
    match error {
        Unfinished::Failed(error) => failure(&error, object),
        Unfinished::Stopped(error) => error,
    }
}
