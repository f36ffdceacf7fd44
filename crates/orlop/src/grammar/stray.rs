//! A word without its flag, as other tools take it: which flag was meant.

use std::ffi::OsString;

use clap::{
    ValueEnum,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::identifier::ResourceType;

/// Adds to the complaint about such a word what to write instead.
pub(crate) fn with_tip(mut error: clap::Error, words: &[OsString]) -> clap::Error {
    let stray = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(stray)) if error.kind() == ErrorKind::UnknownArgument => stray.clone(),
        _ => return error,
    };
    let mut verbs = words.iter().skip(1).filter_map(|word| word.to_str()).filter(|word| *word != "resource");
    if let Some(tip) = verbs.next().and_then(|verb| tip(verb, &stray)) {
        let tip = StyledStr::from(format!("write {tip}"));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

fn tip(verb: &str, stray: &str) -> Option<String> {
    if stray.starts_with('-') {
        return None;
    }
    match verb {
        "apply" => Some(format!("-f {stray}")),
        "get" | "delete" | "log" => {
            let one = stray.strip_suffix('s').unwrap_or(stray);
            Some(match ResourceType::from_str(one, true) {
                Ok(kind) => format!("-t {kind}"),
                Err(_) => format!("-n {stray}"),
            })
        }
        "mount" => Some("-n NAME DIR".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::Cli;

    #[test]
    fn the_flag_that_was_meant_is_told() {
        for (line, expected) in [
            ("orlop apply data.yaml", Some("tip: write -f data.yaml")),
            ("orlop get data", Some("tip: write -n data")),
            ("orlop get volumes", Some("tip: write -t volume")),
            ("orlop resource log pool", Some("tip: write -t pool")),
            ("orlop delete -w team data", Some("tip: write -n data")),
            ("orlop mount data /mnt", Some("tip: write -n NAME DIR")),
            ("orlop status data", None),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let error = Cli::definition().try_get_matches_from(&words).unwrap_err();
            let text = with_tip(error, &words).to_string();
            match expected {
                Some(expected) => assert!(text.contains(expected), "{line}: {text}"),
                None => assert!(!text.contains("tip:"), "{line}: {text}"),
            }
        }
    }
}
