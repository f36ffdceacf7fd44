//! The whole mount table of a namespace all of whose processes gave up its root directory: read by a
//! thread of ours that enters it for that, and nothing else.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, fstat, open, openat};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// The table as a process would see it whose root directory is the namespace's own; `None` where
/// that namespace can't be entered (it takes CAP_SYS_ADMIN and CAP_SYS_CHROOT) or is gone.
pub(super) fn whole_table(pid: u32, namespace: u64) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let link = open(format!("/proc/{pid}/ns/mnt"), flags, Mode::empty()).ok()?;
    if fstat(&link).ok()?.st_ino != namespace {
        return None;
    }
    // Opened here: what is at /proc over there is not ours to trust.
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = openat(CWD, "/proc", directory, Mode::empty()).ok()?;
    // The thread ends with this, so no other work is ever done in that namespace.
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().name("mount-table".to_owned());
        reader.spawn_scoped(scope, || read_inside(&link, &proc)).ok()?.join().ok()?
    })
}

fn read_inside(link: &OwnedFd, proc: &OwnedFd) -> Option<Vec<u8>> {
    // SAFETY: only root, working directory and umask are unshared, not the table of descriptors.
    unsafe { unshare_unsafe(UnshareFlags::FS) }.ok()?;
    move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Mount)).ok()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let table = openat(proc, "thread-self/mountinfo", flags, Mode::empty()).ok()?;
    let mut text = Vec::new();
    File::from(table).read_to_end(&mut text).ok()?;
    Some(text)
}
