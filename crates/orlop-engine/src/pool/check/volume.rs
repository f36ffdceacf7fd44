//! A recorded volume: its image, its description, what lies beside them, loop devices and mounts.

use orlop_model::{Result, pool_report::Difference, resource::VolumeState};
use orlop_sys::{FileIdentity, durable, loopdev, mount};

use super::{About, Check, Loops};
use crate::{
    attachment::detach,
    backend::image::{Image, health},
    directory::entries,
    format::VolumeFile,
    host::On,
    store::{VolumeRow, attachments},
    volume::describe,
};

impl Check<'_> {
    /// One volume against its record. The caller holds its lock.
    pub(super) fn volume(&mut self, row: &VolumeRow, loops: &Loops) -> Result<()> {
        let image = self.core.image(row)?;
        let title = format!("volume {}", row.title());
        match health::examine(&image) {
            Ok(()) => {}
            Err(error) => {
                return self.found(
                    Difference::BadImage,
                    title,
                    About::Volume(row.id),
                    error.to_string(),
                    || Ok(false),
                );
            }
        }
        self.description(row, &title)?;
        self.beside(&image)?;
        self.kernel(row, &image, loops, &title)
    }

    fn description(&mut self, row: &VolumeRow, title: &str) -> Result<()> {
        let (core, paths) = (self.core, self.paths.clone());
        let wanted = describe::file(core, row)?;
        let detail = match describe::read(&paths, row) {
            Err(error) => {
                let detail = error.to_string();
                return self.found(
                    Difference::StaleDescription,
                    title.to_owned(),
                    About::Volume(row.id),
                    detail,
                    || Ok(false),
                );
            }
            Ok(None) => "its volume.json is missing or damaged",
            Ok(Some(file)) if same(&file, &wanted) => return Ok(()),
            Ok(Some(_)) => "its volume.json says something else than its record",
        };
        self.found(
            Difference::StaleDescription,
            title.to_owned(),
            About::Volume(row.id),
            detail.to_owned(),
            || describe::write(core, &paths, row).map(|()| true),
        )
    }

    /// What lies in the volume's directory beside the two files.
    fn beside(&mut self, image: &Image) -> Result<()> {
        let record = self.paths.record(image.id);
        for (path, _) in entries(&image.directory)? {
            if path != record && path != image.path() {
                self.leftover_or_stranger(&path, path == durable::draft_of(&record))?;
            }
        }
        Ok(())
    }

    fn kernel(&mut self, row: &VolumeRow, image: &Image, loops: &Loops, title: &str) -> Result<()> {
        let core = self.core;
        let attached = core.store.read(|r| attachments::of_volume(r, row.id))?;
        let base = core.places.base(row.id);
        let mounted = mount::mounted_at(&base).ok().flatten();
        let identity = FileIdentity::of_path(image.path()).on(&image.object)?;
        let devices = loops.of(&identity);
        let (subject, about) = (title.to_owned(), About::Volume(row.id));
        let shown = Loops::named(devices);
        if image.is_device() {
            // It is there, and kept, without a mount.
            return match devices {
                [_, _, ..] => self.found(Difference::TwoLoopDevices, subject, about, shown, || Ok(false)),
                [] if !attached.is_empty() => {
                    let detail = "it is had as a block device, and has none".to_owned();
                    self.found(Difference::MissingMount, subject, about, detail, || Ok(false))
                }
                [_] if attached.is_empty() => {
                    self.found(Difference::HeldImage, subject, about, shown, || Ok(false))
                }
                [] | [_] => Ok(()),
            };
        }
        match (mounted, devices) {
            (_, [_, _, ..]) => self.found(Difference::TwoLoopDevices, subject, about, shown, || Ok(false)),
            (Some(mounted), devices)
                if mounted.device.major != loopdev::MAJOR || !devices.contains(&mounted.device.minor) =>
            {
                let detail = format!("device {} is mounted on {}", mounted.device, base.display());
                self.found(Difference::ForeignMount, subject, about, detail, || Ok(false))
            }
            (Some(_), _) if attached.is_empty() => {
                let detail = format!("it is mounted on {}", base.display());
                self.found(Difference::LingeringMount, subject, about, detail, || {
                    Ok(matches!(detach::take_down(core, row, image)?, detach::Released::Free))
                })
            }
            (None, _) if !attached.is_empty() => {
                let who: Vec<&str> = attached.iter().map(|attachment| attachment.consumer.as_str()).collect();
                let detail = format!("{} should have it", who.join(", "));
                self.found(Difference::MissingMount, subject, about, detail, || Ok(false))
            }
            (None, [_]) => self.found(Difference::HeldImage, subject, about, shown, || Ok(false)),
            (Some(mounted), _) => self.beside_base(row, image, mounted.device, &attached, title),
            (None, []) => Ok(()),
        }
    }
}

/// Whether the description says what the record says. What became of its image is the record's alone.
fn same(file: &VolumeFile, wanted: &VolumeFile) -> bool {
    let plain = |file: &VolumeFile| {
        let mut file = VolumeFile { generation: 0, ..file.clone() };
        if file.state.phase == VolumeState::Error {
            file.state.phase = VolumeState::Active;
        }
        file
    };
    plain(file) == plain(wanted)
}
