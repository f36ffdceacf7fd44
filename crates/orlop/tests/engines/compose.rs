//! Volumes made and used through Compose, old and new: names, options, sharing, `down -v`.

use std::{fs, path::PathBuf};

use orlop_testkit::{Part, Ran, engines::Listed, require};
use serde_json::{Value, json};

use crate::world::{WithDocker, manifest, says, volume, with_docker};

const MEBI: u64 = 1 << 20;

/// A project in a directory of its own.
struct Project<'a> {
    world: &'a WithDocker,
    dir: PathBuf,
}

impl Project<'_> {
    #[track_caller]
    fn run(&self, args: &[&str]) -> Ran {
        self.world.docker.compose(&self.dir, args)
    }

    #[track_caller]
    fn up(&self) -> Ran {
        self.run(&["up", "-d"])
    }

    #[track_caller]
    fn within(&self, service: &str, argv: &[&str]) -> String {
        self.run(&[&["exec", "-T", service][..], argv].concat()).ok()
    }

    #[track_caller]
    fn containers(&self) -> String {
        self.run(&["ps", "-q"]).ok()
    }
}

/// A project with services, as name and mount, and with the text of `volumes`.
fn project<'a>(world: &'a WithDocker, name: &str, services: &[(&str, &str)], volumes: &str) -> Project<'a> {
    let dir = world.daemon.scratch().join(name);
    fs::create_dir_all(&dir).unwrap();
    let mut text = "services:\n".to_owned();
    for (service, mount) in services {
        text += &format!(
            "  {service}: {{image: {}, network_mode: none, init: true, command: [sleep, '600'], volumes: ['{mount}']}}\n",
            orlop_testkit::engines::IMAGE
        );
    }
    fs::write(dir.join("compose.yaml"), format!("{text}{volumes}")).unwrap();
    Project { world, dir }
}

fn listed(driver: &str, name: &str) -> Vec<Listed> {
    vec![Listed { driver: driver.to_owned(), name: name.to_owned() }]
}

/// The volumes there are, released ones for themselves.
fn all(world: &WithDocker, released: bool) -> Vec<Value> {
    let mut words = vec!["get", "-t", "volume", "-o", "json", "--all"];
    words.extend(released.then_some("--released"));
    serde_json::from_str(&world.daemon.cli(words).ok()).unwrap()
}

#[test]
fn compose_shares_a_volume_that_outlives_the_project() {
    require!(Part::Compose, Part::Loop);
    let world = with_docker("");
    let shop = project(
        &world,
        "Shop",
        &[("one", "data:/data"), ("two", "data:/data")],
        "volumes:\n  data:\n    driver: orlop\n    \
         driver_opts: {size: 64Mi, type: persistent, accessMode: ReadWriteMany, uid: 1000, mode: '0750'}\n",
    );
    shop.up().ok();
    shop.within("one", &["sh", "-c", "echo from-one > /data/note"]);
    assert_eq!(shop.within("two", &["cat", "/data/note"]), "from-one");
    assert_eq!(shop.within("two", &["stat", "-c", "%u %a", "/data"]), "1000 750");
    let df = shop.within("two", &["df", "-k", "/data"]);
    let blocks: u64 = df.lines().last().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((48 * MEBI..=64 * MEBI).contains(&(blocks * 1024)), "{df}");

    assert_eq!(world.docker.volume_ls(), listed("orlop", "shop_data"));
    let made = all(&world, false);
    let name = made[0]["name"].as_str().unwrap().to_owned();
    assert!(made.len() == 1 && name.starts_with("shop-data-"), "{made:?}");
    assert_eq!(made[0]["status"]["aliases"], json!([{"front": "docker", "name": "shop_data"}]));
    assert_eq!(made[0]["status"]["attachments"].as_array().unwrap().len(), 2);
    let details = world.daemon.cli(["get", "-t", "volume", "-n", &name, "-d"]).ok();
    says(&details, &["Known as: shop_data (docker)"]);

    let containers = shop.containers();
    shop.up().ok();
    assert_eq!(shop.containers(), containers, "the second up changes nothing");
    shop.run(&["down"]).ok();
    world.daemon.assert_nothing_left();
    shop.up().ok();
    assert_eq!(shop.within("two", &["cat", "/data/note"]), "from-one");

    shop.run(&["down", "-v"]).ok();
    assert_eq!(world.docker.volume_ls(), []);
    assert_eq!(all(&world, false), Vec::<Value>::new());
    assert_eq!(all(&world, true)[0]["name"], name.as_str(), "the data of a persistent one is kept");
    world.daemon.assert_nothing_left();
    // The name is free again, for another volume.
    shop.up().ok();
    assert_eq!(shop.within("two", &["ls", "/data"]), "");
    shop.run(&["down", "-v"]).ok();
}

#[test]
fn compose_keeps_one_writer() {
    require!(Part::Compose, Part::Loop);
    let world = with_docker("");
    let shop = project(
        &world,
        "shop",
        &[("db", "data:/data")],
        "volumes:\n  data:\n    name: shop-db\n    driver: orlop\n    \
         driver_opts: {size: 64Mi, type: temp, accessMode: ReadWriteOnce}\n",
    );
    shop.up().ok();
    assert_eq!(world.docker.volume_ls(), listed("orlop", "shop-db"));
    assert_eq!(volume(&world.daemon, "shop-db")["status"]["aliases"], Value::Null, "it has one name");
    shop.within("db", &["sh", "-c", "echo kept > /data/note"]);
    shop.run(&["up", "-d", "--force-recreate"]).ok();
    assert_eq!(shop.within("db", &["cat", "/data/note"]), "kept");
    let refused = shop.run(&["up", "-d", "--scale", "db=2"]).fails();
    says(&refused, &["public/shop-db is ReadWriteOnce and is in use by docker mount"]);
    shop.run(&["down", "-v"]).ok();
    assert!(volume(&world.daemon, "shop-db").is_null());
    assert_eq!(all(&world, true), Vec::<Value>::new(), "the data of a temp one is destroyed");
    world.daemon.assert_nothing_left();
}

#[test]
fn compose_removes_nothing_that_a_manifest_declares() {
    require!(Part::Compose, Part::Loop);
    let world = with_docker("");
    let services = [("one", "data:/data")];
    let external = project(&world, "one", &services, "volumes: {data: {name: declared, external: true}}\n");
    says(&external.up().fails(), &["declared", "not"]);
    assert_eq!(world.docker.volume_ls(), [], "none was made in its place");
    world.daemon.apply(&manifest("declared", "ReadWriteMany", "temp")).ok();
    external.up().ok();
    external.up().ok();
    external.within("one", &["sh", "-c", "echo kept > /data/note"]);
    external.run(&["down", "-v"]).ok();

    let named = project(&world, "two", &services, "volumes: {data: {name: declared, driver: orlop}}\n");
    named.up().ok();
    assert_eq!(named.within("one", &["cat", "/data/note"]), "kept");
    says(
        &named.run(&["down", "-v"]).fails(),
        &["volume public/declared is declared by a manifest: use orlop delete"],
    );
    assert_eq!(world.docker.volume_ls(), listed("orlop", "declared"));
    assert_eq!(volume(&world.daemon, "declared")["status"]["state"], "active");
    world.daemon.assert_nothing_left();
}

#[test]
fn compose_tells_what_is_wrong_with_an_option() {
    require!(Part::Compose, Part::Loop);
    let world = with_docker("");
    for (options, parts) in [
        ("accesMode: ReadWriteMany", &["create shop_data", "no option accesMode", "mean accessMode?"][..]),
        ("size: 1gi", &["size", "1gi", "did you mean Gi?"]),
        // YAML makes the numbers 488 and 504 of these.
        ("mode: 0750", &["option mode", "has not four digits", "in quotes"]),
        ("mode: 0770", &["option mode", "has not four digits", "in quotes"]),
    ] {
        let volumes = format!("volumes: {{data: {{driver: orlop, driver_opts: {{{options}}}}}}}\n");
        let shop = project(&world, "shop", &[("one", "data:/data")], &volumes);
        says(&shop.up().fails(), parts);
        assert_eq!(shop.containers(), "", "{options}");
        shop.run(&["down", "-v"]).ok();
    }
    assert_eq!(world.docker.volume_ls(), []);
    assert_eq!(all(&world, false), Vec::<Value>::new());
}

/// Compose has no word for the driver of a volume without a name.
#[test]
fn compose_makes_anonymous_volumes_dockers_own() {
    require!(Part::Compose, Part::Loop);
    let world = with_docker("");
    let shop = project(&world, "shop", &[("one", "/data")], "");
    shop.up().ok();
    let drivers: Vec<String> = world.docker.volume_ls().into_iter().map(|row| row.driver).collect();
    assert_eq!(drivers, ["local"]);
    shop.run(&["down", "-v"]).ok();
    assert_eq!(world.docker.volume_ls(), []);
    assert_eq!(all(&world, false), Vec::<Value>::new());
}
