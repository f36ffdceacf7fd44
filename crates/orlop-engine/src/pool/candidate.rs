//! A directory in a pool that no record knows: whether it holds a whole volume or snapshot. What it says
//! of itself is not believed: everything is parsed by the model, compared with what is there, and nothing
//! in it is used as a path, as a mount option or as an argument of a program.

use std::{
    collections::HashMap,
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use orlop_model::{
    Period, PoolId, Size, SnapshotId, VolumeId, VolumeMode,
    resource::{Front, SnapshotState, VolumeState},
};
use orlop_sys::{FileIdentity, loopdev};

use crate::{
    alias,
    directory::{entries, read_short},
    format::{Content, FilesystemContent, ImageFormat, Placement, PoolPaths, SnapshotFile, VolumeFile},
};

const ROOT: u32 = 0;
/// The store has room for it, and for what is added to it.
const MOST: u64 = 1 << 62;
/// The block sizes that we make filesystems and loop devices with.
const BLOCK_SIZES: [u32; 4] = [512, 1024, 2048, 4096];

/// The images of snapshots that have a second name, each with how many snapshots it is the image of. A
/// restore gives a volume's image one, so that it is kept when the copy of the snapshot takes its place.
#[derive(Debug, Default)]
pub(crate) struct SecondNames(HashMap<FileIdentity, u64>);

impl SecondNames {
    pub(crate) fn of(paths: &PoolPaths) -> orlop_model::Result<Self> {
        let mut found = HashMap::new();
        for (_, name) in entries(&paths.snapshots())? {
            let Some(id) = PoolPaths::snapshot_of(&name) else { continue };
            let image = paths.snapshot_image(id);
            if std::fs::symlink_metadata(&image).is_ok_and(|found| found.is_file() && found.nlink() > 1)
                && let Ok(identity) = FileIdentity::of_path(&image)
            {
                *found.entry(identity).or_default() += 1;
            }
        }
        Ok(Self(found))
    }

    fn of_image(&self, image: &Path) -> u64 {
        FileIdentity::of_path(image).ok().and_then(|identity| self.0.get(&identity)).copied().unwrap_or(0)
    }
}

/// Reads the description of the volume and looks at its image, without opening that. `Err` says, for
/// people, why it is none that can be taken over.
pub(crate) fn volume(
    paths: &PoolPaths,
    pool: PoolId,
    id: VolumeId,
    second_names: &SecondNames,
) -> Result<VolumeFile, String> {
    let record = paths.record(id);
    let bytes = description(&paths.volume(id), &record)?;
    let mut file = VolumeFile::decode(&bytes, &record).map_err(|error| error.message)?;
    if file.id != id {
        return Err(format!("its volume.json is of another volume, {}", file.id));
    }
    of_this_pool(&record, file.pool, pool)?;
    if file.state.phase == VolumeState::Pending || !file.initialised {
        return Err("it was never finished".to_owned());
    }
    if file.manifest.volume.size != Size::from_bytes(file.size_bytes) {
        return Err("its volume.json contradicts itself about the size".to_owned());
    }
    file.manifest.volume.check().map_err(|error| error.message)?;
    let created = file.created_size_bytes.is_none_or(|bytes| (1..=MOST).contains(&bytes));
    // What may be written of a period is its own to say.
    let grace = Period::from_seconds(file.state.temp_grace_seconds).to_string().parse::<Period>().is_ok();
    if file.generation > MOST || !created || !grace {
        return Err("a number in its volume.json makes no sense".to_owned());
    }
    let Placement::Image(placement) = &file.placement;
    let had_as_device = match file.manifest.volume.volume_mode {
        VolumeMode::Filesystem => false,
        VolumeMode::Block => true,
    };
    // What was had as a block device is never mounted, whatever else is said of it.
    if placement.is_device() != had_as_device {
        return Err("its volume.json contradicts itself about the volumeMode".to_owned());
    }
    for alias in &file.aliases {
        // Of a front that this build does not know nothing is taken over.
        if let Some(front) = front(&alias.front) {
            alias::check_of(front, &alias.name).map_err(|error| error.message)?;
        }
    }
    let path = paths.image(id);
    let found = image(&path, file.size_bytes, &file.placement)?;
    // A restore that was cut short changed nothing of the volume.
    if found.nlink() != 1 + second_names.of_image(&path) {
        return Err("its image has another name elsewhere (a hard link)".to_owned());
    }
    disarm(&mut file.placement);
    Ok(file)
}

/// The same of a snapshot.
pub(crate) fn snapshot(paths: &PoolPaths, pool: PoolId, id: SnapshotId) -> Result<SnapshotFile, String> {
    let record = paths.snapshot_record(id);
    let bytes = description(&paths.snapshot(id), &record)?;
    let mut file = SnapshotFile::decode(&bytes, &record).map_err(|error| error.message)?;
    if file.id != id {
        return Err(format!("its snapshot.json is of another snapshot, {}", file.id));
    }
    of_this_pool(&record, file.pool, pool)?;
    if file.generation > MOST {
        return Err("a number in its snapshot.json makes no sense".to_owned());
    }
    match file.state {
        SnapshotState::Pending => return Err("it was never finished".to_owned()),
        SnapshotState::Active | SnapshotState::Deleting | SnapshotState::Error => {}
    }
    for alias in &file.aliases {
        if let Some(front) = front_of_snapshots(&alias.front) {
            alias::check_of(front, &alias.name).map_err(|error| error.message)?;
        }
    }
    if let Some(group) = &mut file.group
        && let Some(name) = &group.known_as
    {
        match front_of_snapshots(file.created_by.as_str()) {
            Some(front) => alias::check_of(front, name).map_err(|error| error.message)?,
            // It calls none by a name of its own.
            None => group.known_as = None,
        }
    }
    let path = paths.snapshot_image(id);
    let found = image(&path, file.size_bytes, &file.placement)?;
    if found.nlink() != 1 {
        let same = |other: PathBuf| FileIdentity::of_path(&other).ok() == FileIdentity::of_path(&path).ok();
        return Err(if same(paths.image(file.volume)) {
            "its image is that of its volume by a second name: a restore was cut short, and the volume has all of it".to_owned()
        } else {
            "its image has another name elsewhere (a hard link)".to_owned()
        });
    }
    disarm(&mut file.placement);
    Ok(file)
}

/// The front of that word, where this build has it and it has names of its own for volumes.
pub(crate) fn front(word: &str) -> Option<Front> {
    let named = |front: &Front| match front {
        Front::Docker | Front::Podman | Front::Csi => true,
        Front::Manifest | Front::Host => false,
    };
    Front::ALL.into_iter().find(|front| front.as_str() == word).filter(named)
}

/// The same where it has names of its own for snapshots.
pub(crate) fn front_of_snapshots(word: &str) -> Option<Front> {
    front(word).filter(|front| match front {
        Front::Csi => true,
        Front::Docker | Front::Podman | Front::Manifest | Front::Host => false,
    })
}

fn description(directory: &Path, record: &Path) -> Result<Vec<u8>, String> {
    own(directory, true)?;
    own(record, false)?;
    read_short(record).map_err(|error| format!("its {} can't be read: {error}", name(record)))
}

fn of_this_pool(record: &Path, said: PoolId, pool: PoolId) -> Result<(), String> {
    if said == pool {
        return Ok(());
    }
    Err(format!("its {} was written in another pool, {said}", name(record)))
}

/// What the file of the image is like, where it is as its description says and nobody has it.
fn image(path: &Path, size_bytes: u64, placement: &Placement) -> Result<Metadata, String> {
    let Placement::Image(placement) = placement;
    let of_filesystem = placement.filesystem().map(|filesystem| filesystem.block_size);
    for size in [Some(placement.loop_block_size), of_filesystem].into_iter().flatten() {
        if !BLOCK_SIZES.contains(&size) {
            return Err(format!("a block size of {size} bytes makes no sense"));
        }
    }
    let found = own(path, false)?;
    if found.len() != size_bytes {
        return Err(format!("its image has {} bytes instead of {size_bytes}", found.len()));
    }
    let identity = FileIdentity::of_path(path).map_err(|error| error.to_string())?;
    match loopdev::find_by_backing(identity).map_err(|error| error.to_string())? {
        None => Ok(found),
        Some(device) => Err(format!("its image is in use, on {}", device.node().display())),
    }
}

/// A real directory or file, and root's: nobody can exchange it while it is looked at.
fn own(path: &Path, directory: bool) -> Result<Metadata, String> {
    let name = name(path);
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("it has no {name}"));
        }
        Err(error) => return Err(format!("{name} can't be looked at: {error}")),
    };
    if found.is_dir() != directory || found.is_file() == directory {
        return Err(format!("{name} is no {}", if directory { "directory" } else { "file" }));
    }
    if found.uid() != ROOT {
        return Err(format!("{name} belongs to uid {}, and not to root", found.uid()));
    }
    Ok(found)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().display().to_string()
}

/// Takes away what would be given to a program: how it was made is history.
fn disarm(placement: &mut Placement) {
    let Placement::Image(placement) = placement;
    match &mut placement.content {
        Content::Filesystem(FilesystemContent { format, .. }) => {
            *format = ImageFormat { rule: format.rule, program: String::new(), arguments: Vec::new() };
        }
        Content::Device => {}
    }
}
