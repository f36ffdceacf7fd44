//! After apply every engine knows the volume, and one that holds the name elsewhere is pointed out.

use orlop_testkit::{Part, command::run, daemon::binary, engines::Listed, require};

use crate::world::{cli_beside_docker, manifest, says, soon, volume, with_docker, with_podman};

fn listed(driver: &str, name: &str) -> Listed {
    Listed { driver: driver.to_owned(), name: name.to_owned() }
}

#[test]
fn docker_knows_what_was_applied() {
    require!(Part::Docker, Part::Loop);
    let world = with_docker("");
    let file = world.daemon.scratch().join("volumes.yaml");
    let text = [manifest("data", "ReadWriteMany", "persistent"), manifest("taken", "ReadWriteMany", "temp")];
    std::fs::write(&file, text.join("---\n")).unwrap();
    world.docker.run(["volume", "create", "taken"]).ok();
    let applied = cli_beside_docker(&world, &["apply", "-f", file.to_str().unwrap()]);
    let said = format!("{}{}", applied.stdout, applied.stderr);
    applied.ok();
    says(&said, &["taken", "local"]);
    let volumes = world.docker.volume_ls();
    assert!(volumes.contains(&listed("orlop", "data")), "{volumes:?}");
    assert!(
        volumes.contains(&listed("local", "taken")),
        "the other driver's volume is left alone: {volumes:?}"
    );
    // Registered, not created by Docker: it still is the manifest's.
    says(&world.docker.run(["volume", "rm", "data"]).fails(), &["declared by a manifest"]);
    let wide = cli_beside_docker(&world, &["get", "-t", "volume", "-o", "wide", "--all"]);
    says(&format!("{}{}", wide.stdout, wide.stderr), &["taken", "local"]);
}

#[test]
fn podman_knows_what_was_applied() {
    require!(Part::Podman, Part::Loop);
    let world = with_podman("");
    let cli = |args: &[&str]| {
        let mut command = world.podman.namespace().command(binary());
        run(command.args(args).env("ORLOP_SOCKET", world.daemon.socket()))
    };
    let file = world.daemon.scratch().join("volumes.yaml");
    let text = [manifest("data", "ReadWriteMany", "persistent"), manifest("taken", "ReadWriteMany", "temp")];
    std::fs::write(&file, text.join("---\n")).unwrap();
    world.podman.run(["volume", "create", "taken"]).ok();
    let applied = cli(&["apply", "-f", file.to_str().unwrap()]);
    let said = format!("{}{}", applied.stdout, applied.stderr);
    applied.ok();
    says(&said, &["Podman", "taken", "local"]);
    assert_eq!(world.podman.volume_ls(), [listed("local", "taken"), listed("orlop", "data")]);
    world.podman.container(&["--rm", "-v", "data:/data"], &["touch", "/data/x"]).ok();
    cli(&["delete", "-t", "volume", "-n", "data"]).ok();
    assert_eq!(world.podman.volume_ls(), [listed("local", "taken")], "what is deleted is forgotten");
    world.daemon.assert_nothing_left();
}

const HELD: [&str; 6] = ["-d", "--init", "--name", "one", "-v", "data:/data"];
const FORCE: [&str; 6] = ["delete", "-t", "volume", "-n", "data", "--force"];

#[test]
fn docker_forgets_by_itself_what_goes_later() {
    require!(Part::Docker, Part::Loop);
    let world = with_docker("");
    world.daemon.apply(&manifest("data", "ReadWriteMany", "temp")).ok();
    world.docker.container(&HELD, &["sleep", "600"]).ok();
    let deleted = cli_beside_docker(&world, &FORCE);
    says(&deleted.stdout, &["goes when its last user has gone"]);
    assert_eq!(deleted.stderr, "");
    assert_eq!(world.docker.volume_ls(), [listed("orlop", "data")], "its container still needs the name");
    world.docker.run(["rm", "-f", "one"]).ok();
    soon("the volume goes", || volume(&world.daemon, "data").is_null());
    assert_eq!(world.docker.volume_ls(), []);
    world.docker.run(["volume", "create", "data"]).ok();
    assert_eq!(world.docker.volume_ls(), [listed("local", "data")]);
}

#[test]
fn podman_keeps_what_goes_later_and_this_is_said() {
    require!(Part::Podman, Part::Loop);
    let world = with_podman("");
    let podman = &world.podman;
    world.daemon.apply(&manifest("data", "ReadWriteMany", "temp")).ok();
    podman.run(["volume", "create", "--driver", "orlop", "data"]).ok();
    podman.container(&HELD, &["sleep", "600"]).ok();
    let deleted = run(&mut world.daemon.client_within(podman.namespace(), FORCE));
    says(&deleted.stderr, &["Podman will go on knowing volume public/data as data", "podman volume reload"]);
    podman.run(["rm", "-f", "--time", "0", "one"]).ok();
    soon("the volume goes", || volume(&world.daemon, "data").is_null());
    says(&podman.run(["volume", "ls"]).fails(), &["there is no volume data", "podman volume reload"]);
    podman.run(["volume", "reload"]).ok();
    assert_eq!(podman.volume_ls(), []);
    world.daemon.assert_nothing_left();
}
