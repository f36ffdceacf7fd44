//! When use is told of: at 80, 90 and 95 percent, and when it fell well below again. Pure.

/// The percentages.
const STEPS: [u8; 3] = [80, 90, 95];
/// Use that moves around a threshold is told of once: it counts as fallen this much below.
const SLACK: u8 = 2;

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crossing {
    /// It reached this threshold.
    Above(u8),
    /// It fell below this one.
    Below(u8),
}

/// The threshold that holds now, where `told` was told last (0 is none), and what is to be told if
/// that changed. Of nothing at all nothing is used.
pub(crate) fn step(told: u8, used: u64, capacity: u64) -> (u8, Option<Crossing>) {
    let reaches =
        |percent: u8| capacity > 0 && u128::from(used) * 100 >= u128::from(percent) * u128::from(capacity);
    let holds = |step: u8| reaches(if step <= told { step - SLACK } else { step });
    let now = STEPS.into_iter().rev().find(|step| holds(*step)).unwrap_or(0);
    let crossing = match now.cmp(&told) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(Crossing::Above(now)),
        std::cmp::Ordering::Less => STEPS.into_iter().find(|step| *step > now).map(Crossing::Below),
    };
    (now, crossing)
}

#[cfg(test)]
mod tests {
    use super::{Crossing::*, *};

    #[test]
    fn each_threshold_is_told_once_and_so_is_the_way_back() {
        let mut told = 0;
        let mut heard = Vec::new();
        for used in [0, 79, 80, 79, 78, 81, 89, 90, 88, 90, 95, 94, 93, 96, 92, 91, 87, 80, 78, 77, 10] {
            let (now, crossing) = step(told, used, 100);
            heard.extend(crossing.map(|crossing| (used, crossing)));
            told = now;
        }
        assert_eq!(
            heard,
            [
                (80, Above(80)),
                (90, Above(90)),
                (95, Above(95)),
                (92, Below(95)),
                (87, Below(90)),
                (77, Below(80)),
            ]
        );
    }

    #[test]
    fn a_leap_is_told_as_one() {
        assert_eq!(step(0, 97, 100), (95, Some(Above(95))));
        assert_eq!(step(95, 0, 100), (0, Some(Below(80))));
        assert_eq!(step(0, u64::MAX, u64::MAX), (95, Some(Above(95))));
        assert_eq!(step(80, 0, 0), (0, Some(Below(80))), "a pool that lost its capacity");
        assert_eq!(step(0, 0, 0), (0, None));
    }

    proptest::proptest! {
        /// Use that stays is never told of again, whatever was told before.
        #[test]
        fn what_stays_is_told_at_most_once(told in proptest::sample::select(vec![0_u8, 80, 90, 95]), used: u64, capacity: u64) {
            let (now, _) = step(told, used, capacity);
            proptest::prop_assert_eq!(step(now, used, capacity), (now, None));
        }
    }
}
