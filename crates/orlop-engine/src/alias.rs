//! From an engine's name for a volume to ours. Pure; what is recorded of it lives in the store.
//!
//! An engine may call a volume `[a-zA-Z0-9][a-zA-Z0-9_.-]*`. A name that is legal here is kept;
//! another becomes a slug with a short id, which the caller makes unique.

use orlop_model::{Error, ErrorKind, Result, VolumeName, WorkspaceName, resource::Front};

use crate::request::VolumeKey;

/// The most bytes an engine's name may have; the engines allow 255 in a path of theirs.
const MOST: usize = 255;
/// The most bytes a name of the Container Storage Interface may have.
const MOST_OF_CSI: usize = 128;
/// How many characters of the short id a slug ends with.
const SHORT_ID: usize = 8;

/// What an external name may mean without an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A volume by name: `name` in `public`, or `workspace.name`.
    Key(VolumeKey),
    /// Only an alias can say.
    AliasOnly,
}

/// Checks what an engine calls a volume.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for what no engine allows, a path above all.
pub(crate) fn check(external: &str) -> Result<()> {
    let first = external.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = external.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if first && rest && external.len() <= MOST {
        return Ok(());
    }
    Err(illegal(external).hint(
        "use letters, digits, `_`, `.` and `-`, beginning with a letter or digit, at most 255 characters",
    ))
}

/// Checks what any front calls a volume. The Container Storage Interface allows what engines do not.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_of(front: Front, external: &str) -> Result<()> {
    match front {
        Front::Csi if external.is_empty() || external.len() > MOST_OF_CSI => {
            Err(illegal(external).hint("use 1 to 128 bytes"))
        }
        Front::Csi if external.chars().any(char::is_control) => {
            Err(illegal(external).hint("leave control characters out"))
        }
        Front::Csi => Ok(()),
        Front::Docker | Front::Podman | Front::Manifest | Front::Host => check(external),
    }
}

fn illegal(external: &str) -> Error {
    let shown: String = external.chars().take(80).collect();
    Error::new(ErrorKind::InvalidArgument, format!("{shown:?} can't be the name of a volume"))
        .object("volume name")
}

/// Whether a front finds the volume of that key under that name without an alias.
pub(crate) fn is_own_name(front: Front, external: &str, key: &VolumeKey) -> bool {
    match front {
        Front::Docker | Front::Podman | Front::Manifest | Front::Host => {
            meaning(external) == Meaning::Key(key.clone())
        }
        // Its names are keys of requests: nothing is found by another name of the volume.
        Front::Csi => false,
    }
}

/// Which volume the name means where no alias is recorded.
pub(crate) fn meaning(external: &str) -> Meaning {
    if let Ok(name) = VolumeName::check(external) {
        return Meaning::Key(VolumeKey { workspace: WorkspaceName::public(), name });
    }
    if let Some((workspace, name)) = external.split_once('.')
        && let (Ok(workspace), Ok(name)) = (WorkspaceName::check(workspace), VolumeName::check(name))
    {
        return Meaning::Key(VolumeKey { workspace, name });
    }
    Meaning::AliasOnly
}

/// The name an engine uses for a volume that it did not make.
pub(crate) fn external(key: &VolumeKey) -> String {
    if key.workspace == WorkspaceName::public() {
        key.name.to_string()
    } else {
        format!("{}.{}", key.workspace, key.name)
    }
}

/// Whether an engine made the name up: 64 hexadecimal digits.
pub(crate) fn is_anonymous(external: &str) -> bool {
    external.len() == 64 && external.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The Orlop name of an external one: itself where that is legal, else a slug that ends with the
/// first characters of `unique` (lower-case letters and digits).
pub(crate) fn name(external: &str, unique: &str) -> Result<VolumeName> {
    if let Ok(name) = VolumeName::check(external) {
        return Ok(name);
    }
    another(external, unique, VolumeName::MAX_LENGTH).parse()
}

/// A name like that one of at most `longest` characters, which ends with the first characters of
/// `unique` (lower-case letters and digits).
pub(crate) fn another(like: &str, unique: &str, longest: usize) -> String {
    let unique: String =
        unique.chars().filter(|c| matches!(c, 'a'..='z' | '0'..='9')).take(SHORT_ID).collect();
    let mut slug = String::new();
    for c in like.chars().take(MOST) {
        let c = c.to_ascii_lowercase();
        if matches!(c, 'a'..='z' | '0'..='9') {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(longest.saturating_sub(unique.len() + 1));
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { unique } else { format!("{slug}-{unique}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn legal_names_are_kept_and_others_become_slugs() {
        for (external, expected) in [
            ("data", "data"),
            ("project_volume", "project-volume-0a1b2c3d"),
            ("My.App__Data", "my-app-data-0a1b2c3d"),
            ("a-", "a-0a1b2c3d"),
            ("ABC", "abc-0a1b2c3d"),
        ] {
            assert_eq!(name(external, "0a1b2c3d4e5f").unwrap().as_str(), expected);
        }
    }

    #[test]
    fn meanings() {
        let key = |workspace: &str, name: &str| {
            Meaning::Key(VolumeKey { workspace: workspace.parse().unwrap(), name: name.parse().unwrap() })
        };
        assert_eq!(meaning("data"), key("public", "data"));
        assert_eq!(meaning("team.data"), key("team", "data"));
        assert_eq!(meaning("team.da.ta"), Meaning::AliasOnly);
        assert_eq!(meaning("project_data"), Meaning::AliasOnly);
        assert!(is_anonymous(&"a1".repeat(32)));
        assert!(!is_anonymous(&"A1".repeat(32)));
    }

    #[test]
    fn own_names_need_no_alias() {
        let key = VolumeKey { workspace: "team".parse().unwrap(), name: "data".parse().unwrap() };
        for (front, external, own) in [
            (Front::Docker, "team.data", true),
            (Front::Podman, "team.data", true),
            (Front::Docker, "data", false),
            (Front::Docker, "team_data", false),
            (Front::Csi, "team.data", false),
        ] {
            assert_eq!(is_own_name(front, external, &key), own, "{front:?} {external}");
        }
    }

    #[test]
    fn fronts_allow_other_names() {
        for (front, external, good) in [
            (Front::Docker, "A_b.c", true),
            (Front::Docker, "pvc a/b", false),
            (Front::Csi, "pvc a/b", true),
            (Front::Csi, "a\nb", false),
            (Front::Csi, "", false),
            (Front::Csi, &"é".repeat(64), true),
            (Front::Csi, &"é".repeat(65), false),
            (Front::Csi, &"x".repeat(128), true),
            (Front::Csi, &"x".repeat(129), false),
        ] {
            assert_eq!(check_of(front, external).is_ok(), good, "{front:?} {external:?}");
        }
    }

    #[test]
    fn what_no_engine_allows_is_refused() {
        for bad in ["", "..", "/etc", "a/b", "-a", ".a", "a b", "ä", &"a".repeat(256)] {
            assert_eq!(check(bad).unwrap_err().kind, ErrorKind::InvalidArgument, "{bad}");
        }
        for good in ["a", "A_b.c-", &"9".repeat(255)] {
            assert!(check(good).is_ok(), "{good}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_always_legal(external in "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}", unique in "[0-9a-f]{12}") {
            let name = name(&external, &unique).unwrap();
            prop_assert!(name.as_str().len() <= VolumeName::MAX_LENGTH);
            prop_assert!(VolumeName::check(&external).is_err() || name.as_str() == external);
        }

        #[test]
        fn other_ids_give_other_names(external in "[A-Z][a-zA-Z0-9_.-]{0,100}", one in "[0-9a-f]{8}", two in "[0-9a-f]{8}") {
            prop_assume!(one != two);
            prop_assert_ne!(name(&external, &one).unwrap(), name(&external, &two).unwrap());
        }

        #[test]
        fn a_volume_is_found_by_the_name_shown(workspace in "[a-z][a-z0-9]{0,20}", volume in "[a-z][a-z0-9-]{0,20}[a-z]") {
            let key = VolumeKey { workspace: workspace.parse().unwrap(), name: volume.parse().unwrap() };
            prop_assert_eq!(meaning(&external(&key)), Meaning::Key(key));
        }
    }
}
