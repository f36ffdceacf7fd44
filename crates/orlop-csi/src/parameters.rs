//! Parameters of a StorageClass, of a VolumeAttributesClass and of a volume in a pod, and what the
//! provisioner adds to them.

use std::{collections::BTreeMap, str::FromStr};

use orlop_model::{
    Error, FilesystemChoice, MountOption, Period, PoolName, Result, Size, VolumeMode, VolumeName, VolumeType,
    WorkspaceName, error::expected, spec::DirectoryMode,
};

use crate::request::invalid;

/// What orchestrators add by themselves begins with this. What is not known of it says nothing.
const RESERVED: &str = "csi.storage.k8s.io/";
const CLAIM_NAME: &str = "csi.storage.k8s.io/pvc/name";
const CLAIM_NAMESPACE: &str = "csi.storage.k8s.io/pvc/namespace";
const VOLUME_NAME: &str = "csi.storage.k8s.io/pv/name";
const SNAPSHOT_NAME: &str = "csi.storage.k8s.io/volumesnapshot/name";
const SNAPSHOT_NAMESPACE: &str = "csi.storage.k8s.io/volumesnapshot/namespace";
const GROUP_NAME: &str = "csi.storage.k8s.io/volumegroupsnapshot/name";
const GROUP_NAMESPACE: &str = "csi.storage.k8s.io/volumegroupsnapshot/namespace";
const EPHEMERAL: &str = "csi.storage.k8s.io/ephemeral";
const POD_NAME: &str = "csi.storage.k8s.io/pod.name";
const POD_NAMESPACE: &str = "csi.storage.k8s.io/pod.namespace";

/// The parameters of a StorageClass.
pub(crate) const CLASS: &[&str] = &[
    "type",
    "pool",
    "filesystem",
    "mountOptions",
    "accessScope",
    "uid",
    "gid",
    "mode",
    "preallocate",
    "protection",
    "tempGracePeriod",
    "workspace",
];

/// Those that may change while the volume lives: the parameters of a VolumeAttributesClass.
pub(crate) const MUTABLE: &[&str] =
    &["type", "mountOptions", "uid", "gid", "mode", "protection", "tempGracePeriod"];

/// Those of a volume that is written into a pod. Where volumes live, and what they may take beforehand, is
/// for an administrator to say, and whoever writes a pod is none.
pub(crate) const INLINE: &[&str] = &["size", "filesystem", "mountOptions", "uid", "gid", "mode"];

/// What parameters say; what they don't is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parameters {
    pub(crate) volume_type: Option<VolumeType>,
    pub(crate) pool: Option<PoolName>,
    pub(crate) filesystem: Option<FilesystemChoice>,
    pub(crate) mount_options: Option<Vec<MountOption>>,
    /// Whether access modes of many nodes are taken, and hold for this one node.
    pub(crate) node_scope: bool,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) mode: Option<DirectoryMode>,
    pub(crate) preallocate: Option<bool>,
    pub(crate) protection: Option<bool>,
    pub(crate) temp_grace_period: Option<Period>,
    pub(crate) workspace: Option<WorkspaceName>,
    pub(crate) size: Option<Size>,
}

impl Parameters {
    /// Reads them. `field` is the field of the request, `known` what may be in it.
    pub(crate) fn read(field: &str, known: &[&str], map: &BTreeMap<String, String>) -> Result<Self> {
        let mut parameters = Self::default();
        parameters.take(field, known, map)?;
        Ok(parameters)
    }

    /// Reads more of them, which go before what was read.
    pub(crate) fn take(&mut self, field: &str, known: &[&str], map: &BTreeMap<String, String>) -> Result<()> {
        for (key, value) in map.iter().filter(|(key, _)| !key.starts_with(RESERVED)) {
            let object = format!("{field}.{key}");
            if !known.contains(&key.as_str()) {
                let hint = if known.is_empty() { "there are none".to_owned() } else { expected(key, known) };
                return Err(invalid(&object, format!("there is no parameter {key:?} in {field}")).hint(hint));
            }
            self.set(key, value).map_err(|fault| match fault {
                // The key is worth more than what the value's own type calls itself.
                Fault::Of(error) => Error { object: Some(object), ..error },
                Fault::Expected(what) => invalid(&object, format!("{key} is {value:?}, which is not {what}")),
            })?;
        }
        Ok(())
    }

    /// Forgets what a class says of filesystems where a block device is asked for, whose room can't be kept
    /// either. One class is for both: orchestrators leave out its `fstype` and mount options then too. What
    /// is said of that one volume is not forgotten, and refused by the engine.
    pub(crate) fn keep_for(&mut self, mode: VolumeMode) {
        match mode {
            VolumeMode::Filesystem => {}
            VolumeMode::Block => {
                (self.filesystem, self.mount_options) = (None, None);
                (self.uid, self.gid, self.mode) = (None, None, None);
                self.preallocate = None;
            }
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Fault> {
        match key {
            "type" => self.volume_type = Some(value.parse()?),
            "pool" => self.pool = Some(value.parse()?),
            "filesystem" => self.filesystem = Some(value.parse()?),
            "mountOptions" => self.mount_options = Some(options(value.split(','))?),
            "accessScope" => match value {
                "node" => self.node_scope = true,
                _ => return Err(Fault::Expected("node, the one scope there is")),
            },
            "uid" => self.uid = Some(number(value)?),
            "gid" => self.gid = Some(number(value)?),
            "mode" => self.mode = Some(value.parse()?),
            "preallocate" => self.preallocate = Some(truth(value)?),
            "protection" => self.protection = Some(truth(value)?),
            "tempGracePeriod" => self.temp_grace_period = Some(value.parse()?),
            "workspace" => self.workspace = Some(value.parse()?),
            "size" => self.size = Some(value.parse()?),
            _ => return Err(Fault::Expected("a parameter")),
        }
        Ok(())
    }
}

/// What is wrong with a value.
enum Fault {
    /// Its type says it.
    Of(Error),
    Expected(&'static str),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Of(error)
    }
}

/// Mount options of the allow-list, each once and in order.
pub(crate) fn options<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<MountOption>> {
    let words = words.map(str::trim).filter(|word| !word.is_empty());
    let mut options = words.map(MountOption::from_str).collect::<Result<Vec<_>>>()?;
    options.sort_unstable();
    options.dedup();
    Ok(options)
}

fn number(value: &str) -> Result<u32, Fault> {
    value.parse().map_err(|_| Fault::Expected("a whole number"))
}

fn truth(value: &str) -> Result<bool, Fault> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Fault::Expected("true or false")),
    }
}

/// For whom a volume or snapshot is made, as far as the orchestrator says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin<'a> {
    pub(crate) namespace: Option<&'a str>,
    /// The name of the claim, the snapshot or the group.
    pub(crate) name: Option<&'a str>,
    /// The name of the persistent volume.
    volume: Option<&'a str>,
    kind: &'static str,
}

impl<'a> Origin<'a> {
    /// Of a claim.
    pub(crate) fn of_claim(map: &'a BTreeMap<String, String>) -> Self {
        Self { volume: of(map, VOLUME_NAME), ..Self::new(map, "pvc", CLAIM_NAMESPACE, CLAIM_NAME) }
    }

    /// Of a snapshot.
    pub(crate) fn of_snapshot(map: &'a BTreeMap<String, String>) -> Self {
        Self::new(map, "volumesnapshot", SNAPSHOT_NAMESPACE, SNAPSHOT_NAME)
    }

    /// Of snapshots of one moment.
    pub(crate) fn of_group(map: &'a BTreeMap<String, String>) -> Self {
        Self::new(map, "volumegroupsnapshot", GROUP_NAMESPACE, GROUP_NAME)
    }

    /// Of a pod, in what is said of a volume when it is published.
    pub(crate) fn of_pod(map: &'a BTreeMap<String, String>) -> Self {
        Self::new(map, "pod", POD_NAMESPACE, POD_NAME)
    }

    fn new(map: &'a BTreeMap<String, String>, kind: &'static str, namespace: &str, name: &str) -> Self {
        Self { namespace: of(map, namespace), name: of(map, name), volume: None, kind }
    }

    /// Words to find it by.
    pub(crate) fn tags(&self) -> Vec<String> {
        let claim = self.namespace.zip(self.name);
        let claim = claim.map(|(namespace, name)| format!("{}:{namespace}/{name}", self.kind));
        claim.into_iter().chain(self.volume.map(|name| format!("pv:{name}"))).collect()
    }

    /// In words for a user, such as `pod shop/web-0`.
    pub(crate) fn title(&self) -> Option<String> {
        let (namespace, name) = self.namespace.zip(self.name)?;
        Some(format!("{} {namespace}/{name}", self.kind))
    }

    /// The workspace: the namespace, where that is a legal name of one.
    pub(crate) fn workspace(&self) -> Result<WorkspaceName> {
        self.namespace.map_or_else(|| Ok(WorkspaceName::public()), str::parse)
    }
}

fn of<'a>(map: &'a BTreeMap<String, String>, key: &str) -> Option<&'a str> {
    map.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

/// Whether a volume is made when it is published, and destroyed when that ends.
pub(crate) fn is_ephemeral(context: &BTreeMap<String, String>) -> bool {
    of(context, EPHEMERAL) == Some("true")
}

/// A legal name like that text: lower-case letters, digits and hyphens, as many as are allowed.
pub(crate) fn legal(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        if name.len() == VolumeName::MAX_LENGTH {
            break;
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() { "volume".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_parameter_is_read() {
        let said = map(&[
            ("type", "temp"),
            ("pool", "fast"),
            ("filesystem", "xfs"),
            ("mountOptions", "noexec, noatime,noexec"),
            ("accessScope", "node"),
            ("uid", "1000"),
            ("gid", "2000"),
            ("mode", "2770"),
            ("preallocate", "true"),
            ("protection", "false"),
            ("tempGracePeriod", "1h"),
            ("workspace", "team"),
            ("csi.storage.k8s.io/of/tomorrow", "x"),
        ]);
        let read = Parameters::read("parameters", CLASS, &said).unwrap();
        let expected = Parameters {
            volume_type: Some(VolumeType::Temp),
            pool: Some("fast".parse().unwrap()),
            filesystem: Some(FilesystemChoice::Xfs),
            mount_options: Some(vec![MountOption::Noatime, MountOption::Noexec]),
            node_scope: true,
            uid: Some(1000),
            gid: Some(2000),
            mode: Some("2770".parse().unwrap()),
            preallocate: Some(true),
            protection: Some(false),
            temp_grace_period: Some(Period::After(3600)),
            workspace: Some("team".parse().unwrap()),
            size: None,
        };
        assert_eq!(read, expected);
        assert_eq!(said.len() - 1, CLASS.len());
        assert!(MUTABLE.iter().all(|key| CLASS.contains(key)));
    }

    #[test]
    fn what_changes_goes_before_what_a_class_says() {
        let mut parameters =
            Parameters::read("parameters", CLASS, &map(&[("type", "temp"), ("gid", "1")])).unwrap();
        parameters.take("mutable_parameters", MUTABLE, &map(&[("gid", "2")])).unwrap();
        assert_eq!((parameters.volume_type, parameters.gid), (Some(VolumeType::Temp), Some(2)));
    }

    #[test]
    fn a_class_of_filesystems_makes_block_devices_too() {
        let said = map(&[
            ("type", "temp"),
            ("pool", "fast"),
            ("filesystem", "xfs"),
            ("mountOptions", "noexec"),
            ("uid", "1"),
            ("gid", "2"),
            ("mode", "0700"),
            ("preallocate", "true"),
        ]);
        let read = Parameters::read("parameters", CLASS, &said).unwrap();
        let mut kept = read.clone();
        kept.keep_for(VolumeMode::Filesystem);
        assert_eq!(kept, read);
        kept.keep_for(VolumeMode::Block);
        let expected = Parameters {
            volume_type: Some(VolumeType::Temp),
            pool: Some("fast".parse().unwrap()),
            ..Parameters::default()
        };
        assert_eq!(kept, expected);
    }

    #[test]
    fn faults_name_the_parameter() {
        for (known, key, value, hint) in [
            (CLASS, "typ", "temp", "did you mean type?"),
            (CLASS, "size", "1Gi", "expected one of"),
            (MUTABLE, "pool", "fast", "expected one of"),
            (INLINE, "pool", "fast", "expected one of"),
            (CLASS, "type", "tmp", "temp"),
            (CLASS, "uid", "-1", ""),
            (CLASS, "mode", "999", "octal"),
            (CLASS, "mountOptions", "noatime,suid", ""),
            (CLASS, "accessScope", "cluster", ""),
            (CLASS, "preallocate", "yes", ""),
            (CLASS, "tempGracePeriod", "soon", ""),
            (CLASS, "pool", "../x", ""),
        ] {
            let error = Parameters::read("parameters", known, &map(&[(key, value)])).unwrap_err();
            assert_eq!(error.kind, orlop_model::ErrorKind::InvalidArgument, "{key}");
            assert_eq!(error.object, Some(format!("parameters.{key}")), "{error}");
            assert!(error.hint.clone().unwrap_or_default().contains(hint), "{key}: {error}");
        }
    }

    #[test]
    fn for_whom_it_is() {
        let said = map(&[(CLAIM_NAME, "data-web-0"), (CLAIM_NAMESPACE, "shop"), (VOLUME_NAME, "pvc-1")]);
        let origin = Origin::of_claim(&said);
        assert_eq!(origin.tags(), ["pvc:shop/data-web-0", "pv:pvc-1"]);
        assert_eq!(origin.workspace().unwrap().as_str(), "shop");
        let nobody = BTreeMap::new();
        assert_eq!(Origin::of_claim(&nobody).tags(), [""; 0]);
        assert_eq!(Origin::of_claim(&nobody).workspace().unwrap(), WorkspaceName::public());
        let pod = map(&[(POD_NAME, "web-0"), (POD_NAMESPACE, "shop"), (EPHEMERAL, "true")]);
        assert_eq!(Origin::of_pod(&pod).title().as_deref(), Some("pod shop/web-0"));
        assert!(is_ephemeral(&pod) && !is_ephemeral(&said));
    }

    proptest! {
        #[test]
        fn a_name_is_always_legal(text in "\\PC{0,300}") {
            prop_assert!(VolumeName::check(&legal(&text)).is_ok());
            prop_assert_eq!(legal(&legal(&text)), legal(&text));
        }

        #[test]
        fn no_map_breaks_it(map in proptest::collection::btree_map("[a-zA-Z]{1,12}", ".{0,12}", 0..4)) {
            let _ = Parameters::read("parameters", CLASS, &map);
        }
    }
}
