//! The container image of the tests: one static busybox, made on the spot, nothing downloaded.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::command::run;
use crate::skip::program;

/// The user beside root in the image, for containers that don't run as root: name and id.
pub const APP_USER: (&str, u32) = ("app", 1000);

/// Makes the root filesystem as a tar archive in `dir`, and says where. It takes a few
/// milliseconds, so every engine makes its own.
#[track_caller]
pub fn archive(dir: &Path) -> PathBuf {
    let (root, tar) = (dir.join("rootfs"), dir.join("rootfs.tar"));
    if !tar.exists() {
        build(&root).unwrap_or_else(|e| panic!("cannot make the image's files: {e}"));
        run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".")).ok();
    }
    tar
}

fn build(root: &Path) -> io::Result<()> {
    for dir in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(root.join(dir))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    let (name, id) = APP_USER;
    let users = format!("root:x:0:0::/:/bin/sh\n{name}:x:{id}:{id}::/tmp:/bin/sh\n");
    fs::write(root.join("etc/passwd"), users)?;
    fs::write(root.join("etc/group"), format!("root:x:0:\n{name}:x:{id}:\n"))?;
    let busybox = program("busybox").ok_or_else(|| io::Error::other("no busybox"))?;
    fs::copy(&busybox, root.join("bin/busybox"))?;
    for applet in run(Command::new(&busybox).arg("--list")).ok().lines() {
        if applet != "busybox" {
            symlink("busybox", root.join("bin").join(applet))?;
        }
    }
    Ok(())
}
