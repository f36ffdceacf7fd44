//! How full volumes and pools are, and what is told of that.

use std::{path::Path, process::Command, time::Duration};

use orlop_engine::*;
use orlop_model::resource::{Severity, VolumeState};
use orlop_testkit::{Part, ScratchFs, command::eventually, require, run};

use crate::harness::*;

const SOON: Duration = Duration::from_secs(20);

impl World {
    /// The reasons and messages of what was told of thresholds.
    fn crossings(&self) -> Vec<(String, String)> {
        let events = self.events().into_iter();
        let crossings = events.filter(|event| event.reason.ends_with("Percent"));
        crossings.map(|event| (event.reason, event.message)).collect()
    }

    #[track_caller]
    fn tells(&self, reason: &str, words: &str) {
        let told =
            || self.crossings().iter().any(|(told, message)| told == reason && message.contains(words));
        assert!(eventually(SOON, told), "{reason} {words}: {:?}", self.crossings());
    }
}

/// Takes so many bytes on the disk in one step: whoever looks meanwhile crosses no threshold on the way.
fn fill(file: &Path, bytes: u64) {
    run(Command::new("fallocate").args(["--length", &bytes.to_string()]).arg(file)).ok();
}

#[test]
fn a_volume_that_fills_up_is_told_of_once_a_threshold_and_on_the_way_back() {
    require!(Part::Loop);
    let mut world = World::new("fills");
    world.apply("data", "size: 64Mi, accessMode: ReadWriteMany, type: persistent").unwrap();
    let path = world.attach("data", "one").unwrap().path;
    let capacity = world.volume("data").status.usage.unwrap().available_bytes;
    fill(&path.join("most"), capacity / 100 * 85);
    world.tells("Above80Percent", "volume public/data is 8");
    world.restart();
    fill(&path.join("rest"), capacity / 100 * 12);
    world.tells("Above95Percent", "full");
    // How full the host's disk is, which the pool tells of, is not for this test to say.
    let of_volume = world.crossings().into_iter().filter(|(_, words)| words.contains("volume public/data"));
    let (reasons, _): (Vec<_>, Vec<_>) = of_volume.unzip();
    assert_eq!(reasons, ["Above80Percent", "Above95Percent"], "a restart tells of none again");
    let error = world.events().into_iter().find(|event| event.reason == "Above95Percent").unwrap();
    assert_eq!(error.severity, Severity::Error);
    assert_eq!(error.volume.unwrap().as_str(), "data");
    std::fs::remove_file(path.join("most")).unwrap();
    world.tells("Below80Percent", "volume public/data is ");
    world.detach("data", "one").unwrap();
    let query = EventQuery { severity: Some(Severity::Warning), ..EventQuery::default() };
    let severe = world.engine().events(&ROOT, &query).unwrap();
    assert!(severe.iter().all(|event| event.severity != Severity::Info), "{severe:?}");
    assert_eq!(severe.iter().filter(|event| event.volume.is_some()).count(), 2);
    let query = EventQuery { pool: Some("nowhere".parse().unwrap()), ..EventQuery::default() };
    assert_eq!(world.engine().events(&ROOT, &query).unwrap(), []);
}

#[test]
fn inodes_and_what_a_pool_promised_have_thresholds_too() {
    require!(Part::Loop);
    let world = World::new("inodes");
    world.make("data", "ReadWriteMany", "temp");
    let path = world.attach("data", "one").unwrap().path;
    let inodes = world.volume("data").status.usage.unwrap().inodes;
    for number in 0..inodes * 92 / 100 {
        std::fs::File::create(path.join(number.to_string())).unwrap();
    }
    world.tells("Above90Percent", "of its inodes in use");
    world.detach("data", "one").unwrap();

    let request = PoolRequest {
        name: "small".parse().unwrap(),
        place: PoolPlace::Directory(world.join("small")),
        capacity: Some(orlop_model::Size::from_bytes(20 * MIB)),
        overcommit: None,
    };
    world.engine().create_pool(&ROOT, &request).unwrap();
    world.apply("much", "size: 17Mi, accessMode: ReadWriteMany, type: temp, pool: small").unwrap();
    world.tells("Above80Percent", "pool small has promised 85 %");
    world.destroy("much");
    world.tells("Below80Percent", "pool small has promised 0 %");
}

/// What others write to the disk fills it as well as what is in volumes.
#[test]
fn a_disk_under_a_pool_that_fills_up_is_told_of_and_so_is_the_way_back() {
    require!(Part::Loop);
    let disk = ScratchFs::ext4(64 << 20);
    let world = World::new("disk");
    let request = PoolRequest {
        name: "small".parse().unwrap(),
        place: PoolPlace::Directory(disk.join("pool")),
        capacity: None,
        overcommit: None,
    };
    world.engine().create_pool(&ROOT, &request).unwrap();
    let room = orlop_sys::space::usage(disk.path()).unwrap().available;
    fill(&disk.join("most"), room / 100 * 85);
    world.tells("Above80Percent", "the disk under pool small is 8");
    fill(&disk.join("rest"), room / 100 * 12);
    world.tells("Above95Percent", "the disk under pool small is 9");
    let query = EventQuery { pool: Some("small".parse().unwrap()), ..EventQuery::default() };
    let told = || world.engine().events(&ROOT, &query).unwrap();
    let error = told().into_iter().find(|event| event.reason == "Above95Percent").unwrap();
    assert_eq!((error.severity, error.volume), (Severity::Error, None));
    for file in ["most", "rest"] {
        std::fs::remove_file(disk.join(file)).unwrap();
    }
    world.tells("Below80Percent", "the disk under pool small is ");
    let of_disk = told().into_iter().filter(|event| event.message.starts_with("the disk under "));
    let (reasons, severities): (Vec<_>, Vec<_>) = of_disk.map(|event| (event.reason, event.severity)).unzip();
    assert_eq!(reasons.last().unwrap(), "Below80Percent", "{reasons:?}");
    assert_eq!(severities.last(), Some(&Severity::Info));
}

#[test]
fn use_is_kept_when_the_last_user_has_left() {
    require!(Part::Loop);
    let world = World::new("kept-use");
    world.make("data", "ReadWriteMany", "temp");
    assert_eq!(world.volume("data").status.usage, None, "it was never mounted");
    let path = world.attach("data", "one").unwrap().path;
    fill(&path.join("file"), 2 * MIB);
    let live = world.volume("data").status.usage.unwrap();
    assert!(live.used_bytes >= 2 * MIB && live.used_bytes + live.available_bytes <= live.capacity_bytes);
    world.detach("data", "one").unwrap();
    world.assert_nothing_mounted();
    let kept = world.volume("data").status;
    assert_eq!(kept.used_bytes, Some(kept.usage.clone().unwrap().used_bytes));
    let kept = kept.usage.unwrap();
    assert_eq!((kept.used_bytes, kept.inodes_used), (live.used_bytes, live.inodes_used));
    assert!(kept.seen_at > live.seen_at);
    let day = world.engine().volume_usage(&ROOT, &key("data")).unwrap();
    assert_eq!(day.last().unwrap().used_bytes, kept.used_bytes);
    assert_eq!(day.last().unwrap().capacity_bytes, kept.capacity_bytes);
}

#[test]
fn a_filesystem_that_stops_while_used_is_an_error_without_anybody_asking() {
    require!(Part::Loop, Part::Xfs);
    let world = World::new("stops");
    world.make("small", "ReadWriteMany", "temp");
    world.apply("large", "size: 320Mi, accessMode: ReadWriteMany, type: temp, filesystem: xfs").unwrap();
    let small = world.attach("small", "one").unwrap().path;
    let large = world.attach("large", "one").unwrap().path;
    let device = orlop_sys::mount::mounted_at(small.parent().unwrap()).unwrap().unwrap().device;
    std::fs::write(format!("/sys/fs/ext4/loop{}/trigger_fs_error", device.minor), "damaged").unwrap();
    let done = std::process::Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&large).status();
    assert!(done.unwrap().success());
    for name in ["small", "large"] {
        let told = || {
            world.events().iter().any(|event| {
                event.reason == "Error" && event.volume.as_ref().is_some_and(|told| told.as_str() == name)
            })
        };
        assert!(eventually(SOON, told), "{name}: {:?}", world.events());
        let status = world.volume(name).status;
        assert_eq!(status.state, VolumeState::Error);
        let reason = status.reason.unwrap();
        assert!(reason.contains(&format!("orlop volume fsck -n {name} -w public")), "{reason}");
        assert!(status.usage.unwrap().is_abnormal());
        world.detach(name, "one").unwrap();
        world.destroy(name);
    }
}

#[test]
fn writes_that_the_disk_refused_are_told_of() {
    require!(Part::Loop);
    let host = ScratchFs::tmpfs(64 << 20);
    let world = World::new("refused-writes");
    let request = PoolRequest {
        name: "thin".parse().unwrap(),
        place: PoolPlace::Directory(host.join("pool")),
        capacity: None,
        overcommit: Some(4.0),
    };
    world.engine().create_pool(&ROOT, &request).unwrap();
    world.apply("data", "size: 100Mi, accessMode: ReadWriteMany, type: temp, pool: thin").unwrap();
    let path = world.attach("data", "one").unwrap().path;
    let seen = || world.volume("data").status.usage.unwrap().filesystem_warnings == Some(0);
    assert!(seen());
    std::thread::sleep(Duration::from_millis(600));
    // Nobody asks whether it arrived.
    std::fs::write(path.join("file"), vec![7; 80 << 20]).unwrap();
    let _ = std::process::Command::new("sync").arg("-f").arg(&path).status();
    assert!(eventually(SOON, || world.told("FilesystemWarning")), "{:?}", world.events());
    world.detach("data", "one").unwrap();
    world.destroy("data");
}
