//! Trees with one of everything, copied and compared.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::error::SysError;
use crate::testing::{Scratch, may_mount};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, lgetxattr,
    lsetxattr, mkdirat, mknodat, openat, utimensat,
};
use std::convert::Infallible;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

const MIB: u64 = 1 << 20;
/// `u::rw-,u:7:rw-,g::r--,m::rw-,o::---` as the kernel keeps it.
const ACL: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 6, 0, 7, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16,
    0, 6, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];

struct Pair {
    _dir: tempfile::TempDir,
    from: PathBuf,
    to: PathBuf,
}

impl Pair {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        Self { _dir: dir, from, to }
    }

    fn copy(&self) -> Result<Tally, SysError> {
        let (from, to) = (File::open(&self.from).unwrap(), File::open(&self.to).unwrap());
        copy(from, to, |_| Ok::<_, Infallible>(())).map_err(failed)
    }
}

fn failed(unfinished: Unfinished<Infallible>) -> SysError {
    match unfinished {
        Unfinished::Failed(error) => error,
        Unfinished::Stopped(never) => match never {},
    }
}

fn sum(of: &std::path::Path) -> crate::Checksum {
    checksum(File::open(of).unwrap(), |_| Ok::<_, Infallible>(())).unwrap()
}

fn set(path: &std::path::Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn time(path: &std::path::Path, seconds: i64) {
    let at = Timespec { tv_sec: seconds, tv_nsec: 123_456_700 };
    let times = Timestamps { last_access: at, last_modification: at };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// One of everything.
fn fill(root: &std::path::Path) {
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/file"), "content").unwrap();
    fs::hard_link(root.join("a/file"), root.join("a/b/same")).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(64 * MIB + 3).unwrap();
    sparse.write_all_at(b"middle", 32 * MIB + 7).unwrap();
    sparse.write_all_at(b"end", 64 * MIB).unwrap();
    symlink("/etc/passwd", root.join("link")).unwrap();
    symlink("nowhere", root.join("a/dangling")).unwrap();
    mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    mknodat(CWD, root.join("socket"), FileType::Socket, Mode::RUSR, 0).unwrap();
    mknodat(CWD, root.join("whiteout"), FileType::CharacterDevice, Mode::RUSR, 0).unwrap();
    fs::write(root.join("strange \n\"name\u{e9}"), "").unwrap();
    for path in ["a/file", "link", "fifo", "socket", "whiteout", "a/b"] {
        let (uid, gid) = (Uid::from_raw(1234), Gid::from_raw(77));
        chownat(CWD, root.join(path), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    fs::set_permissions(root.join("a/file"), fs::Permissions::from_mode(0o6751)).unwrap();
    fs::set_permissions(root.join("a/b"), fs::Permissions::from_mode(0o1770)).unwrap();
    set(&root.join("a/file"), "user.note", b"cargo");
    set(
        &root.join("a/file"),
        "security.capability",
        &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    set(&root.join("sparse"), "system.posix_acl_access", &ACL);
    set(&root.join("a"), "system.posix_acl_default", &ACL);
    set(&root.join("link"), "trusted.note", b"on the link");
    for (index, path) in ["a/file", "link", "a/b", "a", "fifo", "sparse", "."].iter().enumerate() {
        time(&root.join(path), -1_000_000 + 100_000_000 * i64::try_from(index).unwrap());
    }
}

#[test]
fn a_copy_is_faithful() {
    if !may_mount() {
        return;
    }
    let pair = Pair::new();
    fill(&pair.from);
    let tally = pair.copy().unwrap();
    assert_eq!(tally.entries, 11);
    assert!((1..MIB).contains(&tally.bytes), "the holes were read: {tally:?}");
    let to = |name: &str| pair.to.join(name);
    let (of, same) = (fs::metadata(to("a/file")).unwrap(), fs::metadata(to("a/b/same")).unwrap());
    assert_eq!((of.uid(), of.gid(), of.mode() & 0o7777, of.nlink()), (1234, 77, 0o6751, 2));
    assert_eq!(of.ino(), same.ino());
    assert_eq!((of.mtime(), of.mtime_nsec()), (-1_000_000, 123_456_700));
    let mut value = [0; 64];
    assert_eq!(lgetxattr(to("a/file"), "security.capability", &mut value).unwrap(), 20);
    assert_eq!(lgetxattr(to("a"), "system.posix_acl_default", &mut value).unwrap(), ACL.len());
    assert_eq!(lgetxattr(to("link"), "trusted.note", &mut value).unwrap(), 11);
    let sparse = fs::metadata(to("sparse")).unwrap();
    assert_eq!(sparse.len(), 64 * MIB + 3);
    assert!(sparse.blocks() * 512 < MIB, "the holes were filled: {} blocks", sparse.blocks());
    assert_eq!(fs::read_link(to("link")).unwrap(), PathBuf::from("/etc/passwd"));
    assert_eq!(fs::metadata(to("a")).unwrap().mtime(), fs::metadata(pair.from.join("a")).unwrap().mtime());
    assert_eq!(sum(&pair.from), sum(&pair.to));
    let counted = measure(File::open(&pair.from).unwrap(), || Ok::<_, Infallible>(())).unwrap();
    assert_eq!(counted.entries, 11);
}

#[test]
fn the_checksum_sees_every_difference() {
    if !may_mount() {
        return;
    }
    type Change = (&'static str, fn(&std::path::Path));
    let changes: &[Change] = &[
        ("content", |root| {
            let file = File::options().write(true).open(root.join("sparse")).unwrap();
            file.write_all_at(b"M", 32 * MIB + 7).unwrap();
            time(&root.join("sparse"), -1_000_000 + 500_000_000);
        }),
        ("length", |root| {
            File::options().write(true).open(root.join("sparse")).unwrap().set_len(64 * MIB + 4).unwrap();
            time(&root.join("sparse"), -1_000_000 + 500_000_000);
        }),
        ("owner", |root| std::os::unix::fs::lchown(root.join("link"), Some(1), None).unwrap()),
        ("mode", |root| {
            fs::set_permissions(root.join("a/b"), fs::Permissions::from_mode(0o770)).unwrap();
        }),
        ("time", |root| time(&root.join("fifo"), 5)),
        ("attribute", |root| set(&root.join("a/file"), "user.note", b"Cargo")),
        ("name", |root| fs::rename(root.join("socket"), root.join("Socket")).unwrap()),
        ("link", |root| {
            fs::remove_file(root.join("a/b/same")).unwrap();
            fs::copy(root.join("a/file"), root.join("a/b/same")).unwrap();
        }),
        ("root", |root| fs::set_permissions(root, fs::Permissions::from_mode(0o711)).unwrap()),
    ];
    for (what, change) in changes {
        let pair = Pair::new();
        fill(&pair.from);
        let before = sum(&pair.from);
        assert_eq!(before, sum(&pair.from), "reading changes nothing");
        change(&pair.from);
        assert_ne!(before, sum(&pair.from), "{what}");
    }
}

#[test]
fn holes_and_zeros_are_the_same_to_a_reader() {
    let pair = Pair::new();
    for (root, zeros) in [(&pair.from, true), (&pair.to, false)] {
        let file = File::create(root.join("file")).unwrap();
        file.set_len(MIB + 5).unwrap();
        file.write_all_at(b"x", 300_000).unwrap();
        if zeros {
            file.write_all_at(&[0; 4096], 500_000).unwrap();
        }
        time(&root.join("file"), 7);
        time(root, 7);
    }
    assert_eq!(sum(&pair.from), sum(&pair.to));
}

#[test]
fn no_depth_is_too_deep_and_no_link_leads_out() {
    let pair = Pair::new();
    let mut at: std::os::fd::OwnedFd = File::open(&pair.from).unwrap().into();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let name = "d".repeat(200);
    for _ in 0..100 {
        mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = openat(&at, &name, flags, Mode::empty()).unwrap();
    }
    let deep = openat(&at, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    rustix::fs::linkat(&at, "file", &at, "again", AtFlags::empty()).unwrap();
    drop(deep);
    assert_eq!(pair.copy().unwrap().entries, 102);
    assert_eq!(sum(&pair.from), sum(&pair.to));

    // A directory that became a link meanwhile is not followed.
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), pair.from.join("out")).unwrap();
    let root = File::open(&pair.from).unwrap();
    assert!(walk::open_directory(root.as_fd(), std::path::Path::new("out")).is_err());
}

/// It would be copied in place of what is under it.
#[test]
fn what_is_mounted_in_it_is_refused() {
    if !may_mount() {
        return;
    }
    for kind in ["file", "directory"] {
        let scratch = Scratch::new();
        let (from, to) = (scratch.directory("from"), scratch.directory("to"));
        let (over, other) = (from.join("entry"), scratch.path("other"));
        for path in [&over, &other] {
            if kind == "file" { fs::write(path, "x").unwrap() } else { fs::create_dir(path).unwrap() }
        }
        rustix::mount::mount_bind(&other, &over).unwrap();
        let copied = copy(File::open(&from).unwrap(), File::open(&to).unwrap(), |_| Ok::<_, Infallible>(()));
        let error = failed(copied.unwrap_err());
        assert!(matches!(&error, SysError::Busy { path, .. } if path.ends_with("entry")), "{kind}: {error}");
    }
}

#[test]
fn whoever_watches_can_stop_it() {
    let pair = Pair::new();
    for name in ["a", "b", "c"] {
        fs::write(pair.from.join(name), "x").unwrap();
    }
    let (from, to) = (File::open(&pair.from).unwrap(), File::open(&pair.to).unwrap());
    let mut calls = 0;
    let ended = copy(from, to, |_| {
        calls += 1;
        if calls > 2 { Err("enough") } else { Ok(()) }
    });
    assert!(matches!(ended, Err(Unfinished::Stopped("enough"))));
    assert!(!pair.to.join("c").exists());
}
