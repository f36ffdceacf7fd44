//! Fault points: where the fault suite kills the process or makes a step fail.
//!
//! Each step of each operation passes [`point`] with a name of its own. Without the cargo feature
//! `faults` that is nothing at all. With it, the environment variable `ORLOP_FAULT` (for a process
//! that is to die) or [`inject`] (for the current thread of a test) say what happens where:
//! `create.formatted=abort`, `=eio`, `=enospc`, `=sleep:MILLISECONDS`, each with `@N` for the N-th
//! passage only. [`meanwhile`] does something else there, in the same thread.

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $word:literal,)*) => {
        /// A place between two steps. The compiler holds that no operation names one that the
        /// suite, which goes through [`Point::ALL`], does not know.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// All of them, in the order in which operations pass them.
            pub const ALL: &[Self] = &[$(Self::$point),*];

            /// Its word, as `ORLOP_FAULT` spells it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$point => $word,)*
                }
            }
        }
    };
}

points! {
    /// The volume is recorded as pending, with its reservation and the intent.
    CreateRecorded = "create.recorded",
    /// Its directory is there.
    CreateDirectory = "create.directory",
    /// Its image is there, formatted or from a blank.
    CreateFormatted = "create.formatted",
    /// Its space is taken, where that was asked for.
    CreateAllocated = "create.allocated",
    /// The volume that it is made from is frozen.
    CreateFrozen = "create.frozen",
    /// Its image is a copy of another one, with the same UUID.
    CreateCopied = "create.copied",
    /// Its image is larger than the one that it is a copy of, and so is the filesystem in it.
    CreateEnlarged = "create.enlarged",
    /// The image is flushed.
    CreateFlushed = "create.flushed",
    /// `volume.json` is durable; only the record is still pending.
    CreateDescribed = "create.described",
    /// The volume is recorded as active; only the answer is missing.
    CreateDone = "create.done",
    /// A directory tree is copied into the new volume, and not verified.
    AdoptCopied = "adopt.copied",
    /// The copy is verified, and the volume unmounted again; it is not described.
    AdoptVerified = "adopt.verified",
    /// The change is recorded; `volume.json` and the mounted directory still have the old.
    ChangeRecorded = "change.recorded",
    /// `volume.json` has the new.
    ChangeDescribed = "change.described",
    /// The `snapshot.json` of one of its snapshots has the volume's new name.
    ChangeOfSnapshots = "change.of-snapshots",
    /// The intent to mount is recorded.
    AttachRecorded = "attach.recorded",
    /// The image has a loop device.
    AttachLoop = "attach.loop",
    /// The loop device of a block device stays, and has a node; nobody has it yet.
    AttachKept = "attach.kept",
    /// The filesystem is mounted, unmarked where it is the first time.
    AttachMounted = "attach.mounted",
    /// Ownership is applied; the marker is not yet written.
    AttachOwned = "attach.owned",
    /// The marker is written.
    AttachMarked = "attach.marked",
    /// The path of the consumer's front, or its target on the host, is mounted.
    AttachBound = "attach.bound",
    /// The attachment is recorded; only the answer is missing.
    AttachDone = "attach.done",
    /// The directory that an orchestrator wants a volume on is there.
    PublishMade = "publish.made",
    /// The volume's directory is its group's to write; it is not yet mounted for who comes with one.
    PublishShared = "publish.shared",
    /// The intent to detach is recorded.
    DetachRecorded = "detach.recorded",
    /// The consumer's target on the host is unmounted.
    DetachUnbound = "detach.unbound",
    /// The path of a front is unmounted; its directory is still there.
    UnpublishUnmounted = "unpublish.unmounted",
    /// The loop device of a block device goes as soon as nobody has it.
    DetachLetGo = "detach.let-go",
    /// The filesystem is unmounted.
    DetachUnmounted = "detach.unmounted",
    /// The attachment is gone from the record; only the answer is missing.
    DetachDone = "detach.done",
    /// The directory that an orchestrator wanted a volume on is gone; only the answer is missing.
    UnpublishRemoved = "unpublish.removed",
    /// The paths by which ids that went stale could be used are gone; the ids are still recorded.
    DropClosed = "drop.closed",
    /// The volume is recorded as deleting, with the intent.
    DeleteRecorded = "delete.recorded",
    /// No namespace mounts it any more.
    DeleteDetached = "delete.detached",
    /// `volume.json` says released, or is gone.
    DeleteDescribed = "delete.described",
    /// The image is gone; the directory is not.
    DeleteUnlinked = "delete.unlinked",
    /// The directory is gone; the record is not.
    DeleteRemoved = "delete.removed",
    /// The record is gone or released; only the answer is missing.
    DeleteDone = "delete.done",
    /// The new size is recorded and reserved; the image has the old one.
    GrowRecorded = "grow.recorded",
    /// The image is longer; the filesystem in it is not.
    GrowExtended = "grow.extended",
    /// The filesystem is larger.
    GrowGrown = "grow.grown",
    /// `volume.json` has the new size.
    GrowDescribed = "grow.described",
    /// The operation is out of the journal; only the answer is missing.
    GrowDone = "grow.done",
    /// The intent to replace the image is recorded, with what that reserves.
    ReplaceRecorded = "replace.recorded",
    /// The new image is there, checked and flushed, beside the old.
    ReplaceMade = "replace.made",
    /// The new image has taken the place of the old; the record has the old size.
    ReplaceSwapped = "replace.swapped",
    /// `volume.json` has the new size.
    ReplaceDescribed = "replace.described",
    /// The new size is recorded; only the answer is missing.
    ReplaceDone = "replace.done",
    /// The intent to move is recorded, with the reservation in the other pool.
    MigrateRecorded = "migrate.recorded",
    /// The data is in the other pool.
    MigrateCopied = "migrate.copied",
    /// It was read back and is the same.
    MigrateVerified = "migrate.verified",
    /// `volume.json` is in the other pool.
    MigrateDescribed = "migrate.described",
    /// The record says that the volume is there; what is in the old pool remains.
    MigrateSwapped = "migrate.swapped",
    /// What was in the old pool is gone.
    MigrateRemoved = "migrate.removed",
    /// The operation is out of the journal; only the answer is missing.
    MigrateDone = "migrate.done",
    /// The intent to undelete is recorded.
    UndeleteRecorded = "undelete.recorded",
    /// `volume.json` says active; the record says released.
    UndeleteDescribed = "undelete.described",
    /// The volume is recorded as active again; only the answer is missing.
    UndeleteDone = "undelete.done",
    /// The intent to wipe is recorded.
    WipeRecorded = "wipe.recorded",
    /// The new image is flushed beside the old.
    WipeFormatted = "wipe.formatted",
    /// The new image has taken the place of the old.
    WipeReplaced = "wipe.replaced",
    /// `volume.json` has the new filesystem; the record has the old.
    WipeDescribed = "wipe.described",
    /// The volume is recorded as empty.
    WipeDone = "wipe.done",
    /// The snapshot is recorded as pending, with its reservation and the intent.
    SnapshotRecorded = "snapshot.recorded",
    /// Its image is there, and empty.
    SnapshotBegun = "snapshot.begun",
    /// The volume is frozen: writers wait.
    SnapshotFrozen = "snapshot.frozen",
    /// The image has its content; a volume in use is still frozen.
    SnapshotCopied = "snapshot.copied",
    /// The volume is no longer frozen.
    SnapshotThawed = "snapshot.thawed",
    /// The image is flushed.
    SnapshotFlushed = "snapshot.flushed",
    /// `snapshot.json` is durable; only the record is still pending.
    SnapshotDescribed = "snapshot.described",
    /// The snapshot is recorded as active; only the answer is missing.
    SnapshotDone = "snapshot.done",
    /// A change of the snapshot is recorded; `snapshot.json` is as it was.
    SnapshotConfigured = "snapshot.configured",
    /// The snapshot is recorded as deleting, with the intent.
    SnapshotDeleteRecorded = "snapshot-delete.recorded",
    /// `snapshot.json` is gone.
    SnapshotDeleteDescribed = "snapshot-delete.described",
    /// The image is gone; the directory is not.
    SnapshotDeleteUnlinked = "snapshot-delete.unlinked",
    /// The directory is gone; the record is not.
    SnapshotDeleteRemoved = "snapshot-delete.removed",
    /// The record is gone; only the answer is missing.
    SnapshotDeleteDone = "snapshot-delete.done",
    /// The snapshots of a group are recorded as pending, with their reservations and one intent.
    SnapshotGroupRecorded = "snapshot-group.recorded",
    /// Their images are there, and empty.
    SnapshotGroupBegun = "snapshot-group.begun",
    /// All volumes in use are frozen: writers wait.
    SnapshotGroupFrozen = "snapshot-group.frozen",
    /// One image has its content; the volumes are still frozen.
    SnapshotGroupSharing = "snapshot-group.sharing",
    /// All images have their content; the volumes are still frozen.
    SnapshotGroupShared = "snapshot-group.shared",
    /// No volume is frozen any more.
    SnapshotGroupThawed = "snapshot-group.thawed",
    /// The images are flushed.
    SnapshotGroupFlushed = "snapshot-group.flushed",
    /// One `snapshot.json` is durable; the others are not there.
    SnapshotGroupDescribing = "snapshot-group.describing",
    /// Each `snapshot.json` is durable; only the records are still pending.
    SnapshotGroupDescribed = "snapshot-group.described",
    /// The snapshots are recorded as active; only the answer is missing.
    SnapshotGroupDone = "snapshot-group.done",
    /// The snapshots of a group are recorded as deleting, with one intent.
    SnapshotGroupDeleteRecorded = "snapshot-group-delete.recorded",
    /// The files of one are gone; those of the others are not.
    SnapshotGroupDeleteRemoving = "snapshot-group-delete.removing",
    /// All files are gone; the records are not.
    SnapshotGroupDeleteRemoved = "snapshot-group-delete.removed",
    /// The records are gone; only the answer is missing.
    SnapshotGroupDeleteDone = "snapshot-group-delete.done",
    /// The restore is recorded, with the snapshot that will keep what is in the volume.
    RestoreRecorded = "restore.recorded",
    /// The copy of the snapshot is beside the volume's image.
    RestoreCopied = "restore.copied",
    /// That copy is as large as the volume is to be, where the snapshot is smaller, and flushed.
    RestoreGrown = "restore.grown",
    /// The volume's image has a second name, as the one that is kept.
    RestoreKept = "restore.kept",
    /// `snapshot.json` of the one that is kept is durable.
    RestoreDescribed = "restore.described",
    /// The copy is the volume's image.
    RestoreSwapped = "restore.swapped",
    /// The volume is recorded as put back; only the answer is missing.
    RestoreDone = "restore.done",
    /// The intent to repair is recorded.
    RepairRecorded = "repair.recorded",
    /// The repaired copy is whole, beside the image.
    RepairMade = "repair.made",
    /// It is in the image's place.
    RepairSwapped = "repair.swapped",
    /// The repair is recorded; only the answer is missing.
    RepairDone = "repair.done",
    /// A blank is being formatted under its temporary name.
    BlankFormatted = "blank.formatted",
    /// The pool's own filesystem is made; it is not mounted.
    PoolFormatted = "pool.formatted",
    /// The pool's own filesystem is mounted, and empty.
    PoolMounted = "pool.mounted",
    /// The pool's directory is marked; it is not recorded.
    PoolMarked = "pool.marked",
    /// The pool is no longer recorded; what it was on is untouched.
    PoolForgotten = "pool.forgotten",
    /// What the pool was on is given back; only the intent is left.
    PoolErased = "pool.erased",
    /// The pool is marked as exported, and still recorded.
    PoolExportMarked = "pool.export-marked",
    /// The pool is no longer recorded, and still mounted.
    PoolExported = "pool.exported",
    /// The intent to let a pool grow is recorded.
    PoolGrowRecorded = "pool.grow-recorded",
    /// Its image is longer; its loop device is not.
    PoolGrowImage = "pool.grow-image",
    /// Its loop device is longer; its filesystem is not.
    PoolGrowDevice = "pool.grow-device",
    /// Its filesystem is larger; the record is not.
    PoolGrowFilesystem = "pool.grow-filesystem",
    /// The pool is mounted, and nothing of it is recorded.
    PoolImportMounted = "pool.import-mounted",
    /// The pool and its volumes are recorded; their descriptions are as they came.
    PoolImportRecorded = "pool.import-recorded",
    /// The descriptions agree with the records, and the mark of an export is gone.
    PoolImportDescribed = "pool.import-described",
    /// A difference between a pool and its records is mended; others may remain.
    PoolCheckMended = "pool-check.mended",
}

/// Passes a point. Fails where the suite says so, and never otherwise.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn point(_: Point) -> orlop_model::Result<()> {
    Ok(())
}

#[cfg(feature = "faults")]
pub(crate) use injected::point;
#[cfg(feature = "faults")]
pub use injected::{Injection, inject, meanwhile, passed};

#[cfg(feature = "faults")]
mod injected {
    use std::{cell::RefCell, collections::HashMap, sync::Mutex, sync::OnceLock, time::Duration};

    use orlop_model::{Error, ErrorKind, Result};

    use super::Point;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Effect {
        Abort,
        Eio,
        Enospc,
        Sleep(Duration),
    }

    #[derive(Debug, Clone)]
    struct Fault {
        point: Point,
        effect: Effect,
        /// Only this passage, counted from 1.
        nth: Option<u64>,
        passed: u64,
    }

    type Deed = (Point, Box<dyn FnOnce()>);

    thread_local! {
        static DEEDS: RefCell<Vec<Deed>> = const { RefCell::new(Vec::new()) };
        static HERE: RefCell<Vec<Fault>> = const { RefCell::new(Vec::new()) };
        static PASSED: RefCell<HashMap<Point, u64>> = RefCell::new(HashMap::new());
    }

    /// Faults of the current thread, until dropped.
    #[derive(Debug)]
    pub struct Injection(());

    impl Drop for Injection {
        fn drop(&mut self) {
            HERE.with_borrow_mut(Vec::clear);
        }
    }

    /// Injects a fault into what the current thread does.
    ///
    /// # Panics
    /// Where the fault names no point or no effect: a suite that injects nothing proves nothing.
    pub fn inject(fault: &str) -> Injection {
        match parse(fault) {
            Some(fault) => HERE.with_borrow_mut(|here| here.push(fault)),
            None => panic!("{fault:?} is no fault"),
        }
        Injection(())
    }

    /// Does something when the current thread next passes a point, in that thread.
    pub fn meanwhile(point: Point, deed: impl FnOnce() + 'static) {
        DEEDS.with_borrow_mut(|deeds| deeds.push((point, Box::new(deed))));
    }

    /// How often the current thread passed a point.
    pub fn passed(point: Point) -> u64 {
        PASSED.with_borrow(|passed| passed.get(&point).copied().unwrap_or(0))
    }

    pub(crate) fn point(point: Point) -> Result<()> {
        PASSED.with_borrow_mut(|passed| *passed.entry(point).or_default() += 1);
        let due: Vec<Deed> =
            DEEDS.with_borrow_mut(|deeds| deeds.extract_if(.., |(at, _)| *at == point).collect());
        due.into_iter().for_each(|(_, deed)| deed());
        HERE.with_borrow_mut(|here| pass(here, point)).end()?;
        static PROCESS: OnceLock<Mutex<Vec<Fault>>> = OnceLock::new();
        let process = PROCESS.get_or_init(|| {
            let faults = std::env::var("ORLOP_FAULT").unwrap_or_default();
            let faults = faults.split(',').filter(|fault| !fault.is_empty());
            Mutex::new(faults.map(|f| parse(f).unwrap_or_else(|| panic!("{f:?} is no fault"))).collect())
        });
        let passage = pass(&mut process.lock().unwrap_or_else(std::sync::PoisonError::into_inner), point);
        // Not under the lock, where all others would sleep too.
        passage.end()
    }

    /// What a passage comes to, after its sleep.
    struct Passage {
        sleep: Duration,
        abort: bool,
        failed: Option<Error>,
    }

    impl Passage {
        fn end(self) -> Result<()> {
            std::thread::sleep(self.sleep);
            if self.abort {
                std::process::abort();
            }
            self.failed.map_or(Ok(()), Err)
        }
    }

    fn pass(faults: &mut [Fault], point: Point) -> Passage {
        let mut passage = Passage { sleep: Duration::ZERO, abort: false, failed: None };
        for fault in faults.iter_mut().filter(|fault| fault.point == point) {
            fault.passed += 1;
            if fault.nth.is_some_and(|nth| nth != fault.passed) {
                continue;
            }
            let failed =
                |kind, what| Some(Error::new(kind, format!("{what} at {} (injected)", point.as_str())));
            match fault.effect {
                Effect::Abort => passage.abort = true,
                Effect::Eio => passage.failed = failed(ErrorKind::Host, "Input/output error"),
                Effect::Enospc => passage.failed = failed(ErrorKind::LowSpace, "No space left on device"),
                Effect::Sleep(time) => passage.sleep += time,
            }
        }
        passage
    }

    fn parse(fault: &str) -> Option<Fault> {
        let (point, effect) = fault.split_once('=')?;
        let (effect, nth) = match effect.split_once('@') {
            Some((effect, nth)) => (effect, Some(nth.parse().ok()?)),
            None => (effect, None),
        };
        let effect = match effect.split_once(':') {
            Some(("sleep", time)) => Effect::Sleep(Duration::from_millis(time.parse().ok()?)),
            Some(_) => return None,
            None if effect == "abort" => Effect::Abort,
            None if effect == "eio" => Effect::Eio,
            None if effect == "enospc" => Effect::Enospc,
            None => return None,
        };
        let point = Point::ALL.iter().copied().find(|known| known.as_str() == point)?;
        Some(Fault { point, effect, nth, passed: 0 })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn faults_are_of_their_thread_and_passage() {
            let _fault = inject("create.done=eio@2");
            assert!(point(Point::CreateDone).is_ok());
            std::thread::spawn(|| assert!(point(Point::CreateDone).is_ok())).join().unwrap();
            assert_eq!(point(Point::CreateDone).unwrap_err().kind, ErrorKind::Host);
            assert!(point(Point::CreateDone).is_ok());
            assert_eq!(passed(Point::CreateDone), 3);
        }

        #[test]
        fn what_is_no_fault_is_not_taken_for_one() {
            for bad in
                ["create.done", "create.done=", "nowhere=eio", "create.done=eio@x", "create.done=sleep:x"]
            {
                assert!(parse(bad).is_none(), "{bad}");
            }
            assert!(parse("create.done=sleep:20@3").is_some());
        }

        #[test]
        fn words_are_unique() {
            let words: std::collections::HashSet<_> = Point::ALL.iter().map(|p| p.as_str()).collect();
            assert_eq!(words.len(), Point::ALL.len());
        }
    }
}
