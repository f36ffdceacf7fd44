//! Whether one more consumer may have a volume, and as what. Pure: the records were reconciled with
//! the kernel before, and nothing here knows a front beyond what its scopes say.

use jiff::Timestamp;
use orlop_model::{AccessMode, Error, ErrorKind, Result, resource::Front};

/// The volume that is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// `workspace/name`.
    pub(crate) title: &'a str,
    pub(crate) mode: AccessMode,
}

/// One who has it already, by record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder<'a> {
    pub(crate) front: Front,
    pub(crate) scope: &'a str,
    pub(crate) shared: bool,
    pub(crate) consumer: &'a str,
    pub(crate) read_only: bool,
    /// It only keeps the volume ready for others of its front.
    pub(crate) staged: bool,
    pub(crate) since: Timestamp,
}

/// One who has it by the kernel, with no record: left behind in some mount namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lingerer {
    pub(crate) pid: u32,
    /// The name of that process.
    pub(crate) process: String,
    /// Where, as that process sees it.
    pub(crate) mount_point: String,
    /// It is in our own namespace: no process has to end for it to go.
    pub(crate) own: bool,
    /// Nothing can be written through it.
    pub(crate) read_only: bool,
}

impl Lingerer {
    /// What ends it.
    pub(crate) fn remedy(&self) -> String {
        if self.own { format!("umount {}", self.mount_point) } else { format!("end process {}", self.pid) }
    }
}

impl std::fmt::Display for Lingerer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.own {
            return write!(f, "this host, which still has it mounted on {}", self.mount_point);
        }
        write!(
            f,
            "process {} ({}), which still has it mounted on {}",
            self.pid, self.process, self.mount_point
        )
    }
}

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) front: Front,
    pub(crate) scope: &'a str,
    /// The scope may stand for many workloads.
    pub(crate) shared: bool,
    /// It is to be kept ready for others of its front.
    pub(crate) staged: bool,
    /// It gets a place of its own, though its scope may have the volume elsewhere.
    pub(crate) own_place: bool,
    /// It is to be the only one of its front that has it, whatever the mode lets others do.
    pub(crate) alone: bool,
    pub(crate) access: Access,
}

/// As what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// What the mode gives.
    ByMode,
    /// Reading only.
    ReadOnly,
    /// Writing, also where the mode is read-only for everybody.
    Fill,
}

/// What is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) read_only: bool,
    /// The same scope has it already; nothing new is recorded.
    pub(crate) already: bool,
}

impl Holder<'_> {
    fn is(&self, wish: &Wish<'_>) -> bool {
        self.front == wish.front && self.scope == wish.scope
    }

    /// Whether they have the volume together, and neither can stand in the way of the other.
    fn goes_with(&self, wish: &Wish<'_>) -> bool {
        let together = self.staged || wish.staged || self.scope == wish.scope;
        wish.own_place && self.front == wish.front && together
    }

    /// It writes where the mode lets everybody only read.
    fn fills(&self, mode: AccessMode) -> bool {
        mode == AccessMode::ReadOnlyMany && !self.read_only
    }
}

/// Decides.
///
/// # Errors
/// [`ErrorKind::AccessRefused`], naming the volume, its mode, who has it since when, and what to do.
pub(crate) fn decide(
    asked: Asked<'_>,
    holders: &[Holder<'_>],
    lingerers: &[Lingerer],
    wish: Wish<'_>,
) -> Result<Grant> {
    let others: Vec<Holder<'_>> = holders.iter().filter(|holder| !holder.goes_with(&wish)).copied().collect();
    let holders = others.as_slice();
    if let Some(holder) = holders.iter().find(|holder| holder.is(&wish)) {
        let read_only = holder.read_only || wish.access == Access::ReadOnly;
        return Ok(Grant { read_only, already: true });
    }
    if let Some(filler) = holders.iter().find(|holder| holder.fills(asked.mode)) {
        return Err(taken(asked, &[*filler], &[], wish, "is being filled")
            .hint("wait until its owner has filled it and unmounted it"));
    }
    let writer = lingerers.iter().find(|lingerer| !lingerer.read_only);
    if let (AccessMode::ReadOnlyMany, Some(writer)) = (asked.mode, writer) {
        return Err(taken(asked, &[], std::slice::from_ref(writer), wish, "can still be written")
            .hint(writer.remedy()));
    }
    let one_only = |hint: &str| {
        if holders.is_empty() && lingerers.is_empty() {
            return Ok(Grant { read_only: wish.access == Access::ReadOnly, already: false });
        }
        let hint = match lingerers {
            [] => hint.to_owned(),
            [lingerer, ..] => format!("{}, or {hint}", lingerer.remedy()),
        };
        Err(taken(asked, holders, lingerers, wish, "is in use").hint(hint))
    };
    match asked.mode {
        AccessMode::ReadWriteMany => match lingerers {
            [lingerer, ..] if wish.alone => {
                let how = "asked for by one that is to have it alone, but in use";
                Err(taken(asked, &[], lingerers, wish, how)
                    .hint(format!("{}; or {MANY_WRITERS}", lingerer.remedy())))
            }
            _ => Ok(Grant { read_only: wish.access == Access::ReadOnly, already: false }),
        },
        AccessMode::ReadOnlyMany => match wish.access {
            Access::ByMode | Access::ReadOnly => Ok(Grant { read_only: true, already: false }),
            Access::Fill => one_only("fill it when nobody uses it"),
        },
        AccessMode::ReadWriteOnce => {
            one_only("stop that one first; or apply the volume with accessMode: ReadWriteMany, to share it")
        }
        AccessMode::ReadWriteOncePod if wish.shared => Err(refused(
            asked,
            format!(
                "volume {} is ReadWriteOncePod, which {} can't keep: it mounts a volume once for all its containers, so one pod can't be told from two",
                asked.title,
                wish.front.as_str()
            ),
        )
        .hint("apply the volume with accessMode: ReadWriteOnce (one per host there) or ReadWriteMany")),
        AccessMode::ReadWriteOncePod => {
            one_only("stop that one first; or apply the volume with accessMode: ReadWriteMany, to share it")
        }
    }
}

/// What one can do that asks for it alone and can't have it so.
const MANY_WRITERS: &str = "ask for an access mode of many writers";

/// The refusal where somebody has it whom no record and no visible mount names.
pub(crate) fn unseen(asked: Asked<'_>, who: &str) -> Error {
    let error = refused(asked, format!("volume {} is {} and in use by {who}", asked.title, asked.mode));
    match asked.mode {
        AccessMode::ReadWriteMany => error.hint(format!("end that process; or {MANY_WRITERS}")),
        AccessMode::ReadWriteOnce | AccessMode::ReadWriteOncePod | AccessMode::ReadOnlyMany => error.hint(
            "end that process, or unmount that bind; or apply the volume with accessMode: ReadWriteMany, to share it",
        ),
    }
}

/// Whether somebody without a record could stand in the way of the first who has one.
pub(crate) fn excludes_others(mode: AccessMode, wish: Wish<'_>) -> bool {
    match mode {
        AccessMode::ReadWriteOnce | AccessMode::ReadWriteOncePod | AccessMode::ReadOnlyMany => true,
        AccessMode::ReadWriteMany => wish.alone,
    }
}

/// Whether the volume can have that mode while those hold it.
///
/// # Errors
/// [`ErrorKind::InUse`], naming who stands in the way.
pub(crate) fn allows_change(title: &str, to: AccessMode, holders: &[Holder<'_>]) -> Result<()> {
    let against: Vec<Holder<'_>> = match to {
        AccessMode::ReadWriteMany => Vec::new(),
        AccessMode::ReadOnlyMany => holders.iter().filter(|holder| !holder.read_only).copied().collect(),
        AccessMode::ReadWriteOnce if holders.len() > 1 => holders.to_vec(),
        AccessMode::ReadWriteOnce => Vec::new(),
        AccessMode::ReadWriteOncePod if holders.len() > 1 => holders.to_vec(),
        AccessMode::ReadWriteOncePod => holders.iter().filter(|holder| holder.shared).copied().collect(),
    };
    if against.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InUse,
        format!("volume {title} can't become {to} while it is used by {}", names(&against, &[])),
    )
    .object("volume.accessMode")
    .hint("stop them, then apply again"))
}

/// Everybody who has it, for a refusal.
pub(crate) fn names(holders: &[Holder<'_>], lingerers: &[Lingerer]) -> String {
    const SHOWN: usize = 5;
    let since = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let mut words: Vec<String> =
        holders.iter().map(|holder| format!("{} (since {})", holder.consumer, since(holder.since))).collect();
    words.extend(lingerers.iter().map(ToString::to_string));
    let more = words.len().saturating_sub(SHOWN);
    words.truncate(SHOWN);
    let words = words.join(", ");
    if more == 0 { words } else { format!("{words} and {more} more") }
}

fn taken(
    asked: Asked<'_>,
    holders: &[Holder<'_>],
    lingerers: &[Lingerer],
    wish: Wish<'_>,
    how: &str,
) -> Error {
    let mut message =
        format!("volume {} is {} and {how} by {}", asked.title, asked.mode, names(holders, lingerers));
    // Docker sends one id for each mount point of each start, so this may be the same container.
    let twice = wish.front == Front::Docker && holders.iter().any(|holder| holder.front == Front::Docker);
    if twice && asked.mode != AccessMode::ReadOnlyMany {
        message.push_str("; a container that wants it at two targets counts as two");
    }
    refused(asked, message)
}

fn refused(asked: Asked<'_>, message: String) -> Error {
    Error::new(ErrorKind::AccessRefused, message).object(format!("volume {}", asked.title))
}

#[cfg(test)]
mod tests {
    use super::*;
    use AccessMode::*;

    fn holder(scope: &str, read_only: bool) -> Holder<'_> {
        let front = if scope.starts_with("host") { Front::Host } else { Front::Docker };
        Holder {
            front,
            scope,
            shared: false,
            consumer: scope,
            read_only,
            staged: false,
            since: Timestamp::UNIX_EPOCH,
        }
    }

    fn wish(scope: &str, access: Access) -> Wish<'_> {
        let front = if scope.starts_with("host") { Front::Host } else { Front::Docker };
        Wish { front, scope, shared: false, staged: false, own_place: false, alone: false, access }
    }

    fn lingerer(read_only: bool) -> Lingerer {
        Lingerer { pid: 7, process: "sh".into(), mount_point: "/data".into(), own: false, read_only }
    }

    fn asks(mode: AccessMode, holders: &[Holder<'_>], lingers: bool, wish: Wish<'_>) -> Option<(bool, bool)> {
        let lingerer = lingerer(true);
        let lingerers = if lingers { vec![lingerer] } else { Vec::new() };
        let decided = decide(Asked { title: "public/a", mode }, holders, &lingerers, wish);
        if let Err(error) = &decided {
            assert_eq!(error.kind, ErrorKind::AccessRefused);
            assert!(error.message.contains("public/a") && error.message.contains(mode.as_str()), "{error}");
            assert!(error.hint.is_some());
            let named = holders.iter().any(|h| error.message.contains(h.consumer))
                || error.message.contains("process 7");
            assert!(named || wish.shared, "{error}");
        }
        decided.ok().map(|grant| (grant.read_only, grant.already))
    }

    /// Mode, holders, a lingerer, who asks for what; granted (read-only, already) or refused.
    type Case<'a> = (AccessMode, &'a [Holder<'a>], bool, &'a str, Access, Option<(bool, bool)>);

    #[test]
    fn table() {
        use Access::*;
        let (rw, ro) = (holder("a", false), holder("a", true));
        let filler = holder("host:/mnt", false);
        let cases: &[Case<'_>] = &[
            (ReadWriteOnce, &[], false, "a", ByMode, Some((false, false))),
            (ReadWriteOnce, &[], false, "a", ReadOnly, Some((true, false))),
            (ReadWriteOnce, &[rw], false, "a", ByMode, Some((false, true))),
            (ReadWriteOnce, &[rw], false, "b", ByMode, None),
            (ReadWriteOnce, &[ro], false, "b", ReadOnly, None),
            (ReadWriteOnce, &[rw], false, "host:/mnt", ByMode, None),
            (ReadWriteOnce, &[], true, "a", ByMode, None),
            (ReadWriteOnce, &[rw], true, "a", ByMode, Some((false, true))),
            (ReadWriteOncePod, &[], false, "a", ByMode, Some((false, false))),
            (ReadWriteOncePod, &[rw], false, "a", ByMode, Some((false, true))),
            (ReadWriteOncePod, &[rw], false, "b", ByMode, None),
            (ReadWriteOncePod, &[], true, "a", ByMode, None),
            (ReadWriteMany, &[rw, holder("c", false)], true, "b", ByMode, Some((false, false))),
            (ReadWriteMany, &[rw], false, "b", ReadOnly, Some((true, false))),
            (ReadWriteMany, &[rw], false, "host:/mnt", Fill, Some((false, false))),
            (ReadOnlyMany, &[], false, "a", ByMode, Some((true, false))),
            (ReadOnlyMany, &[ro], true, "b", ByMode, Some((true, false))),
            (ReadOnlyMany, &[], false, "host:/mnt", Fill, Some((false, false))),
            (ReadOnlyMany, &[ro], false, "host:/mnt", Fill, None),
            (ReadOnlyMany, &[], true, "host:/mnt", Fill, None),
            (ReadOnlyMany, &[filler], false, "a", ByMode, None),
            (ReadOnlyMany, &[filler], false, "host:/other", ReadOnly, None),
            (ReadOnlyMany, &[filler], false, "host:/mnt", Fill, Some((false, true))),
        ];
        for (mode, holders, lingers, scope, access, expected) in cases {
            let decided = asks(*mode, holders, *lingers, wish(scope, *access));
            assert_eq!(decided, *expected, "{mode} {scope} {access:?} while {holders:?}");
        }
    }

    #[test]
    fn one_pod_can_not_be_told_under_a_shared_scope() {
        let shared = Wish { front: Front::Podman, shared: true, ..wish("host", Access::ByMode) };
        assert_eq!(asks(ReadWriteOncePod, &[], false, shared), None);
        assert_eq!(asks(ReadWriteOnce, &[], false, shared), Some((false, false)));
    }

    #[test]
    fn one_that_has_it_alone_is_kept_from_whom_no_record_names() {
        let alone = Wish { front: Front::Csi, alone: true, own_place: true, ..wish("a", Access::ByMode) };
        for mode in [ReadWriteMany, ReadWriteOnce, ReadWriteOncePod] {
            assert_eq!(asks(mode, &[], true, alone), None, "{mode}");
            assert_eq!(asks(mode, &[], false, alone), Some((false, false)), "{mode}");
            assert!(excludes_others(mode, alone));
        }
        assert!(!excludes_others(ReadWriteMany, wish("a", Access::ByMode)));
    }

    #[test]
    fn the_same_scope_of_another_front_is_another() {
        let podman = Wish { front: Front::Podman, ..wish("a", Access::ByMode) };
        assert_eq!(asks(ReadWriteOnce, &[holder("a", false)], false, podman), None);
    }

    #[test]
    fn a_second_docker_mount_is_told_of_two_targets() {
        let asked = Asked { title: "public/a", mode: ReadWriteOnce };
        let error = decide(asked, &[holder("a", false)], &[], wish("b", Access::ByMode)).unwrap_err();
        assert!(error.message.contains("two targets counts as two"), "{error}");
        assert!(error.message.contains("since 1970-01-01"), "{error}");
    }

    #[test]
    fn nobody_reads_what_somebody_without_a_record_still_writes() {
        let asked = Asked { title: "public/a", mode: ReadOnlyMany };
        for access in [Access::ByMode, Access::ReadOnly, Access::Fill] {
            let error =
                decide(asked, &[], &[lingerer(true), lingerer(false)], wish("a", access)).unwrap_err();
            assert!(error.message.contains("can still be written by process 7"), "{error}");
        }
    }

    #[test]
    fn a_mount_of_our_own_namespace_is_unmounted_and_no_process_ended() {
        let own = Lingerer { own: true, ..lingerer(false) };
        let asked = Asked { title: "public/a", mode: ReadWriteOnce };
        let error = decide(asked, &[], &[own], wish("a", Access::ByMode)).unwrap_err();
        assert!(error.message.contains("this host"), "{error}");
        assert!(error.hint.unwrap().starts_with("umount /data"));
    }

    #[test]
    fn changes_of_the_mode() {
        let (rw, ro) = (holder("a", false), holder("b", true));
        let podman = Holder { front: Front::Podman, shared: true, ..rw };
        let cases: &[(AccessMode, &[Holder<'_>], bool)] = &[
            (ReadWriteMany, &[rw, ro], true),
            (ReadOnlyMany, &[ro], true),
            (ReadOnlyMany, &[rw], false),
            (ReadWriteOnce, &[rw], true),
            (ReadWriteOnce, &[rw, ro], false),
            (ReadWriteOncePod, &[rw], true),
            (ReadWriteOncePod, &[podman], false),
            (ReadWriteOncePod, &[rw, ro], false),
        ];
        for (to, holders, allowed) in cases {
            assert_eq!(allows_change("public/a", *to, holders).is_ok(), *allowed, "{to} {holders:?}");
        }
    }
}
