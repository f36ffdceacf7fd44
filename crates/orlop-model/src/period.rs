//! How long something is waited for, in whole seconds, or that it never comes: as in `tempGracePeriod: 10m`.

use std::{fmt, str::FromStr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// A whole number with `s`, `m`, `h` or `d`, of at least a second and at most ten years, or `never`.
/// `60s` and `1m` are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Period {
    /// It never comes.
    Never,
    /// After so many seconds.
    After(u64),
}

const UNITS: [(&str, u64); 4] = [("d", 24 * 3600), ("h", 3600), ("m", 60), ("s", 1)];
const MOST: u64 = 3660 * 24 * 3600;

impl Period {
    /// What a user is told it looks like.
    pub const EXAMPLES: &str = "a whole number with s, m, h or d, such as 10m or 7d, or never";

    /// From seconds; none is never.
    pub fn from_seconds(seconds: Option<u64>) -> Self {
        seconds.map_or(Self::Never, Self::After)
    }

    /// In seconds; none where it never comes.
    pub fn seconds(self) -> Option<u64> {
        match self {
            Self::Never => None,
            Self::After(seconds) => Some(seconds),
        }
    }

    /// The same for the clock.
    pub fn duration(self) -> Option<Duration> {
        self.seconds().map(Duration::from_secs)
    }
}

impl fmt::Display for Period {
    /// In the largest unit that needs no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::After(seconds) = *self else { return f.pad("never") };
        let (unit, factor) = UNITS.into_iter().find(|(_, factor)| seconds % factor == 0).unwrap_or(("s", 1));
        f.pad(&format!("{}{unit}", seconds / factor))
    }
}

impl FromStr for Period {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "never" {
            return Ok(Self::Never);
        }
        seconds(text).filter(|seconds| (1..=MOST).contains(seconds)).map(Self::After).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("{text:?} is no period of time"))
                .object("period")
                .hint(format!("write {}; at most ten years", Self::EXAMPLES))
        })
    }
}

/// A whole number with a unit, in seconds.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, factor) = UNITS.into_iter().find(|(known, _)| *known == unit)?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

impl TryFrom<String> for Period {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> String {
        period.to_string()
    }
}

impl JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A whole number with `s`, `m`, `h` or `d`, or `never`.",
            "pattern": "^(0*[1-9][0-9]*[smhd]|never)$",
            "examples": ["10m", "never"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read_and_written_in_the_largest_unit() {
        for (text, seconds, shown) in [
            ("never", None, "never"),
            ("1s", Some(1), "1s"),
            ("90s", Some(90), "90s"),
            ("60s", Some(60), "1m"),
            ("10m", Some(600), "10m"),
            ("24h", Some(86_400), "1d"),
            ("007d", Some(604_800), "7d"),
            ("3660d", Some(MOST), "3660d"),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!((period.seconds(), period.to_string().as_str()), (seconds, shown), "{text}");
            assert_eq!(period.to_string().parse(), Ok(period));
            assert_eq!(Period::from_seconds(seconds), period);
        }
    }

    #[test]
    fn what_is_no_period_says_how_to_write_one() {
        for text in [
            "",
            "0s",
            "0d",
            "10",
            "m",
            "1.5h",
            "-1s",
            "10 m",
            "10M",
            "1w",
            "Never",
            "3661d",
            "99999999999999999999s",
        ] {
            let error = text.parse::<Period>().unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidArgument, "{text}");
            assert!(error.hint.unwrap().contains("10m"), "{text}");
        }
    }
}
