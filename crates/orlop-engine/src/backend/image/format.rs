//! Making an image: which parameters it gets, and the file with the filesystem in it.

use std::{path::Path, time::Duration};

use orlop_model::{Result, VolumeMode, VolumeSpec};
use orlop_sys::{
    filesystem::{FormatParameters, format_parameters, mkfs},
    image,
};

use super::kernel_kind;
use crate::{
    format::{Content, FilesystemContent, ImageFormat, ImagePlacement},
    host::On,
};

/// The number of the rule by which `orlop-sys` pins the parameters and what mkfs puts into the image.
/// It grows with every change of them, so that a blank of an older rule is not taken for one of the
/// newer; a test of each sees to that.
pub(crate) const RULE: u32 = 1;

/// The logical blocks of a block device, in bytes: those of its users' filesystems, and of its image's.
const DEVICE_BLOCK_SIZE: u32 = 4096;

/// mkfs writes little and nothing in proportion to the size; longer means that the disk hangs.
const MKFS_LIMIT: Duration = Duration::from_secs(120);

/// What a new volume is made with. Decided once, recorded, and never derived again.
pub(crate) fn decide(spec: &VolumeSpec, object: &str) -> Result<ImagePlacement> {
    let preallocated = spec.preallocate;
    match spec.volume_mode {
        VolumeMode::Filesystem => {}
        VolumeMode::Block => {
            return Ok(ImagePlacement {
                content: Content::Device,
                loop_block_size: DEVICE_BLOCK_SIZE,
                preallocated,
            });
        }
    }
    let kind = spec.filesystem.resolve(spec.size);
    let parameters = format_parameters(kernel_kind(kind), spec.size.bytes()).on(object)?;
    let format = ImageFormat {
        rule: RULE,
        program: parameters.kind.mkfs_program().name.to_owned(),
        arguments: parameters.arguments,
    };
    Ok(ImagePlacement {
        content: Content::Filesystem(FilesystemContent { kind, block_size: parameters.block_size, format }),
        loop_block_size: parameters.loop_block_size,
        preallocated,
    })
}

/// Makes the file, sparse and exactly `size` long, and the filesystem in it, and flushes that. What was
/// left there by an attempt that did not end is replaced: a half-made image has never been used.
pub(crate) fn make(path: &Path, size: u64, placement: &ImagePlacement, object: &str) -> Result<()> {
    orlop_sys::durable::remove_file(path).on(object)?;
    let file = image::create(path, size).on(object)?;
    let Some(filesystem) = placement.filesystem() else { return Ok(()) };
    let parameters = FormatParameters {
        kind: kernel_kind(filesystem.kind),
        block_size: filesystem.block_size,
        loop_block_size: placement.loop_block_size,
        arguments: filesystem.format.arguments.clone(),
    };
    mkfs(path, &parameters, None, MKFS_LIMIT).on(object)?;
    image::punch_holes(&file).on(object)
}

/// Takes the disk space of the whole image, for good: it is mounted without discard.
pub(crate) fn preallocate(path: &Path, size: u64, object: &str) -> Result<()> {
    let file = image::open_existing(path).on(object)?;
    image::preallocate(&file, size).on(object)
}

/// Flushes the image; its directory is the caller's.
pub(crate) fn flush(path: &Path, object: &str) -> Result<()> {
    let file = image::open_existing(path).on(object)?;
    image::sync(&file, path).on(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_model::{FilesystemChoice, Size};

    /// What each rule pins, as a digest. A line is added when [`RULE`] is raised, and none is edited.
    const RULES: [(u32, u64); 1] = [(1, 0xb35d_d941_c9e1_74b9)];

    /// FNV-1a: all that is asked of it is that it stays what it is.
    fn digest(text: &str) -> u64 {
        text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// The parameters at and around all sizes where they change.
    fn parameters() -> String {
        let volume = r#"{"size":"1Gi","accessMode":"ReadWriteMany","type":"temp"}"#;
        let spec: VolumeSpec = serde_json::from_str(volume).unwrap();
        let sizes = (24..=62).flat_map(|power| [(1 << power) - 4096, 1 << power, 3 << (power - 1)]);
        let sizes: Vec<u64> = sizes.chain([300 << 20]).collect();
        let mut text = String::new();
        for filesystem in FilesystemChoice::ALL {
            for bytes in &sizes {
                let size = Size::from_bytes(*bytes);
                // Too small for it is also something that is pinned.
                let made = decide(&VolumeSpec { size, filesystem, ..spec.clone() }, "x").ok().map(|made| {
                    let loop_block_size = made.loop_block_size;
                    let FilesystemContent { kind, block_size, format } = made.filesystem().unwrap();
                    let ImageFormat { rule: _, program, arguments } = format;
                    format!("{kind} {block_size} {loop_block_size} {program} {}", arguments.join(" "))
                });
                text.push_str(&format!("{filesystem} {bytes}: {made:?}\n"));
            }
        }
        text
    }

    #[test]
    fn parameters_change_with_the_rule_only() {
        let now = digest(&parameters());
        let [.., (rule, pinned)] = RULES;
        assert_eq!(rule, RULE, "RULES lacks the line ({RULE}, {now:#018x})");
        assert!(
            now == pinned,
            "new images are no longer made as rule {rule} pins it, and blanks of that rule are still \
             taken: raise RULE to {next}, and add the line ({next}, {now:#018x}) to RULES",
            next = rule + 1
        );
        assert!(RULES.iter().zip(1..).all(|((rule, _), number)| *rule == number), "no rule is left out");
    }
}
