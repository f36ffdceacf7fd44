//! What becomes of a volume after it was made: undelete, purge, wipe, rename.

use orlop_engine::{fault::Point::*, *};
use orlop_model::{ErrorKind, resource::Deletion};
use orlop_testkit::command::eventually;

use crate::{
    harness::*,
    scenarios::{BASIC, PLAIN, Scenario, keep, kept, put_away, usable},
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "undelete",
        points: &[UndeleteRecorded, UndeleteDescribed, UndeleteDone],
        prepare: |world| {
            keep(world);
            released(world);
        },
        operate: |world| {
            let request = UndeleteRequest { volume: key("data"), name: None };
            world.engine().undelete(&ROOT, &request).map(drop)
        },
        check: |world| {
            kept(world);
            let path = world.attach("data", "two").unwrap().path;
            assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "cargo");
            world.detach("data", "two").unwrap();
            let json =
                std::fs::read_to_string(world.directory(&world.volume("data")).join("volume.json")).unwrap();
            assert!(json.contains("\"active\""), "{json}");
        },
        end: |world| {
            assert_eq!(world.delete("data").unwrap(), Deletion::Released);
            put_away(world, "keep");
        },
        ..BASIC
    },
    Scenario {
        name: "learn_an_alias",
        points: &[ChangeRecorded, ChangeDescribed],
        prepare: |world| {
            keep(world);
            let team = WorkspaceRequest::default();
            world.engine().put_workspace(&ROOT, &"team".parse().unwrap(), &team).unwrap();
            let request = ApplyRequest {
                workspace: "team".parse().unwrap(),
                manifest: manifest("data", PLAIN),
                create_workspace: false,
                set: None,
            };
            world.engine().apply(&ROOT, &request).unwrap();
        },
        operate: |world| {
            let request = AliasedRequest {
                external: "data".to_owned(),
                workspace: "team".parse().unwrap(),
                manifest: AliasedManifest::default(),
            };
            world.engine().create_aliased(&DOCKER, &request, PATIENCE).map(drop)
        },
        check: |world| {
            kept(world);
            let found = world.engine().resolve(&DOCKER, "data").unwrap().unwrap();
            assert_eq!(found.title(), "team/data");
            let json = std::fs::read_to_string(world.directory(&found).join("volume.json")).unwrap();
            assert!(json.contains("\"aliases\""), "{json}");
        },
        end: |world| {
            let found = world.engine().resolve(&DOCKER, "data").unwrap().unwrap();
            world.engine().delete(&ROOT, &VolumeRef::Id(found.status.id), false).unwrap();
            put_away(world, "keep");
        },
        ..BASIC
    },
    Scenario {
        name: "undelete_as",
        points: &[ChangeDescribed, ChangeOfSnapshots, UndeleteRecorded, UndeleteDescribed, UndeleteDone],
        prepare: |world| {
            keep(world);
            world.make("old", "ReadWriteMany", "persistent");
            world.snapshot("s", "old").unwrap();
            world.delete("old").unwrap();
        },
        operate: |world| {
            let request = UndeleteRequest { volume: key("old"), name: Some("data".parse().unwrap()) };
            match world.engine().undelete(&ROOT, &request) {
                // It was back before the answer was lost.
                Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
                other => other.map(drop),
            }
        },
        check: |world| {
            kept(world);
            usable(world);
            snapshot_says(world, "data");
        },
        end: |world| {
            world.delete_snapshot("s").unwrap();
            assert_eq!(world.delete("data").unwrap(), Deletion::Released);
            put_away(world, "keep");
        },
        ..BASIC
    },
    Scenario {
        name: "purge",
        points: &[DeleteRecorded, DeleteDetached, DeleteDescribed, DeleteUnlinked, DeleteRemoved, DeleteDone],
        prepare: |world| {
            keep(world);
            released(world);
        },
        operate: |world| {
            let query = VolumeQuery { released: true, ..VolumeQuery::default() };
            for volume in world.engine().volumes(&ROOT, &query)?.items {
                match world.engine().purge(&ROOT, volume.status.id) {
                    Err(error) if error.kind == ErrorKind::NotFound => {}
                    other => drop(other?),
                }
            }
            Ok(())
        },
        check: |world| {
            kept(world);
            let query = VolumeQuery { released: true, ..VolumeQuery::default() };
            assert_eq!(world.engine().volumes(&ROOT, &query).unwrap().items, []);
        },
        end: |world| put_away(world, "keep"),
        ..BASIC
    },
    Scenario {
        name: "wipe",
        points: &[WipeRecorded, WipeFormatted, WipeReplaced, WipeDescribed, WipeDone],
        prepare: |world| {
            keep(world);
            world
                .apply("data", "size: 16Mi, accessMode: ReadWriteMany, type: temp, tempGracePeriod: 3s")
                .unwrap();
            let path = world.attach("data", "one").unwrap().path;
            std::fs::write(path.join("file"), "cargo").unwrap();
            world.detach("data", "one").unwrap();
        },
        operate: |world| {
            assert!(eventually(PATIENCE, || world.told("Wiped")), "{:?}", world.events());
            Ok(())
        },
        check: |world| {
            kept(world);
            let path = world.attach("data", "two").unwrap().path;
            assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0, "nothing is left of it");
            std::fs::write(path.join("file"), "new").unwrap();
            let directory = world.directory(&world.volume("data"));
            assert_eq!(std::fs::read_dir(directory).unwrap().count(), 2, "an image and its description");
        },
        in_background: true,
        ..BASIC
    },
    Scenario {
        name: "rename",
        points: &[ChangeRecorded, ChangeDescribed, ChangeOfSnapshots],
        prepare: |world| {
            keep(world);
            world.apply("old", PLAIN).unwrap();
            world.snapshot("s", "old").unwrap();
        },
        operate: |world| {
            let VolumeRef::Key(volume) = key("old") else { unreachable!() };
            let request = RenameRequest { volume, name: "data".parse().unwrap(), forget: Vec::new() };
            match world.engine().rename(&ROOT, &request) {
                // It was renamed before the answer was lost.
                Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
                other => other.map(drop),
            }
        },
        check: |world| {
            kept(world);
            usable(world);
            let json =
                std::fs::read_to_string(world.directory(&world.volume("data")).join("volume.json")).unwrap();
            assert!(json.contains("\"name\": \"data\""), "{json}");
            snapshot_says(world, "data");
        },
        end: |world| {
            world.delete_snapshot("s").unwrap();
            (BASIC.end)(world);
        },
        ..BASIC
    },
];

/// The one snapshot is of the volume of that name, also by its description.
fn snapshot_says(world: &World, volume: &str) {
    let snapshot = world.snapshots().remove(0);
    assert_eq!(snapshot.manifest.snapshot.volume.as_str(), volume);
    let directory = world.pool_path().join("snapshots").join(snapshot.status.id.to_string());
    let json = std::fs::read_to_string(directory.join("snapshot.json")).unwrap();
    assert!(json.contains(&format!("\"volume\": \"{volume}\"")), "{json}");
}

/// A deleted volume with a file in it.
fn released(world: &World) {
    world.make("data", "ReadWriteMany", "persistent");
    let path = world.attach("data", "one").unwrap().path;
    std::fs::write(path.join("file"), "cargo").unwrap();
    world.detach("data", "one").unwrap();
    world.delete("data").unwrap();
}
