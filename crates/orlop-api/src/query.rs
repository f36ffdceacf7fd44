//! Query strings: the same type is written by the client and read by the daemon. Repeated keys are lists.

use orlop_model::{Error, ErrorKind, Result};
use serde::{Serialize, de::DeserializeOwned};

/// Writes `query` as it stands behind the question mark; empty when it says nothing.
pub fn encode<Q: Serialize>(query: &Q) -> Result<String> {
    serde_html_form::to_string(query).map_err(|fault| {
        Error::new(ErrorKind::InvalidArgument, format!("the query can't be written: {fault}"))
    })
}

/// Reads what stands behind the question mark.
pub fn decode<Q: DeserializeOwned>(text: &str) -> Result<Q> {
    serde_html_form::from_str(text).map_err(|fault| {
        Error::new(ErrorKind::InvalidArgument, format!("the query is not valid: {fault}"))
            .object("query")
            .hint("the parameters of every request are listed in /openapi.json")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeleteOptions, MountFilter, VolumeFilter};

    #[test]
    fn what_is_written_is_read() {
        let filter = VolumeFilter {
            tags: vec!["dataos:volume".into(), "a,b&c=d é".into()],
            owner_uid: Some(1000),
            released: true,
            limit: Some(7),
            ..VolumeFilter::default()
        };
        let text = encode(&filter).unwrap();
        assert_eq!(text, "ownerUid=1000&tag=dataos%3Avolume&tag=a%2Cb%26c%3Dd+%C3%A9&released=true&limit=7");
        assert_eq!(decode::<VolumeFilter>(&text), Ok(filter));
        assert_eq!(encode(&VolumeFilter::default()), Ok(String::new()));
        assert_eq!(decode::<VolumeFilter>(""), Ok(VolumeFilter::default()));
        assert_eq!(decode::<DeleteOptions>("force=true").map(|o| o.force), Ok(true));
        assert_eq!(decode::<MountFilter>("target=%2Fmnt%2Fa+b").map(|m| m.target), Ok("/mnt/a b".into()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, fault) in [
            ("colour=red", "unknown field `colour`"),
            ("limit=many", "invalid digit"),
            ("released=perhaps", "true"),
            ("name=A", "volume name"),
            ("state=lost", "unknown variant `lost`"),
        ] {
            let error = decode::<VolumeFilter>(text).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidArgument);
            assert!(error.message.contains(fault), "{text}: {error}");
        }
    }
}
