//! Running a program to its end: no shell, a clean environment, bounded output, a time limit.

use std::convert::Infallible;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, getppid, kill_process_group, pidfd_open, set_parent_process_death_signal,
};

use crate::error::{ProgramOutcome, Result, SysError, Unfinished};

/// Searched after `PATH`: what makes and checks filesystems is often not in a user's path.
const SYSTEM_DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// Of each of the two outputs so many bytes are kept, the last ones.
const KEPT_OUTPUT: usize = 16 * 1024;
/// So many lines of them are shown in an error.
const SHOWN_LINES: usize = 4;
/// So often it is asked whether a program that runs is to go on.
const ASKED: Duration = Duration::from_millis(100);
/// After its end a program's pipes are read on for this long: a stray grandchild may hold them.
const DRAIN: Duration = Duration::from_millis(200);

/// A program, and the Debian package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// The name of the executable.
    pub name: &'static str,
    /// The package.
    pub package: &'static str,
}

/// How a program ended, and the end of what it wrote.
#[derive(Debug)]
pub struct Finished {
    program: &'static str,
    status: ExitStatus,
    /// The last 16 KiB of its standard output.
    pub stdout: String,
    /// The last 16 KiB of its standard error.
    pub stderr: String,
}

impl Program {
    /// Where it is: in `PATH`, else in the system's directories.
    ///
    /// # Errors
    /// [`SysError::ProgramMissing`].
    pub fn find(&self) -> Result<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(SYSTEM_DIRECTORIES.iter().map(PathBuf::from))
            // A relative or empty entry would run what lies in the current directory.
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(self.name))
            .find(|candidate| is_executable(candidate))
            .ok_or(SysError::ProgramMissing { program: self.name, package: self.package })
    }

    /// Runs it and waits. After `limit` it is killed with all its children, and so it is when this
    /// process dies: nothing goes on writing to an image that a next daemon may attach.
    ///
    /// The calling thread must live until this returns (it does, as it waits here).
    ///
    /// # Errors
    /// [`SysError::ProgramMissing`], [`SysError::ProgramTimedOut`]. A program that fails is not an
    /// error here: see [`Finished::success`].
    pub fn run(
        &self,
        arguments: &[&std::ffi::OsStr],
        environment: &[(&str, &str)],
        limit: Duration,
    ) -> Result<Finished> {
        never_stopped(self.run_at(&self.find()?, arguments, environment, Stdio::null(), limit, unasked))
    }

    /// The same, and asks `go_on` some times a second: where that fails the program is killed as after
    /// the limit, and what it said is handed back.
    ///
    /// # Errors
    /// See [`Unfinished`], and [`Self::run`].
    pub fn run_while<E>(
        &self,
        arguments: &[&std::ffi::OsStr],
        limit: Duration,
        go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<Finished, Unfinished<E>> {
        self.run_at(&self.find()?, arguments, &[], Stdio::null(), limit, go_on)
    }

    fn run_at<E>(
        &self,
        executable: &Path,
        arguments: &[&std::ffi::OsStr],
        environment: &[(&str, &str)],
        input: Stdio,
        limit: Duration,
        go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<Finished, Unfinished<E>> {
        let mut command = Command::new(executable);
        command
            .args(arguments)
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", SYSTEM_DIRECTORIES.join(":"))
            .envs(environment.iter().copied())
            .current_dir("/")
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let parent = getpid();
        // SAFETY: between fork and exec only two system calls are made; both are async-signal-safe,
        // allocate nothing and touch no memory of the parent.
        unsafe {
            command.pre_exec(move || {
                set_parent_process_death_signal(Some(Signal::KILL))?;
                // The parent may have died before the signal was asked for.
                if getppid() == Some(parent) { Ok(()) } else { Err(Errno::SRCH.into()) }
            });
        }
        let child = command.spawn().map_err(|error| SysError::io("start", executable, &error))?;
        self.finish(child, limit, go_on)
    }

    fn finish<E>(
        &self,
        mut child: Child,
        limit: Duration,
        go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<Finished, Unfinished<E>> {
        let group = Pid::from_child(&child);
        let outcome = self.collect(&mut child, group, limit, go_on);
        if outcome.is_err() {
            // The group also holds what the program started; its leader is reaped just below, so
            // the number can't be another group's.
            let _ = kill_process_group(group, Signal::KILL);
            let _ = child.wait();
        }
        outcome
    }

    fn collect<E>(
        &self,
        child: &mut Child,
        group: Pid,
        limit: Duration,
        mut go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<Finished, Unfinished<E>> {
        let mut stdout = Tail::new(child.stdout.take().map(OwnedFd::from));
        let mut stderr = Tail::new(child.stderr.take().map(OwnedFd::from));
        let exited = pidfd_open(group, PidfdFlags::empty())
            .map_err(|errno| SysError::call("watch a started program", errno))?;
        let deadline = Instant::now() + limit;
        let mut drain_until = None;
        loop {
            let until = drain_until.unwrap_or(deadline);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() && drain_until.is_none() {
                return Err(SysError::ProgramTimedOut { program: self.name, limit }.into());
            }
            go_on().map_err(Unfinished::Stopped)?;
            let ended = drain_until.is_some();
            if ended && (left.is_zero() || (stdout.is_closed() && stderr.is_closed())) {
                break;
            }
            let (out_ready, err_ready, exit_ready) =
                wait_for(&stdout, &stderr, (!ended).then_some(exited.as_fd()), left.min(ASKED))?;
            if out_ready {
                stdout.read_some();
            }
            if err_ready {
                stderr.read_some();
            }
            if exit_ready {
                drain_until = Some(Instant::now() + DRAIN);
            }
        }
        let status = child.wait().map_err(|error| SysError::io("wait for", Path::new(self.name), &error))?;
        Ok(Finished { program: self.name, status, stdout: stdout.into_text(), stderr: stderr.into_text() })
    }
}

/// Runs a command of the configuration as [`Program::run`] runs a program: the executable by its
/// absolute path, without a shell. It reads `input` from its standard input.
pub fn run_command(
    executable: &Path,
    arguments: &[&std::ffi::OsStr],
    environment: &[(&str, &str)],
    input: &[u8],
    limit: Duration,
) -> Result<Finished> {
    const COMMAND: Program = Program { name: "the command", package: "" };
    // A file in memory, not a pipe: a command that reads nothing does not hold us.
    let failed = |error: std::io::Error| SysError::io("write the input of", executable, &error);
    let mut file = memfd_create("input", MemfdFlags::CLOEXEC)
        .map(File::from)
        .map_err(|errno| SysError::call("make a file in memory", errno))?;
    file.write_all(input).and_then(|()| file.rewind()).map_err(failed)?;
    never_stopped(COMMAND.run_at(executable, arguments, environment, Stdio::from(file), limit, unasked))
}

fn unasked() -> Result<(), Infallible> {
    Ok(())
}

fn never_stopped(done: Result<Finished, Unfinished<Infallible>>) -> Result<Finished> {
    done.map_err(|unfinished| match unfinished {
        Unfinished::Failed(error) => error,
        Unfinished::Stopped(never) => match never {},
    })
}

impl Finished {
    /// The exit status, where no signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Turns anything but exit status 0 into an error.
    pub fn success(self) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        Err(self.failure())
    }

    /// The error of a program that ended otherwise than it should.
    pub fn failure(&self) -> SysError {
        let outcome = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => ProgramOutcome::Status(code),
            (None, signal) => ProgramOutcome::Signal(signal.unwrap_or_default()),
        };
        SysError::ProgramFailed { program: self.program, outcome, last_lines: self.last_lines() }
    }

    /// The last lines it wrote, of standard error where there are any, in one line.
    pub fn last_lines(&self) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let from = lines.len().saturating_sub(SHOWN_LINES);
        lines.get(from..).unwrap_or_default().join("; ")
    }
}

/// The end of what came through a pipe.
struct Tail {
    pipe: Option<File>,
    kept: Vec<u8>,
}

impl Tail {
    fn new(pipe: Option<OwnedFd>) -> Self {
        Self { pipe: pipe.map(File::from), kept: Vec::new() }
    }

    fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }

    /// Reads once, after poll said that this doesn't block.
    fn read_some(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut buffer = [0; 4096];
        match pipe.read(&mut buffer) {
            Ok(0) | Err(_) => self.pipe = None,
            Ok(length) => {
                self.kept.extend(buffer.iter().take(length));
                if self.kept.len() > 2 * KEPT_OUTPUT {
                    self.kept.drain(..self.kept.len() - KEPT_OUTPUT);
                }
            }
        }
    }

    fn into_text(self) -> String {
        let from = self.kept.len().saturating_sub(KEPT_OUTPUT);
        String::from_utf8_lossy(self.kept.get(from..).unwrap_or_default()).into_owned()
    }
}

/// Which of the two pipes and the process have something to say.
fn wait_for(
    stdout: &Tail,
    stderr: &Tail,
    exited: Option<std::os::fd::BorrowedFd<'_>>,
    left: Duration,
) -> Result<(bool, bool, bool)> {
    let sources = [stdout.pipe.as_ref().map(AsFd::as_fd), stderr.pipe.as_ref().map(AsFd::as_fd), exited];
    let mut polled: Vec<PollFd<'_>> =
        sources.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(SysError::call("wait for a program", errno)),
    }
    let mut answers = polled.iter().map(|entry| !entry.revents().is_empty());
    let [out, err, exit] = sources.map(|source| source.is_some() && answers.next() == Some(true));
    Ok((out, err, exit))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    const SH: Program = Program { name: "sh", package: "dash" };

    fn sh(script: &str, limit: Duration) -> Result<Finished> {
        SH.run(&[OsStr::new("-c"), OsStr::new(script)], &[], limit)
    }

    #[test]
    fn output_and_exit_status_are_handed_back() {
        let done = sh("echo out; echo err >&2; exit 3", Duration::from_secs(20)).unwrap();
        assert_eq!(done.code(), Some(3));
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", "err\n"));
        let error = done.success().unwrap_err();
        assert_eq!(error.to_string(), "sh failed with exit status 3: err");
    }

    #[test]
    fn a_program_that_is_not_to_go_on_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
        let begin = Instant::now();
        let go_on = || {
            if std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')) {
                Err("enough")
            } else {
                Ok(())
            }
        };
        let arguments = [OsStr::new("-c"), OsStr::new(&script)];
        let stopped = SH.run_while(&arguments, Duration::from_secs(60), go_on).unwrap_err();
        assert!(matches!(stopped, Unfinished::Stopped("enough")), "{stopped:?}");
        assert!(begin.elapsed() < Duration::from_secs(30));
        let child = std::fs::read_to_string(&pid).unwrap();
        crate::testing::wait_until("the child is gone", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
            stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
        });
    }

    #[test]
    fn a_signal_is_told_from_an_exit_status() {
        let error = sh("kill -9 $$", Duration::from_secs(20)).unwrap().success().unwrap_err();
        assert_eq!(error.to_string(), "sh was ended by signal 9");
    }

    #[test]
    fn much_output_is_bounded_and_keeps_its_end() {
        let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo last";
        let done = sh(script, Duration::from_secs(60)).unwrap();
        assert!(done.stdout.len() <= KEPT_OUTPUT);
        assert!(done.stdout.ends_with("line 19999\nlast\n"));
    }

    #[test]
    fn too_long_a_run_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; wait", mark.display());
        let error = sh(&script, Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, SysError::ProgramTimedOut { .. }), "{error}");
        let child = std::fs::read_to_string(&mark).unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        let begin = Instant::now();
        // Gone, or a zombie nobody has reaped yet.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(begin.elapsed() < Duration::from_secs(10), "{stat} lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_grandchild_that_keeps_the_pipe_does_not_hold_us() {
        let begin = Instant::now();
        let done = sh("sleep 30 & echo $!", Duration::from_secs(20)).unwrap();
        assert!(begin.elapsed() < Duration::from_secs(15));
        let pid = done.stdout.trim().parse().unwrap();
        let _ = rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
    }

    #[test]
    fn a_program_dies_with_the_process_that_started_it() {
        if let Ok(mark) = std::env::var("ORLOP_TEST_MARK") {
            // The child, to be killed while its program runs.
            let _ = sh(&format!("echo $$ > {mark}; exec sleep 50"), Duration::from_secs(60));
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("pid");
        let mut parent = crate::testing::child_test(
            &[],
            "process::tests::a_program_dies_with_the_process_that_started_it",
        )
        .env("ORLOP_TEST_MARK", &mark)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
        let pid = || std::fs::read_to_string(&mark).unwrap_or_default();
        crate::testing::wait_until("the program runs", || pid().ends_with('\n'));
        let stat = format!("/proc/{}/stat", pid().trim());
        assert!(Path::new(&stat).exists());
        parent.kill().unwrap();
        parent.wait().unwrap();
        crate::testing::wait_until("the program is gone", || {
            std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
        });
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let missing = Program { name: "mkfs.nosuchthing", package: "nosuch-progs" };
        let error = missing.run(&[], &[], Duration::from_secs(1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "mkfs.nosuchthing is not installed; on Debian it is in the package nosuch-progs"
        );
    }

    #[test]
    fn a_command_gets_its_input_and_a_clean_environment() {
        let run = |script: &str| {
            let arguments = [OsStr::new("-c"), OsStr::new(script)];
            let environment = [("ORLOP_TEST", "1")];
            run_command(Path::new("/bin/sh"), &arguments, &environment, b"line\n", Duration::from_secs(20))
        };
        assert_eq!(run("cat; echo $ORLOP_TEST$HOME").unwrap().stdout, "line\n1\n");
        let error = run("exit 4").unwrap().success().unwrap_err();
        assert_eq!(error.to_string(), "the command failed with exit status 4");
        let nowhere = run_command(Path::new("/nowhere"), &[], &[], b"", Duration::from_secs(1)).unwrap_err();
        assert!(nowhere.to_string().contains("/nowhere"), "{nowhere}");
    }

    #[test]
    fn no_descriptor_of_ours_reaches_a_program() {
        use crate::{durable, mount, mountinfo, target, testing};
        if !testing::may_mount() {
            return;
        }
        let ls = Program { name: "ls", package: "coreutils" };
        // Without the numbers of pipes and processes, which differ from run to run.
        let given = || -> Vec<String> {
            let arguments = ["-l", "/proc/self/fd"].map(OsStr::new);
            let done = ls.run(&arguments, &[], Duration::from_secs(20)).and_then(Finished::success).unwrap();
            let led = done.stdout.lines().filter_map(|line| line.split_once(" -> "));
            led.map(|(_, to)| to.replace(|c: char| c.is_ascii_digit(), "")).collect()
        };
        // What runs the tests may have left this process some of its own.
        let before = given();
        assert!(before.len() > 3, "{before:?}");
        let scratch = testing::Scratch::new();
        let base = scratch.directory("base");
        let volume = testing::Volume::small(&scratch, "image");
        let device = volume.attach();
        mount::mount_filesystem(testing::plain_mount(&device.node(), crate::filesystem::FsKind::Ext4), &base)
            .unwrap();
        let root = mount::open_directory(&base).unwrap();
        let place = target::open_place(&scratch.directory("target")).unwrap();
        let lock = durable::lock_exclusive(&scratch.path("lock")).unwrap();
        let image = crate::image::open_existing(&volume.image).unwrap();
        assert!(mountinfo::mounted_at(&base).unwrap().is_some());
        assert_eq!(given(), before);
        drop((device, root, place, lock, image));
    }

    #[test]
    fn the_environment_is_clean() {
        let env = Program { name: "env", package: "coreutils" };
        let done = env.run(&[], &[("ORLOP_TEST", "1")], Duration::from_secs(20)).unwrap();
        let mut names: Vec<&str> = done.stdout.lines().filter_map(|line| line.split('=').next()).collect();
        names.sort_unstable();
        assert_eq!(names, ["LC_ALL", "ORLOP_TEST", "PATH"]);
    }
}
