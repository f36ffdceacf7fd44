//! When what is over by the clock may go: clocks leap, in both directions, and nothing is destroyed for that.
//! Pure; nothing is deleted here.
//!
//! A clock that starts years ahead is put right some minutes later: what is over waits for a while that the
//! daemon has counted itself. One that starts years behind makes old in an instant what was made before it
//! was put right: of that the age is counted by the daemon.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// Of the time that a thing was kept, this part is counted once more.
const SHARE: u64 = 24;
/// By then a network has told the time.
const MOST: Duration = Duration::from_secs(600);
/// A clock that goes astray by more has leapt; less is how clocks go.
const STRAY: Duration = Duration::from_secs(60);

/// A thing that is over by the clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Over<Id> {
    pub(crate) id: Id,
    /// When its time began.
    pub(crate) since: Timestamp,
    /// How long it was to be kept.
    pub(crate) kept: Duration,
}

/// What is over, and how the clock went. Nothing of it outlives the daemon.
#[derive(Debug)]
pub(crate) struct Expiry<Id>(Mutex<Seen<Id>>);

#[derive(Debug)]
struct Seen<Id> {
    /// Since when things are over, by a clock that only goes forward.
    over: HashMap<Id, Instant>,
    /// From where the clock went on without a leap, in order.
    spans: Vec<Span>,
}

/// What the clock said at a moment.
#[derive(Debug, Clone, Copy)]
struct Span {
    clock: Timestamp,
    at: Instant,
}

impl<Id> Default for Expiry<Id> {
    fn default() -> Self {
        Self(Mutex::new(Seen { over: HashMap::new(), spans: Vec::new() }))
    }
}

impl<Id: Copy + Eq + Hash> Expiry<Id> {
    /// Of all that is over, what may go; to be asked all the time. What is not among them is counted anew
    /// when it is over again. `clock` is what the clock says now.
    pub(crate) fn ripe(&self, over: &[Over<Id>], clock: Timestamp, now: Instant) -> HashSet<Id> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = &mut *seen;
        let here = Span { clock, at: now };
        if seen.spans.last().is_none_or(|last| last.strays_from(here)) {
            seen.spans.push(here);
        }
        let known: HashSet<Id> = over.iter().map(|thing| thing.id).collect();
        seen.over.retain(|id, _| known.contains(id));
        let is_ripe = |thing: &&Over<Id>| {
            let waited = now.duration_since(*seen.over.entry(thing.id).or_insert(now));
            waited >= patience(thing.kept)
                && counted(&seen.spans, thing.since, now).is_none_or(|age| age >= thing.kept)
        };
        over.iter().filter(is_ripe).map(|thing| thing.id).collect()
    }
}

impl Span {
    fn strays_from(self, later: Self) -> bool {
        let by_clock = later.clock.duration_since(self.clock);
        let counted = later.at.duration_since(self.at).try_into().unwrap_or(jiff::SignedDuration::MAX);
        by_clock.saturating_sub(counted).unsigned_abs() > STRAY
    }
}

/// The age of what began then, as it was counted: the least that it can be. None where it began before
/// all of that.
fn counted(spans: &[Span], since: Timestamp, now: Instant) -> Option<Duration> {
    let ends = spans.iter().skip(1).map(|next| next.at).chain([now]);
    let ages = spans.iter().zip(ends).filter_map(|(span, end)| {
        let into = since.duration_since(span.clock);
        let long = end.duration_since(span.at) + STRAY;
        // Also what began shortly before anybody asked: the daemon was there already.
        let within = match Duration::try_from(into) {
            Ok(into) => into <= long,
            Err(_) => into.unsigned_abs() <= STRAY,
        };
        within
            .then(|| now.duration_since(span.at).saturating_sub(Duration::try_from(into).unwrap_or_default()))
    });
    ages.min()
}

/// In whole seconds: what is kept for less than some of them waits for nothing.
fn patience(kept: Duration) -> Duration {
    Duration::from_secs(kept.as_secs() / SHARE).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Duration = Duration::from_secs(7 * 86_400);
    const HOUR: Duration = Duration::from_secs(3600);

    fn clock(days: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * days)
    }

    /// It began long before the daemon did.
    fn old(id: u32, kept: Duration) -> Over<u32> {
        Over { id, since: clock(1000), kept }
    }

    #[test]
    fn it_goes_when_it_was_over_long_enough() {
        let (expiry, start) = (Expiry::default(), Instant::now());
        let over = [old(1, WEEK), old(2, Duration::from_secs(24)), old(3, Duration::ZERO)];
        let ripe = |after: Duration| expiry.ripe(&over, clock(2000) + after, start + after);
        assert_eq!(ripe(Duration::ZERO), HashSet::from([3]));
        assert_eq!(ripe(Duration::from_secs(1)), HashSet::from([2, 3]));
        assert_eq!(ripe(MOST.saturating_sub(Duration::from_secs(1))), HashSet::from([2, 3]));
        assert_eq!(ripe(MOST), HashSet::from([1, 2, 3]));
    }

    #[test]
    fn a_clock_that_was_put_right_has_it_counted_anew() {
        let (expiry, start) = (Expiry::default(), Instant::now());
        assert!(expiry.ripe(&[old(1, WEEK)], clock(2000), start).is_empty());
        assert!(expiry.ripe(&[], clock(1001), start + MOST).is_empty());
        assert!(expiry.ripe(&[old(1, WEEK)], clock(2000), start + MOST).is_empty());
        assert_eq!(expiry.ripe(&[old(1, WEEK)], clock(2000), start + 2 * MOST), HashSet::from([1]));
    }

    #[test]
    fn what_was_made_while_the_clock_was_behind_is_as_old_as_the_daemon_counted() {
        let (expiry, start) = (Expiry::default(), Instant::now());
        let thing = |id, since| Over { id, since, kept: WEEK };
        // Made in the first hour; and by a clock that was right, before and after.
        let behind = thing(1, clock(10) + HOUR / 2);
        let first = thing(4, clock(10) - STRAY);
        let before = thing(2, clock(1500));
        let after = thing(3, clock(2000) + HOUR);
        assert!(expiry.ripe(&[], clock(10), start).is_empty());
        assert!(expiry.ripe(&[], clock(10) + HOUR, start + HOUR).is_empty());
        // Ten years in a moment.
        let right = |after: Duration| (clock(2000) + after, start + HOUR + after);
        let ripe = |over: &[Over<u32>], after| {
            let (clock, now) = right(after);
            expiry.ripe(over, clock, now)
        };
        assert!(ripe(&[first, behind, before], Duration::ZERO).is_empty());
        assert_eq!(ripe(&[first, behind, before], HOUR), HashSet::from([2]));
        assert_eq!(ripe(&[first, behind], WEEK - 2 * HOUR), HashSet::new());
        assert_eq!(ripe(&[behind, after], WEEK + HOUR / 2), HashSet::from([1]));
        assert_eq!(ripe(&[behind, after], WEEK + 2 * HOUR), HashSet::from([1, 3]));
    }

    #[test]
    fn a_clock_that_goes_as_clocks_do_is_believed() {
        let (expiry, start) = (Expiry::default(), Instant::now());
        let thing = Over { id: 1, since: clock(2000) + HOUR, kept: WEEK };
        for hour in 0..=24 * 7 {
            // Somewhat too fast, and put right by and by.
            let (counted, stray) = (HOUR * hour, Duration::from_secs(u64::from(hour % 30)));
            assert!(expiry.ripe(&[], clock(2000) + counted + stray, start + counted).is_empty());
        }
        let late = WEEK + 2 * HOUR;
        assert!(expiry.ripe(&[thing], clock(2000) + late, start + late).is_empty());
        assert_eq!(expiry.ripe(&[thing], clock(2000) + late + MOST, start + late + MOST), HashSet::from([1]));
    }
}
