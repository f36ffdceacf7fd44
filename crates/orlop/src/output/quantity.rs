//! Bytes and ages for people: near enough to compare, short enough for a column.

use jiff::{Timestamp, Unit};
use orlop_model::Size;

const UNITS: [(u64, &str); 6] =
    [(1 << 60, "Ei"), (1 << 50, "Pi"), (1 << 40, "Ti"), (1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")];

/// `12.3Mi`: three digits and a binary unit. Never above the true value.
pub(crate) fn bytes(bytes: u64) -> String {
    let Some((unit, suffix)) = UNITS.into_iter().find(|(unit, _)| bytes >= *unit) else {
        return bytes.to_string();
    };
    let whole = bytes / unit;
    // Below the unit, so its product with 100 fits.
    let hundredths = u64::try_from(u128::from(bytes % unit) * 100 / u128::from(unit)).unwrap_or_default();
    match whole {
        0..10 if hundredths % 10 != 0 => format!("{whole}.{hundredths:02}{suffix}"),
        0..100 if hundredths / 10 != 0 => format!("{whole}.{}{suffix}", hundredths / 10),
        _ => format!("{whole}{suffix}"),
    }
}

/// A size as [`bytes`] writes it.
pub(crate) fn size(size: Size) -> String {
    bytes(size.bytes())
}

/// `45s`, `12m`, `3h`, `8d`: how long ago that was, in the largest unit of which there are two.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(since).and_then(|span| span.total(Unit::Second)).unwrap_or_default();
    // A clock that was set back shows no negative age.
    self::seconds(seconds.max(0.0) as u64)
}

/// The same of a time that is said in seconds.
pub(crate) fn seconds(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_short_and_never_too_many() {
        for (number, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1Ki"),
            (1536, "1.5Ki"),
            (1 << 20, "1Mi"),
            ((1 << 20) + (1 << 18), "1.25Mi"),
            ((1 << 30) - 1, "1023Mi"),
            (12_900_000, "12.3Mi"),
            (225 << 30, "225Gi"),
            (u64::MAX, "15.9Ei"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn ages() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        for (since, text) in [
            ("2026-11-22T12:00:00Z", "0s"),
            ("2026-11-22T12:00:09Z", "0s"),
            ("2026-11-22T11:58:01Z", "119s"),
            ("2026-11-22T11:58:00Z", "2m"),
            ("2026-11-22T10:00:00Z", "2h"),
            ("2026-11-20T12:00:00Z", "2d"),
        ] {
            assert_eq!(age(since.parse().unwrap(), now), text, "{since}");
        }
    }
}
