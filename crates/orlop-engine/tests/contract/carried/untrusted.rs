//! What a pool says of its snapshots is not believed, and what is not whole costs nothing that is.

use std::{fs, process::Command};

use orlop_engine::ImportPlace;
use orlop_model::pool_report::{Difference, ImportFate};
use orlop_testkit::{Part, require, run};

use super::*;

#[test]
fn what_a_snapshot_says_of_itself_is_not_believed() {
    require!(Part::Loop);
    let (_host, mut world) = sharing();
    world.apply("data", KEPT).unwrap();
    put(&world, "data", "cargo");
    let names = [
        "whole",
        "longer",
        "linked",
        "damaged",
        "foreign",
        "other-id",
        "other-owner",
        "hard-link",
        "text",
        "bare",
        "unfinished",
        "odd",
        "newer",
    ];
    for name in names {
        world.snapshot(name, "data").unwrap();
    }
    let ids: Vec<_> = names.iter().map(|name| snapshot(&world, name).status.id).collect();
    let directories: Vec<_> = ids.iter().map(|id| directory(&world, *id)).collect();
    let of_name = |name: &str| &directories[names.iter().position(|known| *known == name).unwrap()];
    let (image, record) =
        (|name: &str| of_name(name).join("data.img"), |name: &str| of_name(name).join("snapshot.json"));
    let (path, pool_id) = (world.pool_path(), pool(&world, "default").id.to_string());
    lose_the_store(&mut world);
    fs::OpenOptions::new().write(true).open(image("longer")).unwrap().set_len(17 * MIB).unwrap();
    let secret = world.join("secret");
    fs::write(&secret, vec![0; 16 << 20]).unwrap();
    fs::remove_file(image("linked")).unwrap();
    std::os::unix::fs::symlink(&secret, image("linked")).unwrap();
    run(Command::new("dd")
        .args(["if=/dev/urandom", "bs=64k", "count=32", "seek=1", "conv=notrunc", "status=none"])
        .arg(format!("of={}", image("damaged").display())))
    .ok();
    let another = "019f0000-0000-7000-8000-0000000000a1";
    edit(&record("foreign"), &pool_id, another);
    edit(&record("other-id"), &ids[5].to_string(), another);
    std::os::unix::fs::chown(image("other-owner"), Some(7), None).unwrap();
    fs::hard_link(image("hard-link"), world.join("another")).unwrap();
    edit(&record("text"), "\"name\": \"text\"", "\"name\": \"../text\"");
    fs::remove_file(record("bare")).unwrap();
    edit(&record("unfinished"), "\"state\": \"active\"", "\"state\": \"pending\"");
    edit(&record("odd"), "\"loopBlockSize\": 1024", "\"loopBlockSize\": 1000");
    edit(&record("newer"), "\"format\": 1", "\"format\": 99");
    fs::create_dir(path.join("snapshots/not-an-id")).unwrap();

    world.start();
    let done = world.engine().import_pool(&ROOT, &of(ImportPlace::Directory(path), None)).unwrap();
    for (name, needle) in [
        ("longer", "bytes instead of"),
        ("linked", "no file"),
        ("damaged", "e2fsck"),
        ("foreign", "another pool"),
        ("other-id", "another snapshot"),
        ("other-owner", "belongs to uid 7"),
        ("hard-link", "hard link"),
        ("text", "can't be read"),
        ("bare", "no snapshot.json"),
        ("unfinished", "never finished"),
        ("odd", "makes no sense"),
        ("newer", "has format 99"),
    ] {
        let id = ids[names.iter().position(|known| *known == name).unwrap()].to_string();
        let shown = shown(&done, &id);
        let why = shown.detail.as_ref().unwrap();
        assert!(shown.fate == ImportFate::Refused && why.contains(needle), "{name}: {shown:?}");
    }
    assert!(shown(&done, "not-an-id").detail.as_ref().unwrap().contains("no id"));
    assert_eq!(done.snapshots.len(), 14);
    assert!(done.left_any());
    assert_eq!((world.snapshot_names(), done.pool.snapshots), (vec!["whole".to_owned()], 1));
    assert_eq!(done.volumes[0].fate, ImportFate::Imported, "the volume is none the worse");
    world.restore("whole").unwrap();
    holds(&world, "data", "cargo");
    // A repair leaves alone what it can't account for.
    let report = world.engine().check_pool(&ROOT, &default(), true).unwrap();
    // What is damaged inside is seen by nobody but the checker of its filesystem.
    let mut expected = vec![Difference::Unaccounted; 12];
    expected.push(Difference::UnrecordedSnapshot);
    assert_eq!(differences(&report), expected, "{:#?}", report.findings);
    assert!(report.findings.iter().all(|finding| !finding.mended && !finding.remedy.is_empty()));
    for directory in &directories {
        assert!(directory.exists(), "what is bad is left alone");
    }
}

#[test]
fn what_ended_while_it_was_away_is_not_deleted_at_once() {
    require!(Part::Loop);
    let (_host, mut world) = sharing();
    world.apply("data", KEPT).unwrap();
    world.snapshot_as(&ROOT, "short", "data", "7d", false).unwrap();
    let id = snapshot(&world, "short").status.id;
    edit(&directory(&world, id).join("snapshot.json"), "\"retain\": \"7d\"", "\"retain\": \"1s\"");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let path = world.pool_path();
    lose_the_store(&mut world);
    world.start();
    let done = world.engine().import_pool(&ROOT, &of(ImportPlace::Directory(path), None)).unwrap();
    let detail = done.snapshots[0].detail.clone().unwrap();
    assert!(detail.contains("stays until"), "{detail}");
    let left = snapshot(&world, "short").status.expires_at.unwrap().duration_since(jiff::Timestamp::now());
    assert_eq!(left.as_hours(), 23);
    // Longer than the background takes to look.
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(world.snapshot_names(), ["short"]);
}

/// A crash between the two names of an image, and then the store was lost.
#[test]
fn a_restore_that_was_cut_short_costs_no_volume() {
    require!(Part::Loop);
    let (_host, mut world) = sharing();
    world.apply("data", KEPT).unwrap();
    put(&world, "data", "cargo");
    world.snapshot("s", "data").unwrap();
    world.snapshot("before", "data").unwrap();
    let kept = directory(&world, snapshot(&world, "before").status.id).join("data.img");
    let image = world.image(&world.volume("data"));
    let path = world.pool_path();
    lose_the_store(&mut world);
    fs::remove_file(&kept).unwrap();
    fs::hard_link(&image, &kept).unwrap();
    world.start();
    let done = world.engine().import_pool(&ROOT, &of(ImportPlace::Directory(path), None)).unwrap();
    assert_eq!(done.volumes[0].fate, ImportFate::Imported, "{done:#?}");
    let refused: Vec<_> =
        done.snapshots.iter().filter(|snapshot| snapshot.fate == ImportFate::Refused).collect();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].detail.as_ref().unwrap().contains("cut short"), "{done:#?}");
    assert_eq!(world.snapshot_names(), ["s"]);
    holds(&world, "data", "cargo");
}

/// A volume would begin with what somebody put there.
#[test]
fn blanks_of_another_daemon_are_not_used() {
    require!(Part::Loop);
    let (_host, mut world) = sharing();
    world.config.blanks = 1;
    world.restart();
    world.apply("data", KEPT).unwrap();
    let blanks = world.pool_path().join("blanks");
    let there = || fs::read_dir(&blanks).unwrap().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    assert!(eventually(
        PATIENCE,
        || matches!(&there()[..], [one] if one.extension() == Some("img".as_ref()))
    ));
    let path = world.pool_path();
    lose_the_store(&mut world);
    let elsewhere = world.join("elsewhere");
    fs::write(&elsewhere, "precious").unwrap();
    let made = &there()[0];
    let name = made.file_name().unwrap().to_str().unwrap();
    std::os::unix::fs::symlink(&elsewhere, blanks.join(name.replace("ext4", "xfs"))).unwrap();
    fs::create_dir(blanks.join(name.replace("16777216", "33554432"))).unwrap();
    fs::write(blanks.join("mine"), "precious").unwrap();
    fs::write(blanks.join(format!("{name}.new")), "half").unwrap();

    world.start();
    world.engine().import_pool(&ROOT, &of(ImportPlace::Directory(path), None)).unwrap();
    assert_eq!(there().len(), 2, "{:?}", there());
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
    let report = world.engine().check_pool(&ROOT, &default(), false).unwrap();
    assert_eq!(differences(&report), [Difference::Unaccounted; 2], "{report:#?}");
    world.restart();
    world.apply("larger", &KEPT.replace("16Mi", "32Mi")).unwrap();
    world.apply("new", KEPT).unwrap();
    assert_eq!(world.engine().statistics().created_from_blank, 0);
}

/// A FIFO would be waited for, and a link be followed to where others say.
#[test]
fn what_is_no_file_is_not_read() {
    require!(Part::Loop);
    let mut world = World::new("carried-fifo");
    for name in ["whole", "fifo", "link"] {
        world.apply(name, KEPT).unwrap();
    }
    let record = |name: &str| world.directory(&world.volume(name)).join("volume.json");
    let (fifo, link) = (record("fifo"), record("link"));
    let (path, aside) = (world.pool_path(), world.join("aside"));
    lose_the_store(&mut world);
    let marker = path.join("orlop.pool");
    let mkfifo = |at: &Path| run(Command::new("mkfifo").arg(at)).ok();
    fs::rename(&marker, &aside).unwrap();
    mkfifo(&marker);
    world.start();
    let import = || world.engine().import_pool(&ROOT, &of(ImportPlace::Directory(path.clone()), None));
    let no_file = |error: Error| {
        assert_eq!(error.kind, ErrorKind::Host, "{error}");
        assert!(error.message.contains("orlop.pool"), "{error}");
    };
    no_file(import().unwrap_err());
    fs::remove_file(&marker).unwrap();
    std::os::unix::fs::symlink(&aside, &marker).unwrap();
    no_file(import().unwrap_err());
    fs::rename(&aside, &marker).unwrap();

    fs::remove_file(&fifo).unwrap();
    mkfifo(&fifo);
    let elsewhere = world.join("elsewhere");
    fs::rename(&link, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    let done = import().unwrap();
    let fates: Vec<_> = done.volumes.iter().map(|it| (it.fate, it.detail.as_deref())).collect();
    let refused = (ImportFate::Refused, Some("volume.json is no file"));
    assert_eq!(fates, [refused, refused, (ImportFate::Imported, None)]);
}

/// What is edited into a manifest that was carried here is parsed as a manifest is.
#[test]
fn mount_options_that_nobody_may_ask_for_are_not_taken_over() {
    require!(Part::Loop);
    let mut world = World::new("carried-options");
    for name in ["dev", "suid", "noexec"] {
        world.apply(name, KEPT).unwrap();
    }
    let records: Vec<_> = ["dev", "suid", "noexec"]
        .map(|name| (name, world.directory(&world.volume(name)).join("volume.json")))
        .into();
    let path = world.pool_path();
    lose_the_store(&mut world);
    for (name, record) in &records {
        edit(record, "\"accessMode\":", &format!("\"mountOptions\": [\"{name}\"], \"accessMode\":"));
    }
    world.start();
    let done = world.engine().import_pool(&ROOT, &of(ImportPlace::Directory(path), None)).unwrap();
    let fates: Vec<_> = done.volumes.iter().map(|it| it.fate).collect();
    assert_eq!(fates, [ImportFate::Refused, ImportFate::Refused, ImportFate::Imported], "{done:#?}");
    let table = world.inside("noexec", |path| {
        run(Command::new("findmnt").args(["--noheadings", "--output", "OPTIONS", "--target"]).arg(path)).ok()
    });
    for option in ["noexec", "nosuid", "nodev"] {
        assert!(table.contains(option), "{table}");
    }
}

/// A number that no record can have costs what says it, and nothing else.
#[test]
fn numbers_that_make_no_sense_cost_no_other_volume() {
    require!(Part::Loop);
    let mut world = World::new("carried-numbers");
    let temp = KEPT.replace("persistent", "temp");
    for name in ["whole", "size", "generation", "zero", "long"] {
        world.apply(name, &temp).unwrap();
    }
    world.snapshot("good", "whole").unwrap();
    world.snapshot("many", "whole").unwrap();
    let record = |name: &str| world.directory(&world.volume(name)).join("volume.json");
    let (size, generation, zero, long) =
        (record("size"), record("generation"), record("zero"), record("long"));
    let many = directory(&world, snapshot(&world, "many").status.id).join("snapshot.json");
    let path = world.pool_path();
    lose_the_store(&mut world);
    edit(&size, "\"sizeBytes\": 16777216,", "\"sizeBytes\": 16777216, \"createdSizeBytes\": 0,");
    let most = format!("\"generation\": {},", u64::MAX);
    for (file, from, to) in [
        (&generation, "\"generation\": 2,", most.as_str()),
        (&many, "\"generation\": 2,", most.as_str()),
        (&zero, "\"tempGraceSeconds\": 600", "\"tempGraceSeconds\": 0"),
        (&long, "\"tempGraceSeconds\": 600", "\"tempGraceSeconds\": 18446744073709551615"),
    ] {
        edit(file, from, to);
    }
    world.start();
    let done = world.engine().import_pool(&ROOT, &of(ImportPlace::Directory(path), None)).unwrap();
    let told: Vec<_> = done.volumes.iter().map(|it| (it.fate, it.detail.as_deref().unwrap_or(""))).collect();
    assert_eq!(told.iter().filter(|(fate, _)| *fate == ImportFate::Imported).count(), 1, "{told:?}");
    let senseless = |why: &str| told.iter().filter(|(_, detail)| detail.contains(why)).count();
    assert_eq!((senseless("makes no sense"), told.len()), (4, 5), "{told:?}");
    // What is refused is shown first.
    let fates: Vec<_> = done.snapshots.iter().map(|it| it.fate).collect();
    assert_eq!(fates, [ImportFate::Refused, ImportFate::Imported]);
    world.inside("whole", |path| assert!(path.is_dir()));
}

/// As with snapshots: nobody has looked at it yet.
#[test]
fn released_data_whose_time_went_by_is_not_purged_at_once() {
    require!(Part::Loop);
    let mut world = World::with("carried-released", |config| {
        config.released_retention = orlop_model::Period::After(7 * 24 * 3600);
    });
    world.apply("old", KEPT).unwrap();
    put(&world, "old", "cargo");
    let record = world.directory(&world.volume("old")).join("volume.json");
    let image = record.with_file_name("data.img");
    world.delete("old").unwrap();
    let path = world.pool_path();
    lose_the_store(&mut world);
    let text = fs::read_to_string(&record).unwrap();
    let (head, tail) = text.split_once("\"releasedAt\": \"").unwrap();
    let tail = tail.split_once('"').unwrap().1;
    fs::write(&record, format!("{head}\"releasedAt\": \"2020-01-01T00:00:00Z\"{tail}")).unwrap();
    world.start();
    let done = world.engine().import_pool(&ROOT, &of(ImportPlace::Directory(path), None)).unwrap();
    assert_eq!(done.volumes[0].fate, ImportFate::Released);
    std::thread::sleep(std::time::Duration::from_secs(12));
    assert!(image.exists(), "{:?}", world.events());
    assert!(
        done.volumes[0].detail.as_ref().is_some_and(|detail| detail.contains("it stays until")),
        "{done:?}"
    );
    let request = UndeleteRequest { volume: key("old"), name: None };
    world.engine().undelete(&ROOT, &request).unwrap();
    holds(&world, "old", "cargo");
}

/// Whoever carries a pool here says nothing of what the schedule of a volume of another pool made, whichever
/// comes first: snapshots of a later time would have its own ones deleted.
#[test]
fn a_schedule_deletes_nothing_for_what_was_carried_here() {
    require!(Part::Loop, Part::Sqlite3);
    for volume_comes_last in [false, true] {
        let mut world = World::new("carried-schedule");
        let place = PoolPlace::Directory(world.join("other"));
        let request = PoolRequest { name: "other".parse().unwrap(), place, capacity: None, overcommit: None };
        world.engine().create_pool(&ROOT, &request).unwrap();
        world.apply("data", &format!("{KEPT}, pool: other, snapshots: 0 0 1 1 *|1")).unwrap();
        world.snapshot("carried", "data").unwrap();
        let request = MigrateRequest { pool: Some(default()), size: None };
        world.engine().migrate(&ROOT, &key("data"), &request).unwrap();
        let record = world.join("other/snapshots").join(snapshot(&world, "carried").status.id.to_string());
        let path = world.pool_path();
        world.engine().export_pool(&ROOT, &"other".parse().unwrap()).unwrap();
        if volume_comes_last {
            world.engine().export_pool(&ROOT, &default()).unwrap();
        }
        let file = record.join("snapshot.json");
        edit(&file, "\"scheduled\": false", "\"scheduled\": true");
        let text = fs::read_to_string(&file).unwrap();
        let (head, tail) = text.split_once("\"createdAt\": \"").unwrap();
        fs::write(
            &file,
            format!("{head}\"createdAt\": \"2099-01-01T00:00:00Z\"{}", tail.split_once('"').unwrap().1),
        )
        .unwrap();
        let place = ImportPlace::Directory(world.join("other"));
        world.engine().import_pool(&ROOT, &of(place, Some("other"))).unwrap();
        if volume_comes_last {
            let place = ImportPlace::Directory(path);
            world.engine().import_pool(&ROOT, &of(place, Some("default"))).unwrap();
        }
        let sql = |world: &World, sql: &str| {
            run(Command::new("sqlite3").arg(world.config.state_dir.join("orlop.db")).arg(sql)).ok()
        };
        let is_known = || sql(&world, "SELECT count(*) FROM snapshot_schedules WHERE due_at > '2026'") == "1";
        assert!(eventually(PATIENCE, is_known));
        world.crash();
        sql(&world, "UPDATE snapshot_schedules SET due_at = '2020-01-01T00:00:00.000000000Z'");
        world.start();
        let made = || world.snapshots().into_iter().filter(|it| it.status.pool == default()).count();
        let is_made = || world.told("SnapshotCreated") && made() == 1;
        assert!(eventually(PATIENCE, is_made), "{:?}", world.events());
        std::thread::sleep(std::time::Duration::from_secs(3));
        assert_eq!(made(), 1, "{:?}", world.events());
        assert!(!snapshot(&world, "carried").status.scheduled);
    }
}

/// As with the names of volumes and snapshots.
#[test]
fn what_a_group_says_it_is_called_is_not_believed() {
    require!(Part::Loop, Part::Sqlite3);
    let (_host, mut world) = sharing();
    let volumes: Vec<_> =
        ["a", "b"].into_iter().map(|name| world.apply(name, KEPT).unwrap().resource.status.id).collect();
    let mut files = Vec::new();
    for (name, external) in [("g", "Good One"), ("l", "Long"), ("c", "Control"), ("m", "Manifest")] {
        let (external, name) = (external.to_owned(), name.parse().unwrap());
        let request = TakeGroupRequest { external, volumes: volumes.clone(), name, tags: Vec::new() };
        let made = world.engine().take_snapshot_group(&CSI, &request, PATIENCE).unwrap().resource;
        let file = |it: &Snapshot| directory(&world, it.status.id).join("snapshot.json");
        files.push(made.snapshots.iter().map(file).collect::<Vec<_>>());
    }
    let path = world.pool_path();
    lose_the_store(&mut world);
    let long = format!("\"{}\"", "x".repeat(129));
    for (number, from, to) in [
        (1, "\"Long\"", long.as_str()),
        (2, "\"Control\"", "\"Con\\u0007trol\""),
        (3, "\"createdBy\": \"csi\"", "\"createdBy\": \"manifest\""),
    ] {
        files[number].iter().for_each(|file| edit(file, from, to));
    }
    world.start();
    let done = world.engine().import_pool(&ROOT, &of(ImportPlace::Directory(path), None)).unwrap();
    let refused: Vec<_> = done.snapshots.iter().filter(|it| it.fate == ImportFate::Refused).collect();
    assert_eq!(refused.len(), 4, "{done:#?}");
    let says =
        |it: &&ImportedSnapshot| it.detail.as_ref().is_some_and(|why| why.contains("can't be the name"));
    assert!(refused.iter().all(says), "{refused:#?}");
    assert_eq!(world.snapshot_names(), ["g-a", "g-b", "m-a", "m-b"]);
    let sql = "SELECT name || ' ' || coalesce(known_as, '-') FROM snapshot_groups ORDER BY name";
    let store = world.config.state_dir.join("orlop.db");
    let groups = run(Command::new("sqlite3").arg("-readonly").arg(store).arg(sql)).ok();
    assert_eq!(groups, "g Good One\nm -");
}
