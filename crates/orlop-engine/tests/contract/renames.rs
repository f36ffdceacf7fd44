//! Another name for a volume.

use orlop_engine::*;
use orlop_model::{
    ErrorKind, Result,
    resource::{Outcome, Volume},
};
use orlop_testkit::{Part, require};

use crate::harness::*;

fn rename(
    world: &World,
    from: &str,
    to: &str,
    forget: &[orlop_model::resource::Front],
) -> Result<Applied<Volume>> {
    let VolumeRef::Key(volume) = key(from) else { unreachable!() };
    let request = RenameRequest { volume, name: to.parse().unwrap(), forget: forget.to_vec() };
    world.engine().rename(&ROOT, &request)
}

#[test]
fn a_volume_gets_another_name_and_keeps_all_else() {
    require!(Part::Loop);
    let mut world = World::new("rename");
    let old = world.make("old", "ReadWriteMany", "persistent");
    world.make("taken", "ReadWriteMany", "temp");
    let path = world.attach("old", "one").unwrap().path;
    std::fs::write(path.join("file"), "cargo").unwrap();
    fails(rename(&world, "old", "new", &[]), ErrorKind::InUse);
    world.detach("old", "one").unwrap();
    fails(rename(&world, "old", "taken", &[]), ErrorKind::AlreadyExists);
    assert_eq!(rename(&world, "old", "old", &[]).unwrap().outcome, Outcome::Unchanged);

    let done = rename(&world, "old", "new", &[]).unwrap();
    assert_eq!((done.outcome, done.changes), (Outcome::Configured, vec!["name".to_owned()]));
    assert_eq!(done.resource.status.id, old.status.id, "its id never changes");
    // The answer got lost, and it is asked for again.
    let again = rename(&world, "old", "new", &[]).unwrap();
    assert_eq!((again.outcome, again.resource.status.id), (Outcome::Unchanged, old.status.id));
    fails(rename(&world, "older", "newer", &[]), ErrorKind::NotFound);
    let error = fails(rename(&world, "older", "new", &[]), ErrorKind::NotFound);
    assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("there is a volume public/new")), "{error}");
    let alice = Caller { uid: 1000, ..ROOT };
    let VolumeRef::Key(volume) = key("old") else { unreachable!() };
    let request = RenameRequest { volume, name: "new".parse().unwrap(), forget: Vec::new() };
    let error = fails(world.engine().rename(&alice, &request), ErrorKind::NotFound);
    assert!(!error.hint.unwrap_or_default().contains("public/new"), "it is not hers");
    // A name that it had before the last is not the one that it was given then.
    rename(&world, "new", "newer", &[]).unwrap();
    fails(rename(&world, "old", "newer", &[]), ErrorKind::NotFound);
    rename(&world, "newer", "new", &[]).unwrap();
    fails(rename(&world, "old", "new", &[]), ErrorKind::NotFound);
    let json = std::fs::read_to_string(world.directory(&old).join("volume.json")).unwrap();
    assert!(json.contains("\"name\": \"new\""), "{json}");
    world.restart();
    let path = world.attach("new", "two").unwrap().path;
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
    let logged = |name: &str| {
        let query = EventQuery { volume: Some(name.parse().unwrap()), ..EventQuery::default() };
        world.engine().events(&ROOT, &query).unwrap().iter().any(|event| event.reason == "Renamed")
    };
    assert!(logged("old") && logged("new"), "told under both names");
    let free = world.make("old", "ReadWriteMany", "temp");
    assert_ne!(free.status.id, old.status.id);
}

#[test]
fn an_engine_that_knows_the_name_is_in_the_way_until_it_is_told() {
    require!(Part::Loop);
    let world = World::new("rename-alias");
    world.make("data", "ReadWriteMany", "persistent");
    let ask = |external: &str| AliasedRequest {
        external: external.to_owned(),
        workspace: "public".parse().unwrap(),
        manifest: AliasedManifest::default(),
    };
    world.engine().create_aliased(&DOCKER, &ask("data"), PATIENCE).unwrap();
    let error = fails(rename(&world, "data", "new", &[]), ErrorKind::InUse);
    assert!(error.message.contains("Docker knows volume public/data as data"), "{error}");
    assert!(error.hint.unwrap().contains("--forget docker"));
    fails(rename(&world, "data", "new", &[PODMAN.front]), ErrorKind::InUse);
    rename(&world, "data", "new", &[DOCKER.front]).unwrap();
    assert_eq!(world.engine().resolve(&DOCKER, "data").unwrap(), None, "the old name means nothing");
    world.engine().remove_aliased(&DOCKER, "data", PATIENCE).unwrap();
    assert!(world.engine().resolve(&DOCKER, "new").unwrap().is_some());
}

/// It finds a volume by its id: its name for it only tells a repeated request.
#[test]
fn what_an_orchestrator_made_can_be_renamed_while_nothing_of_it_is_there() {
    require!(Part::Loop);
    let mut world = World::with("rename-csi", serve);
    let request = ProvisionRequest {
        // The name by which Docker or Podman would be in the way.
        external: "pvc-1".to_owned(),
        workspace: "public".parse().unwrap(),
        manifest: manifest("pvc-1", "size: 16Mi, accessMode: ReadWriteOnce, type: persistent"),
        size: SizeRange { least: None, most: None },
        source: None,
        ephemeral: false,
    };
    let made = world.engine().provision(&CSI, &request, PATIENCE).unwrap().resource;
    let refused = |by: &[&str]| {
        let error = fails(rename(&world, "pvc-1", "data", &[]), ErrorKind::InUse);
        assert!(by.iter().all(|who| error.message.contains(who)), "{error}");
        // Nobody forgets a use.
        fails(rename(&world, "pvc-1", "data", &[CSI.front]), ErrorKind::InUse);
        assert_eq!(world.by_id(&made).unwrap().manifest.name.as_str(), "pvc-1");
    };
    world.stage(&made).unwrap();
    refused(&["csi node test"]);
    let path = world.publish(&made, "one").unwrap();
    std::fs::write(path.join("file"), "cargo").unwrap();
    refused(&["csi node test", "pod one"]);
    world.unpublish(&made, "one").unwrap();
    refused(&["csi node test"]);
    world.unstage(&made).unwrap();

    let renamed = rename(&world, "pvc-1", "data", &[]).unwrap();
    assert_eq!((renamed.outcome, renamed.resource.status.id), (Outcome::Configured, made.status.id));
    world.restart();
    let again = world.engine().provision(&CSI, &request, PATIENCE).unwrap();
    assert_eq!((again.outcome, again.resource.status.id), (Outcome::Unchanged, made.status.id));
    assert_eq!(again.resource.manifest.name.as_str(), "data");
    // As it is staged and published by its id, nothing but its name is another.
    let now = again.resource;
    world.stage(&now).unwrap();
    let path = world.publish(&now, "two").unwrap();
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
    world.unpublish(&now, "two").unwrap();
    world.unstage(&now).unwrap();
}

/// A snapshot is of a volume, whatever that is called.
#[test]
fn snapshots_show_the_name_that_their_volume_has() {
    require!(Part::Loop);
    let mut world = World::new("rename-snapshots");
    let old = world.make("old", "ReadWriteMany", "persistent");
    world.inside("old", |path| std::fs::write(path.join("file"), "cargo").unwrap());
    for name in ["a", "b"] {
        world.snapshot(name, "old").unwrap();
    }
    let of = |world: &World, volume: &str| -> Vec<String> {
        let query = SnapshotQuery { volume: Some(volume.parse().unwrap()), ..SnapshotQuery::default() };
        let page = world.engine().snapshots(&ROOT, &query).unwrap();
        for snapshot in &page.items {
            assert_eq!(snapshot.manifest.snapshot.volume.as_str(), volume);
            assert_eq!(snapshot.status.volume_id, old.status.id);
            let file = world.pool_path().join("snapshots").join(snapshot.status.id.to_string());
            let file = std::fs::read_to_string(file.join("snapshot.json")).unwrap();
            assert!(file.contains(&format!("\"volume\": \"{volume}\"")), "{file}");
        }
        page.items.into_iter().map(|snapshot| snapshot.manifest.name.to_string()).collect()
    };
    rename(&world, "old", "new", &[]).unwrap();
    assert_eq!((of(&world, "old"), of(&world, "new")), (vec![], vec!["a".to_owned(), "b".to_owned()]));
    // Another volume gets the name; nothing of the first is its.
    world.make("old", "ReadWriteMany", "persistent");
    assert!(of(&world, "old").is_empty());
    assert_eq!(world.snapshot("a", "new").unwrap().outcome, Outcome::Unchanged);
    let error = fails(world.snapshot("a", "old"), ErrorKind::Immutable);
    assert!(error.message.contains("is of volume new, and not of old"), "{error}");

    let restored = world.restore("a").unwrap();
    assert_eq!(restored.volume.title(), "public/new");
    assert!(restored.before.as_str().starts_with("new-before-"), "{}", restored.before);
    world.delete_snapshot(restored.before.as_str()).unwrap();

    world.delete("new").unwrap();
    assert_eq!(of(&world, "new"), ["a", "b"], "while it is released");
    let back = UndeleteRequest { volume: key("new"), name: Some("newest".parse().unwrap()) };
    world.engine().undelete(&ROOT, &back).unwrap();
    world.restart();
    assert_eq!((of(&world, "new"), of(&world, "newest")), (vec![], vec!["a".to_owned(), "b".to_owned()]));

    // And the one that it had last, when it is gone for good.
    world.delete("newest").unwrap();
    world.engine().purge(&ROOT, old.status.id).unwrap();
    assert_eq!(of(&world, "newest"), ["a", "b"]);
    world.apply("copy", "size: 16Mi, accessMode: ReadWriteMany, type: temp, source: snapshot b").unwrap();
    world.inside("copy", |path| {
        assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
    });
}
