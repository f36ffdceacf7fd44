//! Access modes as Docker meets them: holders, two targets, and ids that went stale in a crash.

use std::time::Duration;

use orlop_testkit::{Docker, OrlopDaemon, Part, command::eventually, process::alive, require};

use crate::world::{STALE_SOON, WithDocker, attachments, manifest, says, soon, with_docker};

fn register(docker: &Docker, name: &str) {
    docker.run(["volume", "create", "-d", "orlop", name]).ok();
}

#[test]
fn docker_second_container_is_refused_and_told_who_has_it() {
    require!(Part::Docker, Part::Loop);
    let world = with_docker("");
    let docker = &world.docker;
    world.daemon.apply(&manifest("solo", "ReadWriteOnce", "persistent")).ok();
    register(docker, "solo");
    docker.container(&["-d", "--init", "--name", "first", "-v", "solo:/data"], &["sleep", "600"]).ok();
    let holder = attachments(&world.daemon, "solo");
    assert_eq!(holder.len(), 1, "{holder:?}");
    let holder = holder[0]["consumer"].as_str().unwrap().to_owned();

    let refusal = docker.container(&["--rm", "-v", "solo:/data"], &["true"]).fails();
    says(&refusal, &["solo", "ReadWriteOnce", &holder, "counts as two"]);

    docker.run(["rm", "-f", "first"]).ok();
    docker.container(&["--rm", "-v", "solo:/data"], &["true"]).ok();
    world.daemon.assert_nothing_left();
}

#[test]
fn docker_two_targets_of_one_container_count_as_two() {
    require!(Part::Docker, Part::Loop);
    let world = with_docker("");
    let docker = &world.docker;
    world.daemon.apply(&manifest("solo", "ReadWriteOnce", "persistent")).ok();
    world.daemon.apply(&manifest("many", "ReadWriteMany", "persistent")).ok();
    register(docker, "solo");
    register(docker, "many");
    let refusal = docker.container(&["--rm", "-v", "solo:/a", "-v", "solo:/b"], &["true"]).fails();
    says(&refusal, &["solo", "ReadWriteOnce", "two targets counts as two"]);
    soon("the first of both mounts is given back", || attachments(&world.daemon, "solo").is_empty());
    docker.container(&["--rm", "-v", "many:/a", "-v", "many:/b"], &["touch", "/a/x", "/b/y"]).ok();
    world.daemon.assert_nothing_left();
}

#[test]
fn docker_read_only_many_is_read_only_for_all() {
    require!(Part::Docker, Part::Loop);
    let world = with_docker("");
    let docker = &world.docker;
    world.daemon.apply(&manifest("facts", "ReadOnlyMany", "persistent")).ok();
    register(docker, "facts");
    docker.container(&["-d", "--init", "--name", "reader", "-v", "facts:/data"], &["sleep", "600"]).ok();
    says(&docker.run(["exec", "reader", "touch", "/data/x"]).fails(), &["Read-only file system"]);
    docker.container(&["--rm", "-v", "facts:/data"], &["ls", "/data"]).ok();
}

/// Kills dockerd under a container with a ReadWriteOnce volume and brings it back. The container is
/// gone then, and Docker never says so.
fn crash_under_a_holder(daemon: &OrlopDaemon, docker: &mut Docker) {
    daemon.apply(&manifest("solo", "ReadWriteOnce", "persistent")).ok();
    register(docker, "solo");
    let write = "echo kept > /data/note; sync; sleep 600";
    let holder = ["-d", "--init", "--name", "holder", "-v", "solo:/data"];
    docker.container(&holder, &["sh", "-c", write]).ok();
    soon("the holder writes", || docker.run(["exec", "holder", "cat", "/data/note"]).stdout == "kept\n");
    let pid = docker.container_pid("holder");
    docker.crash();
    assert!(alive(pid), "the container survives the crash");
    docker.restart();
    docker.run(["rm", "-f", "holder"]).ok();
    assert_eq!(attachments(daemon, "solo").len(), 1, "no Unmount has come");
}

#[test]
fn docker_crash_leaves_an_id_that_goes_stale() {
    require!(Part::Docker, Part::Loop);
    let mut world = with_docker(STALE_SOON);
    crash_under_a_holder(&world.daemon, &mut world.docker);
    let docker = &world.docker;
    soon("the next container gets the volume", || {
        docker.container(&["--rm", "-v", "solo:/data"], &["cat", "/data/note"]).stdout == "kept\n"
    });
    assert_eq!(attachments(&world.daemon, "solo").len(), 0);
    world.daemon.assert_nothing_left();
    world.daemon.cli(["delete", "-t", "volume", "-w", "public", "-n", "solo"]).ok();
}

#[test]
fn docker_crash_is_over_after_half_a_minute_by_default() {
    require!(Part::Docker, Part::Loop);
    let WithDocker { daemon, mut docker } = with_docker("");
    crash_under_a_holder(&daemon, &mut docker);
    let got = eventually(Duration::from_secs(45), || {
        docker.container(&["--rm", "-v", "solo:/data"], &["cat", "/data/note"]).stdout == "kept\n"
    });
    assert!(got, "the stale id still holds the volume: {:?}", attachments(&daemon, "solo"));
    drop(docker);
    daemon.assert_nothing_left();
}

#[test]
fn docker_crash_does_not_take_the_volume_from_a_container_that_lives() {
    require!(Part::Docker, Part::Loop);
    let daemon = OrlopDaemon::builder().config(STALE_SOON).start();
    let mut docker = Docker::builder().live_restore().plugin("orlop", daemon.docker_socket()).start();
    docker.import_busybox();
    daemon.apply(&manifest("solo", "ReadWriteOnce", "persistent")).ok();
    register(&docker, "solo");
    docker.container(&["-d", "--init", "--name", "holder", "-v", "solo:/data"], &["sleep", "600"]).ok();
    docker.crash();
    docker.restart();
    std::thread::sleep(Duration::from_millis(1500));
    says(&docker.container(&["--rm", "-v", "solo:/data"], &["true"]).fails(), &["solo", "ReadWriteOnce"]);
    docker.run(["exec", "holder", "touch", "/data/alive"]).ok();
    says(&daemon.cli(["delete", "-t", "volume", "-w", "public", "-n", "solo"]).fails(), &["solo", "in use"]);
}
