//! Access modes as Podman meets them: it remembers where a volume is, and may ask nobody.

use orlop_testkit::{
    Docker, OrlopDaemon, Part, Podman,
    mounts::mounts_below_anywhere,
    process::{alive, kill9},
    require,
};

use crate::world::{STALE_SOON, attachments, docker_for, manifest, says, soon, with_podman};

/// Who has the volume, by the daemon's records.
fn fronts(daemon: &OrlopDaemon) -> Vec<String> {
    attachments(daemon, "solo").iter().map(|holder| holder["front"].as_str().unwrap().to_owned()).collect()
}

fn read(podman: &Podman) -> orlop_testkit::Ran {
    podman.container(&["--rm", "-v", "solo:/data"], &["cat", "/data/note"])
}

/// A ReadWriteOnce volume that Podman had, whose container and monitor were killed, and that a Docker
/// container has taken. Podman still counts it as mounted, and will mount it for the next container
/// without asking.
fn taken_over(daemon: &OrlopDaemon, podman: &Podman) -> Docker {
    let docker = docker_for(daemon);
    daemon.apply(&manifest("solo", "ReadWriteOnce", "persistent")).ok();
    podman.run(["volume", "create", "--driver", "orlop", "solo"]).ok();
    docker.run(["volume", "create", "-d", "orlop", "solo"]).ok();
    let write = "echo kept > /data/note; sync; sleep 600";
    podman.container(&["-d", "--name", "killed", "-v", "solo:/data"], &["sh", "-c", write]).ok();
    soon("the container writes", || podman.run(["exec", "killed", "cat", "/data/note"]).stdout == "kept\n");
    let pid = podman.container_pid("killed");
    podman.kill_conmon("killed");
    kill9(pid);
    soon("Docker gets the volume", || {
        let taker = ["-d", "--init", "--name", "taker", "-v", "solo:/data"];
        let taken = docker.container(&taker, &["sleep", "600"]).success();
        taken || !docker.run(["rm", "-f", "taker"]).success()
    });
    assert_eq!(fronts(daemon), ["docker"]);
    docker
}

/// Podman's next container does not start: not on the volume, and not on an empty directory.
#[track_caller]
fn nowhere(daemon: &OrlopDaemon, podman: &Podman) {
    let spoil = ["sh", "-c", "echo shared > /data/note"];
    let refusal = podman.container(&["--rm", "-v", "solo:/data"], &spoil).fails();
    says(&refusal, &["/podman/data", "no such file or directory"]);
    let theirs = |mount: &orlop_testkit::mounts::Mount| mount.target.ends_with("podman");
    let mounted = mounts_below_anywhere(&daemon.mount_dir());
    assert!(!mounted.iter().any(theirs), "{mounted:?}");
}

#[test]
fn podman_does_not_share_what_docker_took_after_a_crash() {
    require!(Part::Podman, Part::Docker, Part::Loop);
    let mut world = with_podman(STALE_SOON);
    let docker = taken_over(&world.daemon, &world.podman);
    nowhere(&world.daemon, &world.podman);
    assert_eq!(docker.run(["exec", "taker", "cat", "/data/note"]).ok(), "kept");

    // Nor after a restart of the daemon, which leaves the Docker container its volume.
    world.daemon.kill9();
    world.daemon.restart();
    let (podman, daemon) = (&world.podman, &world.daemon);
    assert_eq!(fronts(daemon), ["docker"]);
    nowhere(daemon, podman);
    assert_eq!(docker.run(["exec", "taker", "cat", "/data/note"]).ok(), "kept");

    // The killed container removed, Podman asks again, and is told who has the volume.
    podman.run(["rm", "-f", "-t", "0", "killed"]).ok();
    says(&read(podman).fails(), &["solo", "ReadWriteOnce", "in use by docker mount"]);
    docker.run(["rm", "-f", "taker"]).ok();
    assert_eq!(read(podman).ok(), "kept");
    daemon.assert_nothing_left();
}

#[test]
fn podman_has_the_volume_again_when_it_asks_again() {
    require!(Part::Podman, Part::Docker, Part::Loop);
    let world = with_podman(STALE_SOON);
    let (podman, daemon) = (&world.podman, &world.daemon);
    let docker = taken_over(daemon, podman);
    docker.run(["rm", "-f", "taker"]).ok();
    assert_eq!(fronts(daemon), [""; 0]);
    // It still counts the killed container, which is left in its list.
    nowhere(daemon, podman);
    podman.run(["volume", "unmount", "solo"]).ok();
    let next = ["-d", "--name", "next", "-v", "solo:/data"];
    podman.container(&next, &["sleep", "600"]).ok();
    assert_eq!(fronts(daemon), ["podman"]);
    assert_eq!(podman.run(["exec", "next", "cat", "/data/note"]).ok(), "kept");
    // The count is off by the killed one, which takes nothing from the one that runs.
    podman.run(["rm", "-f", "-t", "0", "killed"]).ok();
    assert_eq!(podman.run(["exec", "next", "cat", "/data/note"]).ok(), "kept");
    assert!(alive(podman.container_pid("next")));
    podman.run(["rm", "-f", "-t", "0", "next"]).ok();
    daemon.assert_nothing_left();
}
