//! Names: what a user may call a volume, a snapshot, a workspace or a pool. No alias of an engine is checked here.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// What is wrong with a name. The parser of each name says it in these words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameFault {
    /// Nothing between the quotes.
    Empty,
    /// More bytes than allowed.
    TooLong { length: usize, most: usize },
    /// The first character that is neither a lower-case letter, a digit nor a hyphen.
    Character { character: char, position: usize },
    /// It begins or ends with a hyphen.
    Hyphen,
}

impl fmt::Display for NameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "is empty"),
            Self::TooLong { length, most } => {
                write!(f, "has {length} characters, at most {most} are allowed")
            }
            Self::Character { character, position } => {
                write!(f, "has {character:?} as character {}", position + 1)
            }
            Self::Hyphen => write!(f, "begins or ends with a hyphen"),
        }
    }
}

/// `[a-z0-9]([-a-z0-9]*[a-z0-9])?` of at most `most` bytes.
fn check(text: &str, most: usize) -> Result<(), NameFault> {
    if text.is_empty() {
        return Err(NameFault::Empty);
    }
    let fault = text.chars().enumerate().find(|(_, c)| !matches!(c, 'a'..='z' | '0'..='9' | '-'));
    if let Some((position, character)) = fault {
        return Err(NameFault::Character { character, position });
    }
    if text.len() > most {
        return Err(NameFault::TooLong { length: text.len(), most });
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(NameFault::Hyphen);
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $most:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(extend("pattern" = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength" = $most))]
        pub struct $type(String);

        impl $type {
            /// The most characters such a name may have.
            pub const MAX_LENGTH: usize = $most;

            /// Parses the name, or says what is wrong with it.
            pub fn check(text: &str) -> Result<Self, NameFault> {
                check(text, Self::MAX_LENGTH).map(|()| Self(text.to_owned()))
            }

            /// The name as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Self::check(text).map_err(|fault| {
                    Error::new(ErrorKind::InvalidArgument, format!("the {} {text:?} {fault}", $what))
                        .object(format!("{} {text:?}", $what))
                        .hint(concat!(
                            "use lower-case letters, digits and hyphens, beginning and ending with a letter or digit, at most ",
                            $most,
                            " characters"
                        ))
                })
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of a volume, unique among the live volumes of its workspace.
    VolumeName, "volume name", 48
);
name!(
    /// The name of a workspace, which is a namespace of volumes. It has no dot, so that
    /// `workspace.volume` can be one word for a container engine.
    WorkspaceName, "workspace name", 63
);
name!(
    /// The name of a pool.
    PoolName, "pool name", 48
);

name!(
    /// The name of a snapshot, unique among the snapshots of its workspace.
    SnapshotName, "snapshot name", 48
);

impl WorkspaceName {
    /// The workspace of those who name none.
    pub fn public() -> Self {
        Self("public".to_owned())
    }
}

impl PoolName {
    /// The pool of those who name none.
    pub fn default_pool() -> Self {
        Self("default".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        let at_most = "a".repeat(48);
        for good in ["a", "0", "duckdb-vol", "a--b", at_most.as_str()] {
            assert!(VolumeName::check(good).is_ok(), "{good}");
        }
        let too_long = "a".repeat(49);
        for (bad, fault) in [
            ("", NameFault::Empty),
            (too_long.as_str(), NameFault::TooLong { length: 49, most: 48 }),
            ("..", NameFault::Character { character: '.', position: 0 }),
            ("aB", NameFault::Character { character: 'B', position: 1 }),
            ("a/b", NameFault::Character { character: '/', position: 1 }),
            ("a-", NameFault::Hyphen),
            ("-a", NameFault::Hyphen),
        ] {
            assert_eq!(VolumeName::check(bad), Err(fault), "{bad}");
        }
    }

    #[test]
    fn serde_refuses_what_the_parser_refuses() {
        assert!(serde_json::from_str::<WorkspaceName>("\"a.b\"").is_err());
        assert!(serde_json::from_str::<WorkspaceName>("\"a-b\"").is_ok());
    }
}
