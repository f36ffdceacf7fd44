//! The names by which engines know volumes are carried with them.

use std::fs;

use orlop_engine::*;
use orlop_model::{
    Size,
    pool_report::{ImportFate, ImportedVolume, PoolImport},
    resource::{Alias, Front, Outcome, Volume},
};
use orlop_testkit::{Part, require};

use super::*;

/// Makes a volume as an engine does, or uses the one that is there.
fn called(world: &World, caller: &Caller, external: &str, workspace: &str) -> Applied<Volume> {
    let request = AliasedRequest {
        external: external.to_owned(),
        workspace: workspace.parse().unwrap(),
        manifest: AliasedManifest { size: Some(Size::from_bytes(16 * MIB)), ..AliasedManifest::default() },
    };
    world.engine().create_aliased(caller, &request, PATIENCE).unwrap()
}

fn found(world: &World, caller: &Caller, external: &str) -> Option<Volume> {
    world.engine().resolve(caller, external).unwrap()
}

#[track_caller]
fn same(world: &World, caller: &Caller, external: &str, was: &Volume) {
    let is = found(world, caller, external).unwrap_or_else(|| panic!("{external} is not found"));
    assert_eq!(is.status.id, was.status.id, "{external}");
}

fn shown<'a>(done: &'a PoolImport, volume: &Volume) -> &'a ImportedVolume {
    done.volumes.iter().find(|shown| shown.directory == volume.status.id.to_string()).unwrap()
}

fn text(world: &World, volume: &Volume) -> String {
    fs::read_to_string(world.directory(volume).join("volume.json")).unwrap()
}

fn import(world: &World, path: &Path) -> PoolImport {
    world.engine().import_pool(&ROOT, &of(ImportPlace::Directory(path.to_owned()), None)).unwrap()
}

#[test]
fn engines_find_volumes_of_a_lost_store_under_the_same_names() {
    require!(Part::Loop);
    let mut world = World::new("known");
    let request = WorkspaceRequest::default();
    world.engine().put_workspace(&ROOT, &"team".parse().unwrap(), &request).unwrap();
    let compose = called(&world, &DOCKER, "project_data", "public").resource;
    let plain = called(&world, &DOCKER, "plain", "public").resource;
    let elsewhere = called(&world, &DOCKER, "shared", "team").resource;
    // Both engines, one of them later; and by the names that need no alias.
    let again = called(&world, &PODMAN, plain.manifest.name.as_str(), "public");
    assert_eq!((again.outcome, again.resource.status.id), (Outcome::Unchanged, plain.status.id));
    let podman = called(&world, &PODMAN, "project_data", "public").resource;
    assert_ne!(podman.status.id, compose.status.id, "aliases are a front's own");
    world.apply("kept", KEPT).unwrap();
    let kept = world.volume("kept");
    let gone = called(&world, &DOCKER, "old_data", "public").resource;
    world.delete(gone.manifest.name.as_str()).unwrap();
    assert!(text(&world, &compose).contains("\"name\": \"project_data\""), "{}", text(&world, &compose));
    assert!(!text(&world, &plain).contains("aliases"), "its own name needs none: {}", text(&world, &plain));
    assert!(text(&world, &gone).contains("old_data"), "{}", text(&world, &gone));
    assert_eq!(differences(&world.engine().check_pool(&ROOT, &default(), false).unwrap()), []);
    let path = world.pool_path();
    lose_the_store(&mut world);

    world.start();
    let done = import(&world, &path);
    assert!(!done.left_any(), "{done:#?}");
    for (caller, external, was) in [
        (DOCKER, "project_data", &compose),
        (PODMAN, "project_data", &podman),
        (DOCKER, "plain", &plain),
        (PODMAN, "plain", &plain),
        (DOCKER, "shared", &elsewhere),
        (DOCKER, "team.shared", &elsewhere),
        (DOCKER, "kept", &kept),
    ] {
        same(&world, &caller, external, was);
    }
    assert_eq!(
        shown(&done, &compose).aliases,
        [Alias { front: Front::Docker, name: "project_data".to_owned() }]
    );
    assert_eq!(shown(&done, &plain).aliases, []);
    assert_eq!(called(&world, &DOCKER, "project_data", "public").outcome, Outcome::Unchanged);
    // What a deleted one was called is free, and its own again when it is brought back.
    assert!(found(&world, &DOCKER, "old_data").is_none());
    let back = UndeleteRequest { volume: VolumeRef::Id(gone.status.id), name: None };
    world.engine().undelete(&ROOT, &back).unwrap();
    same(&world, &DOCKER, "old_data", &gone);
    assert_eq!(differences(&world.engine().check_pool(&ROOT, &default(), false).unwrap()), []);
    world.restart();
    same(&world, &DOCKER, "project_data", &compose);
}

/// A name that an engine gets to know later is written beside the data too, and goes with a rename.
#[test]
fn a_name_that_comes_later_is_carried_as_well() {
    require!(Part::Loop);
    let mut world = World::new("known-later");
    let request = WorkspaceRequest::default();
    world.engine().put_workspace(&ROOT, &"team".parse().unwrap(), &request).unwrap();
    let apply = ApplyRequest {
        workspace: "team".parse().unwrap(),
        manifest: manifest("data", KEPT),
        create_workspace: false,
        set: None,
    };
    let volume = world.engine().apply(&ROOT, &apply).unwrap().resource;
    assert!(!text(&world, &volume).contains("aliases"));
    let asked = called(&world, &DOCKER, "data", "team");
    assert_eq!((asked.outcome, asked.resource.status.id), (Outcome::Unchanged, volume.status.id));
    assert!(text(&world, &volume).contains("\"aliases\""), "{}", text(&world, &volume));
    let path = world.pool_path();
    lose_the_store(&mut world);
    world.start();
    import(&world, &path);
    same(&world, &DOCKER, "data", &volume);
}

#[test]
fn what_a_name_means_here_already_it_goes_on_meaning() {
    require!(Part::Loop);
    let here = World::new("known-here");
    let there = World::new("known-there");
    let place = PoolPlace::Directory(here.join("travel"));
    let name: PoolName = "travel".parse().unwrap();
    let request = PoolRequest { name: name.clone(), place, capacity: None, overcommit: None };
    here.engine().create_pool(&ROOT, &request).unwrap();
    let team = WorkspaceRequest::default();
    here.engine().put_workspace(&ROOT, &"team".parse().unwrap(), &team).unwrap();
    let make = |external: &str, workspace: &str| {
        let request = AliasedRequest {
            external: external.to_owned(),
            workspace: workspace.parse().unwrap(),
            manifest: AliasedManifest {
                size: Some(Size::from_bytes(16 * MIB)),
                pool: Some(name.clone()),
                ..AliasedManifest::default()
            },
        };
        here.engine().create_aliased(&DOCKER, &request, PATIENCE).unwrap().resource
    };
    let (compose, hidden, free) =
        (make("web_data", "public"), make("data", "team"), make("db_data", "public"));
    here.engine().export_pool(&ROOT, &name).unwrap();

    let mine = called(&there, &DOCKER, "web_data", "public").resource;
    there.apply("data", KEPT).unwrap();
    let data = there.volume("data");
    let place = ImportPlace::Directory(here.join("travel"));
    let done = there.engine().import_pool(&ROOT, &of(place, Some("travel"))).unwrap();
    assert_eq!(done.volumes.iter().filter(|volume| volume.fate == ImportFate::Imported).count(), 3);
    same(&there, &DOCKER, "web_data", &mine);
    same(&there, &DOCKER, "data", &data);
    same(&there, &DOCKER, "db_data", &free);
    for (volume, word) in [(&compose, "web_data"), (&hidden, "data")] {
        let shown = shown(&done, volume);
        let wanted = format!("docker knows another volume as {word}");
        assert_eq!((shown.detail.as_deref(), shown.aliases.len()), (Some(wanted.as_str()), 0));
    }
    same(&there, &DOCKER, "team.data", &hidden);
    same(&there, &DOCKER, compose.manifest.name.as_str(), &compose);
    // What it is not called here is not beside its data any more.
    assert_eq!(differences(&there.engine().check_pool(&ROOT, &name, false).unwrap()), []);
}

#[test]
fn names_that_no_engine_allows_and_engines_that_nobody_knows() {
    require!(Part::Loop);
    let mut world = World::new("known-evil");
    let (bad, odd, old) = (
        called(&world, &DOCKER, "bad_data", "public").resource,
        called(&world, &DOCKER, "odd_data", "public").resource,
        called(&world, &DOCKER, "old_data", "public").resource,
    );
    let file = |volume: &Volume| world.directory(volume).join("volume.json");
    let (bad_file, odd_file, old_file) = (file(&bad), file(&odd), file(&old));
    let path = world.pool_path();
    lose_the_store(&mut world);
    edit(&bad_file, "\"name\": \"bad_data\"", "\"name\": \"../../etc\"");
    edit(&odd_file, "\"front\": \"docker\"", "\"front\": \"of-tomorrow\"");
    // As builds wrote it that knew nothing of it.
    let mut json: serde_json::Value = serde_json::from_str(&fs::read_to_string(&old_file).unwrap()).unwrap();
    json.as_object_mut().unwrap().remove("aliases").unwrap();
    fs::write(&old_file, json.to_string()).unwrap();
    world.start();
    let done = import(&world, &path);
    let refused = shown(&done, &bad);
    assert_eq!(refused.fate, ImportFate::Refused);
    assert!(refused.detail.as_ref().unwrap().contains("can't be the name of a volume"), "{refused:?}");
    for volume in [&odd, &old] {
        assert_eq!(
            (shown(&done, volume).fate, shown(&done, volume).aliases.len()),
            (ImportFate::Imported, 0)
        );
        same(&world, &DOCKER, volume.manifest.name.as_str(), volume);
    }
    assert!(found(&world, &DOCKER, "odd_data").is_none());
}

/// An orchestrator asks again by the names it asked by, and finds what it made.
#[test]
fn what_an_orchestrator_made_is_found_again() {
    require!(Part::Loop);
    let mut world = World::new("known-csi");
    let provision = |world: &World, external: &str, ephemeral: bool| {
        let request = ProvisionRequest {
            external: external.to_owned(),
            workspace: "public".parse().unwrap(),
            manifest: manifest("claim", "size: 16Mi, accessMode: ReadWriteOnce, type: temp"),
            size: SizeRange::default(),
            source: None,
            ephemeral,
        };
        world.engine().provision(&CSI, &request, PATIENCE).unwrap()
    };
    let take = |world: &World, external: &str, volume: &Volume| {
        let (external, name) = (external.to_owned(), "nightly".parse().unwrap());
        let request = TakeRequest { external, volume: volume.status.id, name, tags: Vec::new() };
        world.engine().take_snapshot(&CSI, &request, PATIENCE).unwrap()
    };
    let claim = provision(&world, "pvc-1", false).resource;
    let inline = provision(&world, "csi-inline", true).resource;
    let names = ["snap / \u{dc}nicode", "twice", "hers", "odd", "engine"];
    let made: Vec<_> = names.iter().map(|name| take(&world, name, &claim).resource).collect();
    let check = |world: &World| differences(&world.engine().check_pool(&ROOT, &default(), false).unwrap());
    assert_eq!(check(&world), []);
    let path = world.pool_path();
    let file = |number: usize| directory_of(&path, made[number].status.id).join("snapshot.json");
    lose_the_store(&mut world);
    edit(&file(2), "\"hers\"", "\"twice\"");
    edit(&file(3), "\"odd\"", "\"odd\\u0007\"");
    edit(&file(4), "\"front\": \"csi\"", "\"front\": \"docker\"");
    world.start();
    let done = import(&world, &path);
    let fates: Vec<_> = done.snapshots.iter().map(|snapshot| snapshot.fate).collect();
    use ImportFate::{Imported, Refused};
    assert_eq!(fates.iter().filter(|fate| **fate == Refused).count(), 1, "{done:#?}");
    assert_eq!(fates.iter().filter(|fate| **fate == Imported).count(), 4, "{done:#?}");
    let told = |number: usize| {
        let id = made[number].status.id.to_string();
        done.snapshots.iter().find(|shown| shown.directory == id).unwrap().detail.clone()
    };
    assert_eq!(told(2).as_deref(), Some("csi knows another snapshot as twice"));
    assert_eq!(told(4), None);

    let again = provision(&world, "pvc-1", false);
    assert_eq!((again.outcome, again.resource.status.id), (Outcome::Unchanged, claim.status.id));
    let again = provision(&world, "csi-inline", true);
    assert_eq!((again.outcome, again.resource.status.id), (Outcome::Unchanged, inline.status.id));
    assert!(again.resource.status.ephemeral && !world.by_id(&claim).unwrap().status.ephemeral);
    for number in [0, 1] {
        let again = take(&world, names[number], &claim);
        assert_eq!((again.outcome, again.resource.status.id), (Outcome::Unchanged, made[number].status.id));
    }
    assert_eq!(take(&world, "engine", &claim).outcome, Outcome::Created, "no engine names snapshots");
    // The one that was refused is what is still there.
    assert_eq!(check(&world), [Difference::Unaccounted]);
}

/// What an older build wrote has no names of fronts: it is written anew at the first start of this one.
#[test]
fn what_was_described_before_there_were_names_is_described_anew() {
    require!(Part::Loop, Part::Sqlite3);
    let mut world = World::new("known-older");
    let compose = called(&world, &DOCKER, "project_data", "public").resource;
    let snapshot = TakeRequest {
        external: "snap".to_owned(),
        volume: compose.status.id,
        name: "nightly".parse().unwrap(),
        tags: Vec::new(),
    };
    let snapshot = world.engine().take_snapshot(&CSI, &snapshot, PATIENCE).unwrap().resource;
    let files = [
        world.directory(&compose).join("volume.json"),
        directory_of(&world.pool_path(), snapshot.status.id).join("snapshot.json"),
    ];
    world.crash();
    for file in &files {
        let mut text: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        assert!(text.as_object_mut().unwrap().remove("aliases").is_some(), "{}", file.display());
        fs::write(file, serde_json::to_vec_pretty(&text).unwrap()).unwrap();
    }
    let forget = "DELETE FROM meta WHERE key = 'described'";
    run(std::process::Command::new("sqlite3").arg(world.config.state_dir.join("orlop.db")).arg(forget)).ok();
    world.start();
    let check = |world: &World| differences(&world.engine().check_pool(&ROOT, &default(), false).unwrap());
    // A check that looks at one just then keeps it from being written: it goes with the next start.
    let is_described = || files.iter().all(|file| fs::read_to_string(file).unwrap().contains("\"aliases\""));
    assert!(eventually(PATIENCE, is_described));
    assert_eq!(check(&world), []);
}
