//! Which ids a mount shows for those on disk. What a process of one group writes through one mount
//! can so belong to another group on disk, and to a third one where somebody else looks at it.
//!
//! The kernel takes such a table from a user namespace. One is made with a child process that does
//! nothing else; once a mount has the table, the namespace is needed no more.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::error::{Result, SysError};
use crate::syscall::{self, Forked};

/// Ids go from 0 to one below this, which is none.
const END: u32 = u32::MAX;

/// A table of ids, for [`crate::target::Target::bind`].
#[derive(Debug)]
pub struct IdMap {
    namespace: OwnedFd,
}

impl IdMap {
    /// Shows group `a` where the disk has group `b`, and the other way round; everything else as it
    /// is. No two groups become one, so nothing is lost on the way.
    ///
    /// # Errors
    /// [`SysError::Call`] where the kernel makes no user namespace, or the process may not choose its
    /// ids (CAP_SETUID, CAP_SETGID); [`SysError::Invalid`] for [`u32::MAX`], which is no group.
    pub fn exchanging_groups(a: u32, b: u32) -> Result<Self> {
        if a == END || b == END {
            return Err(SysError::Invalid { what: "gid", detail: format!("{END} is not a valid id") });
        }
        let namespace = Namespace::make()?;
        namespace.write("uid_map", &lines(&[(0, 0, END)]))?;
        namespace.write("gid_map", &lines(&exchanged(a, b)))?;
        namespace.open().map(|namespace| Self { namespace })
    }
}

impl AsFd for IdMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

/// Ranges of ids: the first on disk, the first that is shown, and how many.
fn exchanged(a: u32, b: u32) -> Vec<(u32, u32, u32)> {
    let (low, high) = (a.min(b), a.max(b));
    if low == high {
        return vec![(0, 0, END)];
    }
    let ranges = [
        (0, 0, low),
        (low, high, 1),
        (low + 1, low + 1, high - low - 1),
        (high, low, 1),
        (high + 1, high + 1, END - high - 1),
    ];
    ranges.into_iter().filter(|(_, _, count)| *count > 0).collect()
}

fn lines(ranges: &[(u32, u32, u32)]) -> String {
    ranges.iter().map(|(disk, shown, count)| format!("{disk} {shown} {count}\n")).collect()
}

/// A user namespace that is still without a table, and the child that is in it.
struct Namespace {
    child: Pid,
    /// Closed, it lets the child end.
    lifeline: Option<OwnedFd>,
}

impl Namespace {
    fn make() -> Result<Self> {
        let failed = |errno| SysError::call("make a user namespace", errno);
        let (held, lifeline) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        let (said, says) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        let child = match syscall::fork_keeping(&mut [held.as_fd(), says.as_fd()]).map_err(failed)? {
            // Nothing here allocates or takes a lock: other threads of the parent may have held any.
            Forked::Child => syscall::exit(wait_inside(&held, &says)),
            Forked::Parent(child) => child,
        };
        drop(says);
        let namespace = Self { child, lifeline: Some(lifeline) };
        let mut word = [0_u8; 4];
        let heard = File::from(said).read_exact(&mut word);
        match (heard, i32::from_ne_bytes(word)) {
            (Ok(()), 0) => Ok(namespace),
            (Ok(()), errno) => Err(failed(Errno::from_raw_os_error(errno))),
            // It ended without a word: somebody killed it.
            (Err(_), _) => Err(failed(Errno::CHILD)),
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.child.as_raw_nonzero().to_string()).join(file)
    }

    /// A table is written at once, as a whole, or refused.
    fn write(&self, file: &str, table: &str) -> Result<()> {
        let path = self.path(file);
        let written =
            File::options().write(true).open(&path).and_then(|mut file| file.write_all(table.as_bytes()));
        written.map_err(|error| SysError::io("choose the ids of", &path, &error))
    }

    fn open(&self) -> Result<OwnedFd> {
        let path = self.path("ns/user");
        open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| SysError::on("open", &path, errno))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        while matches!(waitpid(Some(self.child), WaitOptions::empty()), Err(Errno::INTR)) {}
    }
}

/// The child: enters a new user namespace, says how that went, and waits until nobody needs it.
fn wait_inside(held: &OwnedFd, says: &OwnedFd) -> i32 {
    let errno = match syscall::enter_new_user_namespace() {
        Ok(()) => 0,
        Err(errno) => errno.raw_os_error(),
    };
    let _ = rustix::io::write(says, &errno.to_ne_bytes());
    let mut nothing = [0_u8; 1];
    while matches!(rustix::io::read(held, &mut nothing), Err(Errno::INTR)) {}
    0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::filesystem::FsKind;
    use crate::mount::{self, MountAttributes};
    use crate::target::open_target;
    use crate::testing::{MIB, Scratch, Volume, may_mount};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::process::Command;

    #[test]
    fn every_id_is_there_once_and_two_are_exchanged() {
        for (a, b) in [(0, 2000), (2000, 0), (1, 2), (0, END - 1), (END - 2, END - 1), (7, 7)] {
            let ranges = exchanged(a, b);
            let total: u64 = ranges.iter().map(|range| u64::from(range.2)).sum();
            assert_eq!(total, u64::from(END), "{a} {b}");
            let shown = |id: u32| {
                let range = ranges.iter().find(|(disk, _, count)| id >= *disk && id - disk < *count);
                range.map(|(disk, shown, _)| shown + (id - disk)).unwrap()
            };
            assert_eq!((shown(a), shown(b)), (b, a));
            for other in [0, 1, 2, 1999, 2000, 2001, END - 3, END - 1] {
                if other != a && other != b {
                    assert_eq!(shown(other), other, "{a} {b}");
                }
            }
        }
        assert!(matches!(IdMap::exchanging_groups(0, END), Err(SysError::Invalid { .. })));
    }

    /// Runs a script as a user of that group besides its own, and says what it printed.
    fn by(uid: u32, gid: u32, group: u32, script: &str) -> Result<String, String> {
        let output = Command::new("setpriv")
            .args(["--reuid", &uid.to_string(), "--regid", &gid.to_string()])
            .args(["--groups", &group.to_string(), "--no-new-privs", "sh", "-ec", script])
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Two groups at two targets of one volume: each sees as its own what the other writes, on disk
    /// all of it has the volume's group.
    #[test]
    fn what_two_groups_write_at_two_targets_is_one_group_on_disk() {
        if !may_mount() {
            return;
        }
        const OWN: u32 = 3333;
        for kind in [FsKind::Ext4, FsKind::Xfs] {
            let scratch = Scratch::new();
            // Others may pass, as through the directories of an orchestrator.
            std::fs::set_permissions(scratch.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
            let base = scratch.directory("base");
            Volume::new(&scratch, "image", kind, 320 * MIB).mount(&base);
            let data = base.join("data");
            let fd = File::open(&data).unwrap();
            let shared = crate::ownership::Ownership { gid: Some(OWN), mode: Some(0o2775), uid: None };
            crate::ownership::apply(&fd, shared).unwrap();
            std::fs::write(data.join("plain"), "x").unwrap();
            std::os::unix::fs::chown(data.join("plain"), Some(5), Some(2000)).unwrap();
            drop(fd);
            let root = mount::open_directory(&base).unwrap();
            let targets = [2000, 4000].map(|group| {
                let target = open_target(&scratch.directory(&group.to_string()), None).unwrap();
                let ids = IdMap::exchanging_groups(OWN, group).unwrap();
                let attributes = MountAttributes::default();
                let mapped = Some(&ids);
                target.bind(&root, Path::new("data"), attributes, mapped).unwrap();
                target.path().to_owned()
            });
            drop(root);
            let [one, two] = targets.each_ref().map(|path| path.display().to_string());
            let group = |path: &Path| std::fs::symlink_metadata(path).unwrap().gid();
            for (path, gid) in [(&targets[0], 2000), (&targets[1], 4000), (&data, OWN)] {
                assert_eq!(group(path), gid, "{kind}: {}", path.display());
            }
            // One to one: what the disk has of a requested group is shown as the volume's.
            assert_eq!(group(&targets[0].join("plain")), OWN);
            assert_eq!(group(&targets[1].join("plain")), 2000);
            assert_eq!(std::fs::metadata(targets[0].join("plain")).unwrap().uid(), 5);

            by(1000, 1000, 2000, &format!("umask 002; mkdir {one}/dir; echo cargo > {one}/dir/file"))
                .unwrap();
            let made = targets[0].join("dir/file");
            assert_eq!((group(&made), std::fs::metadata(&made).unwrap().uid()), (2000, 1000), "{kind}");
            assert_eq!(group(&targets[1].join("dir/file")), 4000);
            assert_eq!(group(&data.join("dir/file")), OWN);
            assert_eq!(group(&data.join("dir")), OWN);
            // Another user of the other group reads it and writes to it.
            let seen = by(1001, 1001, 4000, &format!("cat {two}/dir/file; echo more >> {two}/dir/file"));
            assert_eq!(seen.unwrap(), "cargo");
            assert_eq!(std::fs::read_to_string(&made).unwrap(), "cargo\nmore\n");
            // Neither the volume's own group nor that of the other target is worth anything here.
            for (group, place) in [(4000, &one), (2000, &two), (OWN, &one), (OWN, &two)] {
                let refused = by(1002, 1002, group, &format!("echo x >> {place}/dir/file"));
                assert!(refused.unwrap_err().contains("Permission denied"), "{kind} {group}");
            }
            // A file can be given to the group that is asked for, and to no other one has not.
            by(1000, 1000, 2000, &format!("touch {one}/given; chgrp 2000 {one}/given")).unwrap();
            assert_eq!(group(&data.join("given")), OWN);
            by(1000, 1000, 2000, &format!("chgrp 4000 {one}/given")).unwrap_err();
            for target in &targets {
                mount::unmount(target).unwrap();
            }
        }
    }

    #[test]
    fn no_process_and_no_namespace_is_left() {
        if !may_mount() {
            return;
        }
        let children = || {
            let all = std::fs::read_to_string("/proc/thread-self/children").unwrap();
            all.split_whitespace().count()
        };
        let before = children();
        let ids = IdMap::exchanging_groups(0, 2000).unwrap();
        assert_eq!(children(), before);
        drop(ids);
    }
}
