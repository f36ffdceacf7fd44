//! Freezing mounted filesystems: their writers wait, what they wrote is on the devices, and the devices
//! can be copied. Where several are frozen together there is a moment in which all of them are.
//!
//! A filesystem stays frozen when the process that froze it dies, and then every writer waits for
//! ever. So a child process watches over each freeze. It thaws when this process ends in whatever
//! way, and after a bound; it holds no file in the frozen filesystems but the directories it thaws by.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use linux_raw_sys::ioctl::{FIFREEZE, FITHAW};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::ioctl::{Setter, ioctl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::error::{Result, SysError};
use crate::grace::Expedited;
use crate::identity::DeviceNumber;
use crate::syscall::{self, Forked};
use crate::writeback;

/// So often the watchdog looks for a freeze that took longer than its bound.
const FREEZING: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
/// How the watchdog ends that was told that all is well.
const TOLD: i32 = 0;
/// How it ends when it thawed by itself.
const THAWED: i32 = 1;

/// What the watchdog is told, beside the numbers of those that could not be frozen: that all is well.
const WELL: u32 = u32::MAX;

/// Filesystems that are frozen. Dropping it thaws.
#[derive(Debug)]
pub struct Frozen {
    roots: Vec<Root>,
    watchdog: Option<Watchdog>,
    since: Instant,
}

/// One of them, by the directory that it is mounted on.
#[derive(Debug)]
struct Root {
    path: PathBuf,
    directory: OwnedFd,
    /// Its place among those that are frozen together.
    number: u32,
}

#[derive(Debug)]
struct Watchdog {
    child: Pid,
    /// Closed, by us or with this process, it makes the child thaw.
    lifeline: File,
}

/// Freezes the filesystem mounted on `root`, for at most `bound`. What was written before is on its
/// device when this returns.
///
/// # Errors
/// [`SysError::Busy`] where somebody froze it already; [`SysError::StillFrozen`] as [`Frozen::thaw`].
pub fn freeze(root: &Path, bound: Duration) -> Result<Frozen> {
    freeze_all(&[root], bound)
}

/// Freezes the filesystems mounted on `roots`, for at most `bound` in all: when this returns all of them
/// are frozen. They are frozen side by side, for the writers of the first wait until the last one is.
///
/// # Errors
/// As [`freeze`]; none of them is frozen by us then, unless the kernel refused to thaw it.
pub fn freeze_all(roots: &[&Path], bound: Duration) -> Result<Frozen> {
    let open = |(number, path): (u32, &&Path)| {
        Ok(Root { path: path.to_path_buf(), directory: open_root(path)?, number })
    };
    let roots = (0..).zip(roots).map(open).collect::<Result<Vec<_>>>()?;
    // Until they are frozen: then nobody writes.
    let _held = roots
        .iter()
        .zip(on_each(&roots, |root| writeback::bring_down(&root.directory)))
        .map(|(root, held)| held.map_err(|errno| SysError::on("flush the filesystem on", &root.path, errno)))
        .collect::<Result<Vec<_>>>()?;
    let expedited = Expedited::open();
    let watchdog = Watchdog::start(&roots, expedited.as_ref(), bound)?;
    let since = Instant::now();
    let requested = {
        let _expedited = expedited.map(Expedited::begin);
        // Those that another program froze are not ours to thaw, nor the watchdog's.
        on_each(&roots, |root| request_freeze(&root.directory).inspect_err(|_| watchdog.tell(root.number)))
    };
    let Some((at, errno)) = requested.iter().enumerate().find_map(|(at, done)| Some((at, done.err()?)))
    else {
        return Ok(Frozen { roots, watchdog: Some(watchdog), since });
    };
    let ours = roots.iter().zip(&requested).filter(|(_, done)| done.is_ok());
    let ours: Vec<_> = ours.map(|(root, _)| root).collect();
    let thawed: Vec<_> = ours.iter().map(|root| request_thaw(&root.directory)).collect();
    let failed = failure(&thawed);
    watchdog.end(failed.is_none());
    if let Some((root, errno)) = failed.and_then(|(at, errno)| Some((ours.get(at)?, errno))) {
        return Err(SysError::StillFrozen { path: root.path.clone(), errno });
    }
    let path = roots.into_iter().nth(at).map(|root| root.path).unwrap_or_default();
    Err(match errno {
        Errno::BUSY => {
            SysError::Busy { path, detail: "its filesystem is frozen already, by another program".to_owned() }
        }
        errno => SysError::on("freeze the filesystem on", &path, errno),
    })
}

/// The same of each at the same time, in a thread each; where there is none to be had, one after another.
fn on_each<T: Send>(
    roots: &[Root],
    work: impl Fn(&Root) -> rustix::io::Result<T> + Sync,
) -> Vec<rustix::io::Result<T>> {
    if let [root] = roots {
        return vec![work(root)];
    }
    let work = &work;
    std::thread::scope(|scope| {
        let begun: Vec<_> = roots
            .iter()
            .map(|root| std::thread::Builder::new().spawn_scoped(scope, move || work(root)).map_err(|_| root))
            .collect();
        begun
            .into_iter()
            .map(|begun| match begun {
                Ok(thread) => thread.join().unwrap_or(Err(Errno::IO)),
                Err(root) => work(root),
            })
            .collect()
    })
}

/// Undoes what a crash left of a freeze: thaws the filesystem mounted on `root`, and lets its writers
/// go; says whether it was frozen.
pub fn thaw(root: &Path) -> Result<bool> {
    let directory = open_root(root)?;
    writeback::release(DeviceNumber::of_path(root)?);
    match request_thaw(&directory) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL) => Ok(false),
        Err(errno) => Err(SysError::on("thaw the filesystem on", root, errno)),
    }
}

impl Frozen {
    /// Thaws, and says how long it took from the first that was frozen to the last that is thawed.
    ///
    /// # Errors
    /// [`SysError::Invalid`] where somebody thawed one of them before: what was copied meanwhile is of
    /// no one moment. [`SysError::StillFrozen`] where the kernel refused, and only the watchdog may have
    /// succeeded: [`thaw`] tells.
    pub fn thaw(mut self) -> Result<Duration> {
        let thawed = on_each(&self.roots, |root| request_thaw(&root.directory));
        let frozen_for = self.since.elapsed();
        let failed = failure(&thawed);
        let by_watchdog = self.watchdog.take().is_some_and(|watchdog| watchdog.end(failed.is_none()));
        if let Some((root, errno)) = failed.and_then(|(at, errno)| Some((self.roots.get(at)?, errno))) {
            return Err(SysError::StillFrozen { path: root.path.clone(), errno });
        }
        let spoilt = self.roots.iter().zip(thawed).find(|(_, thawed)| by_watchdog || thawed.is_err());
        match spoilt {
            None => Ok(frozen_for),
            Some((root, _)) => Err(SysError::Invalid {
                what: "the frozen filesystem",
                detail: format!(
                    "{} was thawed before the copy was complete{}",
                    root.path.display(),
                    if by_watchdog { ", as it took too long" } else { "" }
                ),
            }),
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some(watchdog) = self.watchdog.take() {
            let thawed = on_each(&self.roots, |root| request_thaw(&root.directory));
            watchdog.end(failure(&thawed).is_none());
        }
    }
}

/// The first that could not be thawed, and why. That it was not frozen is no failure.
fn failure(thawed: &[rustix::io::Result<()>]) -> Option<(usize, Errno)> {
    let failed = |done: &rustix::io::Result<()>| done.err().filter(|errno| *errno != Errno::INVAL);
    thawed.iter().enumerate().find_map(|(at, done)| Some((at, failed(done)?)))
}

impl Watchdog {
    /// Only a forked child outlives a killed process, and it needs no program to be found.
    fn start(roots: &[Root], expedited: Option<&Expedited>, bound: Duration) -> Result<Self> {
        let failed = |errno| SysError::call("start the watchdog of a freeze", errno);
        let (held, lifeline) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        let mut refused = vec![false; roots.len()];
        let mut kept: Vec<_> = roots.iter().map(|root| root.directory.as_fd()).collect();
        kept.push(held.as_fd());
        kept.extend(expedited.map(Expedited::as_fd));
        match syscall::fork_keeping(&mut kept).map_err(failed)? {
            Forked::Parent(child) => Ok(Self { child, lifeline: File::from(lifeline) }),
            // Nothing here allocates or takes a lock: other threads of the parent may have held any.
            Forked::Child => syscall::exit(watch(&held, roots, &mut refused, expedited, bound)),
        }
    }

    fn tell(&self, word: u32) {
        // Where it has ended already, nobody reads.
        let _ = (&self.lifeline).write_all(&word.to_ne_bytes());
    }

    /// Says whether all is well, and waits for its end: where it is not, it thaws once more, as it does when
    /// we die. True where it had thawed by itself.
    fn end(self, well: bool) -> bool {
        if well {
            self.tell(WELL);
        }
        drop(self.lifeline);
        loop {
            match waitpid(Some(self.child), WaitOptions::empty()) {
                Err(Errno::INTR) => {}
                Ok(Some((_, status))) => return status.exit_status() != Some(TOLD),
                Ok(None) | Err(_) => return true,
            }
        }
    }
}

/// `refused` has a place for each root: what could not be frozen is not thawed.
fn watch(
    held: &OwnedFd,
    roots: &[Root],
    refused: &mut [bool],
    expedited: Option<&Expedited>,
    bound: Duration,
) -> i32 {
    let (begin, mut late, mut thawed) = (Instant::now(), false, 0);
    loop {
        let left = bound.saturating_sub(begin.elapsed());
        let until = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut polled = [PollFd::new(held, PollFlags::IN)];
        let mut word = [0_u8; size_of::<u32>()];
        let passed = matches!(poll(&mut polled, Some(if late { &FREEZING } else { &until })), Ok(0));
        // So little is written and read as a whole.
        if !passed && matches!(rustix::io::read(held, &mut word), Ok(1..)) {
            match u32::from_ne_bytes(word) {
                WELL => return if thawed == 0 { TOLD } else { THAWED },
                number => {
                    for (root, refused) in roots.iter().zip(&mut *refused) {
                        *refused |= root.number == number;
                    }
                }
            }
            continue;
        }
        // Where the bound has passed and there is nothing to thaw, the freeze still waits for writers or
        // for the disk. Whoever waits for it holds the pipe, so without that it is complete or was never
        // made.
        let mut ours = 0;
        for (root, _) in roots.iter().zip(&*refused).filter(|(_, refused)| !**refused) {
            ours += 1;
            if request_thaw(&root.directory).is_ok() {
                thawed += 1;
            }
        }
        if thawed >= ours || !passed {
            if let Some(expedited) = expedited {
                expedited.end();
            }
            return THAWED;
        }
        late = true;
    }
}

fn open_root(root: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(root, flags, Mode::empty()).map_err(|errno| SysError::on("open the directory", root, errno))
}

fn request_freeze(directory: impl AsFd) -> rustix::io::Result<()> {
    // SAFETY: FIFREEZE ignores its argument, declared as an int.
    unsafe { ioctl(directory, Setter::<FIFREEZE, i32>::new(0)) }
}

fn request_thaw(directory: impl AsFd) -> rustix::io::Result<()> {
    // SAFETY: FITHAW ignores its argument, declared as an int.
    unsafe { ioctl(directory, Setter::<FITHAW, i32>::new(0)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::filesystem::FsKind;
    use crate::testing::{KilledAtEnd, MIB, PATIENCE, Scratch, Volume, may_mount, wait_until};
    use std::sync::atomic::{AtomicU64, Ordering};

    fn mounted(scratch: &Scratch, kind: FsKind) -> PathBuf {
        let target = scratch.directory("mount");
        Volume::new(scratch, "image", kind, 320 * MIB).mount(&target);
        target
    }

    #[test]
    fn writers_wait_until_it_is_thawed() {
        if !may_mount() {
            return;
        }
        for kind in [FsKind::Ext4, FsKind::Xfs] {
            let scratch = Scratch::new();
            let root = mounted(&scratch, kind);
            let frozen = freeze(&root, PATIENCE).unwrap();
            assert!(matches!(freeze(&root, PATIENCE), Err(SysError::Busy { .. })));
            let written = AtomicU64::new(0);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::fs::write(root.join("file"), b"x").unwrap();
                    written.store(1, Ordering::SeqCst);
                });
                std::thread::sleep(Duration::from_millis(100));
                assert_eq!(written.load(Ordering::SeqCst), 0, "{kind}: it was written while frozen");
                assert!(frozen.thaw().unwrap() >= Duration::from_millis(100));
            });
            assert_eq!(written.load(Ordering::SeqCst), 1);
            assert!(!thaw(&root).unwrap());
            // The watchdog is gone too: nothing keeps the mount busy.
            crate::mount::unmount(&root).unwrap();
        }
    }

    #[test]
    fn after_its_bound_the_watchdog_thaws_and_the_copy_counts_for_nothing() {
        if !may_mount() {
            return;
        }
        let scratch = Scratch::new();
        let root = mounted(&scratch, FsKind::Ext4);
        let frozen = freeze(&root, Duration::from_millis(100)).unwrap();
        std::fs::write(root.join("file"), b"x").unwrap();
        let error = frozen.thaw().unwrap_err();
        assert!(error.to_string().contains("took too long"), "{error}");
        drop(freeze(&root, PATIENCE).unwrap());
        std::fs::write(root.join("file"), b"y").unwrap();
        crate::mount::unmount(&root).unwrap();
    }

    /// A freeze first waits for writers and for the disk, and can take longer than its bound.
    #[test]
    fn a_bound_that_passes_before_the_freeze_is_complete_still_ends_it() {
        if !may_mount() {
            return;
        }
        let scratch = Scratch::new();
        let root = mounted(&scratch, FsKind::Ext4);
        let frozen = freeze(&root, Duration::ZERO).unwrap();
        // A thread of its own: where nobody thaws, it hangs until `frozen` is dropped.
        let file = root.join("file");
        let writer = std::thread::spawn(move || std::fs::write(file, b"x").unwrap());
        wait_until("it is thawed", || writer.is_finished());
        let error = frozen.thaw().unwrap_err();
        assert!(error.to_string().contains("took too long"), "{error}");
    }

    /// Two mounts, in one directory.
    fn two(scratch: &Scratch) -> [PathBuf; 2] {
        ["a", "b"].map(|name| {
            let target = scratch.directory(name);
            Volume::new(scratch, &format!("image-{name}"), FsKind::Ext4, 16 * MIB).mount(&target);
            target
        })
    }

    #[test]
    fn several_are_frozen_and_thawed_together() {
        if !may_mount() {
            return;
        }
        let scratch = Scratch::new();
        let roots = two(&scratch);
        let [a, b] = &roots;
        let frozen = freeze_all(&[a, b], PATIENCE).unwrap();
        for root in [a, b] {
            assert!(matches!(freeze(root, PATIENCE), Err(SysError::Busy { .. })), "{}", root.display());
        }
        frozen.thaw().unwrap();
        for root in [a, b] {
            assert!(!thaw(root).unwrap(), "{}", root.display());
            std::fs::write(root.join("file"), b"x").unwrap();
        }
        // One that somebody thaws meanwhile spoils them all, and the others are thawed nonetheless.
        let frozen = freeze_all(&[a, b], PATIENCE).unwrap();
        assert!(thaw(a).unwrap());
        assert!(frozen.thaw().is_err());
        assert!(!thaw(b).unwrap());
        // After the bound all are.
        let frozen = freeze_all(&[a, b], Duration::from_millis(100)).unwrap();
        for root in [a, b] {
            std::fs::write(root.join("file"), b"y").unwrap();
        }
        assert!(frozen.thaw().unwrap_err().to_string().contains("took too long"));
        for root in [a, b] {
            crate::mount::unmount(root).unwrap();
        }
    }

    #[test]
    fn where_one_was_frozen_by_another_program_the_others_are_not_left_frozen() {
        if !may_mount() {
            return;
        }
        let scratch = Scratch::new();
        let [a, b] = two(&scratch);
        let theirs = freeze(&b, PATIENCE).unwrap();
        let error = freeze_all(&[&a, &b], PATIENCE).unwrap_err();
        assert!(matches!(&error, SysError::Busy { path, .. } if *path == b), "{error}");
        assert!(!thaw(&a).unwrap());
        theirs.thaw().unwrap();
    }

    /// It waits longer than its bound for one, while another is frozen by another program.
    #[test]
    fn the_watchdog_does_not_thaw_what_another_program_froze() {
        if !may_mount() {
            return;
        }
        let scratch = Scratch::new();
        let paths = two(&scratch);
        let roots: Vec<_> = (0..)
            .zip(&paths)
            .map(|(number, path)| Root { path: path.clone(), directory: open_root(path).unwrap(), number })
            .collect();
        let [ours, theirs] = &roots[..] else { unreachable!() };
        request_freeze(&theirs.directory).unwrap();
        let watchdog = Watchdog::start(&roots, None, Duration::from_millis(300)).unwrap();
        watchdog.tell(theirs.number);
        request_freeze(&ours.directory).unwrap();
        std::fs::write(ours.path.join("file"), b"x").unwrap();
        assert!(watchdog.end(true));
        assert!(!thaw(&ours.path).unwrap());
        assert!(thaw(&theirs.path).unwrap(), "theirs is frozen still");
    }

    #[test]
    fn what_can_not_be_thawed_is_left_to_the_watchdog() {
        use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
        if !may_mount() {
            return;
        }
        let scratch = Scratch::new();
        let root = mounted(&scratch, FsKind::Ext4);
        for told in [true, false] {
            let frozen = freeze(&root, PATIENCE).unwrap();
            let thread = std::thread::spawn(move || {
                let have = capabilities(None).unwrap();
                let less = have.effective - CapabilitySet::SYS_ADMIN;
                set_capabilities(None, CapabilitySets { effective: less, ..have }).unwrap();
                if told {
                    let error = frozen.thaw().unwrap_err();
                    assert!(matches!(error, SysError::StillFrozen { errno: Errno::PERM, .. }), "{error}");
                } else {
                    drop(frozen);
                }
            });
            thread.join().unwrap();
            assert!(!thaw(&root).unwrap(), "it is frozen still");
        }
    }

    #[test]
    fn the_death_of_the_process_thaws() {
        const NAME: &str = "freeze::tests::the_death_of_the_process_thaws";
        if let Some(root) = std::env::var_os("ORLOP_TEST_FROZEN") {
            let root = PathBuf::from(root);
            let _frozen = freeze_all(&[&root.join("a"), &root.join("b")], PATIENCE).unwrap();
            println!("frozen");
            std::thread::sleep(PATIENCE);
            return;
        }
        if !may_mount() {
            return;
        }
        let scratch = Scratch::new();
        let roots = two(&scratch);
        let mut child = KilledAtEnd(
            crate::testing::child_test(&[], NAME)
                .env("ORLOP_TEST_FROZEN", roots[0].parent().unwrap())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap(),
        );
        use std::io::BufRead;
        let mut lines = std::io::BufReader::new(child.0.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("frozen")));
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        for root in roots {
            // It would wait for ever.
            std::fs::write(root.join("file"), b"x").unwrap();
            wait_until("nothing keeps it busy", || crate::mount::unmount(&root).is_ok());
        }
    }
}
