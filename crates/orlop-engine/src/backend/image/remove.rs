//! Removing an image, for good. Called last of all, after it was verified that nobody holds it.

use std::path::Path;

use orlop_model::{Error, ErrorKind, Result};
use orlop_sys::{Errno, durable};

use super::Image;
use crate::{
    fault::{self, Point},
    host::On,
};

/// Removes the volume's directory: its description first, the image after that, and then the
/// directory itself. Only what we put there is removed; anything else keeps the directory.
pub(crate) fn destroy(image: &Image, record: &Path) -> Result<()> {
    durable::remove_file(record).on(&image.object)?;
    remove_leftovers(image)?;
    fault::point(Point::DeleteDescribed)?;
    durable::remove_file(image.path()).on(&image.object)?;
    fault::point(Point::DeleteUnlinked)?;
    remove_directory(image)?;
    fault::point(Point::DeleteRemoved)
}

/// Removes what was begun of a volume that was never finished. That nothing is there is no error.
pub(crate) fn discard(image: &Image, record: &Path) -> Result<()> {
    durable::remove_file(record).on(&image.object)?;
    remove_leftovers(image)?;
    durable::remove_file(image.path()).on(&image.object)?;
    remove_directory(image)
}

/// # Errors
/// [`ErrorKind::Conflict`] where somebody put something into it.
fn remove_directory(image: &Image) -> Result<()> {
    match durable::remove_dir(&image.directory) {
        Err(error) if error.errno() == Some(Errno::NOTEMPTY) => Err(foreign(image)),
        removed => removed.on(&image.object),
    }
}

fn foreign(image: &Image) -> Error {
    const NAMED: usize = 3;
    let entries = std::fs::read_dir(&image.directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| format!("{:?}", entry.file_name())).collect();
    names.sort();
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    names.truncate(NAMED);
    let directory = image.directory.display();
    Error::new(
        ErrorKind::Conflict,
        format!(
            "{}: its data is gone, but {directory} holds {}{more}, which Orlop did not put there",
            image.object,
            names.join(", ")
        ),
    )
    .object(&image.object)
    .hint("move that elsewhere or remove it: the rest then goes by itself")
}

/// Removes what a crash left of a description that was being replaced.
pub(crate) fn remove_leftovers(image: &Image) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(&image.directory) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".volume.json.") && name.ends_with(".new") {
            durable::remove_file(&entry.path()).on(&image.object)?;
        }
    }
    Ok(())
}
