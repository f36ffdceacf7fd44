//! The grammar, as tables: what is understood, as what, and what is refused.

use clap::{CommandFactory, Parser};
use orlop_model::WorkspaceName;

use super::{Cli, Command, identifier::Target, resource::*};

fn parse(line: &str) -> Result<Command, clap::Error> {
    let words = shell(line);
    Cli::try_parse_from(std::iter::once("orlop".to_owned()).chain(words)).map(|cli| cli.command)
}

/// Splits at spaces, except between single quotes.
fn shell(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}

fn volume(workspace: &str, name: Option<&str>) -> Target {
    Target::Volume { workspace: workspace.parse().unwrap(), name: name.map(|name| name.parse().unwrap()) }
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
    Cli::definition().debug_assert();
}

#[test]
fn the_same_target_in_every_way_to_write_it() {
    for (line, target) in [
        ("get", volume("public", None)),
        ("get -t volume", volume("public", None)),
        ("get -t volume -w team", volume("team", None)),
        ("get --type volume --workspace team --name data", volume("team", Some("data"))),
        ("get -t volume -n data", volume("public", Some("data"))),
        ("get -tvolume -ndata -wteam", volume("team", Some("data"))),
        ("resource get -t volume -n data", volume("public", Some("data"))),
        ("get -i 'data | v1beta | volume | team'", volume("team", Some("data"))),
        ("get -i data|v1beta|volume|team", volume("team", Some("data"))),
        ("get --identifier data|v1beta|volume|team", volume("team", Some("data"))),
        ("get --id volume:v1beta:data:team", volume("team", Some("data"))),
        ("get -t workspace", Target::Workspace(None)),
        ("get -t workspace -n team", Target::Workspace(Some("team".parse().unwrap()))),
        ("get -t pool", Target::Pool(None)),
        ("get -t pool -n fast", Target::Pool(Some("fast".parse().unwrap()))),
    ] {
        let command = parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        let (Command::Verb(ResourceCommand::Get(args)) | Command::Resource(ResourceCommand::Get(args))) =
            command
        else {
            panic!("{line} is no get");
        };
        assert_eq!(args.selector.target().unwrap(), target, "{line}");
    }
}

#[test]
fn a_name_is_checked_by_the_rules_of_its_type() {
    let long = "w".repeat(60);
    for (line, good) in [
        (format!("get -t workspace -n {long}"), true),
        (format!("get -t volume -n {long}"), false),
        ("get -t volume -n Data".to_owned(), false),
        ("get -t pool -n fast -w team".to_owned(), false),
    ] {
        let Ok(Command::Verb(ResourceCommand::Get(args))) = parse(&line) else { panic!("{line}") };
        assert_eq!(args.selector.target().is_ok(), good, "{line}");
    }
}

#[test]
fn every_verb_is_at_the_top_and_under_resource() {
    for line in [
        "apply -f a.yaml",
        "apply -f a.yaml -f b.yaml -R -w team --disable-interpolation",
        "apply --manifestFile a.yaml --lint",
        "apply --manifest-file - -l --no-register",
        "get -t volume -a -o wide --tags --tag x --tag y -r",
        "get -t volume -n data -d",
        "get -t volume --released -o json",
        "delete -t volume -n data --force",
        "delete -i 'data | v1beta | volume | public'",
        "delete --id volume:v1beta:data:public",
        "delete -f a.yaml -R",
        "log -t volume -n data -f --tail 5 -o json",
    ] {
        assert!(matches!(parse(line), Ok(Command::Verb(_))), "{line}: {:?}", parse(line).err());
        let under = format!("resource {line}");
        assert!(matches!(parse(&under), Ok(Command::Resource(_))), "{under}");
    }
}

#[test]
fn the_other_commands() {
    for line in [
        "workspace create team --grant 1000 --grant 1001",
        "workspace create -n team",
        "workspace get",
        "workspace get team -o yaml",
        "workspace delete --name team",
        "pool create fast --path /srv/fast --capacity 10Gi --overcommit 1.5",
        "pool list -o wide",
        "pool show fast",
        "mount -n data /mnt",
        "mount -n data -w team /mnt --read-only",
        "mount -n data /mnt --read-write",
        "unmount /mnt",
        "serve",
        "serve --state-dir /a --run-dir /b --mount-dir /c --config /d",
        "install --dry-run --root /tmp/x",
        "install --uninstall",
        "schema volume",
        "schema snapshot",
        "completions bash",
        "man --dir /tmp/x",
        "version",
        "status --socket /tmp/x",
        "--socket /tmp/x status",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
    }
}

#[test]
fn what_is_refused_and_how_it_is_said() {
    for (line, says) in [
        ("get -t service", "possible values: volume, workspace, pool"),
        ("get -i 'data | v1beta | volume | public' -n data", "cannot be used with"),
        ("get -i 'data | v1beta | volume | public' --id volume:v1beta:data", "cannot be used with"),
        ("get -i data", "names no resource"),
        ("get -t volume -w Team", "workspace name"),
        ("get -d -o json", "cannot be used with"),
        ("get -o xml", "possible values: table, wide, json, yaml"),
        ("apply", "--manifestFile"),
        ("apply -R", "--manifestFile"),
        ("delete -t volume", "required"),
        ("delete -n data -f a.yaml", "cannot be used with"),
        ("pool create fast", "--path"),
        ("pool create fast --path /a --capacity 1gi", "did you mean Gi"),
        ("pool create fast --path /a --overcommit 0.5", "a factor from 1.0"),
        ("pool create fast --path /a --overcommit 1e308", "to 1000"),
        ("workspace create team -n team", "cannot be used with"),
        ("mount -n data /a --read-only --read-write", "cannot be used with"),
        ("mount /a", "--name"),
        ("schema service", "possible values: volume, snapshot"),
        ("aply -f x", "apply"),
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(says), "{line}: {error}");
    }
}

#[test]
fn the_workspace_of_apply_is_left_to_the_manifest() {
    let Ok(Command::Verb(ResourceCommand::Apply(args))) = parse("apply -f a.yaml") else { panic!() };
    assert_eq!(args.workspace, None);
    let Ok(Command::Verb(ResourceCommand::Apply(args))) = parse("apply -f a.yaml -w public") else {
        panic!()
    };
    assert_eq!(args.workspace, Some(WorkspaceName::public()));
}

#[test]
fn every_command_has_help_and_examples() {
    fn walk(command: &clap::Command, path: &str) {
        assert!(command.get_about().is_some(), "{path} has no help");
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{path} {} has no help", arg.get_id());
        }
        let shown = command.get_subcommands().filter(|c| !c.is_hide_set()).collect::<Vec<_>>();
        if shown.is_empty() {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.contains("Examples:\n"), "{path} has no examples");
        }
        for sub in shown {
            walk(sub, &format!("{path} {}", sub.get_name()));
        }
    }
    walk(&Cli::definition(), "orlop");
}

#[test]
fn every_example_parses() {
    fn walk(command: &clap::Command, examples: &mut Vec<String>) {
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = after.lines().skip_while(|line| *line != "Examples:").skip(1);
        for line in lines.take_while(|line| line.starts_with("  ")) {
            // Two spaces and more begin a remark; `|`, `>` and `&&` belong to the shell unless quoted.
            let line = line.trim().replace('"', "'");
            let line = line.split("  ").next().unwrap_or_default().to_owned();
            if let Some(start) = line.find("orlop ") {
                let outside = line.get(start + 6..).unwrap_or_default();
                let end = [" | jq", " | man", " > ", " && ", ")"]
                    .iter()
                    .filter_map(|stop| outside.find(stop))
                    .min()
                    .unwrap_or(outside.len());
                examples.push(outside.get(..end).unwrap_or_default().to_owned());
            }
        }
        command.get_subcommands().for_each(|sub| walk(sub, examples));
    }
    let mut examples = Vec::new();
    walk(&Cli::definition(), &mut examples);
    assert!(examples.len() > 40, "{examples:#?}");
    for example in examples {
        assert!(parse(&example).is_ok(), "{example}: {}", parse(&example).unwrap_err());
    }
}
