//! Owner and mode of one directory. Never recursive: a volume may hold millions of files, and what
//! is in it belongs to its users.

use std::os::fd::AsFd;

use rustix::fs::{Gid, Mode, Uid, fchmod, fchown, fstat};

use crate::error::{Result, SysError};

/// What a volume's root directory should have; `None` leaves it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ownership {
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// The permission bits, at most 0o7777.
    pub mode: Option<u32>,
}

/// Applies it to the directory behind a descriptor, which must be open to read (not `O_PATH`).
///
/// The owner comes first: changing it clears the set-user-id and set-group-id bits of the mode.
pub fn apply(directory: impl AsFd, ownership: Ownership) -> Result<()> {
    if ownership.uid.is_some() || ownership.gid.is_some() {
        // The kernel reads this id as "leave it as it is".
        if ownership.uid == Some(u32::MAX) || ownership.gid == Some(u32::MAX) {
            return Err(SysError::Invalid {
                what: "uid or gid",
                detail: format!("{} is not a valid id", u32::MAX),
            });
        }
        let uid = ownership.uid.map(Uid::from_raw);
        let gid = ownership.gid.map(Gid::from_raw);
        fchown(&directory, uid, gid)
            .map_err(|errno| SysError::call("change the owner of the volume's root", errno))?;
    }
    if let Some(mode) = ownership.mode {
        fchmod(&directory, Mode::from_raw_mode(mode & 0o7777))
            .map_err(|errno| SysError::call("change the mode of the volume's root", errno))?;
    }
    Ok(())
}

/// What the directory or file behind a descriptor has.
pub fn of(directory: impl AsFd) -> Result<Ownership> {
    let found =
        fstat(&directory).map_err(|errno| SysError::call("look at the owner of the volume's root", errno))?;
    Ok(Ownership {
        uid: Some(found.st_uid),
        gid: Some(found.st_gid),
        mode: Some(Mode::from_raw_mode(found.st_mode).as_raw_mode()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn owner_and_mode_are_set_on_the_directory_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), b"").unwrap();
        let fd = std::fs::File::open(dir.path()).unwrap();
        let wanted = Ownership { uid: Some(1234), gid: Some(4321), mode: Some(0o2770) };
        apply(&fd, wanted).unwrap();
        let found = fd.metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (1234, 4321));
        assert_eq!(found.mode() & 0o7777, 0o2770);
        let inside = std::fs::metadata(dir.path().join("file")).unwrap();
        assert_eq!(inside.uid(), rustix::process::geteuid().as_raw());
        assert_eq!(of(&fd).unwrap(), wanted);
        apply(&fd, Ownership::default()).unwrap();
        assert_eq!(fd.metadata().unwrap().uid(), 1234);
        let invalid = Ownership { uid: Some(u32::MAX), ..Ownership::default() };
        assert!(apply(&fd, invalid).is_err());
    }
}
