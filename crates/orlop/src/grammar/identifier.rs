//! How the command line names one resource: `-i "NAME | VERSION | TYPE | WORKSPACE"` as the table
//! prints it, and `--id TYPE:VERSION:NAME:WORKSPACE`. Finding it is the daemon's work.

use std::{fmt, str::FromStr};

use clap::ValueEnum;
use orlop_model::{Error, ErrorKind, MANIFEST_VERSION, PoolName, VolumeName, WorkspaceName, error::expected};

/// What kinds of resources there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResourceType {
    /// A directory that containers can reach, of a fixed size
    #[default]
    Volume,
    /// A namespace of volumes
    Workspace,
    /// Where volumes live on this host
    Pool,
}

impl ResourceType {
    /// The word of the manifest and the table.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Workspace => "workspace",
            Self::Pool => "pool",
        }
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Resources of one type; one of them where a name is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Volumes of a workspace.
    Volume { workspace: WorkspaceName, name: Option<VolumeName> },
    /// Workspaces.
    Workspace(Option<WorkspaceName>),
    /// Pools.
    Pool(Option<PoolName>),
}

impl Target {
    /// Checks a name by the rules of its type.
    pub(crate) fn new(
        kind: ResourceType,
        name: Option<&str>,
        workspace: Option<WorkspaceName>,
    ) -> Result<Self, Error> {
        let placed = |what: &str| match &workspace {
            None => Ok(()),
            Some(workspace) => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("a {what} is in no workspace, but the workspace {workspace} was given"),
            )
            .hint(format!("leave the workspace out to address a {what}"))),
        };
        match kind {
            ResourceType::Volume => Ok(Self::Volume {
                name: name.map(str::parse).transpose()?,
                workspace: workspace.unwrap_or_else(WorkspaceName::public),
            }),
            ResourceType::Workspace => {
                placed("workspace")?;
                Ok(Self::Workspace(name.map(str::parse).transpose()?))
            }
            ResourceType::Pool => {
                placed("pool")?;
                Ok(Self::Pool(name.map(str::parse).transpose()?))
            }
        }
    }
}

/// One resource, named in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identifier(pub(crate) Target);

/// The `--id` form of [`Identifier`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColonIdentifier(pub(crate) Target);

const BARS: &str = "\"NAME | VERSION | TYPE | WORKSPACE\", as the table prints it";
const COLONS: &str = "TYPE:VERSION:NAME:WORKSPACE";

impl FromStr for Identifier {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let row = text.trim();
        let row = row.strip_suffix('|').unwrap_or(row);
        let fields: Vec<&str> = row.split('|').map(str::trim).collect();
        match *fields.as_slice() {
            [name, version, kind] => target(text, kind, version, name, ""),
            [name, version, kind, workspace] => target(text, kind, version, name, workspace),
            _ => Err(malformed(text, BARS)),
        }
        .map(Self)
    }
}

impl FromStr for ColonIdentifier {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fields: Vec<&str> = text.trim().split(':').map(str::trim).collect();
        match *fields.as_slice() {
            [kind, version, name] => target(text, kind, version, name, ""),
            [kind, version, name, workspace] => target(text, kind, version, name, workspace),
            _ => Err(malformed(text, COLONS)),
        }
        .map(Self)
    }
}

fn malformed(text: &str, form: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{text:?} names no resource"))
        .hint(format!("write it as {form}"))
}

fn target(text: &str, kind: &str, version: &str, name: &str, workspace: &str) -> Result<Target, Error> {
    let words: Vec<&str> = ResourceType::value_variants().iter().map(|kind| kind.as_str()).collect();
    let kind =
        ResourceType::value_variants().iter().copied().find(|known| known.as_str() == kind).ok_or_else(
            || {
                Error::new(ErrorKind::InvalidArgument, format!("{kind:?} in {text:?} is no resource type"))
                    .hint(expected(kind, &words))
            },
        )?;
    if version != MANIFEST_VERSION {
        let message = format!("{version:?} in {text:?} is no version of a {kind}");
        return Err(Error::new(ErrorKind::InvalidArgument, message)
            .hint(format!("the version is {MANIFEST_VERSION}")));
    }
    let workspace = (!workspace.is_empty()).then(|| workspace.parse()).transpose()?;
    Target::new(kind, Some(name), workspace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(workspace: &str, name: &str) -> Target {
        Target::Volume { workspace: workspace.parse().unwrap(), name: Some(name.parse().unwrap()) }
    }

    #[test]
    fn both_forms_name_the_same() {
        for text in [
            "data | v1beta | volume | public",
            "data|v1beta|volume|public",
            "  data  | v1beta  | volume |   public   ",
            "data | v1beta | volume | public |",
            "data | v1beta | volume",
        ] {
            assert_eq!(text.parse::<Identifier>().unwrap().0, volume("public", "data"), "{text}");
        }
        for text in ["volume:v1beta:data:team", " volume : v1beta : data : team "] {
            assert_eq!(text.parse::<ColonIdentifier>().unwrap().0, volume("team", "data"), "{text}");
        }
        assert_eq!(
            "team | v1beta | workspace | ".parse::<Identifier>().unwrap().0,
            Target::Workspace(Some("team".parse().unwrap()))
        );
        assert_eq!(
            "pool:v1beta:fast".parse::<ColonIdentifier>().unwrap().0,
            Target::Pool(Some("fast".parse().unwrap()))
        );
    }

    #[test]
    fn a_wrong_one_says_what_is_wrong() {
        for (text, message) in [
            ("data", "names no resource"),
            ("data | v1beta | volume | public | active", "names no resource"),
            ("data | v1 | volume | public", "is no version of a volume"),
            ("data | v1beta | volumes | public", "did you mean volume?"),
            ("Data | v1beta | volume | public", "volume name"),
            ("data | v1beta | volume | pu.blic", "workspace name"),
            ("fast | v1beta | pool | public", "a pool is in no workspace"),
            (" | v1beta | volume | public", "volume name"),
            ("", "names no resource"),
        ] {
            let error = text.parse::<Identifier>().unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidArgument, "{text}");
            assert!(error.to_string().contains(message), "{text}: {error}");
        }
        for text in ["data:v1beta:volume:public", "volume:v1beta", "volume:v1beta:data:public:x", "::"] {
            assert!(text.parse::<ColonIdentifier>().is_err(), "{text}");
        }
    }
}
