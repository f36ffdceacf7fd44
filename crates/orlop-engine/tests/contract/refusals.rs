//! What is refused is told of as an event, whatever was asked for, but for mistakes in the request.

use std::path::PathBuf;

use orlop_engine::*;
use orlop_model::{
    ErrorKind, Result, SnapshotManifest,
    resource::{Event, Front, Severity},
};
use orlop_testkit::{Part, ScratchFs, require};

use crate::harness::*;

const BERT: Caller = Caller { uid: 1001, front: Front::Manifest };
const SPEC: &str = "size: 16Mi, accessMode: ReadWriteMany, type: persistent";

/// What a stranger asks for.
type Asked<'a> = &'a dyn Fn(&Engine) -> Result<()>;

/// What `work` is refused for, and the one event of it.
#[track_caller]
fn told<T: std::fmt::Debug>(
    world: &World,
    caller: &Caller,
    kind: ErrorKind,
    work: impl FnOnce(&Engine) -> Result<T>,
) -> Event {
    let engine = world.engine();
    let query = EventQuery { after: Some(engine.newest_event()), limit: 100, ..EventQuery::default() };
    let error = fails(work(engine), kind);
    let mut events = engine.events(&ROOT, &query).unwrap();
    events.retain(|event| event.message.contains("refused: "));
    assert_eq!(events.len(), 1, "{error}: {events:#?}");
    let event = events.remove(0);
    assert!(event.message.ends_with(&format!("refused: {error}")), "{event:?}");
    assert_eq!((event.actor_uid, event.severity), (Some(caller.uid), Severity::Warning), "{event:?}");
    event
}

#[test]
fn what_a_stranger_asks_for_is_told_of() {
    require!(Part::Loop);
    let host = ScratchFs::xfs(512 << 20);
    let world = World::over(host.path(), |_| ());
    let volume = world.apply("data", SPEC).unwrap().resource;
    world.snapshot("now", "data").unwrap();
    world.snapshot_group("both", &["data"]).unwrap();
    let gone = world.apply("gone", SPEC).unwrap().resource;
    world.delete("gone").unwrap();
    let (data, snapshot, group) = (key("data"), snapshot_key("now"), snapshot_key("both"));
    let public = snapshot.workspace.clone();
    let named = VolumeKey { workspace: public.clone(), name: "data".parse().unwrap() };
    let pool = "default".parse().unwrap();
    let target = world.mkdir("target");
    let limited = WorkspaceRequest { volume_limit: Some(Some(1)), ..WorkspaceRequest::default() };
    let retained = SnapshotRequest {
        workspace: public.clone(),
        manifest: SnapshotManifest::new(
            "mine".parse().unwrap(),
            "data".parse().unwrap(),
            "7d".parse().unwrap(),
        ),
        pause_writers: false,
    };
    let volumes = vec![named.name.clone()];
    let several = SnapshotGroupRequest {
        workspace: public.clone(),
        name: "mine".parse().unwrap(),
        volumes,
        retain: None,
    };
    let denied = |work: Asked<'_>| told(&world, &BERT, ErrorKind::PermissionDenied, work);
    let path = PathBuf::from("/tmp");
    let of_volume: [Asked<'_>; 10] = [
        &|_| world.apply_as(&BERT, "data", &SPEC.replace("16", "32")).map(drop),
        &|e| e.delete(&BERT, &data, false).map(drop),
        &|_| world.attach_as(&BERT, "data", "one", false).map(drop),
        &|e| {
            let access = MountAccess::ByMode;
            let request = MountRequest { volume: data.clone(), target: target.clone(), access };
            e.mount(&BERT, &request).map(drop)
        },
        &|e| {
            let request =
                RenameRequest { volume: named.clone(), name: "other".parse().unwrap(), forget: vec![] };
            e.rename(&BERT, &request).map(drop)
        },
        &|e| e.migrate(&BERT, &data, &MigrateRequest::default()).map(drop),
        &|e| e.check(&BERT, &data, CheckRequest::default()).map(drop),
        &|e| e.apply_snapshot(&BERT, &retained).map(drop),
        &|e| e.delete_snapshot(&BERT, &snapshot),
        &|e| e.restore(&BERT, &snapshot).map(drop),
    ];
    for work in of_volume {
        assert_eq!(denied(work).volume_id, Some(volume.status.id));
    }
    let purge = denied(&|e| e.purge(&BERT, gone.status.id).map(drop));
    assert_eq!(purge.volume_id, Some(gone.status.id));
    let of_workspace: [Asked<'_>; 4] = [
        &|e| e.apply_snapshot_group(&BERT, &several).map(drop),
        &|e| e.delete_snapshot_group(&BERT, &group),
        &|e| e.put_workspace(&BERT, &public, &limited).map(drop),
        &|e| {
            let request = AdoptRequest {
                source: path.clone(),
                workspace: public.clone(),
                name: "adopted".parse().unwrap(),
                size: None,
                pool: None,
            };
            e.adopt(&BERT, &request).map(drop)
        },
    ];
    for work in of_workspace {
        assert_eq!(denied(work).workspace.as_ref(), Some(&public));
    }
    let place = || PoolPlace::Directory(path.clone());
    let of_pool: [Asked<'_>; 5] = [
        &|e| {
            let request = PoolRequest {
                name: "default".parse().unwrap(),
                place: place(),
                capacity: None,
                overcommit: None,
            };
            e.create_pool(&BERT, &request).map(drop)
        },
        &|e| e.remove_pool(&BERT, &pool),
        &|e| e.check_pool(&BERT, &pool, true).map(drop),
        &|e| e.grow_pool(&BERT, &pool, &GrowRequest::default()).map(drop),
        &|e| e.export_pool(&BERT, &pool).map(drop),
    ];
    for work in of_pool {
        assert_eq!(denied(work).pool.as_ref(), Some(&pool));
    }
    denied(&|e| {
        let place = ImportPlace::Directory(path.clone());
        e.import_pool(&BERT, &ImportRequest { name: None, place, capacity: None, overcommit: None }).map(drop)
    });
}

#[test]
fn what_the_state_of_things_forbids_is_told_of_and_mistakes_are_not() {
    require!(Part::Loop, Part::Xfs);
    let world = World::new("refusals");
    world.apply("data", &SPEC.replace("16Mi", "512Mi")).unwrap();
    let pool = "default".parse().unwrap();
    told(&world, &ROOT, ErrorKind::InUse, |e| e.remove_pool(&ROOT, &pool));
    let shrink =
        told(&world, &ROOT, ErrorKind::Immutable, |_| world.apply("data", &SPEC.replace("16Mi", "320Mi")));
    assert!(shrink.message.contains("data"), "{shrink:?}");
    world.snapshot("now", "data").unwrap();
    world.attach("data", "one").unwrap();
    told(&world, &ROOT, ErrorKind::InUse, |_| world.restore("now"));
    world.detach("data", "one").unwrap();

    let before = world.engine().newest_event();
    fails(world.delete("nothing"), ErrorKind::NotFound);
    fails(world.apply("other", &SPEC.replace("16Mi", "1Ki")), ErrorKind::InvalidArgument);
    assert_eq!(world.engine().newest_event(), before);
}
