//! Who has a volume by the kernel, in every mount namespace, whatever the records say.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use orlop_model::{Result, VolumeId};
use orlop_sys::{
    DeviceNumber, FileIdentity,
    filesystem::DATA_DIRECTORY,
    loopdev, mount,
    mountinfo::{self, DeviceMount},
};

use super::{access::Lingerer, place::Places};
use crate::{
    backend::image::{Image, attach},
    host::{On, failure},
};

/// Every mount of a volume's device, by what it is to us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KernelView {
    /// The device of the image, where it has one.
    pub(crate) device: Option<DeviceNumber>,
    /// Targets of host mounts, in our own namespace.
    pub(crate) targets: Vec<PathBuf>,
    /// Mounts of consumers: parts of the users' directory, anywhere else.
    pub(crate) consumers: Vec<DeviceMount>,
    /// Copies of our own mounts, and of host mounts, in other namespaces. Nobody works through them
    /// without an attachment, but they keep the device busy.
    pub(crate) copies: Vec<DeviceMount>,
}

/// Looks at every namespace, for mounts of these devices. `targets` are the recorded targets of host mounts of this volume.
pub(crate) fn look(
    places: &Places,
    id: VolumeId,
    devices: &[DeviceNumber],
    targets: &[PathBuf],
    object: &str,
) -> Result<KernelView> {
    if devices.is_empty() {
        return Ok(KernelView::default());
    }
    let mounts = mountinfo::mounts_of_devices(|device| devices.contains(&device)).on(object)?;
    Ok(classify(places.root(), id, devices.first().copied(), targets, mounts))
}

/// The devices through which a volume can be in use: that of its image, and the one on its base
/// mount, which is another where the image was exchanged or hidden under those who use it.
pub(crate) fn devices(places: &Places, image: &Image) -> Result<Vec<DeviceNumber>> {
    let of_image = attach::own_device(image)?.map(|device| device.device());
    let on_base = match mount::mounted_at(&places.base(image.id)) {
        Ok(mounted) => mounted.map(|mounted| mounted.device),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(failure(&error, &image.object)),
    };
    Ok(of_image.into_iter().chain(on_base.filter(|device| Some(*device) != of_image)).collect())
}

/// One look at every namespace, for many volumes: at start each of hundreds would else look at each
/// of hundreds.
#[derive(Debug)]
pub(crate) struct Snapshot {
    devices: HashMap<FileIdentity, DeviceNumber>,
    mounts: HashMap<DeviceNumber, Vec<DeviceMount>>,
}

impl Snapshot {
    /// Looks at the loop devices of all images, and where they are mounted.
    pub(crate) fn take() -> Result<Self> {
        let devices: HashMap<_, _> = loopdev::list()
            .on("loop devices")?
            .into_iter()
            .filter(loopdev::LoopInfo::is_whole)
            .map(|device| (device.identity, device.device()))
            .collect();
        let known: BTreeSet<DeviceNumber> = devices.values().copied().collect();
        let mut mounts: HashMap<_, Vec<_>> = HashMap::new();
        for mount in mountinfo::mounts_of_devices(|device| known.contains(&device)).on("mount tables")? {
            mounts.entry(mount.device).or_default().push(mount);
        }
        Ok(Self { devices, mounts })
    }

    /// What it shows of one volume, on whose base mount is that device.
    ///
    /// # Errors
    /// Where nothing is on the base mount and the image can't be looked at: who has it can't be told then.
    pub(crate) fn view(
        &self,
        places: &Places,
        image: &Image,
        targets: &[PathBuf],
        base: Option<DeviceNumber>,
    ) -> Result<KernelView> {
        let identity = match FileIdentity::of_path(image.path()) {
            Ok(identity) => Some(identity),
            Err(error) if error.is_not_found() || base.is_some() => None,
            Err(error) => return Err(failure(&error, &image.object)),
        };
        let device = identity.and_then(|identity| self.devices.get(&identity)).copied();
        let others = base.filter(|base| Some(*base) != device);
        let mounts = device.iter().chain(&others).filter_map(|device| self.mounts.get(device));
        let mounts = mounts.flatten().cloned().collect();
        Ok(classify(places.root(), image.id, device, targets, mounts))
    }
}

fn classify(
    mount_dir: &Path,
    id: VolumeId,
    device: Option<DeviceNumber>,
    targets: &[PathBuf],
    mounts: Vec<DeviceMount>,
) -> KernelView {
    let ours = mount_dir.join(id.to_string());
    // Our own mounts show the root; what consumers have is made of the users' directory in them.
    let users = Path::new("/").join(DATA_DIRECTORY);
    let groups = groups_of(&mounts, targets);
    let mut view = KernelView { device, ..KernelView::default() };
    for mount in mounts {
        if mount.own && mount.mount_point.starts_with(&ours) {
            continue;
        }
        if mount.own && targets.contains(&mount.mount_point) {
            view.targets.push(mount.mount_point);
        } else if mount.root.starts_with(&users) && !is_received(&mount, &groups) {
            view.consumers.push(mount);
        } else {
            view.copies.push(mount);
        }
    }
    view
}

/// The peer groups of host mounts. Each sandboxed service of systemd (udevd and logind on any host)
/// has a namespace that receives a copy of a host mount, and loses it again with that mount: it is
/// accounted for by the attachment of the host mount, and is no user of its own.
fn groups_of(mounts: &[DeviceMount], targets: &[PathBuf]) -> BTreeSet<u64> {
    let own = mounts.iter().filter(|mount| mount.own && targets.contains(&mount.mount_point));
    let mut groups: BTreeSet<u64> = own.filter_map(|mount| mount.shared).collect();
    // A namespace made from a receiving one receives from that one's group.
    loop {
        let received = mounts.iter().filter(|mount| is_received(mount, &groups));
        let more: Vec<u64> =
            received.filter_map(|mount| mount.shared).filter(|group| !groups.contains(group)).collect();
        if more.is_empty() {
            return groups;
        }
        groups.extend(more);
    }
}

/// Whether a mount of another namespace came there from one of these groups. One that was made
/// private since is no longer in any, stays when the host mount goes, and so is not.
fn is_received(mount: &DeviceMount, groups: &BTreeSet<u64>) -> bool {
    !mount.own && [mount.shared, mount.master].into_iter().flatten().any(|group| groups.contains(&group))
}

impl KernelView {
    /// Consumers by the process that shows them, each process once.
    pub(crate) fn lingerers(&self) -> Vec<Lingerer> {
        name(&self.consumers)
    }

    /// All that keeps the device busy, each process once.
    pub(crate) fn holders(&self) -> Vec<Lingerer> {
        let mut all = name(&self.consumers);
        all.extend(name(&self.copies));
        all
    }
}

fn name(mounts: &[DeviceMount]) -> Vec<Lingerer> {
    let mut seen = BTreeSet::new();
    // One that can be written stands for its namespace before one that can't.
    let writable = mounts.iter().filter(|mount| !mount.read_only);
    let named = writable.chain(mounts.iter().filter(|mount| mount.read_only));
    named
        .filter(|mount| seen.insert(mount.namespace))
        .map(|mount| Lingerer {
            pid: mount.pid,
            process: mount.comm.clone(),
            mount_point: mount.mount_point.display().to_string(),
            own: mount.own,
            read_only: mount.read_only,
        })
        .collect()
}

/// Processes that have something below `mount_point` open, as far as they may be looked at: their
/// working or root directory, or a file. For a message, at most `most` of them.
pub(crate) fn users_of(mount_point: &Path, most: usize) -> Vec<String> {
    processes(most, |link| std::fs::read_link(link).is_ok_and(|path| path.starts_with(mount_point)))
}

/// Who has a block device itself open: loop devices that somebody made on it, as an orchestrator does for
/// each block volume of a pod, and at most `most` processes. For a message.
pub(crate) fn openers_of(device: DeviceNumber, most: usize) -> Vec<String> {
    let mut openers = loops_on(device);
    openers
        .extend(processes(most, |link| DeviceNumber::of_node(link).is_ok_and(|found| found == Some(device))));
    openers
}

/// What can't be listed is named by no message, and refuses as before.
fn loops_on(device: DeviceNumber) -> Vec<String> {
    let all = loopdev::list().unwrap_or_default();
    let on_it = all.into_iter().filter(|info| info.backing_device == Some(device));
    on_it
        .map(|info| {
            let node = info.node().display().to_string();
            format!("{node} (a loop device on it, which losetup -d {node} takes away once its user is gone)")
        })
        .collect()
}

/// Who keeps a device though no mount of it can be seen, in words.
pub(crate) fn unseen(device: DeviceNumber) -> String {
    if let Some(part) = part_of_image(device) {
        return part;
    }
    let users = processes(3, |link| DeviceNumber::of_path(link).is_ok_and(|found| found == device));
    if !users.is_empty() {
        return format!("{}, in a mount that can't be seen any more", users.join(", "));
    }
    let openers = openers_of(device, 3);
    if !openers.is_empty() {
        return format!("{}, which has the device open", openers.join(", "));
    }
    let places: Vec<_> = mountinfo::unseen_namespaces().unwrap_or_default();
    match places.as_slice() {
        [] => format!(
            "a mount namespace without a process (an open descriptor of its ns/mnt keeps it), or a program \
             that claims device {device}"
        ),
        [first, ..] => format!(
            "a mount namespace without a process: one is kept by the bind of its ns/mnt on {}",
            first.display()
        ),
    }
}

/// A loop device that somebody made on a part of an image, in words. It stays when nobody uses it.
fn part_of_image(device: DeviceNumber) -> Option<String> {
    let all = loopdev::list().unwrap_or_default();
    let info = all.into_iter().find(|info| info.device() == device && !info.is_whole())?;
    let node = info.node().display().to_string();
    Some(format!(
        "{node} (a loop device that somebody made on a part of the image, which losetup -d {node} takes away \
         once nobody uses it)"
    ))
}

/// Processes of which a link passes: to their working or root directory, or to an open file.
fn processes(most: usize, passes: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let links = ["cwd", "root"].map(|link| process.path().join(link));
        let files = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        if links.into_iter().chain(files.map(|file| file.path())).any(|link| passes(&link)) {
            let name = orlop_sys::host::process_name(pid).unwrap_or_default();
            found.push(format!("process {pid} ({name})"));
        }
        if found.len() == most {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn mount(namespace: u64, own: bool, mount_point: &str, root: &str) -> DeviceMount {
        DeviceMount {
            device: DeviceNumber { major: 7, minor: 1 },
            namespace,
            own,
            pid: 10,
            comm: "sh".into(),
            mount_point: mount_point.into(),
            root: root.into(),
            read_only: false,
            shared: None,
            master: None,
        }
    }

    #[test]
    fn consumers_are_told_from_our_own_mounts_and_their_copies() {
        let id = VolumeId(Uuid::nil());
        let dir = Path::new("/run/orlop/mounts");
        let base = dir.join(id.to_string()).join("base").display().to_string();
        let front = dir.join(id.to_string()).join("docker-ro").display().to_string();
        let elsewhere = format!("/host{front}");
        let mounts = vec![
            mount(1, true, &base, "/"),
            mount(1, true, &front, "/"),
            mount(1, true, "/mnt/target", "/data"),
            mount(1, true, "/somewhere/else", "/data/sub"),
            mount(2, false, &base, "/"),
            mount(2, false, &front, "/"),
            mount(3, false, &elsewhere, "/"),
            mount(4, false, "/data", "/data"),
            mount(4, false, "/more", "/data/more"),
        ];
        let targets = [PathBuf::from("/mnt/target")];
        let view = classify(dir, id, Some(DeviceNumber { major: 7, minor: 1 }), &targets, mounts);
        assert_eq!(view.targets, targets);
        let places: Vec<_> = view.consumers.iter().map(|m| m.mount_point.display().to_string()).collect();
        assert_eq!(places, ["/somewhere/else", "/data", "/more"]);
        assert_eq!(view.copies.len(), 3);
        assert_eq!(view.lingerers().len(), 2, "one for each namespace");
    }

    #[test]
    fn what_services_receive_of_a_host_mount_is_no_user_and_what_stays_after_it_is() {
        let target = "/mnt/target";
        let in_groups = |namespace, own, shared, master| DeviceMount {
            shared,
            master,
            ..mount(namespace, own, target, "/data")
        };
        let mounts = vec![
            in_groups(1, true, Some(90), None),
            DeviceMount { mount_point: "/bound/again".into(), ..in_groups(1, true, Some(90), None) },
            in_groups(2, false, Some(92), Some(90)),
            in_groups(3, false, None, Some(92)),
            in_groups(4, false, Some(90), None),
            in_groups(5, false, None, None),
            in_groups(6, false, Some(93), Some(87)),
        ];
        let device = DeviceNumber { major: 7, minor: 1 };
        let look = |targets: &[PathBuf]| {
            let view = classify(
                Path::new("/run/orlop/mounts"),
                VolumeId(Uuid::nil()),
                Some(device),
                targets,
                mounts.clone(),
            );
            view.consumers.iter().map(|mount| mount.namespace).collect::<Vec<_>>()
        };
        assert_eq!(look(&[target.into()]), [1, 5, 6], "bound again, private, from elsewhere");
        assert_eq!(look(&[]), [1, 1, 2, 3, 4, 5, 6], "without the host mount nothing stands for them");
    }
}
