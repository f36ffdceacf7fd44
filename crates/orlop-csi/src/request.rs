//! Checking what a request says, before anything is done. Faults name the field.

use std::path::{Path, PathBuf};

use orlop_engine::SizeRange;
use orlop_model::{Error, ErrorKind, Result, Size, SnapshotGroupId, SnapshotId, VolumeId};

use crate::protocol::CapacityRange;

/// The most bytes of a name.
const NAME: usize = 128;

/// The most bytes of a path that the kernel takes.
const PATH: usize = 4095;

/// A value that a field can't have.
pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message).object(field)
}

/// A field that has to be there and isn't.
pub(crate) fn missing(field: &str) -> Error {
    invalid(field, format!("{field} is missing"))
}

/// A field that has to say something.
pub(crate) fn said<'a>(field: &str, text: &'a str) -> Result<&'a str> {
    if text.is_empty() { Err(missing(field)) } else { Ok(text) }
}

/// A message that has to be there.
pub(crate) fn given<T>(field: &str, message: Option<T>) -> Result<T> {
    message.ok_or_else(|| missing(field))
}

/// A name that the orchestrator gives: any text of at most 128 bytes without control characters but white
/// space.
pub(crate) fn name<'a>(field: &str, text: &'a str) -> Result<&'a str> {
    said(field, text)?;
    if text.len() > NAME {
        return Err(invalid(field, format!("{field} has {} bytes, at most {NAME} are allowed", text.len())));
    }
    match text.chars().find(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        Some(c) => Err(invalid(field, format!("{field} has the control character {c:?}"))),
        None => Ok(text),
    }
}

/// The volume of an id; `None` where no volume could have it.
pub(crate) fn volume_id(field: &str, text: &str) -> Result<Option<VolumeId>> {
    // One volume has one id, in one spelling.
    Ok(said(field, text)?.parse::<VolumeId>().ok().filter(|id| id.to_string() == text))
}

/// The same where the volume has to be there.
pub(crate) fn known_volume(field: &str, text: &str) -> Result<VolumeId> {
    volume_id(field, text)?.ok_or_else(|| no_volume(text))
}

pub(crate) fn no_volume(text: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no volume {}", shown(text)))
        .object("volume_id")
        .hint("volumes are made and known on their own node alone")
}

/// The snapshot of an id; `None` where no snapshot could have it.
pub(crate) fn snapshot_id(field: &str, text: &str) -> Result<Option<SnapshotId>> {
    Ok(said(field, text)?.parse::<SnapshotId>().ok().filter(|id| id.to_string() == text))
}

/// The same where the snapshot has to be there.
pub(crate) fn known_snapshot(field: &str, text: &str) -> Result<SnapshotId> {
    snapshot_id(field, text)?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("there is no snapshot {}", shown(text))).object("snapshot_id")
    })
}

/// The group of an id; `None` where no group could have it.
pub(crate) fn group_id(field: &str, text: &str) -> Result<Option<SnapshotGroupId>> {
    Ok(said(field, text)?.parse::<SnapshotGroupId>().ok().filter(|id| id.to_string() == text))
}

/// The same where the group has to be there.
pub(crate) fn known_group(field: &str, text: &str) -> Result<SnapshotGroupId> {
    group_id(field, text)?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("there is no snapshot group {}", shown(text)))
            .object("group_snapshot_id")
    })
}

/// A path of this host.
pub(crate) fn path(field: &str, text: &str) -> Result<PathBuf> {
    said(field, text)?;
    if text.len() > PATH {
        return Err(invalid(field, format!("{field} has {} bytes, at most {PATH} are allowed", text.len())));
    }
    if text.contains('\0') || !Path::new(text).is_absolute() {
        return Err(invalid(field, format!("{field} is {}, which is no absolute path", shown(text))));
    }
    Ok(text.into())
}

/// The bounds of a size. A bound of zero is none.
pub(crate) fn sizes(range: Option<&CapacityRange>) -> Result<SizeRange> {
    let Some(CapacityRange { required_bytes, limit_bytes }) = range else { return Ok(SizeRange::default()) };
    let bound = |field: &str, bytes: i64| {
        let bytes = u64::try_from(bytes).map_err(|_| {
            invalid(&format!("capacity_range.{field}"), format!("capacity_range.{field} is {bytes}"))
                .hint("a size is not negative")
        })?;
        Ok::<_, Error>((bytes > 0).then(|| Size::from_bytes(bytes)))
    };
    Ok(SizeRange {
        least: bound("required_bytes", *required_bytes)?,
        most: bound("limit_bytes", *limit_bytes)?,
    })
}

/// What somebody wrote, cut to what a message can bear.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let mut cut: String = text.chars().take(MOST).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_any_text_without_control_characters() {
        for good in ["a", "pvc-1 / ü\u{a0}\t\n\r", &"x".repeat(128)] {
            assert_eq!(name("name", good), Ok(good));
        }
        for bad in ["", "a\0", "a\u{8}", "\u{b}", "\u{1f}", "\u{7f}", "\u{9f}", &"x".repeat(129)] {
            let error = name("name", bad).unwrap_err();
            assert_eq!(
                (error.kind, error.object.as_deref()),
                (ErrorKind::InvalidArgument, Some("name")),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = "01936f2e-6c3a-7c5b-8d1e-2f3a4b5c6d7e";
        assert_eq!(known_volume("volume_id", id).unwrap().to_string(), id);
        for other in
            [id.to_uppercase(), format!("{{{id}}}"), id.replace('-', ""), format!("{id} "), "a".to_owned()]
        {
            assert_eq!(volume_id("volume_id", &other), Ok(None), "{other}");
            assert_eq!(known_snapshot("snapshot_id", &other).unwrap_err().kind, ErrorKind::NotFound);
        }
        assert_eq!(volume_id("volume_id", "").unwrap_err().kind, ErrorKind::InvalidArgument);
    }

    #[test]
    fn paths_are_absolute() {
        assert!(path("target_path", "/var/lib/kubelet/pods/1").is_ok());
        for bad in ["", "a/b", "a\0", "/a\0b", &format!("/{}", "x".repeat(4095))] {
            assert_eq!(path("target_path", bad).unwrap_err().kind, ErrorKind::InvalidArgument);
        }
    }

    #[test]
    fn bounds_of_sizes() {
        let range = |required_bytes, limit_bytes| sizes(Some(&CapacityRange { required_bytes, limit_bytes }));
        let size = |bytes| Some(Size::from_bytes(bytes));
        assert_eq!(sizes(None).unwrap(), SizeRange::default());
        assert_eq!(range(0, 0).unwrap(), SizeRange::default());
        assert_eq!(range(1, 2).unwrap(), SizeRange { least: size(1), most: size(2) });
        let error = range(0, -1).unwrap_err();
        assert_eq!(error.object.as_deref(), Some("capacity_range.limit_bytes"));
        assert_eq!(range(i64::MIN, 0).unwrap_err().kind, ErrorKind::InvalidArgument);
    }
}
