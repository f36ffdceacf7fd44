//! What the tests of several modules share: a scratch directory that undoes what was mounted in it,
//! small volumes, and this test program run again as a child, in another namespace if need be.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::UnmountFlags;

use crate::filesystem::{FormatParameters, FsKind, format_parameters, mkfs};
use crate::loopdev::{LoopDevice, LoopOptions, attach};
use crate::mount::{FilesystemMount, MountAttributes, mount_filesystem};
use crate::{image, mountinfo};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// True where the kernel lets us mount. Where it doesn't, says so and the test ends; in CI, which
/// runs as root, that is a failure.
pub(crate) fn may_mount() -> bool {
    let may = crate::host::has_capability(crate::host::Capability::SysAdmin).unwrap();
    if !may {
        assert!(std::env::var_os("CI").is_none(), "CI must run these tests as root");
        eprintln!("skipped: mounting needs root");
    }
    may
}

/// A directory for one test. Whatever the test left mounted in it is unmounted, also when it fails.
pub(crate) struct Scratch {
    directory: Option<tempfile::TempDir>,
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("orlop-sys-").tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        Self { directory: Some(directory), path }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A new empty directory in it.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir(&path).unwrap();
        path
    }

    /// What is mounted somewhere in it now.
    pub(crate) fn mounts(&self) -> Vec<mountinfo::MountEntry> {
        let mut mounts = mountinfo::own().unwrap();
        mounts.retain(|entry| entry.mount_point.starts_with(&self.path));
        mounts
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for entry in self.mounts().iter().rev() {
            let flags = UnmountFlags::NOFOLLOW | UnmountFlags::DETACH;
            let _ = rustix::mount::unmount(&entry.mount_point, flags);
        }
        if !self.mounts().is_empty() {
            // Removing it would empty what is mounted there.
            if let Some(directory) = self.directory.take() {
                let _ = directory.keep();
            }
        }
    }
}

/// An image with a filesystem in it, not attached.
pub(crate) struct Volume {
    pub(crate) image: PathBuf,
    pub(crate) parameters: FormatParameters,
}

impl Volume {
    pub(crate) fn new(scratch: &Scratch, name: &str, kind: FsKind, size: u64) -> Self {
        let image = scratch.path(name);
        let parameters = format_parameters(kind, size).unwrap();
        drop(image::create(&image, size).unwrap());
        mkfs(&image, &parameters, None, PATIENCE).unwrap();
        Self { image, parameters }
    }

    pub(crate) fn small(scratch: &Scratch, name: &str) -> Self {
        Self::new(scratch, name, FsKind::Ext4, 16 * MIB)
    }

    pub(crate) fn attach(&self) -> LoopDevice {
        let options =
            LoopOptions { block_size: self.parameters.loop_block_size, direct_io: true, read_only: false };
        attach(&self.image, options).unwrap()
    }

    /// Mounts it; the loop device is then held by the mount alone.
    pub(crate) fn mount(&self, target: &Path) -> crate::mount::Mounted {
        let device = self.attach();
        let node = device.node();
        mount_filesystem(plain_mount(&node, self.parameters.kind), target).unwrap()
    }
}

pub(crate) fn plain_mount(device: &Path, kind: FsKind) -> FilesystemMount<'_> {
    FilesystemMount {
        device,
        kind,
        discard: true,
        synchronous: false,
        read_only: false,
        attributes: MountAttributes::default(),
    }
}

/// A process that is killed and reaped at the end of the test.
pub(crate) struct KilledAtEnd(pub(crate) Child);

impl Drop for KilledAtEnd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that runs one test of this program again as a child, behind the given wrapper. By a
/// variable of its environment the test knows that it is the child, and does the child's part.
pub(crate) fn child_test(wrapper: &[&str], name: &str) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut words: Vec<&std::ffi::OsStr> = wrapper.iter().map(std::ffi::OsStr::new).collect();
    words.push(program.as_os_str());
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["--exact", "--nocapture", name]).stdin(Stdio::null());
    command
}

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
