//! Facts about this machine and its processes.

use std::path::Path;
use std::time::Duration;

use crate::error::{Result, SysError};

/// The id of this boot: it differs after every reboot and never else.
pub fn boot_id() -> Result<String> {
    read_trimmed("/proc/sys/kernel/random/boot_id")
}

/// How long ago the host was booted, time asleep included. Nobody sets this clock.
pub fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The kernel's release, such as `6.1.0-18-amd64`.
pub fn kernel_version() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// A privilege of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// To mount, and to configure loop devices.
    SysAdmin,
    /// To grow a mounted ext4.
    SysResource,
    /// To make device nodes.
    MakeNode,
    /// To look into other users' directories.
    DacReadSearch,
    /// To see other processes' mount tables.
    SysPtrace,
    /// To give files to others.
    ChangeOwner,
}

impl Capability {
    /// The name in the kernel's documentation.
    pub fn name(self) -> &'static str {
        match self {
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysResource => "CAP_SYS_RESOURCE",
            Self::MakeNode => "CAP_MKNOD",
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::ChangeOwner => "CAP_CHOWN",
        }
    }

    fn bit(self) -> u32 {
        match self {
            Self::ChangeOwner => 0,
            Self::DacReadSearch => 2,
            Self::SysPtrace => 19,
            Self::SysAdmin => 21,
            Self::SysResource => 24,
            Self::MakeNode => 27,
        }
    }
}

/// Whether this process has the privilege in effect now. In a user namespace it may have it and
/// still be refused by the kernel.
pub fn has_capability(capability: Capability) -> Result<bool> {
    let path = "/proc/self/status";
    let status = read_trimmed(path)?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .ok_or(SysError::Invalid { what: "/proc/self/status", detail: "it has no CapEff".to_owned() })?;
    Ok(effective >> capability.bit() & 1 == 1)
}

/// The command name of a process (at most 15 bytes); `None` when there is no such process.
pub fn process_name(pid: u32) -> Option<String> {
    let name = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end().to_owned())
}

/// When a process started, in clock ticks since boot. Together with the process id this names one
/// process of this boot; ids alone are reused.
pub fn process_start_time(pid: u32) -> Option<u64> {
    parse_start_time(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The name of a process is in parentheses and may itself hold spaces and parentheses: fields are
/// counted from the last one.
fn parse_start_time(stat: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(stat);
    let (_, fields) = text.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// The user that a process runs as; `None` when there is no such process.
pub fn user_of_process(pid: u32) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(format!("/proc/{pid}")).ok().map(|found| found.uid())
}

fn read_trimmed(path: &str) -> Result<String> {
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|error| SysError::io("read", Path::new(path), &error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_id_is_a_uuid_and_stays() {
        let id = boot_id().unwrap();
        assert_eq!(id.len(), 36, "{id}");
        assert_eq!(id, boot_id().unwrap());
        assert!(kernel_version().starts_with(|first: char| first.is_ascii_digit()));
    }

    #[test]
    fn start_times_are_read_past_a_hostile_name() {
        let fields = (3..=52).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        for name in ["cat", "a b", ") R 1 2 3 (", "((", "\n"] {
            let stat = format!("77 ({name}) {fields}");
            assert_eq!(parse_start_time(stat.as_bytes()), Some(22), "{name}");
        }
        assert_eq!(parse_start_time(b""), None);
        assert_eq!(parse_start_time(b"1 (x) R 1"), None);
    }

    #[test]
    fn processes_are_described_while_they_live() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        let begin = std::time::Instant::now();
        // Until it has executed it still has our name.
        while process_name(pid).as_deref() != Some("sleep") {
            assert!(begin.elapsed().as_secs() < 10);
        }
        assert!(process_start_time(pid).unwrap() >= process_start_time(std::process::id()).unwrap());
        assert_eq!(user_of_process(pid), Some(rustix::process::geteuid().as_raw()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(process_name(pid), None);
        assert_eq!(process_start_time(pid), None);
    }

    #[test]
    fn capabilities_are_read() {
        let root = rustix::process::geteuid().is_root();
        assert_eq!(has_capability(Capability::ChangeOwner).unwrap(), root);
    }
}
