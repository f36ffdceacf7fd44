//! Programs that work on a filesystem for hours can be stopped: the volume is as it was.

use std::{process::Command, time::Duration};

use orlop_engine::*;
use orlop_model::{ErrorKind, Result};
use orlop_testkit::{Part, command::eventually, process, require, run};

use crate::harness::*;

const EXT4: &str = "size: 256Mi, accessMode: ReadWriteMany, type: temp, filesystem: ext4";
const XFS: &str = "size: 512Mi, accessMode: ReadWriteMany, type: temp, filesystem: xfs";

/// Has `work` stopped while that program is at it. A program that was too fast is waited for again, after
/// `prepare`, which is not stopped.
#[track_caller]
fn stopped<T: Send + std::fmt::Debug>(
    world: &World,
    words: &str,
    prepare: impl Fn(),
    work: impl Fn(&Engine) -> Result<T> + Sync,
) {
    let engine = world.engine();
    let mut done = None;
    for _ in 0..50 {
        prepare();
        let ended = std::thread::scope(|scope| {
            let working = scope.spawn(|| work(engine));
            while !working.is_finished() {
                if process::halt_child(words) {
                    let seen = engine.operations(&ROOT).pop().expect("it is long work");
                    engine.stop_operation(&ROOT, seen.id).unwrap();
                    break;
                }
            }
            working.join().unwrap()
        });
        match ended {
            Err(error) if error.kind == ErrorKind::Interrupted => {
                assert!(engine.operations(&ROOT).is_empty());
                return;
            }
            ended => done = Some(ended),
        }
    }
    panic!("it was never stopped: {done:?}");
}

fn check(repair: bool) -> impl Fn(&Engine) -> Result<orlop_model::resource::VolumeCheck> + Sync {
    move |engine| engine.check(&ROOT, &key("data"), CheckRequest { repair, discard_log: false })
}

#[test]
fn a_checker_that_takes_long_is_stopped() {
    require!(Part::Loop, Part::Xfs);
    for (spec, words) in [(EXT4, "e2fsck -fn"), (XFS, "xfs_repair -n")] {
        let world = World::new("stopped-check");
        world.apply("data", spec).unwrap();
        world.inside("data", |path| std::fs::write(path.join("file"), "cargo").unwrap());
        stopped(&world, words, || (), check(false));
        world.inside("data", |path| {
            assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
        });
        world.assert_nothing_mounted();
    }
}

#[test]
fn a_repair_that_takes_long_is_stopped_and_changes_nothing() {
    require!(Part::Loop);
    let world = World::new("stopped-repair");
    let made = world.apply("data", EXT4).unwrap().resource;
    world.inside("data", |path| std::fs::write(path.join("file"), "cargo").unwrap());
    let image = world.image(&made);
    let damage = || {
        let request = "set_inode_field /data/file links_count 9";
        run(Command::new("debugfs").args(["-w", "-R", request]).arg(&image)).ok();
    };
    stopped(&world, "e2fsck -fy", damage, check(true));
    let names = |_| std::fs::read_dir(world.directory(&made)).unwrap().count();
    assert!(eventually(Duration::from_secs(10), || names(()) == 2), "the copy is gone");
    let checked = check(true)(world.engine()).unwrap();
    assert_eq!(checked.verdict, orlop_model::resource::Verdict::Repaired, "it was as damaged as before");
}

#[test]
fn a_shrink_that_takes_long_is_stopped_and_changes_nothing() {
    require!(Part::Loop);
    let world = World::new("stopped-shrink");
    let made = world.apply("data", EXT4).unwrap().resource;
    world.inside("data", |path| std::fs::write(path.join("file"), "cargo").unwrap());
    // With the image right behind the name: `resize2fs -P` only estimates, before the long work begins.
    for words in ["e2fsck -fp", "resize2fs /"] {
        let as_before = || drop(world.apply("data", EXT4).unwrap());
        stopped(&world, words, as_before, |_| world.apply("data", &EXT4.replace("256", "128")));
        assert_eq!(std::fs::metadata(world.image(&made)).unwrap().len(), 256 * MIB);
        assert_eq!(world.volume("data").manifest.volume.size.bytes(), 256 * MIB);
    }
    world.inside("data", |path| {
        assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
    });
}
