//! Volumes made and used through Docker: options, sharing, size, names.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use orlop_testkit::{Part, daemon::binary, engines::IMAGE, require, run};
use serde_json::json;

use crate::world::{cli_beside_docker, says, soon, volume, with_docker};

const MEBI: u64 = 1 << 20;

#[test]
fn docker_shares_a_volume_that_outlives_its_containers() {
    require!(Part::Docker, Part::Loop);
    let world = with_docker("");
    let docker = &world.docker;
    let options = ["size=64Mi", "type=temp", "accessMode=ReadWriteMany", "uid=1000", "mode=0750"];
    let flags = options.iter().flat_map(|option| ["-o", option]);
    docker.run(["volume", "create", "-d", "orlop"].into_iter().chain(flags).chain(["shared"])).ok();

    let write = "echo from-one > /data/note; sleep 600";
    let one = ["-d", "--init", "--name", "one", "-v", "shared:/data", "--user", "app"];
    docker.container(&one, &["sh", "-c", write]).ok();
    docker.container(&["-d", "--init", "--name", "two", "-v", "shared:/data"], &["sleep", "600"]).ok();
    soon("the second container reads what the first wrote", || {
        docker.run(["exec", "two", "cat", "/data/note"]).stdout == "from-one\n"
    });
    let inspected = docker.run(["volume", "inspect", "-f", "{{json .}}", "shared"]).ok();
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    let status = &inspected["Status"];
    assert_eq!(status["size"], "64Mi");
    assert_eq!(status["accessMode"], "ReadWriteMany");
    assert_eq!(status["capacity"], "hard");
    assert_eq!(status["createdBy"], "docker");
    assert_eq!(status["attachments"], 2);
    assert!(
        inspected["Mountpoint"].as_str().unwrap().starts_with(world.daemon.mount_dir().to_str().unwrap())
    );
    assert_eq!(docker.run(["exec", "one", "stat", "-c", "%u %a", "/data"]).ok(), "1000 750");

    docker.run(["rm", "-f", "one", "two"]).ok();
    world.daemon.assert_nothing_left();
    assert_eq!(docker.container(&["--rm", "-v", "shared:/data"], &["cat", "/data/note"]).ok(), "from-one");

    docker.run(["volume", "rm", "shared"]).ok();
    assert!(volume(&world.daemon, "shared").is_null());
    world.daemon.assert_nothing_left();
}

#[test]
fn docker_sees_the_size_and_its_limit() {
    require!(Part::Docker, Part::Loop);
    let world = with_docker("");
    let docker = &world.docker;
    let create = ["volume", "create", "-d", "orlop", "-o", "size=64Mi", "-o", "type=temp"];
    docker.run(create.into_iter().chain(["-o", "accessMode=ReadWriteMany", "full"])).ok();
    let fill = "df -k /data | tail -n 1; dd if=/dev/zero of=/data/big bs=64k; sync; stat -c %s /data/big";
    let ran = docker.container(&["--rm", "-v", "full:/data"], &["sh", "-c", fill]);
    says(&ran.stderr, &["No space left on device"]);
    let out = ran.ok();
    let (df, written) = out.split_once('\n').unwrap();
    let blocks: u64 = df.split_whitespace().nth(1).unwrap().parse().unwrap();
    let written: u64 = written.parse().unwrap();
    for (what, bytes) in [("df", blocks * 1024), ("written", written)] {
        assert!((48 * MEBI..=64 * MEBI).contains(&bytes), "{what}: {bytes} bytes of a volume of 64Mi");
    }
}

#[test]
fn docker_tells_what_is_wrong_with_an_option() {
    require!(Part::Docker, Part::Loop);
    let world = with_docker("");
    let create = |options: &[&str]| {
        let flags = options.iter().flat_map(|option| ["-o", option]);
        world.docker.run(["volume", "create", "-d", "orlop"].into_iter().chain(flags).chain(["v"])).fails()
    };
    says(
        &create(&["accessmode=ReadWriteMany"]),
        &["no option accessmode", "did you mean accessMode?", "size, type"],
    );
    says(&create(&["size=1gi"]), &["size", "1gi", "did you mean Gi?"]);
    says(&create(&["size=1Mi"]), &["size", "16Mi"]);
    says(&create(&["type=CloudTemp", "accessMode=ReadWriteOnce", "size=64Mi"]), &["object store"]);
    says(&create(&["pool=nowhere", "size=64Mi"]), &["pool", "nowhere"]);
    assert_eq!(world.docker.volume_ls(), []);
    assert!(volume(&world.daemon, "v").is_null());
    world.daemon.assert_nothing_left();
}

#[test]
fn docker_names_of_its_own_are_kept_for_ever() {
    require!(Part::Docker, Part::Loop);
    let mut world = with_docker("");
    let docker = &world.docker;
    // As Compose makes it for `volumes: {data: {driver: orlop}}` of a project `Proj`.
    docker.run(["volume", "create", "-d", "orlop", "-o", "size=64Mi", "Proj_data"]).ok();
    docker.container(&["--rm", "-v", "Proj_data:/data"], &["sh", "-c", "echo kept > /data/note"]).ok();
    world.daemon.restart();
    let docker = &world.docker;
    let read = docker.container(&["--rm", "-v", "Proj_data:/data"], &["cat", "/data/note"]).ok();
    assert_eq!(read, "kept");
    docker.run(["volume", "rm", "Proj_data"]).ok();
    assert_eq!(docker.volume_ls(), []);
}

#[test]
fn docker_anonymous_volumes_go_with_their_container() {
    require!(Part::Docker, Part::Loop);
    let world = with_docker("defaultSize: 64Mi\n");
    let docker = &world.docker;
    let anonymous =
        ["-d", "--rm", "--init", "--name", "anonymous", "--volume-driver", "orlop", "-v", "/data"];
    docker.container(&anonymous, &["sleep", "600"]).ok();
    let volumes = docker.volume_ls();
    assert_eq!(volumes.len(), 1, "{volumes:?}");
    assert_eq!((volumes[0].driver.as_str(), volumes[0].name.len()), ("orlop", 64));
    docker.run(["exec", "anonymous", "touch", "/data/here"]).ok();
    docker.run(["stop", "anonymous"]).ok();
    soon("--rm takes the volume with it", || docker.volume_ls().is_empty());
    let left: serde_json::Value =
        serde_json::from_str(&world.daemon.cli(["get", "-t", "volume", "-o", "json", "--all"]).ok()).unwrap();
    assert_eq!(left, json!([]));
    world.daemon.assert_nothing_left();
}

#[test]
fn a_volume_of_dockers_own_becomes_one_of_ours() {
    require!(Part::Docker, Part::Loop);
    let world = with_docker("");
    let docker = &world.docker;
    docker.run(["volume", "create", "old"]).ok();
    let write = "echo cargo > /x/file && chown 1000:1000 /x/file && ln -s file /x/link";
    docker.container(&["--rm", "-v", "old:/x"], &["sh", "-c", write]).ok();
    let adopt =
        |source: &str| cli_beside_docker(&world, &["pool", "import", "--adopt", source, "--name", "new"]);
    assert!(adopt("docker:none").stderr.contains("none"));
    adopt("docker:old").ok();
    let read = "stat -c %u /y/file && cat /y/link";
    docker.run(["volume", "create", "-d", "orlop", "new"]).ok();
    assert_eq!(docker.container(&["--rm", "-v", "new:/y"], &["sh", "-c", read]).ok(), "1000\ncargo");
    assert_eq!(docker.container(&["--rm", "-v", "old:/x"], &["cat", "/x/file"]).ok(), "cargo", "it stays");
    // What is Orlop's already is no volume of Docker's own.
    assert!(adopt("docker:new").stderr.contains("of the driver orlop"));
}

/// `docs/adopt.md`: its commands as they are there, with a container of ours in the place of the database.
#[test]
fn the_page_on_adopting_a_volume_of_dockers_own_is_followed() {
    require!(Part::Docker, Part::Loop);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/adopt.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<_> =
        page.split("```console\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    let [commands] = blocks.as_slice() else { panic!("{blocks:?}") };
    for exchanged in ["docker run ", " …\n"] {
        assert_eq!(commands.matches(exchanged).count(), 1, "{exchanged}: {commands}");
    }
    let commands = commands
        .replace("docker run ", "docker run --network none ")
        .replace(" …\n", &format!(" {IMAGE} cat /var/lib/db/row\n"));

    let world = with_docker("");
    let docker = &world.docker;
    let database = "echo cargo > /var/lib/db/row; sleep 600";
    docker
        .container(&["-d", "--init", "--name", "db", "-v", "dbdata:/var/lib/db"], &["sh", "-c", database])
        .ok();
    soon("it has written", || docker.run(["exec", "db", "test", "-s", "/var/lib/db/row"]).success());
    let programs = [binary(), docker.client([""; 0]).get_program().into()];
    let mut places: Vec<&Path> = programs.iter().filter_map(|program: &PathBuf| program.parent()).collect();
    places.extend(["/usr/bin", "/bin"].map(Path::new));
    let scratch = world.daemon.scratch().path();
    let mut shell = Command::new("sh");
    shell.args(["-exc", &commands]).env_clear().env("PATH", std::env::join_paths(places).unwrap());
    shell.env("DOCKER_HOST", format!("unix://{}", docker.socket().display())).env("DOCKER_CONFIG", scratch);
    shell.env("ORLOP_SOCKET", world.daemon.socket()).current_dir(scratch);
    let said = run(&mut shell).ok();
    assert!(said.ends_with("\ncargo"), "{said}");
    let mut volumes: Vec<_> =
        docker.volume_ls().into_iter().map(|listed| (listed.name, listed.driver)).collect();
    volumes.sort();
    assert_eq!(
        volumes,
        [("db-data", "orlop"), ("dbdata", "local")].map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
}
