//! Names that are taken twice, in one file or in several that are applied together.

use std::collections::{HashMap, hash_map::Entry};

use super::{Diagnostic, Named, Parsed};
use crate::WorkspaceName;

/// The names taken in more than one of several files; those taken twice in one file are among that
/// file's own diagnostics. `workspace` is that of resources which name none, `public` where it is `None`.
pub fn duplicate_names<'a>(
    files: impl IntoIterator<Item = &'a Parsed>,
    workspace: Option<&WorkspaceName>,
) -> Vec<Diagnostic> {
    let names: Vec<&Named> = files.into_iter().flat_map(|file| &file.names).collect();
    duplicates(&names, workspace, false)
}

/// The names taken twice in one file.
pub(crate) fn duplicates_within(names: &[Named], workspace: Option<&WorkspaceName>) -> Vec<Diagnostic> {
    duplicates(&names.iter().collect::<Vec<_>>(), workspace, true)
}

fn duplicates(names: &[&Named], workspace: Option<&WorkspaceName>, same_file: bool) -> Vec<Diagnostic> {
    let public = WorkspaceName::public();
    let default = workspace.unwrap_or(&public);
    let mut first: HashMap<(&str, &WorkspaceName, &str), &Named> = HashMap::new();
    let mut faults = Vec::new();
    for named in names {
        let workspace = named.workspace.as_ref().unwrap_or(default);
        match first.entry((named.kind, workspace, named.name.value.as_str())) {
            Entry::Vacant(entry) => {
                entry.insert(named);
            }
            Entry::Occupied(entry) => {
                let (here, there) = (&named.name.at, &entry.get().name.at);
                if (here.source.name() == there.source.name()) == same_file {
                    let message =
                        format!("the name {} is already taken in workspace {workspace}", named.name.value);
                    faults.push(
                        Diagnostic::error("duplicate-name", message)
                            .at(here, "taken again here")
                            .at(there, "first taken here")
                            .help("give one of them another name"),
                    );
                }
            }
        }
    }
    faults
}
