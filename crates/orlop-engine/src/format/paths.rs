//! The paths of a pool. They are made of generated ids and our own words, never of a user's text.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use orlop_model::{FilesystemKind, Size, SnapshotId, VolumeId};
use uuid::Uuid;

/// The name of an image that is to take the place of a volume's, while it is made.
pub(crate) const REPLACEMENT: &str = "data.img.new";

/// The paths below the directory of one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolPaths {
    root: PathBuf,
}

impl PoolPaths {
    /// `root` is the pool's directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The pool's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `orlop.pool`.
    pub fn marker(&self) -> PathBuf {
        self.root.join("orlop.pool")
    }

    /// What the daemon locks that uses the pool. Its content is for people.
    pub fn lock(&self) -> PathBuf {
        self.root.join("orlop.lock")
    }

    /// The directory of the volumes' directories.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// The directory of one volume.
    pub fn volume(&self, id: VolumeId) -> PathBuf {
        self.volumes().join(id.to_string())
    }

    /// The `volume.json` of one volume.
    pub fn record(&self, id: VolumeId) -> PathBuf {
        self.volume(id).join("volume.json")
    }

    /// The image of one volume.
    pub fn image(&self, id: VolumeId) -> PathBuf {
        self.volume(id).join("data.img")
    }

    /// What is to take the place of that image, while it is made.
    pub fn replacement(&self, id: VolumeId) -> PathBuf {
        self.volume(id).join(REPLACEMENT)
    }

    /// The directory of the snapshots' directories.
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The directory of one snapshot.
    pub fn snapshot(&self, id: SnapshotId) -> PathBuf {
        self.snapshots().join(id.to_string())
    }

    /// The `snapshot.json` of one snapshot.
    pub fn snapshot_record(&self, id: SnapshotId) -> PathBuf {
        self.snapshot(id).join("snapshot.json")
    }

    /// The image of one snapshot.
    pub fn snapshot_image(&self, id: SnapshotId) -> PathBuf {
        self.snapshot(id).join("data.img")
    }

    /// What a volume's image is exchanged for, until it is.
    pub fn next_image(&self, id: VolumeId) -> PathBuf {
        self.volume(id).join("data.img.next")
    }

    /// The directory of the blanks.
    pub fn blanks(&self) -> PathBuf {
        self.root.join("blanks")
    }

    /// One blank.
    pub fn blank(&self, name: &BlankName) -> PathBuf {
        self.blanks().join(name.to_string())
    }

    /// The snapshot whose directory has that name; `None` as below.
    pub fn snapshot_of(name: &str) -> Option<SnapshotId> {
        name.parse().ok().filter(|id: &SnapshotId| id.to_string() == name)
    }

    /// The volume whose directory has that name; `None` for anything that [`Self::volume`] would
    /// not have made, such as a UUID written another way.
    pub fn volume_of(name: &str) -> Option<VolumeId> {
        name.parse().ok().filter(|id: &VolumeId| id.to_string() == name)
    }
}

/// The name of a blank: an image that was formatted ahead of need. It says all that decides for
/// which volumes it will do, so that the directory is the only list of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlankName {
    /// The filesystem inside.
    pub filesystem: FilesystemKind,
    /// Its length.
    pub size: Size,
    /// The rule that it was formatted by, as in [`super::ImageFormat::rule`].
    pub rule: u32,
    /// Generated.
    pub id: Uuid,
}

impl fmt::Display for BlankName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-r{}-{}.img", self.filesystem, self.size.bytes(), self.rule, self.id.hyphenated())
    }
}

/// The text is not the name of a blank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a blank")]
pub struct NoBlankName;

impl FromStr for BlankName {
    type Err = NoBlankName;

    fn from_str(text: &str) -> Result<Self, NoBlankName> {
        let parse = || {
            let mut parts = text.strip_suffix(".img")?.splitn(4, '-');
            let name = Self {
                filesystem: parts.next()?.parse().ok()?,
                size: Size::from_bytes(parts.next()?.parse().ok()?),
                rule: parts.next()?.strip_prefix('r')?.parse().ok()?,
                id: parts.next()?.parse().ok()?,
            };
            (name.to_string() == text).then_some(name)
        };
        parse().ok_or(NoBlankName)
    }
}
