//! The layout of a pool on disk: its files, what is in them, and where they are.
//!
//! ```text
//! <pool>/orlop.pool                                 what the pool is: [`PoolFile`]
//! <pool>/orlop.lock                                 locked by the daemon that uses the pool
//! <pool>/volumes/<volume id>/volume.json            what the volume is: [`VolumeFile`]
//! <pool>/volumes/<volume id>/data.img               its image, exactly as long as its size
//! <pool>/snapshots/<snapshot id>/snapshot.json      what the snapshot is: [`SnapshotFile`]
//! <pool>/snapshots/<snapshot id>/data.img           its image
//! <pool>/blanks/<filesystem>-<bytes>-r<rule>-<id>.img   formatted images without an owner
//! ```
//!
//! Everything here is pure: bytes to structs, structs to bytes, ids to paths. The engine writes the
//! files (durably, through `orlop-sys`) and compares them with the store, which alone is the truth:
//! a `volume.json` is there to rebuild a record from when the store is lost.
//!
//! Each file begins with its `format`, and a reader refuses one that is newer than it knows.
//! Fields that a reader does not know within a format are ignored, not kept: the file is always
//! replaced as a whole from the store's record, and a field carried over by somebody who does not
//! understand it would say something that nobody keeps true. What must not be lost on the way
//! through an older build therefore needs a new format number.

mod paths;
mod placement;
mod pool;
mod snapshot;
#[cfg(test)]
mod tests;
mod volume;

use std::path::Path;

use orlop_model::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(crate) use paths::REPLACEMENT;
pub use paths::{BlankName, PoolPaths};
pub use placement::{Content, FilesystemContent, ImageFormat, ImagePlacement, Placement};
pub use pool::PoolFile;
pub use snapshot::{FileGroup, SnapshotFile};
pub use volume::{FileAlias, Origin, VolumeFile, VolumeFileState};

/// The newest format of `orlop.pool`, `volume.json` and `snapshot.json` that this build reads. Each file
/// is written in the oldest that says all of it.
pub const FORMAT: u32 = 3;

/// The format of what has been there from the beginning.
pub(crate) const FIRST: u32 = 1;

/// The format of what is had as a block device: a build that does not know that would mount it.
const OF_DEVICES: u32 = 2;

/// The format of a snapshot that goes with its group: a build that does not know that would delete it
/// alone.
const OF_GROUPS: u32 = 3;

/// The format that a description with this placement is written in.
fn format_of(placement: &Placement) -> u32 {
    match placement {
        Placement::Image(image) if image.is_device() => OF_DEVICES,
        Placement::Image(_) => FIRST,
    }
}

/// No file of a pool's description is longer, in bytes. Readers need not look further.
pub const LONGEST: usize = 1 << 20;

#[derive(Deserialize)]
struct Probe {
    format: u32,
}

/// Reads one of our JSON files. `file` is only for messages.
fn decode<T: DeserializeOwned>(bytes: &[u8], file: &Path) -> Result<T> {
    // The format is read by itself first: the rest of a newer file may be anything.
    let probe: Probe = serde_json::from_slice(bytes).map_err(|error| damaged(file, &error))?;
    if probe.format > FORMAT {
        return Err(Error::new(
            ErrorKind::NewerFormat,
            format!(
                "{} has format {}, and this build knows formats up to {FORMAT}",
                file.display(),
                probe.format
            ),
        )
        .object(file.display().to_string())
        .hint("it was written by a newer orlop: use that version, or a later one"));
    }
    serde_json::from_slice(bytes).map_err(|error| damaged(file, &error))
}

/// Writes one of our JSON files: indented, for people, with a newline at the end.
fn encode<T: Serialize>(value: &T, what: &str) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| {
        Error::new(ErrorKind::Damaged, format!("{what} can't be written as JSON: {error}"))
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn damaged(file: &Path, error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Damaged, format!("{} can't be read: {error}", file.display()))
        .object(file.display().to_string())
        .hint("the file was truncated or edited; the store's record is the truth and replaces it at the next change")
}
