//! Whether the users of a volume have the mount options that its manifest asks for. What is mounted
//! keeps the options it was mounted with: a container copied them with its mount, out of our reach.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use orlop_model::{MountOption, Result, VolumeId, VolumeMode};
use orlop_sys::mountinfo::{self, MountEntry};

use crate::{
    attachment::attach,
    core::Core,
    host::On,
    request::Form,
    store::{AttachmentRow, VolumeRow},
};

/// The options of what is mounted for users, by one look at the mount table for all volumes.
#[derive(Debug, Default)]
pub(super) struct Mounted {
    /// For the consumers of a front.
    published: HashMap<VolumeId, Vec<Vec<MountOption>>>,
    /// On directories of the host.
    targets: HashMap<PathBuf, Vec<MountOption>>,
}

impl Mounted {
    /// Looks, if there is anything to look for.
    pub(super) fn look(core: &Core, attached: &HashMap<VolumeId, Vec<AttachmentRow>>) -> Result<Self> {
        let mut mounted = Self::default();
        if attached.is_empty() {
            return Ok(mounted);
        }
        let targets: HashSet<_> = attached.values().flatten().filter_map(|a| a.target.as_ref()).collect();
        for entry in mountinfo::own().on("mount table")? {
            match core.places.volume_of(&entry.mount_point) {
                Some(id) if entry.mount_point != core.places.base(id) => {
                    mounted.published.entry(id).or_default().push(options(&entry));
                }
                Some(_) => {}
                None if targets.contains(&entry.mount_point) => {
                    let options = options(&entry);
                    mounted.targets.insert(entry.mount_point, options);
                }
                None => {}
            }
        }
        Ok(mounted)
    }

    /// What users of that volume ought to know, where they have other options than asked for.
    pub(super) fn note(&self, row: &VolumeRow, attachments: &[AttachmentRow]) -> Option<String> {
        match row.manifest.volume.volume_mode {
            VolumeMode::Filesystem => {}
            // What is mounted is a node, with the options of the filesystem that it lies in.
            VolumeMode::Block => return None,
        }
        let wanted = attach::options(row, &Form::default());
        let published = self.published.get(&row.id).into_iter().flatten().map(|had| (had, wanted.clone()));
        let targets = attachments.iter().filter_map(|attachment| {
            let had = self.targets.get(attachment.target.as_ref()?)?;
            Some((had, attach::options(row, &attachment.form)))
        });
        let (other, wanted) = published.chain(targets).find(|(had, wanted)| *had != wanted)?;
        Some(format!(
            "its users have it mounted with {}; when they have left, the next ones get {}",
            words(other),
            words(&wanted)
        ))
    }
}

/// Those that a manifest can ask for, in their order.
fn options(entry: &MountEntry) -> Vec<MountOption> {
    let has = |options: &str, option: MountOption| options.split(',').any(|word| word == option.as_str());
    let mut found = MountOption::ALL.to_vec();
    found.retain(|option| match option {
        MountOption::Noatime | MountOption::Nodiratime | MountOption::Noexec => has(&entry.options, *option),
        MountOption::Sync => has(&entry.filesystem_options, *option),
    });
    found
}

fn words(options: &[MountOption]) -> String {
    match options {
        [] => "no mount option".to_owned(),
        options => options.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}
