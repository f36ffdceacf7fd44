//! Temp volumes: when the data of one is wiped. Pure but for the memory of what is counted; the
//! wiping itself is in `wipe`.
//!
//! A countdown begins when the last user leaves with a word, which the store remembers
//! (`vacated_at`). How long ago that was does not matter: only time in which the daemon runs counts,
//! so it is counted here, in memory, and in full after every start.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use orlop_model::{Period, VolumeId, VolumeSpec, resource::VolumeState};

use crate::store::VolumeRow;

/// The last warning comes so long before the end, or at half time where that is later.
const LAST_STRETCH: Duration = Duration::from_secs(60);

/// What a volume of that manifest gets, where `usual` is what holds without a word.
pub(crate) fn recorded(spec: &VolumeSpec, usual: Period) -> Period {
    if spec.volume_type.retains() { Period::Never } else { spec.temp_grace_period.unwrap_or(usual) }
}

/// After how long that volume's data is wiped, were its last user to leave now. A protected one's
/// never is.
pub(crate) fn grace(row: &VolumeRow) -> Option<Duration> {
    let spec = &row.manifest.volume;
    let may = row.state == VolumeState::Active && !spec.volume_type.retains() && !spec.protection;
    row.temp_grace.duration().filter(|_| may)
}

/// What a countdown asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing, for so long.
    Wait(Duration),
    /// The last warning.
    Warn(Duration),
    /// It has ended.
    Wipe,
}

/// One volume's countdown in this run of the daemon.
#[derive(Debug, Clone, Copy)]
struct Countdown {
    /// Which vacancy it counts.
    vacated_at: Timestamp,
    since: Instant,
    warned: bool,
}

impl Countdown {
    fn begin(vacated_at: Timestamp, now: Instant) -> Self {
        Self { vacated_at, since: now, warned: false }
    }

    fn left(&self, grace: Duration, now: Instant) -> Duration {
        grace.saturating_sub(now.saturating_duration_since(self.since))
    }

    fn step(&mut self, grace: Duration, now: Instant) -> Step {
        let left = self.left(grace, now);
        let stretch = LAST_STRETCH.min(grace / 2);
        if left > stretch {
            // It was given more time: what was told is not so.
            self.warned = false;
            return Step::Wait(left - stretch);
        }
        match (left, self.warned) {
            (Duration::ZERO, true) => Step::Wipe,
            (left, true) => Step::Wait(left),
            (Duration::ZERO, false) => {
                // Nobody looked in time, or it was given less. Nothing is wiped without a warning.
                self.since = now.checked_sub(grace - stretch).unwrap_or(now);
                self.warned = true;
                Step::Warn(stretch)
            }
            (left, false) => {
                self.warned = true;
                Step::Warn(left)
            }
        }
    }
}

/// All countdowns of this run of the daemon.
#[derive(Debug, Default)]
pub(crate) struct Countdowns {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: HashMap<VolumeId, Countdown>,
    /// When one of them next asks for something; none before they were first looked at.
    next: Option<Instant>,
    /// Something changed since somebody began to look at them.
    changed: bool,
}

impl Countdowns {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A vacancy began, or something that counts for one changed: they are looked at anew.
    pub(crate) fn changed(&self) {
        let mut state = self.state();
        (state.next, state.changed) = (None, true);
    }

    /// Somebody begins to look at them: what changes from here on may not be seen.
    pub(crate) fn looking(&self) {
        self.state().changed = false;
    }

    /// How long until they have to be looked at; nothing where that is now.
    pub(crate) fn rest(&self, now: Instant) -> Duration {
        self.state().next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    /// They have been looked at, and need it again after so long; at once where something changed meanwhile.
    pub(crate) fn looked_at(&self, counted: &BTreeSet<VolumeId>, rest: Duration, now: Instant) {
        let mut state = self.state();
        state.running.retain(|id, _| counted.contains(id));
        state.next = (!state.changed).then_some(now + rest);
    }

    /// What the countdown of that vacancy asks for; it begins where it is new.
    pub(crate) fn step(&self, id: VolumeId, vacated_at: Timestamp, grace: Duration, now: Instant) -> Step {
        let mut state = self.state();
        let fresh = Countdown::begin(vacated_at, now);
        let countdown = state.running.entry(id).or_insert(fresh);
        if countdown.vacated_at != vacated_at {
            *countdown = fresh;
        }
        countdown.step(grace, now)
    }

    /// How much is left of it, for those who look.
    pub(crate) fn left(
        &self,
        id: VolumeId,
        vacated_at: Timestamp,
        grace: Duration,
        now: Instant,
    ) -> Duration {
        let state = self.state();
        let running = state.running.get(&id).filter(|countdown| countdown.vacated_at == vacated_at);
        running.map_or(grace, |countdown| countdown.left(grace, now))
    }

    /// What it ended in did not succeed: it begins anew.
    pub(crate) fn restart(&self, id: VolumeId) {
        self.state().running.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    const GRACE: Duration = Duration::from_secs(600);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_countdown_warns_once_and_ends() {
        let (all, id, at, start) =
            (Countdowns::default(), VolumeId(Uuid::nil()), Timestamp::now(), Instant::now());
        let step = |after: u64| all.step(id, at, GRACE, start + seconds(after));
        assert_eq!(
            all.left(id, at, GRACE, start + seconds(99)),
            GRACE,
            "nothing counts before it was looked at"
        );
        assert_eq!(step(0), Step::Wait(seconds(540)));
        assert_eq!(step(100), Step::Wait(seconds(440)));
        assert_eq!(all.left(id, at, GRACE, start + seconds(100)), seconds(500));
        assert_eq!(step(541), Step::Warn(seconds(59)));
        assert_eq!(step(542), Step::Wait(seconds(58)), "told once");
        assert_eq!(step(600), Step::Wipe);
        all.restart(id);
        assert_eq!(step(600), Step::Wait(seconds(540)), "in full");
    }

    #[test]
    fn nothing_is_wiped_without_a_warning() {
        let (all, id, at, start) =
            (Countdowns::default(), VolumeId(Uuid::nil()), Timestamp::now(), Instant::now());
        let step = |grace: u64, after: u64| all.step(id, at, seconds(grace), start + seconds(after));
        step(600, 0);
        assert_eq!(step(600, 700), Step::Warn(seconds(60)), "nobody looked in time");
        assert_eq!(step(600, 720), Step::Wait(seconds(40)));
        assert_eq!(all.left(id, at, GRACE, start + seconds(720)), seconds(40));
        assert_eq!(step(3600, 730), Step::Wait(seconds(3600 - 570 - 60)), "it was given more time");
        assert_eq!(step(3600, 3730), Step::Warn(seconds(30)), "and is warned of again");
        assert_eq!(step(3600, 3760), Step::Wipe);
    }

    #[test]
    fn another_vacancy_begins_anew_and_what_is_not_vacant_is_forgotten() {
        let (all, id, at, start) =
            (Countdowns::default(), VolumeId(Uuid::nil()), Timestamp::now(), Instant::now());
        all.step(id, at, GRACE, start);
        let later = at + seconds(300);
        assert_eq!(all.step(id, later, GRACE, start + seconds(599)), Step::Wait(seconds(540)));
        all.looked_at(&BTreeSet::new(), seconds(5), start);
        assert!(all.state().running.is_empty());
        assert_eq!(all.rest(start + seconds(2)), seconds(3));
        all.changed();
        assert_eq!(all.rest(start), Duration::ZERO);
        all.looking();
        all.changed();
        all.looked_at(&BTreeSet::new(), seconds(5), start);
        assert_eq!(all.rest(start), Duration::ZERO, "it may not have been seen");
        all.looking();
        all.looked_at(&BTreeSet::new(), seconds(5), start);
        assert_eq!(all.rest(start), seconds(5));
    }

    #[test]
    fn a_shorter_grace_holds_for_what_is_counting() {
        let (all, id, at, start) =
            (Countdowns::default(), VolumeId(Uuid::nil()), Timestamp::now(), Instant::now());
        all.step(id, at, GRACE, start);
        assert_eq!(all.step(id, at, seconds(900), start + seconds(50)), Step::Wait(seconds(790)));
        assert_eq!(all.step(id, at, seconds(50), start + seconds(50)), Step::Warn(seconds(25)));
        assert_eq!(all.step(id, at, seconds(50), start + seconds(75)), Step::Wipe);
    }

    proptest! {
        /// However often it is looked at, it ends at its time and not before, and after one warning.
        #[test]
        fn never_early(grace in 1u64..100_000, looks in proptest::collection::vec(0u64..200_000, 1..20)) {
            let (all, id, at, start) = (Countdowns::default(), VolumeId(Uuid::nil()), Timestamp::now(), Instant::now());
            all.step(id, at, seconds(grace), start);
            let mut looks = looks;
            looks.sort_unstable();
            let (mut warnings, mut end) = (0, seconds(grace));
            for look in looks {
                match all.step(id, at, seconds(grace), start + seconds(look)) {
                    Step::Wipe => prop_assert!(look >= grace && warnings == 1),
                    Step::Warn(left) => {
                        warnings += 1;
                        end = seconds(look) + left;
                        prop_assert!(end >= seconds(grace) && left <= LAST_STRETCH);
                        prop_assert!(look >= grace || end == seconds(grace));
                    }
                    Step::Wait(rest) => prop_assert!(seconds(look) + rest <= end),
                }
            }
            prop_assert!(warnings <= 1);
        }
    }
}
