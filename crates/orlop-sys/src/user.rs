//! Names of users and groups from the local files.
//!
//! Only `/etc/passwd` and `/etc/group` are read: they are enough for messages and for the group of
//! the socket, and asking directory services could hang.

use std::path::Path;

/// The id of a group by its name, from `/etc/group`.
pub fn group_id(name: &str) -> Option<u32> {
    find_id(&read("/etc/group")?, name)
}

/// The name of a user by its id, from `/etc/passwd`, for messages.
pub fn user_name(uid: u32) -> Option<String> {
    find_name(&read("/etc/passwd")?, uid)
}

fn read(path: &str) -> Option<String> {
    std::fs::read(Path::new(path)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn find_id(text: &str, name: &str) -> Option<u32> {
    entries(text).find(|(found, _)| *found == name).map(|(_, id)| id)
}

fn find_name(text: &str, id: u32) -> Option<String> {
    entries(text).find(|(_, found)| *found == id).map(|(name, _)| name.to_owned())
}

/// `name:password:id:…`, the form of both files.
fn entries(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let id = fields.nth(1)?.parse().ok()?;
        Some((name, id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_and_broken_lines_skipped() {
        let text = "root:x:0:\n# note\norlop-admins:x:990:a,b\nbroken:x\norlop:x:991:\n:x:5:\n";
        assert_eq!(find_id(text, "orlop"), Some(991));
        assert_eq!(find_id(text, "broken"), None);
        assert_eq!(find_id(text, ""), None);
        assert_eq!(find_name(text, 990).as_deref(), Some("orlop-admins"));
        assert_eq!(find_name(text, 7), None);
    }

    #[test]
    fn root_has_its_name() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(group_id("root"), Some(0));
    }
}
