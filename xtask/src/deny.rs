//! Licences, bans, sources and advisories of the dependencies, by cargo-deny.

use std::path::{Path, PathBuf};

use crate::install;
use crate::step::{cargo, show};

/// Runs cargo-deny's checks.
///
/// The advisory database comes from a host that not every machine reaches: it is used where a copy
/// is at hand, and said to be missing where not.
pub(crate) fn run() -> Result<(), String> {
    let mut offline = cargo();
    offline.args(["deny", "--log-level", "error", "check", "licenses", "bans", "sources"]);
    show(offline.env("PATH", install::path()))?;
    if !has_database(&cargo_home().join("advisory-dbs")) {
        println!(
            "advisories are not checked: no advisory database on this machine \
             (`cargo deny fetch db` gets one)"
        );
        return Ok(());
    }
    let mut advisories = cargo();
    advisories.args(["deny", "--log-level", "error", "check", "--disable-fetch", "advisories"]);
    show(advisories.env("PATH", install::path()))
}

fn cargo_home() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo");
    std::env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

/// A fetch that failed leaves a directory without advisories behind.
fn has_database(dir: &Path) -> bool {
    let databases = std::fs::read_dir(dir).into_iter().flatten().flatten();
    databases.map(|entry| entry.path()).any(|database| database.join("crates").is_dir())
}

#[cfg(test)]
mod tests {
    use super::has_database;
    use std::path::Path;

    #[test]
    fn no_directory_no_database() {
        assert!(!has_database(Path::new("/no-such-directory")));
    }
}
