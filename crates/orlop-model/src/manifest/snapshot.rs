//! What a manifest says of snapshots: a document of that type, and the sections `source` and
//! `snapshots` of a volume.

use super::{
    Located,
    decode::{no_tags, not_meant},
    diagnostic::Diagnostic,
    fields::{Fields, unknown_key},
    source::Span,
    tree::{Entry, Kind},
};
use crate::{
    Keep, Layer, Retain, Schedule, SnapshotManifest, SnapshotName, SnapshotPolicy, SnapshotSpec,
    VolumeSource, WorkspaceName, snapshot::SnapshotResourceType, spec::ManifestVersion,
};

/// The keys of a snapshot's manifest. `status` is what `orlop snapshot show` adds; it is never read.
const KEYS: [&str; 10] =
    ["name", "version", "type", "tags", "description", "owner", "layer", "workspace", "snapshot", "status"];
pub(super) const SNAPSHOT_KEYS: [&str; 2] = ["volume", "retain"];
const SOURCE_KEYS: [&str; 2] = ["snapshot", "volume"];
pub(super) const POLICY_KEYS: [&str; 2] = ["schedule", "keep"];
pub(super) const KEEP_KEYS: [&str; 6] = ["last", "hourly", "daily", "weekly", "monthly", "yearly"];

/// What could be read of a document of type `snapshot`.
pub(super) struct Decoded {
    pub(super) name: Option<Located<SnapshotName>>,
    pub(super) workspace: Option<Located<WorkspaceName>>,
    pub(super) manifest: Option<SnapshotManifest>,
}

/// Reads a document of type `snapshot`.
pub(super) fn decode(fields: &mut Fields<'_>, entries: &[Entry], start: Span) -> Decoded {
    no_tags(fields, entries);
    let (mut name, mut workspace, mut snapshot) = (None::<Located<SnapshotName>>, None, None);
    let (mut tags, mut description, mut owner, mut layer) = (Vec::new(), None, None, Layer::default());
    for entry in entries {
        match &*entry.key.text {
            "name" => {
                let at = fields.at(entry.value.span);
                name = fields.name(entry).map(|value| Located { value, at });
            }
            "version" => fields.version(entry),
            "type" | "status" => {}
            "tags" => tags = fields.tags(entry).unwrap_or_default(),
            "description" => description = fields.optional_text(entry),
            "owner" => owner = fields.optional_text(entry),
            "layer" | "workspace" if entry.is_null() => {}
            "layer" => layer = fields.layer(entry).unwrap_or_default(),
            "workspace" => {
                let at = fields.at(entry.value.span);
                workspace = fields.name(entry).map(|value| Located { value, at });
            }
            "snapshot" => snapshot = spec(fields, entry),
            key => {
                let (fault, label) = unknown_key(key, "at the top level of a snapshot's manifest", &KEYS);
                fields.fault(fault, entry.key.span, label);
            }
        }
    }
    let missing = not_meant(entries, ["name", "version", "snapshot"], &KEYS);
    fields.missing(&missing, "in this manifest", start);
    let manifest = name.as_ref().zip(snapshot).map(|(name, snapshot)| SnapshotManifest {
        name: name.value.clone(),
        version: ManifestVersion::V1Beta,
        resource_type: SnapshotResourceType::Snapshot,
        tags,
        description,
        owner,
        layer,
        snapshot,
    });
    Decoded { name, workspace, manifest }
}

fn spec(fields: &mut Fields<'_>, section: &Entry) -> Option<SnapshotSpec> {
    let entries = fields.mapping(section, "a mapping with volume")?;
    let (mut volume, mut retain) = (None, Some(Retain::Forever));
    for entry in entries {
        match &*entry.key.text {
            "volume" => volume = fields.name(entry),
            "retain" if entry.is_null() => {}
            "retain" => {
                retain = fields.parsed(entry, "invalid-retain", "a time such as 7d", "not a time to keep it");
            }
            key => {
                let (fault, label) = unknown_key(key, "under snapshot", &SNAPSHOT_KEYS);
                fields.fault(fault, entry.key.span, label);
            }
        }
    }
    let missing = not_meant(entries, ["volume"], &SNAPSHOT_KEYS);
    fields.missing(&missing, "under snapshot", section.key.span);
    Some(SnapshotSpec { volume: volume?, retain: retain? })
}

impl Fields<'_> {
    /// The section `source` of a volume: one of its keys.
    pub(super) fn volume_source(&mut self, section: &Entry) -> Option<VolumeSource> {
        let entries = self.mapping(section, "a mapping with snapshot or volume")?;
        let mut sources = Vec::new();
        for entry in entries {
            match &*entry.key.text {
                "snapshot" => sources.push(self.name(entry).map(VolumeSource::Snapshot)),
                "volume" => sources.push(self.name(entry).map(VolumeSource::Volume)),
                key => {
                    let (fault, label) = unknown_key(key, "under source", &SOURCE_KEYS);
                    self.fault(fault, entry.key.span, label);
                    return None;
                }
            }
        }
        if sources.len() == 1 {
            return sources.pop().flatten();
        }
        let fault = Diagnostic::error("one-source", "a volume is made from one snapshot or one volume")
            .help("write `snapshot: NAME` or `volume: NAME` under source, and only one of them");
        self.fault(fault, section.key.span, "one of snapshot and volume");
        None
    }

    /// The section `snapshots` of a volume.
    pub(super) fn snapshot_policy(&mut self, section: &Entry) -> Option<SnapshotPolicy> {
        let entries = self.mapping(section, "a mapping with schedule and keep")?;
        let (mut schedule, mut keep) = (None, Some(Keep::usual()));
        for entry in entries {
            match &*entry.key.text {
                "schedule" => {
                    let expected = "a schedule such as \"0 * * * *\"";
                    schedule = self.parsed::<Schedule>(entry, "invalid-schedule", expected, "not a schedule");
                }
                "keep" if entry.is_null() => {}
                "keep" => keep = self.keep(entry),
                key => {
                    let (fault, label) = unknown_key(key, "under snapshots", &POLICY_KEYS);
                    self.fault(fault, entry.key.span, label);
                }
            }
        }
        let missing = not_meant(entries, ["schedule"], &POLICY_KEYS);
        self.missing(&missing, "under snapshots", section.key.span);
        Some(SnapshotPolicy { schedule: schedule?, keep: keep? })
    }

    fn keep(&mut self, section: &Entry) -> Option<Keep> {
        let entries = self.mapping(section, "a mapping such as {last: 3, hourly: 24, daily: 7}")?;
        let mut keep = Keep::default();
        let before = self.faults.found();
        for entry in entries {
            let rule = match &*entry.key.text {
                "last" => &mut keep.last,
                "hourly" => &mut keep.hourly,
                "daily" => &mut keep.daily,
                "weekly" => &mut keep.weekly,
                "monthly" => &mut keep.monthly,
                "yearly" => &mut keep.yearly,
                key => {
                    let (fault, label) = unknown_key(key, "under keep", &KEEP_KEYS);
                    self.fault(fault, entry.key.span, label);
                    continue;
                }
            };
            let Some(text) = self.text(entry, "a number") else { continue };
            match text.parse().ok().filter(|number| *number <= Keep::MOST) {
                Some(number) => *rule = number,
                None => {
                    let message =
                        format!("{}: {text:?} is no number from 0 to {}", entry.key.text, Keep::MOST);
                    let fault = Diagnostic::error("not-a-number", message)
                        .help("write how many are kept, in decimal");
                    self.fault(fault, entry.value.span, "not such a number");
                }
            }
        }
        if keep == Keep::default() && self.faults.found() == before {
            let fault = Diagnostic::error("keeps-nothing", "keep says that no snapshot is kept")
                .help("write how many, such as {last: 3, daily: 7}, or leave keep out for the last 7");
            self.fault(fault, section.key.span, "keeps nothing");
        }
        (self.faults.found() == before).then_some(keep)
    }

    /// The entries of a section.
    fn mapping<'e>(&mut self, section: &'e Entry, expected: &str) -> Option<&'e [Entry]> {
        match &section.value.kind {
            Kind::Mapping(entries) => Some(entries),
            Kind::Scalar(scalar) if scalar.faulty => None,
            Kind::Scalar(scalar) if scalar.is_null() => Some(&[]),
            Kind::Scalar(_) | Kind::List(_) => {
                self.wrong_kind(&section.key.text, expected, &section.value);
                None
            }
        }
    }

    /// A text that says what it is by its own grammar.
    fn parsed<T: std::str::FromStr<Err = crate::Error>>(
        &mut self,
        entry: &Entry,
        code: &'static str,
        expected: &str,
        label: &str,
    ) -> Option<T> {
        match self.text(entry, expected)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.error(code, error, entry.value.span, label);
                None
            }
        }
    }
}
