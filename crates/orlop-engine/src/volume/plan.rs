//! What apply has to do: the manifest that is recorded against the one that is asked for. Pure.
//! Changes of size are in `size`.

mod size;
#[cfg(test)]
mod tests;

use orlop_model::{
    Error, ErrorKind, FilesystemChoice, FilesystemKind, MountOption, PoolName, Result, Size, VolumeManifest,
    VolumeMode, VolumeSpec,
    resource::{How, PlannedChange},
};

pub(crate) use size::{Facts, Resize, outgrown};

/// What a volume is, beyond what was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Existing<'a> {
    pub(crate) manifest: &'a VolumeManifest,
    /// None where it is had as a block device.
    pub(crate) filesystem: Option<FilesystemKind>,
    pub(crate) pool: &'a PoolName,
    /// The size that its filesystem was made with.
    pub(crate) created_size: Size,
    /// `workspace/name`.
    pub(crate) title: &'a str,
    /// Read only where the size is to change.
    pub(crate) facts: &'a Facts,
}

/// What is to be done with a volume that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing; nothing is written.
    Unchanged,
    /// Record the new manifest.
    Change(Box<Change>),
}

/// A change in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// What is recorded from now on.
    pub(crate) manifest: VolumeManifest,
    /// The fields that change, as `volume.uid`.
    pub(crate) fields: Vec<String>,
    /// Owner or permissions of the root directory change.
    pub(crate) ownership: bool,
    /// The access mode changes, which those who hold the volume may contradict.
    pub(crate) access_mode: bool,
    /// Mount options change, which the next mount has.
    pub(crate) mount_options: bool,
    /// What is said of when its data is wiped changes.
    pub(crate) temp_grace: bool,
    /// The size changes.
    pub(crate) resize: Option<Resize>,
    /// What the user should know before, in sentences.
    pub(crate) warnings: Vec<String>,
}

impl Change {
    /// Nothing else changes.
    pub(crate) fn is_of_size_alone(&self) -> bool {
        self.fields.iter().all(|field| field == "volume.size")
    }

    /// For users: each field with what is recorded and what is asked for.
    pub(crate) fn planned(&self, recorded: &VolumeManifest) -> Vec<PlannedChange> {
        let values = |manifest: &VolumeManifest| serde_json::to_value(manifest).unwrap_or_default();
        let (old, new) = (values(recorded), values(&self.manifest));
        let said = |value: &serde_json::Value, field: &str| match value
            .pointer(&format!("/{}", field.replace('.', "/")))
        {
            None | Some(serde_json::Value::Null) => None,
            Some(serde_json::Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        let planned = self.fields.iter().map(|field| PlannedChange {
            field: field.clone(),
            from: said(&old, field),
            to: said(&new, field),
            how: match self.resize {
                Some(resize) if field == "volume.size" => resize.how,
                Some(_) | None => How::InPlace,
            },
        });
        planned.collect()
    }
}

/// Checks what this build and its kernel can make at all. `serves_nodes`: an orchestrator is served,
/// which alone can hand out block devices.
///
/// # Errors
/// [`ErrorKind::Unsupported`] and [`ErrorKind::InvalidArgument`], naming the field.
pub(crate) fn check(spec: &VolumeSpec, serves_nodes: bool) -> Result<()> {
    if spec.volume_type.is_cloud() {
        return Err(unsupported(
            "volume.type",
            format!("type {} needs an object store, which this build does not have", spec.volume_type),
            "use type: persistent, or temp",
        ));
    }
    match spec.volume_mode {
        VolumeMode::Filesystem => {}
        VolumeMode::Block if serves_nodes => {}
        VolumeMode::Block => {
            return Err(unsupported(
                "volume.volumeMode",
                "volumeMode Block needs a front that can serve block devices, which this daemon does not have"
                    .into(),
                "use volumeMode: Filesystem, or leave it out; or have the daemon serve CSI: orlop serve --csi-endpoint",
            ));
        }
    }
    spec.check()
}

/// Compares. The wanted manifest has passed [`check`].
///
/// # Errors
/// [`ErrorKind::Immutable`] with the field, the reason and the way to do it.
pub(crate) fn plan(existing: Existing<'_>, wanted: &VolumeManifest) -> Result<Plan> {
    let (old, new) = (&existing.manifest.volume, &wanted.volume);
    refuse_immutable(existing, new)?;
    let resize = size::resize(existing, new.size)?;

    let mut fields = Vec::new();
    let mut differs = |field: &str, differs: bool| {
        if differs {
            fields.push(field.to_owned());
        }
        differs
    };
    differs("tags", existing.manifest.tags != wanted.tags);
    differs("description", existing.manifest.description != wanted.description);
    differs("owner", existing.manifest.owner != wanted.owner);
    differs("layer", existing.manifest.layer != wanted.layer);
    differs("volume.size", resize.is_some());
    let volume_type = differs("volume.type", old.volume_type != new.volume_type);
    differs("volume.protection", old.protection != new.protection);
    let grace = differs("volume.tempGracePeriod", old.temp_grace_period != new.temp_grace_period);
    let access_mode = differs("volume.accessMode", old.access_mode != new.access_mode);
    let uid = differs("volume.uid", old.uid != new.uid);
    let gid = differs("volume.gid", old.gid != new.gid);
    let mode = differs("volume.mode", old.mode != new.mode);
    let mount_options =
        differs("volume.mountOptions", options(&old.mount_options) != options(&new.mount_options));
    differs("volume.snapshots", old.snapshots != new.snapshots);
    if fields.is_empty() {
        return Ok(Plan::Unchanged);
    }
    // What is left unsaid, or said in other words, stays as it was first recorded.
    let volume = VolumeSpec {
        pool: old.pool.clone(),
        filesystem: old.filesystem,
        source: old.source.clone(),
        ..new.clone()
    };
    let manifest = VolumeManifest { volume, ..wanted.clone() };
    let ownership = uid || gid || mode;
    let temp_grace = volume_type || grace;
    let outgrown =
        |resize: Resize| outgrown(existing.title, existing.filesystem?, existing.created_size, resize.to);
    let warnings = resize.and_then(outgrown).into_iter().collect();
    let change =
        Change { manifest, fields, ownership, access_mode, mount_options, temp_grace, resize, warnings };
    Ok(Plan::Change(Box::new(change)))
}

fn refuse_immutable(existing: Existing<'_>, new: &VolumeSpec) -> Result<()> {
    const REMAKE: &str = "make a volume of another name that way, copy the data, and delete this one; nothing is made anew behind your back";
    let old = &existing.manifest.volume;
    if let Some(pool) = &new.pool
        && pool != existing.pool
    {
        let how = "that is a move, which takes time and a volume that nobody uses";
        let (workspace, name) = existing.title.split_once('/').unwrap_or(("public", existing.title));
        return Err(immutable(existing, "pool", existing.pool, pool, how)
            .hint(format!("orlop volume migrate -w {workspace} -n {name} --pool {pool} moves it")));
    }
    let kind = new.filesystem.resolve(new.size);
    if new.filesystem != FilesystemChoice::Auto
        && let Some(is) = existing.filesystem.filter(|is| *is != kind)
    {
        let how = "a filesystem can't become another with the data in it";
        return Err(immutable(existing, "filesystem", &is, &kind, how).hint(REMAKE));
    }
    if old.volume_mode != new.volume_mode {
        let how = "a directory can't become a block device, nor a block device a directory";
        return Err(immutable(existing, "volumeMode", &old.volume_mode, &new.volume_mode, how).hint(REMAKE));
    }
    if old.preallocate != new.preallocate {
        let how = "space is taken, or left, when a volume is made";
        return Err(immutable(existing, "preallocate", &old.preallocate, &new.preallocate, how).hint(REMAKE));
    }
    // Left out, it stays as it was: the snapshot may be long gone.
    if let Some(source) = &new.source
        && Some(source) != old.source.as_ref()
    {
        let was = old.source.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        let how = "it says what the volume was made from";
        return Err(immutable(existing, "source", &was, source, how)
            .hint("put a volume back in place with orlop snapshot restore, or make one of another name"));
    }
    Ok(())
}

/// Order and repetition of options mean nothing.
fn options(options: &[MountOption]) -> Vec<MountOption> {
    let mut options = options.to_vec();
    options.sort_unstable();
    options.dedup();
    options
}

fn immutable(
    existing: Existing<'_>,
    field: &str,
    old: &impl ToString,
    new: &impl ToString,
    how: &str,
) -> Error {
    Error::new(
        ErrorKind::Immutable,
        format!(
            "the {field} of volume {} can't change from {} to {}: {how}",
            existing.title,
            old.to_string(),
            new.to_string()
        ),
    )
    .object(format!("volume.{field}"))
}

fn unsupported(field: &str, message: String, hint: &str) -> Error {
    Error::new(ErrorKind::Unsupported, message).object(field).hint(hint)
}
