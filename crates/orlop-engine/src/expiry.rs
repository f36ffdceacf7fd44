//! When what is over by the clock may go: after it was over for a while that the daemon has counted itself.
//! A clock that starts years ahead and is put right some minutes later destroys nothing. Pure; nothing is
//! deleted here.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Of the time that a thing was kept, this part is counted once more.
const SHARE: u64 = 24;
/// By then a network has told the time.
const MOST: Duration = Duration::from_secs(600);

/// Since when things are over, by a clock that only goes forward. Nothing of it outlives the daemon.
#[derive(Debug)]
pub(crate) struct Expiry<Id> {
    since: Mutex<HashMap<Id, Instant>>,
}

impl<Id> Default for Expiry<Id> {
    fn default() -> Self {
        Self { since: Mutex::default() }
    }
}

impl<Id: Copy + Eq + Hash> Expiry<Id> {
    /// Of all that is over, each with how long it was to be kept, what may go. What is not among them is
    /// counted anew when it is over again.
    pub(crate) fn ripe(&self, over: &[(Id, Duration)], now: Instant) -> HashSet<Id> {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let known: HashSet<Id> = over.iter().map(|(id, _)| *id).collect();
        since.retain(|id, _| known.contains(id));
        over.iter()
            .filter(|(id, kept)| now.duration_since(*since.entry(*id).or_insert(now)) >= patience(*kept))
            .map(|(id, _)| *id)
            .collect()
    }
}

/// In whole seconds: what is kept for less than some of them waits for nothing.
fn patience(kept: Duration) -> Duration {
    Duration::from_secs(kept.as_secs() / SHARE).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Duration = Duration::from_secs(7 * 86_400);

    #[test]
    fn it_goes_when_it_was_over_long_enough() {
        let (expiry, start) = (Expiry::default(), Instant::now());
        let over = [(1, WEEK), (2, Duration::from_secs(24)), (3, Duration::ZERO)];
        assert_eq!(expiry.ripe(&over, start), HashSet::from([3]));
        assert_eq!(expiry.ripe(&over, start + Duration::from_secs(1)), HashSet::from([2, 3]));
        assert_eq!(
            expiry.ripe(&over, start + MOST.saturating_sub(Duration::from_secs(1))),
            HashSet::from([2, 3])
        );
        assert_eq!(expiry.ripe(&over, start + MOST), HashSet::from([1, 2, 3]));
    }

    #[test]
    fn a_clock_that_was_put_right_has_it_counted_anew() {
        let (expiry, start) = (Expiry::default(), Instant::now());
        assert!(expiry.ripe(&[(1, WEEK)], start).is_empty());
        assert!(expiry.ripe(&[], start + MOST).is_empty());
        assert!(expiry.ripe(&[(1, WEEK)], start + MOST).is_empty());
        assert_eq!(expiry.ripe(&[(1, WEEK)], start + 2 * MOST), HashSet::from([1]));
    }
}
