//! A directory in a pool that no record knows: whether it holds a whole volume. What it says of itself
//! is not believed: everything is parsed by the model, compared with what is there, and nothing in it
//! is used as a path, as a mount option or as an argument of a program.

use std::{os::unix::fs::MetadataExt, path::Path};

use orlop_model::{PoolId, Size, VolumeId, resource::VolumeState};
use orlop_sys::{FileIdentity, loopdev};

use crate::format::{ImageFormat, Placement, PoolPaths, VolumeFile};

const ROOT: u32 = 0;
/// The block sizes that we make filesystems and loop devices with.
const BLOCK_SIZES: [u32; 4] = [512, 1024, 2048, 4096];

/// Reads the description of the volume and looks at its image, without opening that. `Err` says, for
/// people, why it is none that can be taken over.
pub(crate) fn read(paths: &PoolPaths, pool: PoolId, id: VolumeId) -> Result<VolumeFile, String> {
    own(&paths.volume(id), true)?;
    own(&paths.record(id), false)?;
    let record = paths.record(id);
    let bytes =
        super::read_short(&record).map_err(|error| format!("its volume.json can't be read: {error}"))?;
    let file = VolumeFile::decode(&bytes, &record).map_err(|error| error.message)?;
    if file.id != id {
        return Err(format!("its volume.json is of another volume, {}", file.id));
    }
    if file.pool != pool {
        return Err(format!("its volume.json was written in another pool, {}", file.pool));
    }
    if file.state.phase == VolumeState::Pending || !file.initialised {
        return Err("it was never finished".to_owned());
    }
    if file.manifest.volume.size != Size::from_bytes(file.size_bytes) {
        return Err("its volume.json contradicts itself about the size".to_owned());
    }
    file.manifest.volume.check().map_err(|error| error.message)?;
    check_image(paths, id, &file)?;
    Ok(disarmed(file))
}

fn check_image(paths: &PoolPaths, id: VolumeId, file: &VolumeFile) -> Result<(), String> {
    let Placement::Image(placement) = &file.placement;
    for size in [placement.filesystem_block_size, placement.loop_block_size] {
        if !BLOCK_SIZES.contains(&size) {
            return Err(format!("a block size of {size} bytes makes no sense"));
        }
    }
    let image = paths.image(id);
    let found = own(&image, false)?;
    if found.nlink() != 1 {
        return Err("its image has another name elsewhere (a hard link)".to_owned());
    }
    if found.len() != file.size_bytes {
        return Err(format!("its image has {} bytes instead of {}", found.len(), file.size_bytes));
    }
    let identity = FileIdentity::of_path(&image).map_err(|error| error.to_string())?;
    match loopdev::find_by_backing(identity).map_err(|error| error.to_string())? {
        None => Ok(()),
        Some(device) => Err(format!("its image is in use, on {}", device.node().display())),
    }
}

/// A real directory or file, and root's: nobody can exchange it while it is looked at.
fn own(path: &Path, directory: bool) -> Result<std::fs::Metadata, String> {
    let name = path.file_name().unwrap_or_default().display().to_string();
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

/// Without what would be given to a program: how it was made is history.
fn disarmed(mut file: VolumeFile) -> VolumeFile {
    let Placement::Image(placement) = &mut file.placement;
    placement.format =
        ImageFormat { rule: placement.format.rule, program: String::new(), arguments: Vec::new() };
    file
}
