//! A name never falls through to another driver, whatever state the daemon is in.

use orlop_testkit::{Part, engines::Listed, require};

use crate::world::{manifest, says, with_docker, with_podman};

fn only(name: &str) -> Vec<Listed> {
    vec![Listed { driver: "orlop".to_owned(), name: name.to_owned() }]
}

#[test]
fn docker_without_the_daemon_makes_no_local_volume() {
    require!(Part::Docker, Part::Loop);
    let mut world = with_docker("");
    world.daemon.apply(&manifest("data", "ReadWriteMany", "persistent")).ok();
    world.docker.run(["volume", "create", "-d", "orlop", "data"]).ok();
    world.daemon.stop();
    says(&world.docker.container(&["--rm", "-v", "data:/data"], &["true"]).fails(), &["data", "orlop"]);
    world.daemon.restart();
    assert_eq!(world.docker.volume_ls(), only("data"));
    world.docker.container(&["--rm", "-v", "data:/data"], &["touch", "/data/x"]).ok();
    world.daemon.assert_nothing_left();
}

#[test]
fn podman_without_the_daemon_makes_no_local_volume() {
    require!(Part::Podman, Part::Loop);
    let mut world = with_podman("");
    world.daemon.apply(&manifest("data", "ReadWriteMany", "persistent")).ok();
    world.podman.run(["volume", "create", "--driver", "orlop", "data"]).ok();
    world.daemon.stop();
    says(&world.podman.container(&["--rm", "-v", "data:/data"], &["true"]).fails(), &["data", "orlop"]);
    world.daemon.restart();
    assert_eq!(world.podman.volume_ls(), only("data"));
    world.podman.container(&["--rm", "-v", "data:/data"], &["touch", "/data/x"]).ok();
    world.daemon.assert_nothing_left();
}
