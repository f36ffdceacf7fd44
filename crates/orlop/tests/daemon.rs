//! The command line against a real daemon: transcripts of a user's day, and what scripts rely on.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::Duration,
};

use orlop_testkit::{OrlopDaemon, Part, ScratchFs, command::eventually, process, require};
use serde_json::Value;

const DATA: &str = "\
name: data
version: v1beta
type: volume
tags: [example]
owner: iamgroot
volume: {size: 64Mi, accessMode: ReadWriteMany, type: persistent}
";
const SCRATCH: &str = "\
name: scratch
version: v1beta
type: volume
volume: {size: 32Mi, accessMode: ReadWriteOnce, type: temp}
";

/// A user at a prompt: what is typed, what comes back, and what is different every time taken out.
struct Session {
    daemon: OrlopDaemon,
    text: String,
}

impl Session {
    fn new() -> Self {
        let daemon = OrlopDaemon::start();
        fs::write(daemon.scratch().join("data.yaml"), DATA).unwrap();
        fs::write(daemon.scratch().join("scratch.yaml"), SCRATCH).unwrap();
        Self { daemon, text: String::new() }
    }

    fn command(&self, line: &str) -> Command {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for c in line.chars() {
            match c {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                c => words.last_mut().unwrap().push(c),
            }
        }
        let mut command = Command::new(orlop_testkit::daemon::binary());
        command
            .args(&words[1..])
            .env_clear()
            .env("ORLOP_SOCKET", self.daemon.socket())
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
            .env("CONTAINER_HOST", "unix:///nonexistent/podman.sock")
            .current_dir(self.daemon.scratch().path());
        command
    }

    /// Types a line, `orlop …`.
    fn type_in(&mut self, line: &str) {
        let output = self.command(line).output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        self.text.push_str(&format!("$ {line}\n{out}"));
        err.lines().for_each(|line| self.text.push_str(&format!("! {line}\n")));
        match output.status.code() {
            Some(0) => {}
            code => self.text.push_str(&format!("=> {}\n", code.unwrap())),
        }
    }

    fn json(&self, line: &str) -> Value {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs one command's output into another's input.
    fn pipe(&self, from: &str, to: &str) -> String {
        let output = self.command(from).output().unwrap();
        assert!(output.status.success(), "{from}: {}", String::from_utf8_lossy(&output.stderr));
        let mut child = self
            .command(to)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&output.stdout).unwrap();
        let answer = child.wait_with_output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&answer.stdout), String::from_utf8_lossy(&answer.stderr))
    }

    /// The transcript, without what is different every time.
    fn transcript(&self) -> String {
        let dir = self.daemon.scratch().path().display().to_string();
        let varying = [
            ("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "[ID]"),
            (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| UTC)", "[TIME]"),
            (r"\(\d+s ago\)", "([AGE] ago)"),
            (r"\| \d+s ago +", "| [AGE] ago "),
            (r"for \d+s, on \S+", "for [AGE], on [NODE]"),
            (r"(node: +)\S+", "${1}[NODE]"),
            (r"(On disk: +)\S+", "${1}[BYTES]"),
            (r"(Used: +)\S+", "${1}[BYTES]"),
            (r"(Available: +)\d+[.\dKMi]+", "${1}[BYTES]"),
            (r"! volume \S+ (preparing|formatting|copying|resizing|verifying)[^\n]*\n", ""),
            (r"allocatedBytes: \d+", "allocatedBytes: [BYTES]"),
        ];
        varying.iter().fold(self.text.replace(&dir, "[DIR]"), |text, (pattern, with)| {
            regex_lite::Regex::new(pattern).unwrap().replace_all(&text, *with).into_owned()
        })
    }
}

#[test]
fn a_first_day() {
    require!(Part::Loop);
    let mut session = Session::new();
    for line in [
        "orlop status",
        "orlop get",
        "orlop apply -f data.yaml -f scratch.yaml",
        "orlop apply -f data.yaml -f scratch.yaml",
        "orlop get -t volume",
        "orlop get -i 'data | v1beta | volume | public' --tags",
        "orlop get --id volume:v1beta:data:public -d",
        "orlop resource get -t volume -n scratch -o yaml",
        "orlop get --tag example",
        "orlop get --tag example --tag other",
        "orlop log -t volume -n data",
        "orlop delete -f data.yaml",
        "orlop delete -t volume -n scratch",
        "orlop get --released",
        "orlop get --released -n data -d",
        "orlop get -n data",
        "orlop delete -n data",
        "orlop delete -f data.yaml -f scratch.yaml",
        "orlop log -t volume -n data",
    ] {
        session.type_in(line);
    }
    insta::assert_snapshot!("a_first_day", session.transcript());
    session.daemon.assert_nothing_left();
}

#[test]
fn a_plan_a_prune_and_a_move() {
    require!(Part::Loop);
    let mut session = Session::new();
    let set = session.daemon.scratch().join("manifests");
    fs::create_dir(&set).unwrap();
    // How an ext4 grows depends on the capabilities of the daemon.
    let large = DATA.replace("64Mi", "300Mi, filesystem: xfs");
    fs::write(set.join("data.yaml"), &large).unwrap();
    fs::write(set.join("scratch.yaml"), SCRATCH).unwrap();
    session.type_in("orlop diff -f manifests");
    session.type_in("orlop apply -f manifests --dry-run");
    session.type_in("orlop apply -f manifests");
    session.type_in("orlop apply -f manifests --dry-run");
    // One of another set, and one by itself: neither is this set's to prune.
    fs::write(session.daemon.scratch().join("alone.yaml"), SCRATCH.replace("scratch", "alone")).unwrap();
    fs::write(session.daemon.scratch().join("other.yaml"), SCRATCH.replace("scratch", "other")).unwrap();
    session.type_in("orlop apply -f alone.yaml");
    session.type_in("orlop apply -f other.yaml --set other");
    fs::remove_file(set.join("scratch.yaml")).unwrap();
    fs::write(set.join("data.yaml"), large.replace("300Mi", "400Mi").replace("[example]", "[example, more]"))
        .unwrap();
    for line in [
        "orlop diff -f manifests --prune",
        "orlop diff -f alone.yaml --prune",
        // Nothing of it is done: what follows finds the same.
        "orlop apply -f manifests --prune --dry-run",
        "orlop apply -f manifests --prune",
        "orlop apply -f manifests --prune --yes",
        "orlop apply -f manifests --prune",
        "orlop diff -f data.yaml",
        "orlop apply -f data.yaml --dry-run",
        // A refusal goes before a change.
        "orlop apply -f data.yaml -f scratch.yaml --dry-run",
        "orlop get",
        "orlop volume migrate -n data --size 310Mi",
        "orlop volume migrate -n data --pool default",
        "orlop volume migrate -n data --pool none",
        "orlop volume migrate -n data",
    ] {
        session.type_in(line);
    }
    insta::assert_snapshot!("a_plan", session.transcript());
    session.daemon.assert_nothing_left();
}

#[test]
fn a_plan_has_snapshots_too() {
    require!(Part::Loop);
    let mut session = Session::new();
    let set = session.daemon.scratch().join("set");
    fs::create_dir(&set).unwrap();
    let monday =
        "name: monday\nversion: v1beta\ntype: snapshot\nowner: costs $$5\nsnapshot: {volume: data}\n";
    fs::write(set.join("data.yaml"), DATA).unwrap();
    fs::write(set.join("monday.yaml"), monday).unwrap();
    fs::write(set.join("service.yaml"), "name: a\nversion: v1\ntype: service\n").unwrap();
    let copy = |name: &str, source: &str| {
        let temp = format!("temp, source: {{{source}}}}}");
        SCRATCH
            .replace("name: scratch", &format!("name: {name}"))
            .replace("32Mi", "64Mi")
            .replace("temp}", &temp)
    };
    fs::write(set.join("more.yaml"), copy("more", "snapshot: monday")).unwrap();
    fs::write(session.daemon.scratch().join("copy.yaml"), copy("copy", "volume: more")).unwrap();
    let alone = session.daemon.scratch().join("alone.yaml");
    fs::write(&alone, monday).unwrap();
    let kept = session.daemon.scratch().join("kept.yaml");
    fs::write(&kept, monday.replace("data}", "data, retain: 7d}")).unwrap();
    let other = session.daemon.scratch().join("other.yaml");
    fs::write(&other, monday.replace("data}", "other}")).unwrap();
    for line in [
        "orlop diff -f alone.yaml",
        "orlop diff -f set -f copy.yaml",
        // It would be made before what it is to be made of.
        "orlop diff -f copy.yaml -f set",
        "orlop apply -f set",
        "orlop apply -f set --dry-run",
        "orlop diff -f kept.yaml",
        "orlop diff -f other.yaml",
    ] {
        session.type_in(line);
    }
    insta::assert_snapshot!("a_plan_of_snapshots", session.transcript());
    let shown = session.json("orlop snapshot show -n monday -o json");
    assert_eq!(shown["owner"], "costs $$5", "as apply reads it back");
    session.type_in("orlop snapshot show -n monday");
    assert!(session.text.contains(" costs $5\n"), "as people read it: {}", session.text);
}

/// The texts of one user, and the names of files, do nothing to the terminal of another.
#[test]
fn nothing_of_another_user_reaches_the_terminal_as_it_is() {
    require!(Part::Loop);
    let session = Session::new();
    let target = session.daemon.scratch().join("a\u{1b}]0;evil\u{7}\u{202e}b");
    fs::create_dir(&target).unwrap();
    assert!(session.command("orlop apply -f data.yaml").output().unwrap().status.success());
    let mounted = session.command("orlop mount -n data").arg(&target).output().unwrap();
    assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
    for line in
        ["orlop delete -n data", "orlop get -d -n data", "orlop log -t volume", "orlop diff -f moved.yaml"]
    {
        fs::write(session.daemon.scratch().join("moved.yaml"), DATA.replace("64Mi", "16Mi")).unwrap();
        let output = session.command(line).env("CLICOLOR_FORCE", "1").output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(
            !said.contains("\u{1b}]0;") && !said.contains('\u{7}') && !said.contains('\u{202e}'),
            "{said:?}"
        );
    }
    assert!(session.command("orlop unmount").arg(&target).output().unwrap().status.success());
}

#[test]
fn changes_in_place_and_changes_that_are_refused() {
    require!(Part::Loop);
    let mut session = Session::new();
    let dir = session.daemon.scratch().path().to_owned();
    fs::write(dir.join("tagged.yaml"), DATA.replace("[example]", "[example, more]")).unwrap();
    fs::write(dir.join("options.yaml"), DATA.replace("64Mi", "128Mi, mountOptions: [noexec]")).unwrap();
    fs::create_dir(dir.join("here")).unwrap();
    fs::write(dir.join("larger.yaml"), DATA.replace("64Mi", "128Mi")).unwrap();
    fs::write(dir.join("moved.yaml"), DATA.replace("64Mi", "64Mi, pool: elsewhere")).unwrap();
    fs::write(dir.join("huge.yaml"), SCRATCH.replace("32Mi", "4Pi").replace("scratch", "huge")).unwrap();
    fs::write(dir.join("cloud.yaml"), SCRATCH.replace("temp", "CloudTemp").replace("scratch", "cloud"))
        .unwrap();
    fs::write(dir.join("typo.yaml"), SCRATCH.replace("size", "sise").replace("scratch", "typo")).unwrap();
    for line in [
        "orlop apply -f data.yaml",
        "orlop apply -f tagged.yaml",
        "orlop apply -f larger.yaml",
        "orlop apply -f cloud.yaml",
        // Nothing of a run with a fault is applied.
        "orlop apply -f scratch.yaml -f typo.yaml",
        "orlop get -n scratch",
        // A refused one does not stop the others; two reasons make the status 1.
        "orlop apply -f moved.yaml -f cloud.yaml -f scratch.yaml",
        "orlop apply -f data.yaml -w nowhere",
        "orlop mount -n data here",
        "orlop apply -f options.yaml",
        "orlop unmount here",
    ] {
        session.type_in(line);
    }
    insta::assert_snapshot!("changes", session.transcript());
    let output = session.command("orlop apply -f huge.yaml").output().unwrap();
    assert_eq!(output.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&output.stderr).contains("4Pi does not fit in pool default"));
}

#[test]
fn workspaces_pools_and_mounts() {
    require!(Part::Loop);
    let mut session = Session::new();
    let dir = session.daemon.scratch().path().to_owned();
    fs::create_dir(dir.join("here")).unwrap();
    let waning =
        SCRATCH.replace("name: scratch", "name: waning").replace("temp", "temp, tempGracePeriod: 630s");
    fs::write(dir.join("waning.yaml"), waning).unwrap();
    for line in [
        "orlop workspace create team --grant 1000",
        "orlop workspace create team --grant 1000",
        "orlop workspace create -n team --grant 1001",
        "orlop workspace create -n team --grant 1001 --grant none",
        "orlop workspace get",
        "orlop workspace create -n team --grant root",
        "orlop workspace create -n team --grant none",
        "orlop workspace create -n team --grant 1001",
        "orlop get -t workspace -n team -d",
        "orlop apply -f scratch.yaml -w team",
        "orlop workspace delete team",
        "orlop mount -n scratch -w team here",
        "orlop mount -n scratch -w team here",
        "orlop get -w team -n scratch -d",
        "orlop delete -n scratch -w team",
        "orlop delete -n scratch -w team --force",
        "orlop get -w team",
        "orlop unmount here",
        "orlop unmount here",
        "orlop apply -f waning.yaml",
        "orlop mount -n waning here",
        "orlop get",
        "orlop unmount here",
        "orlop get",
    ] {
        session.type_in(line);
    }
    assert!(eventually(Duration::from_secs(30), || {
        session.command("orlop get -n scratch -w team").output().unwrap().status.code() == Some(4)
    }));
    for line in [
        "orlop workspace delete team",
        "orlop workspace get team",
        "orlop pool create small --path pools/small --capacity 100Mi --overcommit 1.5",
        "orlop pool create small --path pools/small --capacity 100Mi --overcommit 1.5",
        "orlop pool create small --path pools/other",
        "orlop get -t pool -n nothing",
        "orlop delete -t pool -n small --force",
        "orlop delete -t pool -n small",
        "orlop log -t pool -n small",
        "orlop pool create small --path pools/small --capacity 100Mi --overcommit 1.5",
    ] {
        session.type_in(line);
    }
    insta::assert_snapshot!("workspaces_pools_and_mounts", session.transcript());
    let pool = session.json("orlop pool show small -o json");
    assert_eq!((&pool["name"], &pool["overcommit"]), (&"small".into(), &1.5.into()));
    let pools = session.json("orlop get -t pool -o json");
    assert_eq!(pools.as_array().unwrap().len(), 2);
}

#[test]
fn what_get_prints_can_be_applied_again_unchanged() {
    require!(Part::Loop);
    let session = Session::new();
    let dir = session.daemon.scratch().path().to_owned();
    let odd = "name: odd\nversion: v1beta\ntype: volume\nowner: \"no\"\ndescription: 'costs $$5, ${PRICE} says: # it'\n\
               tags: [\"0123\", \"a: b\", \"#x\", \"\u{2603}\", \"null\", \"1.10\", \"$$HOME\", \" padded \"]\nlayer: system\n\
               volume: {size: 64Mi, accessMode: ReadOnlyMany, type: temp, pool: default, filesystem: ext4,\n\
               \x20 uid: 1000, gid: 0, mode: \"0770\", mountOptions: [noatime, noexec]}\n";
    fs::write(dir.join("odd.yaml"), odd).unwrap();
    let applied =
        session.command("orlop apply -f odd.yaml -f data.yaml").env("PRICE", "$5").output().unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));

    let volume = session.json("orlop get -n odd -o json");
    assert_eq!(volume["volume"]["mode"], "0770");
    assert_eq!(volume["status"]["state"], "active");
    assert_eq!(volume["workspace"], "public");
    let all = session.json("orlop get -o json");
    let names: Vec<_> = all.as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["data", "odd"]);

    for format in ["json", "yaml"] {
        for (from, said) in [
            (format!("orlop get -n odd -o {format}"), "volume public/odd: unchanged\n"),
            (
                format!("orlop get -o {format}"),
                "volume public/data: unchanged\nvolume public/odd: unchanged\n",
            ),
        ] {
            assert_eq!(session.pipe(&from, "orlop apply -f -"), said, "{from}");
        }
    }
    let wrong = session.pipe("orlop get -n odd -o yaml", "orlop apply -f - -w team");
    assert!(wrong.contains("the manifest is for the workspace public, the command for team"), "{wrong}");
    // Deleting by what get prints works too.
    let deleted = session.pipe("orlop get -o yaml", "orlop delete -f -");
    assert!(deleted.contains("public/odd: deleted, its data is destroyed"), "{deleted}");
}

#[test]
fn owners_see_their_own_unless_they_ask_for_all() {
    require!(Part::Loop);
    let session = Session::new();
    fs::set_permissions(session.daemon.socket(), std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .unwrap();
    let run = |line: &str, uid: u32| {
        let mut command = session.command(line);
        // The program is where the other user can run it.
        let program = session.daemon.scratch().join("orlop");
        if !program.exists() {
            fs::copy(orlop_testkit::daemon::binary(), &program).unwrap();
        }
        fs::set_permissions(
            session.daemon.scratch().path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        let mut as_user = Command::new(&program);
        as_user.args(command.get_args()).env_clear();
        for (name, value) in command.get_envs() {
            as_user.env(name, value.unwrap());
        }
        as_user.current_dir(session.daemon.scratch().path()).uid(uid).gid(uid);
        command = as_user;
        let mut output = None;
        // A process that another test starts may hold the copy open for writing for a moment.
        eventually(Duration::from_secs(10), || {
            output = command.output().ok();
            output.is_some()
        });
        let output = output.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), {
            String::from_utf8_lossy(&output.stderr).into_owned()
        })
    };
    assert_eq!(run("orlop apply -f data.yaml", 0).0, Some(0));
    assert_eq!(run("orlop apply -f scratch.yaml", 1000).0, Some(0));

    let (_, out, _) = run("orlop get", 1000);
    assert!(out.contains("scratch") && !out.contains("data"), "{out}");
    let (_, out, err) = run("orlop get", 1001);
    assert_eq!(
        (out.as_str(), err.as_str()),
        ("", "no volumes of yours in workspace public; -a shows those of all owners\n")
    );
    let (_, out, _) = run("orlop get -a", 1001);
    assert!(out.contains("scratch") && out.contains("data") && out.contains("uid 1000"), "{out}");
    let (_, out, _) = run("orlop get -n data", 1001);
    assert!(out.contains("iamgroot"), "{out}");

    let (code, _, err) = run("orlop delete -n data", 1000);
    assert_eq!(code, Some(7), "{err}");
    let (code, _, err) = run("orlop pool create mine --path /tmp/x", 1000);
    assert_eq!(code, Some(7), "{err}");
}

#[test]
fn volumes_are_of_the_node_that_shows_them() {
    require!(Part::Loop);
    let daemon = OrlopDaemon::start();
    fs::write(daemon.scratch().join("data.yaml"), DATA).unwrap();
    daemon.cli(["apply", "-f", &daemon.scratch().join("data.yaml").display().to_string()]).ok();
    let shown = daemon.cli(["get", "-t", "volume", "-o", "wide"]).ok();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let (header, row) = shown.split_once('\n').unwrap();
    let column = header.split('|').position(|name| name.trim() == "NODE").unwrap();
    let row = row.lines().find(|line| line.contains("data")).unwrap();
    assert_eq!(row.split('|').nth(column).map(str::trim), Some(host.trim()), "{shown}");

    // And of whatever workspace.
    daemon.cli(["workspace", "create", "team"]).ok();
    assert!(daemon.cli(["get", "-w", "team"]).ok().is_empty());
    let file = daemon.scratch().join("data.yaml").display().to_string();
    daemon.cli(["apply", "-f", &file, "-w", "team"]).ok();
    assert_eq!(daemon.cli(["get", "-t", "volume", "-A"]).ok().lines().count(), 4);
    assert_eq!(daemon.cli(["get", "-t", "volume", "-A", "--tag", "none"]).ok(), "");
    daemon.cli(["get", "-t", "volume", "-A", "-w", "team"]).exits(2);
    daemon.cli(["get", "-t", "pool", "-A"]).exits(2);
}

#[test]
fn a_pool_check_names_volumes_in_error_and_ends_as_without_differences() {
    require!(Part::Loop);
    let daemon = OrlopDaemon::start();
    fs::write(daemon.scratch().join("data.yaml"), DATA).unwrap();
    daemon.cli(["apply", "-f", &daemon.scratch().join("data.yaml").display().to_string()]).ok();
    let checked = daemon.cli(["pool", "check"]).ok();
    assert!(checked.trim_end().ends_with("0 differences, 0 mended"), "{checked}");

    let shown: Value = serde_json::from_str(&daemon.cli(["get", "-n", "data", "-o", "json"]).ok()).unwrap();
    let id = shown["status"]["id"].as_str().unwrap();
    let pool: Value =
        serde_json::from_str(&daemon.cli(["pool", "show", "default", "-o", "json"]).ok()).unwrap();
    let image = format!("{}/volumes/{id}/data.img", pool["path"].as_str().unwrap());
    let mut image = fs::OpenOptions::new().write(true).open(image).unwrap();
    std::io::Write::write_all(&mut image, &vec![0x5a; 1 << 20]).unwrap();
    assert!(!daemon.cli(["volume", "fsck", "-n", "data"]).success());
    let checked = daemon.cli(["pool", "check"]).ok();
    for part in [
        "0 differences, 0 mended; volumes that need attention: 1\n",
        "  needs attention: volume public/data: ",
        "\n    orlop volume fsck -n data -w public",
    ] {
        assert!(checked.contains(part), "{part}: {checked}");
    }
}

#[test]
fn live_views_follow_and_end_cleanly() {
    require!(Part::Loop);
    let session = Session::new();
    let follow = |line: &str| {
        let mut child = session.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, lines)
    };
    assert!(session.command("orlop apply -f data.yaml").output().unwrap().status.success());
    let (mut table, mut rows) = follow("orlop get -r");
    let (mut log, mut events) = follow("orlop log -t volume -f -o json");
    // Both have shown what is there before something new happens.
    assert!(rows.by_ref().any(|line| line.unwrap().contains(" data ")));
    assert!(events.by_ref().any(|line| line.unwrap().contains("\"volume\":\"data\"")));
    assert!(session.command("orlop apply -f scratch.yaml").output().unwrap().status.success());
    assert!(rows.by_ref().any(|line| line.unwrap().contains(" scratch ")));
    let event = events.by_ref().map(Result::unwrap).find(|line| line.contains("\"volume\":\"scratch\""));
    let event: Value = serde_json::from_str(&event.unwrap()).unwrap();
    assert_eq!(event["workspace"], "public");

    for child in [&mut table, &mut log] {
        let id = i32::try_from(child.id()).unwrap();
        process::signal(id, rustix::process::Signal::INT);
        assert_eq!(child.wait().unwrap().code(), Some(0), "Ctrl-C is the way to end it");
    }
    assert!(!rows.any(|line| line.unwrap().contains("\x1b")), "no escape codes without a terminal");
    let output = session.command("orlop get -r -o json").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_live_view_of_a_daemon_that_hangs_ends_all_the_same() {
    require!(Part::Loop);
    let session = Session::new();
    let mut child = session.command("orlop operation list -r").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    process::suspend(session.daemon.pid());
    // By then the next list has been asked for, and nobody answers.
    std::thread::sleep(Duration::from_millis(1500));
    process::signal(i32::try_from(child.id()).unwrap(), rustix::process::Signal::INT);
    let ended = eventually(Duration::from_secs(5), || child.try_wait().unwrap().is_some());
    process::signal(session.daemon.pid(), rustix::process::Signal::CONT);
    assert!(ended, "Ctrl-C is not heard");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_daemon_that_goes_away_is_said_to_be_away() {
    require!(Part::Loop);
    let mut session = Session::new();
    assert!(session.command("orlop apply -f data.yaml").output().unwrap().status.success());
    session.daemon.kill9();
    let output = session.command("orlop apply -f data.yaml -f scratch.yaml").output().unwrap();
    assert_eq!(output.status.code(), Some(8));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.matches("error:").count(), 1, "said once, not for each: {said}");
    session.daemon.restart();
    assert!(session.command("orlop apply -f data.yaml").output().unwrap().status.success());
}

#[test]
fn how_a_volume_stands_is_shown_with_its_day_and_its_events() {
    require!(Part::Loop);
    let mut session = Session::new();
    session.type_in("orlop apply --no-register -f data.yaml");
    session.type_in("orlop volume show -n data");
    assert!(!session.text.contains("Used over"), "it was never used: {}", session.text);
    fs::create_dir(session.daemon.scratch().join("here")).unwrap();
    let target = session.daemon.scratch().join("here");
    session.type_in(&format!("orlop mount -n data {}", target.display()));
    fs::write(target.join("file"), vec![1; 40 << 20]).unwrap();
    session.type_in(&format!("orlop unmount {}", target.display()));
    session.text.clear();
    session.type_in("orlop volume show -n data");
    for words in ["Inodes:", "Last seen:", "Used over the last day:\n", "  0 |", "24 h ago", "now\n"] {
        assert!(session.text.contains(words), "{words}: {}", session.text);
    }
    assert!(session.text.lines().any(|line| line.ends_with('#')), "now it is used: {}", session.text);
    let shown = session.json("orlop volume show -n data -o json");
    assert_eq!(shown["name"], "data");
    assert!(shown["status"]["usage"]["usedBytes"].as_u64().unwrap() >= 40 << 20);

    session.text.clear();
    session.type_in("orlop events -n data");
    let reasons: Vec<&str> = session.text.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(reasons, ["events", "Created", "Attached", "Detached"], "{}", session.text);
    session.text.clear();
    session.type_in("orlop events --severity error --pool default");
    assert_eq!(
        session.text,
        "$ orlop events --severity error --pool default\n! nothing that matters so much has happened, or nothing that is still kept\n"
    );
    session.text.clear();
    session.type_in("orlop events --tail 1000");
    assert!(session.text.contains("Started"), "what concerns no volume is there too: {}", session.text);
    session.type_in("orlop volume show -n none");
    assert!(session.text.contains("=> 4"), "{}", session.text);
}

#[test]
fn deleted_brought_back_purged_and_renamed() {
    require!(Part::Loop);
    let mut session = Session::new();
    let dir = session.daemon.scratch().path().to_owned();
    fs::write(dir.join("protected.yaml"), DATA.replace("persistent}", "persistent, protection: true}"))
        .unwrap();
    for line in [
        "orlop apply -f data.yaml",
        "orlop delete -n data",
        "orlop get --released",
        "orlop get --released -n other",
        "orlop get --released -n data --tag other",
        "orlop undelete -n data",
        "orlop undelete -n data",
        "orlop delete -n data",
        "orlop apply -f data.yaml",
        "orlop undelete -n data",
        "orlop undelete -n data --as earlier",
        "orlop rename -n earlier --to data",
        "orlop rename -n earlier --to later",
        "orlop get",
        "orlop apply -f protected.yaml",
        "orlop get -n data -d",
        "orlop delete -n data",
        "orlop delete -n data --force",
        "orlop apply -f data.yaml",
        "orlop delete -n data",
        "orlop delete -n later",
        // In a script nobody is there to answer.
        "orlop purge -n data",
        "orlop purge --all --older-than 1d --yes",
        "orlop purge --all --yes",
        "orlop purge -n nothing --yes",
        "orlop undelete -n data",
        "orlop log -t volume -n later",
    ] {
        session.type_in(line);
    }
    insta::assert_snapshot!("released", session.transcript());
    session.daemon.assert_nothing_left();
}

/// The commands of docs/fsck.md, in their order.
#[test]
fn a_damaged_volume_is_checked_and_repaired() {
    require!(Part::Loop);
    let mut session = Session::new();
    session.type_in("orlop apply --no-register -f data.yaml");
    let id = session.json("orlop get -n data -o json")["status"]["id"].as_str().unwrap().to_owned();
    let pool = session.json("orlop pool show default -o json")["path"].as_str().unwrap().to_owned();
    let image = std::path::Path::new(&pool).join("volumes").join(id).join("data.img");
    session.type_in("orlop volume fsck -n data");
    assert!(session.text.ends_with("volume public/data: clean, and active\n"), "{}", session.text);
    // Links that are not there, as a lost write leaves them.
    let request = "set_inode_field /data links_count 9";
    orlop_testkit::run(Command::new("debugfs").args(["-w", "-R", request]).arg(&image)).ok();
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fsck.md")).unwrap();
    let commands: Vec<&str> = page.lines().filter(|line| line.starts_with("orlop volume fsck")).collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    let what = ["damaged, and error", "repaired, and active", "clean, and active"];
    for (command, words) in commands.iter().zip(what) {
        session.text.clear();
        session.type_in(command);
        assert!(
            session.text.contains(&format!("volume public/data: {words}\n")),
            "{words}: {}",
            session.text
        );
        assert_eq!(session.text.ends_with("=> 1\n"), words.starts_with("damaged"), "{}", session.text);
    }
    session.text.clear();
    session.type_in("orlop events -n data --severity warning");
    let reasons: Vec<&str> = session.text.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(reasons, ["events", "Error", "Repaired"], "{}", session.text);
}

/// The pool of the other volume of a group was exported: what is left of the group is of one volume.
#[test]
fn what_is_left_of_a_group_is_changed_by_its_name() {
    require!(Part::Loop, Part::Xfs);
    let disk = ScratchFs::xfs(1 << 30);
    let mut session = Session::new();
    let dir = session.daemon.scratch().path().to_owned();
    for name in ["one", "two"] {
        let text = format!(
            "name: {name}\nversion: v1beta\ntype: volume\nvolume: {{size: 16Mi, accessMode: ReadWriteMany, type: temp, pool: {name}}}\n"
        );
        fs::write(dir.join(format!("{name}.yaml")), text).unwrap();
        session.type_in(&format!("orlop pool create {name} --path {}", disk.join(name).display()));
        session.type_in(&format!("orlop apply -f {name}.yaml"));
    }
    session.type_in("orlop snapshot create -n both --volume one --volume two");
    session.type_in("orlop pool export two");
    assert!(!session.text.contains("=>"), "{}", session.text);
    session.text.clear();
    session.type_in("orlop snapshot create -n both-one --volume one --retain 7d");
    assert!(session.text.contains("orlop snapshot create -n both -w public"), "{}", session.text);
    session.text.clear();
    for line in [
        "orlop snapshot create -n both --volume one --retain 7d",
        "orlop snapshot create -n both --volume one",
        "orlop snapshot create -n alone --volume one",
        "orlop snapshot create -n alone --volume one --retain 7d",
    ] {
        session.type_in(line);
    }
    assert_eq!(
        session.text,
        "$ orlop snapshot create -n both --volume one --retain 7d\n\
         snapshot group public/both: configured (snapshot.retain)\n\
         $ orlop snapshot create -n both --volume one\n\
         snapshot group public/both: unchanged\n\
         $ orlop snapshot create -n alone --volume one\n\
         snapshot public/alone: created of volume one, which was not in use\n\
         $ orlop snapshot create -n alone --volume one --retain 7d\n\
         snapshot public/alone: configured (snapshot.retain)\n"
    );
}

/// The commands that a restore names are of its workspace.
#[test]
fn what_a_restore_names_can_be_typed_in() {
    require!(Part::Loop);
    let mut session = Session::new();
    for line in [
        "orlop workspace create team",
        "orlop apply -w team -f data.yaml",
        "orlop snapshot create -w team -n s --volume data",
    ] {
        session.type_in(line);
    }
    assert!(!session.text.contains("=>"), "{}", session.text);
    session.text.clear();
    session.type_in("orlop snapshot restore -w team -n s");
    let named: Vec<_> = session.text.split("orlop snapshot ").skip(2).collect();
    let [restore, delete] = named.as_slice() else { panic!("{}", session.text) };
    let restore = restore.split_once(" takes").unwrap().0.to_owned();
    let delete = delete.split_once(" drops").unwrap().0.to_owned();
    session.text.clear();
    session.type_in(&format!("orlop snapshot {restore}"));
    session.type_in(&format!("orlop snapshot {delete}"));
    assert!(!session.text.contains("=>"), "{}", session.text);
}
