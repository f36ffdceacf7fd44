//! Names for what comes with a pool, where others have them here already. Pure.

use uuid::Uuid;

/// So many hexadecimal digits of the id tell apart what had the same name.
const SUFFIX: usize = 8;

/// `data-1a2b3c4d`, of at most `most` characters: as much of the name as there is room for, and the end
/// of the id, whose beginning is the time.
pub(super) fn suffixed(name: &str, id: Uuid, most: usize) -> String {
    let digits = id.simple().to_string();
    let tail = digits.get(digits.len() - SUFFIX..).unwrap_or_default();
    let head: String = name.chars().take(most.saturating_sub(SUFFIX + 1)).collect();
    format!("{}-{tail}", head.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use orlop_model::{SnapshotName, VolumeName};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_id_tells_them_apart() {
        let id = Uuid::from_u128(0x019f_0000_0000_7000_8000_0000_1a2b_3c4d);
        assert_eq!(suffixed("data", id, VolumeName::MAX_LENGTH), "data-1a2b3c4d");
        let long = "a".repeat(38) + "-bcdefghi";
        assert_eq!(suffixed(&long, id, VolumeName::MAX_LENGTH), format!("{}-1a2b3c4d", "a".repeat(38)));
    }

    proptest! {
        #[test]
        fn what_was_a_name_still_is_one(name in "[a-z0-9]([-a-z0-9]{0,46}[a-z0-9])?", id: u128) {
            let id = Uuid::from_u128(id);
            prop_assert!(VolumeName::check(&suffixed(&name, id, VolumeName::MAX_LENGTH)).is_ok());
            prop_assert!(SnapshotName::check(&suffixed(&name, id, SnapshotName::MAX_LENGTH)).is_ok());
        }
    }
}
