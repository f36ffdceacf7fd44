//! Running one step of a task: a command with its name and its time in plain lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The root of the repository. Cargo says at each run where this is: a checkout that was moved is built no
/// second time, and what was built in still names the place before.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map(Path::to_owned).unwrap_or(here)
}

/// The program that runs us.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).stdin(Stdio::null());
    cargo
}

/// The standard output of a command; its standard error is shown.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let name = line(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cannot run `{name}`: {e}"))?;
    if !output.status.success() {
        return Err(format!("`{name}` failed: {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{name}` wrote no UTF-8"))
}

/// Runs a command and shows what it writes.
pub(crate) fn show(command: &mut Command) -> Result<(), String> {
    let name = line(command);
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{name}` failed: {status}")),
        Err(e) => Err(format!("cannot run `{name}`: {e}")),
    }
}

/// Runs a command, shows what it writes, and returns it, with whether it succeeded.
pub(crate) fn tee(command: &mut Command) -> Result<(bool, String), String> {
    let name = line(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run `{name}`: {e}"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let text = thread::scope(|scope| {
        let out = scope.spawn(|| copy(out, std::io::stdout()));
        let mut text = copy(err, std::io::stderr());
        text.push_str(&out.join().unwrap_or_default());
        text
    });
    let status = child.wait().map_err(|e| format!("cannot wait for `{name}`: {e}"))?;
    Ok((status.success(), text))
}

fn copy(from: Option<impl Read>, mut to: impl Write) -> String {
    let mut text = String::new();
    let Some(from) = from else { return text };
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    while matches!(from.read_until(b'\n', &mut bytes), Ok(1..)) {
        let _ = to.write_all(&bytes).and_then(|()| to.flush());
        text.push_str(&String::from_utf8_lossy(&bytes));
        bytes.clear();
    }
    text
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Steps that all run, also after one has failed, so that one run shows every fault.
#[derive(Default)]
pub(crate) struct Steps {
    failed: Vec<&'static str>,
}

impl Steps {
    /// Runs a step, between a line with its name and one with its result and time.
    pub(crate) fn run<T>(
        &mut self,
        name: &'static str,
        step: impl FnOnce() -> Result<T, String>,
    ) -> Option<T> {
        println!("== {name}");
        let start = Instant::now();
        let result = step();
        let took = seconds(start.elapsed());
        match result {
            Ok(value) => {
                println!("== {name}: ok ({took})");
                Some(value)
            }
            Err(message) => {
                println!("{message}\n== {name}: FAILED ({took})");
                self.failed.push(name);
                None
            }
        }
    }

    /// The names of the steps that failed.
    pub(crate) fn failed(&self) -> &[&'static str] {
        &self.failed
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_go_on_after_a_failure() {
        let mut steps = Steps::default();
        assert_eq!(steps.run("one", || Err::<(), _>("no".to_owned())), None);
        assert_eq!(steps.run("two", || Ok(2)), Some(2));
        assert_eq!(steps.failed(), ["one"]);
    }

    #[test]
    fn tee_keeps_both_streams() {
        let script = "echo out; echo err >&2; exit 1";
        let result = tee(Command::new("sh").args(["-c", script]));
        assert_eq!(result, Ok((false, "err\nout\n".to_owned())));
    }

    #[test]
    fn failures_name_the_command() {
        let error = show(&mut Command::new("false"));
        assert!(error.is_err_and(|e| e.starts_with("`false` failed")));
        let error = output(&mut Command::new("no-such-program"));
        assert!(error.is_err_and(|e| e.starts_with("cannot run `no-such-program`")));
    }
}
