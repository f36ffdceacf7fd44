//! The system calls that rustix does not have, and nothing else.

use std::ffi::{c_int, c_long};
use std::os::fd::{AsRawFd, BorrowedFd};

use linux_raw_sys::general::{__NR_mount_setattr, AT_EMPTY_PATH, mount_attr};
use rustix::io::Errno;

unsafe extern "C" {
    // The C library's own entry to any system call; every Rust program on Linux links it.
    fn syscall(number: c_long, ...) -> c_long;
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
