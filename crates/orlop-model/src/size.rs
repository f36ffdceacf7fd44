//! Sizes: Kubernetes quantities as exact bytes. What a filesystem leaves of them is not here.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Unexpected, Visitor},
};

use crate::error::{Error, ErrorKind};

/// A number of bytes, written as a Kubernetes quantity such as `500Mi` or `1.5Gi`. In JSON a plain number
/// of bytes is read too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct Size(u64);

/// What is wrong with a quantity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SizeFault {
    /// Nothing there.
    Empty,
    /// No number where one belongs.
    Number,
    /// A sign before the number.
    Negative,
    /// A suffix that is none, with the one that was probably meant.
    Suffix { suffix: String, meant: Option<&'static str> },
    /// Not a whole number of bytes.
    Fraction,
    /// More bytes than 2^63 - 1, the most a file can have.
    Overflow,
}

impl fmt::Display for SizeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "is empty"),
            Self::Number => write!(f, "does not begin with a number"),
            Self::Negative => write!(f, "is negative"),
            Self::Suffix { suffix, meant: Some(meant) } => {
                write!(f, "has the unknown suffix {suffix:?}; did you mean {meant}?")
            }
            Self::Suffix { suffix, meant: None } => write!(f, "has the unknown suffix {suffix:?}"),
            Self::Fraction => write!(f, "is not a whole number of bytes"),
            Self::Overflow => write!(f, "is more than 8Ei - 1 bytes"),
        }
    }
}

const SUFFIXES: [(&str, u64); 13] = [
    ("", 1),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
];

impl Size {
    /// The smallest volume: below it a filesystem's own structures leave too little.
    pub const LEAST: Self = Self(16 << 20);
    /// The most bytes a file can have.
    const MOST: u64 = i64::MAX.cast_unsigned();
    /// What a user is told a size looks like.
    pub const EXAMPLES: &str = "50Mi, 500Mi, 1Gi, 1.5Gi, 10Ti, or decimal as in 10G";

    /// A size of exactly that many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// How many bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Parses a quantity: digits with an optional fraction, then a binary or decimal suffix
    /// or a decimal exponent. Zero is a quantity; whether it is enough is for the caller to say.
    pub fn check(text: &str) -> Result<Self, SizeFault> {
        if text.is_empty() {
            return Err(SizeFault::Empty);
        }
        if text.starts_with('-') {
            return Err(SizeFault::Negative);
        }
        let text = text.strip_prefix('+').unwrap_or(text);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(SizeFault::Number);
        }
        let fraction = fraction.trim_end_matches('0');
        let (multiplier, exponent) = Self::suffix(suffix)?;

        // value = digits × multiplier × 10^(exponent - fraction digits), exactly.
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Ok(Self(0));
        }
        let digits: u128 = if digits.len() > 36 {
            return Err(if fraction.is_empty() { SizeFault::Overflow } else { SizeFault::Fraction });
        } else {
            digits.parse().map_err(|_| SizeFault::Number)?
        };
        let value = digits.checked_mul(u128::from(multiplier));
        let shift = exponent - i32::try_from(fraction.len()).map_err(|_| SizeFault::Fraction)?;
        let value = value.ok_or(SizeFault::Overflow)?;
        let power = 10u128.checked_pow(shift.unsigned_abs());
        let bytes = if shift >= 0 {
            power.and_then(|power| value.checked_mul(power)).ok_or(SizeFault::Overflow)?
        } else {
            let power = power.ok_or(SizeFault::Fraction)?;
            if value % power != 0 {
                return Err(SizeFault::Fraction);
            }
            value / power
        };
        match u64::try_from(bytes) {
            Ok(bytes) if bytes <= Self::MOST => Ok(Self(bytes)),
            _ => Err(SizeFault::Overflow),
        }
    }

    fn suffix(suffix: &str) -> Result<(u64, i32), SizeFault> {
        if let Some((_, multiplier)) = SUFFIXES.iter().find(|(word, _)| *word == suffix) {
            return Ok((*multiplier, 0));
        }
        // The exponent form of a quantity: 1e3, 5E6.
        if let Some(exponent) = suffix.strip_prefix(['e', 'E'])
            && let Ok(exponent) = exponent.parse::<i32>()
            && exponent.abs() <= 36
        {
            return Ok((1, exponent));
        }
        let bare = suffix.trim().trim_end_matches(['b', 'B']).trim_end();
        let meant = SUFFIXES
            .iter()
            .map(|(word, _)| *word)
            .find(|word| !word.is_empty() && !bare.is_empty() && word.eq_ignore_ascii_case(bare));
        Err(SizeFault::Suffix { suffix: suffix.to_owned(), meant })
    }
}

impl fmt::Display for Size {
    /// The exact quantity with the smallest number: `1Gi`, `1536Mi`, `10G`, `1001`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (suffix, unit) = SUFFIXES
            .into_iter()
            .filter(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit))
            .max_by_key(|(_, unit)| *unit)
            .unwrap_or(("", 1));
        f.pad(&format!("{}{suffix}", self.0 / unit))
    }
}

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::check(text).map_err(|fault| {
            Error::new(ErrorKind::InvalidArgument, format!("the size {text:?} {fault}"))
                .object("size")
                .hint(format!("write it as {}", Self::EXAMPLES))
        })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Quantity;

        impl Visitor<'_> for Quantity {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a size such as {}, or a number of bytes", Size::EXAMPLES)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                if bytes > Size::MOST {
                    return Err(E::invalid_value(Unexpected::Unsigned(bytes), &self));
                }
                Ok(Size(bytes))
            }
        }

        deserializer.deserialize_any(Quantity)
    }
}

impl From<Size> for String {
    fn from(size: Size) -> String {
        size.to_string()
    }
}

impl JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "integer"],
            "description": "A Kubernetes quantity, or a number of bytes: whole bytes, less than 8Ei.",
            "pattern": "^\\+?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([KMGTPE]i|[kMGTPE]|[eE][-+]?[0-9]+)?$",
            "minimum": 0,
            "maximum": Self::MOST,
            "examples": ["50Mi", "500Mi", "1Gi", "10Ti"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("16Mi", 16 << 20),
            ("1.5Gi", 3 << 29),
            ("0.5Ki", 512),
            (".5Ki", 512),
            ("10G", 10_000_000_000),
            ("1e3", 1000),
            ("1.5e3", 1500),
            ("2k", 2000),
            ("00012", 12),
            ("1.50000000000000000000000000000000000000000Ki", 1536),
            ("9223372036854775807", i64::MAX as u64),
        ] {
            assert_eq!(Size::check(text), Ok(Size(bytes)), "{text}");
        }
        let suffix = |suffix: &str, meant| SizeFault::Suffix { suffix: suffix.into(), meant };
        for (text, fault) in [
            ("", SizeFault::Empty),
            ("-1Gi", SizeFault::Negative),
            ("Gi", SizeFault::Number),
            ("1..2", SizeFault::Number),
            ("1gi", suffix("gi", Some("Gi"))),
            ("1GB", suffix("GB", Some("G"))),
            ("10G B", suffix("G B", Some("G"))),
            ("10 Gi", suffix(" Gi", Some("Gi"))),
            ("10x", suffix("x", None)),
            ("1.0001", SizeFault::Fraction),
            ("0.3Ki", SizeFault::Fraction),
            ("8Ei", SizeFault::Overflow),
            ("99999999999999999999999999999999999999999999", SizeFault::Overflow),
            ("1e36", SizeFault::Overflow),
        ] {
            assert_eq!(Size::check(text), Err(fault), "{text}");
        }
    }

    #[test]
    fn display_is_exact() {
        for (bytes, text) in [
            (0, "0"),
            (1, "1"),
            (1 << 30, "1Gi"),
            (3 << 29, "1536Mi"),
            (10_000_000_000, "10G"),
            (1001, "1001"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn json_is_a_quantity_or_bytes() {
        let read =
            |json: &str| serde_json::from_str::<Size>(json).map(Size::bytes).map_err(|e| e.to_string());
        for (json, bytes) in [("\"1.5Gi\"", 3 << 29), ("\"1024\"", 1024), ("1024", 1024), ("0", 0)] {
            assert_eq!(read(json), Ok(bytes), "{json}");
        }
        assert_eq!(read("9223372036854775807"), Ok(i64::MAX as u64));
        assert_eq!(serde_json::to_string(&Size(1024)).unwrap(), "\"1Ki\"");
        for (json, said) in [
            ("9223372036854775808", "invalid value: integer"),
            ("-1", "invalid type: integer"),
            ("1024.5", "invalid type: floating point"),
            ("\"1gi\"", "did you mean Gi?"),
            ("null", "expected a size such as 50Mi"),
        ] {
            assert!(read(json).unwrap_err().contains(said), "{json}: {:?}", read(json));
        }
    }

    proptest::proptest! {
        #[test]
        fn round_trip(bytes in 0..=i64::MAX as u64) {
            proptest::prop_assert_eq!(Size::check(&Size(bytes).to_string()), Ok(Size(bytes)));
        }

        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = Size::check(&text);
        }
    }
}
