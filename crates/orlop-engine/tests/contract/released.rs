//! What was deleted: brought back, purged, and what becomes of its name.

use std::time::Duration;

use orlop_engine::*;
use orlop_model::{
    ErrorKind, Period, Result,
    resource::{Deletion, Front, Outcome, Volume, VolumeState},
};
use orlop_testkit::{Part, command::eventually, require};

use crate::harness::*;

const KEPT: &str = "size: 16Mi, accessMode: ReadWriteMany, type: persistent";
const ANNA: Caller = Caller { uid: 1000, front: Front::Manifest };

/// A deleted volume with a file that says which one it is.
fn deleted(world: &World, name: &str, what: &str) -> Volume {
    let volume = world.apply(name, KEPT).unwrap().resource;
    let path = world.attach(name, "one").unwrap().path;
    std::fs::write(path.join("file"), what).unwrap();
    world.detach(name, "one").unwrap();
    assert_eq!(world.delete(name).unwrap(), Deletion::Released);
    volume
}

fn undelete(
    world: &World,
    caller: &Caller,
    volume: VolumeRef,
    name: Option<&str>,
) -> Result<Applied<Volume>> {
    let name = name.map(|name| name.parse().unwrap());
    world.engine().undelete(caller, &UndeleteRequest { volume, name })
}

fn holds(world: &World, name: &str) -> String {
    let path = world.attach(name, "reader").unwrap().path;
    let text = std::fs::read_to_string(path.join("file")).unwrap_or_default();
    world.detach(name, "reader").unwrap();
    text
}

/// What `docker volume create` makes under that name.
fn docker_makes(world: &World, external: &str) -> Volume {
    let request = AliasedRequest {
        external: external.to_owned(),
        workspace: "public".parse().unwrap(),
        manifest: AliasedManifest {
            size: Some(orlop_model::Size::from_bytes(16 * MIB)),
            ..AliasedManifest::default()
        },
    };
    world.engine().create_aliased(&DOCKER, &request, PATIENCE).unwrap().resource
}

#[test]
fn a_deleted_volume_comes_back_with_its_data_and_its_names() {
    require!(Part::Loop);
    let mut world = World::new("undelete");
    let made = docker_makes(&world, "Project_data");
    let name = made.manifest.name.to_string();
    let path = world.attach(&name, "one").unwrap().path;
    std::fs::write(path.join("file"), "cargo").unwrap();
    world.detach(&name, "one").unwrap();
    world.delete(&name).unwrap();
    assert_eq!(world.engine().resolve(&DOCKER, "Project_data").unwrap(), None);
    let released = world.by_id(&made).unwrap().status;
    assert_eq!((released.deleted_by, released.deleted_by_name.as_deref()), (Some(0), Some("root")));

    world.restart();
    let back = undelete(&world, &ROOT, key(&name), None).unwrap();
    assert_eq!((back.outcome, back.resource.status.state), (Outcome::Created, VolumeState::Active));
    assert_eq!((back.resource.status.id, back.resource.status.deleted_at), (made.status.id, None));
    assert_eq!(holds(&world, &name), "cargo");
    let resolved = world.engine().resolve(&DOCKER, "Project_data").unwrap().unwrap();
    assert_eq!(resolved.status.id, made.status.id, "the engine's own name is its again");
    assert!(world.told("Undeleted"));
    for volume in [key(&name), VolumeRef::Id(made.status.id)] {
        assert_eq!(undelete(&world, &ROOT, volume, None).unwrap().outcome, Outcome::Unchanged, "asked again");
    }
    let json = std::fs::read_to_string(world.directory(&made).join("volume.json")).unwrap();
    assert!(json.contains("\"active\"") && !json.contains("\"released\""), "{json}");
}

/// An engine that says `data` means the volume that is called so, whatever that name meant before.
#[test]
fn an_engines_name_that_means_another_volume_by_now_does_not_come_back() {
    require!(Part::Loop);
    let world = World::new("undelete-alias");
    let old = docker_makes(&world, "data");
    world.delete("data").unwrap();
    let new = world.apply("data", KEPT).unwrap().resource;
    let back = undelete(&world, &ROOT, VolumeRef::Id(old.status.id), Some("data-old")).unwrap().resource;
    let meant = world.engine().resolve(&DOCKER, "data").unwrap().unwrap();
    assert_eq!(meant.status.id, new.status.id);
    assert_eq!(back.status.aliases, []);
    let json = std::fs::read_to_string(world.directory(&old).join("volume.json")).unwrap();
    assert!(!json.contains("\"front\""), "nor does an import bring it back: {json}");

    // Where it means nothing else, the engine that made it finds it still.
    let old = docker_makes(&world, "other");
    world.delete("other").unwrap();
    undelete(&world, &ROOT, VolumeRef::Id(old.status.id), Some("other-old")).unwrap();
    assert_eq!(world.engine().resolve(&DOCKER, "other").unwrap().unwrap().status.id, old.status.id);
}

#[test]
fn a_taken_name_and_several_of_one_name_are_refused_with_the_way() {
    require!(Part::Loop);
    let world = World::new("undelete-names");
    let first = deleted(&world, "data", "first");
    let again = world.apply("data", KEPT).unwrap().resource;
    assert!(
        again.status.notes.iter().any(|note| note.contains("orlop undelete")),
        "{:?}",
        again.status.notes
    );
    assert!(
        world.events().iter().any(|event| event.reason == "Created" && event.message.contains("undelete"))
    );
    let error =
        fails(undelete(&world, &ROOT, VolumeRef::Id(first.status.id), None), ErrorKind::AlreadyExists);
    assert!(error.hint.unwrap().contains("--as data-old"));
    world.delete("data").unwrap();
    let error = fails(undelete(&world, &ROOT, key("data"), None), ErrorKind::Conflict);
    assert!(
        error.message.contains("2 deleted volumes") && error.message.contains(&first.status.id.to_string()),
        "{error}"
    );
    assert!(error.message.contains("by root"), "{error}");

    let second = world.by_id(&again).unwrap();
    undelete(&world, &ROOT, VolumeRef::Id(first.status.id), Some("first")).unwrap();
    assert_eq!(holds(&world, "first"), "first");
    assert_eq!(world.by_id(&second).unwrap().status.state, VolumeState::Released);
    fails(undelete(&world, &ANNA, key("data"), None), ErrorKind::PermissionDenied);
    fails(undelete(&world, &ROOT, key("nothing"), None), ErrorKind::NotFound);
    undelete(&world, &ROOT, key("data"), None).unwrap();
    assert_eq!(world.state("data"), VolumeState::Active);
}

#[test]
fn a_released_volume_whose_image_is_gone_stays_released() {
    require!(Part::Loop);
    let world = World::new("undelete-damaged");
    let volume = deleted(&world, "data", "cargo");
    let image = world.image(&volume);
    std::fs::rename(&image, image.with_extension("away")).unwrap();
    fails(undelete(&world, &ROOT, key("data"), None), ErrorKind::Damaged);
    std::fs::rename(image.with_extension("away"), &image).unwrap();
    undelete(&world, &ROOT, key("data"), None).unwrap();
    assert_eq!(holds(&world, "data"), "cargo");
}

#[test]
fn only_what_was_deleted_is_purged_and_its_room_comes_back() {
    require!(Part::Loop);
    let world = World::new("purge");
    let live = world.apply("live", KEPT).unwrap().resource;
    let volume = deleted(&world, "data", "cargo");
    let (directory, id) = (world.directory(&volume), volume.status.id);
    fails(world.engine().purge(&ROOT, live.status.id), ErrorKind::Conflict);
    fails(world.engine().purge(&ANNA, id), ErrorKind::PermissionDenied);
    let reserved = || world.engine().pool(&ROOT, &"default".parse().unwrap()).unwrap().reserved.bytes();
    assert_eq!(reserved(), 32 * MIB);
    assert_eq!(world.engine().purge(&ROOT, id).unwrap(), Deletion::Destroyed);
    assert!(!directory.exists());
    assert_eq!(reserved(), 16 * MIB);
    fails(world.engine().purge(&ROOT, id), ErrorKind::NotFound);
    for reason in ["Purging", "Destroyed"] {
        assert!(world.told(reason), "{reason}");
    }
}

#[test]
fn retention_purges_what_is_older_and_nothing_else() {
    require!(Part::Loop);
    let mut world = World::new("retention");
    let old = deleted(&world, "old", "cargo");
    world.apply("live", KEPT).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    world.crash();
    world.config.released_retention = Period::After(2);
    world.start();
    assert!(eventually(Duration::from_secs(20), || world.by_id(&old).is_err()));
    assert_eq!(world.state("live"), VolumeState::Active);
    assert!(world.events().iter().any(|event| event.message.contains("deleted more than 2s ago")));
}

#[test]
fn what_can_not_be_purged_is_told_once() {
    require!(Part::Loop);
    let mut world = World::new("retention-fails");
    let old = deleted(&world, "old", "cargo");
    let marker = world.pool_path().join("orlop.pool");
    std::fs::rename(&marker, marker.with_extension("away")).unwrap();
    world.crash();
    world.config.released_retention = Period::After(1);
    std::thread::sleep(Duration::from_secs(2));
    world.start();
    let told = || world.events().iter().filter(|event| event.reason == "PurgeFailed").count();
    assert!(eventually(PATIENCE, || told() > 0), "{:?}", world.events());
    // It is tried every ten seconds.
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(told(), 1);
    std::fs::rename(marker.with_extension("away"), &marker).unwrap();
    assert!(eventually(PATIENCE, || world.by_id(&old).is_err()));
}

#[test]
fn a_large_share_of_released_data_is_told_once_and_when_it_is_over() {
    require!(Part::Loop);
    let mut world = World::with("share", |config| config.released_warn_percent = 0);
    let request = PoolRequest {
        name: "small".parse().unwrap(),
        place: PoolPlace::Directory(world.join("small")),
        capacity: Some(orlop_model::Size::from_bytes(64 * MIB)),
        overcommit: None,
    };
    world.engine().create_pool(&ROOT, &request).unwrap();
    let volume = world.apply("data", &format!("{KEPT}, pool: small")).unwrap().resource;
    world.delete("data").unwrap();
    world.crash();
    world.config.released_warn_percent = 20;
    world.start();
    let told = |reason: &str| world.events().iter().filter(|event| event.reason == reason).count();
    assert!(eventually(Duration::from_secs(20), || told("ReleasedDataLarge") == 1));
    world.engine().purge(&ROOT, volume.status.id).unwrap();
    assert!(eventually(Duration::from_secs(30), || told("ReleasedDataSmall") == 1));
    assert_eq!(told("ReleasedDataLarge"), 1);
}
