//! The names of snapshots that nobody named. Pure.

use jiff::Timestamp;
use orlop_model::SnapshotName;

/// `<begin>-YYYYMMDD-HHMMSS`, in UTC. A beginning that is too long is cut.
///
/// `None` where `begin` is no part of a name.
pub(crate) fn dated(begin: &str, at: Timestamp) -> Option<SnapshotName> {
    let date = at.strftime("-%Y%m%d-%H%M%S").to_string();
    let room = SnapshotName::MAX_LENGTH.saturating_sub(date.len());
    let begin = begin.get(..begin.len().min(room))?.trim_end_matches('-');
    format!("{begin}{date}").parse().ok()
}

/// The name of what a volume held before it was put back to a snapshot. The mark is never cut.
pub(crate) fn before(volume: &str, at: Timestamp) -> Option<SnapshotName> {
    const MARK: &str = "-before";
    const DATE: usize = "-YYYYMMDD-HHMMSS".len();
    let room = SnapshotName::MAX_LENGTH - DATE - MARK.len();
    let begin = volume.get(..volume.len().min(room))?.trim_end_matches('-');
    dated(&format!("{begin}{MARK}"), at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_say_what_and_when() {
        let at: Timestamp = "2026-11-22T08:30:05.9Z".parse().unwrap();
        assert_eq!(dated("orders", at).unwrap().as_str(), "orders-20261122-083005");
        assert_eq!(before("orders", at).unwrap().as_str(), "orders-before-20261122-083005");
        let long = "a".repeat(31) + "-" + &"b".repeat(16);
        assert_eq!(dated(&long, at).unwrap().as_str(), format!("{}-20261122-083005", "a".repeat(31)));
    }

    proptest! {
        #[test]
        fn every_volume_has_one(
            volume in "[a-z0-9]([-a-z0-9]{0,46}[a-z0-9])?", at in 0i64..4_000_000_000,
        ) {
            let at = Timestamp::from_second(at).unwrap();
            prop_assert!(dated(&volume, at).is_some());
            prop_assert!(before(&volume, at).unwrap().as_str().contains("-before-"));
        }
    }
}
