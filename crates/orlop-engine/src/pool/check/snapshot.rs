//! A recorded snapshot: its image, its description, what lies beside them, and loop devices.

use std::os::unix::fs::MetadataExt;

use orlop_model::{Result, pool_report::Difference, resource::SnapshotState};
use orlop_sys::{FileIdentity, durable};

use super::{About, Check, Loops};
use crate::{
    directory::entries,
    format::SnapshotFile,
    host::On,
    snapshot::{describe, object},
    store::SnapshotRow,
};

impl Check<'_> {
    /// One snapshot against its record. The caller holds its lock.
    pub(super) fn snapshot(&mut self, row: &SnapshotRow, loops: &Loops) -> Result<()> {
        let (title, about) = (object(row), About::Snapshot(row.id));
        let image = self.paths.snapshot_image(row.id);
        if let Err(why) = examine(&image, row) {
            return self.found(Difference::BadImage, title, about, why, || Ok(false));
        }
        let paths = self.paths.clone();
        let (core, wanted) = (self.core, describe::file(self.core, row)?);
        let stale = match describe::read(&paths, row) {
            Err(error) => {
                let detail = error.to_string();
                return self.found(Difference::StaleDescription, title, about, detail, || Ok(false));
            }
            Ok(None) => Some("its snapshot.json is missing or damaged"),
            Ok(Some(file)) if same(file.clone(), wanted) => None,
            Ok(Some(_)) => Some("its snapshot.json says something else than its record"),
        };
        if let Some(detail) = stale {
            self.found(Difference::StaleDescription, title.clone(), about, detail.to_owned(), || {
                describe::write(core, &paths, row).map(|()| true)
            })?;
        }
        let record = paths.snapshot_record(row.id);
        for (path, _) in entries(&paths.snapshot(row.id))? {
            if path != record && path != image {
                self.leftover_or_stranger(&path, path == durable::draft_of(&record))?;
            }
        }
        let identity = FileIdentity::of_path(&image).on(&title)?;
        let devices = loops.of(&identity);
        let shown = Loops::named(devices);
        match devices {
            [] => Ok(()),
            [_] => self.found(Difference::HeldImage, title, about, shown, || Ok(false)),
            [_, _, ..] => self.found(Difference::TwoLoopDevices, title, about, shown, || Ok(false)),
        }
    }
}

/// One look at the file of the image. `Err` says, for people, what is wrong with it.
fn examine(image: &std::path::Path, row: &SnapshotRow) -> Result<(), String> {
    let path = image.display();
    let found = match std::fs::symlink_metadata(image) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("its image {path} is missing"));
        }
        Err(error) => return Err(format!("can't look at {path}: {error}")),
    };
    if !found.is_file() {
        return Err(format!("its image {path} was replaced by something else"));
    }
    if found.len() != row.size.bytes() {
        let (has, needs) = (found.len(), row.size.bytes());
        return Err(format!("its image {path} has {has} bytes instead of {needs}"));
    }
    if found.nlink() != 1 {
        return Err(format!(
            "its image {path} has another name elsewhere (a hard link), and can change by it"
        ));
    }
    Ok(())
}

/// Whether the description says what the record says. What became of its image is the record's alone,
/// and what its volume is called is the volume's: a rename describes no snapshot anew.
fn same(mut file: SnapshotFile, mut wanted: SnapshotFile) -> bool {
    for file in [&mut file, &mut wanted] {
        file.generation = 0;
        if file.state == SnapshotState::Error {
            file.state = SnapshotState::Active;
        }
    }
    file.manifest.snapshot.volume = wanted.manifest.snapshot.volume.clone();
    file == wanted
}
