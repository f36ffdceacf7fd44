//! A volume from apply to delete.

use orlop_engine::*;
use orlop_model::{
    ErrorKind, Retain, SnapshotManifest, VolumeManifest, WorkspaceName,
    resource::{Deletion, Intention, Outcome, VolumeState},
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

#[test]
fn what_is_protected_is_deleted_by_nobody_until_that_is_taken_away() {
    require!(Part::Loop);
    let mut world = World::new("protection");
    let open = "size: 16Mi, accessMode: ReadWriteMany, type: temp";
    let protected = format!("{open}, protection: true");
    let volume = world.apply("data", open).unwrap().resource;
    assert_eq!(world.apply("data", &protected).unwrap().changes, ["volume.protection"]);
    assert_eq!(world.apply("data", &protected).unwrap().outcome, Outcome::Unchanged);
    let error = fails(world.delete("data"), ErrorKind::Protected);
    assert!(error.hint.unwrap().contains("protection"), "it says what to do");
    fails(world.engine().delete(&ROOT, &VolumeRef::Id(volume.status.id), true), ErrorKind::Protected);
    let json = std::fs::read_to_string(world.directory(&volume).join("volume.json")).unwrap();
    assert!(json.contains("\"protection\": true"), "{json}");
    assert!(world.told("Protected"));
    world.restart();
    fails(world.delete("data"), ErrorKind::Protected);
    world.apply("data", open).unwrap();
    assert_eq!(world.delete("data").unwrap(), Deletion::Destroyed);
}

/// A client may have made the manifest without our reader.
#[test]
fn texts_that_could_harm_a_terminal_are_refused() {
    require!(Part::Loop);
    let world = World::new("texts");
    let engine = world.engine();
    let workspace: WorkspaceName = "public".parse().unwrap();
    let mut manifest = manifest("data", "size: 16Mi, accessMode: ReadWriteOnce, type: temp");
    let request = |manifest: &VolumeManifest| ApplyRequest {
        workspace: workspace.clone(),
        manifest: manifest.clone(),
        create_workspace: false,
        set: None,
    };
    engine.apply(&ROOT, &request(&manifest)).unwrap();
    manifest.owner = Some("\u{1b}]0;evil\u{7}".to_owned());
    let error = fails(engine.apply(&ROOT, &request(&manifest)), ErrorKind::InvalidArgument);
    assert_eq!(error.object.as_deref(), Some("owner"));
    assert_eq!(engine.plan(&ROOT, &request(&manifest)).unwrap().intention, Intention::Refuse);

    let mut snapshot =
        SnapshotManifest::new("monday".parse().unwrap(), "data".parse().unwrap(), Retain::Forever);
    snapshot.tags = vec!["\u{9b}2J".to_owned()];
    let asked = SnapshotRequest { workspace, manifest: snapshot, pause_writers: false };
    fails(engine.apply_snapshot(&ROOT, &asked), ErrorKind::InvalidArgument);
    assert!(world.snapshots().is_empty());
}
