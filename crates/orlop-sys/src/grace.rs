//! Grace periods of RCU, for which the kernel waits while it freezes a filesystem: how not to wait long.
//!
//! A freeze takes three locks that all processors have to notice, one after another, and the kernel
//! lets each processor notice at its leisure: 10 to 20 ms every time, and from the second on the
//! writers wait too. Expedited, it asks the processors instead, and a freeze takes 3 ms instead of
//! 50. The switch is one for the whole kernel, documented in its `rcupdate` parameters; asking costs
//! every processor an interrupt, so it is on for a freeze and no longer. Kernels for real time have
//! `rcu_normal` set, which overrules it.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

const SWITCH: &str = "/sys/kernel/rcu_expedited";

/// The switch, where it can be turned and is off.
#[derive(Debug)]
pub(crate) struct Expedited(File);

/// The switch is on. Dropping turns it off.
#[derive(Debug)]
pub(crate) struct Hurried(Expedited);

impl Expedited {
    /// None where the kernel has no such switch, where it is not ours to turn (in a container, say),
    /// and where it is on already: all of it costs time only.
    pub(crate) fn open() -> Option<Self> {
        Self::at(Path::new(SWITCH))
    }

    fn at(switch: &Path) -> Option<Self> {
        let mut file = File::options().read(true).write(true).open(switch).ok()?;
        let mut is = String::new();
        file.read_to_string(&mut is).ok()?;
        (is.trim() == "0").then_some(Self(file))
    }

    /// Turns it on.
    pub(crate) fn begin(self) -> Hurried {
        // Where it fails, the freeze takes longer.
        let _ = self.0.write_all_at(b"1", 0);
        Hurried(self)
    }

    /// Turns it off. Two freezes at once may do so twice: the slower one loses time.
    pub(crate) fn end(&self) {
        let _ = self.0.write_all_at(b"0", 0);
    }
}

impl AsFd for Expedited {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Hurried {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_is_on_for_as_long_as_the_guard_lives_and_left_alone_where_it_was_on() {
        // Not the kernel's own, which freezes of other tests turn at the same time.
        let switch = tempfile::NamedTempFile::new().unwrap();
        let is = || std::fs::read_to_string(switch.path()).unwrap();
        std::fs::write(switch.path(), "0\n").unwrap();
        let hurried = Expedited::at(switch.path()).unwrap().begin();
        assert_eq!(is(), "1\n");
        assert!(Expedited::at(switch.path()).is_none());
        drop(hurried);
        assert_eq!(is(), "0\n");
        assert!(Expedited::at(Path::new("/nowhere")).is_none());
    }
}
