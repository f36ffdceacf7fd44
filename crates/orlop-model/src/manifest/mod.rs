//! Manifests: text → resources, and diagnostics with file, line and column. Every fault of a file is
//! found at once. Pure: the caller reads the files, looks up variables, and draws on its terminal.
//!
//! ```
//! use orlop_model::manifest::{self, Document, Options};
//!
//! let text = "name: data\nversion: v1beta\ntype: volume\n\
//!     volume: {size: 1Gi, accessMode: ReadWriteOnce, type: temp}\n";
//! let parsed = manifest::read("data.yaml", text.into(), &Options::default());
//! assert!(matches!(parsed.documents[..], [Document::Volume { .. }]) && parsed.diagnostics.is_empty());
//! ```

mod decode;
pub mod diagnostic;
pub(crate) mod fields;
mod interpolate;
pub mod limits;
mod names;
pub(crate) mod reader;
mod reference;
mod render;
mod schema;
mod snapshot;
mod source;
mod syntax;
#[cfg(test)]
mod tests;
pub(crate) mod tree;

use std::sync::Arc;

pub use diagnostic::{Diagnostic, Label, Severity};
pub use interpolate::{Lookup, escape};
pub use names::duplicate_names;
pub use reference::volume_reference;
pub use render::{Appearance, invalid_manifest, render};
pub use schema::{snapshot_schema, volume_schema};
pub use source::{At, Place, Source, Span};

use crate::{SnapshotManifest, VolumeManifest, WorkspaceName};
use diagnostic::Faults;

/// How to read a manifest.
#[derive(Default, Clone, Copy)]
pub struct Options<'a> {
    /// Finds variables, most often in the environment. `None` turns interpolation off; a left-over
    /// `${{placeholder}}` is a fault all the same.
    pub variables: Option<&'a Lookup<'a>>,
    /// The workspace of volumes that name none, to tell whether two have the same name; `public`
    /// where it is `None`.
    pub workspace: Option<&'a WorkspaceName>,
}

/// What a file holds.
#[derive(Debug, Clone, Default)]
pub struct Parsed {
    /// The documents without a fault, in their order.
    pub documents: Vec<Document>,
    /// All faults, in the order of the text. Nothing of a file with an error among them should be applied.
    pub diagnostics: Vec<Diagnostic>,
    /// The names of all volumes and snapshots, those of faulty documents included.
    names: Vec<Named>,
}

impl Parsed {
    /// Whether there is an error, not only warnings.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// One document of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A volume.
    Volume {
        /// What is asked for.
        manifest: Box<VolumeManifest>,
        /// The workspace it names; the caller compares it with the one it was given.
        workspace: Option<Located<WorkspaceName>>,
        /// Where its name is.
        at: At,
    },
    /// A snapshot.
    Snapshot {
        /// What is asked for.
        manifest: Box<SnapshotManifest>,
        /// The workspace it names; the caller compares it with the one it was given.
        workspace: Option<Located<WorkspaceName>>,
        /// Where its name is.
        at: At,
    },
    /// A well-formed resource of another type. Only its type and name were looked at.
    Other {
        /// Its type, such as `service`.
        resource_type: String,
        /// Its name.
        name: String,
        /// Where its name is.
        at: At,
    },
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub at: At,
}

/// A name as a document gives it.
#[derive(Debug, Clone)]
struct Named {
    /// The type of what has it: each has names of its own.
    kind: &'static str,
    workspace: Option<WorkspaceName>,
    name: Located<String>,
}

impl Named {
    fn new<T: ToString>(
        kind: &'static str,
        workspace: Option<&Located<WorkspaceName>>,
        name: &Located<T>,
    ) -> Self {
        let at = name.at.clone();
        let name = Located { value: name.value.to_string(), at };
        Self { kind, workspace: workspace.map(|workspace| workspace.value.clone()), name }
    }
}

/// Reads the bytes of a file. `name` is the file's name, or `<stdin>`.
pub fn read(name: &str, bytes: Vec<u8>, options: &Options<'_>) -> Parsed {
    match Source::new(name, bytes) {
        Ok(source) => parse(&source, options),
        Err(diagnostic) => Parsed { diagnostics: vec![diagnostic], ..Parsed::default() },
    }
}

/// Reads all documents of a source.
pub fn parse(source: &Arc<Source>, options: &Options<'_>) -> Parsed {
    let mut faults = Faults::default();
    let roots = reader::documents(source, &mut faults);
    let mut parsed = Parsed::default();
    if roots.is_empty() && faults.found() == 0 {
        faults.push(
            Diagnostic::error("empty", "the file is empty: it has no resource")
                .file(source.name())
                .help("a volume's manifest has the keys name, version, type and volume"),
        );
    }
    let mut interpolator = interpolate::Interpolator::new(source, options.variables);
    for root in roots.into_iter().flat_map(resources) {
        let decoded = decode::decode(source, root, &mut interpolator, &mut faults);
        parsed.documents.extend(decoded.document);
        parsed.names.extend(decoded.named);
    }
    names::duplicates_within(&parsed.names, options.workspace)
        .into_iter()
        .for_each(|fault| faults.push(fault));
    parsed.diagnostics = faults.into_diagnostics(source);
    parsed
}

/// The resources of a document: it itself, or the items of a list of them, which is how JSON holds several.
fn resources(root: tree::Root) -> Vec<tree::Root> {
    let tree::Root { node, sound } = root;
    match node {
        tree::Node { kind: tree::Kind::List(items), .. } if !items.is_empty() => {
            items.into_iter().map(|node| tree::Root { node, sound }).collect()
        }
        node => vec![tree::Root { node, sound }],
    }
}
