//! What every file keeps: a first line that says what lives there, a bounded length, a name that
//! says something, and nothing of one developer's machine.

use super::Violation;

/// Longer files hold more than one concern.
const MAX_LINES: usize = 800;

/// Names that say nothing about what lives there.
const EMPTY_NAMES: &[&str] = &["common", "helper", "helpers", "manager", "misc", "util", "utils"];

/// Files that the repository must have.
const REQUIRED: &[&str] = &["LICENSE"];

const FORBID: &str = "#![forbid(unsafe_code)]";

/// Directories of people; written so that this file keeps the rule.
const HOMES: &[&str] = &[concat!("/", "root/"), concat!("/", "home/")];

/// Judges one file of the repository by its text.
pub(super) fn check(file: &str, text: &str) -> Vec<Violation> {
    let mut violations = homes(file, text);
    if file.ends_with(".rs") {
        violations.extend(rust(file, text));
    }
    violations
}

/// Judges the root file of a crate.
pub(super) fn check_crate_root(file: &str, text: &str) -> Option<Violation> {
    let fault = format!("{FORBID} is missing");
    let remedy = "add it below the first comment; unsafe code lives in orlop-sys only";
    (!text.lines().any(|line| line.trim() == FORBID)).then(|| Violation::new(file, fault, remedy))
}

/// Judges the list of files.
pub(super) fn check_presence(files: &[String]) -> Vec<Violation> {
    let missing = REQUIRED.iter().filter(|name| !files.iter().any(|file| file == *name));
    missing.map(|name| Violation::new(*name, "is missing", "add it")).collect()
}

fn rust(file: &str, text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let name = file.rsplit('/').next().unwrap_or(file);
    if name != "build.rs" && !text.starts_with("//!") {
        let remedy = "start it with `//!` and what lives here";
        violations.push(Violation::new(file, "its first line doesn't say what it is", remedy));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        let fault = format!("{lines} lines, more than {MAX_LINES}");
        violations.push(Violation::new(file, fault, "split it by concern"));
    }
    let stems = file.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part));
    let inline = text.lines().filter_map(|line| {
        let declared = line.trim().trim_start_matches("pub ").strip_prefix("mod ")?;
        declared.strip_suffix(" {")
    });
    for stem in stems.chain(inline).filter(|stem| EMPTY_NAMES.contains(stem)) {
        let fault = format!("a module named `{stem}` says nothing");
        violations.push(Violation::new(file, fault, "name it after what it holds"));
    }
    violations
}

fn homes(file: &str, text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for home in HOMES {
            if line.match_indices(home).any(|(at, _)| starts_a_path(line, at)) {
                let place = format!("{file}:{}", number + 1);
                let fault = format!("names a path below {home}");
                violations.push(Violation::new(place, fault, "use a relative or neutral path"));
            }
        }
    }
    violations
}

/// `/proc/1/root/x` or `{}/root/x` goes through a directory of that name and starts elsewhere.
fn starts_a_path(line: &str, at: usize) -> bool {
    let before = line.get(..at).and_then(|text| text.chars().next_back());
    !before.is_some_and(|c| c.is_alphanumeric() || "_-.*})>".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(file: &str, text: &str) -> Vec<String> {
        check(file, text).into_iter().map(|v| v.fault).collect()
    }

    #[test]
    fn tidy_files_pass() {
        assert_eq!(faults("crates/a/src/lib.rs", "//! What it is.\nmod store {\n}\n"), [""; 0]);
        assert_eq!(faults("crates/a/build.rs", "fn main() {}\n"), [""; 0]);
        assert_eq!(faults("README.md", "no comment, any length\n"), [""; 0]);
    }

    #[test]
    fn untidy_files_do_not() {
        let long = format!("//! Long.\n{}", "\n".repeat(MAX_LINES));
        assert_eq!(faults("a.rs", &long), ["801 lines, more than 800"]);
        assert_eq!(faults("a.rs", "fn a() {}"), ["its first line doesn't say what it is"]);
        let named = "a module named `utils` says nothing";
        assert_eq!(faults("src/utils.rs", "//! x"), [named]);
        assert_eq!(faults("src/utils/x.rs", "//! x"), [named]);
        assert_eq!(faults("src/x.rs", "//! x\npub mod utils {\n}\n"), [named]);
    }

    #[test]
    fn paths_of_people_are_found() {
        for home in HOMES {
            let fault = format!("names a path below {home}");
            assert_eq!(faults("a.md", &format!("see {home}me/x")), std::slice::from_ref(&fault));
            assert_eq!(faults("a.md", &format!("\"{home}\"")), [fault]);
            assert_eq!(faults("a.md", &format!("/proc/1{home}etc {{}}{home}")), [""; 0]);
        }
    }

    #[test]
    fn crate_roots_forbid_unsafe() {
        assert!(check_crate_root("lib.rs", "//! x\n#![forbid(unsafe_code)]\n").is_none());
        assert!(check_crate_root("lib.rs", "//! x\n// #![forbid(unsafe_code)]\n").is_some());
    }

    #[test]
    fn the_licence_is_asked_for() {
        assert_eq!(check_presence(&["LICENSE".to_owned()]), []);
        assert_eq!(check_presence(&[]).len(), 1);
    }
}
