//! The container image: what its recipe collects is all that the daemon needs, and a container that
//! takes the place of another finds the volumes in use as they were. A private Docker is the node.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use orlop_testkit::{
    Docker, Part, Ran, Scratch, command::eventually, daemon::binary, mounts::mounts_of, require, run,
};

const IMAGE: &str = "localhost/orlop";
const START: Duration = Duration::from_secs(60);

/// What the daemon needs of a privileged container. Not all of what `--privileged` gives: a machine
/// that is itself a container can't give that.
const RIGHTS: [&str; 16] = [
    "--cap-drop=ALL",
    "--cap-add=SYS_ADMIN",
    "--cap-add=SYS_PTRACE",
    "--cap-add=SYS_CHROOT",
    "--cap-add=MKNOD",
    "--cap-add=CHOWN",
    "--cap-add=DAC_OVERRIDE",
    "--cap-add=DAC_READ_SEARCH",
    "--cap-add=FOWNER",
    "--cap-add=FSETID",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--security-opt=systempaths=unconfined",
    "--device-cgroup-rule=b *:* rwm",
    "--device-cgroup-rule=c *:* rwm",
    "--volume=/dev:/dev",
];

/// A node, with the directories that the deployment shares with it. Docker ends first.
struct Node {
    docker: Docker,
    scratch: Scratch,
}

impl Node {
    fn start() -> Self {
        let scratch = Scratch::new("node");
        let docker = Docker::start();
        docker.import_busybox();
        for below in ["state", "pools", "run", "targets"] {
            scratch.mkdir(below);
        }
        // As systemd makes `/` of a node: what is mounted here is passed on.
        for mode in ["--bind", "--make-shared"] {
            let mut mount = docker.namespace().command("mount");
            run(mount.arg(mode).args(vec![scratch.path(); if mode == "--bind" { 2 } else { 1 }])).ok();
        }
        let root = scratch.join("image");
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/container");
        let mut collect = Command::new(recipe.join("collect.sh"));
        run(collect.arg(recipe.join("programs")).arg(&root).arg(binary())).ok();
        let tar = scratch.join("image.tar");
        run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".")).ok();
        let change = ["--change", "ENTRYPOINT [\"orlop\"]", "--change", "ENV PATH=/usr/sbin:/usr/bin"];
        docker.run(["import"].iter().chain(&change).chain(&[&*tar.display().to_string(), IMAGE])).ok();
        Self { docker, scratch }
    }

    /// Starts the daemon's container as the DaemonSet does, and waits until the daemon is ready.
    fn daemon(&self, name: &str) {
        let path = |below: &str| self.scratch.join(below).display().to_string();
        let volume = |below: &str| format!("--volume={0}:{0}:rshared", path(below));
        let volumes = ["state", "pools", "run", "targets"].map(volume);
        let fixed = ["run", "-d", "--network=none", "--pid=host", "--read-only", "--hostname=node"];
        let named = [format!("--name={name}"), format!("--env=ORLOP_SOCKET={}", path("run/orlop.sock"))];
        let flags = [format!("--state-dir={}", path("state")), format!("--run-dir={}", path("run"))];
        let words = fixed.iter().chain(&RIGHTS).map(ToString::to_string).chain(named).chain(volumes);
        let words: Vec<String> = words.chain([IMAGE.to_owned(), "serve".to_owned()]).chain(flags).collect();
        self.docker.run(&words).ok();
        let ready = || self.orlop(name, &["status"]).stdout.contains("ready:   yes");
        assert!(eventually(START, ready), "{}", self.docker.run(["logs", name]));
    }

    /// Runs the command line in the daemon's container.
    fn orlop(&self, name: &str, words: &[&str]) -> Ran {
        self.docker.run(["exec", name, "orlop"].iter().chain(words))
    }

    fn target(&self, name: &str) -> String {
        self.scratch.mkdir(format!("targets/{name}")).display().to_string()
    }

    /// The mounts of volumes that the node sees.
    fn mounts(&self) -> Vec<PathBuf> {
        let seen = mounts_of(&self.docker.namespace().first().to_string());
        let ours = seen.into_iter().map(|mount| mount.target);
        ours.filter(|target| target != self.scratch.path() && target.starts_with(self.scratch.path()))
            .collect()
    }

    /// How much the container `writer` has written to the volume mounted in `target`.
    fn written(&self, target: &str) -> u64 {
        let size = format!("stat -c %s {target}/log");
        run(self.docker.namespace().command("sh").args(["-c", &size])).ok().parse().unwrap()
    }

    fn assert_goes_on(&self, targets: &[String]) {
        for target in targets {
            let before = self.written(target);
            assert!(eventually(START, || self.written(target) > before), "nobody writes to {target}");
        }
    }
}

fn manifest(name: &str, size: &str, pool: &str) -> String {
    format!(
        "name: {name}\nversion: v1beta\ntype: volume\n\
         volume: {{size: {size}, accessMode: ReadWriteMany, type: persistent, pool: {pool}}}\n"
    )
}

#[test]
fn the_image_has_the_programs_and_each_finds_its_libraries() {
    require!(Part::Loop, Part::Xfs, Part::Docker);
    let node = Node::start();
    // An absent library ends a program with 127, as an absent program does.
    let script = "for p in /usr/bin/* /usr/sbin/*; do [ $p = /usr/bin/sh ] && continue; \
                  $p -V </dev/null >/dev/null 2>&1; [ $? -lt 126 ] && echo ${p##*/}; done";
    let run = ["run", "--rm", "--network=none", "--entrypoint=sh", IMAGE, "-c", script];
    let said = node.docker.run(run).ok();
    let mut work: Vec<&str> = said.lines().collect();
    work.sort_unstable();
    let list =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/container/programs"));
    let list = list.unwrap();
    let words = list.lines().filter_map(|line| line.split('#').next()?.split(' ').next());
    let mut listed: Vec<&str> = words.filter(|name| !name.is_empty() && *name != "sh").collect();
    listed.push("orlop");
    listed.sort_unstable();
    assert_eq!(work, listed);
}

#[test]
fn a_container_takes_over_what_another_mounted() {
    require!(Part::Loop, Part::Xfs, Part::Docker);
    let node = Node::start();
    node.daemon("first");
    // A pool with a filesystem of its own, which the daemon mounts.
    let image = node.scratch.join("pools/own.img").display().to_string();
    node.orlop("first", &["pool", "create", "own", "--image", &image, "--size", "512Mi"]).ok();
    let file = node.scratch.join("targets/volumes.yaml").display().to_string();
    let both = [manifest("small", "64Mi", "own"), manifest("large", "1Gi", "default")];
    fs::write(&file, both.join("---\n")).unwrap();
    node.orlop("first", &["apply", "-f", &file]).ok();
    // Made, grown and checked by the programs of the image alone.
    fs::write(&file, manifest("small", "128Mi", "own")).unwrap();
    node.orlop("first", &["apply", "-f", &file]).ok();
    for name in ["small", "large"] {
        node.orlop("first", &["volume", "fsck", "-n", name]).ok();
    }

    let targets = [node.target("small"), node.target("large")];
    for (name, target) in ["small", "large"].iter().zip(&targets) {
        node.orlop("first", &["mount", "-n", name, target]).ok();
    }
    let mounts = node.mounts();
    assert_eq!(
        mounts.len(),
        5,
        "the pool, and a base and a target for each are seen by the node: {mounts:?}"
    );
    let volumes: Vec<String> =
        ["a", "b"].iter().zip(&targets).map(|(at, from)| format!("-v={from}:/{at}")).collect();
    let write = "while echo x >>/a/log && echo x >>/b/log; do sleep 0.1; done";
    node.docker.container(&["-d", "--name=writer", &volumes[0], &volumes[1]], &["sh", "-c", write]).ok();
    let begun = || node.docker.run(["exec", "writer", "test", "-e", "/b/log"]).success();
    assert!(eventually(START, begun), "nothing is written");

    // A rolling update, and a crash.
    for (end, old, new) in [("stop", "first", "second"), ("kill", "second", "third")] {
        node.docker.run([end, old]).ok();
        node.docker.run(["rm", old]).ok();
        assert_eq!(node.mounts(), mounts, "the mounts are the kernel's, not the container's");
        node.assert_goes_on(&targets);
        node.daemon(new);
        assert_eq!(node.mounts(), mounts);
        node.assert_goes_on(&targets);
    }

    node.docker.run(["rm", "-f", "writer"]).ok();
    for target in &targets {
        node.orlop("third", &["unmount", target]).ok();
    }
    assert!(eventually(START, || node.mounts().len() == 1), "all but the pool: {:?}", node.mounts());
    let shown = node.orlop("third", &["get", "-t", "volume"]).ok();
    assert_eq!(shown.matches("idle").count(), 2, "{shown}");
}

#[test]
fn without_the_nodes_process_ids_it_is_not_ready() {
    require!(Part::Loop, Part::Docker);
    let node = Node::start();
    let path = |below: &str| node.scratch.join(below).display().to_string();
    let (state, run) = (path("state"), path("run"));
    let volumes = [format!("--volume={state}:{state}"), format!("--volume={run}:{run}:rshared")];
    let socket = format!("--env=ORLOP_SOCKET={run}/orlop.sock");
    let words = ["run", "-d", "--network=none", "--name=alone", &volumes[0], &volumes[1], &socket];
    let serve = [IMAGE, "serve", "--state-dir", &state, "--run-dir", &run];
    node.docker.run(words.iter().chain(&RIGHTS).chain(&serve)).ok();
    let says = |what: &str| {
        let said = node.orlop("alone", &["status"]);
        format!("{}{}", said.stdout, said.stderr).contains(what)
    };
    assert!(eventually(START, || says("process ids")), "{}", node.orlop("alone", &["status"]));
}
