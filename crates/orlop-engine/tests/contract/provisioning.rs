//! What an orchestrator asks for by names and ids of its own.

use std::fs;

use orlop_engine::*;
use orlop_model::{
    ErrorKind, Period, Size, VolumeId, VolumeType,
    resource::{Deletion, Outcome, Volume, VolumeState},
};
use orlop_testkit::{Part, ScratchFs, require};

use crate::harness::*;

const SPEC: &str = "size: 16Mi, accessMode: ReadWriteOnce, type: persistent";

fn request(external: &str, name: &str, least: Option<u64>) -> ProvisionRequest {
    ProvisionRequest {
        external: external.to_owned(),
        workspace: "shop".parse().unwrap(),
        manifest: manifest(name, SPEC),
        size: SizeRange { least: least.map(|mib| Size::from_bytes(mib * MIB)), most: None },
        source: None,
        ephemeral: false,
    }
}

impl World {
    fn provision(&self, request: &ProvisionRequest) -> orlop_model::Result<Applied<Volume>> {
        self.engine().provision(&CSI, request, PATIENCE)
    }

    fn take(
        &self,
        external: &str,
        volume: VolumeId,
    ) -> orlop_model::Result<Applied<orlop_model::resource::Snapshot>> {
        let name = "nightly".parse().unwrap();
        let request = TakeRequest { external: external.to_owned(), volume, name, tags: vec!["a".to_owned()] };
        self.engine().take_snapshot(&CSI, &request, PATIENCE)
    }
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: orlop_model::Result<T>, kind: ErrorKind) -> orlop_model::Error {
    let error = result.unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    error
}

#[test]
fn the_same_name_is_the_same_volume_and_other_wishes_are_refused() {
    require!(Part::Loop);
    let world = World::new("provision");
    let asked = request("pvc-1 / any Ünicode", "data", Some(20));
    let made = world.provision(&asked).unwrap();
    assert_eq!((made.outcome, made.resource.status.state), (Outcome::Created, VolumeState::Active));
    assert_eq!((made.resource.workspace.as_str(), made.resource.manifest.name.as_str()), ("shop", "data"));
    assert_eq!(made.resource.manifest.volume.size.bytes(), 20 * MIB);
    let id = made.resource.status.id;
    let again = world.provision(&asked).unwrap();
    assert_eq!((again.outcome, again.resource.status.id), (Outcome::Unchanged, id));
    // It is large enough for less, too; and the suggested name is only that.
    for least in [None, Some(16), Some(20)] {
        let size = SizeRange { least: least.map(|mib| Size::from_bytes(mib * MIB)), most: None };
        let other = ProvisionRequest { size, manifest: manifest("else", SPEC), ..asked.clone() };
        assert_eq!(world.provision(&other).unwrap().resource.status.id, id);
    }
    let differing = [
        ("size", ProvisionRequest { size: request("", "a", Some(21)).size, ..asked.clone() }),
        (
            "size",
            ProvisionRequest {
                size: SizeRange { least: None, most: Some(Size::from_bytes(20 * MIB - 1)) },
                ..asked.clone()
            },
        ),
        ("workspace", ProvisionRequest { workspace: "public".parse().unwrap(), ..asked.clone() }),
        ("source", ProvisionRequest { source: Some(SourceId::Volume(id)), ..asked.clone() }),
        (
            "accessMode",
            ProvisionRequest {
                manifest: manifest("data", "size: 16Mi, accessMode: ReadWriteMany, type: persistent"),
                ..asked.clone()
            },
        ),
        ("gid", ProvisionRequest { manifest: manifest("data", &format!("{SPEC}, gid: 7")), ..asked.clone() }),
    ];
    for (field, other) in differing {
        let error = fails(world.provision(&other), ErrorKind::AlreadyExists);
        assert!(error.message.contains(field), "{field}: {error}");
    }
    // What the engines call a volume is another namespace, and so are names of volumes.
    assert_eq!(world.engine().provisioned(&CSI, "data").unwrap(), None);
    assert_eq!(world.engine().provisioned(&DOCKER, &asked.external).unwrap(), None);
    let second = world.provision(&request("data", "data", None)).unwrap();
    assert_eq!(second.outcome, Outcome::Created);
    assert_eq!(second.resource.manifest.volume.size, world.config.default_size);
    let name = second.resource.manifest.name.to_string();
    assert!(name.starts_with("data-") && name.len() == "data-".len() + 8, "{name}");
}

#[test]
fn at_once_and_repeated_it_is_made_once() {
    require!(Part::Loop);
    let world = World::new("provision");
    let asked = request("pvc-1", "data", None);
    let ids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..6).map(|_| scope.spawn(|| world.provision(&asked).unwrap().resource.status.id)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    // Deleted with its data retained, the name is free for a new one.
    let which = VolumeRef::Id(ids[0]);
    assert_eq!(world.engine().delete(&CSI, &which, false).unwrap(), Deletion::Released);
    let anew = world.provision(&asked).unwrap();
    assert_eq!((anew.outcome, anew.resource.manifest.name.as_str()), (Outcome::Created, "data"));
    assert_ne!(anew.resource.status.id, ids[0]);
}

#[test]
fn a_source_is_named_by_id_and_what_is_made_of_it_has_the_size_asked_for() {
    require!(Part::Loop);
    let host = ScratchFs::xfs(1 << 30);
    let world = World::over(host.path(), |_| ());
    let volume = world.provision(&request("one", "data", None)).unwrap().resource;
    let title = |volume: &Volume| VolumeRef::Id(volume.status.id);
    let inside = |volume: &Volume, work: &dyn Fn(&std::path::Path)| {
        let scope = Scope { id: "inside".to_owned(), shared: false, may_go_stale: false };
        let request = AttachRequest {
            volume: title(volume),
            scope,
            consumer: "test".to_owned(),
            read_only: false,
            known_as: None,
        };
        work(&world.engine().attach(&DOCKER, &request, PATIENCE).unwrap().path);
        world.engine().detach(&DOCKER, &title(volume), "inside", PATIENCE).unwrap();
    };
    inside(&volume, &|path| fs::write(path.join("file"), "cargo").unwrap());
    let snapshot = world.take("snap-1", volume.status.id).unwrap();
    assert_eq!(snapshot.outcome, Outcome::Created);
    assert_eq!(snapshot.resource.manifest.name.as_str(), "nightly");
    let again = world.take("snap-1", volume.status.id).unwrap();
    assert_eq!((again.outcome, again.resource.status.id), (Outcome::Unchanged, snapshot.resource.status.id));
    let other = world.take("snap-2", volume.status.id).unwrap().resource;
    assert!(other.manifest.name.as_str().starts_with("nightly-"), "{}", other.manifest.name);

    for (external, workspace, source, least) in [
        ("clone-1", "shop", SourceId::Snapshot(snapshot.resource.status.id), None),
        ("clone-2", "shop", SourceId::Volume(volume.status.id), Some(100)),
        ("clone-3", "else", SourceId::Snapshot(snapshot.resource.status.id), Some(80)),
    ] {
        let asked = ProvisionRequest {
            workspace: workspace.parse().unwrap(),
            source: Some(source),
            ..request(external, "clone", least)
        };
        let made = world.provision(&asked).unwrap().resource;
        let size = made.manifest.volume.size.bytes();
        assert_eq!(size, least.map_or(volume.manifest.volume.size.bytes(), |mib| mib * MIB));
        assert_eq!(made.manifest.volume.source.is_some(), workspace == "shop");
        inside(&made, &|path| {
            assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "cargo");
            assert!(orlop_sys::space::usage(path).unwrap().capacity > size * 7 / 10);
        });
        assert_eq!(world.provision(&asked).unwrap().outcome, Outcome::Unchanged);
    }
    let small = ProvisionRequest {
        source: Some(SourceId::Volume(volume.status.id)),
        ..request("clone-4", "clone", Some(16))
    };
    let error = fails(world.provision(&small), ErrorKind::InvalidArgument);
    assert_eq!(error.object.as_deref(), Some("volume.size"));
    let elsewhere = world.provision(&request("two", "other", None)).unwrap().resource;
    fails(world.take("snap-1", elsewhere.status.id), ErrorKind::AlreadyExists);
    // The name of a snapshot goes with it, and deleting it again is no error.
    for _ in 0..2 {
        world.engine().delete_snapshot_by_id(&CSI, snapshot.resource.status.id, PATIENCE).unwrap();
    }
    fails(world.engine().snapshot_by_id(&CSI, snapshot.resource.status.id), ErrorKind::NotFound);
    assert_eq!(world.take("snap-1", elsewhere.status.id).unwrap().outcome, Outcome::Created);
}

#[test]
fn single_fields_change_and_the_others_stay() {
    require!(Part::Loop);
    let world = World::new("amend");
    let volume = world.provision(&request("one", "data", Some(16))).unwrap().resource;
    let amend = |amendment: Amendment| world.engine().amend(&CSI, volume.status.id, &amendment, PATIENCE);
    let sized = |least: u64, most: Option<u64>| {
        let size = |mib: u64| Size::from_bytes(mib * MIB);
        Amendment {
            size: Some(SizeRange { least: Some(size(least)), most: most.map(size) }),
            ..Default::default()
        }
    };
    let grown = amend(sized(24, None)).unwrap();
    assert_eq!(grown.changes, ["volume.size"]);
    assert_eq!(grown.resource.manifest.volume.size.bytes(), 24 * MIB);
    assert_eq!(amend(sized(20, None)).unwrap().outcome, Outcome::Unchanged);
    let error = fails(amend(sized(16, Some(20))), ErrorKind::InvalidArgument);
    assert_eq!(error.object.as_deref(), Some("volume.size"));

    let changed = amend(Amendment {
        volume_type: Some(VolumeType::Temp),
        temp_grace_period: Some(Period::Never),
        gid: Some(70),
        protection: Some(true),
        ..Default::default()
    })
    .unwrap()
    .resource;
    let spec = &changed.manifest.volume;
    assert_eq!((spec.volume_type, spec.gid, spec.protection), (VolumeType::Temp, Some(70), true));
    assert_eq!(spec.size.bytes(), 24 * MIB);
    let error = fails(
        amend(Amendment {
            volume_type: Some(VolumeType::Persistent),
            temp_grace_period: Some(Period::Never),
            ..Default::default()
        }),
        ErrorKind::InvalidArgument,
    );
    assert_eq!(error.object.as_deref(), Some("volume.tempGracePeriod"));
    let back = amend(Amendment { volume_type: Some(VolumeType::Persistent), ..Default::default() })
        .unwrap()
        .resource;
    assert_eq!((back.manifest.volume.temp_grace_period, back.manifest.volume.gid), (None, Some(70)));
    assert_eq!(amend(Amendment::default()).unwrap().outcome, Outcome::Unchanged);
}

#[test]
fn pages_by_age_go_on_where_they_were() {
    require!(Part::Loop);
    let world = World::new("pages");
    for name in ["c", "b", "a"] {
        world.provision(&request(name, name, None)).unwrap();
    }
    let page = |after: Option<String>| {
        let query = VolumeQuery { order: Order::ById, limit: 2, after, ..Default::default() };
        world.engine().volumes(&CSI, &query).unwrap()
    };
    let names =
        |page: &Page<Volume>| page.items.iter().map(|v| v.manifest.name.to_string()).collect::<Vec<_>>();
    let first = page(None);
    assert_eq!(names(&first), ["c", "b"]);
    // The last of the page goes, and a new one comes.
    world.engine().delete(&CSI, &VolumeRef::Id(first.items[1].status.id), false).unwrap();
    world.provision(&request("0", "0", None)).unwrap();
    let rest = page(first.next);
    assert_eq!((names(&rest), rest.next), (vec!["a".to_owned(), "0".to_owned()], None));
    let wrong = VolumeQuery { order: Order::ById, after: Some("shop.a".to_owned()), ..Default::default() };
    fails(world.engine().volumes(&CSI, &wrong), ErrorKind::InvalidArgument);
}

/// How a volume was made is not told by what became of its data since.
#[test]
fn a_repeated_request_finds_what_was_put_back_or_wiped() {
    require!(Part::Loop);
    let host = ScratchFs::xfs(1 << 30);
    let world = World::over(host.path(), |_| ());
    let origin = world.provision(&request("origin", "origin", Some(16))).unwrap().resource;
    let snapshot = world.take("snap", origin.status.id).unwrap().resource.status.id;
    let made_from = |external: &str, name: &str| ProvisionRequest {
        source: Some(SourceId::Snapshot(snapshot)),
        ..request(external, name, None)
    };
    let kept = world.provision(&made_from("kept", "kept")).unwrap().resource;
    let mut scratch = made_from("scratch", "scratch");
    scratch.manifest = manifest("scratch", &SPEC.replace("persistent", "temp, tempGracePeriod: 2s"));
    let wiped = world.provision(&scratch).unwrap().resource;

    let own = world.take("own", kept.status.id).unwrap().resource;
    let key = SnapshotKey { workspace: own.workspace.clone(), name: own.manifest.name.clone() };
    world.engine().restore(&ROOT, &key).unwrap();
    let again = world.provision(&made_from("kept", "kept")).unwrap();
    assert_eq!((again.outcome, again.resource.status.id), (Outcome::Unchanged, kept.status.id));

    let which = VolumeRef::Id(wiped.status.id);
    let attach = AttachRequest {
        volume: which.clone(),
        scope: Scope { id: "one".into(), shared: false, may_go_stale: false },
        consumer: "one".into(),
        read_only: false,
        known_as: None,
    };
    world.engine().attach(&DOCKER, &attach, PATIENCE).unwrap();
    world.engine().detach(&DOCKER, &which, "one", PATIENCE).unwrap();
    assert!(orlop_testkit::command::eventually(PATIENCE, || world.told("Wiped")), "{:?}", world.events());
    let again = world.provision(&scratch).unwrap();
    assert_eq!((again.outcome, again.resource.status.id), (Outcome::Unchanged, wiped.status.id));
    let other = ProvisionRequest { source: None, ..made_from("second", "second") };
    world.provision(&other).unwrap();
    let other = ProvisionRequest { source: Some(SourceId::Volume(origin.status.id)), ..other };
    fails(world.provision(&other), ErrorKind::AlreadyExists);
}
