//! A pool compared: what is recorded, what is on the disk, which loop devices and which mounts there
//! are. Every difference is named, with what to do. What can be mended without deciding anything about
//! somebody's data is mended when asked; nothing that can't be accounted for is ever removed.
//!
//! Here is the pool itself, and what all parts share. Its volumes are in `volume`, where they are mounted
//! in `mounts`, its snapshots in `snapshot`, and what no record explains in `strangers`.

mod mounts;
mod snapshot;
mod strangers;
mod volume;

use std::collections::HashMap;

use orlop_model::{
    PoolName, Result, SnapshotId, VolumeId,
    pool_report::{Attention, Difference, Finding, PoolCheck},
    resource::{SnapshotState, VolumeState},
};
use orlop_sys::{FileIdentity, loopdev};

use super::{confirm, find, private};
use crate::{
    authority,
    backend::image::health,
    core::Core,
    events::{event, note},
    fault::{self, Point},
    format::PoolPaths,
    host::On,
    locks::{Deadline, Lock},
    request::Caller,
    store::{PoolRow, VolumeRow, operations, pools, snapshots, volumes},
    volume::view,
};

/// See [`crate::Engine::check_pool`].
pub(crate) fn check(core: &Core, caller: &Caller, name: &PoolName, repair: bool) -> Result<PoolCheck> {
    authority::rule_host(caller, "check pools")?;
    let _held = core.locks.take(Lock::Pool(name.clone()), Deadline::usual())?;
    let row = find(core, name)?;
    let mut report = PoolCheck {
        pool: name.clone(),
        volumes: 0,
        snapshots: 0,
        busy: 0,
        findings: Vec::new(),
        attention: Vec::new(),
    };
    let paths = match confirm(core, row.id, name) {
        Ok(paths) => paths,
        Err(error) => {
            report.findings.push(Finding {
                difference: Difference::PoolMissing,
                subject: row.path.display().to_string(),
                volume: None,
                snapshot: None,
                detail: error.message,
                remedy: error.hint.unwrap_or_default(),
                mended: false,
            });
            return Ok(report);
        }
    };
    let mut check = Check { core, row: &row, paths, repair, findings: Vec::new() };
    check.pool()?;
    let loops = Loops::listed()?;
    check.strangers()?;
    check.strange_mounts()?;
    check.volumes(&loops, &mut report)?;
    check.snapshots(&loops, &mut report)?;
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
struct Loops(HashMap<FileIdentity, Vec<u32>>);

impl Loops {
    fn listed() -> Result<Self> {
        let mut loops: HashMap<_, Vec<_>> = HashMap::new();
        for info in loopdev::list().on("loop devices")? {
            loops.entry(info.identity).or_default().push(info.number);
        }
        Ok(Self(loops))
    }

    fn of(&self, image: &FileIdentity) -> &[u32] {
        self.0.get(image).map_or(&[], Vec::as_slice)
    }

    fn named(devices: &[u32]) -> String {
        devices.iter().map(|number| format!("/dev/loop{number}")).collect::<Vec<_>>().join(", ")
    }
}

/// What a difference is about.
#[derive(Clone, Copy)]
enum About {
    Path,
    Volume(VolumeId),
    Snapshot(SnapshotId),
}

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
        about: About,
        detail: String,
        mend: impl FnOnce() -> Result<bool>,
    ) -> Result<()> {
        let mended = self.repair && difference.is_safe_to_mend() && mend()?;
        if mended {
            // Each mend is whole by itself: whoever stops here is followed by another check.
            fault::point(Point::PoolCheckMended)?;
        }
        let remedy = remedy(difference, &self.row.name, &self.paths);
        let (volume, snapshot) = match about {
            About::Path => (None, None),
            About::Volume(id) => (Some(id), None),
            About::Snapshot(id) => (None, Some(id)),
        };
        self.findings.push(Finding { difference, subject, volume, snapshot, detail, remedy, mended });
        Ok(())
    }

    fn pool(&mut self) -> Result<()> {
        let object = format!("pool {}", self.row.name);
        let paths = self.paths.clone();
        if let Some(detail) = private::open(&paths) {
            let root = paths.root().display().to_string();
            self.found(Difference::PoolOpen, root, About::Path, detail, || {
                private::close(&paths, &object).map(|()| true)
            })?;
        }
        let (core, id) = (self.core, self.row.id);
        if let Some(detail) = core.store.read(|r| pools::wrong_sums(r, id))? {
            self.found(Difference::WrongSums, object, About::Path, detail, || {
                core.store.write(move |tx| pools::sum_again(tx, id)).map(|()| true)
            })?;
        }
        Ok(())
    }

    fn volumes(&mut self, loops: &Loops, report: &mut PoolCheck) -> Result<()> {
        let (core, pool) = (self.core, self.row.id);
        for id in core.store.read(|r| volumes::ids_in_pool(r, pool))? {
            let Some(_held) = core.locks.try_take(Lock::Volume(id)) else {
                report.busy += 1;
                continue;
            };
            let (volume, begun) = core
                .store
                .read(|r| Ok((volumes::by_id(r, id)?, !operations::of_volume(r, id)?.is_empty())))?;
            match volume {
                Some(volume) if !begun && volume.state != VolumeState::Pending => {
                    self.volume(&volume, loops)?;
                    report.attention.extend(attention(core, &volume)?);
                    report.volumes += 1;
                }
                Some(_) => report.busy += 1,
                None => {}
            }
        }
        Ok(())
    }

    fn snapshots(&mut self, loops: &Loops, report: &mut PoolCheck) -> Result<()> {
        let (core, pool) = (self.core, self.row.id);
        for id in core.store.read(|r| snapshots::ids_in_pool(r, pool))? {
            let Some(_held) = core.locks.try_take(Lock::Snapshot(id)) else {
                report.busy += 1;
                continue;
            };
            let Some(snapshot) = core.store.read(|r| snapshots::by_id(r, id))? else { continue };
            match snapshot.state {
                SnapshotState::Active | SnapshotState::Error => {
                    self.snapshot(&snapshot, loops)?;
                    report.snapshots += 1;
                }
                SnapshotState::Pending | SnapshotState::Deleting => report.busy += 1,
            }
        }
        Ok(())
    }
}

/// What is to be seen to of a volume in state `error`.
fn attention(core: &Core, row: &VolumeRow) -> Result<Option<Attention>> {
    let lost = view::lost_reason(core, row)?;
    if row.state != VolumeState::Error && lost.is_none() {
        return Ok(None);
    }
    let image = core.image(row)?;
    let (condition, hint) = match (health::examine(&image), lost) {
        (Err(error), _) => (error.message, error.hint),
        (Ok(()), Some(lost)) => (lost, None),
        (Ok(()), None) => (row.reason.clone().unwrap_or_default(), Some(image.check_command())),
    };
    let hint =
        hint.unwrap_or_else(|| format!("orlop volume show -n {} -w {}", row.manifest.name, row.workspace));
    Ok(Some(Attention { volume: row.id, name: row.title(), condition, hint }))
}

fn remedy(difference: Difference, pool: &PoolName, paths: &PoolPaths) -> String {
    let mend = || format!("orlop pool check {pool} --repair mends it");
    match difference {
        Difference::PoolMissing => "connect or mount the disk that holds it".to_owned(),
        Difference::PoolOpen | Difference::WrongSums | Difference::StaleDescription | Difference::Leftover => mend(),
        Difference::LingeringMount => format!("{}, once nothing uses it any more", mend()),
        Difference::BadImage => "see to the disk where it can't be read; put the image back from a copy; where there is none, delete what it belongs to".to_owned(),
        Difference::UnrecordedVolume | Difference::UnrecordedSnapshot => {
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
