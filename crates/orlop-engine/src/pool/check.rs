//! A pool compared: what is recorded, what is on the disk, which loop devices and which mounts there
//! are. Every difference is named, with what to do. What can be mended without deciding anything about
//! somebody's data is mended when asked; nothing that can't be accounted for is ever removed.

use std::{
    collections::{HashMap, HashSet},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use orlop_model::{
    PoolName, Result, VolumeId,
    pool_report::{Difference, Finding, PoolCheck},
    resource::VolumeState,
};
use orlop_sys::{FileIdentity, durable, loopdev, mount};

use super::{
    candidate, confirm, create, missing,
    remove::{OURS, entries, is_blank},
};
use crate::{
    attachment::{detach, place::restrict},
    authority,
    backend::image::{Image, health},
    core::Core,
    events::{event, note},
    format::{PoolPaths, VolumeFile},
    host::On,
    locks::{Deadline, Lock},
    request::Caller,
    store::{PoolRow, VolumeRow, attachments, operations, pools, volumes},
    volume::describe,
};

/// See [`crate::Engine::check_pool`].
pub(crate) fn check(core: &Core, caller: &Caller, name: &PoolName, repair: bool) -> Result<PoolCheck> {
    authority::rule_host(caller, "check pools")?;
    let _held = core.locks.take(Lock::Pool(name.clone()), Deadline::usual())?;
    let row = core.store.read(|r| pools::by_name(r, name))?.ok_or_else(|| missing(name))?;
    let mut report = PoolCheck { pool: name.clone(), volumes: 0, busy: 0, findings: Vec::new() };
    let paths = match confirm(core, row.id, name) {
        Ok(paths) => paths,
        Err(error) => {
            report.findings.push(Finding {
                difference: Difference::PoolMissing,
                subject: row.path.display().to_string(),
                volume: None,
                detail: error.message,
                remedy: error.hint.unwrap_or_default(),
                mended: false,
            });
            return Ok(report);
        }
    };
    let mut check = Check { core, row: &row, paths, repair, findings: Vec::new() };
    check.pool()?;
    let loops = check.loops()?;
    let ids = core.store.read(|r| volumes::ids_in_pool(r, row.id))?;
    check.strangers(&ids.iter().copied().collect())?;
    for id in ids {
        let Some(_held) = core.locks.try_take(Lock::Volume(id)) else {
            report.busy += 1;
            continue;
        };
        let (volume, begun) =
            core.store.read(|r| Ok((volumes::by_id(r, id)?, !operations::of_volume(r, id)?.is_empty())))?;
        match volume {
            Some(volume) if !begun && volume.state != VolumeState::Pending => {
                check.volume(&volume, &loops)?;
                report.volumes += 1;
            }
            Some(_) => report.busy += 1,
            None => {}
        }
    }
    report.findings = check.findings;
    tell(core, caller, &report);
    Ok(report)
}

fn tell(core: &Core, caller: &Caller, report: &PoolCheck) {
    if report.findings.is_empty() {
        return;
    }
    let mended = report.findings.iter().filter(|finding| finding.mended).count();
    let message = format!(
        "pool {} differs from its records in {} places, of which {mended} are mended now",
        report.pool,
        report.findings.len()
    );
    note(core, event("PoolDiffers", message).in_pool(&report.pool).by(caller).warning());
}

/// The loop devices of images, by what is behind them.
type Loops = HashMap<FileIdentity, Vec<u32>>;

struct Check<'a> {
    core: &'a Core,
    row: &'a PoolRow,
    paths: PoolPaths,
    repair: bool,
    findings: Vec<Finding>,
}

impl Check<'_> {
    /// Notes a difference, and mends it where that was asked for and is safe.
    fn found(
        &mut self,
        difference: Difference,
        subject: String,
        volume: Option<VolumeId>,
        detail: String,
        mend: impl FnOnce() -> Result<bool>,
    ) -> Result<()> {
        let mended = self.repair && difference.is_safe_to_mend() && mend()?;
        let remedy = remedy(difference, &self.row.name, &self.paths);
        self.findings.push(Finding { difference, subject, volume, detail, remedy, mended });
        Ok(())
    }

    fn pool(&mut self) -> Result<()> {
        let object = format!("pool {}", self.row.name);
        let root = self.paths.root().to_owned();
        let mode = std::fs::metadata(&root).map_or(0, |found| found.permissions().mode() & 0o7777);
        if mode & 0o077 != 0 {
            let detail = format!("its mode is {mode:04o}");
            self.found(Difference::PoolOpen, root.display().to_string(), None, detail, || {
                restrict(&root, 0o700, &object).map(|()| true)
            })?;
        }
        let (core, id) = (self.core, self.row.id);
        if let Some(detail) = core.store.read(|r| pools::wrong_sums(r, id))? {
            self.found(Difference::WrongSums, object, None, detail, || {
                core.store.write(move |tx| pools::sum_again(tx, id)).map(|()| true)
            })?;
        }
        Ok(())
    }

    /// What is in the pool and belongs to no recorded volume.
    fn strangers(&mut self, known: &HashSet<VolumeId>) -> Result<()> {
        let root = entries(self.paths.root());
        let root = root
            .into_iter()
            .filter(|(_, name)| !OURS.contains(&name.as_str()) && name != create::LOST_AND_FOUND);
        for (path, _) in root.collect::<Vec<_>>() {
            let draft = path == durable::draft_of(&self.paths.marker());
            self.leftover_or_stranger(&path, draft)?;
        }
        let known_blanks = self.core.blanks.all(self.row.id);
        for (path, name) in entries(&self.paths.blanks()) {
            // A blank is nobody's, and one that is being made holds the pool's lock.
            if known_blanks.iter().any(|blank| blank.to_string() == name) {
                continue;
            }
            self.leftover_or_stranger(&path, is_blank(&name))?;
        }
        for (path, name) in entries(&self.paths.volumes()) {
            let Some(id) = PoolPaths::volume_of(&name) else {
                self.leftover_or_stranger(&path, false)?;
                continue;
            };
            // A creation that goes on elsewhere has a record before it has a directory.
            if known.contains(&id) || self.core.store.read(|r| volumes::by_id(r, id))?.is_some() {
                continue;
            }
            let subject = path.display().to_string();
            match candidate::read(&self.paths, self.row.id, id) {
                Ok(file) => {
                    let detail = format!(
                        "it is the volume {}/{}, of uid {}",
                        file.workspace, file.manifest.name, file.owner_uid
                    );
                    self.found(Difference::UnrecordedVolume, subject, None, detail, || Ok(false))?;
                }
                Err(why) => self.found(Difference::Unaccounted, subject, None, why, || Ok(false))?,
            }
        }
        Ok(())
    }

    fn leftover_or_stranger(&mut self, path: &Path, leftover: bool) -> Result<()> {
        let subject = path.display().to_string();
        if !leftover {
            let detail = "no record explains it".to_owned();
            return self.found(Difference::Unaccounted, subject, None, detail, || Ok(false));
        }
        let detail = "a crash left it, or nobody wants it any more".to_owned();
        let object = format!("pool {}", self.row.name);
        self.found(Difference::Leftover, subject, None, detail, || {
            durable::remove_file(path).on(&object).map(|()| true)
        })
    }

    fn volume(&mut self, row: &VolumeRow, loops: &Loops) -> Result<()> {
        let image = self.core.image(row)?;
        let title = format!("volume {}", row.title());
        match health::examine(&image) {
            Ok(()) => {}
            Err(error) => {
                return self
                    .found(Difference::BadImage, title, Some(row.id), error.to_string(), || Ok(false));
            }
        }
        self.description(row, &title)?;
        self.beside(&image)?;
        self.kernel(row, &image, loops, &title)
    }

    fn description(&mut self, row: &VolumeRow, title: &str) -> Result<()> {
        let paths = self.paths.clone();
        let detail = match describe::read(&paths, row) {
            None => "its volume.json is missing or damaged",
            Some(file) if same(&file, row) => return Ok(()),
            Some(_) => "its volume.json says something else than its record",
        };
        self.found(Difference::StaleDescription, title.to_owned(), Some(row.id), detail.to_owned(), || {
            describe::write(&paths, row).map(|()| true)
        })
    }

    /// What lies in the volume's directory beside the two files.
    fn beside(&mut self, image: &Image) -> Result<()> {
        let record = self.paths.record(image.id);
        for (path, _) in entries(&image.directory) {
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
        let devices = loops.get(&identity).map_or(&[][..], Vec::as_slice);
        let (subject, id) = (title.to_owned(), Some(row.id));
        let shown = devices.iter().map(|number| format!("/dev/loop{number}")).collect::<Vec<_>>().join(", ");
        match (mounted, devices) {
            (_, [_, _, ..]) => self.found(Difference::TwoLoopDevices, subject, id, shown, || Ok(false)),
            (Some(mounted), devices)
                if mounted.device.major != loopdev::MAJOR || !devices.contains(&mounted.device.minor) =>
            {
                let detail = format!("device {} is mounted on {}", mounted.device, base.display());
                self.found(Difference::ForeignMount, subject, id, detail, || Ok(false))
            }
            (Some(_), _) if attached.is_empty() => {
                let detail = format!("it is mounted on {}", base.display());
                self.found(Difference::LingeringMount, subject, id, detail, || {
                    Ok(matches!(detach::take_down(core, row, image)?, detach::Released::Free))
                })
            }
            (None, _) if !attached.is_empty() => {
                let who: Vec<&str> = attached.iter().map(|attachment| attachment.consumer.as_str()).collect();
                let detail = format!("{} should have it", who.join(", "));
                self.found(Difference::MissingMount, subject, id, detail, || Ok(false))
            }
            (None, [_]) => self.found(Difference::HeldImage, subject, id, shown, || Ok(false)),
            (Some(_), _) | (None, []) => Ok(()),
        }
    }

    fn loops(&self) -> Result<Loops> {
        let mut loops = Loops::new();
        for info in loopdev::list().on("loop devices")? {
            loops.entry(info.identity).or_default().push(info.number);
        }
        Ok(loops)
    }
}

/// Whether the description says what the record says. What became of its image is the record's alone.
fn same(file: &VolumeFile, row: &VolumeRow) -> bool {
    let plain = |file: &VolumeFile| {
        let mut file = VolumeFile { generation: 0, ..file.clone() };
        if file.state.phase == VolumeState::Error {
            file.state.phase = VolumeState::Active;
        }
        file
    };
    plain(file) == plain(&VolumeFile::of(row))
}

fn remedy(difference: Difference, pool: &PoolName, paths: &PoolPaths) -> String {
    let mend = || format!("orlop pool check {pool} --repair mends it");
    match difference {
        Difference::PoolMissing => "connect or mount the disk that holds it".to_owned(),
        Difference::PoolOpen | Difference::WrongSums | Difference::StaleDescription | Difference::Leftover => mend(),
        Difference::LingeringMount => format!("{}, once nothing uses it any more", mend()),
        Difference::BadImage => "put the image back from a copy, or delete the volume".to_owned(),
        Difference::UnrecordedVolume => {
            format!("bring it back: orlop pool import --path {}", paths.root().display())
        }
        Difference::Unaccounted => "see whose it is, and move it away; it is never removed by itself".to_owned(),
        Difference::TwoLoopDevices => {
            "stop what uses the volume, then detach the devices (losetup -d): two of them damage what is in it".to_owned()
        }
        Difference::HeldImage => "end what holds it (losetup -a, and other mount namespaces)".to_owned(),
        Difference::MissingMount => "its users go on; stop and start them, or restart the daemon".to_owned(),
        Difference::ForeignMount => "stop what uses the volume, then unmount it".to_owned(),
    }
}
