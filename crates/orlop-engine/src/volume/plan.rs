//! What apply has to do: the manifest that is recorded against the one that is asked for. Pure.

use orlop_model::{
    Error, ErrorKind, FilesystemChoice, FilesystemKind, MountOption, PoolName, Result, VolumeManifest,
    VolumeMode, VolumeSpec,
};

/// What a volume is, beyond what was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Existing<'a> {
    pub(crate) manifest: &'a VolumeManifest,
    pub(crate) filesystem: FilesystemKind,
    pub(crate) pool: &'a PoolName,
    /// `workspace/name`.
    pub(crate) title: &'a str,
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
}

/// Checks what this build and its kernel can make at all.
///
/// # Errors
/// [`ErrorKind::Unsupported`] and [`ErrorKind::InvalidArgument`], naming the field.
pub(crate) fn check(spec: &VolumeSpec) -> Result<()> {
    if spec.volume_type.is_cloud() {
        return Err(unsupported(
            "volume.type",
            format!("type {} needs an object store, which this build does not have", spec.volume_type),
            "use type: persistent, or temp",
        ));
    }
    match spec.volume_mode {
        VolumeMode::Filesystem => {}
        VolumeMode::Block => {
            return Err(unsupported(
                "volume.volumeMode",
                "volumeMode Block needs a front that can serve block devices, which this build does not have"
                    .into(),
                "use volumeMode: Filesystem, or leave it out",
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
    let volume_type = differs("volume.type", old.volume_type != new.volume_type);
    differs("volume.protection", old.protection != new.protection);
    let grace = differs("volume.tempGracePeriod", old.temp_grace_period != new.temp_grace_period);
    let access_mode = differs("volume.accessMode", old.access_mode != new.access_mode);
    let uid = differs("volume.uid", old.uid != new.uid);
    let gid = differs("volume.gid", old.gid != new.gid);
    let mode = differs("volume.mode", old.mode != new.mode);
    let mount_options =
        differs("volume.mountOptions", options(&old.mount_options) != options(&new.mount_options));
    if fields.is_empty() {
        return Ok(Plan::Unchanged);
    }
    // What is left unsaid, or said in other words, stays as it was first recorded.
    let volume = VolumeSpec { pool: old.pool.clone(), filesystem: old.filesystem, ..new.clone() };
    let manifest = VolumeManifest { volume, ..wanted.clone() };
    let ownership = uid || gid || mode;
    let temp_grace = volume_type || grace;
    Ok(Plan::Change(Box::new(Change { manifest, fields, ownership, access_mode, mount_options, temp_grace })))
}

fn refuse_immutable(existing: Existing<'_>, new: &VolumeSpec) -> Result<()> {
    const REMAKE: &str = "make a volume of another name that way, copy the data, and delete this one; nothing is made anew behind your back";
    let old = &existing.manifest.volume;
    if old.size != new.size {
        let how = if old.size < new.size {
            "this build can't expand a volume"
        } else {
            "a volume can't shrink without risk to its data"
        };
        return Err(immutable(existing, "size", &old.size, &new.size, how).hint(REMAKE));
    }
    if let Some(pool) = &new.pool
        && pool != existing.pool
    {
        let how = "a volume does not move between pools";
        return Err(immutable(existing, "pool", existing.pool, pool, how).hint(REMAKE));
    }
    let kind = new.filesystem.resolve(new.size);
    if new.filesystem != FilesystemChoice::Auto && kind != existing.filesystem {
        let how = "a filesystem can't become another with the data in it";
        return Err(immutable(existing, "filesystem", &existing.filesystem, &kind, how).hint(REMAKE));
    }
    if old.volume_mode != new.volume_mode {
        let how = "a directory can't become a block device";
        return Err(immutable(existing, "volumeMode", &old.volume_mode, &new.volume_mode, how).hint(REMAKE));
    }
    if old.preallocate != new.preallocate {
        let how = "space is taken, or left, when a volume is made";
        return Err(immutable(existing, "preallocate", &old.preallocate, &new.preallocate, how).hint(REMAKE));
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

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_model::{AccessMode, Period, Size, VolumeType, spec::DirectoryMode};
    use proptest::prelude::*;

    fn manifest() -> VolumeManifest {
        serde_json::from_str(
            r#"{"name":"a","version":"v1beta","type":"volume","volume":{"size":"1Gi","accessMode":"ReadWriteMany","type":"temp"}}"#,
        )
        .unwrap()
    }

    fn planned(old: &VolumeManifest, new: &VolumeManifest) -> Result<Plan> {
        let pool = PoolName::default_pool();
        plan(Existing { manifest: old, filesystem: FilesystemKind::Xfs, pool: &pool, title: "public/a" }, new)
    }

    fn with(change: impl FnOnce(&mut VolumeManifest)) -> VolumeManifest {
        let mut manifest = manifest();
        change(&mut manifest);
        manifest
    }

    #[test]
    fn what_changes_in_place() {
        let cases: Vec<(&str, VolumeManifest)> = vec![
            ("tags", with(|m| m.tags.push("x".into()))),
            ("description", with(|m| m.description = Some("x".into()))),
            ("owner", with(|m| m.owner = Some("x".into()))),
            ("layer", with(|m| m.layer = orlop_model::Layer::System)),
            ("volume.type", with(|m| m.volume.volume_type = VolumeType::Persistent)),
            ("volume.protection", with(|m| m.volume.protection = true)),
            ("volume.tempGracePeriod", with(|m| m.volume.temp_grace_period = Some(Period::Never))),
            ("volume.accessMode", with(|m| m.volume.access_mode = AccessMode::ReadWriteOnce)),
            ("volume.uid", with(|m| m.volume.uid = Some(1))),
            ("volume.gid", with(|m| m.volume.gid = Some(1))),
            ("volume.mode", with(|m| m.volume.mode = DirectoryMode::from_bits(0o770))),
            ("volume.mountOptions", with(|m| m.volume.mount_options = vec![MountOption::Sync])),
        ];
        for (field, wanted) in cases {
            let Plan::Change(change) = planned(&manifest(), &wanted).unwrap() else { panic!("{field}") };
            assert_eq!(change.fields, [field]);
            assert_eq!(change.manifest, wanted);
            assert_eq!(change.ownership, ["volume.uid", "volume.gid", "volume.mode"].contains(&field));
            assert_eq!(change.temp_grace, ["volume.type", "volume.tempGracePeriod"].contains(&field));
            assert_eq!(change.access_mode, field == "volume.accessMode");
            assert_eq!(planned(&change.manifest, &wanted).unwrap(), Plan::Unchanged, "applied again");
        }
    }

    #[test]
    fn what_does_not() {
        let cases: Vec<(&str, VolumeManifest)> = vec![
            ("volume.size", with(|m| m.volume.size = Size::from_bytes(2 << 30))),
            ("volume.size", with(|m| m.volume.size = Size::from_bytes(1 << 29))),
            ("volume.pool", with(|m| m.volume.pool = Some("other".parse().unwrap()))),
            ("volume.filesystem", with(|m| m.volume.filesystem = FilesystemChoice::Ext4)),
            ("volume.volumeMode", with(|m| m.volume.volume_mode = VolumeMode::Block)),
            ("volume.preallocate", with(|m| m.volume.preallocate = true)),
        ];
        for (field, wanted) in cases {
            let error = planned(&manifest(), &wanted).unwrap_err();
            assert_eq!((error.kind, error.object.as_deref()), (ErrorKind::Immutable, Some(field)));
            assert!(error.hint.is_some() && error.message.contains("public/a"), "{error}");
        }
    }

    #[test]
    fn other_words_for_the_same_change_nothing() {
        for wanted in [
            manifest(),
            with(|m| m.volume.pool = Some(PoolName::default_pool())),
            with(|m| m.volume.filesystem = FilesystemChoice::Xfs),
        ] {
            assert_eq!(planned(&manifest(), &wanted).unwrap(), Plan::Unchanged);
            assert_eq!(planned(&wanted, &manifest()).unwrap(), Plan::Unchanged);
        }
    }

    #[test]
    fn what_can_not_be_made() {
        for (field, kind, wanted) in [
            ("volume.type", ErrorKind::Unsupported, with(|m| m.volume.volume_type = VolumeType::CloudTemp)),
            ("volume.volumeMode", ErrorKind::Unsupported, with(|m| m.volume.volume_mode = VolumeMode::Block)),
            ("volume.size", ErrorKind::InvalidArgument, with(|m| m.volume.size = Size::from_bytes(1))),
            ("volume.uid", ErrorKind::InvalidArgument, with(|m| m.volume.uid = Some(u32::MAX))),
            (
                "volume.filesystem",
                ErrorKind::InvalidArgument,
                with(|m| {
                    m.volume.size = Size::from_bytes(64 << 20);
                    m.volume.filesystem = FilesystemChoice::Xfs;
                }),
            ),
        ] {
            let error = check(&wanted.volume).unwrap_err();
            assert_eq!((error.kind, error.object.as_deref()), (kind, Some(field)));
        }
        assert!(check(&manifest().volume).is_ok());
    }

    proptest! {
        #[test]
        fn applying_twice_changes_once(
            tags in proptest::collection::vec("[a-z]{1,3}", 0..3), uid in proptest::option::of(0u32..9),
            bits in proptest::option::of(0u32..0o7777), sync in any::<bool>(), persistent in any::<bool>(),
        ) {
            let wanted = with(|m| {
                m.tags = tags;
                m.volume.uid = uid;
                m.volume.mode = bits.and_then(DirectoryMode::from_bits);
                m.volume.mount_options = if sync { vec![MountOption::Sync, MountOption::Noatime] } else { vec![] };
                m.volume.volume_type = if persistent { VolumeType::Persistent } else { VolumeType::Temp };
            });
            match planned(&manifest(), &wanted).unwrap() {
                Plan::Unchanged => prop_assert_eq!(&wanted, &manifest()),
                Plan::Change(change) => prop_assert_eq!(planned(&change.manifest, &wanted).unwrap(), Plan::Unchanged),
            }
        }
    }
}
