//! One document → a volume, or a resource of another type, or faults. What speaks of snapshots is
//! read in `snapshot`.

use std::sync::Arc;

use super::{
    Document, Located, Named,
    diagnostic::{Diagnostic, Faults},
    fields::{Fields, one_of, unknown_key},
    interpolate::Interpolator,
    snapshot,
    source::{At, Source, Span},
    tree::{Entry, Kind, Node, Root},
};
use crate::{
    AccessMode, FilesystemChoice, Layer, MANIFEST_VERSION, VolumeManifest, VolumeMode, VolumeName,
    VolumeSpec, VolumeType, WorkspaceName,
    error::nearest,
    rules,
    spec::{ManifestVersion, VolumeResourceType},
};

/// The keys of a volume's manifest. `status` is what `orlop get` adds; it is never read.
pub(crate) const KEYS: [&str; 10] =
    ["name", "version", "type", "tags", "description", "owner", "layer", "workspace", "volume", "status"];
/// The keys under `volume`.
pub(crate) const VOLUME_KEYS: [&str; 15] = [
    "size",
    "accessMode",
    "type",
    "volumeMode",
    "pool",
    "filesystem",
    "uid",
    "gid",
    "mode",
    "mountOptions",
    "preallocate",
    "protection",
    "tempGracePeriod",
    "source",
    "snapshots",
];
/// The types of the resources that are ours.
const TYPES: [&str; 2] = ["volume", "snapshot"];

/// What became of a document. A name is known for its duplicates even where other fields are faulty.
pub(crate) struct Decoded {
    pub(crate) document: Option<Document>,
    pub(crate) named: Option<Named>,
}

/// Reads a document; faults are added to `faults`.
pub(crate) fn decode(
    source: &Arc<Source>,
    root: Root,
    interpolator: &mut Interpolator<'_>,
    faults: &mut Faults,
) -> Decoded {
    let nothing = Decoded { document: None, named: None };
    let Root { node: mut root, sound } = root;
    let start = Span { start: root.span.start, end: root.span.start };
    if !matches!(root.kind, Kind::Mapping(_)) {
        Fields { source, faults }.wrong_kind(
            "a resource",
            "a mapping with the keys name, version and type",
            &root,
        );
        return nothing;
    }
    let Kind::Mapping(entries) = &mut root.kind else { return nothing };

    // The type is read first: what the other keys mean, and whether they are interpolated, is up to it.
    let before = faults.found();
    if let Some(entry) = entries.iter_mut().find(|entry| &*entry.key.text == "type") {
        interpolator.node(&mut entry.value, faults);
    }
    let mut fields = Fields { source, faults };
    let resource = match entries.iter().find(|entry| &*entry.key.text == "type") {
        Some(entry) => match fields.text(entry, "a type such as volume") {
            Some("volume") => Resource::Volume,
            Some("snapshot") => Resource::Snapshot,
            Some(text) => Resource::Other { resource_type: text.to_owned(), span: entry.value.span },
            None => Resource::Unknown,
        },
        None => Resource::Unknown,
    };
    match resource {
        Resource::Other { resource_type, span } => {
            let meant = nearest(&resource_type, &TYPES);
            if meant.is_some() || !is_type(&resource_type) {
                let diagnostic =
                    Diagnostic::error("unknown-type", format!("{resource_type:?} is no resource type"));
                let help = format!("did you mean {}?", meant.unwrap_or("volume"));
                fields.fault(diagnostic.help(help.as_str()), span, help.as_str());
                return nothing;
            }
            if let Some(entry) = entries.iter_mut().find(|entry| &*entry.key.text == "name") {
                interpolator.node(&mut entry.value, faults);
            }
            let mut fields = Fields { source, faults };
            let name = match entries.iter().find(|entry| &*entry.key.text == "name") {
                Some(entry) => fields.free_text("name", &entry.value).map(|name| (name, entry.value.span)),
                None => {
                    fields.missing(&["name"], "in this resource", first_key(entries, start));
                    None
                }
            };
            let document = name.filter(|_| sound).map(|(name, span)| Document::Other {
                resource_type,
                name,
                at: At { source: Arc::clone(source), span },
            });
            Decoded { document, named: None }
        }
        Resource::Snapshot => {
            interpolate(entries, interpolator, faults);
            let mut fields = Fields { source, faults };
            let snapshot::Decoded { name, workspace, manifest } =
                snapshot::decode(&mut fields, entries, first_key(entries, start));
            let clean = sound && fields.faults.found() == before;
            let named = name.as_ref().map(|name| Named::new("snapshot", workspace.as_ref(), name));
            let document = manifest.filter(|_| clean).zip(name).map(|(manifest, name)| Document::Snapshot {
                manifest: Box::new(manifest),
                workspace,
                at: name.at,
            });
            Decoded { document, named }
        }
        Resource::Unknown if !entries.iter().any(|entry| &*entry.key.text == "volume") => {
            if sound && fields.faults.found() == before {
                fields.missing(&["type"], "in this resource", first_key(entries, start));
            }
            nothing
        }
        Resource::Volume | Resource::Unknown => {
            interpolate(entries, interpolator, faults);
            let mut fields = Fields { source, faults };
            let volume = volume(&mut fields, entries, first_key(entries, start));
            let clean = sound && fields.faults.found() == before;
            let named =
                volume.name.as_ref().map(|name| Named::new("volume", volume.workspace.as_ref(), name));
            let document = volume.manifest().filter(|_| clean).zip(named.clone()).map(|(volume, named)| {
                let (manifest, workspace) = volume;
                Document::Volume { manifest: Box::new(manifest), workspace, at: named.name.at }
            });
            Decoded { document, named }
        }
    }
}

/// Fills in the variables of what is read; a tag in it is a fault.
fn interpolate(entries: &mut [Entry], interpolator: &mut Interpolator<'_>, faults: &mut Faults) {
    for entry in entries.iter_mut().filter(|entry| !matches!(&*entry.key.text, "type" | "status")) {
        interpolator.node(&mut entry.value, faults);
    }
}

/// What the key `type` says.
enum Resource {
    Volume,
    Snapshot,
    Other {
        resource_type: String,
        span: Span,
    },
    /// Missing or faulty.
    Unknown,
}

/// A word that can be a resource type.
fn is_type(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn first_key(entries: &[Entry], start: Span) -> Span {
    entries.first().map_or(start, |entry| entry.key.span)
}

/// The fields of a volume that could be read.
#[derive(Default)]
struct Volume {
    name: Option<Located<VolumeName>>,
    tags: Vec<String>,
    description: Option<String>,
    owner: Option<String>,
    layer: Layer,
    workspace: Option<Located<WorkspaceName>>,
    spec: Option<VolumeSpec>,
}

impl Volume {
    fn manifest(self) -> Option<(VolumeManifest, Option<Located<WorkspaceName>>)> {
        let manifest = VolumeManifest {
            name: self.name?.value,
            version: ManifestVersion::V1Beta,
            resource_type: VolumeResourceType::Volume,
            tags: self.tags,
            description: self.description,
            owner: self.owner,
            layer: self.layer,
            volume: self.spec?,
        };
        Some((manifest, self.workspace))
    }
}

fn volume(fields: &mut Fields<'_>, entries: &[Entry], start: Span) -> Volume {
    no_tags(fields, entries);
    let mut volume = Volume::default();
    for entry in entries {
        match &*entry.key.text {
            "name" => {
                let at = fields.at(entry.value.span);
                volume.name = fields.name(entry).map(|value| Located { value, at });
            }
            "version" => fields.version(entry),
            // Read before all others.
            "type" => {}
            "tags" => volume.tags = fields.tags(entry).unwrap_or_default(),
            "description" => volume.description = fields.optional_text(entry),
            "owner" => volume.owner = fields.optional_text(entry),
            "layer" if entry.is_null() => {}
            "layer" => volume.layer = fields.layer(entry).unwrap_or_default(),
            "workspace" if entry.is_null() => {}
            "workspace" => {
                let at = fields.at(entry.value.span);
                volume.workspace = fields.name(entry).map(|value| Located { value, at });
            }
            "volume" => volume.spec = spec(fields, entry),
            "status" => {}
            key if VOLUME_KEYS.contains(&key) => {
                let message = format!("the key {key:?} is unknown at the top level");
                let help = format!("{key} belongs under `volume:`; indent it");
                fields.fault(
                    Diagnostic::error("unknown-key", message).help(help),
                    entry.key.span,
                    "belongs under volume",
                );
            }
            key => {
                let (diagnostic, label) = unknown_key(key, "at the top level of a volume's manifest", &KEYS);
                fields.fault(diagnostic, entry.key.span, label);
            }
        }
    }
    let missing = not_meant(entries, ["name", "version", "type", "volume"], &KEYS);
    fields.missing(&missing, "in this manifest", start);
    volume
}

pub(super) fn no_tags(fields: &mut Fields<'_>, entries: &[Entry]) {
    for entry in entries.iter().filter(|entry| &*entry.key.text != "status") {
        fields.no_tags(&entry.value);
    }
}

/// Those of `required` that no key is and none was meant to be: a misspelt key is one fault, not two.
pub(super) fn not_meant<'a, const N: usize>(
    entries: &[Entry],
    required: [&'a str; N],
    known: &[&str],
) -> Vec<&'a str> {
    let meant = |entry: &Entry, key: &str| {
        let text: &str = &entry.key.text;
        text == key || (!known.contains(&text) && nearest(text, known) == Some(key))
    };
    required.into_iter().filter(|key| !entries.iter().any(|entry| meant(entry, key))).collect()
}

/// The section `volume`. Rules between fields are checked wherever the fields are there.
fn spec(fields: &mut Fields<'_>, section: &Entry) -> Option<VolumeSpec> {
    let entries: &[Entry] = match &section.value.kind {
        Kind::Mapping(entries) => entries,
        Kind::Scalar(scalar) if scalar.faulty => return None,
        Kind::Scalar(scalar) if scalar.is_null() => &[],
        Kind::Scalar(_) | Kind::List(_) => {
            fields.wrong_kind("volume", "a mapping with size, accessMode and type", &section.value);
            return None;
        }
    };
    let (mut size, mut access_mode, mut volume_type) = (None, None, None);
    let (mut volume_mode, mut filesystem) = (None, None);
    let (mut pool, mut uid, mut gid, mut mode) = (None, None, None, None);
    let (mut mount_options, mut preallocate, mut protection) = (None, None, None);
    let mut temp_grace_period = None;
    let (mut source, mut snapshots) = (None, None);
    for entry in entries {
        match &*entry.key.text {
            "size" => size = fields.size(entry).map(|size| (size, entry.value.span)),
            "accessMode" => {
                access_mode = fields
                    .word::<AccessMode>(entry, &AccessMode::ALL.map(AccessMode::as_str))
                    .map(|mode| (mode, entry.value.span));
            }
            "type" => {
                volume_type = fields.word::<VolumeType>(entry, &VolumeType::ALL.map(VolumeType::as_str))
            }
            // The others may be left without a value, which is as if they were not there.
            key if VOLUME_KEYS.contains(&key) && entry.is_null() => {}
            "volumeMode" => volume_mode = fields.word(entry, &VolumeMode::ALL.map(VolumeMode::as_str)),
            "pool" => pool = fields.name(entry),
            "filesystem" => {
                filesystem = fields
                    .word::<FilesystemChoice>(entry, &FilesystemChoice::ALL.map(FilesystemChoice::as_str))
                    .map(|filesystem| (filesystem, entry.value.span));
            }
            "uid" => uid = fields.id(entry, "uid"),
            "gid" => gid = fields.id(entry, "gid"),
            "mode" => mode = fields.mode(entry),
            "mountOptions" => mount_options = fields.mount_options(entry),
            "preallocate" => preallocate = fields.truth(entry),
            "protection" => protection = fields.truth(entry),
            "tempGracePeriod" => {
                temp_grace_period = fields.period(entry).map(|period| (period, entry.value.span));
            }
            "source" => source = fields.volume_source(entry),
            "snapshots" => snapshots = fields.snapshot_policy(entry),
            key if KEYS.contains(&key) => {
                let message = format!("the key {key:?} is unknown under volume");
                let help = format!("{key} belongs at the top level, beside `volume:`");
                fields.fault(
                    Diagnostic::error("unknown-key", message).help(help),
                    entry.key.span,
                    "belongs at the top level",
                );
            }
            key => {
                let (diagnostic, label) = unknown_key(key, "under volume", &VOLUME_KEYS);
                fields.fault(diagnostic, entry.key.span, label);
            }
        }
    }
    let missing = not_meant(entries, ["size", "accessMode", "type"], &VOLUME_KEYS);
    fields.missing(&missing, "under volume", section.key.span);

    let mut size_holds = true;
    if let Some((size, span)) = size
        && let Some(broken) = rules::size(size)
    {
        fields.broken(broken, span, "too small");
        size_holds = false;
    }
    if let (Some((mode, span)), Some(volume_type)) = (access_mode, volume_type)
        && let Some(broken) = rules::access_mode(volume_type, mode)
    {
        fields.broken(broken, span, "not for this type");
    }
    if let (true, Some((filesystem, span)), Some((size, _))) = (size_holds, filesystem, size)
        && let Some(broken) = rules::filesystem(filesystem, size)
    {
        fields.broken(broken, span, "needs a larger volume");
    }
    if let (Some((_, span)), Some(volume_type)) = (temp_grace_period, volume_type)
        && let Some(broken) = rules::temp_grace_period(volume_type)
    {
        fields.broken(broken, span, "not for this type");
    }
    let spec = VolumeSpec {
        size: size?.0,
        access_mode: access_mode?.0,
        volume_type: volume_type?,
        volume_mode: volume_mode.unwrap_or_default(),
        pool,
        filesystem: filesystem.map(|(filesystem, _)| filesystem).unwrap_or_default(),
        uid,
        gid,
        mode,
        mount_options: mount_options.unwrap_or_default(),
        preallocate: preallocate.unwrap_or_default(),
        protection: protection.unwrap_or_default(),
        temp_grace_period: temp_grace_period.map(|(period, _)| period),
        source,
        snapshots,
    };
    if let Some(broken) = rules::block(&spec)
        && let Some(entry) = entries.iter().find(|entry| *entry.key.text == *broken.field)
    {
        fields.broken(broken, entry.value.span, "not for a block device");
    }
    Some(spec)
}

impl Entry {
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value.kind, Kind::Scalar(scalar) if scalar.is_null())
    }
}

impl Fields<'_> {
    pub(super) fn version(&mut self, entry: &Entry) {
        let Some(text) = self.text(entry, MANIFEST_VERSION) else { return };
        if text != MANIFEST_VERSION {
            let diagnostic = Diagnostic::error("wrong-version", format!("the version {text:?} is not known"))
                .help(format!("a volume's manifest has the version {MANIFEST_VERSION}"));
            self.fault(diagnostic, entry.value.span, format!("expected {MANIFEST_VERSION}"));
        }
    }

    pub(super) fn layer(&mut self, entry: &Entry) -> Option<Layer> {
        self.word(entry, &Layer::ALL.map(Layer::as_str))
    }

    pub(super) fn optional_text(&mut self, entry: &Entry) -> Option<String> {
        if entry.is_null() { None } else { self.free_text(&entry.key.text, &entry.value) }
    }

    /// Keys that must be there and are not, in one diagnostic.
    pub(super) fn missing(&mut self, keys: &[&str], place: &str, span: Span) {
        let message = match keys {
            [] => return,
            [key] => format!("the key {key} is missing {place}"),
            keys => format!("the keys {} are missing {place}", one_of(keys).replace(" or ", " and ")),
        };
        let lines = keys.iter().map(|key| match *key {
            "version" => format!("`version: {MANIFEST_VERSION}`"),
            "type" if place != "under volume" => "`type: volume`".to_owned(),
            "type" => "`type: persistent` or `type: temp`".to_owned(),
            "volume" if place == "under snapshot" => "`volume: a-name`".to_owned(),
            "snapshot" => "`snapshot:` with volume under it".to_owned(),
            "schedule" => "`schedule: \"0 * * * *\"`".to_owned(),
            "name" => "`name: a-name`".to_owned(),
            "size" => "`size: 1Gi`".to_owned(),
            "accessMode" => "`accessMode: ReadWriteOnce`".to_owned(),
            _ => "`volume:` with size, accessMode and type under it".to_owned(),
        });
        let help = format!("add {}", lines.collect::<Vec<_>>().join(", "));
        let label = format!("{} missing", one_of(keys).replace(" or ", " and "));
        self.fault(Diagnostic::error("missing-key", message).help(help), span, label);
    }

    /// A tag would change what a value is; no field of a volume has use for one.
    pub(crate) fn no_tags(&mut self, node: &Node) {
        if let Some(tag) = &node.tag {
            let diagnostic =
                Diagnostic::error("unsupported-tag", format!("the YAML tag {tag} is not supported"))
                    .help("remove it: each field knows what its value is");
            self.fault(diagnostic, node.span, "has a tag");
        }
        match &node.kind {
            Kind::Scalar(_) => {}
            Kind::List(nodes) => nodes.iter().for_each(|node| self.no_tags(node)),
            Kind::Mapping(entries) => entries.iter().for_each(|entry| self.no_tags(&entry.value)),
        }
    }
}
