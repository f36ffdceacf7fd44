//! Files in the repository that a command of ours writes, and whether they are what it writes now.

use std::fs;

use super::Violation;
use crate::step::{cargo, output, root};

/// A file, and the words after `cargo` that write it to standard output.
struct Generated {
    file: &'static str,
    words: &'static [&'static str],
}

/// Every generated file.
const GENERATED: &[Generated] = &[
    Generated {
        file: "docs/manifest.md",
        words: &["run", "--quiet", "--locked", "--package", "orlop-model", "--example", "volume-reference"],
    },
    Generated {
        file: "docs/cli/README.md",
        words: &["run", "--quiet", "--locked", "--package", "orlop", "--", "reference"],
    },
];

/// Writes all of them anew.
pub(super) fn write_all() -> Result<(), String> {
    for generated in GENERATED {
        let text = output(cargo().args(generated.words))?;
        fs::write(root().join(generated.file), text)
            .map_err(|e| format!("cannot write {}: {e}", generated.file))?;
        println!("wrote {}", generated.file);
    }
    Ok(())
}

/// Compares all of them.
pub(super) fn check_all() -> Result<Vec<Violation>, String> {
    let mut violations = Vec::new();
    for generated in GENERATED {
        let now = output(cargo().args(generated.words))?;
        let stored = fs::read_to_string(root().join(generated.file)).ok();
        violations.extend(compare(generated.file, stored.as_deref(), &now));
    }
    Ok(violations)
}

/// The first line in which a stored file differs from what it would be now.
pub(super) fn compare(file: &str, stored: Option<&str>, now: &str) -> Option<Violation> {
    let remedy = "run `cargo xtask check --write` and commit it";
    let Some(stored) = stored else {
        return Some(Violation::new(file, "the generated file is missing", remedy));
    };
    let same = stored.lines().zip(now.lines()).take_while(|(a, b)| a == b).count();
    (stored != now).then(|| Violation::new(format!("{file}:{}", same + 1), "is out of date", remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(compare("f", Some("a\nb\n"), "a\nb\n"), None);
        let place = |stored, now| compare("f", stored, now).map(|v| v.place);
        assert_eq!(place(Some("a\nb\n"), "a\nc\n").as_deref(), Some("f:2"));
        assert_eq!(place(Some("a\n"), "a\nb\n").as_deref(), Some("f:2"));
        assert_eq!(place(None, "a\n").as_deref(), Some("f"));
    }
}
