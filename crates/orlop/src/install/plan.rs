//! What is to be done with each file: pure, from what is wanted, what is there and what the receipt
//! says. A file that install did not write, or that was changed since, is never touched unasked.

use orlop_model::{Error, ErrorKind, Result};

use super::{
    files::Wanted,
    receipt::{Receipt, Written, fingerprint},
};

/// What is at a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Text(Vec<u8>),
}

/// A file, and what is done with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) path: String,
    pub(super) action: Action,
    /// How the file looks after the step; none where it is gone.
    fingerprint: Option<String>,
}

/// What is done with a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It is written.
    Write(Vec<u8>),
    /// It is as it should be.
    Keep,
    /// It is removed.
    Remove,
    /// It is another's by now, and stays.
    Leave,
}

/// The steps of an installation. Refused, before anything is written, where a file is another's.
pub(super) fn install(
    wanted: Vec<Wanted>,
    receipt: Option<&Receipt>,
    force: bool,
    look: impl Fn(&str) -> Result<Found>,
) -> Result<Vec<Step>> {
    let wrote = |path: &str, text: &[u8]| receipt.is_some_and(|receipt| receipt.wrote(path, text));
    let mut steps = Vec::new();
    let mut foreign = Vec::new();
    let paths: Vec<String> = wanted.iter().map(|file| file.path.clone()).collect();
    for file in wanted {
        let fingerprint = Some(fingerprint(&file.text));
        let action = match look(&file.path)? {
            Found::Text(text) if text == file.text => Action::Keep,
            Found::Text(text) if !force && !wrote(&file.path, &text) => {
                foreign.push(file.path);
                continue;
            }
            Found::Nothing | Found::Text(_) => Action::Write(file.text),
        };
        steps.push(Step { path: file.path, action, fingerprint });
    }
    if !foreign.is_empty() {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("not written by install, or changed since: {}", foreign.join(", ")),
        )
        .hint("nothing was changed; look at them, then say --force to overwrite them"));
    }
    // What an earlier version installed and this one doesn't.
    for old in receipt.map(|receipt| receipt.files.as_slice()).unwrap_or_default() {
        if !paths.contains(&old.path) {
            steps.extend(removal(old, force, &look)?);
        }
    }
    Ok(steps)
}

/// The steps that take an installation away.
pub(super) fn uninstall(
    receipt: &Receipt,
    force: bool,
    look: impl Fn(&str) -> Result<Found>,
) -> Result<Vec<Step>> {
    let steps: Result<Vec<Option<Step>>> =
        receipt.files.iter().map(|file| removal(file, force, &look)).collect();
    Ok(steps?.into_iter().flatten().collect())
}

fn removal(file: &Written, force: bool, look: impl Fn(&str) -> Result<Found>) -> Result<Option<Step>> {
    let path = file.path.clone();
    Ok(match look(&path)? {
        Found::Nothing => None,
        Found::Text(text) if force || fingerprint(&text) == file.fingerprint => {
            Some(Step { path, action: Action::Remove, fingerprint: None })
        }
        Found::Text(_) => {
            Some(Step { path, action: Action::Leave, fingerprint: Some(file.fingerprint.clone()) })
        }
    })
}

/// What the receipt says after the steps.
pub(super) fn installed(steps: &[Step]) -> Vec<Written> {
    let written =
        |step: &Step| Some(Written { path: step.path.clone(), fingerprint: step.fingerprint.clone()? });
    steps.iter().filter_map(written).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn wanted(files: &[(&str, &str)]) -> Vec<Wanted> {
        files.iter().map(|(path, text)| Wanted { path: (*path).into(), text: (*text).into() }).collect()
    }

    fn receipt(files: &[(&str, &str)]) -> Receipt {
        let files = files
            .iter()
            .map(|(path, text)| Written { path: (*path).into(), fingerprint: fingerprint(text.as_bytes()) })
            .collect();
        Receipt { files, directories: Vec::new() }
    }

    fn disk(files: &[(&str, &str)]) -> impl Fn(&str) -> Result<Found> {
        let files: HashMap<String, Vec<u8>> =
            files.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect();
        move |path| Ok(files.get(path).map_or(Found::Nothing, |text| Found::Text(text.clone())))
    }

    fn words(steps: &[Step]) -> Vec<String> {
        let word = |step: &Step| match &step.action {
            Action::Write(text) => format!("{}={}", step.path, String::from_utf8_lossy(text)),
            Action::Keep => format!("{} keep", step.path),
            Action::Remove => format!("{} remove", step.path),
            Action::Leave => format!("{} leave", step.path),
        };
        steps.iter().map(word).collect()
    }

    #[test]
    fn a_first_installation_writes_and_a_second_changes_nothing() {
        let files = [("/a", "1"), ("/b", "2")];
        let steps = install(wanted(&files), None, false, disk(&[])).unwrap();
        assert_eq!(words(&steps), ["/a=1", "/b=2"]);
        let receipt = Receipt { files: installed(&steps), directories: Vec::new() };
        let steps = install(wanted(&files), Some(&receipt), false, disk(&files)).unwrap();
        assert_eq!(words(&steps), ["/a keep", "/b keep"]);
        assert_eq!(installed(&steps), receipt.files);
    }

    #[test]
    fn an_upgrade_replaces_what_was_written_and_removes_what_is_no_more() {
        let before = [("/a", "1"), ("/old", "x"), ("/own", "y")];
        let now = [("/a", "1"), ("/old", "x"), ("/own", "changed")];
        let steps = install(wanted(&[("/a", "2")]), Some(&receipt(&before)), false, disk(&now)).unwrap();
        assert_eq!(words(&steps), ["/a=2", "/old remove", "/own leave"]);
        assert_eq!(installed(&steps).len(), 2);
    }

    #[test]
    fn what_others_wrote_stops_it_before_anything_is_written() {
        let now = [("/a", "theirs"), ("/b", "changed")];
        let before = receipt(&[("/b", "2")]);
        let files = [("/a", "1"), ("/b", "2"), ("/c", "3")];
        let error = install(wanted(&files), Some(&before), false, disk(&now)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::AlreadyExists);
        assert!(error.message.ends_with("/a, /b"), "{error}");
        let steps = install(wanted(&files), Some(&before), true, disk(&now)).unwrap();
        assert_eq!(words(&steps), ["/a=1", "/b=2", "/c=3"]);
    }

    #[test]
    fn uninstall_removes_what_is_as_it_was_written() {
        let before = receipt(&[("/a", "1"), ("/b", "2"), ("/c", "3")]);
        let now = [("/a", "1"), ("/b", "changed"), ("/theirs", "x")];
        assert_eq!(words(&uninstall(&before, false, disk(&now)).unwrap()), ["/a remove", "/b leave"]);
        assert_eq!(words(&uninstall(&before, true, disk(&now)).unwrap()), ["/a remove", "/b remove"]);
    }
}
