//! Pools that were carried here or whose store was lost, and pools compared with their records.

use std::{fs, path::Path, process::Command};

use orlop_engine::*;
use orlop_model::{
    ErrorKind, PoolName, Size,
    pool_report::{Difference, ImportFate, PoolCheck, PoolImport},
    resource::VolumeState,
};
use orlop_testkit::{Part, command::eventually, require, run};

use crate::harness::*;

const KEPT: &str = "size: 16Mi, accessMode: ReadWriteMany, type: persistent, uid: 1000";

fn from(path: &Path, name: Option<&str>) -> ImportRequest {
    ImportRequest {
        name: name.map(|name| name.parse().unwrap()),
        place: ImportPlace::Directory(path.to_owned()),
        capacity: None,
        overcommit: None,
    }
}

fn default() -> PoolName {
    PoolName::default_pool()
}

fn write(world: &World, name: &str, content: &str) {
    let path = world.attach(name, "writer").unwrap().path;
    fs::write(path.join("file"), content).unwrap();
    world.detach(name, "writer").unwrap();
}

#[track_caller]
fn holds(world: &World, name: &str, content: &str) {
    let path = world.attach(name, "reader").unwrap().path;
    assert_eq!(fs::read_to_string(path.join("file")).unwrap(), content);
    world.detach(name, "reader").unwrap();
}

fn fates(done: &PoolImport) -> Vec<ImportFate> {
    let mut fates: Vec<_> = done.volumes.iter().map(|volume| volume.fate).collect();
    fates.sort_by_key(|fate| fate.as_str());
    fates
}

fn differences(report: &PoolCheck) -> Vec<Difference> {
    report.findings.iter().map(|finding| finding.difference).collect()
}

#[test]
fn a_lost_store_is_rebuilt_from_the_pool() {
    require!(Part::Loop);
    let mut world = World::new("import-lost");
    world.apply("data", KEPT).unwrap();
    write(&world, "data", "cargo");
    world.apply("gone", KEPT).unwrap();
    write(&world, "gone", "old cargo");
    world.delete("gone").unwrap();
    world.apply_as(&Caller { uid: 7, ..ROOT }, "theirs", KEPT).unwrap();
    let before = world.volume("data");
    let pool = world.pool_path();
    world.crash();
    for file in ["orlop.db", "orlop.db-wal", "orlop.db-shm"] {
        let _ = fs::remove_file(world.config.state_dir.join(file));
    }

    world.start();
    assert!(world.engine().readiness().is_ready(), "it starts, and waits for root's word");
    assert!(world.told("PoolUnaccounted"));
    fails(world.apply("new", KEPT), ErrorKind::NotFound);
    let request = from(&pool, None);
    fails(world.engine().import_pool(&Caller { uid: 7, ..ROOT }, &request), ErrorKind::PermissionDenied);
    let done = world.engine().import_pool(&ROOT, &request).unwrap();
    assert_eq!(fates(&done), [ImportFate::Imported, ImportFate::Imported, ImportFate::Released]);
    assert!(!done.exported);
    assert_eq!(
        (done.pool.name.clone(), done.pool.volumes, done.pool.reserved.bytes()),
        (default(), 3, 48 * MIB)
    );
    let after = world.volume("data");
    assert_eq!((after.status.id, &after.manifest), (before.status.id, &before.manifest));
    assert_eq!(after.status.created_at, before.status.created_at);
    assert_eq!(world.volume("theirs").status.owner_uid, 7);
    holds(&world, "data", "cargo");
    let query = VolumeQuery { released: true, ..VolumeQuery::default() };
    let released = world.engine().volumes(&ROOT, &query).unwrap().items;
    assert_eq!((released.len(), released[0].status.state), (1, VolumeState::Released));

    let again = world.engine().import_pool(&ROOT, &request).unwrap();
    assert_eq!(fates(&again), [ImportFate::Known; 3]);
    assert_eq!(differences(&world.engine().check_pool(&ROOT, &default(), false).unwrap()), []);
    world.restart();
    holds(&world, "data", "cargo");
}

#[test]
fn a_pool_is_carried_to_a_node_that_has_the_same_names() {
    require!(Part::Loop, Part::Xfs);
    let here = World::new("import-here");
    let there = World::new("import-there");
    let file = here.join("own.img");
    let place = PoolPlace::Image { file: file.clone(), size: Size::from_bytes(512 * MIB), sparse: true };
    let name: PoolName = "own".parse().unwrap();
    let request = PoolRequest { name: name.clone(), place, capacity: None, overcommit: None };
    here.engine().create_pool(&ROOT, &request).unwrap();
    for volume in ["data", "more"] {
        here.apply(volume, &format!("{KEPT}, pool: own")).unwrap();
        write(&here, volume, "carried");
    }
    here.engine().export_pool(&ROOT, &name).unwrap();
    assert!(eventually(PATIENCE, || orlop_testkit::mounts::loops_below(here.scratch()).is_empty()));
    let carried = there.join("carried.img");
    run(Command::new("cp").arg("--sparse=always").args([&file, &carried])).ok();
    there.apply("data", KEPT).unwrap();
    write(&there, "data", "mine");

    let request =
        ImportRequest { place: ImportPlace::Image(carried.clone()), ..from(&carried, Some("disk")) };
    let done = there.engine().import_pool(&ROOT, &request).unwrap();
    assert_eq!(fates(&done), [ImportFate::Imported, ImportFate::Renamed]);
    assert!(done.exported);
    let renamed = done.volumes.iter().find(|volume| volume.fate == ImportFate::Renamed).unwrap();
    let title = renamed.title.clone().unwrap();
    let renamed = title.strip_prefix("public/").unwrap();
    assert!(renamed.starts_with("data-") && renamed.len() == "data-".len() + 8, "{renamed}");
    holds(&there, renamed, "carried");
    holds(&there, "more", "carried");
    holds(&there, "data", "mine");
    assert_eq!(there.volume("more").status.pool.as_str(), "disk");
    // Its name was changed in the pool too.
    assert_eq!(differences(&there.engine().check_pool(&ROOT, &"disk".parse().unwrap(), false).unwrap()), []);
    // And it can go back.
    there.engine().export_pool(&ROOT, &"disk".parse().unwrap()).unwrap();
    there.assert_nothing_mounted();
}

#[test]
fn what_a_pool_says_of_itself_is_not_believed() {
    require!(Part::Loop);
    let mut world = World::new("import-evil");
    let names = ["whole", "longer", "linked", "damaged", "foreign", "other-owner", "hard-link", "text"];
    for name in names {
        world.apply(name, KEPT).unwrap();
    }
    let volumes: Vec<_> = names.iter().map(|name| world.volume(name)).collect();
    let directories: Vec<_> = volumes.iter().map(|volume| world.directory(volume)).collect();
    let pool = world.pool_path();
    world.crash();
    for file in ["orlop.db", "orlop.db-wal", "orlop.db-shm"] {
        let _ = fs::remove_file(world.config.state_dir.join(file));
    }
    let of = |name: &str| &directories[names.iter().position(|known| *known == name).unwrap()];
    fs::OpenOptions::new()
        .write(true)
        .open(of("longer").join("data.img"))
        .unwrap()
        .set_len(17 * MIB)
        .unwrap();
    let secret = world.join("secret");
    fs::write(&secret, vec![0; 16 << 20]).unwrap();
    fs::remove_file(of("linked").join("data.img")).unwrap();
    std::os::unix::fs::symlink(&secret, of("linked").join("data.img")).unwrap();
    run(Command::new("dd")
        .args(["if=/dev/urandom", "bs=64k", "count=32", "seek=1", "conv=notrunc", "status=none"])
        .arg(format!("of={}", of("damaged").join("data.img").display())))
    .ok();
    let edit = |name: &str, from: &str, to: &str| {
        let file = of(name).join("volume.json");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(file, text.replace(from, to)).unwrap();
    };
    edit("foreign", &volumes[4].status.id.to_string(), "019f0000-0000-7000-8000-0000000000a1");
    std::os::unix::fs::chown(of("other-owner").join("data.img"), Some(7), None).unwrap();
    fs::hard_link(of("hard-link").join("data.img"), world.join("another")).unwrap();
    edit("text", "\"name\": \"text\"", "\"name\": \"../text\"");
    fs::create_dir(pool.join("volumes/not-an-id")).unwrap();

    world.start();
    let done = world.engine().import_pool(&ROOT, &from(&pool, None)).unwrap();
    let why = |needle: &str| {
        let found = done.volumes.iter().filter(|volume| volume.fate == ImportFate::Refused);
        found.filter(|volume| volume.detail.as_ref().unwrap().contains(needle)).count()
    };
    for needle in
        ["bytes instead of", "no file", "e2fsck", "another volume", "belongs to uid 7", "hard link", "no id"]
    {
        assert_eq!(why(needle), 1, "{needle}: {:#?}", done.volumes);
    }
    assert_eq!(
        done.volumes.iter().filter(|volume| volume.fate == ImportFate::Refused).count(),
        8,
        "{:#?}",
        done.volumes
    );
    assert_eq!(done.pool.volumes, 1);
    holds_nothing_but(&world, "whole");
    for directory in &directories {
        assert!(directory.exists(), "what is bad is left alone");
    }
    let report = world.engine().check_pool(&ROOT, &default(), true).unwrap();
    assert!(report.findings.iter().all(|finding| finding.difference == Difference::Unaccounted
        || finding.difference == Difference::UnrecordedVolume));
    assert_eq!(report.findings.len(), 8, "{:#?}", report.findings);
    assert!(report.findings.iter().all(|finding| !finding.mended));
}

fn holds_nothing_but(world: &World, name: &str) {
    let all = world.engine().volumes(&ROOT, &VolumeQuery::default()).unwrap().items;
    assert_eq!(all.iter().map(|volume| volume.manifest.name.as_str()).collect::<Vec<_>>(), [name]);
}

#[test]
fn a_pool_that_is_none_and_a_copy_of_a_known_one_are_refused() {
    require!(Part::Loop);
    let world = World::new("import-none");
    fails(world.engine().import_pool(&ROOT, &from(&world.mkdir("empty"), Some("x"))), ErrorKind::NotFound);
    fs::write(world.join("text"), "x").unwrap();
    let request =
        ImportRequest { place: ImportPlace::Image(world.join("text")), ..from(Path::new("/"), Some("x")) };
    fails(world.engine().import_pool(&ROOT, &request), ErrorKind::NotFound);
    let copy = world.join("copy");
    run(Command::new("cp").arg("-r").args([&world.pool_path(), &copy])).ok();
    fails(world.engine().import_pool(&ROOT, &from(&copy, None)), ErrorKind::Conflict);
    fails(world.engine().import_pool(&ROOT, &from(&copy, Some("x"))), ErrorKind::AlreadyExists);
}

/// Whose directory it was could put another one in the place of a volume's at any time later, such as
/// somebody else's, which goes then in its stead.
#[test]
fn a_pool_is_roots_alone_whoever_its_directories_belonged_to() {
    require!(Part::Loop);
    let world = World::new("pool-owner");
    let give = |path: &Path| std::os::unix::fs::chown(path, Some(4242), Some(4242)).unwrap();
    let (place, name) = (world.mkdir("hers"), "hers".parse::<PoolName>().unwrap());
    give(&place);
    let capacity = Some(Size::from_bytes(64 * MIB));
    let directory = PoolPlace::Directory(place.clone());
    let request = PoolRequest { name: name.clone(), place: directory, capacity, overcommit: None };
    world.engine().create_pool(&ROOT, &request).unwrap();
    let hers = world.apply("hers", &format!("{KEPT}, pool: hers")).unwrap().resource;
    let others = world.apply("others", KEPT).unwrap().resource;
    write(&world, "others", "precious");
    // As whoever had the directories would, with a way there.
    let exchange = || {
        fs::set_permissions(world.scratch(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let script = r#"cd "$0/volumes" && mv "$1" was && ln -s "$2" "$1""#;
        let mut shell = Command::new("sh");
        std::os::unix::process::CommandExt::uid(&mut shell, 4242);
        let id = hers.status.id.to_string();
        let done = shell.args(["-c", script]).arg(&place).arg(id).arg(world.directory(&others)).output();
        done.unwrap().status.success()
    };
    assert!(!exchange());

    world.engine().export_pool(&ROOT, &name).unwrap();
    give(&place);
    give(&place.join("volumes"));
    world.engine().import_pool(&ROOT, &from(&place, Some("hers"))).unwrap();
    let exchanged = exchange();
    world.delete("hers").unwrap();
    let _ = world.engine().purge(&ROOT, hers.status.id);
    assert!(world.image(&others).exists(), "another one was destroyed");
    assert!(!exchanged);
    holds(&world, "others", "precious");

    give(&place.join("volumes"));
    let check = |repair| world.engine().check_pool(&ROOT, &name, repair).unwrap();
    assert_eq!(differences(&check(true)), [Difference::PoolOpen]);
    assert_eq!(differences(&check(false)), []);
    world.engine().export_pool(&ROOT, &name).unwrap();
    fs::rename(place.join("volumes"), place.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(world.pool_path().join("volumes"), place.join("volumes")).unwrap();
    let error = fails(world.engine().import_pool(&ROOT, &from(&place, Some("hers"))), ErrorKind::Damaged);
    assert!(error.message.contains("volumes"), "{error}");
}

#[test]
fn a_check_names_every_difference_and_mends_what_is_safe() {
    require!(Part::Loop, Part::Sqlite3);
    let world = World::new("pool-check");
    for name in ["data", "short", "stale", "held"] {
        world.apply(name, KEPT).unwrap();
    }
    let check = |repair| world.engine().check_pool(&ROOT, &default(), repair).unwrap();
    fails(
        world.engine().check_pool(&Caller { uid: 7, ..ROOT }, &default(), true),
        ErrorKind::PermissionDenied,
    );
    assert_eq!((differences(&check(false)), check(false).volumes), (vec![], 4));

    let (pool, of) = (world.pool_path(), |name: &str| world.directory(&world.volume(name)));
    fs::set_permissions(&pool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let short = of("short").join("data.img");
    fs::OpenOptions::new().write(true).open(&short).unwrap().set_len(MIB).unwrap();
    fs::write(of("stale").join("volume.json"), "{}").unwrap();
    fs::write(of("data").join(".volume.json.new"), "").unwrap();
    fs::write(of("data").join("mine"), "precious").unwrap();
    fs::write(pool.join("blanks/ext4-16777216-r1-019f0000-0000-7000-8000-0000000000a1.img"), "").unwrap();
    fs::create_dir(pool.join("lost")).unwrap();
    let held = of("held").join("data.img");
    run(Command::new("losetup").arg("--find").arg(&held)).ok();
    let wrong = "DROP TRIGGER placements_update; UPDATE pools SET reserved_bytes = 1";
    run(Command::new("sqlite3").arg(world.config.state_dir.join("orlop.db")).arg(wrong)).ok();

    let mut expected = vec![
        Difference::PoolOpen,
        Difference::WrongSums,
        Difference::Unaccounted,
        Difference::Leftover,
        Difference::BadImage,
        Difference::StaleDescription,
        Difference::Leftover,
        Difference::Unaccounted,
        Difference::HeldImage,
    ];
    let sorted = |mut all: Vec<Difference>| {
        all.sort_by_key(|difference| difference.as_str());
        all
    };
    expected = sorted(expected);
    let found = check(false);
    assert_eq!(sorted(differences(&found)), expected, "{:#?}", found.findings);
    assert!(found.findings.iter().all(|finding| !finding.mended && !finding.remedy.is_empty()));
    assert!(world.told("PoolDiffers"));

    let mended = check(true);
    assert_eq!(sorted(differences(&mended)), expected);
    for finding in &mended.findings {
        assert_eq!(finding.mended, finding.difference.is_safe_to_mend(), "{finding:?}");
    }
    let left = sorted(differences(&check(true)));
    assert_eq!(
        left,
        sorted(vec![
            Difference::BadImage,
            Difference::HeldImage,
            Difference::Unaccounted,
            Difference::Unaccounted
        ])
    );
    assert_eq!(fs::read_to_string(of("data").join("mine")).unwrap(), "precious");
    assert!(short.exists() && pool.join("lost").exists());
    assert_eq!(world.engine().pool(&ROOT, &default()).unwrap().reserved.bytes(), 64 * MIB);
}

#[test]
fn snapshots_are_in_the_sums_and_a_repair_keeps_what_they_have_reserved() {
    require!(Part::Loop);
    let world = World::new("check-sums");
    world.apply("data", KEPT).unwrap();
    write(&world, "data", "cargo");
    let key = SnapshotKey { workspace: "public".parse().unwrap(), name: "s".parse().unwrap() };
    let retain = orlop_model::Retain::default();
    let manifest = orlop_model::SnapshotManifest::new(key.name.clone(), "data".parse().unwrap(), retain);
    let request = SnapshotRequest { workspace: key.workspace, manifest, pause_writers: false };
    world.engine().apply_snapshot(&ROOT, &request).unwrap();
    let reserved = world.engine().pool(&ROOT, &default()).unwrap().reserved;
    assert!(reserved.bytes() > 16 << 20);
    let report = world.engine().check_pool(&ROOT, &default(), true).unwrap();
    assert_eq!(differences(&report), []);
    assert_eq!(world.engine().pool(&ROOT, &default()).unwrap().reserved, reserved);
}
