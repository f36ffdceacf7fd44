//! What lies in the pool and no record explains. Only what can be nobody's data is ever removed.

use std::path::Path;

use orlop_model::{PoolId, Result, VolumeId, pool_report::Difference};
use orlop_sys::durable;

use super::{About, Check};
use crate::{
    blank,
    directory::entries,
    format::PoolPaths,
    host::On,
    pool::{
        candidate::{self, SecondNames},
        create,
        remove::{OURS, is_blank},
    },
    store::{operations, snapshots, volumes},
};

impl Check<'_> {
    /// What is in the pool and belongs to no recorded volume or snapshot.
    pub(super) fn strangers(&mut self) -> Result<()> {
        let root = entries(self.paths.root())?;
        let root = root
            .into_iter()
            .filter(|(_, name)| !OURS.contains(&name.as_str()) && name != create::LOST_AND_FOUND);
        for (path, _) in root.collect::<Vec<_>>() {
            let draft = path == durable::draft_of(&self.paths.marker());
            self.leftover_or_stranger(&path, draft)?;
        }
        blank::load_of(self.core, self.row, &self.paths)?;
        let known_blanks = self.core.blanks.all(self.row.id);
        for (path, name) in entries(&self.paths.blanks())? {
            // A blank is nobody's, and one that is being made holds the pool's lock.
            if known_blanks.iter().any(|blank| blank.to_string() == name) {
                continue;
            }
            let is_file = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
            self.leftover_or_stranger(&path, is_blank(&name) && is_file)?;
        }
        self.strange_volumes()?;
        self.strange_snapshots()
    }

    fn strange_volumes(&mut self) -> Result<()> {
        let second_names = SecondNames::of(&self.paths)?;
        for (path, name) in entries(&self.paths.volumes())? {
            let Some(id) = PoolPaths::volume_of(&name) else {
                self.leftover_or_stranger(&path, false)?;
                continue;
            };
            match self.core.store.read(|r| volumes::by_id(r, id))? {
                // A creation that goes on elsewhere has a record before it has a directory.
                Some(known) if self.is_of_pool(known.placement.pool, known.id)? => {}
                Some(known) => {
                    let (title, elsewhere) = (known.title(), &known.placement.pool_name);
                    let detail =
                        format!("volume {title} is in pool {elsewhere}, and this is an old copy of it");
                    self.stranger(Difference::Unaccounted, &path, detail)?;
                }
                None => match candidate::volume(&self.paths, self.row.id, id, &second_names) {
                    Ok(file) => {
                        let title = format!("{}/{}", file.workspace, file.manifest.name);
                        let detail = format!("it is the volume {title}, of uid {}", file.owner_uid);
                        self.stranger(Difference::UnrecordedVolume, &path, detail)?;
                    }
                    Err(why) => self.stranger(Difference::Unaccounted, &path, why)?,
                },
            }
        }
        Ok(())
    }

    /// Whether a volume is in this pool, or on its way into it or out of it.
    fn is_of_pool(&self, pool: PoolId, volume: VolumeId) -> Result<bool> {
        Ok(pool == self.row.id || !self.core.store.read(|r| operations::of_volume(r, volume))?.is_empty())
    }

    fn strange_snapshots(&mut self) -> Result<()> {
        for (path, name) in entries(&self.paths.snapshots())? {
            let Some(id) = PoolPaths::snapshot_of(&name) else {
                self.leftover_or_stranger(&path, false)?;
                continue;
            };
            match self.core.store.read(|r| snapshots::by_id(r, id))? {
                Some(known) if known.pool == self.row.id => {}
                Some(known) => {
                    let (title, elsewhere) = (known.title(), &known.pool_name);
                    let detail = format!("snapshot {title} is in pool {elsewhere}, and this is a copy of it");
                    self.stranger(Difference::Unaccounted, &path, detail)?;
                }
                None => match candidate::snapshot(&self.paths, self.row.id, id) {
                    Ok(file) => {
                        let title = format!("{}/{}", file.workspace, file.manifest.name);
                        let (of, uid) = (&file.manifest.snapshot.volume, file.owner_uid);
                        let detail = format!("it is the snapshot {title} of volume {of}, of uid {uid}");
                        self.stranger(Difference::UnrecordedSnapshot, &path, detail)?;
                    }
                    Err(why) => self.stranger(Difference::Unaccounted, &path, why)?,
                },
            }
        }
        Ok(())
    }

    /// Something that is left alone. Who was just deleting it has taken it away meanwhile.
    fn stranger(&mut self, difference: Difference, path: &Path, detail: String) -> Result<()> {
        if std::fs::symlink_metadata(path).is_err() {
            return Ok(());
        }
        self.found(difference, path.display().to_string(), About::Path, detail, || Ok(false))
    }

    /// Removed, with `--repair`, where it is what a crash left; else somebody's.
    pub(super) fn leftover_or_stranger(&mut self, path: &Path, leftover: bool) -> Result<()> {
        if !leftover {
            return self.stranger(Difference::Unaccounted, path, "no record explains it".to_owned());
        }
        let subject = path.display().to_string();
        let detail = "a crash left it, or nobody wants it any more".to_owned();
        let object = format!("pool {}", self.row.name);
        self.found(Difference::Leftover, subject, About::Path, detail, || {
            durable::remove_file(path).on(&object).map(|()| true)
        })
    }
}
