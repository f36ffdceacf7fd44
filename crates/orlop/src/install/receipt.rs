//! The receipt of an installation: which files it wrote, and how they looked. Only those are ever
//! overwritten or removed.

use std::{fs, io, path::Path};

use orlop_model::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// What install wrote.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receipt {
    /// The files, in the order they were written.
    pub(super) files: Vec<Written>,
    /// The directories that were made for them, upper ones first.
    pub(super) directories: Vec<String>,
}

/// A file that install wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) path: String,
    pub(super) fingerprint: String,
}

impl Receipt {
    /// Where it is kept, below the root of the installation.
    pub(super) const PATH: &str = "/usr/local/share/orlop/installed.json";

    /// The receipt of an earlier installation, if there was one.
    pub(super) fn load(root: &Path) -> Result<Option<Self>> {
        let path = super::place(root, Self::PATH);
        let unusable = |why: String| {
            Error::new(ErrorKind::Host, format!("the receipt {} can't be read: {why}", path.display()))
                .hint("remove it, and install again with --force")
        };
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|fault| unusable(fault.to_string())),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(fault) => Err(unusable(fault.to_string())),
        }
    }

    /// How it is written.
    pub(super) fn text(&self) -> Result<String> {
        serde_json::to_string_pretty(self)
            .map(|text| text + "\n")
            .map_err(|fault| Error::new(ErrorKind::Host, format!("the receipt can't be written: {fault}")))
    }

    /// Whether install wrote exactly this there.
    pub(super) fn wrote(&self, path: &str, text: &[u8]) -> bool {
        self.files.iter().any(|file| file.path == path && file.fingerprint == fingerprint(text))
    }
}

/// Tells a changed file from an unchanged one (FNV-1a and the length). It guards against accidents,
/// not against somebody who may write the files anyway.
pub(super) fn fingerprint(text: &[u8]) -> String {
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}-{}", text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_told_from_an_unchanged_one() {
        // The published test value of FNV-1a for "a".
        assert_eq!(fingerprint(b"a"), "af63dc4c8601ec8c-1");
        assert_ne!(fingerprint(b"ab"), fingerprint(b"ba"));
    }
}
