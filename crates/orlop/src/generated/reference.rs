//! The reference of the command line as one Markdown page, in `docs/cli`.

use std::fmt::Write;

use clap::{Arg, Command};

/// The page. `cargo xtask check --write` puts it in its place.
pub(super) fn markdown(definition: &Command, exits: &[(u8, &str)]) -> String {
    let mut page = String::from(
        "# The command line\n\nGenerated from the definition in `crates/orlop/src/grammar`: do not edit.\n",
    );
    let about = definition.get_long_about().or_else(|| definition.get_about());
    let _ = write!(page, "\n{}\n", about.map(ToString::to_string).unwrap_or_default());
    page.push_str("\n## Commands\n\n| command | what it does |\n|---|---|\n");
    let mut commands = Vec::new();
    collect(definition, "", &mut commands);
    for (path, command) in &commands {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(page, "| [`{path}`](#{}) | {} |", path.replace(' ', "-"), escaped(&about));
    }
    let global: Vec<&Arg> = definition.get_arguments().filter(|arg| arg.is_global_set()).collect();
    page.push_str("\n## Flags of every command\n\n");
    page.push_str(&options(&global));
    page.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (code, meaning) in exits {
        let _ = writeln!(page, "| {code} | {meaning} |");
    }
    for (path, command) in commands {
        section(&path, command, &mut page);
    }
    page
}

/// Every command that can be run, in order. The verbs are listed once, not under `resource` again.
fn collect<'a>(command: &'a Command, above: &str, found: &mut Vec<(String, &'a Command)>) {
    let path = format!("{above}{}", command.get_name());
    let subcommands: Vec<&Command> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).collect();
    if subcommands.is_empty() || command.get_name() == "resource" {
        found.push((path, command));
        return;
    }
    for sub in subcommands {
        collect(sub, &format!("{path} "), found);
    }
}

fn section(path: &str, command: &Command, page: &mut String) {
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let _ = write!(page, "\n## {path}\n\n{}\n", sentence(&about));
    let usage = command.clone().render_usage().to_string();
    let _ = write!(page, "\n```text\n{}\n```\n", usage.trim_start_matches("Usage:").trim());
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help")
        .collect();
    if !own.is_empty() {
        let _ = write!(page, "\n{}", options(&own));
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    for block in after.split("\n\n").filter(|block| !block.is_empty()) {
        match block.strip_prefix("Examples:\n") {
            Some(examples) => {
                let lines: Vec<&str> =
                    examples.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
                let _ = write!(page, "\n```console\n{}\n```\n", lines.join("\n"));
            }
            None => {
                let _ = write!(page, "\n{block}\n");
            }
        }
    }
}

fn options(args: &[&Arg]) -> String {
    let mut table = String::from("| flag | meaning |\n|---|---|\n");
    for arg in args {
        let value = value(arg);
        let mut forms: Vec<String> = Vec::new();
        forms.extend(arg.get_short().map(|short| format!("`-{short}{value}`")));
        let longs = arg.get_long().into_iter().chain(arg.get_visible_aliases().unwrap_or_default());
        forms.extend(longs.map(|long| format!("`--{long}{value}`")));
        if forms.is_empty() {
            forms.push(format!("`{}`", value.trim()));
        }
        let mut meaning = escaped(&arg.get_help().map(ToString::to_string).unwrap_or_default());
        let words: Vec<String> = arg
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set() && arg.get_action().takes_values())
            .map(|value| match value.get_help() {
                Some(help) => format!("`{}` ({})", value.get_name(), lower_first(&help.to_string())),
                None => format!("`{}`", value.get_name()),
            })
            .collect();
        if !words.is_empty() {
            let _ = write!(meaning, ": {}", escaped(&words.join(", ")));
        }
        let defaults: Vec<String> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        if !defaults.is_empty() && arg.get_action().takes_values() {
            let _ = write!(meaning, "; default `{}`", defaults.join(" "));
        }
        if let Some(variable) = arg.get_env() {
            let _ = write!(meaning, "; also by the variable `{}`", variable.to_string_lossy());
        }
        if arg.is_required_set() {
            meaning.push_str("; required");
        }
        let _ = writeln!(table, "| {} | {meaning} |", forms.join(", "));
    }
    table
}

/// ` NAME` for a flag that takes one.
fn value(arg: &Arg) -> String {
    if !arg.get_action().takes_values() {
        return String::new();
    }
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().map(|name| format!(" {name}")).collect()
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn sentence(text: &str) -> String {
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    let second_is_lower = text.chars().nth(1).is_some_and(|c| c.is_lowercase() || c == ' ');
    match characters.next() {
        // JSON and YAML stay as they are.
        Some(first) if second_is_lower => first.to_lowercase().chain(characters).collect(),
        _ => text.to_owned(),
    }
}
