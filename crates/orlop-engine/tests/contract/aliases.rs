//! The names by which container engines know volumes.

use orlop_engine::*;
use orlop_model::{
    AccessMode, ErrorKind, Size, VolumeType,
    resource::{Front, Outcome, VolumeState},
};
use orlop_testkit::{Part, require};

use crate::harness::*;

fn asked(external: &str) -> AliasedRequest {
    AliasedRequest {
        external: external.to_owned(),
        workspace: "public".parse().unwrap(),
        manifest: AliasedManifest { size: Some(Size::from_bytes(16 * MIB)), ..AliasedManifest::default() },
    }
}

fn create(
    world: &World,
    caller: &Caller,
    request: &AliasedRequest,
) -> orlop_model::Result<Applied<orlop_model::resource::Volume>> {
    world.engine().create_aliased(caller, request, PATIENCE)
}

#[test]
fn the_same_volume_is_found_for_ever_under_the_same_name() {
    require!(Part::Loop);
    let mut world = World::new("alias");
    let made = create(&world, &DOCKER, &asked("project_volume")).unwrap();
    assert_eq!(made.outcome, Outcome::Created);
    let volume = made.resource;
    assert!(volume.manifest.name.as_str().starts_with("project-volume-"), "{}", volume.manifest.name);
    assert_eq!(volume.status.created_by, Front::Docker);
    assert_eq!(
        (volume.access_mode(), volume.manifest.volume.volume_type),
        (AccessMode::ReadWriteMany, VolumeType::Persistent)
    );
    assert_eq!(create(&world, &DOCKER, &asked("project_volume")).unwrap().outcome, Outcome::Unchanged);
    world.restart();
    let found = world.engine().resolve(&DOCKER, "project_volume").unwrap().unwrap();
    assert_eq!(found.status.id, volume.status.id);
    assert!(
        world.engine().resolve(&PODMAN, "project_volume").unwrap().is_none(),
        "aliases are a front's own"
    );

    let names: Vec<_> = world.engine().aliased(&DOCKER).unwrap().into_iter().map(|it| it.external).collect();
    assert_eq!(names, ["project_volume"]);
    let names: Vec<_> = world.engine().aliased(&PODMAN).unwrap().into_iter().map(|it| it.external).collect();
    assert_eq!(names, [volume.manifest.name.to_string()]);
}

#[test]
fn what_exists_is_used_as_it_is_or_refused_by_each_difference() {
    require!(Part::Loop);
    let world = World::new("alias-differs");
    world.make("data", "ReadWriteOnce", "temp");
    assert_eq!(create(&world, &DOCKER, &asked("data")).unwrap().outcome, Outcome::Unchanged);
    let mut other = asked("data");
    other.manifest.size = Some(Size::from_bytes(32 * MIB));
    other.manifest.access_mode = Some(AccessMode::ReadWriteMany);
    let error = fails(create(&world, &DOCKER, &other), ErrorKind::AlreadyExists);
    for word in ["size (16Mi, not 32Mi)", "accessMode (ReadWriteOnce, not ReadWriteMany)"] {
        assert!(error.message.contains(word), "{error}");
    }
    for bad in ["", "../x", "a/b", "-a"] {
        fails(create(&world, &DOCKER, &asked(bad)), ErrorKind::InvalidArgument);
    }
}

#[test]
fn only_what_a_front_made_is_removed_by_it() {
    require!(Part::Loop);
    let world = World::new("alias-remove");
    world.make("declared", "ReadWriteMany", "persistent");
    create(&world, &PODMAN, &asked("declared")).unwrap();
    let error =
        fails(world.engine().remove_aliased(&PODMAN, "declared", PATIENCE), ErrorKind::PermissionDenied);
    assert!(error.message.contains("declared by a manifest: use orlop delete"), "{error}");
    create(&world, &DOCKER, &asked("made")).unwrap();
    fails(world.engine().remove_aliased(&PODMAN, "made", PATIENCE), ErrorKind::PermissionDenied);
    world.engine().remove_aliased(&DOCKER, "made", PATIENCE).unwrap();
    world.engine().remove_aliased(&DOCKER, "made", PATIENCE).unwrap();
    assert!(world.engine().resolve(&DOCKER, "made").unwrap().is_none());
    // Its data is retained, and the name makes a new one.
    let again = create(&world, &DOCKER, &asked("made")).unwrap();
    assert_eq!((again.outcome, again.resource.status.state), (Outcome::Created, VolumeState::Active));
}

#[test]
fn anonymous_volumes_are_scratch_and_other_workspaces_have_full_names() {
    require!(Part::Loop);
    let world = World::new("alias-anonymous");
    let anonymous = "0123456789abcdef".repeat(4);
    let made = create(&world, &DOCKER, &asked(&anonymous)).unwrap().resource;
    assert_eq!(made.manifest.volume.volume_type, VolumeType::Temp);
    world.engine().remove_aliased(&DOCKER, &anonymous, PATIENCE).unwrap();
    fails(world.by_id(&made), ErrorKind::NotFound);

    let team = "team".parse().unwrap();
    world.engine().put_workspace(&ROOT, &team, &WorkspaceRequest::default()).unwrap();
    let request = ApplyRequest {
        workspace: team,
        manifest: manifest("data", "size: 16Mi, accessMode: ReadWriteMany, type: temp"),
        create_workspace: false,
        set: None,
    };
    let made = world.engine().apply(&ROOT, &request).unwrap().resource;
    let found = world.engine().resolve(&DOCKER, "team.data").unwrap().unwrap();
    assert_eq!(found.status.id, made.status.id);
    assert!(world.engine().resolve(&DOCKER, "data").unwrap().is_none());
    assert_eq!(world.engine().aliased(&DOCKER).unwrap()[0].external, "team.data");
}

#[test]
fn a_volume_of_another_workspace_is_not_taken_for_the_one_that_is_asked_for() {
    require!(Part::Loop);
    let world = World::new("alias-workspace");
    let team: orlop_model::WorkspaceName = "team".parse().unwrap();
    world.engine().put_workspace(&ROOT, &team, &WorkspaceRequest::default()).unwrap();
    world.make("data", "ReadWriteMany", "temp");
    let asked = AliasedRequest { workspace: team, ..asked("data") };
    let error = fails(create(&world, &DOCKER, &asked), ErrorKind::AlreadyExists);
    assert!(error.message.contains("workspace (public, not team)"), "{error}");
    let elsewhere = AliasedRequest { external: "own".to_owned(), ..asked };
    create(&world, &DOCKER, &elsewhere).unwrap();
    assert_eq!(create(&world, &DOCKER, &elsewhere).unwrap().outcome, Outcome::Unchanged);
}

#[test]
fn fronts_that_ask_for_one_name_at_once_get_one_volume() {
    require!(Part::Loop);
    let world = World::new("alias-race");
    for round in 0..10 {
        let asked = asked(&format!("both{round}"));
        let made: Vec<_> = std::thread::scope(|scope| {
            let asking = [DOCKER, PODMAN].map(|front| {
                let (world, asked) = (&world, &asked);
                scope.spawn(move || create(world, &front, asked).unwrap().resource.status.id)
            });
            asking.into_iter().map(|asking| asking.join().unwrap()).collect()
        });
        assert_eq!(made[0], made[1]);
    }
}
