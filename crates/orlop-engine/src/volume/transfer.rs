//! All files of a volume into a new image, with another size or filesystem: what users see, and what a
//! repair could not put back in its place. Both are mounted for it, where nobody sees them; the copy is
//! verified by a checksum of all that it keeps, read back from the disk.

use std::{os::fd::OwnedFd, path::Path};

use orlop_model::{Error, ErrorKind, Result};
use orlop_sys::{
    beneath::{self, OFlags},
    filesystem::DATA_DIRECTORY,
    mount, space, tree,
};

use crate::{
    admission::human,
    attachment::{attach, detach, place},
    backend::image::{
        Image,
        attach::{self as image_attach, Remaining},
        format as image_format,
    },
    core::Core,
    host::{On, ended, failure},
    running::Meter,
    store::VolumeRow,
};

/// Where the checkers put what has no place any more, beside the directory that users see.
const RESCUED: &str = "lost+found";
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Makes the image `new` with its filesystem, copies the files of `old` into it, and verifies them.
/// Nobody uses the volume; afterwards neither is mounted, and `new` is flushed.
pub(crate) fn files(core: &Core, row: &VolumeRow, old: &Image, new: &Image, meter: &Meter<'_>) -> Result<()> {
    meter.phase("formatting", None);
    image_format::make(new.path(), new.size, &new.placement, &new.object)?;
    if new.placement.preallocated {
        image_format::preallocate(new.path(), new.size, &new.object)?;
    }
    let transferred = mounted(core, row, old, new, meter);
    let cleared = unmount(core, new);
    let taken_down = detach::take_down(core, row, old);
    transferred?;
    cleared?;
    taken_down?;
    image_format::flush(new.path(), &new.object)
}

fn mounted(core: &Core, row: &VolumeRow, old: &Image, new: &Image, meter: &Meter<'_>) -> Result<()> {
    let base = core.places.base(row.id);
    let incoming = core.places.incoming(row.id);
    let object = &old.object;
    attach::stage(core, row, old)?;
    stage(core, row, new)?;
    let used = space::usage(&base).on(object)?.used;
    let room = space::usage(&incoming).on(object)?.available;
    if used > room {
        return Err(Error::new(
            ErrorKind::LowSpace,
            format!(
                "the files of {object} need {}, and a volume of that size has room for {}",
                human(used),
                human(room)
            ),
        )
        .object(object)
        .hint("ask for a larger size, or delete what is not needed; nothing was changed"));
    }
    let trees = trees(&base, meter, object)?;
    meter.phase("copying", Some(used));
    let advance = |bytes| meter.advance(bytes);
    for tree in trees {
        beneath::make_directory(mount::open_directory(&incoming).on(object)?, Path::new(tree), 0o700)
            .on(object)?;
        let (source, target) = (directory(&base, tree, object)?, directory(&incoming, tree, object)?);
        ended(tree::copy(source, target, advance), object)?;
    }
    // What is read back comes from the disk, and not from what was cached when it was written.
    unmount(core, new)?;
    stage(core, row, new)?;
    meter.phase("verifying", Some(used.saturating_mul(2)));
    for tree in trees {
        let written = ended(tree::checksum(directory(&incoming, tree, object)?, advance), object)?;
        let read = ended(tree::checksum(directory(&base, tree, object)?, advance), object)?;
        if read != written {
            return Err(Error::new(
                ErrorKind::Host,
                format!("{object}: the copy of its files is not what they are"),
            )
            .object(object)
            .hint("nothing was changed; see the kernel's log (dmesg) for errors of the disk or of memory"));
        }
    }
    Ok(())
}

/// The directories of the filesystem on `base` that hold files of the volume's users.
fn trees(base: &Path, meter: &Meter<'_>, object: &str) -> Result<&'static [&'static str]> {
    let root = mount::open_directory(base).on(object)?;
    let rescued = match beneath::open(&root, Path::new(RESCUED), DIRECTORY) {
        Ok(rescued) => ended(tree::measure(&rescued, || meter.advance(0)), object)?.entries > 0,
        Err(error) if error.is_not_found() => false,
        Err(error) => return Err(failure(&error, object)),
    };
    Ok(if rescued { &[DATA_DIRECTORY, RESCUED] } else { &[DATA_DIRECTORY] })
}

/// Whether an image that is to take the place of the volume's can be used as that: mounts it where nobody
/// sees it, for a moment. Afterwards it is flushed.
///
/// # Errors
/// [`ErrorKind::Damaged`] where it can't.
pub(super) fn try_out(core: &Core, row: &VolumeRow, new: &Image) -> Result<()> {
    let tried = stage(core, row, new);
    unmount(core, new)?;
    core.places.clear(row.id);
    tried?;
    // Mounting and unmounting it wrote to it.
    image_format::flush(new.path(), &new.object)
}

fn stage(core: &Core, row: &VolumeRow, image: &Image) -> Result<()> {
    core.places.prepare_incoming(row.id, &image.object)?;
    image_attach::stage(image, &core.places.incoming(row.id), attach::using(row)).map(drop)
}

fn unmount(core: &Core, image: &Image) -> Result<()> {
    let place = core.places.incoming(image.id);
    image_attach::unstage(&place).map_err(|error| failure(&error, &image.object))?;
    // Takes it out of other namespaces too, where one began meanwhile.
    place::remove(&place);
    match image_attach::remaining_patiently(image)? {
        Remaining::Nobody => Ok(()),
        Remaining::Somebody(device) => Err(Error::new(
            ErrorKind::InUse,
            format!(
                "{}: something on this host holds device {device}, which was made for a copy",
                image.object
            ),
        )
        .object(&image.object)
        .hint("end what looks at block devices, and try again; nothing was changed")),
    }
}

/// A directory in the root of the filesystem that is mounted there.
fn directory(base: &Path, name: &str, object: &str) -> Result<OwnedFd> {
    let root = mount::open_directory(base).on(object)?;
    beneath::open(&root, Path::new(name), DIRECTORY).on(object)
}
