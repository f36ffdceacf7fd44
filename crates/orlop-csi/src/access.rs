//! Capabilities of a volume as the interface says them, and what they mean here.
//!
//! A volume is on one node. There, `ReadWriteOnce` is for all pods of the node, and `ReadWriteOncePod` for
//! one of them. A mode of many nodes can't be kept: it is taken only where the StorageClass says that it
//! is to hold for one node.

use orlop_engine::{Form, NodeAccess};
use orlop_model::{
    AccessMode, Error, ErrorKind, FilesystemChoice, FilesystemKind, MountOption, Result, VolumeMode,
    resource::Volume,
};

use tonic::Code;

use crate::{
    error::{Refusal, Reply},
    parameters,
    protocol::{
        VolumeCapability,
        volume_capability::{AccessType, MountVolume, access_mode::Mode},
    },
    request::{given, invalid, missing, shown},
};

/// A capability, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Capability {
    pub(crate) mode: Mode,
    pub(crate) kind: Kind,
}

/// As what a consumer gets the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Block,
    Mount {
        /// None where none is said.
        filesystem: Option<FilesystemKind>,
        options: Vec<MountOption>,
        group: Option<u32>,
    },
}

impl Capability {
    /// Checks one that is in that field.
    pub(crate) fn read(field: &str, capability: Option<&VolumeCapability>) -> Result<Self> {
        let capability = given(field, capability)?;
        let mode = given(&format!("{field}.access_mode"), capability.access_mode.as_ref())?.mode;
        let mode = Mode::try_from(mode).unwrap_or(Mode::Unknown);
        if mode == Mode::Unknown {
            return Err(missing(&format!("{field}.access_mode.mode")));
        }
        let kind = match given(&format!("{field}.access_type"), capability.access_type.as_ref())? {
            AccessType::Block(_) => Kind::Block,
            AccessType::Mount(mount) => Kind::mount(field, mount)?,
        };
        Ok(Self { mode, kind })
    }

    /// Checks a list of which there has to be one at least.
    pub(crate) fn all(field: &str, capabilities: &[VolumeCapability]) -> Result<Vec<Self>> {
        if capabilities.is_empty() {
            return Err(missing(field));
        }
        capabilities.iter().map(|capability| Self::read(field, Some(capability))).collect()
    }

    /// Whether a volume that is there has it.
    ///
    /// # Errors
    /// [`ErrorKind::AccessRefused`], saying what the volume has instead.
    pub(crate) fn of(&self, volume: &Volume) -> Result<()> {
        let spec = &volume.manifest.volume;
        let title = format!("volume {}/{}", volume.workspace, volume.manifest.name);
        let refused =
            |message: String| Error::new(ErrorKind::AccessRefused, message).object("volume_capability");
        if !allows(spec.access_mode, self.mode) {
            return Err(refused(format!(
                "{title} is {} on its node, and does not have {}",
                spec.access_mode,
                self.mode.as_str_name()
            ))
            .hint("ask for a mode that it has; a StorageClass with accessScope: node makes volumes that have those of many nodes"));
        }
        match (&self.kind, spec.volume_mode) {
            (Kind::Block, VolumeMode::Block) => Ok(()),
            (Kind::Block, VolumeMode::Filesystem) => {
                Err(refused(format!("{title} has a filesystem, and is no block device")))
            }
            (Kind::Mount { .. }, VolumeMode::Block) => {
                Err(refused(format!("{title} is a block device, and has no filesystem")))
            }
            (Kind::Mount { filesystem, .. }, VolumeMode::Filesystem) => {
                match (filesystem, volume.status.filesystem) {
                    (Some(kind), Some(is)) if *kind != is => {
                        Err(refused(format!("{title} has {is}, and not {kind}")))
                    }
                    (Some(_) | None, _) => Ok(()),
                }
            }
        }
    }

    /// The same of one that a call to grow a volume may say: for those calls the specification has
    /// another code.
    pub(crate) fn of_grown(said: Option<&VolumeCapability>, volume: &Volume) -> Reply<()> {
        if said.is_none() {
            return Ok(());
        }
        let capability = Self::read("volume_capability", said)?;
        capability.of(volume).map_err(|error| Refusal::coded(Code::InvalidArgument, error))
    }

    /// What the engine is asked for.
    pub(crate) fn form(&self) -> Form {
        match &self.kind {
            Kind::Block => Form::Block,
            Kind::Mount { options, group, .. } => {
                Form::Filesystem { group: *group, options: options.clone() }
            }
        }
    }

    /// Who else may have it on this node.
    ///
    /// The specification's table has a second target refused for `SINGLE_NODE_WRITER`, whose number of
    /// writers it leaves open otherwise. Here that mode is had by many targets, as the newer
    /// `SINGLE_NODE_MULTI_WRITER` is: an orchestrator that does not know the newer ones says by it what
    /// Kubernetes calls ReadWriteOnce, which is for all pods of a node, and a rolling update of such pods
    /// would wait for ever. Who wants one target alone can say so.
    pub(crate) fn access(&self) -> NodeAccess {
        match self.mode {
            Mode::SingleNodeSingleWriter => NodeAccess::OneTarget,
            Mode::Unknown
            | Mode::SingleNodeWriter
            | Mode::SingleNodeReaderOnly
            | Mode::SingleNodeMultiWriter
            | Mode::MultiNodeReaderOnly
            | Mode::MultiNodeSingleWriter
            | Mode::MultiNodeMultiWriter => NodeAccess::ManyTargets,
        }
    }

    /// Whether it lets nobody write.
    pub(crate) fn is_read_only(&self) -> bool {
        match self.mode {
            Mode::SingleNodeReaderOnly | Mode::MultiNodeReaderOnly => true,
            Mode::Unknown
            | Mode::SingleNodeWriter
            | Mode::SingleNodeSingleWriter
            | Mode::SingleNodeMultiWriter
            | Mode::MultiNodeSingleWriter
            | Mode::MultiNodeMultiWriter => false,
        }
    }
}

impl Kind {
    fn mount(field: &str, mount: &MountVolume) -> Result<Self> {
        let MountVolume { fs_type, mount_flags, volume_mount_group } = mount;
        let filesystem = match fs_type.as_str() {
            "" => None,
            text => Some(text.parse::<FilesystemKind>().map_err(|error| {
                let fault = format!("a volume can't have the filesystem {}", shown(text));
                Error { hint: error.hint, ..invalid(&format!("{field}.mount.fs_type"), fault) }
            })?),
        };
        // The flags may be confidential: what is wrong with them is said, and not what they are.
        let options = parameters::options(mount_flags.iter().map(String::as_str)).map_err(|_| {
            let allowed: Vec<_> = MountOption::ALL.into_iter().map(MountOption::as_str).collect();
            invalid(&format!("{field}.mount.mount_flags"), "one of the mount flags is not allowed")
                .hint(format!("allowed are {}", allowed.join(", ")))
        })?;
        let group = match volume_mount_group.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                let field = format!("{field}.mount.volume_mount_group");
                invalid(&field, format!("the group {} is no gid", shown(text)))
            })?),
        };
        Ok(Self::Mount { filesystem, options, group })
    }
}

/// Whether a volume of that mode can be had so.
fn allows(has: AccessMode, mode: Mode) -> bool {
    match mode {
        Mode::Unknown => false,
        Mode::SingleNodeSingleWriter | Mode::SingleNodeWriter => match has {
            AccessMode::ReadWriteOncePod | AccessMode::ReadWriteOnce | AccessMode::ReadWriteMany => true,
            AccessMode::ReadOnlyMany => false,
        },
        Mode::SingleNodeMultiWriter => match has {
            AccessMode::ReadWriteOnce | AccessMode::ReadWriteMany => true,
            AccessMode::ReadWriteOncePod | AccessMode::ReadOnlyMany => false,
        },
        Mode::SingleNodeReaderOnly => true,
        Mode::MultiNodeReaderOnly => match has {
            AccessMode::ReadOnlyMany | AccessMode::ReadWriteMany => true,
            AccessMode::ReadWriteOncePod | AccessMode::ReadWriteOnce => false,
        },
        Mode::MultiNodeSingleWriter | Mode::MultiNodeMultiWriter => match has {
            AccessMode::ReadWriteMany => true,
            AccessMode::ReadWriteOncePod | AccessMode::ReadWriteOnce | AccessMode::ReadOnlyMany => false,
        },
    }
}

/// What a new volume has to be to have all of some capabilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) access_mode: AccessMode,
    pub(crate) volume_mode: VolumeMode,
    pub(crate) filesystem: FilesystemChoice,
    pub(crate) options: Vec<MountOption>,
}

impl Wanted {
    /// Finds that out.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where no volume has all of them; and where one is of many nodes,
    /// unless those are to hold for one.
    pub(crate) fn of(capabilities: &[Capability], node_scope: bool) -> Result<Self> {
        let field = "volume_capabilities";
        let access_mode = mode(capabilities.iter().map(|capability| capability.mode)).ok_or_else(|| {
            invalid(field, "no volume can be written by many and be read-only for all of them")
                .hint("ask for the one or for the other")
        })?;
        let (Some(first), false) = (capabilities.first(), is_mixed(capabilities)) else {
            return Err(invalid(field, "a volume is a block device or has a filesystem, and not both"));
        };
        if !node_scope && let Some(many) = capabilities.iter().find(|capability| spans_nodes(capability.mode))
        {
            let mode = many.mode.as_str_name();
            return Err(invalid(field, format!("{mode} spans nodes, and a volume is on one node alone")).hint(
                "ask for ReadWriteOnce, which is for all pods of one node; or set accessScope: node in the StorageClass: then it is shared on its node only",
            ));
        }
        let mut wanted = Self {
            access_mode,
            volume_mode: match first.kind {
                Kind::Block => VolumeMode::Block,
                Kind::Mount { .. } => VolumeMode::Filesystem,
            },
            filesystem: FilesystemChoice::Auto,
            options: Vec::new(),
        };
        for capability in capabilities {
            if let Kind::Mount { filesystem, options, .. } = &capability.kind {
                wanted.take(*filesystem, options)?;
            }
        }
        Ok(wanted)
    }

    fn take(&mut self, filesystem: Option<FilesystemKind>, options: &[MountOption]) -> Result<()> {
        let choice = match filesystem {
            None => FilesystemChoice::Auto,
            Some(FilesystemKind::Ext4) => FilesystemChoice::Ext4,
            Some(FilesystemKind::Xfs) => FilesystemChoice::Xfs,
        };
        self.filesystem = one_of(self.filesystem, choice)?;
        self.options.extend(options);
        self.options.sort_unstable();
        self.options.dedup();
        Ok(())
    }
}

/// The filesystem that two wishes agree on.
pub(crate) fn one_of(one: FilesystemChoice, other: FilesystemChoice) -> Result<FilesystemChoice> {
    match (one, other) {
        (FilesystemChoice::Auto, choice) | (choice, FilesystemChoice::Auto) => Ok(choice),
        (one, other) if one == other => Ok(one),
        (one, other) => Err(invalid(
            "volume_capabilities",
            format!("both {one} and {other} are asked for, and a volume has one filesystem"),
        )
        .hint("say it once: as csi.storage.k8s.io/fstype, or as filesystem")),
    }
}

fn is_mixed(capabilities: &[Capability]) -> bool {
    let blocks = capabilities.iter().filter(|capability| capability.kind == Kind::Block).count();
    blocks != 0 && blocks != capabilities.len()
}

/// The narrowest mode that has all of them.
fn mode(modes: impl Iterator<Item = Mode> + Clone) -> Option<AccessMode> {
    if modes.clone().all(|mode| mode == Mode::SingleNodeSingleWriter) {
        return Some(AccessMode::ReadWriteOncePod);
    }
    let widening = [AccessMode::ReadWriteOnce, AccessMode::ReadOnlyMany, AccessMode::ReadWriteMany];
    widening.into_iter().find(|has| modes.clone().all(|mode| allows(*has, mode)))
}

fn spans_nodes(mode: Mode) -> bool {
    match mode {
        Mode::MultiNodeReaderOnly | Mode::MultiNodeSingleWriter | Mode::MultiNodeMultiWriter => true,
        Mode::Unknown
        | Mode::SingleNodeWriter
        | Mode::SingleNodeReaderOnly
        | Mode::SingleNodeSingleWriter
        | Mode::SingleNodeMultiWriter => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::protocol::volume_capability::BlockVolume;

    fn capability(mode: Mode, kind: AccessType) -> VolumeCapability {
        let access_mode = crate::protocol::volume_capability::AccessMode { mode: mode.into() };
        VolumeCapability { access_mode: Some(access_mode), access_type: Some(kind) }
    }

    fn mount(fs_type: &str, flags: &[&str], group: &str) -> AccessType {
        AccessType::Mount(MountVolume {
            fs_type: fs_type.to_owned(),
            mount_flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            volume_mount_group: group.to_owned(),
        })
    }

    fn wanted(modes: &[Mode], node_scope: bool) -> Option<AccessMode> {
        let capabilities: Vec<_> = modes.iter().map(|mode| capability(*mode, mount("", &[], ""))).collect();
        let read = Capability::all("volume_capabilities", &capabilities).unwrap();
        Wanted::of(&read, node_scope).ok().map(|wanted| wanted.access_mode)
    }

    #[test]
    fn the_narrowest_mode_that_has_them_all() {
        use AccessMode::*;
        use Mode::*;
        for (modes, scope, mode) in [
            (&[SingleNodeWriter][..], false, Some(ReadWriteOnce)),
            (&[SingleNodeMultiWriter], false, Some(ReadWriteOnce)),
            (&[SingleNodeReaderOnly], false, Some(ReadWriteOnce)),
            (&[SingleNodeSingleWriter], false, Some(ReadWriteOncePod)),
            (&[SingleNodeSingleWriter, SingleNodeWriter], false, Some(ReadWriteOnce)),
            (&[MultiNodeReaderOnly], false, None),
            (&[MultiNodeReaderOnly], true, Some(ReadOnlyMany)),
            (&[MultiNodeReaderOnly, SingleNodeReaderOnly], true, Some(ReadOnlyMany)),
            (&[SingleNodeWriter, MultiNodeReaderOnly], true, Some(ReadWriteMany)),
            (&[SingleNodeWriter, MultiNodeReaderOnly], false, None),
            (&[MultiNodeMultiWriter], false, None),
            (&[MultiNodeMultiWriter], true, Some(ReadWriteMany)),
            (&[MultiNodeSingleWriter], true, Some(ReadWriteMany)),
        ] {
            assert_eq!(wanted(modes, scope), mode, "{modes:?}");
        }
    }

    #[test]
    fn one_volume_is_one_kind_of_thing() {
        let read = |kinds: &[AccessType]| {
            let capabilities: Vec<_> =
                kinds.iter().map(|kind| capability(Mode::SingleNodeWriter, kind.clone())).collect();
            Wanted::of(&Capability::all("volume_capabilities", &capabilities).unwrap(), false)
        };
        let block = AccessType::Block(BlockVolume {});
        assert_eq!(read(std::slice::from_ref(&block)).unwrap().volume_mode, VolumeMode::Block);
        assert!(read(&[block, mount("", &[], "")]).is_err());
        let both = read(&[mount("xfs", &["noexec"], ""), mount("", &["noatime", "noexec"], "")]).unwrap();
        assert_eq!(both.filesystem, FilesystemChoice::Xfs);
        assert_eq!(both.options, [MountOption::Noatime, MountOption::Noexec]);
        assert!(read(&[mount("xfs", &[], ""), mount("ext4", &[], "")]).is_err());
    }

    #[test]
    fn faults_name_the_field_and_never_the_flags() {
        let mode = Mode::SingleNodeWriter;
        for (capability, field) in [
            (None, "c"),
            (Some(VolumeCapability::default()), "c.access_mode"),
            (
                Some(VolumeCapability { access_type: None, ..capability(mode, mount("", &[], "")) }),
                "c.access_type",
            ),
            (Some(capability(Mode::Unknown, mount("", &[], ""))), "c.access_mode.mode"),
            (Some(capability(mode, mount("zfs", &[], ""))), "c.mount.fs_type"),
            (Some(capability(mode, mount("", &["password=secret"], ""))), "c.mount.mount_flags"),
            (Some(capability(mode, mount("", &[], "wheel"))), "c.mount.volume_mount_group"),
        ] {
            let error = Capability::read("c", capability.as_ref()).unwrap_err();
            assert_eq!((error.kind, error.object.as_deref()), (ErrorKind::InvalidArgument, Some(field)));
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let mut unknown = capability(mode, mount("", &[], ""));
        unknown.access_mode = Some(crate::protocol::volume_capability::AccessMode { mode: 99 });
        assert!(Capability::read("c", Some(&unknown)).is_err());
        assert!(Capability::all("c", &[]).is_err());
    }
}
