//! What lies in a directory of ours. Whoever removes, mounts or imports by it must not take what can't
//! be read for nothing, so listing and reading are here alone. What the names mean is `format`'s.

use std::path::{Path, PathBuf};

use orlop_model::{Error, ErrorKind, Result};

use crate::format::LONGEST;

/// What is in a directory, with the names; nothing where there is none.
///
/// # Errors
/// [`ErrorKind::Host`] where it can't be read: what is on a disk that fails is not nothing.
pub(crate) fn entries(directory: &Path) -> Result<Vec<(PathBuf, String)>> {
    let all = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.and_then(Iterator::collect::<std::io::Result<Vec<_>>>),
    };
    let all = all.map_err(|error| unreadable(directory, "what is in it can't be read", &error))?;
    let named = |entry: std::fs::DirEntry| (entry.path(), entry.file_name().to_string_lossy().into_owned());
    Ok(all.into_iter().map(named).collect())
}

/// Reads a file that is no longer than our descriptions are. Whoever carried the pool here may have put
/// anything in its place.
///
/// # Errors
/// Also where it is no file, a link, or longer: that is not nothing.
pub(crate) fn read_short(path: &Path) -> std::io::Result<Vec<u8>> {
    orlop_sys::beneath::read_file_at(path, LONGEST).map_err(|error| match error.errno() {
        Some(errno) => errno.into(),
        None => std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string()),
    })
}

/// The error of something of ours that is there and can't be read.
pub(crate) fn unreadable(path: &Path, what: &str, error: &std::io::Error) -> Error {
    let path = path.display().to_string();
    Error::new(ErrorKind::Host, format!("{path}: {what}: {error}")).object(path).hint(
        "see the kernel's log (dmesg) for errors of the disk, and the daemon's open files (LimitNOFILE)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_holds_nothing_and_what_cannot_be_read_is_an_error() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(entries(&place.path().join("none")), Ok(Vec::new()));
        let file = place.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(entries(place.path()), Ok(vec![(file.clone(), "file".to_owned())]));
        let error = entries(&file).unwrap_err();
        assert_eq!((error.kind, error.object), (ErrorKind::Host, Some(file.display().to_string())));
    }
}
