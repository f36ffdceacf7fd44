//! What a user asks for: the manifest of a volume, once parsed. What became of it is in `resource`.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    access::{AccessMode, VolumeMode, word},
    error::{Error, ErrorKind},
    filesystem::{FilesystemChoice, MountOption},
    name::{PoolName, VolumeName},
    period::Period,
    size::Size,
    snapshot::{SnapshotPolicy, VolumeSource},
    volume_type::VolumeType,
};

/// Whose resource it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// A user's resource.
    #[default]
    User,
    /// The platform's resource.
    System,
}

impl Layer {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::User, Self::System];

    /// The word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
        }
    }
}

word!(Layer, "layer");

/// A manifest of type `volume`: a checked one, as JSON the way the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeManifest {
    /// The name of the volume, unique among the volumes of its workspace. Lower-case letters, digits
    /// and hyphens, beginning and ending with a letter or digit, at most 48 characters.
    #[schemars(extend("x-change" = "never: another name is another volume", "examples" = ["persistent-v"]))]
    pub name: VolumeName,
    /// The version of the manifest's form.
    #[schemars(extend("x-change" = "never"))]
    pub version: ManifestVersion,
    /// The type of the resource.
    #[serde(rename = "type")]
    #[schemars(extend("x-change" = "never"))]
    pub resource_type: VolumeResourceType,
    /// Words to find the volume by, as with `orlop get --tags`.
    #[schemars(extend("x-change" = "in place", "examples" = [["dataos:volume", "example"]]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What the volume is for, in words for people.
    #[schemars(extend("x-change" = "in place"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A label that says whose it is. It grants nothing: who may act is decided by the uid that
    /// applied the manifest, which the kernel tells.
    #[schemars(extend("x-change" = "in place"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whether it is a user's resource or the platform's. A label as well.
    #[serde(default)]
    #[schemars(extend("x-change" = "in place"))]
    pub layer: Layer,
    /// How much it holds, who may use it, and how it is made.
    #[serde(deserialize_with = "crate::json::object")]
    pub volume: VolumeSpec,
}

/// The version this build reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub enum ManifestVersion {
    /// The one version there is.
    #[default]
    #[serde(rename = "v1beta")]
    V1Beta,
}

impl ManifestVersion {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::V1Beta];

    /// The word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1Beta => crate::MANIFEST_VERSION,
        }
    }
}

word!(ManifestVersion, "manifest version");

/// The resource type of a volume's manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub enum VolumeResourceType {
    /// A volume.
    #[default]
    #[serde(rename = "volume")]
    Volume,
}

impl VolumeResourceType {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Volume];

    /// The word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Volume => "volume",
        }
    }
}

word!(VolumeResourceType, "type of a volume's manifest");

/// The section `volume` of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = modes_of_cloud_types, transform = rules_of_types_and_modes)]
pub struct VolumeSpec {
    /// How much the volume holds, as a Kubernetes quantity: a number with a binary suffix (`Ki`, `Mi`,
    /// `Gi`, `Ti`, `Pi`, `Ei`) or a decimal one (`k`, `M`, `G`, `T`, `P`, `E`), or bytes without one.
    /// A whole number of bytes, at least 16Mi. The kernel enforces it; the filesystem's own structures
    /// take a part of it.
    #[schemars(extend("x-change" = "larger: in place, also in use (an ext4 in use: where the daemon has CAP_SYS_RESOURCE); smaller: ext4 while nobody uses it, on a copy; XFS: `orlop volume migrate`", "minimum" = Size::LEAST.bytes()))]
    pub size: Size,
    /// Who may use the volume at the same time. `CloudTemp` and `CloudPersistent` volumes are always
    /// `ReadWriteOnce`.
    #[schemars(extend("x-change" = "in place, where those who use the volume now don't contradict it"))]
    pub access_mode: AccessMode,
    /// What becomes of the data when the volume is deleted, and where a copy is kept.
    #[serde(rename = "type")]
    #[schemars(extend("x-change" = "in place"))]
    pub volume_type: VolumeType,
    /// What a consumer sees: a directory or a block device. A block device is had by pods through CSI
    /// alone, is never mounted by orlop, and has no `filesystem`, `uid`, `gid`, `mode` or `mountOptions`.
    #[schemars(extend("x-change" = "refused: a directory can't become a block device, nor the other way round", "default" = "Filesystem"))]
    #[serde(default, skip_serializing_if = "is_default")]
    pub volume_mode: VolumeMode,
    /// The pool the volume lives in, by name; the pool `default` where none is named.
    #[schemars(extend("x-change" = "refused: `orlop volume migrate` moves it", "default" = "default"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// The filesystem inside. XFS needs a size of at least 300Mi.
    #[schemars(extend("x-change" = "refused: a filesystem can't become another with the data in it", "default" = "auto"))]
    #[serde(default, skip_serializing_if = "is_default")]
    pub filesystem: FilesystemChoice,
    /// The user id that owns the volume's root directory, for containers that don't run as root:
    /// 0 to 4294967294. Where none is said it is the user who applied it.
    #[schemars(extend("x-change" = "in place, at the root directory only", "maximum" = 4_294_967_294_u32))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The group id that owns the volume's root directory: 0 to 4294967294.
    #[schemars(extend("x-change" = "in place, at the root directory only", "default" = 0, "maximum" = 4_294_967_294_u32))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// The permissions of the volume's root directory, as three or four octal digits. They are octal
    /// with or without quotes; the REST interface takes them in quotes only.
    #[schemars(extend("x-change" = "in place, at the root directory only", "default" = "0755"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<DirectoryMode>,
    /// Mount options, each once. Every volume is mounted `nosuid,nodev` whatever this says: `suid`
    /// and `dev` are refused.
    #[schemars(extend("x-change" = "in place, for those who come when its present users have left; the status says so until then", "uniqueItems" = true))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mount_options: Vec<MountOption>,
    /// Take the disk space when the volume is made and keep it while it lives, for a volume that must
    /// never see another user of the disk fill it. Blocks freed inside are then not given back. While a
    /// snapshot or a clone of it shares its blocks, what changes takes new room, which the pool keeps for
    /// it as for any other volume; its status says so. Refused for a block device: what its users discard
    /// is given back.
    #[schemars(extend("x-change" = "refused: space is taken, or left, when a volume is made", "default" = false))]
    #[serde(default, skip_serializing_if = "is_default")]
    pub preallocate: bool,
    /// Refuse to delete the volume, by whatever way, until this is taken away again. The data of a
    /// protected `temp` volume is not wiped either.
    #[schemars(extend("x-change" = "in place", "default" = false))]
    #[serde(default, skip_serializing_if = "is_default")]
    pub protection: bool,
    /// For `temp` and `CloudTemp`: how long after its last user left the data is wiped. A container
    /// that is stopped has left. Where nothing is said it is what the daemon's configuration says,
    /// `10m` by default; `never` keeps the data until the volume is deleted.
    #[schemars(extend("x-change" = "in place: what is counting goes on with it"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temp_grace_period: Option<Period>,
    /// What the volume is made from: a snapshot or another volume of its workspace. It begins with
    /// the data of that, and is its own from then on.
    #[schemars(extend("x-change" = "never: it says what the volume was made from", "examples" = [{"snapshot": "before-upgrade"}, {"volume": "persistent-v"}]))]
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::json::optional_object"
    )]
    pub source: Option<VolumeSource>,
    /// When snapshots of the volume are made by themselves, and which of them are kept.
    #[schemars(extend("x-change" = "in place"))]
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::json::optional_object"
    )]
    pub snapshots: Option<SnapshotPolicy>,
}

/// Cloud types are for one workload: see [`crate::rules::access_mode`].
fn modes_of_cloud_types(schema: &mut schemars::Schema) {
    let cloud: Vec<&str> =
        VolumeType::ALL.into_iter().filter(|t| t.is_cloud()).map(VolumeType::as_str).collect();
    let allowed = |mode: &AccessMode| VolumeType::ALL.into_iter().all(|t| t.allows(*mode));
    let modes: Vec<&str> = AccessMode::ALL.into_iter().filter(allowed).map(AccessMode::as_str).collect();
    schema.insert("if".into(), json!({"properties": {"type": {"enum": cloud}}, "required": ["type"]}));
    schema.insert("then".into(), json!({"properties": {"accessMode": {"enum": modes}}}));
}

/// What is retained is never wiped: see [`crate::rules::temp_grace_period`]. Nothing of a block device
/// is ours to own, to format, to mount or to keep taken: see [`crate::rules::block`].
fn rules_of_types_and_modes(schema: &mut schemars::Schema) {
    let retaining: Vec<&str> =
        VolumeType::ALL.into_iter().filter(|t| t.retains()).map(VolumeType::as_str).collect();
    let wipes = json!({
        "if": {"properties": {"type": {"enum": retaining}}, "required": ["type"]},
        "then": {"properties": {"tempGracePeriod": {"type": "null"}}},
    });
    let devices = json!({
        "if": {"properties": {"volumeMode": {"enum": [VolumeMode::Block]}}, "required": ["volumeMode"]},
        "then": {"properties": {
            "filesystem": {"enum": [FilesystemChoice::Auto, null]},
            "uid": {"type": "null"},
            "gid": {"type": "null"},
            "mode": {"type": "null"},
            "mountOptions": {"enum": [[], null]},
            "preallocate": {"enum": [false, null]},
        }},
    });
    schema.insert("allOf".into(), json!([wipes, devices]));
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Permission bits of a directory, written in octal as in `"0770"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DirectoryMode(u32);

impl DirectoryMode {
    /// The bits, at most `0o7777`.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// From bits; `None` above `0o7777`.
    pub fn from_bits(bits: u32) -> Option<Self> {
        (bits <= 0o7777).then_some(Self(bits))
    }
}

impl fmt::Display for DirectoryMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl FromStr for DirectoryMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let octal = text.strip_prefix("0o").unwrap_or(text);
        let digits = (3..=5).contains(&octal.len()) && octal.bytes().all(|b| b.is_ascii_digit());
        u32::from_str_radix(octal, 8).ok().filter(|_| digits).and_then(Self::from_bits).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("the mode {text:?} is not octal permissions"))
                .object("mode")
                .hint("write it as three or four octal digits, such as \"0770\" or \"2775\"")
        })
    }
}

impl TryFrom<String> for DirectoryMode {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<DirectoryMode> for String {
    fn from(mode: DirectoryMode) -> String {
        mode.to_string()
    }
}

impl JsonSchema for DirectoryMode {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DirectoryMode".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "Permission bits in octal.",
            "pattern": "^(0o)?0?[0-7]{3,4}$",
            "examples": ["0770", "2775"],
        })
    }
}
