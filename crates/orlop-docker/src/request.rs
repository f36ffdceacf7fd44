//! Requests of the protocol, from a path and a body. Pure: what they cause is in `handler`.

use std::collections::BTreeMap;

use orlop_model::{Error, ErrorKind, Result, error::expected};
use serde::{Deserialize, de::DeserializeOwned};

use crate::options::{self, Options};

/// The most bytes a request's body may have.
pub const BODY_LIMIT: usize = 64 << 10;

/// The most bytes a mount id may have; engines send 64.
const MOUNT_ID_LIMIT: usize = 256;

/// A request. Whether its name can be one is for the engine to say, which keeps the names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Request {
    /// What the plugin is.
    Activate,
    /// Where its volumes can be used.
    Capabilities,
    /// A volume by that name is wanted.
    Create { name: String, options: Box<Options> },
    /// Everything about one volume.
    Get { name: String },
    /// Every volume.
    List,
    /// A volume is no longer wanted.
    Remove { name: String },
    /// Where a volume is mounted.
    Path { name: String },
    /// A container is about to use a volume.
    Mount { name: String, id: String },
    /// A container has ceased to.
    Unmount { name: String, id: String },
}

const CALLS: [&str; 9] = [
    "/Plugin.Activate",
    "/VolumeDriver.Capabilities",
    "/VolumeDriver.Create",
    "/VolumeDriver.Get",
    "/VolumeDriver.List",
    "/VolumeDriver.Remove",
    "/VolumeDriver.Path",
    "/VolumeDriver.Mount",
    "/VolumeDriver.Unmount",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    name: String,
    #[serde(default)]
    opts: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Mounted {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "ID")]
    id: String,
}

/// Reads a request. Fields that are not known are left aside: newer engines send more of them.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a call that is none, [`ErrorKind::InvalidArgument`] for a body that
/// is none, [`ErrorKind::Unavailable`] for a missing one.
pub fn decode(path: &str, body: &[u8]) -> Result<Request> {
    match path {
        // Bodies of these three are empty with some engines, `null` or `{}` with others.
        "/Plugin.Activate" => Ok(Request::Activate),
        "/VolumeDriver.Capabilities" => Ok(Request::Capabilities),
        "/VolumeDriver.List" => Ok(Request::List),
        "/VolumeDriver.Create" => {
            let Create { name, opts } = parse(path, body)?;
            let options = Box::new(options::parse(&opts.unwrap_or_default())?);
            Ok(Request::Create { name, options })
        }
        "/VolumeDriver.Get" => Ok(Request::Get { name: named(path, body)? }),
        "/VolumeDriver.Remove" => Ok(Request::Remove { name: named(path, body)? }),
        "/VolumeDriver.Path" => Ok(Request::Path { name: named(path, body)? }),
        "/VolumeDriver.Mount" => {
            let (name, id) = mounted(path, body)?;
            Ok(Request::Mount { name, id })
        }
        "/VolumeDriver.Unmount" => {
            let (name, id) = mounted(path, body)?;
            Ok(Request::Unmount { name, id })
        }
        _ => {
            let shown = shown(path);
            Err(Error::new(ErrorKind::Unsupported, format!("the volume plugin has no call {shown}"))
                .hint(expected(&shown, &CALLS)))
        }
    }
}

/// What a client sent, for a message.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

fn parse<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T> {
    // Docker repeats a request whose connection broke, but has consumed its body by then. That says
    // nothing about the volume, so it must not be the kind of error that a bad request is.
    if body.is_empty() {
        return Err(Error::new(ErrorKind::Unavailable, "the request came without its body")
            .object(path.trim_start_matches('/').to_owned()));
    }
    serde_json::from_slice(body).map_err(|fault| {
        Error::new(ErrorKind::InvalidArgument, format!("the request's body can't be read: {fault}"))
            .object(path.trim_start_matches('/').to_owned())
            .hint("send the JSON object of the Docker volume plugin protocol")
    })
}

fn named(path: &str, body: &[u8]) -> Result<String> {
    let Named { name } = parse(path, body)?;
    Ok(name)
}

fn mounted(path: &str, body: &[u8]) -> Result<(String, String)> {
    let Mounted { name, id } = parse(path, body)?;
    if id.is_empty() || id.len() > MOUNT_ID_LIMIT || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("the mount id is not 1 to {MOUNT_ID_LIMIT} printable characters"),
        )
        .object(format!("volume {}", shown(&name)))
        .hint("an engine sends a mount id since plugin protocol 1.8; use such a one"));
    }
    Ok((name, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_read() {
        for (call, body, request) in [
            ("/Plugin.Activate", "", Request::Activate),
            ("/VolumeDriver.Capabilities", "null", Request::Capabilities),
            ("/VolumeDriver.List", "{}", Request::List),
            ("/VolumeDriver.Get", r#"{"Name":"a"}"#, Request::Get { name: "a".into() }),
            ("/VolumeDriver.Remove", r#"{"Name":"a","New":[1]}"#, Request::Remove { name: "a".into() }),
            ("/VolumeDriver.Path", r#"{"Name":"a"}"#, Request::Path { name: "a".into() }),
            (
                "/VolumeDriver.Mount",
                r#"{"Name":"a","ID":"1"}"#,
                Request::Mount { name: "a".into(), id: "1".into() },
            ),
            (
                "/VolumeDriver.Unmount",
                r#"{"Name":"a","ID":"1"}"#,
                Request::Unmount { name: "a".into(), id: "1".into() },
            ),
        ] {
            assert_eq!(decode(call, body.as_bytes()).unwrap(), request, "{call}");
        }
        for body in [r#"{"Name":"a"}"#, r#"{"Name":"a","Opts":null}"#, r#"{"Name":"a","Opts":{}}"#] {
            assert!(matches!(decode("/VolumeDriver.Create", body.as_bytes()), Ok(Request::Create { .. })));
        }
    }

    #[test]
    fn every_call_named_in_a_hint_is_one() {
        for call in CALLS {
            if let Err(error) = decode(call, b"") {
                assert_eq!(error.kind, ErrorKind::Unavailable, "{call}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_body_is_too_odd(call in 0..CALLS.len(), body in proptest::collection::vec(0u8.., 0..200)) {
            if let Err(error) = decode(CALLS[call], &body) {
                proptest::prop_assert!(!crate::error::line(&error).contains(char::is_control));
            }
        }

        #[test]
        fn no_string_is_too_odd(call in 0..CALLS.len(), name in "\\PC*", id in "\\PC*", key in "\\PC*") {
            let body = serde_json::json!({ "Name": name, "ID": id, "Opts": { key: "1" } }).to_string();
            if let Err(error) = decode(CALLS[call], body.as_bytes()) {
                proptest::prop_assert!(!crate::error::line(&error).contains(char::is_control));
            }
        }
    }

    #[test]
    fn faults() {
        let text = |call: &str, body: &str| crate::error::line(&decode(call, body.as_bytes()).unwrap_err());
        insta::assert_snapshot!(
            [
                text("/VolumeDriver.Get", ""),
                text("/VolumeDriver.Get", "\u{1}\u{2}garbage"),
                text("/VolumeDriver.Get", "[]"),
                text("/VolumeDriver.Get", r#"{"Name":3}"#),
                text("/VolumeDriver.Mount", r#"{"Name":"a"}"#),
                text("/VolumeDriver.Mount", r#"{"Name":"a","ID":""}"#),
                text("/VolumeDriver.Mount", "{\"Name\":\"a\",\"ID\":\"a\\u0000\"}"),
                text("/VolumeDriver.Create", r#"{"Name":"a","Opts":{"size":1}}"#),
                text("/VolumeDriver.Creat", "{}"),
                text("/", ""),
            ]
            .join("\n"),
        );
    }
}
