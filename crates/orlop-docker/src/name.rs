//! Names by which container engines call volumes. What Orlop calls them is the engine's to derive.

use std::fmt;

use orlop_model::{Error, ErrorKind, Result};

/// A volume's name as Docker and Podman allow it: a letter or digit, then letters, digits, `_`, `.`, `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalName(String);

impl ExternalName {
    /// The most bytes a name may have: what a directory entry of the engines can hold.
    pub const MAX_LENGTH: usize = 255;

    /// Parses the name, or says what is wrong with it.
    pub fn parse(text: String) -> Result<Self> {
        let fault = if text.is_empty() {
            Some("is empty".to_owned())
        } else if text.len() > Self::MAX_LENGTH {
            Some(format!("has {} bytes, at most {} are allowed", text.len(), Self::MAX_LENGTH))
        } else {
            text.chars().enumerate().find(|(at, c)| !legal(*at, *c)).map(|(at, c)| match at {
                0 => format!("begins with {c:?}"),
                _ => format!("has {c:?} as character {}", at + 1),
            })
        };
        match fault {
            None => Ok(Self(text)),
            Some(fault) => {
                let shown: String = text.chars().take(64).collect();
                Err(Error::new(ErrorKind::InvalidArgument, format!("the volume name {shown:?} {fault}"))
                    .hint("use letters, digits, `_`, `.` and `-`, beginning with a letter or digit"))
            }
        }
    }

    /// The name verbatim.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn legal(at: usize, c: char) -> bool {
    c.is_ascii_alphanumeric() || (at > 0 && matches!(c, '_' | '.' | '-'))
}

impl fmt::Display for ExternalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_engines_allow_is_allowed() {
        let hash = "0123456789abcdef".repeat(4);
        let longest = "a".repeat(255);
        for good in ["a", "0", "Data", "proj_data", "ws.data", "a-_.", hash.as_str(), longest.as_str()] {
            assert_eq!(ExternalName::parse(good.to_owned()).unwrap().as_str(), good);
        }
    }

    #[test]
    fn odd_names_are_refused_in_one_line() {
        let longer = "a".repeat(256);
        for (bad, says) in [
            ("", "is empty"),
            (longer.as_str(), "has 256 bytes, at most 255"),
            ("../etc", "begins with '.'"),
            ("a/b", "has '/' as character 2"),
            ("a b", "has ' ' as character 2"),
            ("a\nb", "has '\\n' as character 2"),
            ("a\0", "has '\\0' as character 2"),
            ("-a", "begins with '-'"),
            ("größe", "has 'ö' as character 3"),
        ] {
            let error = ExternalName::parse(bad.to_owned()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidArgument);
            assert!(error.message.contains(says), "{bad:?}: {}", error.message);
            assert!(!error.to_string().contains('\n'));
        }
    }
}
