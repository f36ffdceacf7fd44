//! What is asked and drawn on a terminal, and what Ctrl-C and the end of the input do there. Each test has
//! a terminal of its own, which sends signals as a user's does.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use orlop_testkit::{OrlopDaemon, Part, command::eventually, http, process, require, run};
use rexpect::{
    process::{Signal, WaitStatus},
    session::PtySession,
};
use serde_json::Value;

/// No answer takes longer, in milliseconds.
const PATIENCE: u64 = 60_000;
/// What an interrupted command ends with.
const INTERRUPTED: i32 = 10;

/// A daemon, and a user at a terminal.
struct Session {
    daemon: OrlopDaemon,
}

impl Session {
    fn new() -> Self {
        Self { daemon: OrlopDaemon::start() }
    }

    fn path(&self) -> &Path {
        self.daemon.scratch().path()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(orlop_testkit::daemon::binary());
        command
            .args(words)
            .env_clear()
            .env("TERM", "xterm")
            .env("ORLOP_SOCKET", self.daemon.socket())
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
            .env("CONTAINER_HOST", "unix:///nonexistent/podman.sock")
            .current_dir(self.path());
        command
    }

    /// Types a command.
    fn at_terminal(&self, words: &[&str]) -> PtySession {
        rexpect::session::spawn_command(self.command(words), Some(PATIENCE)).unwrap()
    }

    /// Runs a command to its end, without a terminal.
    fn run(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn names(&self, more: &[&str]) -> Vec<String> {
        let words = [&["get", "-t", "volume", "-o", "json"], more].concat();
        let found: Value = serde_json::from_str(&self.run(&words)).unwrap();
        found.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }

    fn write(&self, directory: &str, name: &str) {
        let directory = self.path().join(directory);
        fs::create_dir_all(&directory).unwrap();
        let manifest = format!(
            "name: {name}\nversion: v1beta\ntype: volume\nvolume: {{size: 16Mi, accessMode: ReadWriteMany, type: persistent}}\n"
        );
        fs::write(directory.join(format!("{name}.yaml")), manifest).unwrap();
    }
}

/// The rest of what is on the terminal, and how the command ended.
fn end(mut terminal: PtySession) -> (String, WaitStatus) {
    let said = terminal.exp_eof().unwrap();
    let status = terminal.process().wait().unwrap();
    (said, status)
}

#[track_caller]
fn exits(terminal: PtySession, code: i32) -> String {
    let (said, status) = end(terminal);
    assert!(matches!(status, WaitStatus::Exited(_, found) if found == code), "{status:?}: {said}");
    said
}

#[test]
fn prune_asks_before_it_deletes() {
    require!(Part::Loop);
    let session = Session::new();
    for name in ["data", "scratch"] {
        session.write("manifests", name);
    }
    session.run(&["apply", "-f", "manifests"]);
    fs::remove_file(session.path().join("manifests/scratch.yaml")).unwrap();
    session.write("manifests", "more");

    let asked = || {
        let mut terminal = session.at_terminal(&["apply", "-f", "manifests", "--prune"]);
        terminal.exp_string("volume public/scratch: would be deleted, its data retained").unwrap();
        terminal.exp_string("apply this, and delete 1 volume? [yes/no] ").unwrap();
        terminal
    };
    for answer in ["no", "", "y", "maybe"] {
        let mut terminal = asked();
        terminal.send_line(answer).unwrap();
        let said = exits(terminal, INTERRUPTED);
        assert!(said.contains("nothing was changed"), "{answer:?}: {said}");
        assert_eq!(session.names(&[]), ["data", "scratch"], "{answer:?}");
    }
    let mut terminal = asked();
    terminal.send_control('d').unwrap();
    exits(terminal, INTERRUPTED);
    let mut terminal = asked();
    terminal.send_control('c').unwrap();
    let (said, status) = end(terminal);
    assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGINT, _)), "{status:?}: {said}");
    assert_eq!(session.names(&[]), ["data", "scratch"], "nothing was answered");

    let mut terminal = asked();
    terminal.send_line("yes").unwrap();
    let said = exits(terminal, 0);
    assert!(said.contains("volume public/more: created") && said.contains("public/scratch: "), "{said}");
    assert_eq!(session.names(&[]), ["data", "more"]);
    assert_eq!(session.names(&["--released"]), ["scratch"]);
    // Where nothing is deleted, nothing is asked.
    let said = exits(session.at_terminal(&["apply", "-f", "manifests", "--prune"]), 0);
    assert!(!said.contains("[yes/no]"), "{said}");
}

/// Whatever set it was applied with.
#[test]
fn prune_leaves_what_an_engine_made_and_released_data() {
    require!(Part::Loop);
    let session = Session::new();
    let body = r#"{"Name": "engines", "Opts": {"size": "16Mi", "accessMode": "ReadWriteMany", "type": "persistent"}}"#;
    let made = http::request(&session.daemon.docker_socket(), "POST", "/VolumeDriver.Create", body).unwrap();
    assert_eq!(made.0, 200, "{made:?}");
    let others = ["engines", "gone", "scratch"];
    for name in ["data"].iter().chain(&others) {
        session.write("manifests", name);
    }
    let applied = session.run(&["apply", "-f", "manifests"]);
    assert!(applied.contains("volume public/engines: unchanged"), "{applied}");
    session.run(&["delete", "-n", "gone"]);
    for name in others {
        fs::remove_file(session.path().join("manifests").join(name).with_extension("yaml")).unwrap();
    }
    let pruned = session.run(&["apply", "-f", "manifests", "--prune", "--yes"]);
    assert!(pruned.contains("volume public/scratch: deleted"), "{pruned}");
    assert!(!pruned.contains("engines") && !pruned.contains("gone"), "{pruned}");
    assert_eq!(session.names(&[]), ["data", "engines"]);
    assert_eq!(session.names(&["--released"]), ["gone", "scratch"]);
}

#[test]
fn purge_asks_before_it_destroys() {
    require!(Part::Loop);
    let session = Session::new();
    session.write(".", "data");
    session.run(&["apply", "-f", "data.yaml"]);
    session.run(&["delete", "-n", "data"]);
    let asked = || {
        let mut terminal = session.at_terminal(&["purge", "-n", "data"]);
        terminal.exp_string("destroy the data of this volume (1, 16Mi), for good? [yes/no] ").unwrap();
        terminal
    };
    let mut terminal = asked();
    terminal.send_line("no").unwrap();
    assert!(exits(terminal, INTERRUPTED).contains("nothing was destroyed"));
    assert_eq!(session.names(&["--released"]), ["data"]);
    let mut terminal = asked();
    terminal.send_line("yes").unwrap();
    assert!(exits(terminal, 0).contains("purged, its data is destroyed"));
    assert_eq!(session.names(&["--released"]), [""; 0]);
}

/// A disk of its own with somebody's filesystem on it.
struct Disk {
    file: PathBuf,
    node: String,
}

impl Disk {
    fn plug(session: &Session) -> Self {
        let file = session.path().join("disk");
        fs::File::create(&file).unwrap().set_len(512 << 20).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-L", "precious"]).arg(&file)).ok();
        let node = run(Command::new("losetup").args(["--find", "--show"]).arg(&file)).ok();
        Self { file, node }
    }

    fn has(&self) -> String {
        let seen = run(Command::new("blkid").args(["-p", "-o", "export"]).arg(&self.file)).ok();
        let is_said = |line: &&str| line.starts_with("TYPE=") || line.starts_with("LABEL=");
        seen.lines().filter(is_said).collect::<Vec<_>>().join(" ")
    }

    /// What it begins with, where a filesystem says what it is.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 8 << 20];
        fs::File::open(&self.file).unwrap().read_exact(&mut bytes).unwrap();
        bytes
    }

    fn unplug(self) {
        run(Command::new("losetup").arg("-d").arg(&self.node)).ok();
    }
}

#[test]
fn a_disk_with_something_on_it_is_given_up_only_by_who_saw_what_it_is() {
    require!(Part::Loop, Part::Xfs);
    let session = Session::new();
    let disk = Disk::plug(&session);
    let before = disk.bytes();
    let words = ["pool", "create", "own", "--device", &disk.node, "--erase"];
    let pools = || {
        let found: Value = serde_json::from_str(&session.run(&["pool", "list", "-o", "json"])).unwrap();
        let names = found.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let unchanged = |after: &str| {
        assert_eq!(pools(), ["default"], "{after}");
        assert!(disk.bytes() == before, "{after}: {}", disk.has());
    };
    let asked = || {
        let mut terminal = session.at_terminal(&words);
        let shown = terminal.exp_string("give it up, for good? [yes/no] ").unwrap();
        assert!(shown.contains(&format!("{} (512Mi) holds ", disk.node)), "{shown}");
        assert!(shown.contains("ext4") && shown.contains("precious"), "{shown}");
        terminal
    };
    for answer in ["no", "", "y"] {
        let mut terminal = asked();
        terminal.send_line(answer).unwrap();
        let said = exits(terminal, INTERRUPTED);
        assert!(said.contains(&format!("{} was left as it is", disk.node)), "{answer:?}: {said}");
        unchanged(answer);
    }
    let mut terminal = asked();
    terminal.send_control('c').unwrap();
    let (said, status) = end(terminal);
    assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGINT, _)), "{status:?}: {said}");
    unchanged("Ctrl-C");
    // Nobody is there to see it.
    let alone = session.command(&words).output().unwrap();
    let said = String::from_utf8_lossy(&alone.stderr);
    assert!(alone.status.code() == Some(2) && said.contains("nobody is there to answer"), "{said}");
    unchanged("without a terminal");

    let mut terminal = asked();
    terminal.send_line("yes").unwrap();
    let said = exits(terminal, 0);
    assert!(said.contains("pool own: created"), "{said}");
    assert_eq!(pools(), ["default", "own"]);
    assert!(disk.has().contains("TYPE=xfs"), "{}", disk.has());
    session.run(&["pool", "remove", "own"]);
    disk.unplug();

    let disk = Disk::plug(&session);
    let words = ["pool", "create", "own", "--device", &disk.node, "--erase", "--yes"];
    let made = session.run(&words);
    assert!(made.contains("pool own: created"), "{made}");
    assert!(disk.has().contains("TYPE=xfs"), "{}", disk.has());
    session.run(&["pool", "remove", "own"]);
    disk.unplug();
}

/// A tree that takes some seconds to copy, for the number of its files.
fn tree(session: &Session) -> String {
    let tree = session.path().join("tree");
    for directory in 0..100 {
        let directory = tree.join(directory.to_string());
        fs::create_dir_all(&directory).unwrap();
        for file in 0..200 {
            fs::write(directory.join(file.to_string()), "cargo").unwrap();
        }
    }
    tree.display().to_string()
}

#[test]
fn ctrl_c_stops_long_work_and_waits_until_it_is_taken_back() {
    require!(Part::Loop);
    let session = Session::new();
    let source = tree(&session);
    let mut terminal = session.at_terminal(&["pool", "import", "--adopt", &source, "--name", "adopted"]);
    terminal.exp_string("volume public/adopted: copying").unwrap();
    terminal.send_control('c').unwrap();
    terminal.exp_string("stopping: what was begun is taken back").unwrap();
    let said = exits(terminal, INTERRUPTED);
    assert!(said.contains("error"), "{said}");
    // The answer came after it was taken back.
    assert_eq!(session.names(&["-a"]), [""; 0]);
    assert_eq!(session.run(&["operation", "list", "-o", "json"]).trim(), "[]");
    assert_eq!(fs::read_dir(session.daemon.state_dir().join("pool/volumes")).unwrap().count(), 0);
    assert!(Path::new(&source).join("99/199").is_file(), "the source is only read");
}

#[test]
fn a_second_ctrl_c_leaves_the_rest_to_the_daemon() {
    require!(Part::Loop);
    let session = Session::new();
    let source = tree(&session);
    let mut terminal = session.at_terminal(&["pool", "import", "--adopt", &source, "--name", "adopted"]);
    terminal.exp_string("volume public/adopted: copying").unwrap();
    // It hears nothing until both were pressed.
    process::suspend(session.daemon.pid());
    terminal.send_control('c').unwrap();
    terminal.exp_string("stopping").unwrap();
    terminal.send_control('c').unwrap();
    std::thread::sleep(Duration::from_millis(300));
    process::signal(session.daemon.pid(), rustix::process::Signal::CONT);
    let said = exits(terminal, INTERRUPTED);
    assert!(said.contains("takes back what it had begun"), "{said}");
    let gone = || {
        session.names(&["-a"]).is_empty() && session.run(&["operation", "list", "-o", "json"]).trim() == "[]"
    };
    assert!(eventually(Duration::from_secs(60), gone));
}

#[test]
fn a_daemon_that_hears_nothing_keeps_nobody_at_the_terminal() {
    require!(Part::Loop);
    let session = Session::new();
    let source = tree(&session);
    let mut terminal = session.at_terminal(&["pool", "import", "--adopt", &source, "--name", "adopted"]);
    terminal.exp_string("volume public/adopted: copying").unwrap();
    process::suspend(session.daemon.pid());
    terminal.send_control('c').unwrap();
    terminal.exp_string("stopping").unwrap();
    terminal.send_control('c').unwrap();
    let said = exits(terminal, INTERRUPTED);
    process::signal(session.daemon.pid(), rustix::process::Signal::CONT);
    assert!(said.contains("may bring it to its end") && said.contains("orlop operation stop "), "{said}");
}

/// Nobody watches and nobody stops it: it comes to its end.
#[test]
fn a_terminal_that_goes_away_keeps_no_work_from_its_end() {
    require!(Part::Loop);
    let session = Session::new();
    let source = tree(&session);
    let mut terminal = session.at_terminal(&["pool", "import", "--adopt", &source, "--name", "adopted"]);
    terminal.exp_string("volume public/adopted: copying").unwrap();
    terminal.process_mut().kill(Signal::SIGHUP).unwrap();
    let there = || session.names(&["-a"]) == ["adopted"];
    assert!(eventually(Duration::from_secs(60), there));
}
