//! The volumes of the storm: what each is asked for as, where it is wanted, what is known of it, and what
//! was answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Mutex,
};

use orlop_csi::protocol::{
    CapacityRange, CreateVolumeRequest, VolumeCapability,
    volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume, access_mode::Mode},
};
use tonic::Code;

use crate::dice::Dice;

pub(crate) const MIB: i64 = 1 << 20;
/// The pods that want a volume.
pub(crate) const PODS: u64 = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ext4,
    Xfs,
    Block,
}

/// A volume that is asked for by a name of its own, again and again.
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) known: Mutex<Known>,
}

/// What the clients were told.
#[derive(Default)]
pub(crate) struct Known {
    /// All ids that it ever had, the last one last.
    pub(crate) ids: Vec<String>,
    pub(crate) snapshots: BTreeSet<String>,
}

pub(crate) struct Storm {
    pub(crate) slots: Vec<Slot>,
    pub(crate) kubelet: PathBuf,
    answers: Mutex<BTreeMap<(&'static str, String), u64>>,
    wrong: Mutex<BTreeSet<String>>,
}

impl Storm {
    pub(crate) fn new(volumes: usize, kubelet: PathBuf, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let slot = |number| {
            let kind = match dice.roll(20) {
                0 => Kind::Xfs,
                1..=11 => Kind::Ext4,
                _ => Kind::Block,
            };
            Slot { name: format!("storm-{number}"), kind, known: Mutex::default() }
        };
        let slots = (0..volumes).map(slot).collect();
        Self { slots, kubelet, answers: Mutex::default(), wrong: Mutex::default() }
    }

    /// Some are wanted more than others, so that calls meet.
    pub(crate) fn slot(&self, dice: &mut Dice) -> &Slot {
        const WANTED: usize = 6;
        if dice.one_in(3) { dice.pick(&self.slots[..WANTED]) } else { dice.pick(&self.slots) }
    }

    /// A directory that the kubelet makes.
    fn directory(&self, below: &str) -> String {
        let path = self.kubelet.join(below);
        std::fs::create_dir_all(&path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn staging(&self, id: &str) -> String {
        self.directory(&format!("plugins/kubernetes.io/csi/csi.orlop.dev/{id}/globalmount"))
    }

    pub(crate) fn target(&self, kind: Kind, id: &str, pod: u64) -> String {
        match kind {
            Kind::Block => {
                let parent = self.directory(&format!("plugins/kubernetes.io/csi/volumeDevices/publish/{id}"));
                format!("{parent}/pod-{pod}")
            }
            Kind::Ext4 | Kind::Xfs => {
                let parent = self.directory(&format!("pods/pod-{pod}/volumes/kubernetes.io~csi/{id}"));
                format!("{parent}/mount")
            }
        }
    }

    /// Where kubelets want what is to be published, whether it is there or not.
    pub(crate) fn targets(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.kubelet, &mut found);
        found
    }

    /// Notes what a call was answered with.
    pub(crate) fn answered(&self, call: &'static str, answer: impl Into<String>) {
        *self.answers.lock().unwrap().entry((call, answer.into())).or_default() += 1;
    }

    /// Notes an answer that the call must not have.
    pub(crate) fn wrong(&self, call: &'static str, code: Code, message: &str) {
        self.wrong.lock().unwrap().insert(format!("{call}: {code:?}: {message}"));
    }

    pub(crate) fn told(&self) -> String {
        let answers = self.answers.lock().unwrap();
        let mut text = format!("{} calls\n", answers.values().sum::<u64>());
        for ((call, answer), times) in answers.iter() {
            text.push_str(&format!("  {call}: {answer} {times}\n"));
        }
        text
    }

    #[track_caller]
    pub(crate) fn assert_right(&self) {
        let wrong = self.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "wrong answers: {wrong:#?}");
    }
}

/// Targets are the leaves `mount`, and all below the directories of block devices.
fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let (path, is_directory) = (entry.path(), entry.file_type().unwrap().is_dir());
        if !is_directory || path.ends_with("mount") {
            found.push(path);
        } else {
            collect(&path, found);
        }
    }
}

impl Slot {
    pub(crate) fn capability(&self, mode: Mode) -> VolumeCapability {
        let access_type = match self.kind {
            Kind::Block => AccessType::Block(BlockVolume {}),
            Kind::Ext4 | Kind::Xfs => AccessType::Mount(MountVolume::default()),
        };
        let access_mode = Some(AccessMode { mode: mode.into() });
        VolumeCapability { access_mode, access_type: Some(access_type) }
    }

    pub(crate) fn size(&self) -> i64 {
        match self.kind {
            Kind::Xfs => 300 * MIB,
            Kind::Ext4 | Kind::Block => 16 * MIB,
        }
    }

    pub(crate) fn request(&self) -> CreateVolumeRequest {
        let filesystem = match self.kind {
            Kind::Xfs => "xfs",
            Kind::Ext4 => "ext4",
            Kind::Block => "auto",
        };
        let parameters = [("type", "temp"), ("filesystem", filesystem)];
        CreateVolumeRequest {
            name: self.name.clone(),
            capacity_range: Some(CapacityRange { required_bytes: self.size(), limit_bytes: 0 }),
            volume_capabilities: vec![self.capability(Mode::SingleNodeMultiWriter)],
            parameters: parameters.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..Default::default()
        }
    }

    /// The id that it has as far as is known, or one that it had.
    pub(crate) fn id(&self, dice: &mut Dice) -> String {
        const NONE: &str = "01936f2e-6c3a-7c5b-8d1e-2f3a4b5c6d7e";
        let known = self.known.lock().unwrap();
        let old = dice.one_in(20);
        let id = if old { known.ids.first() } else { known.ids.last() };
        id.map_or(NONE, String::as_str).to_owned()
    }

    /// Notes the id of a volume that was made.
    pub(crate) fn has(&self, id: &str) {
        let mut known = self.known.lock().unwrap();
        if known.ids.last().is_none_or(|last| last != id) {
            known.ids.push(id.to_owned());
        }
    }
}
