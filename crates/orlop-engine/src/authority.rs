//! Who may do what. Pure: the caller's uid comes from the kernel, the owners from the records.
//!
//! Reading is open to whoever may talk to the daemon; changing is not.

use orlop_model::{Error, ErrorKind, Result, WorkspaceName};

use crate::request::Caller;

/// Whose a workspace is, and who else rules in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule<'a> {
    pub(crate) workspace: &'a WorkspaceName,
    pub(crate) owner_uid: u32,
    pub(crate) grants: &'a [u32],
}

const ROOT: u32 = 0;

impl Rule<'_> {
    fn rules(&self, uid: u32) -> bool {
        uid == ROOT || uid == self.owner_uid || self.grants.contains(&uid)
    }

    fn is_public(&self) -> bool {
        *self.workspace == WorkspaceName::public()
    }
}

/// Pools, and whatever else concerns the whole host.
pub(crate) fn rule_host(caller: &Caller, what: &str) -> Result<()> {
    if caller.uid == ROOT {
        return Ok(());
    }
    Err(denied(caller, what).hint("do it as root"))
}

/// Granting and deleting a workspace.
pub(crate) fn rule_workspace(caller: &Caller, rule: &Rule<'_>) -> Result<()> {
    if caller.uid == ROOT || (caller.uid == rule.owner_uid && !rule.is_public()) {
        return Ok(());
    }
    let object = format!("workspace {}", rule.workspace);
    Err(denied(caller, &format!("change {object}"))
        .object(object)
        .hint(format!("uid {} or root may", rule.owner_uid)))
}

/// Making a volume in a workspace. In `public` anyone may.
pub(crate) fn make_volume(caller: &Caller, rule: &Rule<'_>) -> Result<()> {
    if rule.is_public() || rule.rules(caller.uid) {
        return Ok(());
    }
    let object = format!("workspace {}", rule.workspace);
    Err(denied(caller, &format!("make volumes in {object}")).object(object).hint(format!(
        "ask uid {} to grant it: orlop workspace create {} --grant {}",
        rule.owner_uid, rule.workspace, caller.uid
    )))
}

/// Changing, mounting or deleting a volume: its owner, and who rules its workspace.
pub(crate) fn rule_volume(caller: &Caller, rule: &Rule<'_>, owner_uid: u32, title: &str) -> Result<()> {
    if caller.uid == owner_uid || rule.rules(caller.uid) {
        return Ok(());
    }
    Err(denied(caller, &format!("use or change volume {title}"))
        .object(format!("volume {title}"))
        .hint(format!("it belongs to uid {owner_uid}; they or root may, and whom its workspace grants")))
}

/// Changing, restoring or deleting a snapshot, or making a volume from it: as of a volume.
pub(crate) fn rule_snapshot(caller: &Caller, rule: &Rule<'_>, owner_uid: u32, title: &str) -> Result<()> {
    if caller.uid == owner_uid || rule.rules(caller.uid) {
        return Ok(());
    }
    Err(denied(caller, &format!("use or change snapshot {title}"))
        .object(format!("snapshot {title}"))
        .hint(format!("it belongs to uid {owner_uid}; they or root may, and whom its workspace grants")))
}

/// What only the owner of the data may do, such as filling a read-only volume.
pub(crate) fn own_volume(caller: &Caller, owner_uid: u32, title: &str) -> Result<()> {
    if caller.uid == ROOT || caller.uid == owner_uid {
        return Ok(());
    }
    Err(denied(caller, &format!("write to the read-only volume {title}"))
        .object(format!("volume {title}"))
        .hint(format!("only its owner, uid {owner_uid}, or root may fill it")))
}

fn denied(caller: &Caller, what: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, format!("uid {} may not {what}", caller.uid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_model::resource::Front;

    fn caller(uid: u32) -> Caller {
        Caller { uid, front: Front::Manifest }
    }

    #[test]
    fn who_may() {
        let public = WorkspaceName::public();
        let team: WorkspaceName = "team".parse().unwrap();
        let public = Rule { workspace: &public, owner_uid: 0, grants: &[] };
        let team = Rule { workspace: &team, owner_uid: 10, grants: &[11] };
        // uid, makes in public, makes in team, rules 20's volume in public, in team, rules team
        for (uid, make_public, make_team, volume_public, volume_team, workspace) in [
            (0, true, true, true, true, true),
            (10, true, true, false, true, true),
            (11, true, true, false, true, false),
            (20, true, false, true, true, false),
            (21, true, false, false, false, false),
        ] {
            let who = caller(uid);
            assert_eq!(make_volume(&who, &public).is_ok(), make_public, "{uid}");
            assert_eq!(make_volume(&who, &team).is_ok(), make_team, "{uid}");
            assert_eq!(rule_volume(&who, &public, 20, "public/a").is_ok(), volume_public, "{uid}");
            assert_eq!(rule_volume(&who, &team, 20, "team/a").is_ok(), volume_team, "{uid}");
            assert_eq!(rule_workspace(&who, &team).is_ok(), workspace, "{uid}");
            assert_eq!(rule_workspace(&who, &public).is_ok(), uid == 0, "{uid}");
            assert_eq!(rule_host(&who, "make pools").is_ok(), uid == 0, "{uid}");
            assert_eq!(own_volume(&who, 20, "public/a").is_ok(), uid == 0 || uid == 20, "{uid}");
        }
    }
}
