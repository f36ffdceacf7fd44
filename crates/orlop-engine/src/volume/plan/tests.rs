//! What apply plans, as tables.

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
    sized(old, new, Some(FilesystemKind::Xfs), &Facts::default())
}

fn sized(
    old: &VolumeManifest,
    new: &VolumeManifest,
    filesystem: Option<FilesystemKind>,
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
            with(|m| m.volume.snapshots = Some(serde_json::from_str(r#"{"schedule":"@daily"}"#).unwrap())),
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
        match (sized(&manifest(), &wanted, Some(filesystem), &facts), expected) {
            (Ok(Plan::Change(change)), Ok(how)) => {
                assert_eq!(change.fields, ["volume.size"]);
                assert_eq!(
                    change.resize.map(|resize| (resize.to, resize.how)),
                    Some((wanted.volume.size, how))
                );
                assert!(change.warnings.is_empty());
                assert_eq!(
                    sized(&change.manifest, &wanted, Some(filesystem), &facts).unwrap(),
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
        let error = check(&wanted.volume, false).unwrap_err();
        assert_eq!((error.kind, error.object.as_deref()), (kind, Some(field)));
    }
    assert!(check(&manifest().volume, false).is_ok());
    assert!(check(&with(|m| m.volume.volume_mode = VolumeMode::Block).volume, true).is_ok());
}

#[test]
fn a_block_device_grows_in_place_and_never_shrinks() {
    let device = with(|m| m.volume.volume_mode = VolumeMode::Block);
    let of = |size: u64| VolumeManifest {
        volume: VolumeSpec { size: Size::from_bytes(size), ..device.volume.clone() },
        ..device.clone()
    };
    let used = Facts { users: Some("pod a".to_owned()), ..Facts::default() };
    let Plan::Change(change) = sized(&device, &of(64 << 30), None, &used).unwrap() else { panic!() };
    assert_eq!(change.resize.map(|resize| resize.how), Some(How::InPlace));
    assert_eq!(change.warnings, [""; 0], "it has no layout of ours");
    let error = sized(&device, &of(1 << 29), None, &Facts::default()).unwrap_err();
    assert_eq!((error.kind, error.object.as_deref()), (ErrorKind::Immutable, Some("volume.size")));
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
