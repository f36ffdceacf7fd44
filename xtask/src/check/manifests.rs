//! Dependencies are declared once, in the root manifest, each with the reason it is there.
//!
//! Comments decide, so the text is read by line and not by a TOML parser.

use super::Violation;

pub(super) fn check(file: &str, text: &str) -> Vec<Violation> {
    let mut table = "";
    let mut commented = false;
    let mut violations = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let above = std::mem::replace(&mut commented, line.starts_with('#'));
        if line.starts_with('[') && line.ends_with(']') {
            table = line.trim_matches(['[', ']']);
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        if line.starts_with('#') {
            continue;
        }
        let (name, place) = (name.trim(), format!("{file}:{}", number + 1));
        if table == "workspace.dependencies" {
            if !value.contains("path =") && !has_comment(value) && !above {
                let remedy = "add a comment that says what it is for";
                violations.push(Violation::new(place, format!("{name} has no reason"), remedy));
            }
        } else if table.ends_with("dependencies") && !from_workspace(name, value) {
            let remedy = "declare it under [workspace.dependencies] in the root Cargo.toml, and \
                          here as `.workspace = true`";
            let fault = format!("{name} is not taken from the workspace");
            violations.push(Violation::new(place, fault, remedy));
        }
    }
    violations
}

fn from_workspace(name: &str, value: &str) -> bool {
    name.ends_with(".workspace") || value.replace(' ', "").contains("workspace=true")
}

/// A `#` outside of strings.
fn has_comment(value: &str) -> bool {
    let mut quoted = false;
    value.chars().any(|c| {
        quoted ^= c == '"';
        c == '#' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<(String, String)> {
        check("Cargo.toml", text).into_iter().map(|v| (v.place, v.fault)).collect()
    }

    #[test]
    fn reasons_are_asked_for() {
        let text = "[workspace.dependencies]\n\
                    ours = { path = \"x\" }\n\
                    good = \"1\" # why\n\
                    # why, above\n\
                    long = { version = \"1\" }\n\
                    bad = { version = \"1\", features = [\"#\"] }\n\
                    \n\
                    [profile.dev]\n\
                    debug = 1\n";
        let expected = ("Cargo.toml:6".to_owned(), "bad has no reason".to_owned());
        assert_eq!(faults(text), [expected]);
    }

    #[test]
    fn versions_belong_to_the_root() {
        let text = "[package]\nname = \"x\"\n\
                    [dependencies]\na.workspace = true\nb = { workspace = true, optional = true }\n\
                    c = \"1\"\n\
                    [target.'cfg(unix)'.dev-dependencies]\nd = { version = \"1\" }\n\
                    [features]\ne = [\"a\"]\n";
        let faults: Vec<String> = faults(text).into_iter().map(|(place, _)| place).collect();
        assert_eq!(faults, ["Cargo.toml:6", "Cargo.toml:8"]);
    }
}
