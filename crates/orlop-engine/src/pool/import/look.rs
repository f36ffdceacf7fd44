//! What is in the pool and not known here: descriptions first (see `candidate`), then the filesystem of
//! each image by its own checker, which only reads; several at once.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use orlop_model::{
    Result, VolumeName,
    pool_report::{ImportFate, ImportedSnapshot, ImportedVolume},
};
use orlop_sys::{
    Unfinished,
    filesystem::{CheckMode, CheckOutcome, check_while},
    image as host_image,
};

use super::CHECK_LIMIT;
use crate::{
    backend::image::kernel_kind,
    core::Core,
    directory::entries,
    format::{Placement, PoolPaths, SnapshotFile, VolumeFile},
    pool::candidate::{self, SecondNames},
    reconcile::attachments::in_parallel,
    running::Meter,
    store::{PoolRow, snapshots, volumes},
};

/// What the report of the import says of each.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) volumes: Vec<ImportedVolume>,
    pub(super) snapshots: Vec<ImportedSnapshot>,
}

/// What passed.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) volumes: Vec<VolumeFile>,
    pub(super) snapshots: Vec<SnapshotFile>,
}

/// Something whose description passed.
enum Candidate {
    Volume(Box<VolumeFile>),
    Snapshot(Box<SnapshotFile>),
}

/// See above. What is refused or known already is shown; what passed is returned.
pub(super) fn look(
    core: &Core,
    row: &PoolRow,
    paths: &PoolPaths,
    meter: &Meter<'_>,
) -> Result<(Shown, Found)> {
    let mut shown = Shown::default();
    let mut candidates = volumes(core, row, paths, &mut shown)?;
    candidates.extend(snapshots(core, row, paths, &mut shown)?);
    let allocated =
        |candidate: &Candidate| host_image::space(&candidate.image(paths)).map_or(0, |space| space.allocated);
    meter.phase("checking", Some(candidates.iter().map(allocated).sum()));
    let verdicts = Mutex::new(Vec::new());
    let numbered: Vec<(usize, &Candidate)> = candidates.iter().enumerate().collect();
    in_parallel(core.config.recovery_parallelism, &numbered, |(number, candidate)| {
        if let Err(why) = candidate.check(paths, meter)? {
            verdicts.lock().unwrap_or_else(PoisonError::into_inner).push((*number, why));
        }
        meter.advance(allocated(candidate))
    })?;
    let bad: std::collections::HashMap<_, _> =
        verdicts.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect();
    let mut found = Found::default();
    for (number, candidate) in candidates.into_iter().enumerate() {
        match (candidate, bad.get(&number)) {
            (Candidate::Volume(file), None) => found.volumes.push(*file),
            (Candidate::Snapshot(file), None) => found.snapshots.push(*file),
            (Candidate::Volume(file), Some(why)) => {
                let title = format!("{}/{}", file.workspace, file.manifest.name);
                shown.volumes.push(refused_volume(&file.id.to_string(), Some(title), why.clone()));
            }
            (Candidate::Snapshot(file), Some(why)) => {
                let title = format!("{}/{}", file.workspace, file.manifest.name);
                let of = Some(file.manifest.snapshot.volume);
                shown.snapshots.push(refused_snapshot(&file.id.to_string(), Some(title), of, why.clone()));
            }
        }
    }
    Ok((shown, found))
}

/// The names in a directory, in order.
fn sorted(directory: &Path) -> Result<Vec<String>> {
    let mut names: Vec<_> = entries(directory)?.into_iter().map(|(_, name)| name).collect();
    names.sort();
    Ok(names)
}

fn volumes(core: &Core, row: &PoolRow, paths: &PoolPaths, shown: &mut Shown) -> Result<Vec<Candidate>> {
    let second_names = SecondNames::of(paths)?;
    let mut candidates = Vec::new();
    for directory in sorted(&paths.volumes())? {
        let Some(id) = PoolPaths::volume_of(&directory) else {
            let why = "its name is no id of a volume".to_owned();
            shown.volumes.push(refused_volume(&directory, None, why));
            continue;
        };
        match core.store.read(|r| volumes::by_id(r, id))? {
            Some(known) if known.placement.pool == row.id => shown.volumes.push(ImportedVolume {
                title: Some(known.title()),
                owner_uid: Some(known.owner_uid),
                directory,
                fate: ImportFate::Known,
                aliases: Vec::new(),
                detail: None,
            }),
            Some(known) => {
                let (title, elsewhere) = (known.title(), &known.placement.pool_name);
                let why = format!("volume {title} is in pool {elsewhere}, and this is an old copy of it");
                shown.volumes.push(refused_volume(&directory, None, why));
            }
            None => match candidate::volume(paths, row.id, id, &second_names) {
                Ok(file) => candidates.push(Candidate::Volume(Box::new(file))),
                Err(why) => shown.volumes.push(refused_volume(&directory, None, why)),
            },
        }
    }
    Ok(candidates)
}

fn snapshots(core: &Core, row: &PoolRow, paths: &PoolPaths, shown: &mut Shown) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    for directory in sorted(&paths.snapshots())? {
        let Some(id) = PoolPaths::snapshot_of(&directory) else {
            let why = "its name is no id of a snapshot".to_owned();
            shown.snapshots.push(refused_snapshot(&directory, None, None, why));
            continue;
        };
        match core.store.read(|r| snapshots::by_id(r, id))? {
            Some(known) if known.pool == row.id => shown.snapshots.push(ImportedSnapshot {
                title: Some(known.title()),
                volume: Some(known.manifest.snapshot.volume),
                owner_uid: Some(known.owner_uid),
                directory,
                fate: ImportFate::Known,
                detail: None,
            }),
            Some(known) => {
                let why = format!(
                    "snapshot {} is in pool {}, and this is a copy of it",
                    known.title(),
                    known.pool_name
                );
                shown.snapshots.push(refused_snapshot(&directory, None, None, why));
            }
            None => match candidate::snapshot(paths, row.id, id) {
                Ok(file) => candidates.push(Candidate::Snapshot(Box::new(file))),
                Err(why) => shown.snapshots.push(refused_snapshot(&directory, None, None, why)),
            },
        }
    }
    Ok(candidates)
}

fn refused_volume(directory: &str, title: Option<String>, why: String) -> ImportedVolume {
    ImportedVolume {
        directory: directory.to_owned(),
        title,
        owner_uid: None,
        fate: ImportFate::Refused,
        aliases: Vec::new(),
        detail: Some(why),
    }
}

fn refused_snapshot(
    directory: &str,
    title: Option<String>,
    volume: Option<VolumeName>,
    why: String,
) -> ImportedSnapshot {
    ImportedSnapshot {
        directory: directory.to_owned(),
        title,
        volume,
        owner_uid: None,
        fate: ImportFate::Refused,
        detail: Some(why),
    }
}

impl Candidate {
    fn image(&self, paths: &PoolPaths) -> PathBuf {
        match self {
            Self::Volume(file) => paths.image(file.id),
            Self::Snapshot(file) => paths.snapshot_image(file.id),
        }
    }

    /// `Ok(Err)` says, for people, what is wrong with it.
    ///
    /// # Errors
    /// [`orlop_model::ErrorKind::Interrupted`] once the import is to stop.
    fn check(&self, paths: &PoolPaths, meter: &Meter<'_>) -> Result<Result<(), String>> {
        let Placement::Image(placement) = match self {
            Self::Volume(file) => &file.placement,
            Self::Snapshot(file) => &file.placement,
        };
        // Of a block device nothing is known, and nothing is looked at.
        let Some(filesystem) = placement.filesystem() else { return Ok(Ok(())) };
        let kind = kernel_kind(filesystem.kind);
        let image = self.image(paths);
        let checked = check_while(&image, kind, CheckMode::ReadOnly, CHECK_LIMIT, || meter.advance(0));
        Ok(match checked {
            // As after a crash: its log is replayed at its first use.
            Ok(CheckOutcome::Clean | CheckOutcome::LogDirty) => Ok(()),
            Ok(CheckOutcome::Repaired { detail } | CheckOutcome::Damaged { detail }) => {
                let program = kind.check_program().name;
                Err(format!(
                    "its filesystem is damaged; {program} says: {detail}; copy it away first, then repair it and import again"
                ))
            }
            Err(Unfinished::Failed(error)) => Err(error.to_string()),
            Err(Unfinished::Stopped(error)) => return Err(error),
        })
    }
}
