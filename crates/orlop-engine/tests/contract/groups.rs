//! Consumers of an orchestrator that come with groups of their own, on each filesystem, as processes
//! that are nobody special.

use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
};

use orlop_engine::*;
use orlop_model::{ErrorKind, resource::Volume};
use orlop_testkit::{Part, require};

use crate::harness::*;

/// Runs a script as a process of a pod: with a user and group of its own, and the pod's group besides.
fn by(uid: u32, group: u32, script: &str) -> Result<String, String> {
    let id = uid.to_string();
    let output = Command::new("setpriv")
        .args(["--reuid", &id, "--regid", &id, "--groups", &group.to_string()])
        .args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"])
        .args(["sh", "-ec", script])
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn publish(world: &World, volume: &Volume, pod: &str, group: u32) -> std::path::PathBuf {
    let form = Form::Filesystem { group: Some(group), options: Vec::new() };
    world.publish_as(volume, pod, |request| request.form = form).unwrap()
}

fn gid(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().gid()
}

/// Who is not root has to get to the targets, as through a container's own root.
fn open_to_all(world: &World) {
    let pods = world.mkdir("kubelet/pods");
    for directory in pods.ancestors().take_while(|path| path.starts_with(world.scratch())) {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn each_filesystem(name: &str, spec: &str, test: impl Fn(&World, &Volume)) {
    for (filesystem, size) in [("ext4", "64Mi"), ("xfs", "300Mi")] {
        let world = World::with(&format!("{name}-{filesystem}"), serve);
        open_to_all(&world);
        let spec =
            format!("size: {size}, accessMode: ReadWriteMany, type: temp, filesystem: {filesystem}{spec}");
        let volume = world.apply("data", &spec).unwrap().resource;
        world.stage(&volume).unwrap();
        test(&world, &volume);
        world.unstage(&volume).unwrap();
        world.assert_nothing_mounted();
    }
}

#[test]
fn two_pods_of_two_groups_share_what_either_writes() {
    require!(Part::Loop, Part::Xfs);
    each_filesystem("groups", "", |world, volume| {
        world.engine().maps_groups().unwrap();
        let one = publish(world, volume, "one", 2000);
        let two = publish(world, volume, "two", 4000);
        let plain = world.publish(volume, "plain").unwrap();
        for (path, group) in [(&one, 2000), (&two, 4000), (&plain, 0)] {
            assert_eq!((gid(path), std::fs::metadata(path).unwrap().mode() & 0o7777), (group, 0o2775));
        }
        let [a, b] = [&one, &two].map(|path| path.display().to_string());
        by(1000, 2000, &format!("umask 002; mkdir -p {a}/dir/sub; echo cargo > {a}/dir/sub/file")).unwrap();
        assert_eq!(by(1001, 4000, &format!("cd {b}/dir/sub; cat file; echo more >> file")).unwrap(), "cargo");
        assert_eq!(by(1000, 2000, &format!("cat {a}/dir/sub/file")).unwrap(), "cargo\nmore");
        by(1001, 4000, &format!("umask 002; mkdir {b}/dir/theirs; mv {b}/dir/sub/file {b}/dir/theirs"))
            .unwrap();
        by(1002, 2000, &format!("rm {a}/dir/theirs/file; touch {a}/dir/theirs/new")).unwrap();
        for (path, group) in [(&one, 2000), (&two, 4000), (&plain, 0)] {
            for below in ["dir", "dir/sub", "dir/theirs", "dir/theirs/new"] {
                assert_eq!(gid(&path.join(below)), group, "{}", path.join(below).display());
            }
        }
        assert_eq!(
            std::fs::metadata(one.join("dir/theirs/new")).unwrap().uid(),
            1002,
            "users are as they are"
        );
        // Who is in neither, or in the other's, is refused.
        for (group, place) in [(4000, &a), (2000, &b), (3000, &a), (1, &b)] {
            let refused = by(1003, group, &format!("touch {place}/dir/x")).unwrap_err();
            assert!(refused.contains("Permission denied"), "{group}: {refused}");
        }
        // All other groups are one to one, and what has a pod's own group on disk shows as the volume's.
        for (name, group) in [("g1", 1), ("g2000", 2000), ("g4000", 4000), ("g9", 4_294_967_294)] {
            std::fs::write(plain.join(name), "x").unwrap();
            std::os::unix::fs::chown(plain.join(name), None, Some(group)).unwrap();
        }
        let seen = |path: &Path| ["g1", "g2000", "g4000", "g9"].map(|name| gid(&path.join(name)));
        assert_eq!(seen(&one), [1, 0, 4000, 4_294_967_294]);
        assert_eq!(seen(&two), [1, 2000, 0, 4_294_967_294]);

        // The same again is nothing; another group at the same target is another use.
        publish(world, volume, "one", 2000);
        for group in [None, Some(4000)] {
            let form = Form::Filesystem { group, options: Vec::new() };
            fails(world.publish_as(volume, "one", |r| r.form = form), ErrorKind::AlreadyExists);
        }
        let none = Form::Filesystem { group: Some(u32::MAX), options: Vec::new() };
        fails(world.publish_as(volume, "none", |r| r.form = none), ErrorKind::InvalidArgument);
        for pod in ["one", "two", "plain"] {
            world.unpublish(volume, pod).unwrap();
        }
    });
}

#[test]
fn the_group_of_the_manifest_is_the_one_on_disk() {
    require!(Part::Loop, Part::Xfs);
    each_filesystem("own-group", ", gid: 3333, mode: 0750", |world, volume| {
        let reader = Form::Filesystem { group: Some(2000), options: Vec::new() };
        let reader = |request: &mut PublishRequest| (request.form, request.read_only) = (reader, true);
        let read = world.publish_as(volume, "reader", reader).unwrap();
        assert_eq!(std::fs::metadata(&read).unwrap().mode() & 0o7777, 0o750, "reading changes nothing");
        assert_eq!(gid(&read), 2000);
        let one = publish(world, volume, "one", 2000);
        let own = publish(world, volume, "own", 3333);
        let plain = world.publish(volume, "plain").unwrap();
        for (path, group) in [(&one, 2000), (&own, 3333), (&plain, 3333), (&read, 2000)] {
            assert_eq!((gid(path), std::fs::metadata(path).unwrap().mode() & 0o7777), (group, 0o2770));
        }
        by(1000, 2000, &format!("umask 007; echo cargo > {}/file", one.display())).unwrap();
        assert_eq!((gid(&plain.join("file")), gid(&own.join("file"))), (3333, 3333));
        for (path, group) in [(&own, 3333), (&plain, 3333), (&read, 2000)] {
            assert_eq!(by(1001, group, &format!("cat {}/file", path.display())).unwrap(), "cargo");
        }
        by(1001, 2000, &format!("cat {}/file", plain.display())).unwrap_err();
        assert!(
            by(1001, 2000, &format!("echo x > {}/file", read.display())).unwrap_err().contains("Read-only")
        );
        for pod in ["reader", "one", "own", "plain"] {
            world.unpublish(volume, pod).unwrap();
        }
    });
}
