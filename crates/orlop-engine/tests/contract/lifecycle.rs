//! A volume from apply to delete.

use orlop_engine::*;
use orlop_model::{
    ErrorKind,
    resource::{Deletion, Outcome, VolumeState},
};
use orlop_testkit::{Part, require};

use crate::harness::*;

#[test]
fn made_used_and_destroyed() {
    require!(Part::Loop);
    let world = World::new("lifecycle");
    let made = world.apply("data", "size: 16Mi, accessMode: ReadWriteMany, type: temp").unwrap();
    assert_eq!(made.outcome, Outcome::Created);
    assert_eq!(made.resource.status.state, VolumeState::Active);
    assert_eq!(std::fs::metadata(world.image(&made.resource)).unwrap().len(), 16 * MIB);
    let again = world.apply("data", "size: 16Mi, accessMode: ReadWriteMany, type: temp").unwrap();
    assert_eq!(again.outcome, Outcome::Unchanged);

    let one = world.attach("data", "one").unwrap();
    std::fs::write(one.path.join("file"), "cargo").unwrap();
    let two = world.attach("data", "two").unwrap();
    assert_eq!(one, two);
    assert_eq!(std::fs::read_to_string(two.path.join("file")).unwrap(), "cargo");
    assert_eq!(world.volume("data").status.attachments.len(), 2);
    assert!(world.volume("data").status.used_bytes.is_some());
    fails(world.delete("data"), ErrorKind::InUse);

    world.detach("data", "one").unwrap();
    assert!(two.path.join("file").exists(), "the other still uses it");
    world.detach("data", "two").unwrap();
    world.detach("data", "two").unwrap();
    world.assert_nothing_mounted();

    let path = world.attach("data", "three").unwrap().path;
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo", "it outlived its consumers");
    world.detach("data", "three").unwrap();
    let directory = world.directory(&made.resource);
    assert_eq!(world.delete("data").unwrap(), Deletion::Destroyed);
    assert!(!directory.exists());
    fails(world.engine().volume(&ROOT, &key("data")), ErrorKind::NotFound);
    assert_eq!(world.engine().pool(&ROOT, &"default".parse().unwrap()).unwrap().reserved.bytes(), 0);
    for reason in ["Created", "Attached", "Detached", "InUse", "Destroyed"] {
        assert!(world.told(reason), "{reason}: {:?}", world.events());
    }
    let kept = VolumeQuery { released: true, ..VolumeQuery::default() };
    assert!(world.engine().volumes(&ROOT, &kept).unwrap().items.is_empty());
}
