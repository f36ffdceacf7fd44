//! Whether a pool can promise more, and whether it can keep what it promised. Pure arithmetic;
//! the figures are gathered in `pool::room`.
//!
//! Two rules, both in bytes:
//! - what is promised stays within the capacity times the overcommit factor;
//! - what is promised and not yet taken, divided by that factor, fits in the host's free space now,
//!   above the low-water reserve. With the factor 1.0 every promise can be kept at once.

use orlop_model::{
    Error, ErrorKind, PoolName, Result, Size,
    resource::{Capacity, PoolState},
};

/// The figures of a pool at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Room {
    /// What the pool was given.
    pub(crate) capacity: u64,
    /// At least 1.0.
    pub(crate) overcommit: f64,
    /// The sum of the sizes of its volumes, released ones included.
    pub(crate) reserved: u64,
    /// The part of `reserved` that is not yet taken from the host's filesystem.
    pub(crate) unallocated: u64,
    /// Free in the host's filesystem.
    pub(crate) host_free: u64,
    /// What stays free in the host's filesystem.
    pub(crate) low_water: u64,
    /// The kind of the host's filesystem.
    pub(crate) host_filesystem: String,
    /// What the pool's image is on, where it has a filesystem of its own in one.
    pub(crate) below: Option<Below>,
}

/// What a pool is asked to promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it is new.
    New(Size),
    /// What a volume of the one size needs for the other.
    Growth { from: Size, to: Size },
    /// What a change of size needs beside the image that is there, until it is done.
    Copy { from: Size, to: Size, room: Size },
}

impl Wanted {
    /// What is to be promised beyond what is promised.
    pub(crate) fn more(self) -> Size {
        match self {
            Self::New(room) | Self::Copy { room, .. } => room,
            Self::Growth { from, to } => Size::from_bytes(to.bytes().saturating_sub(from.bytes())),
        }
    }

    /// What a refusal begins with.
    fn subject(self) -> String {
        match self {
            Self::New(size) => readable(size),
            Self::Growth { from, to } => {
                format!("growing from {from} to {to} takes {} more, which", human(self.more().bytes()))
            }
            Self::Copy { from, to, room } => {
                format!("from {from} to {to} takes {} more meanwhile, which", human(room.bytes()))
            }
        }
    }

    /// The way out that is the same wish, only smaller.
    fn less(self, available: u64) -> String {
        match (self, available) {
            (_, 0) => "there is no room at all".to_owned(),
            (Self::New(_) | Self::Copy { .. }, most) => format!("ask for at most {}", human(most)),
            (Self::Growth { .. }, most) => format!("let it grow by at most {}", human(most)),
        }
    }
}

/// What is below the filesystem of a pool that is in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Below {
    /// The kind of the filesystem that the image is on.
    pub(crate) filesystem: String,
    /// The image takes its space as it is written.
    pub(crate) sparse: bool,
}

impl Room {
    /// How much may be promised in all.
    pub(crate) fn limit(&self) -> u64 {
        scaled(self.capacity, self.overcommit)
    }

    /// What may still be promised now, by both rules.
    pub(crate) fn available(&self) -> u64 {
        let by_capacity = self.limit().saturating_sub(self.reserved);
        let room = self.host_free.saturating_sub(self.low_water);
        by_capacity.min(scaled(room, self.overcommit).saturating_sub(self.unallocated))
    }

    /// Whether the pool can promise that too.
    ///
    /// # Errors
    /// [`ErrorKind::PoolFull`] where the capacity forbids it, [`ErrorKind::LowSpace`] where the
    /// host's filesystem lacks the room now.
    pub(crate) fn admit(&self, pool: &PoolName, wanted: Wanted) -> Result<()> {
        let (more, subject) = (wanted.more().bytes(), wanted.subject());
        if self.reserved.saturating_add(more) > self.limit() {
            let left = self.limit().saturating_sub(self.reserved);
            return Err(Error::new(
                ErrorKind::PoolFull,
                format!(
                    "{subject} does not fit in pool {pool}: of {} it may promise, {} are promised and {} are left",
                    human(self.limit()),
                    human(self.reserved),
                    human(left)
                ),
            )
            .object(format!("pool {pool}"))
            .hint(format!(
                "{}; or delete volumes there (released ones count too: orlop get --released); or make a larger pool, or one with --overcommit: orlop pool create",
                wanted.less(self.available())
            )));
        }
        let unallocated = self.unallocated.saturating_add(more);
        let room = self.host_free.saturating_sub(self.low_water);
        if unallocated > scaled(room, self.overcommit) {
            return Err(Error::new(
                ErrorKind::LowSpace,
                format!(
                    "{subject} can't be promised in pool {pool} now: its disk has {} free, {} are promised to other volumes but not yet used, and {} are kept as a reserve",
                    human(self.host_free),
                    human(self.unallocated),
                    human(self.low_water)
                ),
            )
            .object(format!("pool {pool}"))
            .hint(format!(
                "{}; or free space on the pool's disk; or name a pool on another disk",
                wanted.less(self.available())
            )));
        }
        Ok(())
    }

    /// Whether the promises can be kept by the disk below.
    pub(crate) fn status(&self) -> Capacity {
        match self.weakness() {
            None => Capacity::Hard,
            Some(why) => Capacity::Advisory { why },
        }
    }

    /// The same for one volume: what has all its blocks for itself needs no further room.
    pub(crate) fn status_of(&self, own: bool) -> Capacity {
        match self.filesystem_weakness() {
            Some(why) => Capacity::Advisory { why },
            None if own => Capacity::Hard,
            None => self.status(),
        }
    }

    /// Whether there is room for more, and what to do where there is little.
    pub(crate) fn state(&self) -> (PoolState, Option<String>) {
        let available = self.available();
        if available > self.limit() / 10 {
            return (PoolState::Ready, None);
        }
        let promised = self.limit().saturating_sub(self.reserved);
        let (why, what) = if promised <= available {
            (
                format!(
                    "of {} that it may promise, {} are promised",
                    human(self.limit()),
                    human(self.reserved)
                ),
                "delete what is not needed (released data counts), or let it grow: orlop pool grow",
            )
        } else {
            (
                format!(
                    "its disk has {} free, {} are promised and not yet used, and {} are kept as a reserve",
                    human(self.host_free),
                    human(self.unallocated),
                    human(self.low_water)
                ),
                "free space on the pool's disk, or let it grow: orlop pool grow",
            )
        };
        let state = if available == 0 { PoolState::Full } else { PoolState::Low };
        (state, Some(format!("{why} ({what})")))
    }

    /// Whether the filesystem lets space be reserved that can't be lost again.
    pub(crate) fn is_reservable(&self) -> bool {
        self.filesystem_weakness().is_none()
    }

    fn weakness(&self) -> Option<String> {
        self.filesystem_weakness().or_else(|| {
            (self.unallocated > self.host_free).then(|| {
                let cause = if self.reserved > self.capacity {
                    format!(
                        "the pool promises {} of {} (overcommit {})",
                        human(self.reserved),
                        human(self.capacity),
                        self.overcommit
                    )
                } else {
                    "something else fills the pool's disk".to_owned()
                };
                format!(
                    "the disk has {} free, but {} are promised and not yet used: {cause}",
                    human(self.host_free),
                    human(self.unallocated)
                )
            })
        })
    }

    /// Where the disk can fail a write into space that was already taken.
    fn filesystem_weakness(&self) -> Option<String> {
        weakness_of(&self.host_filesystem).or_else(|| {
            let below = self.below.as_ref()?;
            if below.sparse {
                return Some(
                    "the pool's image is sparse: the disk below can run out before it is full".to_owned(),
                );
            }
            weakness_of(&below.filesystem)
        })
    }
}

/// Why a filesystem may fail a write into space that was taken from it. Of one that is not known here
/// nothing is promised.
fn weakness_of(filesystem: &str) -> Option<String> {
    match filesystem {
        "ext4" | "xfs" => None,
        kind @ ("btrfs" | "bcachefs" | "zfs") => Some(format!(
            "{kind} writes changed blocks to a new place, so a full disk can fail a write into space already taken"
        )),
        kind @ ("tmpfs" | "ramfs") => {
            Some(format!("{kind} takes the space from memory, which others use too"))
        }
        kind => Some(format!("the room of a filesystem of kind {kind} is not known to be ours to reserve")),
    }
}

/// The low-water reserve where none is configured: the smaller of 5 % of the filesystem and 1Gi.
pub(crate) fn usual_low_water(host_total: u64) -> u64 {
    (host_total / 20).min(1 << 30)
}

/// Rounded down; saturates. A factor below 1.0 or not a number counts as 1.0.
fn scaled(bytes: u64, factor: f64) -> u64 {
    if factor.is_nan() || factor <= 1.0 {
        return bytes;
    }
    // A float has 53 bits: scale in thousandths, exactly.
    let thousandths = (factor * 1000.0).round().min(1e15) as u128;
    u64::try_from(u128::from(bytes) * thousandths / 1000).unwrap_or(u64::MAX)
}

/// A size as it was written, unless it has more digits than one reads.
fn readable(size: Size) -> String {
    let exact = size.to_string();
    let digits = exact.chars().filter(char::is_ascii_digit).count();
    if digits > 4 { human(size.bytes()) } else { exact }
}

/// Bytes for a reader, rounded down to a tenth, such as `1.5Gi`; whole quantities are exact.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (1 << 60, "Ei"),
        (1 << 50, "Pi"),
        (1 << 40, "Ti"),
        (1 << 30, "Gi"),
        (1 << 20, "Mi"),
        (1 << 10, "Ki"),
    ];
    for (unit, suffix) in UNITS {
        if bytes >= unit {
            let tenths = u128::from(bytes) * 10 / u128::from(unit);
            return match (tenths / 10, tenths % 10) {
                (whole, 0) => format!("{whole}{suffix}"),
                (whole, tenth) => format!("{whole}.{tenth}{suffix}"),
            };
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    fn room() -> Room {
        Room {
            capacity: 20 * GIB,
            overcommit: 1.0,
            reserved: 4 * GIB,
            unallocated: 3 * GIB,
            host_free: 16 * GIB,
            low_water: GIB,
            host_filesystem: "ext4".into(),
            below: None,
        }
    }

    fn new(bytes: u64) -> Wanted {
        Wanted::New(Size::from_bytes(bytes))
    }

    fn admits(room: &Room, gib: u64) -> Result<(), ErrorKind> {
        room.admit(&PoolName::default_pool(), new(gib * GIB)).map_err(|e| e.kind)
    }

    #[test]
    fn both_rules() {
        let room = room();
        assert_eq!(room.available(), 12 * GIB);
        assert_eq!(admits(&room, 12), Ok(()));
        assert_eq!(admits(&room, 13), Err(ErrorKind::LowSpace));
        assert_eq!(admits(&room, 17), Err(ErrorKind::PoolFull));
        let filled = Room { host_free: 3 * GIB, ..room.clone() };
        assert_eq!(admits(&filled, 1), Err(ErrorKind::LowSpace));
        assert_eq!(filled.available(), 0);
        let large = Room { host_free: 100 * GIB, ..room };
        assert_eq!(admits(&large, 16), Ok(()));
        assert_eq!(admits(&large, 17), Err(ErrorKind::PoolFull));
    }

    #[test]
    fn overcommit_lets_a_large_promise_through() {
        let room = Room { overcommit: 20.0, reserved: 0, unallocated: 0, ..room() };
        assert_eq!(admits(&room, 225), Ok(()));
        assert_eq!(admits(&Room { host_free: 2 * GIB, ..room }, 225), Err(ErrorKind::LowSpace));
    }

    #[test]
    fn refusals_say_what_was_asked_what_is_left_and_three_ways_out() {
        let error = room().admit(&PoolName::default_pool(), new(225 * GIB)).unwrap_err();
        for word in ["225Gi", "20Gi", "4Gi", "16Gi"] {
            assert!(error.message.contains(word), "{error}");
        }
        assert_eq!(error.hint.unwrap_or_default().matches("; or").count(), 2);
        let error = room().admit(&PoolName::default_pool(), new(13 * GIB)).unwrap_err();
        assert_eq!(error.hint.unwrap_or_default().matches("; or").count(), 2);
    }

    #[test]
    fn a_refusal_to_grow_says_from_where_to_where_and_by_how_much() {
        let growth =
            |to: u64| Wanted::Growth { from: Size::from_bytes(24 << 20), to: Size::from_bytes(to * GIB) };
        let refused =
            |room: &Room, to| room.admit(&PoolName::default_pool(), growth(to)).unwrap_err().to_string();
        assert_eq!(
            refused(&room(), 1024),
            "growing from 24Mi to 1Ti takes 1023.9Gi more, which does not fit in pool default: of 20Gi it may promise, 4Gi are promised and 16Gi are left (let it grow by at most 12Gi; or delete volumes there (released ones count too: orlop get --released); or make a larger pool, or one with --overcommit: orlop pool create)"
        );
        assert_eq!(
            refused(&room(), 14),
            "growing from 24Mi to 14Gi takes 13.9Gi more, which can't be promised in pool default now: its disk has 16Gi free, 3Gi are promised to other volumes but not yet used, and 1Gi are kept as a reserve (let it grow by at most 12Gi; or free space on the pool's disk; or name a pool on another disk)"
        );
        let full = refused(&Room { reserved: 20 * GIB, ..room() }, 1);
        assert!(full.contains("(there is no room at all; or delete"), "{full}");
        // A sum of our own is no size that anybody wrote.
        let odd = room().admit(&PoolName::default_pool(), new((1 << 40) - (24 << 20))).unwrap_err();
        assert!(odd.message.starts_with("1023.9Gi does not fit"), "{odd}");
    }

    #[test]
    fn a_promise_that_the_disk_could_fail_is_advisory() {
        assert_eq!(room().status(), Capacity::Hard);
        let filled = Room { host_free: 2 * GIB, ..room() };
        assert!(matches!(filled.status(), Capacity::Advisory { why } if why.contains("something else")));
        assert_eq!(filled.status_of(true), Capacity::Hard, "preallocated needs nothing more");
        let over = Room { overcommit: 9.0, reserved: 90 * GIB, unallocated: 89 * GIB, ..room() };
        assert!(matches!(over.status(), Capacity::Advisory { why } if why.contains("overcommit")));
        let copying = Room { host_filesystem: "btrfs".into(), ..room() };
        assert!(matches!(copying.status_of(true), Capacity::Advisory { .. }));
        // Not by its name either: CIFS and 9p are known by their numbers.
        for unknown in ["ceph", "f2fs", "0xff534d42", "0x1021997", "nfs", "tmpfs"] {
            let host = Room { host_filesystem: unknown.into(), ..room() };
            assert!(matches!(host.status(), Capacity::Advisory { .. }), "{unknown}");
        }
        for (filesystem, sparse, hard) in
            [("ext4", false, true), ("ext4", true, false), ("btrfs", false, false)]
        {
            let below = Some(Below { filesystem: filesystem.into(), sparse });
            let nested = Room { host_filesystem: "xfs".into(), below, ..room() };
            assert_eq!(
                (nested.status() == Capacity::Hard, nested.is_reservable()),
                (hard, hard),
                "{filesystem}"
            );
        }
    }

    #[test]
    fn little_room_is_told_with_what_takes_it() {
        assert_eq!(room().state(), (PoolState::Ready, None));
        let low = Room { reserved: 19 * GIB, unallocated: 0, ..room() };
        assert!(matches!(low.state(), (PoolState::Low, Some(why)) if why.contains("19Gi are promised")));
        let full = Room { host_free: GIB, ..room() };
        assert!(matches!(full.state(), (PoolState::Full, Some(why)) if why.contains("1Gi free")));
    }

    #[test]
    fn sizes_for_readers() {
        for (bytes, text) in [(0, "0"), (1023, "1023"), (1536, "1.5Ki"), (GIB, "1Gi"), (GIB - 1, "1023.9Mi")]
        {
            assert_eq!(human(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_available_is_admitted_and_no_more(
            capacity in 0u64..1 << 50, reserved in 0u64..1 << 50, unallocated in 0u64..1 << 50,
            host_free in 0u64..1 << 50, low_water in 0u64..1 << 40, factor in 1.0f64..100.0,
        ) {
            let room = Room { capacity, overcommit: factor, reserved, unallocated, host_free, low_water, host_filesystem: "xfs".into(), below: None };
            let pool = PoolName::default_pool();
            let most = room.available();
            prop_assert!(most == 0 || room.admit(&pool, new(most)).is_ok());
            prop_assert!(room.admit(&pool, new(most + 1)).is_err());
        }

        #[test]
        fn without_overcommit_an_admitted_promise_is_hard(
            capacity in 0u64..1 << 50, reserved in 0u64..1 << 50, host_free in 0u64..1 << 50, size in 1u64..1 << 50,
        ) {
            let room = Room { capacity, overcommit: 1.0, reserved, unallocated: reserved, host_free, low_water: 0, host_filesystem: "ext4".into(), below: None };
            if room.admit(&PoolName::default_pool(), new(size)).is_ok() {
                let after = Room { reserved: reserved + size, unallocated: reserved + size, ..room };
                prop_assert_eq!(after.status(), Capacity::Hard);
            }
        }
    }
}
