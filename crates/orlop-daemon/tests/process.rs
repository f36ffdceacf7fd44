//! The daemon as a process: who may talk to it, what it refuses, how it starts and how it stops.
#![allow(clippy::unwrap_used)]

use std::{
    io::{Read, Write},
    os::{
        fd::AsRawFd,
        unix::{
            fs::{FileTypeExt, PermissionsExt},
            net::{UnixDatagram, UnixListener, UnixStream},
        },
    },
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use orlop_testkit::{
    OrlopDaemon, Part, Ran, Scratch, ScratchFs,
    command::{eventually, run},
    daemon::binary,
    http, process, require,
};

const BOUND: Duration = Duration::from_secs(60);

/// A volume's manifest as the CLI sends it.
fn volume(name: &str) -> String {
    format!(
        r#"{{"name":"{name}","version":"v1beta","type":"volume","volume":{{"size":"16Mi","accessMode":"ReadWriteMany","type":"temp"}}}}"#
    )
}

fn path(name: &str) -> String {
    format!("/v1/workspaces/public/volumes/{name}")
}

/// `orlop serve` on those directories, to its end.
fn serve(state_dir: &Path, run_dir: &Path) -> Ran {
    let mut command = Command::new(binary());
    command.args(["serve", "--config", "/dev/null", "--state-dir"]).arg(state_dir);
    run(command.arg("--run-dir").arg(run_dir))
}

#[test]
fn a_second_daemon_refuses_and_harms_nothing() {
    require!(Part::Loop);
    let daemon = OrlopDaemon::start();
    let other = daemon.scratch().mkdir("other");
    let said = serve(daemon.state_dir(), &other).fails();
    assert!(said.contains("another"), "{said}");
    let said = serve(&other.join("state"), &daemon.run_dir()).fails();
    assert!(said.contains("another Orlop daemon uses"), "{said}");
    assert_eq!(daemon.get("/readyz").0, 200);
    assert!(daemon.docker_socket().exists());
}

#[test]
fn sockets_have_the_modes_that_are_promised_and_go_when_it_stops() {
    require!(Part::Loop);
    let scratch = Scratch::new("modes");
    let state_dir = scratch.join("state");
    let mut daemon = OrlopDaemon::builder().config("group: daemon\n").state_dir(state_dir).start();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&daemon.socket()), 0o660);
    for path in [daemon.docker_socket(), daemon.podman_socket()] {
        assert!(path.metadata().unwrap().file_type().is_socket());
        assert_eq!(mode(&path), 0o600);
    }
    assert_eq!(mode(daemon.state_dir()), 0o700);
    let (docker, rest) = (daemon.docker_socket(), daemon.socket());
    daemon.stop();
    assert!(!docker.exists() && !rest.exists());
    daemon.restart();
    // What a killed daemon leaves is replaced.
    daemon.kill9();
    assert!(rest.exists());
    daemon.restart();
    assert_eq!(daemon.get("/healthz").0, 200);
}

#[test]
fn a_client_that_hangs_up_leaves_nothing_half_done() {
    require!(Part::Loop);
    let daemon = OrlopDaemon::start();
    let delays = [0, 1, 3, 10, 30, 60];
    for delay in delays {
        let name = format!("after-{delay}");
        let body = volume(&name);
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        write!(
            stream,
            "PUT {} HTTP/1.1\r\nHost: orlop\r\nContent-Length: {}\r\n\r\n{body}",
            path(&name),
            body.len()
        )
        .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
    }
    // Half a request: a head without its body.
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    write!(stream, "PUT {} HTTP/1.1\r\nHost: orlop\r\nContent-Length: 500\r\n\r\n{{", path("half")).unwrap();
    drop(stream);
    let mut made = 0;
    for delay in delays {
        let at = path(&format!("after-{delay}"));
        let mut last = String::new();
        // Not begun, or done to its end; nothing between for long.
        let settled = eventually(BOUND, || {
            let (status, body) = daemon.get(&at);
            made += usize::from(status == 200 && body.contains("\"state\":\"active\""));
            last = format!("{status} {body}");
            status == 404 || body.contains("\"state\":\"active\"")
        });
        assert!(settled, "{last}");
    }
    assert!(made > 0, "the one that waited 60 ms was certainly begun");
    assert_eq!(daemon.get(&path("half")).0, 404);
    for delay in delays {
        let name = format!("after-{delay}");
        let (status, body) = http::request(&daemon.socket(), "PUT", &path(&name), &volume(&name)).unwrap();
        assert_eq!(status, 200, "{body}");
    }
}

/// A filesystem on which every write hangs until this is dropped.
struct Frozen<'a>(&'a ScratchFs);

impl<'a> Frozen<'a> {
    fn freeze(disk: &'a ScratchFs) -> Self {
        run(Command::new("fsfreeze").arg("-f").arg(disk.path())).ok();
        Self(disk)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        run(Command::new("fsfreeze").arg("-u").arg(self.0.path())).ok();
    }
}

#[test]
fn changes_that_hang_keep_nobody_else_waiting() {
    require!(Part::Loop);
    let disk = ScratchFs::ext4(128 << 20);
    let daemon = OrlopDaemon::start();
    let place = disk.join("pool").display().to_string();
    daemon.cli(["pool", "create", "hangs", "--path", &place, "--overcommit", "100"]).ok();
    let create = |socket: &Path, name: &str, pool: &str| {
        let body = format!(r#"{{"Name":"{name}","Opts":{{"size":"16Mi","type":"temp","pool":"{pool}"}}}}"#);
        http::request(socket, "POST", "/VolumeDriver.Create", &body).unwrap()
    };
    assert_eq!(create(&daemon.docker_socket(), "known", "default").0, 200);
    let frozen = Frozen::freeze(&disk);
    std::thread::scope(|scope| {
        // As many as each engine's socket takes at once.
        for number in 0..orlop_docker::THREADS {
            for socket in [daemon.docker_socket(), daemon.podman_socket()] {
                scope.spawn(move || {
                    let (status, answer) = create(&socket, &format!("v{number}"), "hangs");
                    assert!(status == 500 && answer.contains("still recovering, retry"), "{answer}");
                });
            }
        }
        std::thread::sleep(Duration::from_millis(500));
        let known = r#"{"Name":"known"}"#;
        let get = || http::request(&daemon.docker_socket(), "POST", "/VolumeDriver.Get", known);
        let (start, answer) = (std::time::Instant::now(), get());
        let took = start.elapsed();
        assert!(answer.is_ok_and(|(status, _)| status == 200) && took < Duration::from_secs(2), "{took:?}");
        assert_eq!(daemon.get(&path("known")).0, 200);
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    });
    drop(frozen);
}

/// Runs the command line program as another user, with the socket's group or without. The shell
/// opens the program while it is root: the user need not be able to reach the file.
fn as_nobody(daemon: &OrlopDaemon, gid: &str, args: &[&str]) -> Ran {
    let mut command = Command::new("bash");
    command
        .args([
            "-c",
            r#"exec 9<"$0"; exec setpriv --reuid 65534 --regid "$1" --clear-groups /proc/self/fd/9 "${@:2}""#,
        ])
        .arg(binary())
        .arg(gid)
        .args(args)
        .env("ORLOP_SOCKET", daemon.socket());
    run(&mut command)
}

#[test]
fn another_user_may_talk_where_the_group_lets_it_and_rules_only_what_is_its_own() {
    require!(Part::Loop);
    // The group `daemon` (1) is on every system, and stands for `orlop`.
    let daemon = OrlopDaemon::builder().config("group: daemon\n").start();
    std::fs::set_permissions(daemon.scratch().path(), PermissionsExt::from_mode(0o755)).unwrap();
    let (status, body) = http::request(&daemon.socket(), "PUT", &path("roots"), &volume("roots")).unwrap();
    assert_eq!(status, 200, "{body}");

    let said = as_nobody(&daemon, "65534", &["get", "-t", "volume", "-a"]).exits(8);
    assert!(said.contains("daemon"), "the group to join is named: {said}");

    let said = as_nobody(&daemon, "1", &["get", "-t", "volume", "-a"]).ok();
    assert!(said.contains("roots"), "{said}");
    let said = as_nobody(&daemon, "1", &["delete", "-t", "volume", "-n", "roots"]).exits(7);
    assert!(said.contains("roots"), "{said}");
    let pool = daemon.scratch().join("pool");
    as_nobody(&daemon, "1", &["pool", "create", "mine", "--path", pool.to_str().unwrap()]).exits(7);
    assert!(!pool.exists());
    let (_, body) = daemon.get(&path("roots"));
    assert!(body.contains("\"state\":\"active\""), "{body}");

    // Docker's and Podman's sockets act for others: root only.
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "1", "--clear-groups", "test", "-w"]);
    run(command.arg(daemon.docker_socket())).fails();
}

#[test]
fn in_a_slave_namespace_it_is_not_ready_and_says_why() {
    require!(Part::Loop);
    let daemon = OrlopDaemon::builder().wrapper(["unshare", "-m", "--propagation", "slave"]).start_unready();
    let mut last = (0, String::new());
    let told = eventually(BOUND, || {
        last = http::get(&daemon.socket(), "/readyz").unwrap_or_default();
        last.0 == 503 && !last.1.contains("recover")
    });
    assert!(told, "{last:?}");
    let report: serde_json::Value = serde_json::from_str(&last.1).unwrap();
    assert_eq!(report["ready"], false);
    assert!(report["problems"][0].as_str().unwrap().contains("namespace"), "{report}");
    let (status, text) = daemon.get("/metrics");
    assert_eq!(status, 200);
    assert!(text.lines().any(|line| line.starts_with("orlop_ready 0")), "{text}");
    assert_eq!(daemon.get("/healthz").0, 200);
}

#[test]
fn a_read_only_state_directory_is_a_clear_error() {
    require!(Part::Loop);
    let disk = ScratchFs::ext4(64 << 20);
    let scratch = Scratch::new("read-only");
    run(Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path())).ok();
    let said = serve(&disk.join("state"), &scratch.join("run")).fails();
    assert!(said.to_lowercase().contains("read-only"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(!scratch.join("run/orlop.sock").exists());
}

#[test]
fn told_to_stop_it_brings_to_its_end_what_it_began() {
    require!(Part::Loop);
    let mut daemon = OrlopDaemon::start();
    let socket = daemon.socket();
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let (socket, name) = (socket.clone(), format!("v{number}"));
            std::thread::spawn(move || {
                // Spread, so that the signal finds some of them begun, and some not.
                std::thread::sleep(Duration::from_millis(15 * number));
                http::request(&socket, "PUT", &path(&name), &volume(&name)).map_or(0, |(status, _)| status)
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(60));
    // Ends with success, which means: it was drained and flushed.
    daemon.stop();
    let answers: Vec<u16> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    daemon.restart();
    for (number, answer) in answers.iter().enumerate() {
        let (status, body) = daemon.get(&path(&format!("v{number}")));
        match answer {
            // What was promised is there.
            200 => assert!(status == 200 && body.contains("\"state\":\"active\""), "v{number}: {body}"),
            503 | 0 => assert!(status == 404 || body.contains("\"state\":\"active\""), "v{number}: {body}"),
            other => panic!("v{number} was answered with {other}"),
        }
    }
    assert!(answers.contains(&200), "{answers:?}");
}

#[test]
fn watches_do_not_keep_it_from_stopping() {
    require!(Part::Loop);
    let mut daemon = OrlopDaemon::start();
    let mut watch = UnixStream::connect(daemon.socket()).unwrap();
    write!(watch, "GET /v1/watch HTTP/1.1\r\nHost: orlop\r\n\r\n").unwrap();
    let mut head = [0; 15];
    watch.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    // A connection that never says a word.
    let _silent = UnixStream::connect(daemon.socket()).unwrap();
    daemon.stop();
}

/// What systemd does: it listens, hands the sockets over by name, and waits for READY.
#[test]
fn sockets_are_taken_over_from_systemd_and_readiness_is_told() {
    require!(Part::Loop);
    let mut scratch = Scratch::new("activated");
    let socket = |name: &str| {
        let listener = UnixListener::bind(scratch.join(name)).unwrap();
        rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
        listener
    };
    // The names are in another order than the files: it is the name that counts.
    let sockets = [("podman", socket("a")), ("rest", socket("b")), ("docker", socket("c"))];
    let notify = UnixDatagram::bind(scratch.join("notify")).unwrap();
    notify.set_read_timeout(Some(BOUND)).unwrap();
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    let mut redirections = String::new();
    for (index, (_, listener)) in sockets.iter().enumerate() {
        // By way of high numbers: a socket may have one of those that are to be set.
        redirections += &format!(" {}<&{}", index + 203, listener.as_raw_fd());
    }
    let script = format!(
        "exec{redirections}; exec 3<&203 4<&204 5<&205 203<&- 204<&- 205<&-; export LISTEN_PID=$$ LISTEN_FDS=3; exec \"$0\" \"$@\""
    );
    let log = std::fs::File::create(scratch.join("log")).unwrap();
    let mut child = Command::new("bash")
        .args(["-c", &script])
        .arg(binary())
        .args(["serve", "--config", "/dev/null", "--state-dir"])
        .arg(scratch.join("state"))
        .arg("--run-dir")
        .arg(scratch.join("run"))
        .env("LISTEN_FDNAMES", names.join(":"))
        .env("NOTIFY_SOCKET", scratch.join("notify"))
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    scratch.also_kill(i32::try_from(child.id()).unwrap());

    let mut said = String::new();
    while !said.contains("READY=1") {
        let mut message = [0; 4096];
        let length = notify.recv(&mut message).unwrap_or_else(|e| {
            panic!("{e} after {said}\n{}", std::fs::read_to_string(scratch.join("log")).unwrap_or_default())
        });
        said += std::str::from_utf8(&message[..length]).unwrap();
    }
    assert!(said.contains("STATUS="), "{said}");
    assert_eq!(http::get(&scratch.join("b"), "/readyz").unwrap().0, 200);
    let activate = |file: &str| http::request(&scratch.join(file), "POST", "/Plugin.Activate", "").unwrap();
    for file in ["a", "c"] {
        assert!(activate(file).1.contains("VolumeDriver"));
    }
    let mode = scratch.join("run").metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o755, "others pass through it to the sockets");
    assert!(!scratch.join("run/orlop.sock").exists(), "what was handed over is not bound again");

    process::signal(i32::try_from(child.id()).unwrap(), rustix::process::Signal::TERM);
    assert!(child.wait().unwrap().success());
    // systemd goes on listening: the files stay.
    assert!(scratch.join("b").exists());
    assert!(sockets.len() == 3);
}
