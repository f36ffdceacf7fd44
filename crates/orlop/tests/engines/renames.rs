//! A volume gets another name, and the engines follow: none is left with a name that means nothing.

use orlop_testkit::{Part, command::run, daemon::binary, require};

use crate::world::{cli_beside_docker, manifest, says, volume, with_docker, with_podman};

#[test]
fn docker_follows_a_rename_unless_a_container_knows_the_old_name() {
    require!(Part::Docker, Part::Loop);
    let world = with_docker("");
    let file = world.daemon.scratch().join("data.yaml");
    std::fs::write(&file, manifest("data", "ReadWriteMany", "persistent")).unwrap();
    cli_beside_docker(&world, &["apply", "-f", file.to_str().unwrap()]).ok();
    let docker = &world.docker;
    docker.container(&["--name", "one", "-v", "data:/data"], &["sh", "-c", "echo kept > /data/note"]).ok();
    // It has ended, and would come back for the volume by that name.
    let rename = ["rename", "-n", "data", "--to", "archive"];
    says(
        &cli_beside_docker(&world, &rename).fails(),
        &["container one of Docker", "remove those containers"],
    );
    docker.run(["rm", "one"]).ok();
    // Without a word with Docker it is refused.
    let unasked = [&rename[..], &["--no-register"]].concat();
    says(&world.daemon.cli(unasked).fails(), &["Docker knows volume public/data"]);
    cli_beside_docker(&world, &rename).ok();
    let names: Vec<String> = docker.volume_ls().into_iter().map(|listed| listed.name).collect();
    assert_eq!(names, ["archive"]);
    let read = docker.container(&["--rm", "-v", "archive:/data"], &["cat", "/data/note"]).ok();
    assert_eq!(read, "kept");
    assert_eq!(volume(&world.daemon, "archive")["status"]["createdBy"], "manifest");

    // Deleted and brought back, Docker knows it again.
    cli_beside_docker(&world, &["delete", "-n", "archive"]).ok();
    assert!(docker.volume_ls().is_empty(), "{:?}", docker.volume_ls());
    cli_beside_docker(&world, &["undelete", "-n", "archive"]).ok();
    let read = docker.container(&["--rm", "-v", "archive:/data"], &["cat", "/data/note"]).ok();
    assert_eq!(read, "kept");
}

#[test]
fn podman_follows_a_rename_unless_a_container_knows_the_old_name() {
    require!(Part::Podman, Part::Loop);
    let world = with_podman("");
    let cli = |args: &[&str]| {
        let mut command = world.podman.namespace().command(binary());
        run(command.args(args).env("ORLOP_SOCKET", world.daemon.socket()))
    };
    let file = world.daemon.scratch().join("data.yaml");
    std::fs::write(&file, manifest("data", "ReadWriteMany", "persistent")).unwrap();
    cli(&["apply", "-f", file.to_str().unwrap()]).ok();
    let podman = &world.podman;
    podman.container(&["--name", "one", "-v", "data:/data"], &["sh", "-c", "echo kept > /data/note"]).ok();
    let rename = ["rename", "-n", "data", "--to", "archive"];
    says(&cli(&rename).fails(), &["container one of Podman", "remove those containers"]);
    podman.run(["rm", "one"]).ok();
    cli(&rename).ok();
    let names: Vec<String> = podman.volume_ls().into_iter().map(|listed| listed.name).collect();
    assert_eq!(names, ["archive"]);
    let read = podman.container(&["--rm", "-v", "archive:/data"], &["cat", "/data/note"]).ok();
    assert_eq!(read, "kept");
}
