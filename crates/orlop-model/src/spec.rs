//! What a user asks for: the manifest of a volume, once parsed. What became of it is in `resource`.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    access::{AccessMode, VolumeMode, word},
    error::{Error, ErrorKind},
    filesystem::{FilesystemChoice, MountOption},
    name::{PoolName, VolumeName},
    size::Size,
    volume_type::VolumeType,
};

/// Whose resource it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// A user's.
    #[default]
    User,
    /// The platform's.
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
    /// The volume's name, unique in its workspace.
    pub name: VolumeName,
    /// The manifest's version.
    pub version: ManifestVersion,
    /// The resource's type.
    #[serde(rename = "type")]
    pub resource_type: VolumeResourceType,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A label; who may act is decided by the uid that applied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whose resource it is.
    #[serde(default)]
    pub layer: Layer,
    /// The volume itself.
    pub volume: VolumeSpec,
}

/// The version this build reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ManifestVersion {
    /// `v1beta`.
    #[default]
    #[serde(rename = "v1beta")]
    V1Beta,
}

/// The resource type of a volume's manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VolumeResourceType {
    /// `volume`.
    #[default]
    #[serde(rename = "volume")]
    Volume,
}

/// The section `volume` of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSpec {
    /// How much it holds; the kernel enforces it.
    pub size: Size,
    /// Who may use it at the same time.
    pub access_mode: AccessMode,
    /// What becomes of the data on delete.
    #[serde(rename = "type")]
    pub volume_type: VolumeType,
    /// A directory or a block device.
    #[serde(default, skip_serializing_if = "is_default")]
    pub volume_mode: VolumeMode,
    /// The pool it lives in; the pool `default` where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// The filesystem inside.
    #[serde(default, skip_serializing_if = "is_default")]
    pub filesystem: FilesystemChoice,
    /// The user id that owns the volume's root directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The group id that owns the volume's root directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// The permissions of the volume's root directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<DirectoryMode>,
    /// Options beyond `nosuid,nodev`, which every volume has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mount_options: Vec<MountOption>,
    /// Take the disk space now, and never give it back while the volume lives.
    #[serde(default, skip_serializing_if = "is_default")]
    pub preallocate: bool,
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
        let digits = !octal.is_empty() && octal.len() <= 5 && octal.bytes().all(|b| b.is_ascii_digit());
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
            "type": ["string", "integer"],
            "description": "Permission bits in octal.",
            "pattern": "^(0o)?[0-7]{3,5}$",
            "examples": ["0770", "2775"],
        })
    }
}
