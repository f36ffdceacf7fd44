//! Who may do what, and lists.

use orlop_engine::*;
use orlop_model::{
    ErrorKind,
    resource::{Front, Outcome},
};
use orlop_testkit::{Part, require};

use crate::harness::*;

const ANNA: Caller = Caller { uid: 1000, front: Front::Manifest };
const BERT: Caller = Caller { uid: 1001, front: Front::Manifest };
const SPEC: &str = "size: 16Mi, accessMode: ReadWriteMany, type: temp";

fn apply(
    world: &World,
    caller: &Caller,
    workspace: &str,
    name: &str,
    make: bool,
) -> orlop_model::Result<Outcome> {
    let request = ApplyRequest {
        workspace: workspace.parse().unwrap(),
        manifest: manifest(name, SPEC),
        create_workspace: make,
        set: None,
    };
    world.engine().apply(caller, &request).map(|applied| applied.outcome)
}

#[test]
fn owners_grantees_and_others() {
    require!(Part::Loop);
    let world = World::new("workspace");
    let team = "team".parse().unwrap();
    fails(apply(&world, &ANNA, "team", "data", false), ErrorKind::NotFound);
    assert_eq!(apply(&world, &ANNA, "team", "data", true).unwrap(), Outcome::Created);
    fails(apply(&world, &BERT, "team", "other", false), ErrorKind::PermissionDenied);
    let grant = WorkspaceRequest { grants: Some(vec![1001]), ..WorkspaceRequest::default() };
    fails(world.engine().put_workspace(&BERT, &team, &grant), ErrorKind::PermissionDenied);
    assert_eq!(world.engine().put_workspace(&ANNA, &team, &grant).unwrap().outcome, Outcome::Configured);
    assert_eq!(apply(&world, &BERT, "team", "other", false).unwrap(), Outcome::Created);
    assert_eq!(apply(&world, &BERT, "team", "data", false).unwrap(), Outcome::Unchanged);

    assert_eq!(apply(&world, &ANNA, "public", "mine", false).unwrap(), Outcome::Created);
    let mine = key("mine");
    fails(world.engine().delete(&BERT, &mine, false), ErrorKind::PermissionDenied);
    assert!(world.told("PermissionDenied"));
    assert_eq!(world.engine().volume(&BERT, &mine).unwrap().status.owner_uid, 1000, "looking is free");
    world.engine().delete(&ANNA, &mine, false).unwrap();

    fails(world.engine().delete_workspace(&ANNA, &team), ErrorKind::InUse);
    fails(world.engine().delete_workspace(&ROOT, &"public".parse().unwrap()), ErrorKind::InvalidArgument);
    for name in ["data", "other"] {
        let which = VolumeRef::Key(VolumeKey { workspace: team.clone(), name: name.parse().unwrap() });
        world.engine().delete(&ANNA, &which, false).unwrap();
    }
    world.engine().delete_workspace(&ANNA, &team).unwrap();
    fails(world.engine().workspace(&ROOT, &team), ErrorKind::NotFound);
}

#[test]
fn lists_are_paged_and_events_follow_each_other() {
    require!(Part::Loop);
    let world = World::new("lists");
    for name in ["a", "b", "c"] {
        apply(&world, &ANNA, "public", name, false).unwrap();
    }
    let mut query = VolumeQuery { limit: 2, ..VolumeQuery::default() };
    let first = world.engine().volumes(&ROOT, &query).unwrap();
    query.after = first.next.clone();
    let second = world.engine().volumes(&ROOT, &query).unwrap();
    let names: Vec<_> =
        first.items.iter().chain(&second.items).map(|volume| volume.manifest.name.to_string()).collect();
    assert_eq!((names.join(" ").as_str(), second.next), ("a b c", None));

    let all = world.events();
    assert!(all.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    let of_b = EventQuery { volume: Some("b".parse().unwrap()), ..EventQuery::default() };
    let told = world.engine().events(&ROOT, &of_b).unwrap();
    assert_eq!(told.iter().map(|event| event.reason.as_str()).collect::<Vec<_>>(), ["Created"]);
    assert_eq!((told[0].actor_uid, told[0].front), (Some(1000), Some(Front::Manifest)));
    assert_eq!(world.engine().newest_event(), all.last().unwrap().sequence);
}

#[test]
fn applies_of_many_at_once_make_each_volume_once() {
    require!(Part::Loop);
    let world = World::new("race");
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| apply(&world, &ANNA, "public", "data", false).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Created).count(), 1, "{outcomes:?}");
    let pool = world.engine().pool(&ROOT, &"default".parse().unwrap()).unwrap();
    assert_eq!((pool.volumes, pool.reserved.bytes()), (1, 16 * MIB));
}

#[test]
fn limits_count_what_was_deleted_and_only_root_sets_them() {
    require!(Part::Loop);
    let world = World::new("limits");
    let engine = world.engine();
    let public = "public".parse().unwrap();
    let limit = |size: Option<u64>, volumes: Option<u64>| WorkspaceRequest {
        size_limit: Some(size.map(orlop_model::Size::from_bytes)),
        volume_limit: Some(volumes),
        ..WorkspaceRequest::default()
    };
    fails(
        engine.put_workspace(&ANNA, &"hers".parse().unwrap(), &limit(Some(1), None)),
        ErrorKind::PermissionDenied,
    );
    let hers = engine.put_workspace(&ANNA, &"hers".parse().unwrap(), &WorkspaceRequest::default()).unwrap();
    assert_eq!(hers.outcome, Outcome::Created);
    fails(
        engine.put_workspace(&ANNA, &"hers".parse().unwrap(), &limit(Some(1), None)),
        ErrorKind::PermissionDenied,
    );
    let set = engine.put_workspace(&ROOT, &public, &limit(Some(48 * MIB), Some(3))).unwrap();
    assert_eq!(set.changes, ["sizeLimit", "volumeLimit"]);
    assert_eq!(
        engine.put_workspace(&ROOT, &public, &WorkspaceRequest::default()).unwrap().outcome,
        Outcome::Unchanged
    );

    world.make("one", "ReadWriteMany", "persistent");
    world.make("two", "ReadWriteMany", "temp");
    world.delete("one").unwrap();
    let error = fails(
        world.apply("large", "size: 32Mi, accessMode: ReadWriteMany, type: temp"),
        ErrorKind::WorkspaceFull,
    );
    for word in ["48Mi", "32Mi are used", "1 live volume with 16Mi", "1 released volume with 16Mi"] {
        assert!(error.message.contains(word), "{word}: {error}");
    }
    assert!(world.told("WorkspaceFull"));
    world.make("three", "ReadWriteMany", "temp");
    engine.put_workspace(&ROOT, &public, &limit(None, Some(3))).unwrap();
    fails(world.apply("four", SPEC), ErrorKind::WorkspaceFull);
    let shown = engine.workspace(&BERT, &public).unwrap();
    assert_eq!((shown.volumes, shown.released, shown.volume_limit, shown.size_limit), (2, 1, Some(3), None));
    assert_eq!((shown.size.bytes(), shown.released_size.bytes()), (32 * MIB, 16 * MIB));
    engine.put_workspace(&ROOT, &public, &limit(None, None)).unwrap();
    world.apply("four", SPEC).unwrap();
}

/// A snapshot counts with what it can take, whoever makes it; one that was deleted does not.
#[test]
fn limits_count_snapshots() {
    require!(Part::Loop);
    let world = World::new("limits-snapshots");
    let engine = world.engine();
    let public = "public".parse().unwrap();
    let limit = |size: u64| {
        let size_limit = Some(Some(orlop_model::Size::from_bytes(size)));
        let request =
            WorkspaceRequest { size_limit, volume_limit: Some(Some(1)), ..WorkspaceRequest::default() };
        engine.put_workspace(&ROOT, &public, &request).unwrap();
    };
    world.apply("data", "size: 64Mi, accessMode: ReadWriteMany, type: temp").unwrap();
    world.inside("data", |path| std::fs::write(path.join("file"), vec![7; 20 << 20]).unwrap());
    limit(90 * MIB);
    // Snapshots are none of the volumes that it may have.
    let first = world.snapshot("first", "data").unwrap().resource.status.reserved.bytes();
    assert!((20 * MIB..26 * MIB).contains(&first), "{first}");
    let error = fails(world.snapshot("second", "data"), ErrorKind::WorkspaceFull);
    for word in ["90Mi", "1 live volume with 64Mi", "1 snapshot with 2", "0 released volumes"] {
        assert!(error.message.contains(word), "{word}: {error}");
    }
    assert_eq!(world.snapshot_names(), ["first"]);
    let content = || {
        let pool = engine.pool(&ROOT, &"default".parse().unwrap()).unwrap();
        (pool.reserved.bytes(), pool.snapshots)
    };
    assert_eq!(content(), (64 * MIB + first, 1), "what was refused reserves nothing");
    assert_eq!(std::fs::read_dir(world.pool_path().join("snapshots")).unwrap().count(), 1);
    // What a restore keeps of the volume is a snapshot too.
    fails(world.restore("first"), ErrorKind::WorkspaceFull);
    world.inside("data", |path| assert_eq!(std::fs::read(path.join("file")).unwrap().len(), 20 << 20));
    assert_eq!(content(), (64 * MIB + first, 1));
    // And so is a volume of what snapshots take.
    limit(65 * MIB + first);
    fails(world.apply("more", SPEC), ErrorKind::WorkspaceFull);
    world.delete_snapshot("first").unwrap();
    assert_eq!(content(), (64 * MIB, 0));
    world.snapshot("second", "data").unwrap();
    limit(128 * MIB);
    world.restore("second").unwrap();
    assert_eq!(world.snapshot_names().len(), 2);
}

/// Those who come at once can't both take the last room.
#[test]
fn a_limit_holds_among_many_at_once() {
    require!(Part::Loop);
    let world = World::new("limit-race");
    let limit = WorkspaceRequest { volume_limit: Some(Some(2)), ..WorkspaceRequest::default() };
    world.engine().put_workspace(&ROOT, &"public".parse().unwrap(), &limit).unwrap();
    let made: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..5)
            .map(|n| {
                let world = &world;
                scope.spawn(move || apply(world, &ANNA, "public", &format!("data-{n}"), false).is_ok())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|made| **made).count(), 2, "{made:?}");
}
