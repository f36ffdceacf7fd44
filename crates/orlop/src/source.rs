//! Manifests from files, directories and standard input, read and checked as a whole before
//! anything is done with one of them. What a manifest may say is decided in `orlop-model`.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use orlop_model::{
    Error, ErrorKind, Result, SnapshotManifest, VolumeManifest, WorkspaceName,
    manifest::{self, Diagnostic, Document, Options, Parsed, Severity, limits::MAX_BYTES},
};

use crate::{
    exit::Exit,
    grammar::resource::ManifestFiles,
    output::{Console, plain},
};

/// What a file in a directory ends with when it is a manifest.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// Deeper directories are a mistake or a trap.
const MAX_DEPTH: usize = 32;
const STANDARD_INPUT: &str = "-";

/// What the files declare.
#[derive(Debug)]
pub(crate) struct Declared {
    /// The resources, in the order of the files.
    pub(crate) resources: Vec<Resource>,
}

/// One resource of a file.
#[derive(Debug)]
pub(crate) enum Resource {
    /// A volume, and the workspace it belongs into.
    Volume { workspace: WorkspaceName, manifest: Box<VolumeManifest> },
    /// A snapshot, and the workspace it belongs into.
    Snapshot { workspace: WorkspaceName, manifest: Box<SnapshotManifest> },
    /// A well-formed resource of another type, which is skipped.
    Other(Other),
}

/// A resource that is none of Orlop's.
#[derive(Debug)]
pub(crate) struct Other {
    resource_type: String,
    name: String,
    file: String,
}

impl std::fmt::Display for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, file) = (plain(&self.name), plain(&self.file));
        write!(f, "{} {name}: skipped, Orlop has volumes and snapshots only ({file})", self.resource_type)
    }
}

/// A manifest to be read.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    path: PathBuf,
    /// Whether the user named it, and not the directory it is in.
    named: bool,
}

/// Reads and checks all files. Where one has a fault, all faults are shown, and the status is
/// returned instead: nothing is to be done with any of them.
pub(crate) fn read(
    files: &ManifestFiles,
    workspace: Option<&WorkspaceName>,
    console: &mut Console,
) -> Result<std::result::Result<Declared, Exit>> {
    let variable = |name: &str| std::env::var(name).ok();
    let options =
        Options { variables: if files.disable_interpolation { None } else { Some(&variable) }, workspace };
    let places = places(&files.manifest_file, files.recursive)?;
    let mut parsed: Vec<(Place, Parsed)> = Vec::new();
    for place in places {
        let (name, bytes) = contents(&place.path)?;
        parsed.push((place, manifest::read(&name, bytes, &options)));
    }
    let duplicates = manifest::duplicate_names(parsed.iter().map(|(_, file)| file), workspace);

    let mut diagnostics = Vec::new();
    let mut resources = Vec::new();
    for (place, file) in parsed {
        diagnostics.extend(file.diagnostics);
        let only_others = file.documents.iter().all(|document| matches!(document, Document::Other { .. }));
        for document in file.documents {
            match document {
                Document::Volume { manifest, workspace: own, at: _ } => {
                    let workspace = placed(workspace, own, &mut diagnostics);
                    resources.push(Resource::Volume { workspace, manifest });
                }
                Document::Snapshot { manifest, workspace: own, at: _ } => {
                    let workspace = placed(workspace, own, &mut diagnostics);
                    resources.push(Resource::Snapshot { workspace, manifest });
                }
                Document::Other { resource_type, name, at } => {
                    if place.named && only_others {
                        diagnostics.push(foreign(&resource_type, &name, &at));
                    }
                    let file = at.source.name().to_owned();
                    resources.push(Resource::Other(Other { resource_type, name, file }));
                }
            }
        }
    }
    diagnostics.extend(duplicates);
    Ok(verdict(&diagnostics, console).map(|()| Declared { resources }))
}

/// The workspace of a resource: its own, else the command's, else `public`. The two must agree.
fn placed(
    given: Option<&WorkspaceName>,
    own: Option<manifest::Located<WorkspaceName>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> WorkspaceName {
    if let (Some(given), Some(own)) = (given, &own)
        && *given != own.value
    {
        diagnostics.push(misplaced(given, own));
    }
    own.map(|own| own.value).or_else(|| given.cloned()).unwrap_or_else(WorkspaceName::public)
}

/// Shows the diagnostics; with errors among them, the run ends here.
fn verdict(diagnostics: &[Diagnostic], console: &mut Console) -> std::result::Result<(), Exit> {
    if diagnostics.is_empty() {
        return Ok(());
    }
    console.diagnostics(&manifest::render(diagnostics, console.appearance()));
    let errors: Vec<_> = diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
    if errors.is_empty() {
        return Ok(());
    }
    let files: HashSet<&str> = errors.iter().map(|diagnostic| diagnostic.file.as_str()).collect();
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    };
    let message = format!(
        "{} in {}: nothing was changed",
        count(errors.len(), "fault"),
        count(files.len(), "manifest")
    );
    console.note("");
    console.error(&Error::new(ErrorKind::InvalidManifest, message));
    Err(Exit::InvalidManifest)
}

fn misplaced(given: &WorkspaceName, own: &manifest::Located<WorkspaceName>) -> Diagnostic {
    Diagnostic::error(
        "workspace",
        format!("the manifest is for the workspace {}, the command for {given}", own.value),
    )
    .at(&own.at, "this workspace")
    .help(format!("leave -w out, or say -w {}", own.value))
}

fn foreign(resource_type: &str, name: &str, at: &manifest::At) -> Diagnostic {
    Diagnostic::error(
        "type",
        format!("{name} is a {resource_type}, and Orlop has volumes and snapshots only"),
    )
    .at(at, format!("a {resource_type}"))
    .help("in a directory it would be skipped; here it was named itself")
}

/// The files behind the paths, in order, each once.
fn places(paths: &[PathBuf], recursive: bool) -> Result<Vec<Place>> {
    let mut places: Vec<Place> = Vec::new();
    for path in paths {
        if path.as_os_str() == STANDARD_INPUT {
            places.push(Place { path: path.clone(), named: true });
            continue;
        }
        let metadata = fs::metadata(path).map_err(|fault| unreadable(path, &fault))?;
        if !metadata.is_dir() {
            places.push(Place { path: path.clone(), named: true });
            continue;
        }
        let before = places.len();
        directory(path, recursive, 0, &mut places)?;
        if places.len() == before {
            let hint = if recursive { "" } else { "; -R looks in the directories below it too" };
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("the directory {} has no manifest", path.display()),
            )
            .hint(format!("a manifest's name ends with .yaml, .yml or .json{hint}")));
        }
    }
    let mut seen = HashSet::new();
    for place in &places {
        if place.path.as_os_str() == STANDARD_INPUT && !seen.insert(place.path.clone()) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "standard input is given twice as a manifest",
            )
            .hint("say -f - once"));
        }
    }
    // A file named twice, or named beside its directory, is one file.
    let mut seen = HashSet::new();
    places.retain(|place| {
        place.path.as_os_str() == STANDARD_INPUT
            || fs::canonicalize(&place.path).map_or(true, |path| seen.insert(path))
    });
    Ok(places)
}

fn directory(path: &Path, recursive: bool, depth: usize, places: &mut Vec<Place>) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{} is more than {MAX_DEPTH} directories deep", path.display()),
        )
        .hint("name a directory further down"));
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = entries.map_err(|fault| unreadable(path, &fault))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        // `.git` and editors' files are no manifests.
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let below = entry.path();
        let kind = entry.file_type().map_err(|fault| unreadable(&below, &fault))?;
        // A link to a directory is not followed: it may lead back.
        if kind.is_dir() {
            if recursive {
                directory(&below, recursive, depth + 1, places)?;
            }
        } else if below.extension().is_some_and(|end| EXTENSIONS.iter().any(|known| end == *known)) {
            places.push(Place { path: below, named: false });
        }
    }
    Ok(())
}

/// A file's name for messages, and its bytes; of a file that is too large no more than shows it.
fn contents(path: &Path) -> Result<(String, Vec<u8>)> {
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let standard_input = path.as_os_str() == STANDARD_INPUT;
    let read = if standard_input {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|fault| unreadable(path, &fault))?;
    let name = if standard_input { "<stdin>".to_owned() } else { path.display().to_string() };
    Ok((name, bytes))
}

fn unreadable(path: &Path, fault: &io::Error) -> Error {
    let error = Error::new(ErrorKind::InvalidArgument, format!("can't read {}: {fault}", path.display()));
    match fault.kind() {
        io::ErrorKind::NotFound => error.hint("see that the path after -f is right"),
        io::ErrorKind::PermissionDenied => error.hint("this user may not read it"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[PathBuf], recursive: bool, base: &Path) -> Vec<(String, bool)> {
        let place =
            |place: Place| (place.path.strip_prefix(base).unwrap().display().to_string(), place.named);
        places(paths, recursive).unwrap().into_iter().map(place).collect()
    }

    #[test]
    fn files_are_found_in_order_and_once() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        fs::create_dir_all(base.join("m/below/empty")).unwrap();
        fs::create_dir_all(base.join("m/.git")).unwrap();
        for file in ["m/b.yaml", "m/a.yml", "m/c.json", "m/notes.txt", "m/below/d.yaml", "m/.git/e.yaml", "f"]
        {
            fs::write(base.join(file), "").unwrap();
        }
        std::os::unix::fs::symlink(base.join("m"), base.join("m/loop")).unwrap();
        let (m, f) = (base.join("m"), base.join("f"));
        let found = |names: &[(&str, bool)]| {
            names.iter().map(|(name, named)| ((*name).to_owned(), *named)).collect::<Vec<_>>()
        };
        let flat = [("m/a.yml", false), ("m/b.yaml", false), ("m/c.json", false)];
        assert_eq!(names(std::slice::from_ref(&m), false, base), found(&flat));
        assert_eq!(
            names(&[f.clone(), m.clone(), f.clone(), base.join("m/b.yaml")], true, base),
            found(&[
                ("f", true),
                ("m/a.yml", false),
                ("m/b.yaml", false),
                ("m/below/d.yaml", false),
                ("m/c.json", false),
            ])
        );
        for (paths, says) in [
            (vec![base.join("m/below/empty")], "has no manifest"),
            (vec![base.join("none")], "can't read"),
            (vec!["-".into(), "-".into()], "twice"),
        ] {
            let error = places(&paths, false).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidArgument);
            assert!(error.message.contains(says), "{error}");
        }
    }

    #[test]
    fn a_large_file_is_not_read_whole() {
        let (_, bytes) = contents(Path::new("/dev/zero")).unwrap();
        assert_eq!(bytes.len(), MAX_BYTES + 1);
    }
}
