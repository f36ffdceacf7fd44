//! A pool with snapshots, compared with its records.

use std::{fs, process::Command};

use orlop_engine::ImportPlace;
use orlop_model::pool_report::{Difference, ImportFate};
use orlop_testkit::{Part, require, run};

use super::*;

#[test]
fn a_check_names_every_difference_of_snapshots_and_loses_none() {
    require!(Part::Loop, Part::Sqlite3);
    let (_host, world) = sharing();
    world.apply("data", KEPT).unwrap();
    put(&world, "data", "cargo");
    let names = ["good", "no-image", "no-directory", "short", "twice", "stale", "draft", "held", "unknown"];
    for name in names {
        world.snapshot(name, "data").unwrap();
    }
    let check = |repair| world.engine().check_pool(&ROOT, &default(), repair).unwrap();
    // What its volume is called is no difference.
    for (from, to) in [("data", "other"), ("other", "data")] {
        let volume = VolumeKey { workspace: "public".parse().unwrap(), name: from.parse().unwrap() };
        let request = RenameRequest { volume, name: to.parse().unwrap(), forget: Vec::new() };
        world.engine().rename(&ROOT, &request).unwrap();
        assert_eq!(differences(&check(false)), []);
    }
    let report = check(true);
    assert_eq!((differences(&report), report.snapshots), (vec![], 9));
    let ids: Vec<_> = names.iter().map(|name| snapshot(&world, name).status.id).collect();
    let of_name = |name: &str| directory(&world, ids[names.iter().position(|known| *known == name).unwrap()]);
    fs::remove_file(of_name("no-image").join("data.img")).unwrap();
    fs::remove_dir_all(of_name("no-directory")).unwrap();
    let short = of_name("short").join("data.img");
    fs::OpenOptions::new().write(true).open(&short).unwrap().set_len(MIB).unwrap();
    fs::hard_link(of_name("twice").join("data.img"), world.join("twice")).unwrap();
    fs::write(of_name("stale").join("snapshot.json"), "{}").unwrap();
    fs::write(of_name("draft").join(".snapshot.json.new"), "{").unwrap();
    fs::write(of_name("draft").join("mine"), "precious").unwrap();
    run(Command::new("losetup").arg("--find").arg(of_name("held").join("data.img"))).ok();
    fs::create_dir(world.pool_path().join("snapshots/lost")).unwrap();
    let id = ids[8];
    let forget = format!("DELETE FROM snapshots WHERE id = '{id}'");
    run(Command::new("sqlite3").arg(world.config.state_dir.join("orlop.db")).arg(forget)).ok();

    let sorted = |mut all: Vec<Difference>| {
        all.sort_by_key(|difference| difference.as_str());
        all
    };
    let stay = sorted(vec![
        Difference::BadImage,
        Difference::BadImage,
        Difference::BadImage,
        Difference::BadImage,
        Difference::HeldImage,
        Difference::Unaccounted,
        Difference::Unaccounted,
        Difference::UnrecordedSnapshot,
    ]);
    let mut all = stay.clone();
    all.extend([Difference::StaleDescription, Difference::Leftover]);
    let all = sorted(all);
    let found = check(false);
    assert_eq!((differences(&found), found.snapshots), (all.clone(), 8), "{:#?}", found.findings);
    for (name, words) in [
        ("no-image", "is missing"),
        ("no-directory", "is missing"),
        ("short", "1048576 bytes instead of 16777216"),
        ("twice", "hard link"),
        ("stale", "missing or damaged"),
        ("held", "/dev/loop"),
    ] {
        let id = ids[names.iter().position(|known| *known == name).unwrap()];
        let finding = found.findings.iter().find(|finding| finding.snapshot == Some(id)).unwrap();
        assert_eq!(finding.subject, format!("snapshot public/{name}"));
        assert!(finding.detail.contains(words) && !finding.remedy.is_empty(), "{finding:?}");
    }
    let unrecorded = found.findings.iter().find(|f| f.difference == Difference::UnrecordedSnapshot).unwrap();
    assert!(
        unrecorded.detail.contains("the snapshot public/unknown of volume data, of uid 0"),
        "{unrecorded:?}"
    );
    assert!(unrecorded.remedy.contains("orlop pool import --path"), "{unrecorded:?}");

    let mended = check(true);
    assert_eq!(differences(&mended), all);
    for finding in &mended.findings {
        assert_eq!(finding.mended, finding.difference.is_safe_to_mend(), "{finding:?}");
    }
    assert_eq!(differences(&check(true)), stay);
    assert_eq!(fs::read_to_string(of_name("draft").join("mine")).unwrap(), "precious");
    assert!(short.exists() && of_name("unknown").join("data.img").exists());
    // What it says to do about it works.
    let done =
        world.engine().import_pool(&ROOT, &of(ImportPlace::Directory(world.pool_path()), None)).unwrap();
    assert_eq!(shown(&done, &id.to_string()).fate, ImportFate::Imported);
    world.restore("unknown").unwrap();
    holds(&world, "data", "cargo");
    for name in ["no-image", "no-directory"] {
        world.delete_snapshot(name).unwrap();
    }
}
