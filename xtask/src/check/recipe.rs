//! The container image has the programs that the daemon runs: those named in `orlop-sys` are compared
//! with the list that the recipe of the image collects.

use super::Violation;

/// The list of the recipe: a program and its Debian package a line.
pub(super) const LIST: &str = "deploy/container/programs";
/// Where programs are named.
const SOURCES: &str = "crates/orlop-sys/src/";

/// A program and the Debian package that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    program: String,
    package: String,
}

/// Judges one source file of `orlop-sys` by the list; other files are not looked at.
pub(super) fn check(file: &str, text: &str, list: &str) -> Vec<Violation> {
    if !file.starts_with(SOURCES) || !file.ends_with(".rs") || file.ends_with("/tests.rs") {
        return Vec::new();
    }
    // Tests run programs of their own.
    let code = text.split("\nmod tests {").next().unwrap_or(text);
    let listed: Vec<Named> = list.lines().filter_map(listed).collect();
    let missing = named(code).into_iter().filter(|named| !listed.contains(named));
    missing
        .map(|Named { program, package }| {
            let fault = format!("runs {program}, which the container image lacks");
            Violation::new(file, fault, format!("add the line `{program} {package}` to {LIST}"))
        })
        .collect()
}

fn listed(line: &str) -> Option<Named> {
    let mut words = line.split('#').next()?.split_whitespace();
    Some(Named { program: words.next()?.to_owned(), package: words.next()?.to_owned() })
}

/// The `Program { name: "…", package: "…" }` of a source text. One without a package is a command of
/// the user's.
fn named(code: &str) -> Vec<Named> {
    let literals = code.split("Program {").skip(1).filter_map(|rest| {
        let inside = rest.split('}').next()?;
        let value = |key: &str| inside.split_once(key)?.1.split('"').nth(1).map(str::to_owned);
        Some(Named { program: value("name:")?, package: value("package:")? })
    });
    literals.filter(|named| !named.package.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "const A: Program = Program { name: \"mkfs.x\", package: \"x-progs\" };\n\
                        const B: Program = Program { name: \"the command\", package: \"\" };\n\
                        pub struct Program {\n    pub name: &'static str,\n}\n\
                        #[cfg(test)]\nmod tests {\n    Program { name: \"sh\", package: \"dash\" }\n}\n";

    #[test]
    fn what_is_run_has_to_be_in_the_image() {
        let faults = |file: &str, list: &str| check(file, CODE, list).len();
        let file = "crates/orlop-sys/src/filesystem/mkfs.rs";
        assert_eq!(faults(file, "# programs\nmkfs.x x-progs # makes x\n"), 0);
        assert_eq!(faults(file, "mkfs.y x-progs\n"), 1);
        assert_eq!(faults(file, "mkfs.x other\n"), 1);
        assert_eq!(faults("crates/orlop/src/main.rs", ""), 0);
        assert_eq!(faults("crates/orlop-sys/src/filesystem/tests.rs", ""), 0);
    }
}
