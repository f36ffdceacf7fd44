//! `cargo xtask check`: what this repository promises and the compiler doesn't see.
//!
//! Each module judges one thing and is pure; here the files are read and the verdicts printed.

mod chart;
mod generated;
mod layering;
mod locks;
mod manifests;
mod recipe;
mod tidy;
mod workspace;

use std::fmt;
use std::fs;

use crate::step::root;
use workspace::Workspace;

/// A promise that is broken: where, what is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// A file relative to the root, with a line where there is one.
    place: String,
    fault: String,
    remedy: String,
}

impl Violation {
    fn new(place: impl Into<String>, fault: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place: place.into(), fault: fault.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.fault, self.remedy)
    }
}

/// Checks everything; with `write`, brings the generated files up to date first.
pub(crate) fn task(write: bool) -> Result<(), String> {
    if write {
        generated::write_all()?;
        chart::write()?;
    }
    let workspace = Workspace::load()?;
    let mut violations = layering::check(&workspace.packages);
    let programs = fs::read_to_string(root().join(recipe::LIST)).unwrap_or_default();
    for file in &workspace.files {
        // A tracked file may be deleted or a link; text is all we judge.
        if let Ok(text) = fs::read_to_string(root().join(file)) {
            violations.extend(tidy::check(file, &text));
            violations.extend(recipe::check(file, &text, &programs));
            if file.ends_with("Cargo.toml") {
                violations.extend(manifests::check(file, &text));
            }
        }
    }
    for (file, text) in workspace.crate_roots()? {
        violations.extend(tidy::check_crate_root(&file, &text));
    }
    violations.extend(tidy::check_presence(&workspace.files));
    violations.extend(locks::check()?);
    violations.extend(generated::check_all()?);
    violations.extend(chart::check()?);
    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => {
            let (files, crates) = (workspace.files.len(), workspace.packages.len());
            println!("{files} files of {crates} crates keep the rules");
            Ok(())
        }
        n => Err(format!("{n} broken rules")),
    }
}
