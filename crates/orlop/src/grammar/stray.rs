//! A word without its flag, as other tools take it: which flag was meant. Told by the definition of the
//! command, so that a new command has it too.

use std::{ffi::OsString, path::Path};

use clap::{
    Arg, ArgGroup, Command, ValueEnum,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{Cli, identifier::ResourceType, verb};

/// What a word alone may be meant for, by the long names of flags: the first that the command has and
/// that is not given yet.
const MEANT: [&str; 8] = ["name", "manifestFile", "to", "volume", "as", "pool", "path", "dir"];
/// The same for a word that names a file.
const MEANT_FOR_FILES: [&str; 3] = ["manifestFile", "path", "dir"];

/// Adds to the complaint about such a word what to write instead.
pub(crate) fn with_tip(mut error: clap::Error, words: &[OsString]) -> clap::Error {
    if error.kind() == ErrorKind::InvalidSubcommand {
        return with_verb(error, words);
    }
    let said = |context| match error.get(context) {
        Some(ContextValue::String(said)) => Some(said.clone()),
        _ => None,
    };
    let (stray, refused) = match error.kind() {
        ErrorKind::UnknownArgument => (said(ContextKind::InvalidArg), None),
        ErrorKind::InvalidValue => (None, said(ContextKind::InvalidValue)),
        _ => return error,
    };
    let words: Vec<&str> = words.iter().skip(1).filter_map(|word| word.to_str()).collect();
    let definition = Cli::definition();
    let (command, rest) = asked(&definition, &words);
    let of_stray = stray.and_then(|stray| tip(command, rest, &stray));
    if let Some(tip) = of_stray.or_else(|| refused.and_then(|kind| of_snapshots(command, &kind))) {
        let tip = StyledStr::from(format!("write {tip}"));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

/// Adds which of our verbs was meant by one of another tool. It goes before what is merely alike in letters.
fn with_verb(mut error: clap::Error, words: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(verb)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let words: Vec<&str> = words.iter().skip(1).filter_map(|word| word.to_str()).collect();
    let definition = Cli::definition();
    let (command, _) = asked(&definition, &words);
    let path = match command.get_name() {
        "orlop" => "orlop".to_owned(),
        name => format!("orlop {name}"),
    };
    if let Some(tip) = verb::meant(command, &path, verb) {
        let tip = StyledStr::from(format!("write {tip}"));
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

/// The command that the words ask for, and the words behind its name.
fn asked<'d, 'w>(root: &'d Command, words: &'w [&'w str]) -> (&'d Command, &'w [&'w str]) {
    let (mut command, mut rest) = (root, words);
    loop {
        match rest {
            // The one flag before a command is `--socket`.
            [flag, _value, after @ ..] if flag.starts_with("--") && !flag.contains('=') => rest = after,
            [flag, after @ ..] if flag.starts_with('-') => rest = after,
            [word, after @ ..] => match command.find_subcommand(word) {
                Some(found) => (command, rest) = (found, after),
                None => return (command, rest),
            },
            [] => return (command, rest),
        }
        if !command.has_subcommands() {
            return (command, rest);
        }
    }
}

/// Snapshots are no type of resource: they have commands of their own.
fn of_snapshots(command: &Command, kind: &str) -> Option<String> {
    if !matches!(kind, "snapshot" | "snapshots") || !command.get_arguments().any(is_type) {
        return None;
    }
    Some(match command.get_name() {
        "get" => "orlop snapshot list".to_owned(),
        "delete" => "orlop snapshot delete -n NAME".to_owned(),
        _ => "orlop snapshot --help".to_owned(),
    })
}

fn is_type(arg: &Arg) -> bool {
    arg.get_long() == Some("type")
}

fn tip(command: &Command, given: &[&str], stray: &str) -> Option<String> {
    if stray.starts_with('-') {
        return None;
    }
    let flag = |long: &str| command.get_arguments().find(|arg| arg.get_long() == Some(long));
    let one = stray.strip_suffix('s').unwrap_or(stray);
    if let (Some(arg), Ok(kind)) = (flag("type"), ResourceType::from_str(one, true)) {
        return Some(format!("{} {kind}", written(arg)));
    }
    if let Some(tip) = of_snapshots(command, stray) {
        return Some(tip);
    }
    let files: &[&str] = if is_file(stray) { &MEANT_FOR_FILES } else { &[] };
    let meant =
        files.iter().chain(&MEANT).find_map(|long| flag(long).filter(|arg| may_be(command, arg, given)))?;
    // What was meant for the flag may have been taken for the word that belongs there.
    let places: Vec<&str> = command
        .get_positionals()
        .filter(|place| place.is_required_set())
        .flat_map(|place| place.get_value_names().unwrap_or_default())
        .map(|name| name.as_str())
        .collect();
    if places.is_empty() || !meant.is_required_set() {
        return Some(format!("{} {stray}", written(meant)));
    }
    let value = meant.get_value_names().unwrap_or_default().first().map_or("NAME", |name| name.as_str());
    Some(format!("{} {value} {}", written(meant), places.join(" ")))
}

/// Whether that flag can still be given.
fn may_be(command: &Command, arg: &Arg, given: &[&str]) -> bool {
    let is_given = |arg: &Arg| {
        let long = arg.get_long().map(|long| format!("--{long}"));
        let short = arg.get_short().map(|short| format!("-{short}"));
        given.iter().any(|word| {
            long.as_ref().is_some_and(|long| word == long || word.starts_with(&format!("{long}=")))
                || short
                    .as_ref()
                    .is_some_and(|short| word.starts_with(short.as_str()) && !word.starts_with("--"))
        })
    };
    let alternatives = command
        .get_groups()
        .filter(|group| !is_multiple(group) && group.get_args().any(|id| id == arg.get_id()))
        .flat_map(|group| group.get_args())
        .filter_map(|id| command.get_arguments().find(|arg| arg.get_id() == id));
    let conflict = |one: &Arg, other: &Arg| {
        command.get_arg_conflicts_with(one).iter().any(|found| found.get_id() == other.get_id())
    };
    let conflicts = command.get_arguments().filter(|other| conflict(arg, other) || conflict(other, arg));
    let mut others = alternatives.chain(conflicts).filter(|other| other.get_id() != arg.get_id());
    // A word that is left over was left by all that take one.
    !is_given(arg) && others.all(|other| !other.is_positional() && !is_given(other))
}

/// clap asks a group through a change.
fn is_multiple(group: &ArgGroup) -> bool {
    group.clone().is_multiple()
}

/// As it is written: short where it can be.
fn written(arg: &Arg) -> String {
    match (arg.get_short(), arg.get_long()) {
        (Some(short), _) => format!("-{short}"),
        (None, long) => format!("--{}", long.unwrap_or_default()),
    }
}

fn is_file(word: &str) -> bool {
    let extension = Path::new(word).extension().and_then(|extension| extension.to_str());
    word.contains('/') || matches!(extension, Some("yaml" | "yml" | "json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> String {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = Cli::definition().try_get_matches_from(&words).expect_err(line);
        with_tip(error, &words).to_string()
    }

    #[test]
    fn the_flag_that_was_meant_is_told() {
        for (line, expected) in [
            ("orlop apply data.yaml", Some("-f data.yaml")),
            ("orlop apply manifests", Some("-f manifests")),
            ("orlop diff manifests/", Some("-f manifests/")),
            ("orlop get data", Some("-n data")),
            ("orlop get volumes", Some("-t volume")),
            ("orlop get snapshots", Some("orlop snapshot list")),
            ("orlop get -t snapshot", Some("orlop snapshot list")),
            ("orlop get -tsnapshots -n data", Some("orlop snapshot list")),
            ("orlop get --type=snapshot", Some("orlop snapshot list")),
            ("orlop delete -t snapshot -n monday", Some("orlop snapshot delete -n NAME")),
            ("orlop resource log -t snapshot -n monday", Some("orlop snapshot --help")),
            ("orlop --socket /x get data", Some("-n data")),
            ("orlop --socket=/x get data", Some("-n data")),
            ("orlop resource log pool", Some("-t pool")),
            ("orlop delete -w team data", Some("-n data")),
            ("orlop delete data.yaml", Some("-f data.yaml")),
            ("orlop events data", Some("-n data")),
            ("orlop mount data /mnt", Some("-n NAME DIR")),
            ("orlop undelete data", Some("-n data")),
            ("orlop undelete -n data old", Some("--as old")),
            ("orlop undelete --id 019a0000-0000-7000-8000-000000000000 old", Some("--as old")),
            ("orlop purge data", Some("-n data")),
            ("orlop rename data archive", Some("-n data")),
            ("orlop rename -n data archive", Some("--to archive")),
            ("orlop snapshot create monday", Some("-n monday")),
            ("orlop snapshot create -n monday data", Some("--volume data")),
            ("orlop snapshot create --name=monday data", Some("--volume data")),
            ("orlop snapshot list data", Some("--volume data")),
            ("orlop snapshot restore -w team monday", Some("-n monday")),
            ("orlop volume show data", Some("-n data")),
            ("orlop volume migrate data fast", Some("-n data")),
            ("orlop volume migrate -ndata fast", Some("--pool fast")),
            ("orlop pool create fast /srv/fast", Some("--path /srv/fast")),
            ("orlop pool import /srv/fast", Some("--path /srv/fast")),
            ("orlop man /tmp/pages", Some("--dir /tmp/pages")),
            ("orlop pool create fast --device /dev/sdx /srv/fast", None),
            ("orlop workspace create team other", None),
            ("orlop get -n data other", None),
            ("orlop mount -n data /mnt /mnt", None),
            ("orlop status data", None),
            ("orlop create", Some("orlop apply -f FILE")),
            ("orlop add -f x.yaml", Some("orlop apply -f FILE")),
            ("orlop ls", Some("orlop get")),
            ("orlop list", Some("orlop get")),
            ("orlop ps -a", Some("orlop get")),
            ("orlop resource ls", Some("orlop get")),
            ("orlop rm data", Some("orlop delete -n NAME")),
            ("orlop destroy data", Some("orlop delete -n NAME")),
            ("orlop inspect data", Some("orlop volume show -n NAME")),
            ("orlop describe volume data", Some("orlop volume show -n NAME")),
            ("orlop resize data 2Gi", Some("orlop apply -f FILE, with a larger size in the manifest")),
            (
                "orlop cp data copy",
                Some("orlop apply -f FILE, with `source: {volume: NAME}` in the manifest"),
            ),
            ("orlop prune", Some("orlop purge --all")),
            ("orlop logs -f", Some("orlop log")),
            ("orlop --socket /x umount /mnt", Some("orlop unmount DIR")),
            ("orlop volume ls", Some("orlop get")),
            ("orlop volume create data", Some("orlop apply -f FILE")),
            ("orlop volume inspect data", Some("orlop volume show")),
            ("orlop volume rm data", Some("orlop delete -n NAME")),
            ("orlop snapshot ls", Some("orlop snapshot list")),
            ("orlop snapshot rm monday", Some("orlop snapshot delete")),
            ("orlop snapshot describe monday", Some("orlop snapshot show")),
            ("orlop pool ls", Some("orlop pool list")),
            ("orlop pool get", Some("orlop pool list")),
            ("orlop pool rm fast", Some("orlop pool remove")),
            ("orlop pool delete fast", Some("orlop pool remove")),
            ("orlop pool add fast", Some("orlop pool create")),
            ("orlop pool resize fast", Some("orlop pool grow")),
            ("orlop workspace ls", Some("orlop workspace get")),
            ("orlop workspace describe team", Some("orlop workspace get")),
            ("orlop workspace rm team", Some("orlop workspace delete")),
            ("orlop operation cancel", Some("orlop operation stop")),
            ("orlop pool clone", None),
            ("orlop frobnicate", None),
        ] {
            let text = said(line);
            match expected {
                Some(expected) => {
                    assert!(text.contains(&format!("tip: write {expected}\n")), "{line}: {text}")
                }
                None => assert!(!text.contains("tip:"), "{line}: {text}"),
            }
        }
    }

    /// Each command that takes no word alone, with one: it says which flag was meant, or none could be.
    #[test]
    fn every_command_tells_it_or_has_nothing_that_a_word_could_mean() {
        const NOTHING: [&str; 8] =
            ["operation list", "pool list", "status", "serve", "install", "version", "reference", "unmount"];
        fn leaves(command: &Command, path: &str, found: &mut Vec<String>) {
            for sub in command.get_subcommands() {
                let path = format!("{path}{} ", sub.get_name());
                if sub.has_subcommands() {
                    leaves(sub, &path, found);
                } else {
                    found.push(path.trim_end().to_owned());
                }
            }
        }
        let mut found = Vec::new();
        leaves(&Cli::definition(), "", &mut found);
        assert!(found.len() > 40, "{found:?}");
        let mut told = 0;
        for path in found {
            let line = format!("orlop {path} word");
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let Err(error) = Cli::definition().try_get_matches_from(&words) else { continue };
            if error.kind() != ErrorKind::UnknownArgument {
                // It takes a word, which is another than this.
                assert!(command_at(&path).get_positionals().next().is_some(), "{line}: {error}");
                continue;
            }
            let text = with_tip(error, &words).to_string();
            assert_eq!(text.contains("tip: write -"), !NOTHING.contains(&path.as_str()), "{line}: {text}");
            told += 1;
        }
        assert!(told > 25, "{told}");
    }

    fn command_at(path: &str) -> Command {
        path.split(' ')
            .fold(Cli::definition(), |command, word| command.find_subcommand(word).unwrap().clone())
    }
}
