//! An import that is stopped: between filesystems, and while one of them is being checked. Nothing of it
//! stays, nothing that it started goes on, and the same command does it anew.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use orlop_testkit::{OrlopDaemon, Part, command::eventually, require, skip::program};

const SOON: Duration = Duration::from_secs(30);
const VOLUMES: usize = 12;
/// What an interrupted command ends with.
const INTERRUPTED: i32 = 10;

/// A daemon whose e2fsck waits while the file `blocked` exists, and says each time that it was called. In
/// the pool `travel`, which was exported, are some volumes and a snapshot.
struct World {
    daemon: OrlopDaemon,
    programs: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let programs = tempfile::tempdir().unwrap();
        let script = format!(
            "#!/bin/sh\necho $$ >> {0}/calls\nwhile [ -e {0}/blocked ]; do sleep 0.05; done\nsleep 0.2\nexec {1} \"$@\"\n",
            programs.path().display(),
            program("e2fsck").unwrap().display()
        );
        let file = programs.path().join("e2fsck");
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
        let daemon = OrlopDaemon::builder().env("PATH", path).start();
        let world = Self { daemon, programs };
        world.daemon.cli(["pool", "create", "travel", "--path", &world.pool()]).ok();
        for number in 0..VOLUMES {
            let manifest = format!(
                "name: data-{number}\nversion: v1beta\ntype: volume\nvolume: {{size: 16Mi, accessMode: ReadWriteMany, type: persistent, pool: travel}}\n"
            );
            world.daemon.apply(&manifest).ok();
        }
        world.daemon.cli(["snapshot", "create", "-n", "kept", "--volume", "data-0"]).ok();
        world.daemon.cli(["pool", "export", "travel"]).ok();
        let _ = fs::remove_file(world.calls_file());
        world
    }

    fn pool(&self) -> String {
        self.daemon.scratch().join("travel").display().to_string()
    }

    fn calls_file(&self) -> PathBuf {
        self.programs.path().join("calls")
    }

    /// The processes that were started to check something.
    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.calls_file()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn import(&self) -> Child {
        let arguments = ["pool", "import", "--path", &self.pool(), "--name", "travel"];
        let mut command = self.daemon.client(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn under_way(&self) -> serde_json::Value {
        serde_json::from_str(&self.daemon.cli(["operation", "list", "-o", "json"]).ok()).unwrap()
    }

    /// Waits until it checks, and returns the import's id.
    fn checking(&self, least: usize) -> String {
        let begun = || self.calls().len() >= least && self.under_way()[0]["phase"] == "checking";
        assert!(eventually(SOON, begun), "{:?} {:?}", self.calls(), self.under_way());
        self.under_way()[0]["id"].as_str().unwrap().to_owned()
    }

    /// It ended as stopped, and nothing of it is left. Returns what it said meanwhile.
    #[track_caller]
    fn stopped(&self, import: Child) -> String {
        let done = import.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(INTERRUPTED), "{said}");
        let listed = self.daemon.cli(["pool", "list"]).ok();
        assert!(!listed.contains("travel"), "{listed}");
        assert_eq!(self.under_way(), serde_json::json!([]));
        for process in self.calls() {
            let of_it = Path::new("/proc").join(&process).join("cmdline");
            let text = fs::read_to_string(of_it).unwrap_or_default();
            assert!(!text.contains("e2fsck"), "{process} goes on: {text}");
        }
        said
    }

    #[track_caller]
    fn imported(&self) {
        let done = self.import().wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
        let lines = said.lines().filter(|line| line.contains(": imported")).count();
        // The pool, its volumes and the snapshot.
        assert_eq!(lines, 1 + VOLUMES + 1, "{said}");
    }
}

#[test]
fn daemon_import_is_stopped_by_ctrl_c_while_a_filesystem_is_checked() {
    require!(Part::Loop);
    let world = World::new();
    fs::write(world.programs.path().join("blocked"), "").unwrap();
    let import = world.import();
    world.checking(1);
    // The command asks for what is under way now and then: only then does it know what to stop.
    std::thread::sleep(Duration::from_secs(1));
    let pid = import.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let said = world.stopped(import);
    // Without a terminal how far it is comes in lines of its own.
    assert!(
        said.contains("\npool travel: checking 0 of ") || said.starts_with("pool travel: checking 0 of "),
        "{said}"
    );
    assert!(world.calls().len() < VOLUMES, "{:?}", world.calls());
    fs::remove_file(world.programs.path().join("blocked")).unwrap();
    world.imported();
}

#[test]
fn daemon_import_is_stopped_between_filesystems() {
    require!(Part::Loop);
    let world = World::new();
    let import = world.import();
    let id = world.checking(2);
    world.daemon.cli(["operation", "stop", &id]).ok();
    world.stopped(import);
    let calls = world.calls().len();
    assert!((2..VOLUMES).contains(&calls), "{calls} of {VOLUMES}");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(world.calls().len(), calls, "no other is begun");
    world.imported();
}
