//! Free text of users: what it may hold, and how it is shown to others. A text of one user must not move
//! the cursor of another's terminal, rename its window, or hide what follows. And how a number of things is
//! told.

use crate::{Error, ErrorKind, SnapshotManifest, VolumeManifest};

/// `1 volume`, `2 volumes`.
pub fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The first character that no free text may hold: a control character other than a line end or a tab.
pub fn forbidden(text: &str) -> Option<char> {
    text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'))
}

/// A character as a terminal may show it: no control character but the tab, nothing that turns the text around.
pub fn safe(character: char) -> char {
    match character {
        '\t' => '\t',
        '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            char::REPLACEMENT_CHARACTER
        }
        '\u{2028}' | '\u{2029}' | '\u{feff}' => char::REPLACEMENT_CHARACTER,
        _ if character.is_control() => char::REPLACEMENT_CHARACTER,
        _ => character,
    }
}

impl VolumeManifest {
    /// Whether its free texts are what the manifest's reader takes.
    ///
    /// # Errors
    /// `InvalidArgument`, with the field as its object.
    pub fn check_texts(&self) -> Result<(), Error> {
        check(self.description.as_deref(), self.owner.as_deref(), &self.tags)
    }
}

impl SnapshotManifest {
    /// As [`VolumeManifest::check_texts`].
    ///
    /// # Errors
    /// `InvalidArgument`, with the field as its object.
    pub fn check_texts(&self) -> Result<(), Error> {
        check(self.description.as_deref(), self.owner.as_deref(), &self.tags)
    }
}

fn check(description: Option<&str>, owner: Option<&str>, tags: &[String]) -> Result<(), Error> {
    let tags = tags.iter().map(|tag| ("tags", tag.as_str()));
    let texts = [("description", description), ("owner", owner)];
    let mut all = texts.into_iter().filter_map(|(field, text)| Some((field, text?))).chain(tags);
    let fault = all.find_map(|(field, text)| match forbidden(text) {
        Some(character) => {
            Some((field, format!("{field} has the control character {}", character.escape_unicode())))
        }
        None if field == "tags" && text.trim().is_empty() => Some((field, "a tag is empty".to_owned())),
        None => None,
    });
    fault.map_or(Ok(()), |(field, message)| {
        Err(Error::new(ErrorKind::InvalidArgument, message).object(field).hint("remove it"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_harm_a_terminal_is_found_and_not_shown() {
        for (text, shown) in [
            ("plain ä 🚢\t", "plain ä 🚢\t"),
            ("\u{1b}[2J", "\u{fffd}[2J"),
            ("a\u{9b}b\u{7f}", "a\u{fffd}b\u{fffd}"),
            ("a\nb", "a\u{fffd}b"),
            ("evil\u{202e}txt", "evil\u{fffd}txt"),
        ] {
            assert_eq!(text.chars().map(safe).collect::<String>(), shown, "{text:?}");
        }
        assert_eq!(forbidden("a\n\tb\u{202e}"), None);
        assert_eq!(forbidden("a\u{1b}\u{7}"), Some('\u{1b}'));
    }

    #[test]
    fn each_text_of_a_manifest_is_looked_at() {
        let manifest = |change: serde_json::Value| {
            let mut manifest = serde_json::json!({"name": "a", "version": "v1beta", "type": "volume",
                "volume": {"size": "1Gi", "accessMode": "ReadWriteOnce", "type": "temp"}});
            manifest.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            serde_json::from_value::<VolumeManifest>(manifest).unwrap().check_texts()
        };
        let good = serde_json::json!({"description": "two\nlines", "owner": "ä", "tags": ["a b"]});
        assert_eq!(manifest(good), Ok(()));
        for (change, field) in [
            (serde_json::json!({"description": "a\u{1b}[2J"}), "description"),
            (serde_json::json!({"owner": "\u{7}"}), "owner"),
            (serde_json::json!({"tags": ["a", "\u{0}"]}), "tags"),
            (serde_json::json!({"tags": ["a", " "]}), "tags"),
        ] {
            assert_eq!(manifest(change).unwrap_err().object.as_deref(), Some(field));
        }
    }
}
