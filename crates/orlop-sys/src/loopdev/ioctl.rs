//! The loop driver's requests, each as one safe function on an open descriptor.

use std::ffi::c_void;
use std::os::fd::AsFd;

use linux_raw_sys::loop_device::{
    LOOP_CLR_FD, LOOP_CONFIGURE, LOOP_CTL_GET_FREE, LOOP_GET_STATUS64, LOOP_SET_CAPACITY, LOOP_SET_STATUS64,
    loop_config, loop_info64,
};
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, NoArg, Opcode, Setter, Updater, ioctl};

/// LOOP_CTL_GET_FREE answers by its return value, which no ready-made pattern of rustix hands on.
struct GetFree;

// SAFETY: the request takes no argument and answers with its return value; nothing is read or
// written through a pointer.
unsafe impl Ioctl for GetFree {
    type Output = u32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _argument: *mut c_void) -> rustix::io::Result<u32> {
        u32::try_from(output).map_err(|_| Errno::OVERFLOW)
    }
}

/// The number of a loop device that is free now; somebody else may take it first.
pub(super) fn get_free(control: impl AsFd) -> rustix::io::Result<u32> {
    // SAFETY: `GetFree` describes this request exactly, see there.
    unsafe { ioctl(control, GetFree) }
}

/// Gives a free loop device its backing file and all its properties at once.
pub(super) fn configure(device: impl AsFd, config: loop_config) -> rustix::io::Result<()> {
    // SAFETY: LOOP_CONFIGURE reads one `loop_config`, which `Setter` passes by reference.
    unsafe { ioctl(device, Setter::<LOOP_CONFIGURE, loop_config>::new(config)) }
}

/// What a loop device is bound to; ENXIO when it is free.
pub(super) fn status(device: impl AsFd) -> rustix::io::Result<loop_info64> {
    let mut info = empty_info();
    // SAFETY: LOOP_GET_STATUS64 writes one `loop_info64` to the address passed, which is ours.
    unsafe {
        ioctl(device, Updater::<LOOP_GET_STATUS64, loop_info64>::new(&mut info))?;
    }
    Ok(info)
}

/// Changes the properties of a bound device that can be changed: its flags.
pub(super) fn set_status(device: impl AsFd, info: loop_info64) -> rustix::io::Result<()> {
    // SAFETY: LOOP_SET_STATUS64 reads one `loop_info64`, which `Setter` passes by reference.
    unsafe { ioctl(device, Setter::<LOOP_SET_STATUS64, loop_info64>::new(info)) }
}

/// Takes the backing file away, or does so at the last close where others have it open.
pub(super) fn clear(device: impl AsFd) -> rustix::io::Result<()> {
    // SAFETY: LOOP_CLR_FD takes no argument.
    unsafe { ioctl(device, NoArg::<LOOP_CLR_FD>::new()) }
}

/// Makes the device as long as its backing file is now.
pub(super) fn set_capacity(device: impl AsFd) -> rustix::io::Result<()> {
    // SAFETY: LOOP_SET_CAPACITY takes no argument.
    unsafe { ioctl(device, NoArg::<LOOP_SET_CAPACITY>::new()) }
}

pub(super) fn empty_info() -> loop_info64 {
    loop_info64 {
        lo_device: 0,
        lo_inode: 0,
        lo_rdevice: 0,
        lo_offset: 0,
        lo_sizelimit: 0,
        lo_number: 0,
        lo_encrypt_type: 0,
        lo_encrypt_key_size: 0,
        lo_flags: 0,
        lo_file_name: [0; 64],
        lo_crypt_name: [0; 64],
        lo_encrypt_key: [0; 32],
        lo_init: [0; 2],
    }
}
