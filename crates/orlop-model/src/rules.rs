//! Rules between the fields of a volume, and bounds beyond what a field's type says. The manifest finds
//! where a broken one stands in the text; fronts that build a [`VolumeSpec`] otherwise call [`VolumeSpec::check`].

use crate::{
    AccessMode, Error, ErrorKind, FilesystemChoice, FilesystemKind, MountOption, Size, VolumeMode,
    VolumeSpec, VolumeType,
};

/// The blocks of a block device, in bytes.
pub const BLOCK: u64 = 4096;

/// A rule that a value breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The field to change, by its key under `volume`.
    pub field: &'static str,
    /// The rule in one stable word.
    pub code: &'static str,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        Self::new(ErrorKind::InvalidArgument, broken.message)
            .object(format!("volume.{}", broken.field))
            .hint(broken.hint)
    }
}

/// A volume has at least [`Size::LEAST`].
pub fn size(size: Size) -> Option<Broken> {
    if size >= Size::LEAST {
        return None;
    }
    let message = match size.bytes() {
        0 => "the size is zero".to_owned(),
        _ => format!("the size {size} is too small"),
    };
    Some(Broken {
        field: "size",
        code: "size-too-small",
        message,
        hint: format!(
            "a volume has at least {}: below that a filesystem's own structures leave too little",
            Size::LEAST
        ),
    })
}

/// Cloud types are for one workload.
pub fn access_mode(volume_type: VolumeType, mode: AccessMode) -> Option<Broken> {
    (!volume_type.allows(mode)).then(|| Broken {
        field: "accessMode",
        code: "access-mode-of-type",
        message: format!("a {volume_type} volume can't be {mode}"),
        hint: format!(
            "{volume_type} is for one workload: set accessMode to ReadWriteOnce, or type to temp or persistent"
        ),
    })
}

/// What is wiped after a time is a temp volume's.
pub fn temp_grace_period(volume_type: VolumeType) -> Option<Broken> {
    volume_type.retains().then(|| Broken {
        field: "tempGracePeriod",
        code: "grace-of-type",
        message: format!("a {volume_type} volume has no tempGracePeriod: its data is never wiped"),
        hint: "leave it out, or set type to temp".to_owned(),
    })
}

/// XFS has a least size.
pub fn filesystem(filesystem: FilesystemChoice, size: Size) -> Option<Broken> {
    (filesystem == FilesystemChoice::Xfs && size < FilesystemKind::XFS_LEAST).then(|| Broken {
        field: "filesystem",
        code: "size-of-filesystem",
        message: format!("XFS can't be made in {size}"),
        hint: format!("set size to at least {}, or filesystem to auto or ext4", FilesystemKind::XFS_LEAST),
    })
}

/// The highest id is no id: to the kernel it means "leave as it is".
pub fn owner_id(field: &'static str, id: u32) -> Option<Broken> {
    (id == u32::MAX).then(|| Broken {
        field,
        code: "id-range",
        message: format!("{field} {id} is not an id the kernel can give to a file"),
        hint: format!("use 0 to {}", u32::MAX - 1),
    })
}

/// A block device is whole blocks, and nothing of it is ours to own, to format, to mount or to keep taken.
pub fn block(spec: &VolumeSpec) -> Option<Broken> {
    match spec.volume_mode {
        VolumeMode::Filesystem => return None,
        VolumeMode::Block => {}
    }
    if !spec.size.bytes().is_multiple_of(BLOCK) {
        let more = spec.size.bytes().div_ceil(BLOCK).saturating_mul(BLOCK);
        return Some(Broken {
            field: "size",
            code: "size-of-block",
            message: format!("a block device has whole blocks of {BLOCK} bytes, and {} are none", spec.size),
            hint: format!("use {}", Size::from_bytes(more)),
        });
    }
    let said = [
        ("filesystem", spec.filesystem != FilesystemChoice::Auto),
        ("uid", spec.uid.is_some()),
        ("gid", spec.gid.is_some()),
        ("mode", spec.mode.is_some()),
        ("mountOptions", !spec.mount_options.is_empty()),
    ];
    let of_filesystem = said.into_iter().find(|(_, said)| *said).map(|(field, _)| Broken {
        field,
        code: "field-of-filesystem",
        message: format!("{field} means nothing for a block device, which has no filesystem of ours"),
        hint: "leave it out, or set volumeMode to Filesystem".to_owned(),
    });
    of_filesystem.or_else(|| {
        spec.preallocate.then(|| Broken {
            field: "preallocate",
            code: "preallocated-block",
            message: "the room of a block device can't be kept: whoever has it gives back what it discards, and mkfs discards all of it".to_owned(),
            hint: "leave preallocate out, which is for filesystems".to_owned(),
        })
    })
}

/// An option is given once.
pub fn mount_options(options: &[MountOption]) -> Option<Broken> {
    let twice = options.iter().enumerate().find(|(place, option)| options[..*place].contains(option));
    twice.map(|(_, option)| duplicate_mount_option(*option))
}

pub(crate) fn duplicate_mount_option(option: MountOption) -> Broken {
    Broken {
        field: "mountOptions",
        code: "duplicate-option",
        message: format!("the mount option {option} is given twice"),
        hint: "remove one of them".to_owned(),
    }
}

impl VolumeSpec {
    /// A volume as a record has it, without what can't be kept: records may have `preallocate` of a block
    /// device.
    #[must_use]
    pub fn recorded(mut self) -> Self {
        self.preallocate &= match self.volume_mode {
            VolumeMode::Filesystem => true,
            VolumeMode::Block => false,
        };
        self
    }

    /// The first rule this volume breaks, as an error.
    ///
    /// # Errors
    /// `InvalidArgument`, with the field as its object.
    pub fn check(&self) -> Result<(), Error> {
        let broken = size(self.size)
            .or_else(|| access_mode(self.volume_type, self.access_mode))
            .or_else(|| filesystem(self.filesystem, self.size))
            .or_else(|| self.uid.and_then(|uid| owner_id("uid", uid)))
            .or_else(|| self.gid.and_then(|gid| owner_id("gid", gid)))
            .or_else(|| mount_options(&self.mount_options))
            .or_else(|| block(self))
            .or_else(|| self.temp_grace_period.and_then(|_| temp_grace_period(self.volume_type)));
        broken.map_or(Ok(()), |broken| Err(broken.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> Result<(), String> {
        let mut volume = serde_json::json!({"size": "1Gi", "accessMode": "ReadWriteOnce", "type": "temp"});
        for (key, value) in json.as_object().unwrap() {
            volume[key] = value.clone();
        }
        let spec: VolumeSpec = serde_json::from_value(volume).unwrap();
        spec.check().map_err(|error| error.object.unwrap())
    }

    #[test]
    fn each_rule_names_its_field() {
        let field = |field: &str| Err(format!("volume.{field}"));
        for (change, expected) in [
            (serde_json::json!({}), Ok(())),
            (serde_json::json!({"size": "16Mi"}), Ok(())),
            (serde_json::json!({"size": "16777215"}), field("size")),
            (serde_json::json!({"size": "0"}), field("size")),
            (serde_json::json!({"type": "CloudTemp"}), Ok(())),
            (serde_json::json!({"type": "CloudTemp", "accessMode": "ReadWriteMany"}), field("accessMode")),
            (
                serde_json::json!({"type": "CloudPersistent", "accessMode": "ReadOnlyMany"}),
                field("accessMode"),
            ),
            (serde_json::json!({"type": "temp", "accessMode": "ReadWriteOncePod"}), Ok(())),
            (serde_json::json!({"filesystem": "xfs", "size": "300Mi"}), Ok(())),
            (serde_json::json!({"filesystem": "xfs", "size": "299Mi"}), field("filesystem")),
            (serde_json::json!({"uid": 4_294_967_294_u32}), Ok(())),
            (serde_json::json!({"uid": 4_294_967_295_u32}), field("uid")),
            (serde_json::json!({"gid": 4_294_967_295_u32}), field("gid")),
            (serde_json::json!({"mountOptions": ["sync", "noexec"]}), Ok(())),
            (serde_json::json!({"mountOptions": ["sync", "noexec", "sync"]}), field("mountOptions")),
            (serde_json::json!({"volumeMode": "Block", "preallocate": false, "filesystem": "auto"}), Ok(())),
            (serde_json::json!({"volumeMode": "Block", "preallocate": true}), field("preallocate")),
            (serde_json::json!({"preallocate": true}), Ok(())),
            (serde_json::json!({"volumeMode": "Block", "size": "67108865"}), field("size")),
            (serde_json::json!({"volumeMode": "Block", "filesystem": "ext4"}), field("filesystem")),
            (serde_json::json!({"volumeMode": "Block", "uid": 0}), field("uid")),
            (serde_json::json!({"volumeMode": "Block", "gid": 0}), field("gid")),
            (serde_json::json!({"volumeMode": "Block", "mode": "0700"}), field("mode")),
            (serde_json::json!({"volumeMode": "Block", "mountOptions": ["sync"]}), field("mountOptions")),
            (serde_json::json!({"tempGracePeriod": "1h"}), Ok(())),
            (serde_json::json!({"type": "persistent", "protection": true}), Ok(())),
            (serde_json::json!({"type": "persistent", "tempGracePeriod": "never"}), field("tempGracePeriod")),
        ] {
            assert_eq!(spec(change.clone()), expected, "{change}");
        }
    }
}
