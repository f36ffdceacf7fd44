//! What a workspace may hold: its limits against what it holds and what is coming, released data counted.
//! Asked in the write that adds to it, so that two of them can't both take the last room.

use orlop_model::{Error, ErrorKind, Result, Size, WorkspaceName, text::count};

use crate::{
    admission::human,
    store::{ContentRow, Held, Intent, Reader, incoming, operations, volumes, workspaces},
};

/// What a write adds to a workspace.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct More {
    /// Volumes.
    pub(crate) volumes: u64,
    /// Bytes, of volumes or of snapshots.
    pub(crate) bytes: u64,
}

/// Whether the workspace may hold that much more.
///
/// # Errors
/// [`ErrorKind::WorkspaceFull`], saying what is used and by what.
pub(crate) fn admit(r: &Reader<'_>, name: &WorkspaceName, more: More) -> Result<()> {
    let Some(row) = workspaces::by_name(r, name)? else { return Ok(()) };
    if row.size_limit.is_none() && row.volume_limit.is_none() {
        return Ok(());
    }
    let mut content = workspaces::content(r, Some(name))?.remove(name).unwrap_or_default();
    content.live.bytes = content.live.bytes.saturating_add(coming(r, name)?);
    check(name, row.size_limit, row.volume_limit, content, more)
}

/// What volumes are about to have beyond what is recorded of them, in bytes: what is copied has its new size
/// only in the end.
fn coming(r: &Reader<'_>, name: &WorkspaceName) -> Result<u64> {
    let mut bytes = 0_u64;
    for operation in operations::unfinished(r)? {
        let grows = match &operation.intent {
            Intent::Resize { to, .. } => Grows::To(Some(*to)),
            Intent::Migrate { .. } => Grows::To(None),
            Intent::Restore { .. } => Grows::By,
            Intent::Create { .. }
            | Intent::Configure
            | Intent::Attach { .. }
            | Intent::Detach { .. }
            | Intent::Delete { .. }
            | Intent::Undelete
            | Intent::Wipe { .. }
            | Intent::Repair
            | Intent::Snapshot { .. }
            | Intent::DeleteSnapshot { .. }
            | Intent::SnapshotGroup { .. }
            | Intent::DeleteSnapshotGroup { .. }
            | Intent::CreatePool { .. }
            | Intent::RemovePool { .. }
            | Intent::ImportPool { .. }
            | Intent::GrowPool { .. }
            | Intent::ExportPool { .. } => continue,
        };
        let Some(id) = operation.volume else { continue };
        let of_it = volumes::by_id(r, id)?.zip(incoming::of_volume(r, id)?);
        let Some((row, incoming)) = of_it.filter(|(row, _)| row.workspace == *name) else { continue };
        let reserved = incoming.reserved.bytes();
        let more = match grows {
            Grows::To(to) => to.unwrap_or(reserved).saturating_sub(row.placement.size.bytes()),
            Grows::By => reserved,
        };
        bytes = bytes.saturating_add(more);
    }
    Ok(bytes)
}

/// What is known of the size that is coming.
enum Grows {
    /// It is so many bytes, or what is reserved for it.
    To(Option<u64>),
    /// It is what is reserved beyond the size that is there.
    By,
}

fn check(
    name: &WorkspaceName,
    size_limit: Option<Size>,
    volume_limit: Option<u64>,
    content: ContentRow,
    more: More,
) -> Result<()> {
    let full = |message: String, hint: &str| {
        Err(Error::new(ErrorKind::WorkspaceFull, message)
            .object(format!("workspace {name}"))
            .hint(format!("{hint}; or ask root for more: orlop workspace create {name}")))
    };
    let purge =
        format!("delete what is not needed, and purge what was deleted (orlop purge --all -w {name})");
    if let Some(limit) = volume_limit
        && more.volumes > 0
        && content.volumes().saturating_add(more.volumes) > limit
    {
        return full(
            format!(
                "workspace {name} may have {}, and has {}: {}",
                count(limit, "volume"),
                content.volumes(),
                holders(content)
            ),
            &purge,
        );
    }
    if let Some(limit) = size_limit
        && more.bytes > 0
        && content.bytes().saturating_add(more.bytes) > limit.bytes()
    {
        let left = limit.bytes().saturating_sub(content.bytes());
        return full(
            format!(
                "{} more do not fit in workspace {name}: of {} it may hold, {} are used and {} are left: {}",
                human(more.bytes),
                human(limit.bytes()),
                human(content.bytes()),
                human(left),
                holders(content)
            ),
            &format!("ask for at most {}; or {purge}", human(left)),
        );
    }
    Ok(())
}

/// Who holds it, the largest first.
fn holders(content: ContentRow) -> String {
    let mut holders = [
        (content.live, "live volume"),
        (content.released, "released volume"),
        (content.snapshots, "snapshot"),
    ];
    holders.sort_by_key(|(held, _)| std::cmp::Reverse(held.bytes));
    let held =
        |(held, what): &(Held, &str)| format!("{} with {}", count(held.count, what), human(held.bytes));
    holders.iter().map(held).collect::<Vec<_>>().join(", ")
}

impl ContentRow {
    /// What counts against the limit of volumes.
    pub(crate) fn volumes(&self) -> u64 {
        self.live.count.saturating_add(self.released.count)
    }

    /// What counts against the limit of bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.live.bytes.saturating_add(self.released.bytes).saturating_add(self.snapshots.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn limits_count_what_was_deleted_and_name_who_holds_it() {
        let name: WorkspaceName = "team".parse().unwrap();
        let content = ContentRow {
            live: Held { count: 2, bytes: 2 * GIB },
            released: Held { count: 1, bytes: 4 * GIB },
            snapshots: Held { count: 3, bytes: GIB },
        };
        let asked = |size: Option<u64>, count: Option<u64>, volumes, bytes| {
            check(&name, size.map(Size::from_bytes), count, content, More { volumes, bytes })
        };
        assert_eq!(asked(None, None, 9, u64::MAX), Ok(()));
        assert_eq!(asked(Some(8 * GIB), Some(4), 1, GIB), Ok(()));
        assert_eq!(asked(Some(0), Some(0), 0, 0), Ok(()), "what adds nothing is never refused");
        let error = asked(Some(8 * GIB), None, 1, GIB + 1).unwrap_err();
        assert_eq!(error.kind, ErrorKind::WorkspaceFull);
        for word in [
            "8Gi",
            "7Gi are used",
            "1Gi are left",
            "1 released volume with 4Gi, 2 live volumes with 2Gi, 3 snapshots with 1Gi",
        ] {
            assert!(error.message.contains(word), "{word}: {error}");
        }
        let error = asked(None, Some(3), 1, 0).unwrap_err();
        assert!(error.message.contains("may have 3 volumes, and has 3"), "{error}");
        assert!(error.hint.unwrap().contains("orlop purge --all -w team"));
    }
}
