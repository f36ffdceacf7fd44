//! The system calls that rustix does not have, and nothing else.

use std::ffi::{c_int, c_long, c_uint};
use std::os::fd::{AsRawFd, BorrowedFd};

use linux_raw_sys::general::{
    __NR_close_range, __NR_exit_group, __NR_mount_setattr, __NR_rt_sigprocmask, __NR_unshare, AT_EMPTY_PATH,
    CLONE_NEWUSER, SIG_SETMASK, mount_attr,
};
use rustix::io::Errno;
use rustix::process::{Pid, setsid};

unsafe extern "C" {
    // The C library's own entry to any system call; every Rust program on Linux links it.
    fn syscall(number: c_long, ...) -> c_long;
    fn fork() -> c_int;
}

/// Which of the two processes this is, after a fork.
pub(crate) enum Forked {
    Parent(Pid),
    /// A copy of a process that may have had other threads: until its end it must not allocate nor
    /// take a lock, as one of them may have held any.
    Child,
}

/// Forks. The child has no descriptors but those of `kept`, no terminal and no process group of
/// ours, and no signal reaches it but the one that can't be caught.
pub(crate) fn fork_keeping(kept: &mut [BorrowedFd<'_>]) -> Result<Forked, Errno> {
    kept.sort_unstable_by_key(AsRawFd::as_raw_fd);
    let before = set_signal_mask(u64::MAX);
    // SAFETY: the child runs only the code below and what its caller promised, see `Forked::Child`.
    let pid = unsafe { fork() };
    if pid == 0 {
        let _ = setsid();
        let mut first: c_uint = 0;
        for fd in kept.iter().map(|fd| fd.as_raw_fd().cast_unsigned()) {
            close_range(first, fd.checked_sub(1));
            first = fd + 1;
        }
        close_range(first, Some(c_uint::MAX));
        return Ok(Forked::Child);
    }
    let error = std::io::Error::last_os_error();
    set_signal_mask(before);
    Pid::from_raw(pid)
        .filter(|_| pid > 0)
        .map(Forked::Parent)
        .ok_or_else(|| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))
}

/// Closes the descriptors from `first` to `last` of a forked child, where there are any.
fn close_range(first: c_uint, last: Option<c_uint>) {
    if let Some(last) = last.filter(|last| *last >= first) {
        // SAFETY: the descriptors are the child's own copies, and nothing uses them there.
        unsafe { syscall(c_long::from(__NR_close_range), first, last, 0 as c_uint) };
    }
}

/// Ends a forked child, and nothing else happens in it.
pub(crate) fn exit(status: i32) -> ! {
    loop {
        // SAFETY: it takes a number and does not return.
        unsafe { syscall(c_long::from(__NR_exit_group), status) };
    }
}

/// Moves the process into a new user namespace. It must have one thread only: a forked child.
pub(crate) fn enter_new_user_namespace() -> Result<(), Errno> {
    // SAFETY: it takes a number, and changes what the process may do and nothing in its memory.
    match unsafe { syscall(c_long::from(__NR_unshare), c_long::from(CLONE_NEWUSER)) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

/// Sets which signals wait for this thread, and says which did before.
fn set_signal_mask(mask: u64) -> u64 {
    let mut before = 0_u64;
    // SAFETY: both sets are of the kernel's size, which is passed, and live for the whole call.
    unsafe {
        syscall(
            c_long::from(__NR_rt_sigprocmask),
            SIG_SETMASK as c_int,
            std::ptr::from_ref(&mask),
            std::ptr::from_mut(&mut before),
            size_of::<u64>(),
        )
    };
    before
}

/// Changes the attributes of the mount that `mount` refers to, and of no other.
pub(crate) fn mount_setattr(mount: BorrowedFd<'_>, attributes: &mount_attr) -> Result<(), Errno> {
    // SAFETY: `mount` is open for the whole call, the path is an empty C string, `attributes` points
    // to a `mount_attr` of exactly the size passed, and the kernel only reads them.
    let result = unsafe {
        syscall(
            c_long::from(__NR_mount_setattr),
            mount.as_raw_fd() as c_int,
            c"".as_ptr(),
            AT_EMPTY_PATH as c_int,
            std::ptr::from_ref(attributes),
            size_of::<mount_attr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}
