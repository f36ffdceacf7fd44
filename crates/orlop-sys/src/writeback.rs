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
use std::time::{Duration, Instant};

use rustix::fs::{fstat, syncfs};
use rustix::io::Errno;

use crate::identity::DeviceNumber;

/// A sync that took no longer than this leaves little enough to write.
const SHORT: Duration = Duration::from_millis(15);
const MOST_SYNCS: u32 = 5;
/// The limit goes down to what the disk writes in this time,
const LEFT: Duration = Duration::from_millis(30);
/// but no further than this, in bytes: below, the kernel's own accounts are too coarse.
const LEAST: u64 = 8 << 20;
/// Between two steps of the limit.
const STEP: Duration = Duration::from_millis(10);
/// On a slow disk the writers would be held for too long: there they wait instead.
const LONGEST: Duration = Duration::from_secs(10);
/// Whether a device keeps to its limit also while there is memory enough.
const STRICT: &str = "strict_limit";
/// All of the memory that is there for unwritten data, as the kernel counts the share of a device.
const ALL: &str = "1000000";
/// The unit in which block devices count what was written, in bytes.
const SECTOR: u64 = 512;

/// The limit of a device is down. Dropping this takes it away.
#[derive(Debug)]
pub(crate) struct Held {
    limit: Limit,
    /// The share of all memory for unwritten data, in the kernel's parts, that it had before.
    share: String,
}

/// The switches of one device.
#[derive(Debug)]
struct Limit {
    strict: File,
    bytes: File,
    share: File,
}

/// How a limit goes down: from so many bytes to so many, in this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Descent {
    from: u64,
    to: u64,
    during: Duration,
}

/// Syncs the filesystem of this directory until little is left to write, holding its writers where
/// that takes it. For as long as the answer lives, little stays little.
pub(crate) fn bring_down(directory: &OwnedFd) -> rustix::io::Result<Option<Held>> {
    let device = DeviceNumber::from_raw(fstat(directory)?.st_dev);
    let mut held = None;
    for round in 1..=MOST_SYNCS {
        let (before, begin) = (written(device), Instant::now());
        syncfs(directory)?;
        let took = begin.elapsed();
        if took < SHORT {
            break;
        }
        // The first may have had much to write that nobody adds to.
        if round > 1
            && let Some(hold) = Held::begin(device)
        {
            let synced =
                before.zip(written(device)).map_or(0, |(before, after)| after.saturating_sub(before));
            hold.lower(directory, Descent::of(synced, took, unwritten()))?;
            held = Some(hold);
            break;
        }
    }
    Ok(held)
}

/// Takes away the limit that a crash left on the device.
pub(crate) fn release(device: DeviceNumber) {
    let strict = fs::read_to_string(switches(device).join(STRICT));
    if strict.is_ok_and(|strict| strict.trim() != "0")
        && let Some(limit) = Limit::open(device)
    {
        limit.end(ALL);
    }
}

impl Held {
    /// None where the kernel has no such limit, it is not ours to set (in a container, say), or
    /// somebody has set one: it costs time only.
    fn begin(device: DeviceNumber) -> Option<Self> {
        let limit = Limit::open(device)?;
        if limit.is_strict() {
            return None;
        }
        let share = read(&limit.share)?;
        Some(Self { limit, share })
    }

    fn lower(&self, directory: &OwnedFd, descent: Descent) -> rustix::io::Result<()> {
        if self.limit.set(descent.from).is_err() || self.limit.strict.write_all_at(b"1", 0).is_err() {
            return syncfs(directory);
        }
        let down = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Writers that write anew what waits to be written meet no limit: somebody has to write it.
            let syncs = std::thread::Builder::new().spawn_scoped(scope, || {
                while !down.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    syncfs(directory)?;
                    // The writers may have ended meanwhile.
                    std::thread::sleep(STEP.saturating_sub(begin.elapsed()));
                }
                Ok(())
            });
            let begin = Instant::now();
            while begin.elapsed() < descent.during {
                // Where it fails, the freeze takes longer.
                let _ = self.limit.set(descent.after(begin.elapsed()));
                std::thread::sleep(STEP);
            }
            let _ = self.limit.set(descent.to);
            down.store(true, Ordering::Relaxed);
            syncs.map_or(Ok(()), |syncs| syncs.join().unwrap_or(Err(Errno::IO)))
        })?;
        syncfs(directory)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.limit.end(&self.share);
    }
}

impl Limit {
    fn open(device: DeviceNumber) -> Option<Self> {
        let directory = switches(device);
        let open = |name| File::options().read(true).write(true).open(directory.join(name)).ok();
        Some(Self { strict: open(STRICT)?, bytes: open("max_bytes")?, share: open("max_ratio_fine")? })
    }

    fn is_strict(&self) -> bool {
        read(&self.strict).is_some_and(|strict| strict != "0")
    }

    fn set(&self, bytes: u64) -> std::io::Result<()> {
        self.bytes.write_all_at(bytes.to_string().as_bytes(), 0)
    }

    fn end(&self, share: &str) {
        // Where it fails, writers stay as slow as the disk.
        let _ = self.strict.write_all_at(b"0", 0);
        let _ = self.share.write_all_at(share.as_bytes(), 0);
    }
}

impl Descent {
    /// At two thirds of the speed at which the disk wrote so many bytes in that time (0 where its device
    /// doesn't count them). `unwritten` is what all of this machine's filesystems have.
    fn of(synced: u64, took: Duration, unwritten: u64) -> Self {
        let synced = if synced == 0 { unwritten } else { synced }.max(1);
        // While it was synced, the writers wrote as much again, if they are fast. Of a limit below what
        // is there they would see a stop.
        let from = unwritten.clamp(synced, 2 * synced);
        let to = share(synced, LEFT, took).max(LEAST);
        let during = (took + took / 2).mul_f64(from as f64 / synced as f64).min(LONGEST);
        Self { from: from.max(to), to, during }
    }

    /// Where it is after that time.
    fn after(self, elapsed: Duration) -> u64 {
        self.from - share(self.from - self.to, elapsed.min(self.during), self.during)
    }
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
        let second = Duration::from_secs(1);
        let descent = Descent::of(2000 * MIB, second, 2500 * MIB);
        let Descent { from, to, during } = descent;
        assert_eq!((from, to, during), (2500 * MIB, 60 * MIB, second * 15 / 8));
        assert_eq!(descent.after(Duration::ZERO), from);
        assert_eq!(descent.after(during / 2), (from + to) / 2);
        assert_eq!(descent.after(during * 2), to);
        // Others' writers have much more; and the device doesn't count.
        assert_eq!(Descent::of(2000 * MIB, second, 90_000 * MIB).from, 4000 * MIB);
        assert_eq!(Descent::of(0, second, 2000 * MIB), Descent::of(2000 * MIB, second, 2000 * MIB));
        // A slow disk; little that took long; nothing.
        assert_eq!(
            Descent::of(64 * MIB, second * 60, 0),
            Descent { from: 64 * MIB, to: LEAST, during: LONGEST }
        );
        assert_eq!(Descent::of(MIB, second, MIB), Descent { from: LEAST, to: LEAST, during: second * 3 / 2 });
        assert_eq!(Descent::of(0, Duration::ZERO, 0).to, LEAST);
    }

    fn device(root: &Path) -> DeviceNumber {
        DeviceNumber::of_path(root).unwrap()
    }

    fn state(device: DeviceNumber) -> (String, String) {
        let read = |name| fs::read_to_string(switches(device).join(name)).unwrap().trim().to_owned();
        (read(STRICT), read("max_ratio_fine"))
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
            held.lower(&directory, Descent::of(256 * MIB, Duration::from_millis(500), 0)).unwrap();
            let (strict, share) = state(device);
            assert_eq!(strict, "1");
            assert!(share.parse::<u64>().unwrap() < 1_000_000, "{share}");
            // Whoever comes meanwhile leaves it alone.
            assert!(Held::begin(device).is_none());
            drop(held);
            assert_eq!(state(device), before);
            drop(bring_down(&directory).unwrap());
            end.store(true, Ordering::Relaxed);
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
            held.lower(&directory, Descent::of(64 * MIB, Duration::from_millis(20), 0)).unwrap();
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
            assert_eq!(state(device).0, "1");
        };
        crash();
        assert!(!crate::freeze::thaw(&root).unwrap());
        assert_eq!(state(device), ("0".to_owned(), ALL.to_owned()));
        crash();
        crate::mount::unmount(&root).unwrap();
        // Others may take the device first; then there is nothing left to see.
        let again = Volume::small(&scratch, "again").attach();
        if again.device() == device {
            assert_eq!(state(device), ("0".to_owned(), ALL.to_owned()));
        }
        release(device);
    }
}
