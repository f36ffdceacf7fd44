//! A verb of another tool: which command of ours was meant. Told where no command is alike in letters, and
//! also where one is that means something else.

use clap::Command;

/// What stands at the top for a verb, whichever resource is meant.
const TOP: [(&[&str], &str); 14] = [
    (
        &["create", "add", "new", "make", "run", "set", "edit", "patch", "replace", "update"],
        "orlop apply -f FILE",
    ),
    (&["resize", "grow", "expand", "extend"], "orlop apply -f FILE, with a larger size in the manifest"),
    (&["shrink"], "orlop volume migrate -n NAME --size SIZE"),
    (
        &["cp", "copy", "clone", "duplicate"],
        "orlop apply -f FILE, with `source: {volume: NAME}` in the manifest",
    ),
    (&["ls", "list", "ps", "volumes"], "orlop get"),
    (&["rm", "remove", "destroy", "del", "unlink"], "orlop delete -n NAME"),
    (&["describe", "inspect", "show", "info", "usage", "df", "stat"], "orlop volume show -n NAME"),
    (&["prune", "gc", "clean"], "orlop purge --all"),
    (&["restore", "rollback", "revert"], "orlop snapshot restore -n NAME"),
    (&["backup", "snap"], "orlop snapshot create -n NAME --volume VOLUME"),
    (&["logs", "history"], "orlop log"),
    (
        &["move", "mv", "migrate"],
        "orlop volume migrate -n NAME --pool POOL, or orlop rename -n NAME --to NAME",
    ),
    (&["umount"], "orlop unmount DIR"),
    (&["watch"], "orlop get --refresh, or orlop events -f"),
];

/// What a verb is called below a command, the first that is there.
const BELOW: [(&[&str], &[&str]); 6] = [
    (&["ls", "ps", "list", "get"], &["list", "get"]),
    (&["describe", "inspect", "info", "get", "show"], &["show", "get", "list"]),
    (&["rm", "remove", "destroy", "del", "delete"], &["delete", "remove", "stop"]),
    (&["add", "new", "make", "apply", "set", "update"], &["create"]),
    (&["resize", "expand", "extend"], &["grow"]),
    (&["stop", "cancel", "abort", "kill"], &["stop"]),
];

/// What to write instead of that word behind `path`, as `orlop pool`.
pub(super) fn meant(command: &Command, path: &str, verb: &str) -> Option<String> {
    let verb = verb.to_lowercase();
    let of = |verbs: &[&str]| verbs.contains(&verb.as_str());
    if !command.get_subcommands().any(|below| below.get_name() == "apply") {
        let meant = BELOW.iter().filter(|(verbs, _)| of(verbs)).flat_map(|(_, names)| names.iter());
        let mut there = meant.filter(|name| command.find_subcommand(name).is_some());
        if let Some(name) = there.next() {
            return Some(format!("{path} {name}"));
        }
        // Volumes are made and listed by the verbs of all resources.
        if command.get_name() != "volume" {
            return None;
        }
    }
    TOP.iter().find(|(verbs, _)| of(verbs)).map(|(_, meant)| (*meant).to_owned())
}
