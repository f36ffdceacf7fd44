//! Which snapshots of a schedule are kept. Pure.
//!
//! Each rule goes through the snapshots from the newest on and keeps the first it meets of each
//! hour, day and so on, in UTC, until it has as many as it is to keep. What no rule keeps is surplus.
//! The newest one is always kept.

use std::collections::HashSet;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use orlop_model::Keep;

/// The hour, day and so on that a time is in, as a number within a number.
type Period = fn(Timestamp) -> (i64, i64);

/// Of snapshots with the times when they were made, those that no rule keeps.
pub(crate) fn surplus<Id: Copy + Ord + std::hash::Hash>(
    snapshots: &[(Id, Timestamp)],
    keep: &Keep,
) -> Vec<Id> {
    let mut newest_first: Vec<_> = snapshots.to_vec();
    newest_first.sort_unstable_by_key(|(id, at)| std::cmp::Reverse((*at, *id)));
    let mut kept: HashSet<Id> =
        newest_first.iter().take(keep.last.max(1) as usize).map(|(id, _)| *id).collect();
    let rules: [(u32, Period); 5] = [
        (keep.hourly, |at| (at.as_second().div_euclid(3600), 0)),
        (keep.daily, |at| (at.as_second().div_euclid(86_400), 0)),
        (keep.weekly, |at| {
            let week = date(at).iso_week_date();
            (week.year().into(), week.week().into())
        }),
        (keep.monthly, |at| (date(at).year().into(), date(at).month().into())),
        (keep.yearly, |at| (date(at).year().into(), 0)),
    ];
    for (most, period) in rules {
        let mut met = HashSet::new();
        for (id, at) in &newest_first {
            if met.len() >= most as usize {
                break;
            }
            if met.insert(period(*at)) {
                kept.insert(*id);
            }
        }
    }
    newest_first.into_iter().map(|(id, _)| id).filter(|id| !kept.contains(id)).collect()
}

fn date(at: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(at).date()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn times(texts: &[&str]) -> Vec<(usize, Timestamp)> {
        texts.iter().enumerate().map(|(index, text)| (index, text.parse().unwrap())).collect()
    }

    fn sorted(mut ids: Vec<usize>) -> Vec<usize> {
        ids.sort_unstable();
        ids
    }

    #[test]
    fn each_rule_keeps_its_own() {
        let made = times(&[
            "2025-12-31T23:00:00Z",
            "2026-11-15T10:00:00Z",
            "2026-11-16T10:00:00Z",
            "2026-11-21T10:00:00Z",
            "2026-11-21T22:00:00Z",
            "2026-11-22T08:10:00Z",
            "2026-11-22T08:50:00Z",
            "2026-11-22T09:00:00Z",
        ]);
        let none = Keep::default();
        for (keep, goes) in [
            (Keep { last: 2, ..none }, vec![0, 1, 2, 3, 4, 5]),
            (Keep { hourly: 2, ..none }, vec![0, 1, 2, 3, 4, 5]),
            (Keep { daily: 2, ..none }, vec![0, 1, 2, 3, 5, 6]),
            // From Monday the 16th on, and the Sunday before it.
            (Keep { weekly: 2, ..none }, vec![0, 2, 3, 4, 5, 6]),
            (Keep { monthly: 9, ..none }, vec![1, 2, 3, 4, 5, 6]),
            (Keep { yearly: 1, ..none }, vec![0, 1, 2, 3, 4, 5, 6]),
            (Keep { last: 3, daily: 3, yearly: 2, ..none }, vec![1, 3]),
            (none, vec![0, 1, 2, 3, 4, 5, 6]),
        ] {
            assert_eq!(sorted(surplus(&made, &keep)), goes, "{keep:?}");
        }
    }

    fn keeps() -> impl Strategy<Value = Keep> {
        (0u32..5, 0u32..5, 0u32..5, 0u32..5, 0u32..5, 0u32..5).prop_map(
            |(last, hourly, daily, weekly, monthly, yearly)| Keep {
                last,
                hourly,
                daily,
                weekly,
                monthly,
                yearly,
            },
        )
    }

    proptest! {
        #[test]
        fn it_keeps_enough_and_no_more(
            seconds in proptest::collection::vec(0i64..2_000_000_000, 0..60), keep in keeps(),
        ) {
            let made: Vec<_> = seconds.iter().enumerate()
                .map(|(id, at)| (id, Timestamp::from_second(*at).unwrap())).collect();
            let goes: HashSet<_> = surplus(&made, &keep).into_iter().collect();
            let kept = made.len() - goes.len();
            let rules = keep.last.max(1) + keep.hourly + keep.daily + keep.weekly + keep.monthly + keep.yearly;
            prop_assert!(kept <= rules as usize);
            prop_assert!(kept >= made.len().min(keep.last.max(1) as usize));
            if let Some(newest) = made.iter().max_by_key(|(id, at)| (*at, *id)) {
                prop_assert!(!goes.contains(&newest.0));
            }
        }

        #[test]
        fn what_was_kept_is_kept_when_asked_again(
            seconds in proptest::collection::vec(0i64..2_000_000_000, 0..60), keep in keeps(),
        ) {
            let mut made: Vec<_> = seconds.iter().enumerate()
                .map(|(id, at)| (id, Timestamp::from_second(*at).unwrap())).collect();
            let goes: HashSet<_> = surplus(&made, &keep).into_iter().collect();
            made.retain(|(id, _)| !goes.contains(id));
            prop_assert!(surplus(&made, &keep).is_empty());
        }

        #[test]
        fn a_rule_that_keeps_more_never_deletes_more(
            seconds in proptest::collection::vec(0i64..2_000_000_000, 0..60), keep in keeps(), more in 0u32..5,
        ) {
            let made: Vec<_> = seconds.iter().enumerate()
                .map(|(id, at)| (id, Timestamp::from_second(*at).unwrap())).collect();
            let less: HashSet<_> = surplus(&made, &keep).into_iter().collect();
            let wider = Keep { daily: keep.daily + more, last: keep.last + more, ..keep };
            prop_assert!(surplus(&made, &wider).iter().all(|id| less.contains(id)));
        }
    }
}
