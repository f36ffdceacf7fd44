//! Tests of the layout on disk: what is written is read, what is newer is refused, and no path
//! comes from a user's text.
#![allow(clippy::unwrap_used)]

use orlop_model::{ErrorKind, FilesystemKind, PoolId, Size, VolumeId, resource::Backend};
use uuid::Uuid;

use super::*;

/// As version 1 wrote it. Never edited: volumes out there have it.
const VOLUME: &str = include_str!("../../tests/formats/volume-1.json");
/// The same of version 2: of a block device.
const DEVICE: &str = include_str!("../../tests/formats/volume-2.json");
/// A snapshot as version 3 wrote it: of a group.
const GROUPED: &str = include_str!("../../tests/formats/snapshot-3.json");
const POOL: &str = include_str!("../../tests/formats/pool-1.json");

fn volume(text: &str) -> Result<VolumeFile> {
    VolumeFile::decode(text.as_bytes(), Path::new("/pool/volumes/x/volume.json"))
}

fn pool(text: &str) -> Result<PoolFile> {
    PoolFile::decode(text.as_bytes(), Path::new("/pool/orlop.pool"))
}

#[test]
fn format_1_is_read_and_written_byte_for_byte() {
    let file = volume(VOLUME).unwrap();
    assert_eq!(String::from_utf8(file.encode().unwrap()).unwrap(), VOLUME);
    assert_eq!((file.manifest.name.as_str(), file.size_bytes, file.generation), ("data", 536_870_912, 3));
    let image = file.placement.image().unwrap();
    assert_eq!(image.filesystem().map(|it| it.kind), Some(FilesystemKind::Xfs));
    assert_eq!((image.loop_block_size, image.is_device()), (4096, false));
    let file = pool(POOL).unwrap();
    assert_eq!(String::from_utf8(file.encode().unwrap()).unwrap(), POOL);
    assert_eq!(file.backend, Backend::Image);
}

#[test]
fn format_2_says_that_it_was_had_as_a_block_device() {
    let file = volume(DEVICE).unwrap();
    assert_eq!(String::from_utf8(file.encode().unwrap()).unwrap(), DEVICE);
    let image = file.placement.image().unwrap();
    assert!(image.is_device() && image.filesystem().is_none());
    assert_eq!((format_of(&file.placement), format_of(&volume(VOLUME).unwrap().placement)), (2, 1));
    // Neither half of one nor both at once.
    for (from, to) in [
        (r#""content": "device","#, ""),
        (r#""content": "device""#, r#""content": "filesystem""#),
        (r#""content": "device","#, r#""content": "device", "filesystem": "ext4","#),
        (r#""content": "device","#, r#""filesystem": "ext4", "filesystemBlockSize": 4096,"#),
    ] {
        assert!(DEVICE.contains(from), "{from}");
        assert_eq!(volume(&DEVICE.replace(from, to)).unwrap_err().kind, ErrorKind::Damaged, "{to}");
    }
}

/// Records may say so, and nothing keeps it.
#[test]
fn the_room_of_a_block_device_is_not_taken_beforehand() {
    let said = DEVICE.replace(r#""preallocated": false"#, r#""preallocated": true"#);
    let said =
        said.replace(r#""volumeMode": "Block","#, "\"volumeMode\": \"Block\",\n      \"preallocate\": true,");
    assert_eq!(said.matches("preallocate").count(), 2);
    let file = volume(&said).unwrap();
    file.manifest.volume.check().unwrap();
    assert_eq!(String::from_utf8(file.encode().unwrap()).unwrap(), DEVICE);
}

#[test]
fn format_3_says_of_which_group_a_snapshot_is() {
    let file = SnapshotFile::decode(GROUPED.as_bytes(), Path::new("x")).unwrap();
    assert_eq!(String::from_utf8(file.encode().unwrap()).unwrap(), GROUPED);
    let group = file.group.clone().unwrap();
    assert_eq!((group.name.as_str(), group.known_as.as_deref()), ("nightly", Some("groupsnapshot-6f1c")));
    // One that is of none is written as before, for builds that know none.
    let alone = GROUPED.replace("\"format\": 3", "\"format\": 1");
    let [before, after] = ["  \"group\"", "  \"consistency\""].map(|field| alone.find(field).unwrap());
    let alone = alone.replacen(&alone[before..after], "", 1);
    let file = SnapshotFile::decode(alone.as_bytes(), Path::new("x")).unwrap();
    assert_eq!((file.group.clone(), String::from_utf8(file.encode().unwrap()).unwrap()), (None, alone));
}

#[test]
fn a_newer_format_is_refused_whatever_else_is_in_it() {
    for text in [
        r#"{"format": 4}"#,
        r#"{"format": 4, "id": ["not", "an", "id"]}"#,
        r#"{"x": 1, "format": 4294967295}"#,
    ] {
        for error in [volume(text).unwrap_err(), pool(text).unwrap_err()] {
            assert_eq!(error.kind, ErrorKind::NewerFormat, "{text}: {error}");
            assert!(error.message.starts_with("/pool/") && error.message.contains("up to 3"), "{error}");
        }
    }
}

#[test]
fn what_is_no_record_is_damaged_and_named() {
    let truncated = &VOLUME[..VOLUME.len() / 2];
    for text in ["", "{}", "[]", "\0\0\0", r#"{"format": -1}"#, r#"{"format": 1}"#, truncated] {
        let error = volume(text).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Damaged, "{text:?}");
        assert!(error.message.contains("/pool/volumes/x/volume.json"), "{error}");
        assert_eq!(pool(text).unwrap_err().kind, ErrorKind::Damaged, "{text:?}");
    }
}

/// An imported record is checked by the model's own parsers.
#[test]
fn a_record_with_words_that_nobody_may_write_is_damaged() {
    for (from, to) in [
        (r#""name": "data""#, r#""name": "../data""#),
        (r#""workspace": "public""#, r#""workspace": "..""#),
        (r#""noatime""#, r#""suid""#),
        (r#""019f0000-0000-7000-8000-0000000000a1""#, r#""../../etc""#),
        (r#""backend": "image""#, r#""backend": "elsewhere""#),
    ] {
        assert!(VOLUME.contains(from), "{from}");
        assert_eq!(volume(&VOLUME.replace(from, to)).unwrap_err().kind, ErrorKind::Damaged, "{to}");
    }
}

#[test]
fn unknown_fields_of_a_known_format_are_ignored() {
    let file = volume(&VOLUME.replacen('{', "{\n  \"later\": {\"a\": [1]},", 1)).unwrap();
    assert_eq!(String::from_utf8(file.encode().unwrap()).unwrap(), VOLUME);
}

#[test]
fn what_fronts_call_a_volume_is_kept_whatever_the_front() {
    let aliases =
        r#"{ "aliases": [{"front": "docker", "name": "my_data"}, {"front": "tomorrow", "name": "x y"}],"#;
    let file = volume(&VOLUME.replacen('{', aliases, 1)).unwrap();
    let words: Vec<_> =
        file.aliases.iter().map(|alias| (alias.front.as_str(), alias.name.as_str())).collect();
    assert_eq!(words, [("docker", "my_data"), ("tomorrow", "x y")]);
    let read = VolumeFile::decode(&file.encode().unwrap(), Path::new("x")).unwrap();
    assert_eq!(read, file);
    assert_eq!(volume(VOLUME).unwrap().aliases, []);
}

#[test]
fn paths_are_made_of_ids() {
    let id: VolumeId = "019f0000-0000-7000-8000-0000000000a1".parse().unwrap();
    let paths = PoolPaths::new("/pool");
    let of = |path: std::path::PathBuf| path.display().to_string();
    assert_eq!(of(paths.marker()), "/pool/orlop.pool");
    assert_eq!(of(paths.volume(id)), "/pool/volumes/019f0000-0000-7000-8000-0000000000a1");
    assert_eq!(of(paths.record(id)), "/pool/volumes/019f0000-0000-7000-8000-0000000000a1/volume.json");
    assert_eq!(of(paths.image(id)), "/pool/volumes/019f0000-0000-7000-8000-0000000000a1/data.img");
    let blank =
        BlankName { filesystem: FilesystemKind::Ext4, size: Size::from_bytes(1 << 24), rule: 1, id: id.0 };
    assert_eq!(
        of(paths.blank(&blank)),
        "/pool/blanks/ext4-16777216-r1-019f0000-0000-7000-8000-0000000000a1.img"
    );
}

#[test]
fn only_names_that_we_make_are_ours() {
    let id = "019f0000-0000-7000-8000-0000000000a1";
    assert_eq!(PoolPaths::volume_of(id).map(|id| id.to_string()).as_deref(), Some(id));
    for name in
        ["", ".", "lost+found", "019F0000-0000-7000-8000-0000000000A1", "019f0000000070008000000000000a1a"]
    {
        assert_eq!(PoolPaths::volume_of(name), None, "{name}");
    }
    let blank = format!("xfs-536870912-r1-{id}.img");
    let parsed: BlankName = blank.parse().unwrap();
    assert_eq!(
        (parsed.size, parsed.rule, parsed.to_string()),
        (Size::from_bytes(512 << 20), 1, blank.clone())
    );
    for name in [
        String::new(),
        blank.replace(".img", ""),
        blank.replace("xfs", "zfs"),
        blank.replace("r1", "1"),
        blank.replace("536870912", "0536870912"),
        blank.replace("536870912", "-1"),
        blank.replace("019f", "019F"),
        format!("{blank}.img"),
    ] {
        assert!(name.parse::<BlankName>().is_err(), "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn names_of_blanks_come_back(bytes in 0..=i64::MAX as u64, rule: u32, id: u128, xfs: bool) {
        let filesystem = if xfs { FilesystemKind::Xfs } else { FilesystemKind::Ext4 };
        let name = BlankName { filesystem, size: Size::from_bytes(bytes), rule, id: Uuid::from_u128(id) };
        proptest::prop_assert_eq!(name.to_string().parse(), Ok(name));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes: Vec<u8>) {
        let _ = VolumeFile::decode(&bytes, Path::new("x"));
        let _ = PoolFile::decode(&bytes, Path::new("x"));
    }
}

#[test]
fn ids_of_pools_are_carried() {
    let id = PoolId(Uuid::now_v7());
    let file = PoolFile::new(id, Backend::Image, jiff::Timestamp::UNIX_EPOCH);
    let read = PoolFile::decode(&file.encode().unwrap(), Path::new("x")).unwrap();
    assert_eq!((read.id, read.format), (id, FIRST));
}
