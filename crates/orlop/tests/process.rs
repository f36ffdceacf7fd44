//! How the program behaves as a process: pipes that close, colours, rights, files that others wrote.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use orlop_testkit::{Part, command::eventually, require};

/// The program with nothing of the user's environment, and with no daemon to find.
fn orlop(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
    command.args(arguments).env_clear().env("ORLOP_SOCKET", "/nonexistent/orlop.sock").env("LC_ALL", "C");
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for arguments in
        [&["completions", "bash"][..], &["schema", "volume"], &["man"], &["--help"], &["reference"]]
    {
        let mut child = orlop(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(stderr(&output), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn every_type_with_a_manifest_has_a_schema_that_shells_complete() {
    let script = orlop(&["completions", "bash"]).output().unwrap().stdout;
    assert!(String::from_utf8(script).unwrap().contains("volume snapshot"));
    for word in ["volume", "snapshot"] {
        let output = orlop(&["schema", word]).output().unwrap();
        let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(schema["$id"], format!("urn:orlop:schema:{word}:v1beta"));
        assert_eq!(schema["examples"][0]["type"], word);
    }
}

#[test]
fn a_full_disk_behind_standard_output_is_said() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = orlop(&["completions", "bash"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("standard output can't be written"), "{}", stderr(&output));
}

#[test]
fn colours_are_for_those_who_want_them() {
    let plain = orlop(&["get"]).output().unwrap();
    let forced = orlop(&["get"]).env("CLICOLOR_FORCE", "1").output().unwrap();
    let refused = orlop(&["get"]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").output().unwrap();
    assert!(!stderr(&plain).contains('\x1b'));
    assert!(stderr(&forced).starts_with("\x1b[1m\x1b[31merror"), "{:?}", stderr(&forced));
    assert!(!stderr(&refused).contains('\x1b'));
}

#[test]
fn nobody_asked_for_anything() {
    let output = orlop(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("Commands:") && stderr(&output).contains("Exit codes:"));
    assert!(output.stdout.is_empty());
}

#[test]
fn which_socket_it_is() {
    let no_socket = env!("CARGO_BIN_EXE_orlop");
    for (value, says) in [
        ("/nonexistent/orlop.sock", "there is no socket /nonexistent/orlop.sock"),
        (no_socket, "is no socket"),
    ] {
        let output = orlop(&["get"]).env("ORLOP_SOCKET", value).output().unwrap();
        assert_eq!(output.status.code(), Some(8), "{value}");
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
    // A variable without a value is no variable.
    assert!(orlop(&["version"]).env("ORLOP_SOCKET", "").output().unwrap().status.success());
}

#[test]
fn manifests_come_from_standard_input_and_as_json() {
    use std::io::Write;
    let text = r#"[{"name":"a","version":"v1beta","type":"volume","workspace":"public","status":{"state":"active"},
        "volume":{"size":"1Gi","accessMode":"ReadWriteMany","type":"temp"}},
        {"name":"b","version":"v1beta","type":"volume",
        "volume":{"size":"1Gi","accessMode":"ReadWriteMany","type":"temp"}}]"#;
    let mut child = orlop(&["apply", "--lint", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(stderr(&output), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "volume public/a: valid\nvolume public/b: valid\n");
}

#[test]
fn files_that_cannot_be_manifests_get_a_clear_answer() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("m.yaml");
    let path = file.display().to_string();
    let deep = "[".repeat(10_000);
    let nine =
        |place: u32| format!("a{place}: &a{place} [{}]\n", vec![format!("*a{}", place - 1); 9].join(", "));
    let bomb = format!("a0: &a0 x\n{}", (1..10).map(nine).collect::<String>());
    for (text, says) in [
        (Vec::new(), "empty"),
        (vec![0, 159, 146, 150], "binary"),
        (vec![b'x'; 10 << 20], "1 MiB"),
        (deep.into_bytes(), "deeper than 64 levels"),
        (bomb.into_bytes(), "aliases expanded"),
    ] {
        fs::write(&file, text).unwrap();
        let output = orlop(&["apply", "--lint", "-f", &path]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{says}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{says}: {}", stderr(&output));
    }
}

#[test]
fn man_pages_and_completions_are_those_of_the_definition() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    let output = orlop(&["man", "--dir", &pages.display().to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let page = fs::read_to_string(pages.join("orlop-apply.1")).unwrap();
    for word in ["manifestFile", "orlop apply", "Examples:", "disable\\-interpolation"] {
        assert!(page.contains(word), "{word}");
    }
    assert!(fs::read_to_string(pages.join("orlop.1")).unwrap().contains("Exit codes:"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = orlop(&["completions", shell]).output().unwrap();
        let script = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(script.contains("manifestFile") && script.contains("released"), "{shell}");
    }
}

/// The page in `docs/cli`; `cargo xtask check --write` writes it anew.
#[test]
fn the_reference_is_up_to_date() {
    let output = orlop(&["reference"]).output().unwrap();
    let stored = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli/README.md"));
    assert_eq!(
        stored.unwrap(),
        String::from_utf8_lossy(&output.stdout),
        "run `cargo xtask check --write` and commit it"
    );
}

#[test]
fn install_leaves_alone_what_it_did_not_write() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let run = |more: &[&str]| {
        let root = root.display().to_string();
        orlop(&["install", "--root", &root]).args(more).output().unwrap()
    };
    let spec = root.join("etc/docker/plugins/orlop.spec");
    fs::create_dir_all(spec.parent().unwrap()).unwrap();
    fs::write(&spec, "unix:///somewhere/else.sock").unwrap();

    let output = run(&[]);
    assert_eq!(output.status.code(), Some(5));
    assert!(stderr(&output).contains("/etc/docker/plugins/orlop.spec"), "{}", stderr(&output));
    assert!(!root.join("usr").exists() && !root.join("etc/systemd").exists(), "nothing was written");

    assert!(run(&["--force"]).status.success());
    assert_eq!(fs::read_to_string(&spec).unwrap(), "unix:///run/orlop/docker.sock\n");
    // An installation with other sockets replaces what the first one wrote, unasked.
    assert!(run(&["--run-dir", "/srv/orlop"]).status.success());
    assert_eq!(fs::read_to_string(&spec).unwrap(), "unix:///srv/orlop/docker.sock\n");

    // An enabled unit, and a file changed by hand.
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).unwrap();
    std::os::unix::fs::symlink("/etc/systemd/system/orlop.service", wants.join("orlop.service")).unwrap();
    let podman = root.join("etc/containers/containers.conf.d/orlop.conf");
    fs::write(&podman, "# mine\n").unwrap();
    let output = run(&["--uninstall"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!spec.exists() && podman.exists());
    assert!(spec.parent().unwrap().exists(), "the directory was there before");
    assert!(fs::read_link(wants.join("orlop.service")).is_err());

    fs::remove_dir(&wants).unwrap();
    assert!(run(&["--uninstall", "--force"]).status.success());
    assert!(!podman.exists() && !root.join("usr").exists());
    let left: Vec<_> = fs::read_dir(root.join("etc")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["docker"], "what was made is gone, what was there is not");
}

#[test]
fn install_without_the_right_says_so() {
    require!(Part::Root);
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Where the other user can run it, wherever it was built.
    let program = directory.path().join("orlop");
    fs::copy(env!("CARGO_BIN_EXE_orlop"), &program).unwrap();
    let root = directory.path().display().to_string();
    let mut install = Command::new(&program);
    install.args(["install", "--root", &root]).env_clear().uid(65534).gid(65534).current_dir("/");
    let mut output = None;
    // A process that another test starts may hold the copy open for writing for a moment.
    eventually(Duration::from_secs(10), || {
        output = install.output().ok();
        output.is_some()
    });
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert!(stderr(&output).contains("run it as root"), "{}", stderr(&output));
}
