//! The Helm chart, made of the kustomize base, so that the two can't say different things. What a chart
//! can do more than the base is a table: [`values`].

mod values;

use std::fmt::Write;
use std::fs;

use super::Violation;
use super::generated::compare;
use crate::step::root;
use values::{NAMESPACE, PARTS, Part, Says, VALUES, Value};

const BASE: &str = "deploy/kubernetes/base";
const CHART: &str = "deploy/kubernetes/chart";

/// What is not in the chart: kustomize's own file, and the namespace, which Helm is given.
const LEFT_OUT: &[&str] = &["kustomization.yaml", "namespace.yaml"];

/// A file of the chart: its path in the repository, and its text.
type File = (String, String);

/// Writes the chart anew.
pub(super) fn write() -> Result<(), String> {
    let failed = |path: &str, e: std::io::Error| format!("cannot write {path}: {e}");
    let templates = format!("{CHART}/templates");
    fs::create_dir_all(root().join(&templates)).map_err(|e| failed(&templates, e))?;
    for stale in stale(&files()?)? {
        fs::remove_file(root().join(&stale)).map_err(|e| failed(&stale, e))?;
    }
    for (path, text) in files()? {
        fs::write(root().join(&path), text).map_err(|e| failed(&path, e))?;
    }
    println!("wrote {CHART}");
    Ok(())
}

/// Compares the chart with what the base makes.
pub(super) fn check() -> Result<Vec<Violation>, String> {
    let files = files()?;
    let mut violations: Vec<Violation> = files
        .iter()
        .filter_map(|(path, text)| compare(path, fs::read_to_string(root().join(path)).ok().as_deref(), text))
        .collect();
    let unknown = |path| Violation::new(path, "nothing in the base makes it", "remove it");
    violations.extend(stale(&files)?.into_iter().map(unknown));
    Ok(violations)
}

/// All that the chart consists of.
fn files() -> Result<Vec<File>, String> {
    let base: Vec<File> = names(BASE)?
        .into_iter()
        .filter(|name| !LEFT_OUT.contains(&name.as_str()))
        .map(|name| {
            let path = format!("{BASE}/{name}");
            let text = fs::read_to_string(root().join(&path)).map_err(|e| format!("{path}: {e}"))?;
            Ok((name, text))
        })
        .collect::<Result<_, String>>()?;
    make(&base)
}

fn stale(files: &[File]) -> Result<Vec<String>, String> {
    let templates = format!("{CHART}/templates");
    let there = if root().join(&templates).is_dir() { names(&templates)? } else { Vec::new() };
    let paths = there.into_iter().map(|name| format!("{templates}/{name}"));
    Ok(paths.filter(|path| !files.iter().any(|(known, _)| known == path)).collect())
}

fn names(directory: &str) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(root().join(directory)).map_err(|e| format!("{directory}: {e}"))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    Ok(names)
}

/// The chart of a base, whose files are given by name.
fn make(base: &[File]) -> Result<Vec<File>, String> {
    for value in VALUES {
        if !base.iter().any(|(_, text)| text.contains(&value.literal())) {
            return Err(format!("the base says nothing of the chart's value {}", value.path));
        }
    }
    let mut files =
        vec![(format!("{CHART}/Chart.yaml"), about()), (format!("{CHART}/values.yaml"), defaults())];
    for (name, text) in base {
        files.push((format!("{CHART}/templates/{name}"), template(name, text)?));
    }
    Ok(files)
}

/// A file of the base as a template.
fn template(name: &str, text: &str) -> Result<String, String> {
    if text.contains("{{") {
        return Err(format!("{BASE}/{name} has braces, which a template would take for its own"));
    }
    let mut text = text.replace(NAMESPACE, "{{ .Release.Namespace }}");
    for value in VALUES {
        text = text.replace(&value.literal(), &value.expression());
    }
    for part in PARTS {
        if let Some(container) = part.container {
            text = optional_container(&text, container, part);
        }
        if part.files.contains(&name) {
            text = format!("{}\n{text}{END}\n", part.condition());
        }
    }
    Ok(text)
}

const END: &str = "{{- end }}";
/// How a container begins in the pod of a workload; what belongs to it is further in.
const CONTAINER: &str = "        - name: ";
const CONTAINERS_AT: usize = 8;

/// Puts a condition around the container of that name, where there is one.
fn optional_container(text: &str, name: &str, part: &Part) -> String {
    let mut made = String::new();
    let mut inside = false;
    for line in text.lines() {
        if inside && indentation(line) <= CONTAINERS_AT {
            let _ = writeln!(made, "        {END}");
            inside = false;
        }
        if line.strip_prefix(CONTAINER) == Some(name) {
            let _ = writeln!(made, "        {}", part.condition());
            inside = true;
        }
        let _ = writeln!(made, "{line}");
    }
    made
}

impl Part {
    fn condition(&self) -> String {
        format!("{{{{- if .Values.{}.enabled }}}}", self.key)
    }
}

impl Value {
    /// The text of the base.
    fn literal(&self) -> String {
        match self.says {
            Says::Word(word) => word.to_owned(),
            Says::Lines { below, lines } => {
                let indent = " ".repeat(indentation(below) + 2);
                lines.lines().fold(format!("{below}\n"), |text, line| format!("{text}{indent}{line}\n"))
            }
        }
    }

    /// What stands in its place in a template.
    fn expression(&self) -> String {
        match self.says {
            Says::Word(_) => format!("{{{{ .Values.{} }}}}", self.path),
            Says::Lines { below, .. } => {
                let indent = indentation(below) + 2;
                let spaces = " ".repeat(indent);
                format!("{below}\n{spaces}{{{{- toYaml .Values.{} | nindent {indent} }}}}\n", self.path)
            }
        }
    }
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

const MADE: &str = "# Made of deploy/kubernetes/base by `cargo xtask check --write`.\n";

/// `Chart.yaml`: the version is the program's.
fn about() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "{MADE}apiVersion: v2\nname: orlop\ndescription: Orlop's CSI driver, volumes on the disks of each node\n\
         type: application\nversion: {version}\nappVersion: \"{version}\"\nkubeVersion: \">=1.29.0-0\"\n"
    )
}

/// `values.yaml`.
fn defaults() -> String {
    let mut text = MADE.to_owned();
    let mut above = "";
    for value in VALUES {
        let (group, key) = value.path.split_once('.').unwrap_or(("", value.path));
        let comment = if value.about.is_empty() { String::new() } else { format!("\n# {}\n", value.about) };
        text += &comment;
        if group != above && !group.is_empty() {
            let _ = writeln!(text, "{group}:");
        }
        above = group;
        let indent = if group.is_empty() { "" } else { "  " };
        let _ = match value.says {
            Says::Word(word) => writeln!(text, "{indent}{key}: {word}"),
            Says::Lines { lines, .. } => {
                let lines =
                    lines.lines().fold(String::new(), |text, line| format!("{text}\n{indent}  {line}"));
                writeln!(text, "{indent}{key}:{lines}")
            }
        };
    }
    for part in PARTS {
        let _ = write!(text, "\n# {}\n{}:\n  enabled: true\n", part.about, part.key);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Helm makes of the few expressions that are used here, with the defaults.
    fn rendered(template: &str) -> String {
        let mut text = template.replace("{{ .Release.Namespace }}", NAMESPACE);
        for value in VALUES {
            text = text.replace(&value.expression(), &value.literal());
        }
        let kept = text.lines().filter(|line| !line.trim_start().starts_with("{{-"));
        kept.fold(String::new(), |text, line| text + line + "\n")
    }

    #[test]
    fn with_its_defaults_the_chart_is_the_base() {
        for (path, template) in files().unwrap_or_else(|e| panic!("{e}")) {
            let Some(name) = path.strip_prefix(&format!("{CHART}/templates/")) else { continue };
            let base = fs::read_to_string(root().join(BASE).join(name)).unwrap_or_default();
            assert_eq!(rendered(&template), base, "{name}");
        }
    }

    #[test]
    fn every_part_is_found_and_every_condition_ends() {
        let files = files().unwrap_or_else(|e| panic!("{e}"));
        let all: String = files.iter().map(|(_, text)| text.as_str()).collect();
        for part in PARTS {
            let expected = part.files.len() + usize::from(part.container.is_some());
            assert_eq!(all.matches(&part.condition()).count(), expected, "{}", part.key);
        }
        assert_eq!(all.matches("{{- if").count(), all.matches(END).count());
    }

    #[test]
    fn a_container_ends_where_the_next_thing_begins() {
        let text = "      containers:\n        - name: a\n          image: a\n        - name: b\n          image: b\n      volumes:\n        - name: v\n";
        let made = optional_container(text, "b", &PARTS[1]);
        let condition = PARTS[1].condition();
        assert_eq!(
            made,
            text.replace("        - name: b", &format!("        {condition}\n        - name: b"))
                .replace("      volumes", "        {{- end }}\n      volumes")
        );
    }
}
