//! Snapshots as a user asks for them: a manifest of their own, a schedule in a volume's manifest, and
//! what a volume is made from. What became of them is in `resource`.

use std::{fmt, str::FromStr};

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, ErrorKind, Layer,
    access::word,
    name::{SnapshotName, VolumeName, WorkspaceName},
    period::Period,
    spec::ManifestVersion,
};

/// What a volume is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum VolumeSource {
    /// A snapshot of the same workspace.
    Snapshot(SnapshotName),
    /// A volume of the same workspace, as it is at that moment.
    Volume(VolumeName),
}

impl fmt::Display for VolumeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(name) => write!(f, "snapshot {name}"),
            Self::Volume(name) => write!(f, "volume {name}"),
        }
    }
}

/// When snapshots of a volume are made by themselves, and which of them are kept. Snapshots made by
/// hand are never deleted by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotPolicy {
    /// When, as five fields of cron in UTC: minute, hour, day of the month, month, day of the week.
    /// Or one of `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. What was missed while the
    /// daemon did not run is made up for once.
    pub schedule: Schedule,
    /// How many are kept. Each rule keeps its own; a snapshot that no rule keeps is deleted after
    /// the next one was made.
    #[serde(default = "Keep::usual", deserialize_with = "crate::json::object")]
    pub keep: Keep,
}

/// Which scheduled snapshots are kept: the newest of each of the last so many hours, days and so on
/// that have one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Keep {
    /// The newest so many.
    #[serde(skip_serializing_if = "is_zero")]
    pub last: u32,
    /// The newest of an hour, for so many hours.
    #[serde(skip_serializing_if = "is_zero")]
    pub hourly: u32,
    /// The newest of a day, for so many days.
    #[serde(skip_serializing_if = "is_zero")]
    pub daily: u32,
    /// The newest of a week (from Monday), for so many weeks.
    #[serde(skip_serializing_if = "is_zero")]
    pub weekly: u32,
    /// The newest of a month, for so many months.
    #[serde(skip_serializing_if = "is_zero")]
    pub monthly: u32,
    /// The newest of a year, for so many years.
    #[serde(skip_serializing_if = "is_zero")]
    pub yearly: u32,
}

impl Keep {
    /// What is kept where a manifest says nothing: the last seven.
    pub fn usual() -> Self {
        Self { last: 7, ..Self::default() }
    }

    /// No rule keeps more.
    pub const MOST: u32 = 10_000;
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A cron expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule(String);

impl Schedule {
    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first time after `after`; `None` where there is none within some years.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let cron = parse(&self.0).ok()?;
        let civil = TimeZone::UTC.to_datetime(after);
        TimeZone::UTC.to_timestamp(cron.find_next_occurrence(&civil, false).ok()?).ok()
    }
}

fn parse(text: &str) -> Result<Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(text).map_err(|fault| fault.to_string())
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |why: String| {
            Error::new(ErrorKind::InvalidArgument, format!("the schedule {text:?} is none: {why}"))
                .object("schedule")
                .hint("write five fields of cron, such as \"0 * * * *\" for each hour, or @daily; times are UTC")
        };
        parse(text).map_err(invalid)?;
        let schedule = Self(text.to_owned());
        if schedule.next_after(Timestamp::UNIX_EPOCH).is_none() {
            return Err(invalid("no day is like that".to_owned()));
        }
        Ok(schedule)
    }
}

impl TryFrom<String> for Schedule {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> String {
        schedule.0
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl JsonSchema for Schedule {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Schedule".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A cron expression of five fields, in UTC.",
            "examples": ["0 * * * *", "@daily"],
        })
    }
}

/// A manifest of type `snapshot`: a checked one, as JSON the way the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotManifest {
    /// The name of the snapshot, unique among the snapshots of its workspace. Lower-case letters, digits
    /// and hyphens, beginning and ending with a letter or digit, at most 48 characters.
    #[schemars(extend("x-change" = "never: another name is another snapshot", "examples" = ["before-upgrade"]))]
    pub name: SnapshotName,
    /// The version of the manifest's form.
    #[schemars(extend("x-change" = "never"))]
    pub version: ManifestVersion,
    /// The type of the resource.
    #[serde(rename = "type")]
    #[schemars(extend("x-change" = "never"))]
    pub resource_type: SnapshotResourceType,
    /// Words to find it by.
    #[schemars(extend("x-change" = "in place", "examples" = [["dataos:volume", "example"]]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What it is for, in words for people.
    #[schemars(extend("x-change" = "in place"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A label that says whose it is. It grants nothing.
    #[schemars(extend("x-change" = "in place"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whether it is a user's resource or the platform's. A label as well.
    #[schemars(extend("x-change" = "in place"))]
    #[serde(default)]
    pub layer: Layer,
    /// What it is of, and how long it is kept.
    #[serde(deserialize_with = "crate::json::object")]
    pub snapshot: SnapshotSpec,
}

/// The resource type of a snapshot's manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub enum SnapshotResourceType {
    /// A snapshot.
    #[default]
    #[serde(rename = "snapshot")]
    Snapshot,
}

impl SnapshotResourceType {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Snapshot];

    /// The word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
        }
    }
}

word!(SnapshotResourceType, "type of a snapshot's manifest");

/// The section `snapshot` of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotSpec {
    /// The volume it is of, by name, in the snapshot's own workspace. It follows the volume: where that
    /// is renamed, this is its new name.
    #[schemars(extend("x-change" = "never: of another volume it is another snapshot", "examples" = ["persistent-v"]))]
    pub volume: VolumeName,
    /// How long it is kept from when it was made: a whole number with `s`, `m`, `h` or `d`, such as
    /// `7d`, of at most ten years; then it is deleted by itself. `forever` where nothing is said.
    #[schemars(extend("x-change" = "in place: counted from when it was made"))]
    #[serde(default, skip_serializing_if = "Retain::is_forever")]
    pub retain: Retain,
}

impl SnapshotManifest {
    /// One that says no more than it has to.
    pub fn new(name: SnapshotName, volume: VolumeName, retain: Retain) -> Self {
        Self {
            name,
            version: ManifestVersion::V1Beta,
            resource_type: SnapshotResourceType::Snapshot,
            tags: Vec::new(),
            description: None,
            owner: None,
            layer: Layer::User,
            snapshot: SnapshotSpec { volume, retain },
        }
    }

    /// The fields that change where `wanted` is applied to the snapshot of this manifest.
    ///
    /// # Errors
    /// `Immutable` where `wanted` is of another volume.
    pub fn changes_to(&self, wanted: &Self, workspace: &WorkspaceName) -> Result<Vec<String>, Error> {
        let (is, asked) = (&self.snapshot.volume, &wanted.snapshot.volume);
        if is != asked {
            let message = format!("snapshot {workspace}/{} is of volume {is}, and not of {asked}", self.name);
            return Err(Error::new(ErrorKind::Immutable, message)
                .object("snapshot.volume")
                .hint("choose another name, or delete that snapshot first; where its volume was renamed, say its new name"));
        }
        let differs = [
            ("tags", self.tags != wanted.tags),
            ("description", self.description != wanted.description),
            ("owner", self.owner != wanted.owner),
            ("layer", self.layer != wanted.layer),
            ("snapshot.retain", self.snapshot.retain != wanted.snapshot.retain),
        ];
        Ok(differs.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field.to_owned()).collect())
    }
}

/// How long a snapshot is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Retain {
    /// Until somebody deletes it.
    #[default]
    Forever,
    /// For so many seconds.
    Seconds(u64),
}

impl Retain {
    /// Whether it is kept until somebody deletes it.
    pub fn is_forever(&self) -> bool {
        *self == Self::Forever
    }

    /// When one that was made at `created` is deleted.
    pub fn until(self, created: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Forever => None,
            Self::Seconds(seconds) => {
                created.checked_add(SignedDuration::from_secs(i64::try_from(seconds).ok()?)).ok()
            }
        }
    }
}

impl FromStr for Retain {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "forever" {
            return Ok(Self::Forever);
        }
        text.parse().ok().and_then(Period::seconds).map(Self::Seconds).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("{text:?} does not say how long to keep it"))
                .object("retain")
                .hint("write a whole number with s, m, h or d, such as 7d, of at most ten years; or forever")
        })
    }
}

impl fmt::Display for Retain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.pad("forever"),
            Self::Seconds(seconds) => Period::After(*seconds).fmt(f),
        }
    }
}

impl TryFrom<String> for Retain {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Retain> for String {
    fn from(retain: Retain) -> String {
        retain.to_string()
    }
}

impl JsonSchema for Retain {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Retain".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "How long something is kept.",
            "pattern": "^(forever|[0-9]+[smhd])$",
            "examples": ["7d", "forever"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_follow_cron_in_utc() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (schedule, after, next) in [
            ("0 * * * *", "2026-11-22T08:00:00Z", "2026-11-22T09:00:00Z"),
            ("0 * * * *", "2026-11-22T08:59:59.9Z", "2026-11-22T09:00:00Z"),
            ("*/15 * * * *", "2026-11-22T08:16:00Z", "2026-11-22T08:30:00Z"),
            ("30 2 * * 1", "2026-11-22T08:00:00Z", "2026-11-23T02:30:00Z"),
            ("@daily", "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("@yearly", "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"),
        ] {
            let schedule: Schedule = schedule.parse().unwrap();
            assert_eq!(schedule.next_after(at(after)), Some(at(next)), "{schedule}");
        }
    }

    #[test]
    fn what_is_no_schedule() {
        for text in ["", "* * * *", "* * * * * *", "61 * * * *", "0 0 31 2 *", "hourly", "0 * * * * UTC"] {
            let error = text.parse::<Schedule>().unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn how_long_to_keep() {
        for (text, seconds, shown) in [("90m", 5400, "90m"), ("24h", 86_400, "1d"), ("14d", 1_209_600, "14d")]
        {
            let retain: Retain = text.parse().unwrap();
            assert_eq!((retain, retain.to_string().as_str()), (Retain::Seconds(seconds), shown));
        }
        assert_eq!("forever".parse(), Ok(Retain::Forever));
        for text in ["", "7", "d", "-1d", "+1d", "0d", "1.5h", "7 d", "99999999d", "never"] {
            assert!(text.parse::<Retain>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_source_is_written_as_in_the_manifest() {
        for (json, source) in [
            (r#"{"snapshot":"a"}"#, VolumeSource::Snapshot("a".parse().unwrap())),
            (r#"{"volume":"b"}"#, VolumeSource::Volume("b".parse().unwrap())),
        ] {
            assert_eq!(serde_json::from_str::<VolumeSource>(json).unwrap(), source);
            assert_eq!(serde_json::to_string(&source).unwrap(), json);
        }
        assert!(serde_json::from_str::<VolumeSource>(r#"{"snapshot":"a","volume":"b"}"#).is_err());
    }
}
