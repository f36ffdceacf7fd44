//! The crates of the workspace, from `cargo metadata`, and the files of the repository, from git.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::step::{cargo, output, root};

/// Crates and files.
pub(super) struct Workspace {
    pub(super) packages: Vec<Package>,
    /// Tracked files and new ones that are not ignored, relative to the root.
    pub(super) files: Vec<String>,
}

/// A crate of ours.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

/// A dependency as its manifest declares it.
#[derive(Debug, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// `dev`, `build`, or none for a normal one.
    pub(super) kind: Option<String>,
    /// Where it lies, if in this repository.
    pub(super) path: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

impl Workspace {
    pub(super) fn load() -> Result<Self, String> {
        let options = ["metadata", "--no-deps", "--format-version", "1", "--locked"];
        let text = output(cargo().args(options))?;
        let metadata: Metadata =
            serde_json::from_str(&text).map_err(|e| format!("`cargo metadata` is not as expected: {e}"))?;
        // Run by root in a clone of another user's, git would refuse.
        let files = output(
            Command::new("git").current_dir(root()).args(["-c", "safe.directory=*", "ls-files"]).args([
                "--cached",
                "--others",
                "--exclude-standard",
                "--deduplicate",
            ]),
        )?;
        let files = files.lines().map(str::to_owned).collect();
        Ok(Self { packages: metadata.packages, files })
    }

    /// The root files, with their text, of every library and program that must be free of unsafe.
    pub(super) fn crate_roots(&self) -> Result<Vec<(String, String)>, String> {
        let mut roots = Vec::new();
        for package in self.packages.iter().filter(|p| p.name != "orlop-sys") {
            let code = |t: &&Target| t.kind.iter().any(|k| k.ends_with("lib") || k == "bin");
            for target in package.targets.iter().filter(code) {
                let text = std::fs::read_to_string(&target.src_path)
                    .map_err(|e| format!("{}: {e}", target.src_path.display()))?;
                roots.push((relative(&target.src_path), text));
            }
        }
        Ok(roots)
    }
}

fn relative(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}
