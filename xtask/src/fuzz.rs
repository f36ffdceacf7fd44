//! The fuzz targets of `fuzz/`, each run for a bounded time. A run that finds a fault leaves the input in
//! `fuzz/artifacts`, and fails.

use std::fs;
use std::path::Path;

use crate::step::{cargo, root, show};

/// How long each target runs.
const SECONDS: u32 = 20;

/// Builds all targets and runs one after the other.
pub(crate) fn run() -> Result<(), String> {
    let dir = root().join("fuzz");
    // Its compiler flags are found from its own directory only.
    show(cargo().current_dir(&dir).args(["build", "--quiet", "--release", "--locked", "--bins"]))?;
    for target in targets(&dir.join("fuzz_targets"))? {
        run_one(&dir, &target)?;
    }
    Ok(())
}

fn run_one(dir: &Path, target: &str) -> Result<(), String> {
    // The first directory gets what the run finds, the second is only read: the repository stays as it is.
    let found = root().join("target/fuzz").join(target);
    for new in [&found, &dir.join("artifacts")] {
        fs::create_dir_all(new).map_err(|e| format!("cannot make {}: {e}", new.display()))?;
    }
    let mut command = cargo();
    command
        .current_dir(dir)
        .args(["run", "--quiet", "--release", "--locked", "--bin", target, "--"])
        .arg(format!("-max_total_time={SECONDS}"))
        .args(["-max_len=4096", "-timeout=10", "-rss_limit_mb=1024", "-artifact_prefix=artifacts/"])
        .arg(&found)
        .arg(Path::new("corpus").join(target));
    let output = command.output().map_err(|e| format!("cannot run the fuzz target {target}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{text}\nthe fuzz target {target} found a fault: {}", output.status));
    }
    println!("{target}: {}", summary(&text).unwrap_or("ended"));
    Ok(())
}

/// Of all that libFuzzer writes, the line with the number of runs.
fn summary(text: &str) -> Option<&str> {
    text.lines().rev().find(|line| line.starts_with("Done "))
}

/// The names of the targets: the files in their directory.
fn targets(dir: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(dir).map_err(|e| format!("cannot read {}: {e}", dir.display()))?;
    let files = entries.flatten().map(|entry| entry.path());
    let stem = |file: std::path::PathBuf| Some(file.file_stem()?.to_string_lossy().into_owned());
    let mut names: Vec<String> =
        files.filter(|file| file.extension().is_some_and(|e| e == "rs")).filter_map(stem).collect();
    names.sort();
    if names.is_empty() { Err(format!("no fuzz target in {}", dir.display())) } else { Ok(names) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_files_and_none_is_a_fault() {
        assert!(targets(&root().join("fuzz/fuzz_targets")).is_ok_and(|t| t.contains(&"manifest".to_owned())));
        assert!(targets(&root().join("xtask")).is_err());
    }

    #[test]
    fn the_summary_is_found() {
        let text = "#2 INITED\nDone 5 runs in 1 second(s)\nstat::x\n";
        assert_eq!(summary(text), Some("Done 5 runs in 1 second(s)"));
        assert_eq!(summary("x"), None);
    }
}
