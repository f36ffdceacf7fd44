//! Where Docker and Podman differ behind the same protocol. Every difference is a method here.

use orlop_engine::{Caller, Scope};
use orlop_model::resource::Front;

/// The engine that speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Docker: one mount id per mount point of every start.
    Docker,
    /// Podman: one constant mount id for all containers of the host.
    Podman,
}

impl Flavour {
    /// The flavour of a front; `None` for a front that does not speak this protocol.
    pub fn of(front: Front) -> Option<Self> {
        match front {
            Front::Docker => Some(Self::Docker),
            Front::Podman => Some(Self::Podman),
            Front::Manifest | Front::Host | Front::Csi => None,
        }
    }

    /// Who asks the engine. The socket is 0600 and root's, so its peer is root.
    pub(crate) fn caller(self) -> Caller {
        let front = match self {
            Self::Docker => Front::Docker,
            Self::Podman => Front::Podman,
        };
        Caller { uid: 0, front }
    }

    /// What counts as one workload.
    ///
    /// Both ids go stale without a word: Docker sends no Unmount for what ran when it was killed,
    /// and Podman none when a container and its monitor were killed. The engine drops such an
    /// attachment only where it stands in the way, and only when no mount namespace backs it, so a
    /// container that Podman mounts without asking again still finds its volume.
    pub(crate) fn scope(self, mount_id: &str) -> Scope {
        match self {
            Self::Docker => Scope { id: format!("docker:{mount_id}"), shared: false, may_go_stale: true },
            Self::Podman => Scope { id: format!("podman:{mount_id}"), shared: true, may_go_stale: true },
        }
    }

    /// Who, in words for a user.
    pub(crate) fn consumer(self, mount_id: &str) -> String {
        let short: String = mount_id.chars().take(12).collect();
        match self {
            Self::Docker => format!("docker mount {short}"),
            Self::Podman => "podman, for all its containers".to_owned(),
        }
    }

    /// Whether an attachment whose answer never reached the engine is to be undone.
    ///
    /// Docker never names that mount id again, so nobody would ever end it. Podman's id is the one
    /// its next attempt and its running containers use: undoing it could unmount what they use.
    pub(crate) fn undoes_unheard_mounts(self) -> bool {
        match self {
            Self::Docker => true,
            Self::Podman => false,
        }
    }

    /// Whether an error in answer to Get makes the engine forget the volume.
    ///
    /// Docker takes any answered error for "no such volume", drops its record and makes a `local`
    /// volume of that name instead. Only a connection that breaks says "unknown" to it.
    pub(crate) fn forgets_on_error(self) -> bool {
        match self {
            Self::Docker => true,
            Self::Podman => false,
        }
    }

    /// What to do where the engine asks for a volume that is not there.
    pub(crate) fn remedy_for_unknown(self) -> &'static str {
        match self {
            Self::Docker => "make it with `orlop apply` or `docker volume create -d orlop`",
            // Its list of volumes is an error while it knows one that was deleted.
            Self::Podman => {
                "make it with `orlop apply` or `podman volume create --driver orlop`; where it was \
                 deleted, `podman volume reload` makes Podman forget it"
            }
        }
    }
}
