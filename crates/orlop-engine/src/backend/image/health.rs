//! What is wrong with an image, said in words a user can act on. Nothing here repairs more than the
//! filesystem's own journal would.

use std::{os::unix::fs::FileTypeExt, path::Path, time::Duration};

use orlop_model::{Error, ErrorKind, Result};
use orlop_sys::{
    Errno, SysError,
    filesystem::{CheckMode, CheckOutcome, check, superblock},
    mount,
};

use super::Image;
use crate::{admission::human, host::On};

/// A check reads all metadata of a large volume.
pub(crate) const CHECK_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Whether the image is there and as long as it was made: one look at the file.
///
/// # Errors
/// [`ErrorKind::Damaged`] with the reason and what to do.
pub(crate) fn examine(image: &Image) -> Result<()> {
    const REMEDY: &str = "put the image back from a copy, or delete the volume";
    let path = image.path().display();
    let found = match std::fs::symlink_metadata(image.path()) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(damaged(image, &format!("its image {path} is missing")).hint(REMEDY));
        }
        Err(error) => {
            return Err(Error::new(
                ErrorKind::Host,
                format!("{}: can't look at {path}: {error}", image.object),
            )
            .object(&image.object)
            .hint("see the kernel's log (dmesg) for errors of the disk"));
        }
    };
    if !found.file_type().is_file() {
        let what = if found.file_type().is_block_device() { "a block device" } else { "something else" };
        return Err(damaged(image, &format!("its image {path} was replaced by {what}")).hint(REMEDY));
    }
    if found.len() != image.size {
        let how = if found.len() < image.size { "truncated" } else { "made longer" };
        let (has, needs) = (human(found.len()), human(image.size));
        return Err(damaged(
            image,
            &format!(
                "its image {path} was {how}: it has {} bytes ({has}) instead of {} ({needs})",
                found.len(),
                image.size
            ),
        )
        .hint(REMEDY));
    }
    Ok(())
}

/// Whether what is mounted met no error, and still takes writes.
///
/// # Errors
/// [`ErrorKind::Damaged`] where it is not so.
pub(crate) fn is_sound(image: &Image, base: &Path) -> Result<()> {
    let Some(found) = mount::condition(base).on(&image.object)? else { return Ok(()) };
    let what = match found.errors {
        _ if found.stopped => "its filesystem met an error and takes no more writes".to_owned(),
        Some(errors) if errors > 0 => format!("its filesystem met {errors} error(s)"),
        Some(_) | None => return Ok(()),
    };
    Err(damaged(image, &what).hint(format!(
        "see the kernel's log (dmesg); stop what uses the volume, then check it: {}",
        image.check_command()
    )))
}

/// Before it is mounted: an ext4 that met an error would mount as if nothing were wrong, and write
/// on with damaged metadata. It is checked first, and only what loses nothing is repaired. The image
/// has no loop device now.
///
/// # Errors
/// [`ErrorKind::Damaged`] where that is not enough.
pub(crate) fn settle_error(image: &Image) -> Result<()> {
    let kind = image.kind()?;
    if superblock(image.path()).on(&image.object)?.and_then(|found| found.met_error) != Some(true) {
        return Ok(());
    }
    let program = image.checker();
    let detail = match check(image.path(), kind, CheckMode::Safe, CHECK_LIMIT).on(&image.object)? {
        CheckOutcome::Clean | CheckOutcome::Repaired { .. } => return Ok(()),
        CheckOutcome::LogDirty => "its log can't be replayed".to_owned(),
        CheckOutcome::Damaged { detail } => detail,
    };
    Err(damaged(image, &format!("its filesystem met an error, and {program} says: {}", one_line(&detail)))
        .hint(remedy(image)))
}

/// What may be done with an image that would not mount.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Its journal was replayed, and nothing else was wrong: try once more.
    TryAgain,
    /// It should not be mounted.
    Damaged(Error),
}

/// Says why an image would not mount. The image has no loop device now. `refusal` is what the kernel
/// said.
pub(crate) fn diagnose(image: &Image, refusal: &SysError) -> Verdict {
    let kind = match image.kind() {
        Ok(kind) => kind,
        Err(error) => return Verdict::Damaged(error),
    };
    let detail = match check(image.path(), kind, CheckMode::ReadOnly, CHECK_LIMIT) {
        // The log alone, or nothing that the check can see: e2fsck -p replays it, and stops at
        // anything that could lose data.
        Ok(CheckOutcome::Clean | CheckOutcome::LogDirty) => {
            match check(image.path(), kind, CheckMode::Safe, CHECK_LIMIT) {
                Ok(CheckOutcome::Clean | CheckOutcome::Repaired { .. }) => return Verdict::TryAgain,
                Ok(CheckOutcome::LogDirty) => "its log can't be replayed".to_owned(),
                Ok(CheckOutcome::Damaged { detail }) => detail,
                Err(error) => error.to_string(),
            }
        }
        Ok(CheckOutcome::Repaired { detail } | CheckOutcome::Damaged { detail }) => detail,
        Err(error) => error.to_string(),
    };
    Verdict::Damaged(unmountable(image, refusal, &detail))
}

/// The image does not mount, and a check said `detail` of it.
pub(crate) fn unmountable(image: &Image, refusal: &SysError, detail: &str) -> Error {
    let program = image.checker();
    let detail = one_line(detail);
    damaged(image, &format!("its filesystem can't be mounted: {refusal}; {program} says: {detail}"))
        .hint(remedy(image))
}

fn one_line(detail: &str) -> String {
    let lines: Vec<&str> = detail.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

fn remedy(image: &Image) -> String {
    format!("repair it as root: {} --repair; or put it back from a copy", image.check_command())
}

/// A check found `detail` wrong with the filesystem.
pub(crate) fn unsound(image: &Image, detail: &str) -> Error {
    let program = image.checker();
    damaged(image, &format!("{program} says of its filesystem: {}", one_line(detail))).hint(remedy(image))
}

/// A repair that did not come to its end: the volume is as it was.
pub(crate) fn unrepaired(image: &Image, what: &str) -> Error {
    let message = format!("{} could not be repaired, and is as it was: {}", image.object, one_line(what));
    Error::new(ErrorKind::Damaged, message)
        .object(&image.object)
        .hint("put it back from a copy or a snapshot")
}

/// Whether the kernel's refusal to mount speaks of what is in the image, and not of the host: what
/// filesystems answer for a bad superblock, bad checksums, bad metadata and a log that failed.
pub(crate) fn is_of_the_image(error: &SysError) -> bool {
    matches!(
        error.errno(),
        Some(Errno::INVAL | Errno::UCLEAN | Errno::IO | Errno::BADMSG | Errno::NOTRECOVERABLE)
    )
}

pub(crate) fn damaged(image: &Image, what: &str) -> Error {
    Error::new(ErrorKind::Damaged, format!("{} is not usable: {what}", image.object)).object(&image.object)
}
