//! What apply has to do: the manifest that is recorded against the one that is asked for. Pure.

use std::cmp::Ordering;

use orlop_model::{
    Error, ErrorKind, FilesystemChoice, FilesystemKind, MountOption, PoolName, Result, Size, VolumeManifest,
    VolumeMode, VolumeSpec,
    resource::{How, PlannedChange},
};

use crate::admission::human;

/// What a volume is, beyond what was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Existing<'a> {
    pub(crate) manifest: &'a VolumeManifest,
    pub(crate) filesystem: FilesystemKind,
    pub(crate) pool: &'a PoolName,
    /// The size that its filesystem was made with.
    pub(crate) created_size: Size,
    /// `workspace/name`.
    pub(crate) title: &'a str,
    /// Read only where the size is to change.
    pub(crate) facts: &'a Facts,
}

/// What a change of size depends on now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Who uses the volume, in words.
    pub(crate) users: Option<String>,
    /// The kernel lets the daemon grow a mounted ext4.
    pub(crate) grows_mounted_ext4: bool,
    /// How small an ext4 that nobody uses could be made, in bytes.
    pub(crate) least: Option<u64>,
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

/// A change of size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resize {
    pub(crate) from: Size,
    pub(crate) to: Size,
    pub(crate) how: How,
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
    let resize = resize(existing, new.size)?;

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
    let warnings = resize.and_then(|resize| outgrown(existing, resize)).into_iter().collect();
    let change =
        Change { manifest, fields, ownership, access_mode, mount_options, temp_grace, resize, warnings };
    Ok(Plan::Change(Box::new(change)))
}

/// How the size changes.
fn resize(existing: Existing<'_>, to: Size) -> Result<Option<Resize>> {
    let from = existing.manifest.volume.size;
    let how = match (existing.filesystem, from.cmp(&to)) {
        (_, Ordering::Equal) => return Ok(None),
        (FilesystemKind::Xfs, Ordering::Less) => How::InPlace,
        (FilesystemKind::Ext4, Ordering::Less) => grow_ext4(existing, to)?,
        (FilesystemKind::Xfs, Ordering::Greater) => {
            return Err(
                immutable(existing, "size", &from, &to, "XFS can't shrink").hint(remake(existing, to))
            );
        }
        (FilesystemKind::Ext4, Ordering::Greater) => shrink_ext4(existing, to)?,
    };
    Ok(Some(Resize { from, to, how }))
}

fn grow_ext4(existing: Existing<'_>, to: Size) -> Result<How> {
    match &existing.facts.users {
        _ if existing.facts.grows_mounted_ext4 => Ok(How::InPlace),
        None => Ok(How::WithCopy),
        Some(users) => Err(Error::new(
            ErrorKind::InUse,
            format!(
                "volume {} is in use by {users}, and can't grow to {to} now: it has an ext4, which the kernel grows in use only for a daemon with CAP_SYS_RESOURCE, and this one lacks it",
                existing.title
            ),
        )
        .object("volume.size")
        .hint("stop what uses it and apply again; or give the daemon CAP_SYS_RESOURCE")),
    }
}

fn shrink_ext4(existing: Existing<'_>, to: Size) -> Result<How> {
    let from = existing.manifest.volume.size;
    if let Some(users) = &existing.facts.users {
        return Err(Error::new(
            ErrorKind::InUse,
            format!(
                "volume {} is in use by {users}: an ext4 can shrink from {from} to {to} only while nobody uses it",
                existing.title
            ),
        )
        .object("volume.size")
        .hint("stop what uses it and apply again"));
    }
    // Unknown is no promise: then it is tried, on a copy.
    let needs = existing.facts.least.map_or(0, with_margin);
    if needs > to.bytes() {
        let how = format!("what is in it needs {}", human(needs));
        return Err(immutable(existing, "size", &from, &to, &how)
            .hint(format!("delete what is not needed in it, or ask for at least {}", human(needs))));
    }
    Ok(How::WithCopy)
}

/// A filesystem that was shrunk to the last block takes no more files.
fn with_margin(least: u64) -> u64 {
    least.saturating_add((least / 10).max(1 << 20))
}

fn remake(existing: Existing<'_>, to: Size) -> String {
    let (workspace, name) = existing.title.split_once('/').unwrap_or(("public", existing.title));
    format!(
        "orlop volume migrate -w {workspace} -n {name} --size {to} copies the files into a new filesystem of that size, while nobody uses it"
    )
}

/// A filesystem keeps the layout of the size that it was made with.
fn outgrown(existing: Existing<'_>, resize: Resize) -> Option<String> {
    const WELL: u64 = 16;
    let (made, to) = (existing.created_size.bytes(), resize.to.bytes());
    if to <= made.saturating_mul(WELL) {
        return None;
    }
    let price = match existing.filesystem {
        // Made with four allocation groups; all further ones are as large.
        FilesystemKind::Xfs => {
            format!("its XFS will have {} allocation groups instead of 4", to.div_ceil(made / 4))
        }
        FilesystemKind::Ext4 => "its ext4 has no room kept for that many block groups".to_owned(),
    };
    Some(format!(
        "{} is more than {WELL} times the size that volume {} was made with ({}): {price}, which makes it slower; {}",
        resize.to,
        existing.title,
        existing.created_size,
        remake(existing, resize.to)
    ))
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
        sized(old, new, FilesystemKind::Xfs, &Facts::default())
    }

    fn sized(
        old: &VolumeManifest,
        new: &VolumeManifest,
        filesystem: FilesystemKind,
        facts: &Facts,
    ) -> Result<Plan> {
        let (pool, created_size) = (PoolName::default_pool(), Size::from_bytes(1 << 30));
        plan(Existing { manifest: old, filesystem, pool: &pool, created_size, title: "public/a", facts }, new)
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
            (
                "volume.snapshots",
                with(|m| {
                    m.volume.snapshots = Some(serde_json::from_str(r#"{"schedule":"@daily"}"#).unwrap())
                }),
            ),
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
            ("volume.size", with(|m| m.volume.size = Size::from_bytes(1 << 29))),
            ("volume.pool", with(|m| m.volume.pool = Some("other".parse().unwrap()))),
            ("volume.filesystem", with(|m| m.volume.filesystem = FilesystemChoice::Ext4)),
            ("volume.volumeMode", with(|m| m.volume.volume_mode = VolumeMode::Block)),
            ("volume.preallocate", with(|m| m.volume.preallocate = true)),
            (
                "volume.source",
                with(|m| m.volume.source = Some(orlop_model::VolumeSource::Volume("b".parse().unwrap()))),
            ),
        ];
        for (field, wanted) in cases {
            let error = planned(&manifest(), &wanted).unwrap_err();
            assert_eq!((error.kind, error.object.as_deref()), (ErrorKind::Immutable, Some(field)));
            assert!(error.hint.is_some() && error.message.contains("public/a"), "{error}");
        }
    }

    #[test]
    fn sizes_change_where_the_filesystem_and_its_users_let_them() {
        use FilesystemKind::{Ext4, Xfs};
        let of = |gib_quarters: u64| with(|m| m.volume.size = Size::from_bytes(gib_quarters << 28));
        let facts = |users: bool, grows_mounted_ext4: bool, least: Option<u64>| Facts {
            users: users.then(|| "docker mount x".to_owned()),
            grows_mounted_ext4,
            least,
        };
        let cases = [
            (Xfs, 8, facts(true, false, None), Ok(How::InPlace)),
            (Xfs, 8, facts(false, false, None), Ok(How::InPlace)),
            (Xfs, 2, facts(false, true, Some(1)), Err(ErrorKind::Immutable)),
            (Ext4, 8, facts(true, true, None), Ok(How::InPlace)),
            (Ext4, 8, facts(false, true, None), Ok(How::InPlace)),
            (Ext4, 8, facts(false, false, None), Ok(How::WithCopy)),
            (Ext4, 8, facts(true, false, None), Err(ErrorKind::InUse)),
            (Ext4, 2, facts(true, true, Some(1)), Err(ErrorKind::InUse)),
            (Ext4, 2, facts(false, true, Some(1 << 20)), Ok(How::WithCopy)),
            (Ext4, 2, facts(false, true, Some(1 << 29)), Err(ErrorKind::Immutable)),
            (Ext4, 2, facts(false, true, Some((1 << 29) / 11 * 10)), Ok(How::WithCopy)),
        ];
        for (filesystem, size, facts, expected) in cases {
            let wanted = of(size);
            match (sized(&manifest(), &wanted, filesystem, &facts), expected) {
                (Ok(Plan::Change(change)), Ok(how)) => {
                    assert_eq!(change.fields, ["volume.size"]);
                    assert_eq!(
                        change.resize.map(|resize| (resize.to, resize.how)),
                        Some((wanted.volume.size, how))
                    );
                    assert!(change.warnings.is_empty());
                    assert_eq!(
                        sized(&change.manifest, &wanted, filesystem, &facts).unwrap(),
                        Plan::Unchanged
                    );
                }
                (Err(error), Err(kind)) => {
                    assert_eq!((error.kind, error.object.as_deref()), (kind, Some("volume.size")), "{error}");
                    assert!(error.hint.is_some());
                }
                (planned, expected) => {
                    panic!("{filesystem:?} {size} {facts:?}: {planned:?}, not {expected:?}")
                }
            }
        }
        let Plan::Change(change) = planned(&manifest(), &of(4 * 16)).unwrap() else { panic!() };
        assert!(change.warnings.is_empty(), "16 times");
        let Plan::Change(change) = planned(&manifest(), &of(4 * 1024)).unwrap() else { panic!() };
        let [warning] = change.warnings.as_slice() else { panic!() };
        assert!(
            warning.contains("4096 allocation groups") && warning.contains("orlop volume migrate"),
            "{warning}"
        );
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
