//! The parser by tables, the rest against this machine's own mount tables.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::mount;
use crate::testing::{KilledAtEnd, Scratch, Volume, may_mount, wait_until};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

fn entry(line: &str) -> MountEntry {
    parse_line(line.as_bytes()).unwrap()
}

#[test]
fn a_line_is_read_with_all_its_fields() {
    let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
    assert_eq!(
        entry(line),
        MountEntry {
            id: 36,
            parent: 35,
            device: DeviceNumber { major: 98, minor: 0 },
            root: PathBuf::from("/mnt1"),
            mount_point: PathBuf::from("/mnt2"),
            read_only: false,
            options: "rw,noatime".to_owned(),
            shared: None,
            master: Some(1),
            filesystem: "ext3".to_owned(),
            source: PathBuf::from("/dev/root"),
            filesystem_options: "rw,errors=continue".to_owned(),
            filesystem_read_only: false,
        }
    );
}

#[test]
fn optional_fields_are_read_and_unknown_ones_passed_over() {
    let cases = [
        ("", None, None),
        ("shared:7 ", Some(7), None),
        ("master:8 propagate_from:2 ", None, Some(8)),
        ("shared:7 master:8 ", Some(7), Some(8)),
        ("unbindable ", None, None),
        ("future:thing shared:9 ", Some(9), None),
    ];
    for (optional, shared, master) in cases {
        let read = entry(&format!("1 0 7:1 / /a rw {optional}- xfs /dev/loop1 rw"));
        assert_eq!((read.shared, read.master), (shared, master), "{optional}");
    }
}

#[test]
fn read_only_is_told_of_the_mount_and_of_the_filesystem() {
    for (mount, filesystem, expected) in [
        ("rw", "rw", (false, false)),
        ("ro,nosuid", "rw", (true, false)),
        ("rw", "ro,errors=remount-ro", (true, true)),
        ("rw,errors=ro-not", "rw,nro", (false, false)),
    ] {
        let read = entry(&format!("1 0 7:1 / /a {mount} - ext4 /dev/loop1 {filesystem}"));
        assert_eq!((read.read_only, read.filesystem_read_only), expected);
    }
}

#[test]
fn hostile_names_are_unescaped_and_never_end_a_field_or_a_line() {
    for (escaped, expected) in [
        (r"/a\040b", &b"/a b"[..]),
        (r"/a\012b", b"/a\nb"),
        (r"/a\011b\134c", b"/a\tb\\c"),
        (r"/a\134040b", b"/a\\040b"),
        (r"/\040-\040ext4", b"/ - ext4"),
        (r"/end\", b"/end\\"),
        (r"/short\04", b"/short\\04"),
        (r"/not\089", b"/not\\089"),
        (r"/large\777", b"/large\\777"),
        (r"/\377\303", b"/\xff\xc3"),
    ] {
        let line = format!("1 0 7:1 {escaped} {escaped} rw - ext4 {escaped} rw");
        let read = parse_line(line.as_bytes()).unwrap();
        let expected = Path::new(OsStr::from_bytes(expected));
        assert_eq!(read.mount_point, expected, "{escaped}");
        assert_eq!((read.root.as_path(), read.source.as_path()), (expected, expected));
    }
}

#[test]
fn broken_lines_are_errors_and_never_panics() {
    let whole = "36 35 98:0 /r /m rw shared:1 - ext4 /dev/x rw";
    for end in 0..whole.len() - 3 {
        let part = &whole.as_bytes()[..end];
        assert!(parse_line(part).is_err(), "{}", String::from_utf8_lossy(part));
    }
    for line in [
        "x 35 98:0 / / rw - ext4 x rw",
        "36 35 98 / / rw - ext4 x rw",
        "36 35 98:0 / / rw shared:x - ext4 x rw",
        "\u{0}\u{0}\u{0}",
    ] {
        assert!(parse_line(line.as_bytes()).is_err(), "{line}");
    }
    assert!(parse(b"").unwrap().is_empty());
}

#[test]
fn a_search_by_device_reads_the_same_field_as_the_parser() {
    let table = std::fs::read("/proc/self/mountinfo").unwrap();
    for line in table.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let parsed = parse_line(line).unwrap();
        assert_eq!(parse::device_of_line(line), Some(parsed.device));
    }
    assert_eq!(parse::device_of_line(b""), None);
}

#[test]
fn our_own_table_has_the_root_and_proc() {
    let ours = own().unwrap();
    for path in ["/", "/proc"] {
        assert!(ours.iter().any(|entry| entry.mount_point == Path::new(path)));
    }
    // Others mount and unmount meanwhile.
    assert!((0..100).any(|_| of_pid(std::process::id()).unwrap() == own().unwrap()));
    assert!(of_pid(u32::MAX).unwrap_err().is_not_found());
}

#[test]
fn a_mount_on_a_hostile_name_is_found_by_its_device() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let target = scratch.directory("a b\nc\\d\t- é");
    let mounted = Volume::small(&scratch, "image").mount(&target);
    let ours: Vec<DeviceMount> =
        mounts_of_device(mounted.device).unwrap().into_iter().filter(|mount| mount.own).collect();
    assert_eq!(ours.len(), 1, "{ours:?}");
    assert_eq!(ours[0].mount_point, target);
    assert_eq!(ours[0].pid, std::process::id());
    let entry = mounted_at(&target).unwrap().unwrap();
    assert_eq!(entry.id, mounted.mount_id);
    mount::unmount(&target).unwrap();
    assert!(mounted_at(&target).unwrap().is_none());
}

#[test]
fn every_namespace_is_seen_once_with_a_process_in_it() {
    if !may_mount() {
        return;
    }
    let children: Vec<KilledAtEnd> = (0..3)
        .map(|_| KilledAtEnd(Command::new("unshare").args(["-m", "sleep", "600"]).spawn().unwrap()))
        .collect();
    for child in &children {
        wait_until("the child sleeps", || {
            crate::host::process_name(child.0.id()).as_deref() == Some("sleep")
        });
    }
    let all = all_namespaces().unwrap();
    let mut namespaces: Vec<u64> = all.iter().map(|seen| seen.namespace).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    assert_eq!(namespaces.len(), all.len());
    assert_eq!(all.iter().filter(|seen| seen.own).count(), 1);
    for child in &children {
        let seen = all.iter().find(|seen| seen.pid == child.0.id()).unwrap();
        assert!(same_namespace(&seen.mounts, &of_pid(child.0.id()).unwrap()));
        assert_eq!(seen.comm, "sleep");
        assert!(!seen.own && !seen.mounts.is_empty());
    }
}
