//! Processes as `/proc` shows them, and signals to them by id.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use crate::command::eventually;

/// A process seen in `/proc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id as the test sees it.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// Its name (at most 15 bytes of it).
    pub name: String,
    /// Its ids from the test's process-id namespace inwards; the last is its own view.
    pub ids: Vec<i32>,
}

/// Every process of the machine.
pub fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().parse::<i32>().is_ok())
        .filter_map(|e| fs::read_to_string(e.path().join("status")).ok())
        .filter_map(|status| parse_status(&status))
        .collect()
}

/// Whether a process with that id exists and is not a zombie.
pub fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| !status.contains("\nState:\tZ"))
}

/// Sends a signal; a process that is gone already is no error.
pub fn signal(pid: i32, signal: Signal) {
    match Pid::from_raw(pid).map(|pid| kill_process(pid, signal)) {
        Some(Ok(()) | Err(rustix::io::Errno::SRCH)) | None => {}
        Some(Err(e)) => panic!("cannot signal process {pid}: {e}"),
    }
}

/// `kill -9`, and waits until the process is gone.
#[track_caller]
pub fn kill9(pid: i32) {
    signal(pid, Signal::KILL);
    assert!(eventually(Duration::from_secs(10), || !alive(pid)), "process {pid} survives SIGKILL");
}

/// Stops a process until `SIGCONT`, and waits until each of its threads stands still: `kill` returns before.
#[track_caller]
pub fn suspend(pid: i32) {
    signal(pid, Signal::STOP);
    let still = || {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
        threads.flatten().all(|thread| {
            fs::read_to_string(thread.path().join("status"))
                .is_ok_and(|status| status.contains("\nState:\tT"))
        })
    };
    assert!(eventually(Duration::from_secs(10), still), "process {pid} goes on after SIGSTOP");
}

/// Halts the child of this process whose command line contains these words, as a disk that hangs would. Says
/// whether it did: there may be none, or it ended meanwhile.
pub fn halt_child(words: &str) -> bool {
    let parent = i32::try_from(std::process::id()).unwrap_or_default();
    let line = |pid: i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ")
    };
    let children = processes().into_iter().filter(|process| process.parent == parent);
    let Some(pid) = children.map(|child| child.pid).find(|pid| line(*pid).contains(words)) else {
        return false;
    };
    signal(pid, Signal::STOP);
    let is = |state: &str| {
        fs::read_to_string(format!("/proc/{pid}/status"))
            .is_ok_and(|status| status.contains(&format!("\nState:\t{state}")))
    };
    eventually(Duration::from_secs(10), || !is("R") && !is("S") && !is("D"));
    is("T")
}

/// Does it as a thread that may not administrate the machine: it can't mount, nor thaw. The threads that it
/// starts stay so.
pub fn unprivileged<T>(work: impl FnOnce() -> T) -> T {
    let before = without_administration();
    let done = work();
    set(before);
    done
}

/// From here on the thread may not administrate the machine, nor may the threads that it starts.
/// What it might before is returned.
pub fn without_administration() -> CapabilitySets {
    let before = capabilities(None).unwrap_or_else(|e| panic!("cannot read capabilities: {e}"));
    set(CapabilitySets { effective: before.effective - CapabilitySet::SYS_ADMIN, ..before });
    before
}

fn set(sets: CapabilitySets) {
    set_capabilities(None, sets).unwrap_or_else(|e| panic!("cannot set capabilities: {e}"));
}

fn parse_status(status: &str) -> Option<Process> {
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
    };
    let ids: Vec<i32> = field("NSpid:")?.split_whitespace().filter_map(|id| id.parse().ok()).collect();
    Some(Process { pid: *ids.first()?, parent: field("PPid:")?.parse().ok()?, name: field("Name:")?, ids })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_parsed() {
        let status = "Name:\tsh\nState:\tS (sleeping)\nPPid:\t7\nNSpid:\t41\t9\t1\n";
        let expected = Process { pid: 41, parent: 7, name: "sh".into(), ids: vec![41, 9, 1] };
        assert_eq!(parse_status(status), Some(expected));
        assert_eq!(parse_status("Name:\tsh\n"), None);
    }

    #[test]
    fn sees_itself_and_its_child_and_kills_it() {
        let me = i32::try_from(std::process::id()).unwrap_or_default();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start sleep: {e}"));
        let id = i32::try_from(child.id()).unwrap_or_default();
        let seen = processes();
        assert!(seen.iter().any(|p| p.pid == me));
        assert!(seen.iter().any(|p| p.pid == id && p.parent == me));
        kill9(id);
        assert!(!alive(id), "a zombie counts as gone");
        let _ = child.wait();
    }
}
