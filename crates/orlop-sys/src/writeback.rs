//! What the writers of a filesystem leave in memory, unwritten: how it is brought down before a freeze,
//! which writes it while they wait.
//!
//! A sync alone doesn't bring it down. Memory is faster than disks, and who writes all the time has
//! filled it again when the sync ends: the freeze then takes as long as the disk needs for all of it,
//! 0.5 s where a disk of 2 GB/s has a working set of 2 GiB. The kernel can hold the writers of one
//! device to the speed of its disk, by a limit to what may be unwritten. Lowered at once, the limit stops
//! them until the disk has caught up; so it is lowered more slowly than the disk writes, while the
//! filesystem is synced: they go on, slower, and the freeze finds little to write.
//!
//! The limit belongs to the block device, which outlives us and the image on it. [`Held`] takes it away,
//! [`release`] what a crash left behind. Linux has it since 6.2; without, syncs have to do.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use rustix::fs::{fstat, syncfs};
use rustix::io::Errno;

use crate::identity::DeviceNumber;

/// A sync that took no longer than this leaves little enough to write.
const SHORT: Duration = Duration::from_millis(15);
const MOST_SYNCS: u32 = 5;
/// Of this many bytes, on all of this machine's filesystems, a first sync is nothing that writers feel.
const LITTLE: u64 = 64 << 20;
/// The limit goes down to what the disk writes in this time,
const LEFT: Duration = Duration::from_millis(30);
/// but no further than this, in bytes: below, the kernel's own accounts are too coarse.
const LEAST: u64 = 8 << 20;
/// What is written counts as unwritten until all is that the kernel asked for in one piece, hundreds of
/// MiB: the limit waits for that count as long as the disk takes for so much.
const LATE: Duration = Duration::from_millis(300);
/// Between two steps of the limit.
const STEP: Duration = Duration::from_millis(10);
/// On a slow disk the writers would be held for too long: there they wait instead.
const LONGEST: Duration = Duration::from_secs(10);
/// Whether a device keeps to its limit also while there is memory enough.
const STRICT: &str = "strict_limit";
/// All of the memory that is there for unwritten data, as the kernel counts the share of a device.
const ALL: &str = "1000000";
const NONE: &str = "0";
/// The unit in which block devices count what was written, in bytes.
const SECTOR: u64 = 512;

/// The limit of a device is down. Dropping this takes it away.
#[derive(Debug)]
pub(crate) struct Held {
    limit: Limit,
    before: Shares,
}

/// Of all memory for unwritten data, in the kernel's parts, what a device has at least and at most.
#[derive(Debug)]
struct Shares {
    least: String,
    most: String,
}

/// The switches of one device.
#[derive(Debug)]
struct Limit {
    strict: File,
    least_bytes: File,
    most_bytes: File,
    least: File,
    most: File,
}

/// How a limit goes down: by two thirds of what the disk has written meanwhile. The rest is the writers'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Descent {
    limit: u64,
    /// Where the limit would be by that alone; it goes on below nothing.
    planned: i64,
    /// What the disk has written since it began.
    written: u64,
}

/// How a sync went.
struct Synced {
    took: Duration,
    wrote: u64,
}

/// Syncs the filesystem of this directory until little is left to write, holding its writers where
/// that takes it. For as long as the answer lives, little stays little.
pub(crate) fn bring_down(directory: &OwnedFd) -> rustix::io::Result<Option<Held>> {
    let device = DeviceNumber::from_raw(fstat(directory)?.st_dev);
    for round in 1..=MOST_SYNCS {
        // Much is not synced while the writers are as fast as memory. The kernel locks what it is about to
        // write, and where the queue of the disk is full it waits for that with the lock held: a writer
        // that writes the same anew waits with it, 0.2 s at times.
        if (round > 1 || unwritten() > LITTLE)
            && let Some(held) = Held::begin(device)
        {
            held.lower(directory, device, Descent::of(unwritten(), most_unwritten()))?;
            return Ok(Some(held));
        }
        let begin = Instant::now();
        syncfs(directory)?;
        if begin.elapsed() < SHORT {
            break;
        }
    }
    Ok(None)
}

/// Takes away the limit that a crash left on the device.
pub(crate) fn release(device: DeviceNumber) {
    let strict = fs::read_to_string(switches(device).join(STRICT));
    if strict.is_ok_and(|strict| strict.trim() != "0")
        && let Some(limit) = Limit::open(device)
    {
        limit.end(&Shares { least: NONE.to_owned(), most: ALL.to_owned() });
    }
}

impl Held {
    /// None where the kernel has no such limit, it is not ours to set (in a container, say), or
    /// somebody has set one; and where the device doesn't count what is written to it. It costs time only.
    fn begin(device: DeviceNumber) -> Option<Self> {
        let limit = Limit::open(device)?;
        if limit.is_strict() || written(device).is_none() {
            return None;
        }
        let before = Shares { least: read(&limit.least)?, most: read(&limit.most)? };
        Some(Self { limit, before })
    }

    fn lower(
        &self,
        directory: &OwnedFd,
        device: DeviceNumber,
        mut descent: Descent,
    ) -> rustix::io::Result<()> {
        // Before the limits, and taken back after them: what a crash leaves is found by it.
        if self.limit.strict.write_all_at(b"1", 0).is_err() {
            return syncfs(directory);
        }
        // The kernel refuses more than all that may be unwritten, and counts that anew all the time. Then the
        // device has all of it, until the limit is below.
        let _ = self.limit.set(descent.limit);
        let down = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (tell, synced) = sync_channel(1);
            // Writers that write anew what waits to be written meet no limit: somebody has to write it.
            let syncs = std::thread::Builder::new().spawn_scoped(scope, || {
                let tell = tell;
                while !down.load(Ordering::Relaxed) {
                    let (before, begin) = (written(device), Instant::now());
                    syncfs(directory)?;
                    let took = begin.elapsed();
                    let wrote =
                        written(device).zip(before).map_or(0, |(after, before)| after.saturating_sub(before));
                    // Nobody listens any more where all is done.
                    let _ = tell.try_send(Synced { took, wrote });
                    std::thread::sleep(STEP.saturating_sub(took));
                }
                Ok(())
            });
            let (before, begin) = (written(device), Instant::now());
            while begin.elapsed() < LONGEST {
                match synced.recv_timeout(STEP) {
                    // The writers may have ended, or never begun.
                    Ok(Synced { took, .. }) if took < SHORT => break,
                    Ok(Synced { wrote, .. }) => descent.synced(wrote),
                    Err(RecvTimeoutError::Timeout) => {}
                    // Why it failed is said below.
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                let wrote = written(device).zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
                let is_down = descent.step(wrote, unwritten(), begin.elapsed());
                // Where it fails, the freeze takes longer.
                let _ = self.limit.set(descent.limit);
                if is_down {
                    break;
                }
            }
            down.store(true, Ordering::Relaxed);
            syncs.map_or(Ok(()), |syncs| syncs.join().unwrap_or(Err(Errno::IO)))
        })?;
        syncfs(directory)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.limit.end(&self.before);
    }
}

impl Limit {
    fn open(device: DeviceNumber) -> Option<Self> {
        let directory = switches(device);
        let open = |name| File::options().read(true).write(true).open(directory.join(name)).ok();
        Some(Self {
            strict: open(STRICT)?,
            least_bytes: open("min_bytes")?,
            most_bytes: open("max_bytes")?,
            least: open("min_ratio_fine")?,
            most: open("max_ratio_fine")?,
        })
    }

    fn is_strict(&self) -> bool {
        read(&self.strict).is_some_and(|strict| strict != "0")
    }

    /// At most so much and at least: else the kernel gives the device less, as much as its part is of what all
    /// devices wrote lately, and writers that are above that already are stopped for 0.2 s.
    fn set(&self, bytes: u64) -> std::io::Result<()> {
        let bytes = bytes.to_string();
        // Never above the other. Where other devices were promised it, it is less.
        let _ = self.least_bytes.write_all_at(bytes.as_bytes(), 0);
        self.most_bytes.write_all_at(bytes.as_bytes(), 0)
    }

    fn end(&self, before: &Shares) {
        // Where it fails, writers stay as slow as the disk.
        let _ = self.least.write_all_at(before.least.as_bytes(), 0);
        let _ = self.most.write_all_at(before.most.as_bytes(), 0);
        let _ = self.strict.write_all_at(b"0", 0);
    }
}

impl Descent {
    /// From half as much again as is there: the kernel lets writers run up to three quarters of a limit,
    /// and stops them at it. Never more than may be unwritten at all, of which a step down would be nothing.
    fn of(unwritten: u64, most: u64) -> Self {
        let limit = (unwritten + unwritten / 2).min(most).max(LEAST);
        Self { limit, planned: signed(limit), written: 0 }
    }

    /// A sync wrote so much. Meanwhile the writers left as much again, if they are fast; what else is
    /// unwritten is of other filesystems.
    fn synced(&mut self, wrote: u64) {
        self.planned = self.planned.min(signed(2 * wrote));
    }

    /// The disk wrote so much since it began, in this time, and so much is unwritten. Says whether it is
    /// down.
    fn step(&mut self, written: u64, unwritten: u64, elapsed: Duration) -> bool {
        let more = written.saturating_sub(self.written);
        self.written = written;
        self.planned = self.planned.saturating_sub(signed(more - more / 3));
        // At four fifths of a limit writers are slowed a little. What is of other filesystems counts here
        // too, so it holds the limit up for a bounded time only.
        let behind = signed(unwritten.saturating_add(unwritten / 4));
        let late = self.planned.saturating_add(signed(share(written, LATE, elapsed)));
        let next = u64::try_from(self.planned.max(behind.min(late))).unwrap_or(0);
        let to = share(written, LEFT, elapsed).max(LEAST);
        self.limit = self.limit.min(next).max(to);
        self.limit == to
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// As much of a whole as the time is of its own whole.
fn share(of: u64, time: Duration, whole: Duration) -> u64 {
    let part = u128::from(of) * time.as_micros() / whole.as_micros().max(1);
    u64::try_from(part).unwrap_or(u64::MAX)
}

fn switches(device: DeviceNumber) -> PathBuf {
    PathBuf::from(format!("/sys/class/bdi/{device}"))
}

/// How many bytes were written to the device since it is there.
fn written(device: DeviceNumber) -> Option<u64> {
    let line = fs::read_to_string(format!("/sys/dev/block/{device}/stat")).ok()?;
    line.split_whitespace().nth(6)?.parse::<u64>().ok().map(|sectors| sectors * SECTOR)
}

/// How many bytes wait in memory to be written, or are on their way, whatever filesystem they are of.
fn unwritten() -> u64 {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let lines = memory.lines().filter_map(|line| line.split_once(':'));
    let waiting = lines.filter(|(name, _)| ["Dirty", "Writeback"].contains(name));
    waiting.filter_map(|(_, value)| value.trim().strip_suffix(" kB")?.parse::<u64>().ok()).sum::<u64>() << 10
}

/// How many bytes may wait there before the kernel stops all writers.
fn most_unwritten() -> u64 {
    let counts = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let pages = counts.lines().find_map(|line| line.strip_prefix("nr_dirty_threshold ")?.parse::<u64>().ok());
    pages.map_or(u64::MAX, |pages| pages.saturating_mul(rustix::param::page_size() as u64))
}

fn read(switch: &File) -> Option<String> {
    let mut word = [0; 32];
    let length = switch.read_at(&mut word, 0).ok()?;
    Some(std::str::from_utf8(word.get(..length)?).ok()?.trim().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::filesystem::FsKind;
    use crate::testing::{KilledAtEnd, MIB, PATIENCE, Scratch, Volume, child_test, may_mount, wait_until};
    use std::path::Path;

    #[test]
    fn the_limit_goes_down_more_slowly_than_the_disk_writes() {
        let step = Duration::from_millis(100);
        let mut descent = Descent::of(2000 * MIB, u64::MAX);
        assert_eq!(descent.limit, 3000 * MIB);
        assert!(!descent.step(0, 0, step));
        assert!(!descent.step(300 * MIB, 0, step * 2));
        assert!(!descent.step(900 * MIB, 0, step * 3));
        assert_eq!(descent.limit, 2400 * MIB);
        // The disk wrote 3 GB/s: of that, 90 MiB are left for the freeze.
        assert!(!descent.step(3000 * MIB, 0, step * 10));
        assert!(descent.step(4800 * MIB, 0, step * 16));
        assert_eq!(descent.limit, 90 * MIB);
        // Others' writers have much more.
        let mut descent = Descent::of(90_000 * MIB, u64::MAX);
        descent.synced(400 * MIB);
        assert!(!descent.step(0, 0, step));
        assert_eq!(descent.limit, 800 * MIB);
        descent.synced(600 * MIB);
        assert!(!descent.step(0, 0, step * 2));
        assert_eq!(descent.limit, 800 * MIB);
        assert_eq!(Descent::of(2000 * MIB, 2400 * MIB).limit, 2400 * MIB);
        // Little; and a disk that is slow.
        assert_eq!(Descent::of(0, u64::MAX).limit, LEAST);
        descent.synced(0);
        assert!(descent.step(0, 0, Duration::ZERO));
        assert_eq!(descent.limit, LEAST);
        assert!(descent.step(64 * MIB, 0, step * 600));
    }

    #[test]
    fn the_limit_waits_for_what_still_counts_as_unwritten_but_not_for_ever() {
        let step = Duration::from_millis(100);
        let mut descent = Descent::of(2000 * MIB, u64::MAX);
        // By what the disk wrote it would be 2200 MiB.
        assert!(!descent.step(1200 * MIB, 2000 * MIB, step * 4));
        assert_eq!(descent.limit, 2500 * MIB);
        assert!(!descent.step(1500 * MIB, 1000 * MIB, step * 5));
        assert_eq!(descent.limit, 2000 * MIB);
        // It never goes up.
        assert!(!descent.step(1500 * MIB, 2000 * MIB, step * 6));
        assert_eq!(descent.limit, 2000 * MIB);
        // Others' too: 900 MiB, which this disk of 3 GB/s writes in 0.3 s, are waited for, and no more.
        let others = 90_000 * MIB;
        assert!(!descent.step(3000 * MIB, others, step * 10));
        assert_eq!(descent.limit, 1900 * MIB);
        assert!(!descent.step(4500 * MIB, others, step * 15));
        assert_eq!(descent.limit, 900 * MIB);
        assert!(descent.step(6000 * MIB, others, step * 20));
        assert_eq!(descent.limit, 90 * MIB);
    }

    struct Ends<'a>(&'a AtomicBool);

    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn device(root: &Path) -> DeviceNumber {
        DeviceNumber::of_path(root).unwrap()
    }

    fn state(device: DeviceNumber) -> [String; 3] {
        [STRICT, "min_ratio_fine", "max_ratio_fine"]
            .map(|name| fs::read_to_string(switches(device).join(name)).unwrap().trim().to_owned())
    }

    /// A mounted volume, where the kernel has limits; in CI it has.
    fn mounted(scratch: &Scratch) -> Option<PathBuf> {
        let root = scratch.directory("mount");
        Volume::new(scratch, "image", FsKind::Xfs, 320 * MIB).mount(&root);
        if Limit::open(device(&root)).is_none() {
            assert!(std::env::var_os("CI").is_none(), "CI must run this test on Linux 6.2 or later");
            eprintln!("skipped: this kernel has no limits of devices, or they are not ours to set");
            return None;
        }
        Some(root)
    }

    #[test]
    fn writers_go_on_while_they_are_held_and_the_limit_goes_with_its_guard() {
        if !may_mount() {
            return;
        }
        let scratch = Scratch::new();
        let Some(root) = mounted(&scratch) else { return };
        let device = device(&root);
        let before = state(device);
        let end = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Also where an assertion below fails: the scope waits for the writer.
            let ends = Ends(&end);
            scope.spawn(|| {
                let file = File::create(root.join("file")).unwrap();
                let block = vec![7; 1 << 20];
                for number in 0_u64.. {
                    file.write_all_at(&block, number % 64 * MIB).unwrap();
                    if end.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            let directory = OwnedFd::from(File::open(&root).unwrap());
            let held = Held::begin(device).unwrap();
            // More than the kernel takes: it may be so much that is unwritten.
            let beyond = Descent { limit: u64::MAX / 2, planned: i64::MAX, written: 0 };
            assert!(held.limit.set(beyond.limit).is_err());
            held.lower(&directory, device, beyond).unwrap();
            assert_eq!(state(device)[0], "1");
            held.lower(&directory, device, Descent::of(unwritten(), most_unwritten())).unwrap();
            let [strict, least, most] = state(device);
            assert_eq!(strict, "1");
            let [least, most] = [least, most].map(|share| share.parse::<u64>().unwrap());
            assert!(most < 1_000_000, "{most}");
            assert!((1..=most).contains(&least), "{least} of {most}");
            // Whoever comes meanwhile leaves it alone.
            assert!(Held::begin(device).is_none());
            drop(held);
            assert_eq!(state(device), before);
            drop(bring_down(&directory).unwrap());
            drop(ends);
        });
        assert_eq!(state(device), before);
        crate::mount::unmount(&root).unwrap();
    }

    #[test]
    fn what_a_crash_leaves_is_taken_away_with_the_freeze_and_from_a_device_that_is_used_again() {
        const NAME: &str = "writeback::tests::what_a_crash_leaves_is_taken_away_with_the_freeze_and_from_a_device_that_is_used_again";
        if let Some(root) = std::env::var_os("ORLOP_TEST_HELD") {
            let root = PathBuf::from(root);
            let directory = OwnedFd::from(File::open(&root).unwrap());
            let held = Held::begin(device(&root)).unwrap();
            held.lower(&directory, device(&root), Descent::of(unwritten(), most_unwritten())).unwrap();
            fs::write(root.join("held"), b"").unwrap();
            std::thread::sleep(PATIENCE);
            return;
        }
        if !may_mount() {
            return;
        }
        let scratch = Scratch::new();
        let Some(root) = mounted(&scratch) else { return };
        let device = device(&root);
        let crash = || {
            let child = child_test(&[], NAME).env("ORLOP_TEST_HELD", &root).spawn().unwrap();
            let mut child = KilledAtEnd(child);
            wait_until("the child holds the writers", || root.join("held").exists());
            child.0.kill().unwrap();
            child.0.wait().unwrap();
            fs::remove_file(root.join("held")).unwrap();
            assert_eq!(state(device)[0], "1");
        };
        let free = ["0".to_owned(), NONE.to_owned(), ALL.to_owned()];
        crash();
        assert!(!crate::freeze::thaw(&root).unwrap());
        assert_eq!(state(device), free);
        crash();
        crate::mount::unmount(&root).unwrap();
        // Others may take the device first; then there is nothing left to see.
        let again = Volume::small(&scratch, "again").attach();
        if again.device() == device {
            assert_eq!(state(device), free);
        }
        release(device);
    }
}
