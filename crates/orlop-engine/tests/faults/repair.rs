//! The repair of a filesystem: what is there before, what is done, and what holds after.

use std::process::Command;

use orlop_engine::{CheckRequest, fault::Point::*};
use orlop_model::{
    Error,
    resource::{Verdict, VolumeState},
};

use super::scenarios::{BASIC, Scenario};
use crate::harness::*;

pub const REPAIR: Scenario = Scenario {
    name: "repair",
    points: &[AttachLoop, AttachMounted, RepairRecorded, RepairMade, RepairSwapped, RepairDone],
    prepare: |world| {
        let made = world.make("data", "ReadWriteMany", "temp");
        let path = world.attach("data", "one").unwrap().path;
        std::fs::write(path.join("file"), "cargo").unwrap();
        world.detach("data", "one").unwrap();
        world.assert_nothing_mounted();
        // Links that are not there: what a lost write leaves, and a mount does not mind.
        let request = "set_inode_field /data/file links_count 9";
        orlop_testkit::run(Command::new("debugfs").args(["-w", "-R", request]).arg(world.image(&made))).ok();
    },
    operate: |world| check(world, true).map(drop),
    check: |world| {
        assert_eq!(check(world, false).unwrap(), Verdict::Clean);
        assert_eq!(world.state("data"), VolumeState::Active);
        let made = world.volume("data");
        let files: Vec<_> = std::fs::read_dir(world.directory(&made)).unwrap().flatten().collect();
        assert_eq!(files.len(), 2, "no copy is left beside it: {files:?}");
        let path = world.attach("data", "two").unwrap().path;
        assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
        world.detach("data", "two").unwrap();
    },
    end: |world| world.destroy("data"),
    ..BASIC
};

fn check(world: &World, repair: bool) -> Result<Verdict, Error> {
    let request = CheckRequest { repair, discard_log: false };
    world.engine().check(&ROOT, &key("data"), request).map(|checked| checked.verdict)
}
