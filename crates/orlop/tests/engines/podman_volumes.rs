//! Volumes used through Podman, which mounts once for all its containers.

use orlop_testkit::{Part, process::kill9, require};

use crate::world::{STALE_SOON, attachments, manifest, says, soon, volume, with_podman};

#[test]
fn podman_pod_shares_a_volume() {
    require!(Part::Podman, Part::Loop);
    let world = with_podman("");
    let podman = &world.podman;
    let create = ["volume", "create", "--driver", "orlop", "-o", "size=64Mi"];
    podman
        .run(create.into_iter().chain(["-o", "accessMode=ReadWriteMany", "-o", "type=temp", "shared"]))
        .ok();
    podman.run(["pod", "create", "--infra=false", "pod"]).ok();
    let member = |name: &str, script: &str| {
        let options =
            ["run", "-d", "--pod", "pod", "--network", "none", "--name", name, "-v", "shared:/data"];
        let image = orlop_testkit::engines::IMAGE;
        podman.run(options.into_iter().chain([image, "sh", "-c", script])).ok();
    };
    member("writer", "echo hello > /data/note; sleep 600");
    member("reader", "sleep 600");
    soon("the second container reads what the first wrote", || {
        podman.run(["exec", "reader", "cat", "/data/note"]).stdout == "hello\n"
    });
    let holders = attachments(&world.daemon, "shared");
    assert_eq!(holders.len(), 1, "one scope for the whole host: {holders:?}");

    podman.run(["pod", "rm", "-f", "-t", "0", "pod"]).ok();
    world.daemon.assert_nothing_left();
    let read = podman.container(&["--rm", "-v", "shared:/data"], &["cat", "/data/note"]).ok();
    assert_eq!(read, "hello");
    podman.run(["volume", "rm", "shared"]).ok();
    assert!(volume(&world.daemon, "shared").is_null());
    world.daemon.assert_nothing_left();
}

#[test]
fn podman_crash_of_a_container_leaves_nothing_for_ever() {
    require!(Part::Podman, Part::Loop);
    let world = with_podman(STALE_SOON);
    let podman = &world.podman;
    world.daemon.apply(&manifest("solo", "ReadWriteOnce", "persistent")).ok();
    podman.run(["volume", "create", "--driver", "orlop", "solo"]).ok();
    let write = "echo kept > /data/note; sync; sleep 600";
    podman.container(&["-d", "--name", "first", "-v", "solo:/data"], &["sh", "-c", write]).ok();
    soon("the first container writes", || {
        podman.run(["exec", "first", "cat", "/data/note"]).stdout == "kept\n"
    });
    let pid = podman.container_pid("first");
    podman.kill_conmon("first");
    kill9(pid);

    // Podman believes it has the volume mounted still and asks nobody.
    let second = podman.container(&["--rm", "-v", "solo:/data"], &["cat", "/data/note"]).ok();
    assert_eq!(second, "kept");
    assert_eq!(attachments(&world.daemon, "solo").len(), 1, "no Unmount has come");

    // Nobody uses it by the kernel, so what Podman forgot does not keep it from being deleted.
    soon("delete is not refused for ever", || {
        world.daemon.cli(["delete", "-t", "volume", "-w", "public", "-n", "solo"]).success()
    });
    world.daemon.assert_nothing_left();

    // Nor may a container write into the bare directory that is left where the volume was.
    podman.container(&["--rm", "-v", "solo:/data"], &["touch", "/data/lost"]).fails();
}

#[test]
fn podman_read_write_once_is_per_host_and_says_so() {
    require!(Part::Podman, Part::Loop);
    let world = with_podman("");
    let podman = &world.podman;
    world.daemon.apply(&manifest("solo", "ReadWriteOnce", "persistent")).ok();
    world.daemon.apply(&manifest("pod-only", "ReadWriteOncePod", "persistent")).ok();
    for name in ["solo", "pod-only"] {
        podman.run(["volume", "create", "--driver", "orlop", name]).ok();
    }
    for name in ["one", "two"] {
        podman.container(&["-d", "--name", name, "-v", "solo:/data"], &["sleep", "600"]).ok();
    }
    let notes = volume(&world.daemon, "solo")["status"]["notes"].to_string();
    says(&notes, &["ReadWriteOnce", "host"]);
    let refusal = podman.container(&["--rm", "-v", "pod-only:/data"], &["true"]).fails();
    says(&refusal, &["pod-only", "ReadWriteOncePod", "podman"]);
    podman.run(["rm", "-f", "-t", "0", "one", "two"]).ok();
    world.daemon.assert_nothing_left();
}

#[test]
fn podman_and_docker_exclude_each_other() {
    require!(Part::Podman, Part::Docker, Part::Loop);
    let world = with_podman("");
    let docker = crate::world::docker_for(&world.daemon);
    world.daemon.apply(&manifest("solo", "ReadWriteOnce", "persistent")).ok();
    world.podman.run(["volume", "create", "--driver", "orlop", "solo"]).ok();
    docker.run(["volume", "create", "-d", "orlop", "solo"]).ok();
    world.podman.container(&["-d", "--name", "one", "-v", "solo:/data"], &["sleep", "600"]).ok();
    says(&docker.container(&["--rm", "-v", "solo:/data"], &["true"]).fails(), &["solo", "podman"]);
    world.podman.run(["rm", "-f", "-t", "0", "one"]).ok();
    docker.container(&["--rm", "-v", "solo:/data"], &["true"]).ok();
}
