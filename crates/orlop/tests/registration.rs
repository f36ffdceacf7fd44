//! What `apply` and `delete` leave alone, take back, and do when an engine fails. That both engines are
//! told at all is among the tests in `engines/`.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::net::UnixListener,
    process::{Command, Output},
    time::{Duration, Instant},
};

use orlop_testkit::{Docker, OrlopDaemon, Part, daemon::binary, engines::Listed, require};

fn manifest(name: &str) -> String {
    format!(
        "name: {name}\nversion: v1beta\ntype: volume\n\
         volume: {{size: 64Mi, accessMode: ReadWriteMany, type: temp}}\n"
    )
}

fn listed(driver: &str, name: &str) -> Listed {
    Listed { driver: driver.to_owned(), name: name.to_owned() }
}

/// The program with nothing of the user's environment but the way to programs.
fn orlop(daemon: &OrlopDaemon, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("ORLOP_SOCKET", daemon.socket())
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .env("CONTAINER_HOST", "unix:///nonexistent/podman.sock")
        .current_dir(daemon.scratch().path());
    command
}

#[track_caller]
fn said(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    stderr
}

#[test]
fn docker_is_told_of_its_own_daemon_and_forgets_what_was_deleted() {
    require!(Part::Loop, Part::Docker);
    let mut daemon = OrlopDaemon::builder().below_shared_mount().start();
    let docker = Docker::builder().plugin("orlop", daemon.docker_socket()).start();
    docker.import_busybox();
    let host = format!("unix://{}", docker.socket().display());
    let cli = |daemon: &OrlopDaemon, arguments: &[&str]| {
        said(&orlop(daemon, arguments).env("DOCKER_HOST", &host).output().unwrap())
    };
    for name in ["data", "held", "quiet"] {
        fs::write(daemon.scratch().join(format!("{name}.yaml")), manifest(name)).unwrap();
    }
    assert_eq!(cli(&daemon, &["workspace", "create", "team"]), "");
    assert_eq!(cli(&daemon, &["apply", "-f", "data.yaml"]), "");
    assert_eq!(cli(&daemon, &["apply", "-f", "data.yaml"]), "");
    assert_eq!(cli(&daemon, &["apply", "-f", "data.yaml", "-w", "team"]), "");

    // With the daemon away the names stay Orlop's: no local volume is made of them.
    daemon.kill9();
    docker.container(&["--rm", "-v", "team.data:/x"], &["true"]).fails();
    assert_eq!(docker.volume_ls().iter().filter(|row| row.driver == "local").count(), 0);
    daemon.restart();
    docker.container(&["--rm", "-v", "data:/x"], &["sh", "-c", "echo cargo > /x/file"]).ok();
    assert_eq!(docker.container(&["--rm", "-v", "data:/x"], &["cat", "/x/file"]).ok(), "cargo");

    // A local volume that has the name already is pointed out, and left alone.
    docker.run(["volume", "create", "held"]).ok();
    let warning = cli(&daemon, &["apply", "-f", "held.yaml"]);
    assert!(warning.contains("Docker has another volume held, of the driver local"), "{warning}");
    let warning = cli(&daemon, &["get", "-o", "wide"]);
    assert!(warning.contains("Docker has another volume held") && !warning.contains(" data,"), "{warning}");
    assert_eq!(cli(&daemon, &["get"]), "");
    assert_eq!(cli(&daemon, &["delete", "-n", "held"]), "");
    assert!(docker.volume_ls().contains(&listed("local", "held")), "what is another's stays");

    assert_eq!(cli(&daemon, &["delete", "-n", "data"]), "");
    let names: Vec<String> = docker.volume_ls().into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["held", "team.data"]);
    // Docker has forgotten the name: it is anybody's again.
    docker.run(["volume", "create", "data"]).ok();
    assert!(docker.volume_ls().contains(&listed("local", "data")));

    assert_eq!(cli(&daemon, &["apply", "-f", "quiet.yaml", "--no-register"]), "");
    // Another daemon's volumes are none of this Docker's business.
    let other = OrlopDaemon::start();
    fs::write(other.scratch().join("alien.yaml"), manifest("alien")).unwrap();
    assert_eq!(cli(&other, &["apply", "-f", "alien.yaml"]), "");
    assert!(!docker.volume_ls().iter().any(|row| row.name == "alien"));
}

#[test]
fn an_engine_that_hangs_or_fails_is_a_warning_and_takes_no_longer_than_that() {
    require!(Part::Loop);
    let daemon = OrlopDaemon::start();
    let dir = daemon.scratch().path();
    fs::write(dir.join("data.yaml"), manifest("data")).unwrap();
    let conf = dir.join("containers.conf");
    fs::write(&conf, format!("[engine.volume_plugins]\norlop = \"{}\"\n", daemon.podman_socket().display()))
        .unwrap();
    let silent = UnixListener::bind(dir.join("silent.sock")).unwrap();
    let start = Instant::now();
    let output = orlop(&daemon, &["apply", "-f", "data.yaml"])
        .env("CONTAINERS_CONF", &conf)
        .env("CONTAINER_HOST", format!("unix://{}/silent.sock", dir.display()))
        .output()
        .unwrap();
    assert!(said(&output).contains("Podman was not told of the change: no answer within 5 seconds"));
    assert!(start.elapsed() < Duration::from_secs(30));
    drop(silent);

    for (words, says) in [
        ("/nonexistent/podman", "can't be run"),
        ("false", "Podman was not told of the change: it gave no reason"),
    ] {
        let output = orlop(&daemon, &["apply", "-f", "data.yaml"])
            .env("CONTAINERS_CONF", &conf)
            .env_remove("CONTAINER_HOST")
            .env("ORLOP_PODMAN", words)
            .output()
            .unwrap();
        assert!(said(&output).contains(says), "{words}: {}", said(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains("volume public/data: unchanged"));
    }
}
