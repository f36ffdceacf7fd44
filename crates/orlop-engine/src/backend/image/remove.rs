//! Removing an image, for good. Called last of all, after it was verified that nobody holds it.

use std::path::Path;

use orlop_model::{Error, ErrorKind, Result};
use orlop_sys::{Errno, durable};

use super::Image;
use crate::{
    directory::entries,
    fault::{self, Point},
    format::REPLACEMENT,
    host::On,
};

/// Removes the volume's directory: its description first, the image after that, and then the
/// directory itself. Only what we put there is removed; anything else keeps the directory.
pub(crate) fn destroy(image: &Image, record: &Path) -> Result<()> {
    remove_record(image, record)?;
    fault::point(Point::DeleteDescribed)?;
    durable::remove_file(image.path()).on(&image.object)?;
    fault::point(Point::DeleteUnlinked)?;
    remove_directory(image)?;
    fault::point(Point::DeleteRemoved)
}

/// Removes what was begun of a volume that was never finished. That nothing is there is no error.
pub(crate) fn discard(image: &Image, record: &Path) -> Result<()> {
    remove_record(image, record)?;
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
    let mut names: Vec<String> = match entries(&image.directory) {
        Ok(found) => found.into_iter().map(|(_, name)| format!("{name:?}")).collect(),
        Err(error) => return error,
    };
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
            "{}: its directory {directory} stays for now: it holds {}{more}, which Orlop did not put there",
            image.object,
            names.join(", ")
        ),
    )
    .object(&image.object)
    .hint("move that elsewhere or remove it: the rest then goes by itself")
}

/// Removes the description, and what a crash left of one, or of an image, that was being replaced.
fn remove_record(image: &Image, record: &Path) -> Result<()> {
    durable::remove_file(record)
        .and_then(|()| durable::remove_file(&durable::draft_of(record)))
        .and_then(|()| durable::remove_file(&image.directory.join(REPLACEMENT)))
        .on(&image.object)
}
