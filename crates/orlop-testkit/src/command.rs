//! Running a command with a time bound, and what came back.
//!
//! Output goes to files and not to pipes: a child left in the background (a container monitor, say)
//! keeps a pipe open and would make the reader wait for it.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a command may take when the caller doesn't say.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A command that has ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The command line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote to standard output.
    pub stdout: String,
    /// All it wrote to standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Ran {
    /// Standard output without its last line end; panics unless the command succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "the command should succeed\n{self}");
        self.stdout.trim_end_matches('\n').to_owned()
    }

    /// Standard output and error together; panics unless the command failed.
    #[track_caller]
    pub fn fails(self) -> String {
        assert!(!self.status.success(), "the command should fail\n{self}");
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Standard output and error together; panics unless the exit status is `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> String {
        assert_eq!(self.code(), Some(code), "the exit status should be {code}\n{self}");
        format!("{}{}", self.stdout, self.stderr)
    }

    /// The exit status; none where a signal ended the command.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Whether the command succeeded.
    pub fn success(&self) -> bool {
        self.status.success()
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "command: {}", self.command)?;
        writeln!(f, "status:  {} after {:?}", self.status, self.took)?;
        writeln!(f, "stdout:  {}", self.stdout.trim_end())?;
        write!(f, "stderr:  {}", self.stderr.trim_end())
    }
}

/// Runs a command to its end with nothing on standard input; panics if it can't start or takes
/// longer than [`PATIENCE`].
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    run_within(command, PATIENCE)
}

/// As [`run`], with a bound of one's own. At the bound the command is killed.
#[track_caller]
pub fn run_within(command: &mut Command, bound: Duration) -> Ran {
    let line = command_line(command);
    let (mut out, mut err) = (capture(), capture());
    command.stdin(Stdio::null()).stdout(clone_of(&out)).stderr(clone_of(&err));
    let start = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run {line}: {e}"));
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                return Ran {
                    command: line,
                    status,
                    stdout: read_back(&mut out),
                    stderr: read_back(&mut err),
                    took: start.elapsed(),
                };
            }
            Ok(None) if start.elapsed() > bound => {
                let _ = child.kill();
                let _ = child.wait();
                panic!(
                    "{line}: still running after {bound:?}, killed\nstdout: {}\nstderr: {}",
                    read_back(&mut out),
                    read_back(&mut err)
                );
            }
            Ok(None) => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            Err(e) => panic!("{line}: cannot wait for it: {e}"),
        }
    }
}

/// Waits until `done` says so, asking every few milliseconds; false if `bound` passes first.
pub fn eventually(bound: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if done() {
            return true;
        }
        if start.elapsed() > bound {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn capture() -> File {
    tempfile::tempfile().unwrap_or_else(|e| panic!("no temporary file for a command's output: {e}"))
}

fn clone_of(file: &File) -> File {
    file.try_clone().unwrap_or_else(|e| panic!("cannot duplicate a descriptor: {e}"))
}

fn read_back(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .unwrap_or_else(|e| panic!("cannot read a command's output back: {e}"));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_output_and_status() {
        let ran = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]));
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(ran.exits(3), "out\nerr\n");
    }

    #[test]
    fn is_not_held_up_by_a_background_child() {
        let ran = run(Command::new("sh").args(["-c", "sleep 5 & echo started"]));
        assert_eq!(ran.ok(), "started");
    }

    #[test]
    #[should_panic(expected = "still running after")]
    fn kills_what_takes_too_long() {
        run_within(Command::new("sleep").arg("60"), Duration::from_millis(50));
    }
}
